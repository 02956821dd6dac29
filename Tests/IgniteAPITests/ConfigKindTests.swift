import Foundation
import IgniteSystem
import Testing

@testable import IgniteAPI

@Suite struct ConfigKinds {
  private func read(_ text: String) throws -> Manifest {
    try #require(try ManifestReader.read(text, file: "x.yaml").first)
  }

  private func fails(_ text: String, _ words: String) {
    do {
      let read = try ManifestReader.read(text, file: "x.yaml")
      Issue.record("read as \(read)")
    } catch {
      #expect("\(error)".contains(words), "\(error)")
    }
  }

  @Test func asKubernetesWritesThem() throws {
    let map = try read(
      """
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: web, labels: {app: shop}}
      data:
        nginx.conf: |
          server {
            listen 80;
          }
        level: 3
      binaryData: {logo: "AAEC"}
      """)
    #expect(map.given["data"]?["nginx.conf"] == "server {\n  listen 80;\n}\n")
    #expect(map.given["data"]?["level"] == "3")
    #expect(map.labels == ["app": "shop"])
    #expect(ConfigData(kind: map.kind, spec: map.given).values["logo"] == [0, 1, 2])
    let secret = try read(
      """
      apiVersion: ignite.weave.works/v1beta1
      kind: Secret
      metadata: {name: db}
      type: Opaque
      data: {a: "aHVu\\ndGVy", b: eA==}
      stringData: {password: hunter2, b: y}
      """)
    // What is written as text is kept as base64, and wins.
    #expect(secret.given["stringData"] == nil)
    let data = ConfigData(kind: secret.kind, spec: secret.given).values
    #expect(data == ["a": Array("hunter".utf8), "password": Array("hunter2".utf8), "b": Array("y".utf8)])
  }

  @Test func whatIsWrongIsNamed() {
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
    fails(head + "spec: {data: {a: b}}", "x.yaml:4: spec: there is no such field")
    fails(head + "data: {a/b: c}", "data.a/b: a key is made of letters")
    fails(head + "data: {\"..\": c}", "no file can have that name")
    fails(head + "data: {a: [1]}", "data.a: it is not text")
    fails(head + "binaryData: {a: \"%%\"}", "binaryData.a: it is not base64")
    fails(head + "data: {a: b}\nbinaryData: {a: AA==}", "binaryData.a: it stands in data, too")
    fails(head + "data: {a: \"\(String(repeating: "x", count: 1 << 20))\"}", "an object 1024 KiB at most")
    fails("apiVersion: v1\nkind: VM\nmetadata: {name: x}\nspec: {}", "\"v1\" is not known")
    fails("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringdata: {a: b}", "did you mean stringData?")
    fails(
      "apiVersion: \(APIVersion.current)\nkind: Image\nmetadata: {name: \"a b\"}\nspec: {oci: x}",
      "it is no name of an image")
  }

  @Test func partsOfAnApplication() throws {
    let app = try read(
      """
      apiVersion: \(APIVersion.current)
      kind: App
      metadata: {name: shop}
      spec:
        objects:
        - {kind: Secret, name: db, spec: {stringData: {password: x}}}
        - {kind: ConfigMap, name: web, spec: {data: {a: b}}}
      """)
    let parts = try app.expanded()
    #expect(parts.map(\.title) == ["App/shop", "Secret/db", "ConfigMap/web"])
    #expect(parts[1].given == ["data": ["password": "eA=="]])
  }

  @Test func whatIsWrittenIsReadTheSame() throws {
    let texts = ["one\ntwo\n", "one\n\ttwo", " begins with a blank\nx", "ends \nso", "ü\n", "a\n\n\n", "\n", "", "x"]
    for text in texts {
      let data = Dictionary(uniqueKeysWithValues: [("k", JSONValue.string(text)), ("l", "y")])
      let object: JSONValue = [
        "apiVersion": .string(APIVersion.current), "kind": "ConfigMap", "metadata": ["name": "x"],
        "spec": ["data": .object(data), "immutable": true], "status": .object([:]),
      ]
      let yaml = try ManifestWriter.yaml([try ManifestWriter.manifest(of: object, kind: "ConfigMap")])
      #expect(!yaml.contains("spec:") && !yaml.contains("status:"))
      #expect(try read(yaml).given == object["spec"], "\(yaml)")
    }
  }

  @Test func imagesHaveTheirWholeNames() throws {
    for (name, whole) in [
      ("nginx", "docker.io/library/nginx:latest"), ("a/b:1", "docker.io/a/b:1"), ("localhost/x", "localhost/x:latest"),
      ("ghcr.io/a/b@sha256:00", "ghcr.io/a/b@sha256:00"), ("host:5000/x", "host:5000/x:latest"),
    ] {
      #expect(HostKind.canonical(name) == whole)
    }
  }

  @Test func whatAVMNames() throws {
    let vm = try read(
      """
      apiVersion: \(APIVersion.current)
      kind: VM
      metadata: {name: x}
      spec:
        image: {oci: x}
        files: [{path: /a, secret: {name: s, key: k}}]
        volumes: [{mountPath: /b, configMap: {name: m}}, {mountPath: /c, tmpfs: {}}]
        process: {envFrom: [{configMap: {name: m}}, {secret: {name: t}}]}
      """)
    #expect(vm.configTitles == ["ConfigMap/m", "Secret/s", "Secret/t"])
  }
}
