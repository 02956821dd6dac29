import Glibc
import IgniteSystem

/// A directory of a test's own, removed with it.
final class LaunchScratch: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/ignite-launch-XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
    chmod(path, 0o755)
  }

  deinit { Self.remove(path) }

  func directory(_ name: String) throws -> String {
    let path = "\(path)/\(name)"
    try retrying("mkdir \(path)") { Int(mkdir(path, 0o755)) }
    return path
  }

  /// A file with this content, open for reading.
  func file(_ name: String, _ content: String) throws -> FileDescriptor {
    let path = "\(path)/\(name)"
    let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT)
    let bytes = Array(content.utf8)
    try retrying("write \(path)") { write(file.number, bytes, bytes.count) }
    return try FileDescriptor.open(path, O_RDONLY)
  }

  func read(_ path: String) throws -> String {
    let file = try FileDescriptor.open(path, O_RDONLY)
    var content: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = try retrying("read \(path)") { Glibc.read(file.number, &buffer, buffer.count) }
      if count == 0 { return String(decoding: content, as: UTF8.self) }
      content += buffer[0..<count]
    }
  }

  func list(_ path: String) throws -> [String] { try Self.list(path) }

  private static func list(_ path: String) throws -> [String] {
    guard let directory = opendir(path) else { throw SystemError("open \(path)") }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  private static func remove(_ path: String) {
    for name in (try? Self.list(path)) ?? [] where Glibc.remove("\(path)/\(name)") != 0 { remove("\(path)/\(name)") }
    Glibc.remove(path)
  }
}
