import Foundation
import Glibc
import IgniteImages
import Testing

@Suite struct DiskScaleTests {
  /// One directory of each shape: one block, a hash tree of one level, one of two.
  @Test func directoriesOfManyNames() throws {
    let scratch = try Scratch()
    let builder = try BaseDiskBuilder(path: scratch("d"), options: .init(identity: "x"))
    let attributes = FileAttributes(mode: 0o644)
    let shapes = [("small", 100, 8), ("exact", 127, 20), ("middle", 5000, 60), ("large", 9000, 240)]
    for (name, count, length) in shapes {
      for index in 0..<count {
        let number = "\(index)"
        let padding = String(repeating: "f", count: length - number.utf8.count)
        try builder.add(TarEntry(path: Array("\(name)/\(padding)\(number)".utf8), kind: .file, attributes: attributes))
      }
    }
    for index in 0..<66_000 {
      try builder.add(TarEntry(path: Array("wide/\(index)".utf8), kind: .directory, attributes: attributes))
    }
    try builder.finish()
    try run("e2fsck", "-fn", scratch("d"))
    let disk = try DiskImage(scratch("d"))
    #expect(try disk.paths().count == 1 + 5 + shapes.reduce(66_000) { $0 + $1.1 })
    // The kernel's way to a name: through the hash tree.
    let found = try run("debugfs", "-R", "htree_dump /large", scratch("d"))
    #expect(found.contains("Indirect levels: 1") && !found.contains("Problem"))
    #expect(try run("debugfs", "-R", "htree_dump /middle", scratch("d")).contains("Indirect levels: 0"))
    let wide = try run("debugfs", "-R", "stat /wide", scratch("d"))
    #expect(wide.contains("Links: 1 "), "more subdirectories than a link count holds")
  }

  @Test func filesOfManyExtents() throws {
    let scratch = try Scratch()
    // 2,000 runs of data and as many holes: an extent tree of two levels.
    try run("mkdir", scratch("t"))
    let file = try #require(FileHandle(forWritingAtPath: try scratch.write("t/holes", [])))
    for index in 0..<2000 {
      try file.seek(toOffset: UInt64(index) * 65536 + UInt64(index % 4096))
      try file.write(contentsOf: Data("run \(index)".utf8))
    }
    try file.close()
    try run("tar", "-S", "--format=pax", "-C", scratch("t"), "-cf", scratch("a.tar"), ".")
    let builder = try BaseDiskBuilder(path: scratch("disk.ext4"), options: .init(identity: "x"))
    try builder.apply(FileByteSource(path: scratch("a.tar")))
    try builder.finish()
    try run("e2fsck", "-fn", scratch("disk.ext4"))
    try HostTree(root: scratch("t")).expectEqual(try DiskImage(scratch("disk.ext4")))
  }

  @Test func largeFileWithoutHoles() throws {
    // More than 128 MiB is more than one extent, and more than 32,768 blocks more than one group.
    let scratch = try Scratch()
    let size = 300 << 20
    var state: UInt64 = 1
    var left = size
    let source = ClosureByteSource { buffer in
      let count = min(buffer.count, left) / 8 * 8
      for index in stride(from: 0, to: count, by: 8) {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        buffer.storeBytes(of: state, toByteOffset: index, as: UInt64.self)
      }
      left -= count
      return count
    }
    let builder = try BaseDiskBuilder(path: scratch("d"), options: .init(identity: "x"))
    try builder.addFile("large", FileAttributes(mode: 0o644), data: source)
    try builder.finish()
    try run("e2fsck", "-fn", scratch("d"))
    let disk = try DiskImage(scratch("d"))
    var check: UInt64 = 1
    var equal = true
    var seen = 0
    try disk.read(try disk.inode("large")) { piece in
      for index in stride(from: 0, to: piece.count, by: 8) {
        check = check &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        if piece.load(fromByteOffset: index, as: UInt64.self) != check { equal = false }
      }
      seen += piece.count
    }
    #expect(equal && seen == size)
  }

  @Test func replacedFilesLeaveHoles() throws {
    let scratch = try Scratch()
    let builder = try BaseDiskBuilder(path: scratch("d"), options: .init(identity: "x"))
    for round in 0..<8 {
      var member = TestArchive.Member(.file, "file")
      member.data = [UInt8](repeating: UInt8(round + 1), count: 4 << 20)
      let layer = TestArchive.make { $0.add(member) }
      try builder.apply(MemoryByteSource(layer))
    }
    let statistics = try builder.finish()
    try run("e2fsck", "-fn", scratch("d"))
    #expect(try DiskImage(scratch("d")).content("file") == [UInt8](repeating: 8, count: 4 << 20))
    #expect(statistics.allocatedBytes < 6 << 20)
  }

  @Test func limits() throws {
    let many = TestArchive.make { archive in for index in 0..<50 { archive.file("f\(index)") } }
    #expect(try buildFailure([many]) { $0.maximumInodes = 40 }.code == .limitExceeded)
    var member = TestArchive.Member(.file, "big")
    member.data = [UInt8](repeating: 1, count: 8 << 20)
    let big = TestArchive.make { $0.add(member) }
    #expect(try buildFailure([big]) { $0.maximumBytes = 4 << 20 }.code == .limitExceeded)
    #expect(try buildFailure([big]) { $0.limits.fileBytes = 4 << 20 }.code == .limitExceeded)
  }
}
