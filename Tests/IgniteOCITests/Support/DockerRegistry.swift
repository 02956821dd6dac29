import Foundation
import Glibc
import IgniteSystem

/// Debian's docker-registry on a free port of loopback, with storage of its own; ends with the object.
final class DockerRegistry: Sendable {
  /// What it asks of its clients, and where it gets what it lacks.
  struct Options: Sendable {
    /// A certificate and its key, for HTTPS.
    var certificate: String?
    var key: String?
    /// The authority whose certificates clients have to show.
    var clientAuthority: String?
    /// An htpasswd file of bcrypt.
    var passwords: String?
    /// A token server, see `TokenServer`.
    var tokens: (realm: String, service: String, issuer: String, bundle: String)?
    /// It becomes a pull-through cache of this registry.
    var remote: String?

    init() {}
  }

  /// `127.0.0.1:port`.
  let authority: String
  /// Where its blobs are, to be damaged: `docker/registry/v2/blobs/sha256/12/1234…/data`.
  let storage: String
  private let process: Process
  private let scratch: TestDirectory

  convenience init(certificate: String? = nil, key: String? = nil) async throws {
    var options = Options()
    options.certificate = certificate
    options.key = key
    try await self.init(options)
  }

  init(_ options: Options) async throws {
    let scratch = try TestDirectory()
    self.scratch = scratch
    storage = scratch.file("storage")
    var tls = ""
    if let certificate = options.certificate, let key = options.key {
      let authorities = options.clientAuthority.map { ", clientcas: [\($0)]" } ?? ""
      tls = ", tls: {certificate: \(certificate), key: \(key)\(authorities)}"
    }
    var configuration = """
      version: 0.1
      log: {level: info}
      storage: {filesystem: {rootdirectory: \(storage)}, delete: {enabled: true}}
      http: {addr: "127.0.0.1:0", secret: for-tests-alone\(tls)}

      """
    if let passwords = options.passwords {
      configuration += "auth: {htpasswd: {realm: test, path: \(passwords)}}\n"
    } else if let tokens = options.tokens {
      configuration +=
        "auth: {token: {realm: \"\(tokens.realm)\", service: \(tokens.service), issuer: \(tokens.issuer), "
        + "rootcertbundle: \(tokens.bundle)}}\n"
    }
    if let remote = options.remote { configuration += "proxy: {remoteurl: \"\(remote)\"}\n" }
    try configuration.write(toFile: scratch.file("config.yml"), atomically: true, encoding: .utf8)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/docker-registry")
    process.arguments = ["serve", scratch.file("config.yml")]
    process.environment = ["PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"]
    let log = Pipe()
    process.standardError = log
    _ = FileManager.default.createFile(atPath: scratch.file("access.log"), contents: nil)
    process.standardOutput = FileHandle(forWritingAtPath: scratch.file("access.log"))
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

  /// The requests that it has answered, by its own access log: `GET /v2/app/manifests/1`, in order.
  ///
  /// An answer may be here before its line is written: once a later request's line is there, it is.
  func accesses() async throws -> [(request: String, status: Int)] {
    let marker = "/v2/?marker=\(UUID().uuidString)"
    try await tool(["curl", "-s", "-o", "/dev/null", "http://\(authority)\(marker)"])
    var text = ""
    while !text.contains(marker) {
      text = try String(contentsOfFile: scratch.file("access.log"), encoding: .utf8)
      await Task.yield()
    }
    return text.split(separator: "\n").compactMap { line in
      let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
      guard parts.count > 2, !line.contains("?marker=") else { return nil }
      let request = parts[1].split(separator: " ").prefix(2).joined(separator: " ")
      guard let status = parts[2].split(separator: " ").first.flatMap({ Int($0) }) else { return nil }
      return (request, status)
    }
  }

  /// Pushes an image of a layout with skopeo.
  func push(
    _ layout: TestLayout, tag: String, as name: String, all: Bool = false, credentials: String? = nil
  ) async throws {
    try await tool(
      ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"] + (all ? ["--all"] : [])
        + (credentials.map { ["--dest-creds", $0] } ?? [])
        + ["oci:\(layout.path):\(tag)", "docker://\(authority)/\(name)"])
  }

  /// Where a blob's bytes are stored.
  func blobPath(_ hex: String) -> String {
    "\(storage)/docker/registry/v2/blobs/sha256/\(hex.prefix(2))/\(hex)/data"
  }
}
