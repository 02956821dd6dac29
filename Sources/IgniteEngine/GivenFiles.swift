internal import FoundationEssentials
internal import Glibc
internal import IgniteArchive
internal import IgniteSystem

/// Files that a VM is given, and the archive of them.
struct GivenFiles: Sendable {
  private struct File {
    var bytes: [UInt8]
    var mode: UInt32
    var uid: UInt32
    var gid: UInt32
  }

  /// By absolute path.
  private var files: [String: File] = [:]
  private(set) var size = 0

  mutating func add(_ bytes: [UInt8], at path: String, mode: String?, owner: String?) throws {
    let path = try Self.path(path)
    let (mode, uid, gid) = try Self.attributes(mode, owner, path)
    size += bytes.count + path.utf8.count
    files[path] = File(bytes: bytes, mode: mode, uid: uid, gid: gid)
  }

  /// An absolute path without `.`, `..` and doubled slashes.
  static func path(_ text: String) throws -> String {
    let names = text.split(separator: "/")
    guard text.hasPrefix("/"), !names.isEmpty, !names.contains(".."), !names.contains("."), text.utf8.count < 4096,
      !text.utf8.contains(0), !text.hasSuffix("/")
    else {
      throw EngineError(
        .invalidArgument, "\"\(text)\" cannot be the path of a file that a VM is given", advice: "write it as /etc/motd"
      )
    }
    return "/" + names.joined(separator: "/")
  }

  /// - Throws: for a mode that is not octal, and an owner that is no pair of numbers.
  static func attributes(
    _ mode: String?, _ owner: String?, _ path: String
  ) throws -> (mode: UInt32, uid: UInt32, gid: UInt32) {
    guard let bits = UInt32(mode ?? "0644", radix: 8), bits <= 0o7777 else {
      throw EngineError(
        .invalidArgument, "the mode \"\(mode ?? "")\" of \(path) is no octal number", advice: "write it as \"0640\"")
    }
    let parts = (owner ?? "0:0").split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, let uid = UInt32(parts[0]), let gid = UInt32(parts[1]), max(uid, gid) < .max else {
      throw EngineError(
        .invalidArgument, "the owner \"\(owner ?? "")\" of \(path) is no pair of numbers",
        advice: "write it as \"1000:1000\": the VM's names are not known before it runs")
    }
    return (bits, uid, gid)
  }

  /// Each file after the directories above it; nil where there is none.
  func archive() async throws -> Data? {
    if files.isEmpty { return nil }
    let memory = try MemoryFile.make("ignite-files")
    let files = files.sorted { $0.key < $1.key }
    return try await ThreadExecutor.run { () throws -> Data in
      let writer = ArchiveWriter(descriptor: memory.number)
      var made: Set<String> = []
      for (path, file) in files {
        let names = path.split(separator: "/")
        for depth in 1..<names.count {
          let directory = names.prefix(depth).joined(separator: "/")
          guard made.insert(directory).inserted else { continue }
          try writer.begin(Self.entry(.directory, directory, mode: 0o755))
        }
        var entry = Self.entry(.file, names.joined(separator: "/"), mode: file.mode)
        (entry.uid, entry.gid) = (file.uid, file.gid)
        entry.size = UInt64(file.bytes.count)
        try writer.begin(entry)
        try writer.append(file.bytes)
        try writer.pad(entry)
      }
      try writer.finish()
      return try Self.contents(of: memory)
    }
  }

  private static func entry(_ kind: ArchiveEntry.Kind, _ path: String, mode: UInt32) -> ArchiveEntry {
    ArchiveEntry(path: Array(path.utf8), kind: kind, mode: mode)
  }

  private static func contents(of file: FileDescriptor) throws -> Data {
    let size = lseek(file.number, 0, SEEK_END)
    guard size >= 0, lseek(file.number, 0, SEEK_SET) == 0 else { throw SystemError("read the files that are given") }
    var data = Data(count: Int(size))
    let count = data.withUnsafeMutableBytes { buffer in Glibc.read(file.number, buffer.baseAddress, buffer.count) }
    guard count == Int(size) else { throw SystemError("read the files that are given") }
    return data
  }
}
