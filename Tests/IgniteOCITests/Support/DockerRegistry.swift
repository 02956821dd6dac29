import Foundation
import Glibc
import IgniteSystem

/// Debian's docker-registry on a free port of loopback, with storage of its own; ends with the object.
final class DockerRegistry: Sendable {
  let authority: String
  /// Where its blobs are, to be damaged: `docker/registry/v2/blobs/sha256/12/1234…/data`.
  let storage: String
  private let process: Process
  private let scratch: TestDirectory

  /// - Parameters: a certificate and its key, for HTTPS.
  init(certificate: String? = nil, key: String? = nil) async throws {
    let scratch = try TestDirectory()
    self.scratch = scratch
    storage = scratch.file("storage")
    let tls = certificate.map { ", tls: {certificate: \($0), key: \(key ?? "")}" } ?? ""
    let configuration = """
      version: 0.1
      log: {level: info}
      storage: {filesystem: {rootdirectory: \(storage)}, delete: {enabled: true}}
      http: {addr: "127.0.0.1:0"\(tls)}
      """
    try configuration.write(toFile: scratch.file("config.yml"), atomically: true, encoding: .utf8)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/docker-registry")
    process.arguments = ["serve", scratch.file("config.yml")]
    process.environment = ["PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"]
    let log = Pipe()
    process.standardError = log
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    self.process = process
    let reading = log.fileHandleForReading
    let found: String? = await ThreadExecutor.run(name: "registry-log") {
      var text = ""
      while true {
        let data = reading.availableData
        if data.isEmpty { return nil }
        text += String(decoding: data, as: UTF8.self)
        guard let range = text.range(of: "listening on ") else { continue }
        let address = text[range.upperBound...].prefix { $0.isNumber || $0 == "." || $0 == ":" }
        if text[address.endIndex...].isEmpty { continue }
        return String(address)
      }
    }
    guard let found else { throw TestToolFailure(description: "docker-registry did not start") }
    authority = found
    // What it goes on to log must not fill the pipe.
    reading.readabilityHandler = { handle in if handle.availableData.isEmpty { handle.readabilityHandler = nil } }
  }

  deinit {
    process.terminate()
    process.waitUntilExit()
  }

  /// Pushes an image of a layout with skopeo.
  func push(_ layout: TestLayout, tag: String, as name: String, all: Bool = false) async throws {
    try await tool(
      ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"] + (all ? ["--all"] : [])
        + ["oci:\(layout.path):\(tag)", "docker://\(authority)/\(name)"])
  }

  /// Where a blob's bytes are stored.
  func blobPath(_ hex: String) -> String { "\(storage)/docker/registry/v2/blobs/sha256/\(hex.prefix(2))/\(hex)/data" }
}
