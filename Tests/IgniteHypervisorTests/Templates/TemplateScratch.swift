import Glibc
import IgniteSystem
import Testing

@testable import IgniteHypervisor

/// A store of a test's own, and templates in it that no machine was booted for: a few pages of memory, and a state.
final class TemplateScratch: Sendable {
  let path: String

  /// 16 MiB, of which a few pages are data.
  static let memoryBytes: UInt64 = 16 << 20
  static let state = Array("the state of the devices".utf8)
  /// The program under test, built beside the tests.
  static let program: String = {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    let path = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/ignite"
  }()

  init() {
    let parent = getenv("IGNITE_TEST_SCRATCH").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/ignite-t-XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
    mkdir(path + "/data", 0o700)
    mkdir(path + "/run", 0o700)
  }

  deinit { try? FileTree.remove(path) }

  var templates: String { path + "/data/templates" }

  func store(maximumBytes: UInt64 = 1 << 30, keepIdle: Int64 = 600) -> TemplateStore {
    TemplateStore(data: path + "/data", run: path + "/run", maximumBytes: maximumBytes, keepIdle: keepIdle)
  }

  static func identity(_ number: Int = 1) -> TemplateIdentity {
    TemplateIdentity(
      hypervisor: "QEMU", version: "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", programSize: 17_000_000,
      programTime: 1_700_000_000_123_456_789, kernel: "sha256:\(String(repeating: "0123456789abcdef", count: 4))",
      kernelName: "debian:6.1", initrd: "initrd-0123456789abcdef",
      arguments: ["-machine", "microvm", "number:\(number)"],
      processor: "", cpus: 1, memoryBytes: memoryBytes)
  }

  /// A page of `byte` at the start, one in the middle and one at the end.
  @discardableResult
  static func make(
    _ store: TemplateStore, _ identity: TemplateIdentity = identity(), byte: UInt8 = 7, pages: Int = 3
  ) throws -> TemplateRecord {
    let making = try #require(try store.beginMaking(identity))
    try fill(making.memory, byte: byte, pages: pages)
    return try making.commit(state: state)
  }

  static func fill(_ memory: FileDescriptor, byte: UInt8, pages: Int = 3) throws {
    let page = [UInt8](repeating: byte, count: 4096)
    for number in 0..<pages {
      let place = Int(memoryBytes) / max(1, pages - 1) * number
      let last = Int(memoryBytes) - page.count
      try retrying("write") { pwrite(memory.number, page, page.count, off_t(min(place, last))) }
    }
  }

  /// The byte at a place of a file.
  static func byte(of file: FileDescriptor, at place: Int = 0) throws -> UInt8 {
    var byte: UInt8 = 0
    let count = try retrying("read") { pread(file.number, &byte, 1, off_t(place)) }
    return try #require(count == 1 ? byte : nil)
  }

  /// Turns one bit of a file over.
  static func flip(_ path: String, at place: Int) throws {
    let file = try FileDescriptor.open(path, O_RDWR)
    var byte = try byte(of: file, at: place)
    byte ^= 0x10
    try retrying("write") { pwrite(file.number, &byte, 1, off_t(place)) }
  }

  /// What is in the store's directory.
  var names: [String] {
    guard let stream = opendir(templates) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }
}
