import Foundation

/// A directory of a test's own, removed with it.
final class TestDirectory: Sendable {
  let path: String

  init() throws {
    // Short, because the paths of sockets below it have 108 bytes.
    let name = "t-" + String(UInt64.random(in: .min ... .max), radix: 36)
    path = NSTemporaryDirectory().trimmingSuffix("/") + "/" + name
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }
}

extension String {
  fileprivate func trimmingSuffix(_ suffix: String) -> String {
    hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
  }
}

/// A tool that ended with another status than 0.
struct TestToolFailure: Error, CustomStringConvertible {
  let description: String
}

/// Runs a tool to its end and returns what it wrote to its standard output.
@discardableResult
func tool(_ arguments: [String], input: [UInt8]? = nil, directory: String? = nil) async throws -> [UInt8] {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = arguments
  if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
  let scratch = try TestDirectory()
  // Files instead of pipes: nothing can stall, whatever the tool writes.
  for name in ["out", "err"] { _ = FileManager.default.createFile(atPath: scratch.file(name), contents: nil) }
  _ = FileManager.default.createFile(atPath: scratch.file("in"), contents: Data(input ?? []))
  process.standardInput = FileHandle(forReadingAtPath: scratch.file("in"))
  process.standardOutput = FileHandle(forWritingAtPath: scratch.file("out"))
  process.standardError = FileHandle(forWritingAtPath: scratch.file("err"))
  try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
    process.terminationHandler = { _ in continuation.resume() }
    do { try process.run() } catch { continuation.resume(throwing: error) }
  }
  guard process.terminationStatus == 0 else {
    let words = (try? String(contentsOfFile: scratch.file("err"), encoding: .utf8)) ?? ""
    throw TestToolFailure(
      description: "\(arguments.joined(separator: " ")): status \(process.terminationStatus): \(words)")
  }
  return [UInt8](try Data(contentsOf: URL(fileURLWithPath: scratch.file("out"))))
}
