import CExt2fs
import Foundation
import IgniteImages
import Testing

/// A directory of a test's own, removed with it.
final class Scratch {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "/ignite-test-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit {
    // What a test makes unreadable must go too.
    _ = try? run("chmod", "-R", "u+rwX", path)
    try? FileManager.default.removeItem(atPath: path)
  }

  func callAsFunction(_ name: String) -> String { path + "/" + name }

  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: self(name)))
    return self(name)
  }
}

struct ToolFailure: Error, CustomStringConvertible {
  let description: String
}

/// Runs a tool to its end and returns what it wrote; a status other than 0 is an error.
@discardableResult
func run(_ tool: String, _ arguments: String...) throws -> String {
  try run([tool] + arguments)
}

@discardableResult
func run(_ command: [String]) throws -> String {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = command
  var environment = ProcessInfo.processInfo.environment
  environment["PATH"] = (environment["PATH"] ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"
  environment["LC_ALL"] = "C"
  process.environment = environment
  let pipe = Pipe()
  process.standardOutput = pipe
  process.standardError = pipe
  process.standardInput = FileHandle.nullDevice
  try process.run()
  let output = pipe.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  let text = String(decoding: output, as: UTF8.self)
  guard process.terminationStatus == 0 else {
    throw ToolFailure(description: "\(command.joined(separator: " ")): status \(process.terminationStatus)\n\(text)")
  }
  return text
}

/// What can be compared of a file on a disk and one on the host.
struct FileRecord: Equatable, CustomStringConvertible {
  var type: UInt16
  var mode: UInt16
  var uid: UInt32
  var gid: UInt32
  var modified: FileTime
  var size: UInt64
  var target: String
  var device: String
  var links: UInt32
  var attributes: [String: [UInt8]]

  var description: String {
    "type \(String(type, radix: 8)) mode \(String(mode, radix: 8)) \(uid):\(gid) \(modified.seconds).\(modified.nanoseconds) "
      + "size \(size) → \(target) dev \(device) links \(links) xattrs \(attributes)"
  }
}

/// Makes a disk of layers given as bytes, checks it with e2fsck and opens it.
func buildDisk(
  _ scratch: Scratch, _ layers: [[UInt8]], name: String = "disk.ext4", identity: String = "test",
  configure: (inout BaseDiskBuilder.Options) -> Void = { _ in }
) throws -> DiskImage {
  var options = BaseDiskBuilder.Options(identity: identity)
  configure(&options)
  let builder = try BaseDiskBuilder(path: scratch(name), options: options)
  for layer in layers { try builder.apply(MemoryByteSource(layer)) }
  try builder.finish()
  try run("e2fsck", "-fn", scratch(name))
  return try DiskImage(scratch(name))
}

/// What a build of these layers throws.
func buildFailure(
  _ layers: [[UInt8]], configure: (inout BaseDiskBuilder.Options) -> Void = { _ in }
) throws -> ImageError {
  let scratch = try Scratch()
  do {
    _ = try buildDisk(scratch, layers, configure: configure)
  } catch let error as ImageError {
    #expect(!FileManager.default.fileExists(atPath: scratch("disk.ext4")), "a failed build leaves no file")
    #expect(!error.message.contains("\n"))
    return error
  }
  throw ToolFailure(description: "the build succeeded")
}
