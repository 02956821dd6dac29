import Dispatch
import Foundation
import IgniteOCI
import Synchronization
import Testing

@testable import IgniteImages

/// Imports of small packages made here.
@Suite struct KernelImportTests {
  private func entries(_ path: String) throws -> [String] {
    guard FileManager.default.fileExists(atPath: path) else { return [] }
    return try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  private func program(_ scratch: Scratch, _ name: String = "init") throws -> String {
    try scratch.write(name, [0x7f, 0x45, 0x4c, 0x46] + Array(name.utf8))
  }

  private func importing(
    _ file: String, into scratch: Scratch, name: String? = nil,
    progress: @escaping @Sendable (KernelImportProgress) -> Void = { _ in }
  ) async throws -> ImportedKernel {
    try await importTestKernel(
      source: .package(path: file), name: name, initPath: try program(scratch), dataRoot: scratch("data"),
      progress: progress)
  }

  @Test func makesAllFilesOnce() async throws {
    let scratch = try Scratch()
    let file = try TestPackage.complete(in: scratch).build(in: scratch)
    let kernel = try await importing(file, into: scratch)
    #expect(kernel.name == "debian/linux-image-9.9.9-test:9.9.9")
    #expect(kernel.version == "9.9.9-test")
    #expect(kernel.moduleCount == 5)
    #expect(kernel.facts.hasACPI && kernel.facts.hasOverlay && !kernel.facts.virtioBuiltIn)
    #expect(kernel.source == file)
    #expect(
      kernel.initrdModules == [
        "00-virtio_ring.ko", "01-virtio.ko", "02-virtio_mmio.ko", "03-virtio_console.ko", "04-virtio_blk.ko",
      ])
    let digest = try run("sha256sum", file).prefix(64)
    #expect(kernel.digest.hex == digest)

    let store = KernelStore(root: scratch("data"))
    #expect(try store.list() == [kernel])
    #expect(try entries(scratch("data/kernels")) == [kernel.digest.hex])
    let files = try entries(store.path(of: kernel.digest))
    #expect(files.count == 6)
    #expect(Set(files).isSuperset(of: ["vmlinux", "modules.ext4", "modules.cpio", "kernel.json", "initrd.of"]))
    #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: store.vmlinux(of: kernel)))) == TestELF.kernel())
    #expect(store.usage(kernel.digest) > 0)
    let disk = try #require(store.modulesDisk(of: kernel))
    try run("e2fsck", "-fn", disk)
    #expect(
      try run("debugfs", "-R", "cat modules.dep", disk).contains(
        "kernel/virtio/virtio_mmio.ko: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n"))

    let told = Mutex<[KernelImportProgress]>([])
    let again = try await importing(file, into: scratch, name: "test/kernel:2") { step in
      told.withLock { $0.append(step) }
    }
    #expect(told.withLock { $0 } == [.reused(package: "linux-image-9.9.9-test")])
    #expect(again.name == "test/kernel:2" && again.created == kernel.created)
    #expect(try store.list() == [again])

