import Foundation
import Glibc

@testable import IgniteArchive

/// A directory of a test's own, removed with it.
final class ArchiveScratch {
  let path: String

  init() throws {
    let parent = ProcessInfo.processInfo.environment["IGNITE_TEST_SCRATCH"] ?? NSTemporaryDirectory()
    path = (parent.hasSuffix("/") ? String(parent.dropLast()) : parent) + "/archive-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { _ = try? shell("chmod -R u+rwX . ; rm -rf '\(path)'") }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Runs a script in the directory; what it writes.
  @discardableResult
  func shell(_ script: String) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = ["-euc", script]
    process.currentDirectoryURL = URL(fileURLWithPath: path)
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw ArchiveError("\(script): status \(process.terminationStatus)") }
    return String(decoding: data, as: UTF8.self)
  }

  /// Packs a path of the directory into an archive beside it; the lines about what was left out.
  func pack(_ name: String, into archive: String, as top: String? = nil) throws -> [String] {
    let descriptor = open(file(archive), O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    defer { close(descriptor) }
    var lines: [String] = []
    let writer = ArchiveWriter(descriptor: descriptor)
    let packer = TreePacker(writer, skipsKernelFileSystems: false) { lines.append($0) }
    let path = name.hasPrefix("/") ? name : file(name)
    try packer.pack(path: Array(path.utf8), followsLink: false, top: Array((top ?? name).utf8))
    try writer.finish()
    return lines
  }

  /// Unpacks an archive into a directory that is made for it.
  func unpack(
    _ archive: String, into folder: String, policy: UnpackPolicy = .careful, report: (String) -> Void = { _ in }
  ) throws {
    try? FileManager.default.createDirectory(atPath: file(folder), withIntermediateDirectories: true)
    let descriptor = open(file(archive), O_RDONLY)
    defer { close(descriptor) }
    let reader = ArchiveReader(descriptor: descriptor)
    try withoutActuallyEscaping(report) { report in
      let unpacker = try TreeUnpacker(
        root: Array(file(folder).utf8), isFileSystemRoot: false, policy: policy, report: report)
      while let entry = try reader.next() {
        guard let names = ArchivePath.components(entry.path) else { throw ArchiveError("a path leads out") }
        let link = ArchivePath.components(entry.linkTarget) ?? []
        try unpacker.unpack(entry, at: names, linkTarget: link) { buffer throws(ArchiveError) in
          try reader.read(into: buffer)
        }
      }
      try unpacker.finish()
    }
  }

  /// Writes an archive of these entries; files have zeros as their content.
  func write(_ entries: [ArchiveEntry], to archive: String) throws {
    let descriptor = open(file(archive), O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    defer { close(descriptor) }
    let writer = ArchiveWriter(descriptor: descriptor)
    for entry in entries {
      try writer.begin(entry)
      try writer.append([UInt8](repeating: 0, count: Int(entry.stored)))
      try writer.pad(entry)
    }
    try writer.finish()
  }
}

extension UnpackPolicy {
  /// As on the host, for what a guest sends.
  static let careful = UnpackPolicy(
    owner: .own, keepsSetID: false, makesDevices: false, keepsAllAttributes: false, guardsLinks: true)
}

extension ArchiveEntry {
  static func file(_ path: String, size: UInt64 = 3, mode: UInt32 = 0o644) -> ArchiveEntry {
    var entry = ArchiveEntry(path: Array(path.utf8), kind: .file, mode: mode)
    entry.size = size
    return entry
  }

  static func directory(_ path: String, mode: UInt32 = 0o755) -> ArchiveEntry {
    ArchiveEntry(path: Array(path.utf8), kind: .directory, mode: mode)
  }

  static func link(_ path: String, to target: String, hard: Bool = false) -> ArchiveEntry {
    var entry = ArchiveEntry(path: Array(path.utf8), kind: hard ? .hardLink : .symbolicLink, mode: 0o777)
    entry.linkTarget = Array(target.utf8)
    return entry
  }
}
