import Foundation
import Glibc
import IgniteImages
import Testing

/// Disks compared with what GNU tar unpacks from the same layers.
@Suite struct DiskContentTests {
  /// Layers with every kind of file; names and values at the edges of the formats.
  static var layers: [[UInt8]] {
    let first = TestArchive.make { archive in
      var root = TestArchive.Member(.directory, "./")
      root.mode = 0o711
      root.modified = FileTime(seconds: 1_500_000_001, nanoseconds: 5)
      archive.add(root)
      // GNU tar sets a directory's time when it leaves it, so each comes right before what it holds.
      archive.directory("bin/")
      var su = TestArchive.Member(.file, "./bin/su")
      su.mode = 0o6755
      su.data = [UInt8](repeating: 0x55, count: 4096)
      su.modified = FileTime(seconds: 1_234_567_890, nanoseconds: 987_654_321)
      archive.add(su)
      var ping = TestArchive.Member(.file, "bin/ping")
      ping.data = Array("ping".utf8)
      ping.attributes = [
        ("security.capability", [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("user.note", Array("a note".utf8)),
      ]
      archive.add(ping)
      var labelled = TestArchive.Member(.file, "bin/labelled")
      labelled.attributes = (0..<8).map { ("user.attribute-\($0)", [UInt8](repeating: UInt8($0), count: 100 + $0)) }
      labelled.attributes.append(("trusted.secret", [0, 1, 0]))
      archive.add(labelled)
      var listed = TestArchive.Member(.directory, "shared")
      listed.mode = 0o2775
      // user::rwx user:1000:rwx group::r-x mask::rwx other::---
      let acl: [UInt8] = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 232, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7,
        0,
        255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
      ]
      listed.attributes = [("system.posix_acl_default", acl)]
      archive.add(listed)
      var owned = TestArchive.Member(.file, "owned")
      owned.uid = 2_000_000_000
      owned.gid = 4_000_000_001
      archive.add(owned)
      var tmp = TestArchive.Member(.directory, "tmp")
      tmp.mode = 0o1777
      archive.add(tmp)
      archive.link("bin/hard", to: "bin/su", hard: true)
      archive.link("bin/soft", to: "su")
      archive.link("bin/59", to: String(repeating: "s", count: 59))
      archive.link("bin/60", to: String(repeating: "s", count: 60))
      archive.link("bin/long", to: String(repeating: "directory/", count: 300))
      archive.directory("dev")
      for (name, major, minor) in [("null", 1, 3), ("edge", 255, 255), ("large", 256, 256), ("huge", 4095, 1_048_575)] {
        var device = TestArchive.Member(.characterDevice, "dev/" + name)
        device.mode = 0o666
        device.device = (UInt32(major), UInt32(minor))
        archive.add(device)
      }
      var disk = TestArchive.Member(.blockDevice, "dev/disk")
      disk.device = (8, 300)
      archive.add(disk)
      archive.add(TestArchive.Member(.fifo, "dev/fifo"))
      archive.directory("sizes")
      for size in [0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 1_048_576, 3_000_000] {
        var file = TestArchive.Member(.file, "sizes/\(size)")
        file.data = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
        archive.add(file)
      }
      archive.directory("names")
      archive.file("names/" + String(repeating: "n", count: 255), "255")
      archive.file("names/ünïcödé and spaces \u{1}", "text")
      for depth in 1...40 { archive.directory((0..<depth).map { "directory-\($0)" }.joined(separator: "/")) }
      archive.file((0..<40).map { "directory-\($0)" }.joined(separator: "/") + "/deep", "deep")
      archive.directory("times")
      let times: [Int64] = [-2_000_000_000, -1, 0, 4_102_444_800, 12_000_000_000]
      for year in times {
        var file = TestArchive.Member(.file, "times/\(year)")
        file.modified = FileTime(seconds: year, nanoseconds: 999_999_999)
        archive.add(file)
      }
    }
    let second = TestArchive.make { archive in
      archive.file("bin/added", "by the second layer")
      archive.link("bin/across", to: "bin/ping", hard: true)
      archive.file("owned", "replaced")
      archive.directory("tmp", mode: 0o1755)
      archive.file("/absolute", "stays below the root")
    }
    return [first, second]
  }

  @Test func everyKindOfFileIsAsWritten() throws {
    let scratch = try Scratch()
    let disk = try buildDisk(scratch, Self.layers)
    let records = try disk.records()
    #expect(disk.label == "ignite-base")
    #expect(records[""]?.mode == 0o711)
    #expect(records["bin/su"]?.mode == 0o6755)
    #expect(records["bin/su"]?.links == 2)
    #expect(try disk.inode("bin/su") == disk.inode("bin/hard"))
    #expect(try disk.inode("bin/ping") == disk.inode("bin/across"))
    #expect(records["bin/su"]?.modified == FileTime(seconds: 1_234_567_890, nanoseconds: 987_654_321))
    #expect(records["bin/ping"]?.attributes["user.note"] == Array("a note".utf8))
    #expect(records["bin/ping"]?.attributes["security.capability"]?.count == 20)
    #expect(records["bin/labelled"]?.attributes.count == 9)
    #expect(records["bin/labelled"]?.attributes["user.attribute-7"] == [UInt8](repeating: 7, count: 107))
    #expect(records["shared"]?.attributes["system.posix_acl_default"]?.count == 44)
    #expect(records["owned"]?.uid == 0)
    #expect(try disk.text("owned") == "replaced")
    #expect(records["dev/huge"]?.device == "4095:1048575")
    #expect(records["dev/edge"]?.device == "255:255")
    #expect(records["dev/disk"]?.device == "8:300")
    #expect(records["bin/long"]?.target.count == 3000)
    #expect(records["bin/60"]?.target.count == 60)
    #expect(records["tmp"]?.mode == 0o1755)
    #expect(try disk.text("absolute") == "stays below the root")
    #expect(try disk.content("sizes/65537") == (0..<65537).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) })
    #expect(records["times/-2000000000"]?.modified == FileTime(seconds: -2_000_000_000, nanoseconds: 999_999_999))
    #expect(records["times/12000000000"]?.modified.seconds == 12_000_000_000)
  }

  /// As root with owners, devices and all attributes; otherwise with what an ordinary user can unpack.
  @Test func everyKindOfFileIsAsGNUTarUnpacksIt() throws {
    let scratch = try Scratch()
    let disk = try buildDisk(scratch, Self.layers)
    let isRoot = geteuid() == 0
    try run("mkdir", scratch("root"))
    for (index, layer) in Self.layers.enumerated() {
      let path = try scratch.write("\(index).tar", layer)
      let rights = isRoot ? ["--same-owner", "--xattrs-include=*"] : ["--no-same-owner", "--xattrs-include=user.*"]
      let left = isRoot ? [] : ["--exclude=dev", "--exclude=shared"]
      try run(["tar", "--xattrs", "--numeric-owner", "-p"] + rights + left + ["-C", scratch("root"), "-xf", path])
    }
    try HostTree(root: scratch("root")).expectEqual(disk, untimed: ["bin"], asRoot: isRoot, missing: ["dev", "shared"])
  }

  /// The other way round: a tree of the host, packed by GNU tar, against itself.
  @Test(arguments: ["gnu", "oldgnu", "pax", "posix --sparse-version=0.0", "posix --sparse-version=0.1"])
  func treesPackedByGNUTar(_ format: String) throws {
    let scratch = try Scratch()
    try run("mkdir", "-p", scratch("t/sub/dir"))
    _ = try scratch.write("t/file", Array("content".utf8))
    try run("ln", scratch("t/file"), scratch("t/sub/hard"))
    try run("ln", "-s", "../file", scratch("t/sub/soft"))
    try run("ln", "-s", String(repeating: "x/", count: 100), scratch("t/sub/long"))
    try run("mkfifo", scratch("t/fifo"))
    try run("truncate", "-s", "5G", scratch("t/sparse"))
    try run(
      "sh", "-c",
      "printf end >> \(scratch("t/sparse")); printf mid | dd of=\(scratch("t/sparse")) bs=1 seek=3000000001 conv=notrunc 2>&1"
    )
    try run("touch", scratch("t/" + String(repeating: "l", count: 240)))
    try run("sh", "-c", "for i in $(seq 400); do : > \(scratch("t/sub/dir"))/a-file-with-some-name-$i; done")
    try run(
      ["tar", "-S"]
        + format.split(separator: " ").enumerated().map {
          $0.offset == 0 ? "--format=\($0.element)" : String($0.element)
        }
        + ["-C", scratch("t"), "-cf", scratch("a.tar"), "."])
    let builder = try BaseDiskBuilder(path: scratch("disk.ext4"), options: .init(identity: "x"))
    try builder.apply(FileByteSource(path: scratch("a.tar")))
    let statistics = try builder.finish(sync: true)
    try run("e2fsck", "-fn", scratch("disk.ext4"))
    #expect(statistics.allocatedBytes < 4 << 20, "holes stay holes")
    let disk = try DiskImage(scratch("disk.ext4"))
    let tree = HostTree(root: scratch("t"))
    // The times of these formats end at seconds; 5 GiB are compared without reading the holes.
    let records = try disk.records()
    for path in try tree.paths() {
      var theirs = try tree.record(path)
      var mine = try #require(records[path])
      if !format.hasPrefix("p") { theirs.modified.nanoseconds = 0; mine.modified.nanoseconds = 0 }
      #expect(mine == theirs, "\(path)")
    }
    #expect(records.count == (try tree.paths().count) + 1)
    #expect(records["sparse"]?.size == 5 << 30 + 3)
    #expect(try disk.inode("file") == disk.inode("sub/hard"))
    #expect(try disk.content("sparse", at: 5 << 30, count: 10) == Array("end".utf8))
    #expect(try disk.content("sparse", at: 3_000_000_000, count: 5) == [0, 0x6d, 0x69, 0x64, 0])
  }

  @Test func sameLayersGiveTheSameBytes() throws {
    let scratch = try Scratch()
    _ = try buildDisk(scratch, Self.layers, name: "one", identity: "sha256:" + String(repeating: "ab", count: 32))
    _ = try buildDisk(scratch, Self.layers, name: "two", identity: "sha256:" + String(repeating: "ab", count: 32))
    try run("cmp", scratch("one"), scratch("two"))
    _ = try buildDisk(scratch, Self.layers, name: "three", identity: "sha256:" + String(repeating: "cd", count: 32))
    #expect(throws: ToolFailure.self) { try run("cmp", scratch("one"), scratch("three")) }
  }

  @Test func singleCallsBuildADiskToo() throws {
    let scratch = try Scratch()
    let builder = try BaseDiskBuilder(path: scratch("d"), options: .init(identity: "k"))
    let attributes = FileAttributes(mode: 0o640, uid: 5, gid: 6, modified: FileTime(seconds: 99))
    try builder.addFile("lib/modules/6.1/a.ko", attributes, data: MemoryByteSource([UInt8](repeating: 9, count: 5000)))
    try builder.addDirectory("lib/modules", FileAttributes(mode: 0o750))
    try builder.addSymbolicLink("lib/current", to: "modules", FileAttributes(mode: 0o777))
    try builder.finish()
    try run("e2fsck", "-fn", scratch("d"))
    let disk = try DiskImage(scratch("d"))
    #expect(try disk.record("lib/modules/6.1/a.ko").mode == 0o640)
    #expect(try disk.record("lib/modules/6.1/a.ko").size == 5000)
    #expect(try disk.record("lib/modules").mode == 0o750)
    #expect(try disk.record("lib").mode == 0o755)
    #expect(try disk.record("lib/current").target == "modules")
    #expect(throws: ImageError.self) { try builder.addDirectory("late", attributes) }
  }

  @Test func filterRenamesAndLeavesOut() throws {
    let scratch = try Scratch()
    let builder = try BaseDiskBuilder(path: scratch("d"), options: .init(identity: "k"))
    var options = BaseDiskBuilder.LayerOptions()
    options.whiteouts = false
    var told: [UInt64] = []
    options.progress = { told.append($0) }
    options.filter = { entry in
      guard entry.path.starts(with: Array("keep/".utf8)) else { return false }
      entry.path = Array("kept/".utf8) + entry.path.dropFirst(5)
      return true
    }
    let layer = TestArchive.make { archive in
      archive.file("keep/a", "A")
      archive.file("drop/b", "B")
      archive.file("keep/.wh.c", "no whiteout here")
    }
    try builder.apply(MemoryByteSource(layer), options: options)
    try builder.finish()
    #expect(try DiskImage(scratch("d")).paths() == ["", "kept", "kept/a", "kept/.wh.c"])
    #expect(told.last == UInt64(layer.count))
  }

  @Test func emptyAndAbandonedDisks() throws {
    let scratch = try Scratch()
    let disk = try buildDisk(scratch, [TestArchive.make { _ in }], name: "empty")
    #expect(try disk.paths() == [""])
    do {
      let builder = try BaseDiskBuilder(path: scratch("left"), options: .init(identity: "x"))
      try builder.addDirectory("a", FileAttributes(mode: 0o755))
      #expect(FileManager.default.fileExists(atPath: scratch("left")))
    }
    #expect(!FileManager.default.fileExists(atPath: scratch("left")))
    _ = try scratch.write("there", [1])
    #expect(throws: ImageError.self) { try BaseDiskBuilder(path: scratch("there"), options: .init(identity: "x")) }
    #expect(FileManager.default.fileExists(atPath: scratch("there")), "another's file is left alone")
  }

  /// One template serves disks of all images: as devices they have a few sizes, and no byte more on the host.
  @Test func sizesAsDevices() throws {
    #expect(DiskSize.rounded(0) == 16 << 30)
    #expect(DiskSize.rounded(16 << 30) == 16 << 30)
    #expect(DiskSize.rounded((16 << 30) + 1) == 256 << 30)
    #expect(DiskSize.rounded(4 << 40) == 4 << 40)
    #expect(DiskSize.rounded(.max) == .max)
    let scratch = try Scratch()
    let disk = try buildDisk(scratch, Self.layers) { $0.roundsFileSize = true }
    var status = stat()
    #expect(stat(disk.path, &status) == 0)
    #expect(UInt64(status.st_size) == DiskSize.least)
    #expect(status.st_blocks * 512 < 16 << 20)
    try run("e2fsck", "-fn", disk.path)
  }

  @Test func roomIsLeftWhereItIsAskedFor() throws {
    let scratch = try Scratch()
    let disk = try buildDisk(scratch, Self.layers) { $0.minimumBytes = 3 << 30 }
    var status = stat()
    #expect(stat(disk.path, &status) == 0)
    #expect(status.st_size >= 3 << 30)
    #expect(status.st_blocks * 512 < 16 << 20)
    let summary = try run("dumpe2fs", "-h", disk.path)
    let free = summary.split(separator: "\n").first { $0.hasPrefix("Free inodes:") }
    #expect(Int(free?.split(separator: " ").last ?? "0") ?? 0 > 100_000)
  }
}
