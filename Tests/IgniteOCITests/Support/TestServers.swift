import Foundation
import Glibc
import IgniteSystem

/// A program that serves until its standard input ends; what it says is read as far as it is waited for.
final class TestServer: Sendable {
  private let process: Process
  private let input = Pipe()
  private let output: String

  /// - Parameter readiness: text that it prints when it serves.
  init(_ arguments: [String], readiness: String, scratch: TestDirectory) async throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = input
    try process.run()
    self.process = process
    let reading = pipe.fileHandleForReading
    let text: String? = await ThreadExecutor.run(name: "test-server") {
      var text = ""
      while !text.contains(readiness) {
        let data = reading.availableData
        if data.isEmpty { return nil }
        text += String(decoding: data, as: UTF8.self)
      }
      return text
    }
    guard let text else { throw TestToolFailure(description: "\(arguments.joined(separator: " ")) did not start") }
    output = text
    reading.readabilityHandler = { handle in if handle.availableData.isEmpty { handle.readabilityHandler = nil } }
  }

  /// What it said until it was ready.
  var greeting: String { output }

  deinit {
    try? input.fileHandleForWriting.close()
    process.terminate()
    process.waitUntilExit()
  }

  /// A port of loopback that nobody listens on.
  static func freePort() throws -> Int {
    let descriptor = FileDescriptor(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        bind(descriptor.number, pointer, length) == 0 && getsockname(descriptor.number, pointer, &length) == 0
      }
    }
    guard bound else { throw TestToolFailure(description: "no free port") }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}

/// Debian's tinyproxy on loopback, which asks for a user's password.
final class TestProxy: Sendable {
  let port: Int
  private let scratch: TestDirectory
  private let server: TestServer

  init(user: String, password: String) async throws {
    scratch = try TestDirectory()
    port = try TestServer.freePort()
    try """
    Port \(port)
    Listen 127.0.0.1
    Allow 127.0.0.1
    Timeout 60
    BasicAuth \(user) \(password)
    LogFile "\(scratch.file("log"))"
    LogLevel Info
    """.write(toFile: scratch.file("conf"), atomically: true, encoding: .utf8)
    let script = """
      # Told to end, it waits for its connections.
      : >"$2"; tinyproxy -d -c "$1" >/dev/null & pid=$!
      trap 'kill -9 $pid; wait $pid' EXIT; trap 'exit 0' TERM
      grep -q -m1 'Accepting connections' <(tail --pid=$pid -n +1 -f "$2") || exit 1
      echo ready; cat >/dev/null
      """
    server = try await TestServer(
      ["bash", "-c", script, "proxy", scratch.file("conf"), scratch.file("log")], readiness: "ready",
      scratch: scratch)
  }

  /// The connections that it has made, by its log.
  func connections() throws -> [String] {
    try String(contentsOfFile: scratch.file("log"), encoding: .utf8).split(separator: "\n").compactMap { line in
      line.range(of: "): CONNECT ").map { String(line[$0.upperBound...].prefix { $0 != " " }) }
    }
  }
}

/// An authority of a test's own, and certificates of it.
struct TestAuthority {
  let certificate: String
  private let key: String
  private let scratch: TestDirectory

  init(in scratch: TestDirectory, name: String = "ca") async throws {
    self.scratch = scratch
    (certificate, key) = (scratch.file("\(name).pem"), scratch.file("\(name).key"))
    try await tool([
      "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
      "-subj", "/CN=Test CA", "-keyout", key, "-out", certificate,
    ])
  }

  /// A certificate and its key, for `DNS:registry.test,IP:127.0.0.1` or a client.
  func issue(_ name: String, _ subjects: String) async throws -> (certificate: String, key: String) {
    let (certificate, own) = (scratch.file("\(name).pem"), scratch.file("\(name).key"))
    let request = scratch.file("\(name).csr")
    try await tool([
      "openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=\(name)",
      "-addext", "subjectAltName=\(subjects)", "-keyout", own, "-out", request,
    ])
    try await tool([
      "openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", key, "-CAcreateserial", "-days",
      "2", "-copy_extensions", "copy", "-out", certificate,
    ])
    return (certificate, own)
  }
}

/// An htpasswd file with one user.
func passwordFile(in scratch: TestDirectory, user: String, password: String) async throws -> String {
  let path = scratch.file("htpasswd")
  try await tool(["htpasswd", "-Bbc", path, user, password])
  return path
}