    try store.remove(kernel.digest)
    #expect(try entries(scratch("data/kernels")).isEmpty)
    #expect(try store.list().isEmpty)
    #expect(throws: ImageError.self) { try store.remove(kernel.digest) }
    let missing = #expect(throws: ImageError.self) { try store.kernel(kernel.digest) }
    #expect(missing?.code == .notFound)
  }

  @Test func theInitrdFollowsTheProgram() async throws {
    let scratch = try Scratch()
    let kernel = try await importing(try TestPackage.complete(in: scratch).build(in: scratch), into: scratch)
    let store = KernelStore(root: scratch("data"))
    let first = try store.initrd(for: kernel, initPath: try program(scratch))
    let bytes = try Data(contentsOf: URL(fileURLWithPath: first))
    let second = try store.initrd(for: kernel, initPath: try program(scratch, "other"))
    #expect(first != second)
    #expect(try entries(store.path(of: kernel.digest)).filter { $0.hasPrefix("initrd-") }.count == 1)
    #expect(try store.initrd(for: kernel, initPath: try program(scratch)) == first)
    #expect(try Data(contentsOf: URL(fileURLWithPath: first)) == bytes)

    #expect(throws: ImageError.self) { try store.initrd(for: kernel, initPath: scratch("nothing")) }
    let script = try scratch.write("script", Array("#!/bin/sh\n".utf8))
    #expect(throws: ImageError.self) { try store.initrd(for: kernel, initPath: script) }
    _ = try scratch.write("data/kernels/\(kernel.digest.hex)/modules.cpio", [1, 2, 3])
    let damaged = #expect(throws: ImageError.self) {
      try store.initrd(for: kernel, initPath: try self.program(scratch, "third"))
    }
    #expect(damaged?.code == .corrupt)
  }

  @Test func failuresNameTheirReasonAndLeaveNothing() async throws {
    let scratch = try Scratch()
    let good = try TestPackage.complete(in: scratch)
    var wrong: [(ImageError.Code, String, TestPackage)] = []
    func add(_ code: ImageError.Code, _ words: String, _ change: (inout TestPackage) -> Void) {
      var package = good
      change(&package)
      wrong.append((code, words, package))
    }
    add(.notFound, "the package hello: it holds no kernel") { package in
      package.name = "hello"
      package.kernel = nil
    }
    add(.unsupported, "is for arm64") { $0.architecture = "arm64" }
    add(.corrupt, "boot/vmlinuz-9.9.9-test") { $0.kernel = Array("no kernel at all".utf8) }
    add(.unsupported, "PVH") { $0.kernel = TestImage.bzImage(TestELF.kernel(noteType: 1)) }
    add(.unsupported, "lacks virtio_blk") { $0.modules["block/virtio_blk.ko"] = nil }
    add(.corrupt, "lacks the module virtio_ring, which virtio needs") { $0.modules["virtio/virtio_ring.ko"] = nil }
    add(.corrupt, "need each other") { $0.modules["virtio/virtio_ring.ko"] = TestELF.module(["depends=virtio"]) }
    add(.corrupt, "modules/9.9.9-test/kernel/net/x.ko: it is no ELF file") { $0.modules["net/x.ko"] = [1, 2, 3] }
    add(.corrupt, "z.ko.zst: the zstd data is truncated") { $0.modules["z.ko.zst"] = [0x28, 0xb5, 0x2f, 0xfd, 0, 0] }
    for (index, (code, words, package)) in wrong.enumerated() {
      let file = try package.build(in: scratch, file: "wrong-\(index).deb")
      let error = await #expect(throws: ImageError.self, "\(words)") { try await self.importing(file, into: scratch) }
      #expect(error?.code == code, "\(words)")
      #expect(error?.message.contains(words) == true, "\(words): \(error?.message ?? "")")
      #expect(try entries(scratch("data/kernels")).isEmpty, "\(words)")
    }
    let missing = await #expect(throws: ImageError.self) { try await self.importing(scratch("no.deb"), into: scratch) }
    #expect(missing?.code == .notFound)
    let named = await #expect(throws: ImageError.self) {
      try await self.importing(scratch("no.deb"), into: scratch, name: "no name")
    }
    #expect(named?.code == .invalidReference)
  }

  @Test func aKernelWithEverythingBuiltInNeedsNoModules() async throws {
    let scratch = try Scratch()
    var package = try TestPackage.complete(in: scratch)
    package.modules = [:]
    package.configuration =
      ["VIRTIO", "VIRTIO_MMIO", "VIRTIO_CONSOLE", "VIRTIO_BLK", "VIRTIO_NET", "EXT4_FS", "OVERLAY_FS", "VMGENID"]
      .map { "CONFIG_\($0)=y\n" }.joined() + "# CONFIG_MODULES is not set\n"
    let kernel = try await importing(try package.build(in: scratch), into: scratch)
    #expect(kernel.facts.virtioBuiltIn && kernel.facts.hasVMGenID && !kernel.facts.hasACPI)
    #expect(kernel.initrdModules.isEmpty)
    #expect(KernelStore(root: scratch("data")).modulesDisk(of: kernel) == nil)
  }

  @Test func modulesThatNobodyExpectedAreReadInASecondPass() async throws {
    let scratch = try Scratch()
    var package = try TestPackage.complete(in: scratch)
    package.modules["block/virtio_blk.ko"] = TestELF.module(["depends=virtio,aaa_surprise"])
    package.modules["aaa_surprise.ko"] = TestELF.module(["depends="])
    let kernel = try await importing(try package.build(in: scratch), into: scratch)
    #expect(kernel.initrdModules.suffix(2) == ["04-aaa_surprise.ko", "05-virtio_blk.ko"])
    let initrd = try KernelStore(root: scratch("data")).initrd(for: kernel, initPath: try program(scratch))
    let listing = try run("sh", "-c", "cpio -tv --quiet < \(initrd)")
    let size = TestELF.module(["depends="]).count
    #expect(listing.split(separator: "\n").contains { $0.contains(" \(size) ") && $0.hasSuffix("04-aaa_surprise.ko") })
  }

  @Test func twoAtOnceMakeOneKernel() async throws {
    let scratch = try Scratch()
    let file = try TestPackage.complete(in: scratch).build(in: scratch)
    let initPath = try program(scratch)
    let data = scratch("data")
    let kernels = try await withThrowingTaskGroup(of: ImportedKernel.self) { group in
      for _ in 0..<6 {
        group.addTask {
          try await importTestKernel(source: .package(path: file), initPath: initPath, dataRoot: data)
        }
      }
      return try await group.reduce(into: Set()) { $0.insert($1) }
    }
    #expect(kernels.count == 1)
    #expect(try entries(scratch("data/kernels")).count == 1)
  }

  @Test func whatAKilledImportLeftIsRemoved() async throws {
    let scratch = try Scratch()
    for name in [".import-abc/kernel", ".apt-1-2", ".remove-9-def"] {
      try FileManager.default.createDirectory(
        atPath: scratch("data/kernels/\(name)"), withIntermediateDirectories: true)
    }
    let kernel = try await importing(try TestPackage.complete(in: scratch).build(in: scratch), into: scratch)
    #expect(try entries(scratch("data/kernels")) == [kernel.digest.hex])
  }

  @Test func cancellationLeavesNothing() async throws {
    let scratch = try Scratch()
    var package = try TestPackage.complete(in: scratch)
    // Large enough that the unpacking tells of its progress.
    package.kernel = TestImage.bzImage(TestELF.kernel(padding: 8 << 20))
    package.compression = "none"
    let file = try package.build(in: scratch)
    let initPath = try program(scratch)
    let data = scratch("data")
    let started = AsyncStream<Void>.makeStream()
    let go = DispatchSemaphore(value: 0)
    let task = Task {
      try await importTestKernel(source: .package(path: file), initPath: initPath, dataRoot: data) { step in
        guard case .unpacking = step else { return }
        started.continuation.yield()
        // The import has a thread of its own, which waits here until it is cancelled.
        go.wait()
      }
    }
    for await _ in started.stream { break }
    task.cancel()
    for _ in 0..<100 { go.signal() }
    let error = await #expect(throws: ImageError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    #expect(try entries(scratch("data/kernels")).isEmpty)
  }
}
