import Foundation
import IgniteAPI
import IgniteSystem
import Testing

@Suite struct SchemaTests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "docs/api").path

  /// docs/api is what the schema says. After a wanted change: IGNITE_UPDATE_API=1 swift test --filter SchemaTests.
  @Test(arguments: KindSchema.all.map(\.kind)) func thePagesAreTheSchemas(_ kind: String) throws {
    let schema = try #require(KindSchema.find(kind: kind))
    let encoder = APICoding.encoder(pretty: true)
    let files = [
      "\(kind.lowercased()).md": schema.page,
      "\(kind.lowercased()).schema.json": String(decoding: try encoder.encode(schema.jsonSchema), as: UTF8.self) + "\n",
    ]
    for (name, text) in files {
      let path = Self.folder + "/" + name
      if ProcessInfo.processInfo.environment["IGNITE_UPDATE_API"] != nil {
        try FileManager.default.createDirectory(atPath: Self.folder, withIntermediateDirectories: true)
        try text.write(toFile: path, atomically: true, encoding: .utf8)
      }
      let kept = try? String(contentsOfFile: path, encoding: .utf8)
      #expect(
        kept == text,
        "docs/api/\(name) is not what the schema says: IGNITE_UPDATE_API=1 swift test --filter SchemaTests")
    }
  }

  @Test func fieldsAreFound() {
    #expect(KindSchema.vm.field(at: ["spec", "resources", "memory"])?.shape.title == "size (512MiB)")
    #expect(KindSchema.vm.field(at: ["spec", "volumes", "tmpfs", "mode"]) != nil)
    #expect(KindSchema.vm.field(at: ["spec", "memory"]) == nil)
    #expect(KindSchema.vm.defaults["resources"]?["memory"] == .string("512MiB"))
  }

  /// A judge of its own reads the schema: what it takes and refuses is what the reader does.
  @Test(arguments: [
    ("spec: {image: {oci: x}}", true), ("spec: {image: {oci: x}, resources: {cpus: 2, memory: 1GiB}}", true),
    ("spec: {image: {oci: x}, health: {interval: 1m30s}}", true), ("spec: {}", false),
    ("spec: {image: {oci: x}, resources: {cpus: 33}}", false), ("spec: {image: {oci: x}, state: running}", false),
    ("spec: {image: {oci: x}, resources: {memory: 1GB}}", false), ("spec: {image: {oci: x}, memory: 1GiB}", false),
    ("spec: {image: {oci: x}, network: {ports: [{host: 80}]}}", false),
  ]) func theReaderAgreesWithTheSchema(_ spec: String, _ isGood: Bool) throws {
    let text = "apiVersion: ignite.weave.works/v1beta1\nkind: VM\nmetadata: {name: web}\n" + spec
    #expect(((try? ManifestReader.read(text, file: "x")) != nil) == isGood)
    let script = """
      import json, sys, yaml, jsonschema
      schema, text = json.loads(sys.argv[1]), sys.argv[2]
      jsonschema.Draft202012Validator.check_schema(schema)
      sys.exit(0 if jsonschema.Draft202012Validator(schema).is_valid(yaml.safe_load(text)) else 3)
      """
    let schema = String(decoding: try APICoding.encoder().encode(KindSchema.vm.jsonSchema), as: UTF8.self)
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/python3")
    process.arguments = ["-c", script, schema, text]
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == (isGood ? 0 : 3))
  }
}
