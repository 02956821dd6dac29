import Foundation
import Glibc
import IgniteImages
import Testing

@Suite struct DiskWritableTests {
  private func allocated(_ path: String) throws -> (size: Int, blocks: Int) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw ToolFailure(description: "stat \(path)") }
    return (Int(status.st_size), Int(status.st_blocks) * 512)
  }

  @Test(arguments: [16, 64, 100, 1024, 4096, 65536, 1 << 20])
  func blankDisksAreCleanAndSparse(_ mebibytes: UInt64) throws {
    let scratch = try Scratch()
    try WritableDisk.create(path: scratch("w"), size: mebibytes << 20)
    try run("e2fsck", "-fn", scratch("w"))
    let (size, blocks) = try allocated(scratch("w"))
    #expect(size == Int(mebibytes) << 20)
    if mebibytes <= 4096 { #expect(blocks < 1 << 20) }
    let disk = try DiskImage(scratch("w"))
    #expect(disk.label == "ignite-overlay")
    #expect(try disk.paths() == ["", "lost+found"])
    let summary = try run("dumpe2fs", "-h", scratch("w"))
    for feature in ["has_journal", "metadata_csum", "64bit", "extent"] { #expect(summary.contains(feature)) }
    #expect(summary.contains("Journal checksum type") || summary.contains("Total journal size"))
  }

  @Test func wrongSizesAndTakenNames() throws {
    let scratch = try Scratch()
    for size in [UInt64(0), 1, 15 << 20, 65 << 40, .max] {
      #expect(throws: ImageError.self) { try WritableDisk.create(path: scratch("w"), size: size) }
      #expect(!FileManager.default.fileExists(atPath: scratch("w")))
    }
    _ = try scratch.write("w", [1, 2, 3])
    #expect(throws: ImageError.self) { try WritableDisk.create(path: scratch("w"), size: 64 << 20) }
    #expect(try Data(contentsOf: URL(fileURLWithPath: scratch("w"))).count == 3)
  }

  @Test func copiesKeepHoles() throws {
    let scratch = try Scratch()
    try WritableDisk.create(path: scratch("w"), size: 4 << 30)
    try SparseCopy.copy(from: scratch("w"), to: scratch("copy"))
    try run("cmp", scratch("w"), scratch("copy"))
    #expect(try allocated(scratch("copy")).blocks < 1 << 20)
    try run("e2fsck", "-fn", scratch("copy"))
    // Data, hole, data up to an odd end.
    let file = try #require(FileHandle(forWritingAtPath: try scratch.write("odd", [1, 2, 3])))
    try file.seek(toOffset: 10_000_000)
    try file.write(contentsOf: Data(repeating: 7, count: 3_000_001))
    try file.close()
    try SparseCopy.copy(from: scratch("odd"), to: scratch("odd2"))
    try run("cmp", scratch("odd"), scratch("odd2"))
    #expect(throws: ImageError.self) { try SparseCopy.copy(from: scratch("odd"), to: scratch("odd2")) }
    #expect(throws: ImageError.self) { try SparseCopy.copy(from: scratch("missing"), to: scratch("x")) }
    #expect(!FileManager.default.fileExists(atPath: scratch("x")))
  }
}
