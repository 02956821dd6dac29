import Glibc
import IgniteSystem

/// A directory of a test's own, removed with it.
final class HypervisorScratch: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/ignite-hv-XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
  }

  deinit {
    if let directory = opendir(path) {
      while let entry = readdir(directory) {
        withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { _ = unlink("\(path)/\(String(cString: $0))") }
        }
      }
      closedir(directory)
    }
    rmdir(path)
  }

  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let path = "\(path)/\(name)"
    let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC)
    try retrying("write \(path)") { Glibc.write(file.number, bytes, bytes.count) }
    return path
  }
}
