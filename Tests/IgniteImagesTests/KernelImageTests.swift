import Foundation
import Testing

@testable import IgniteImages

@Suite struct KernelImageTests {
  private func unpack(_ image: [UInt8], in scratch: Scratch) throws -> [UInt8] {
    let path = scratch("vmlinux-\(UUID().uuidString)")
    let size = try KernelImage.unpack(MemoryByteSource(image), to: path)
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
    #expect(bytes.count == Int(size))
    return bytes
  }

  @Test func unpacksEveryPacking() throws {
    let scratch = try Scratch()
    // More than one LZ4 block of 8 MiB.
    let kernel = TestELF.kernel(padding: 20 << 20)
    let payloads = [
      try TestImage.lz4(kernel, in: scratch), try TestImage.lz4(kernel, in: scratch, sized: false),
      try TestImage.packed(kernel, by: ["gzip", "-1"], ".gz", in: scratch),
      try TestImage.packed(kernel, by: ["xz", "-0", "--check=crc32", "--x86", "--lzma2=preset=0"], ".xz", in: scratch)
        + [1, 2, 3, 4],
      try TestImage.packed(kernel, by: ["zstd", "-q", "-19"], ".zst", in: scratch) + [1, 2, 3, 4],
      kernel,
    ]
    for (index, payload) in payloads.enumerated() {
      let same = try unpack(TestImage.bzImage(payload), in: scratch) == kernel
      #expect(same, "payload \(index)")
    }
  }

  @Test func holesTakeNoSpace() throws {
    let scratch = try Scratch()
    let bytes = [UInt8](repeating: 0, count: 8 << 20) + [1, 2, 3] + [UInt8](repeating: 0, count: 3 << 20)
    #expect(try SparseFile.write(MemoryByteSource(bytes), to: scratch("sparse")) == UInt64(bytes.count))
    #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: scratch("sparse")))) == bytes)
    #expect(KernelStore.allocated(scratch("sparse")) <= 64 << 10)
  }

  @Test func refusesPackingsItLacks() throws {
    let scratch = try Scratch()
    let payload = try TestImage.packed(TestELF.kernel(), by: ["bzip2"], ".bz2", in: scratch)
    let error = #expect(throws: ImageError.self) { try self.unpack(TestImage.bzImage(payload), in: scratch) }
    #expect(error?.code == .unsupported)
  }

  @Test func refusesDamagedLZ4() throws {
    let scratch = try Scratch()
    let good = try TestImage.lz4(TestELF.kernel(padding: 9 << 20), in: scratch)
    func expect(_ words: String, _ change: (inout [UInt8]) -> Void) {
      var payload = good
      change(&payload)
      let image = TestImage.bzImage(payload)
      let error = #expect(throws: ImageError.self) { try self.unpack(image, in: scratch) }
      #expect(error?.code == .corrupt)
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
    expect("says it has") { $0.set($0.count - 4, 12345, 4) }
    expect("more than a block can have") { $0.set(4, 0x7fff_ffff, 4) }
    expect("more than a block can have") { $0.set(4, 0xffff_ffff, 4) }
    expect("truncated") { $0.removeLast($0.count / 2) }
    expect("damaged in the block") { payload in for index in 8..<400 { payload[index] = 0xff } }
  }

  @Test func refusesWhatIsNoImage() throws {
    let scratch = try Scratch()
    let payload = try TestImage.lz4(TestELF.kernel(), in: scratch)
    let good = TestImage.bzImage(payload)
    func expect(_ code: ImageError.Code, _ words: String, _ change: (inout [UInt8]) -> Void) {
      var image = good
      change(&image)
      let changed = image
      let error = #expect(throws: ImageError.self) { try self.unpack(changed, in: scratch) }
      #expect(error?.code == code)
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
    expect(.corrupt, "magic number") { $0[0x202] = 0 }
    expect(.corrupt, "magic number") { $0.removeLast($0.count - 100) }
    expect(.unsupported, "boot protocol") { $0.set(0x206, 0x0200, 2) }
    expect(.corrupt, "payload of 0 bytes") { $0.set(0x24c, 0, 4) }
    expect(.corrupt, "payload of 4294967295 bytes") { $0.set(0x24c, 0xffff_ffff, 4) }
    expect(.corrupt, "at byte") { $0.set(0x248, 0xffff_ffff, 4) }
    expect(.corrupt, "ends before its payload") { $0.set(0x248, 0x0fff_ffff, 4) }
    expect(.unsupported, "packed by a method") { $0.set(0x248, 16, 4) }
  }

  @Test func wantsAKernelThatBootsByPVH() throws {
    let scratch = try Scratch()
    func check(_ bytes: [UInt8]) throws {
      try KernelImage.check(try scratch.write("vmlinux", bytes))
    }
    try check(TestELF.kernel())
    for (wrong, words) in [
      (TestELF.kernel(noteType: 17), "PVH"), (TestELF.kernel(noteName: "GNU"), "PVH"),
      (TestELF.kernel(machine: 183), "x86-64"), (TestELF.module([]), "x86-64"),
    ] {
      let error = #expect(throws: ImageError.self) { try check(wrong) }
      #expect(error?.code == .unsupported)
      #expect(error?.message.contains(words) == true)
    }
    var lie = TestELF.kernel()
    lie.set(64 + 8, UInt64.max, 8)
    #expect(throws: ImageError.self) { try check(lie) }
    lie = TestELF.kernel()
    lie.set(120, 0xffff_ffff, 4)
    #expect(throws: ImageError.self) { try check(lie) }
    lie = TestELF.kernel()
    lie.set(56, 0xffff, 2)
    #expect(throws: ImageError.self) { try check(lie) }
  }

  @Test func damagedKernelsNeverTrap() throws {
    let scratch = try Scratch()
    let good = TestELF.kernel(padding: 64)
    for offset in 0..<good.count {
      for value: UInt8 in [0, 0x7f, 0xff] {
        var bytes = good
        bytes[offset] = value
        let file = try scratch.write("vmlinux", bytes)
        do { try KernelImage.check(file) } catch { continue }
      }
    }
    #expect(throws: ImageError.self) { try KernelImage.check(try scratch.write("empty", [])) }
  }
}
