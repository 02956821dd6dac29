import Foundation
import IgniteOCI
import Testing

@testable import IgniteImages

/// Kernels out of images and files, made here as small as they may be.
@Suite struct KernelSourceTests {
  private static let version = "9.9.9-test"

  /// An ELF kernel that says its version, and its configuration where one is given.
  private func makeKernel(version: String = version, configuration: String? = nil, scratch: Scratch) throws -> [UInt8] {
    var elf = TestELF.kernel(padding: 2 << 20)
    elf += Array("\0Linux version \(version) (a@b) (gcc) #1 SMP PREEMPT_DYNAMIC\n\0".utf8)
    if let configuration {
      elf += Array("IKCFG_ST".utf8)
      elf += try TestImage.packed(Array(configuration.utf8), by: ["gzip", "-n"], ".gz", in: scratch)
      elf += Array("IKCFG_ED\0".utf8)
    }
    return elf + [UInt8](repeating: 7, count: 1000)
  }

  private static let allBuiltIn =
    ["ACPI", "SMP", "VIRTIO", "VIRTIO_MMIO", "VIRTIO_CONSOLE", "VIRTIO_BLK", "VIRTIO_NET", "EXT4_FS", "OVERLAY_FS"]
    .map { "CONFIG_\($0)=y\n" }.joined()

  private let modules: [String: [UInt8]] = [
    "kernel/virtio/virtio.ko": TestELF.module(["depends=", "vermagic=9.9.9-test SMP preempt mod_unload "]),
    "kernel/virtio/virtio_mmio.ko": TestELF.module(["depends=virtio", "alias=acpi*:LNRO0005:*"]),
    "kernel/block/virtio_blk.ko": TestELF.module(["depends=virtio"]),
    "kernel/char/virtio-console.ko": TestELF.module(["depends=virtio"]),
    "kernel/a/\(String(repeating: "long-name-", count: 12)).ko": TestELF.module(["depends="]),
    "modules.builtin": Array("kernel/fs/ext4/ext4.ko\nkernel/fs/overlayfs/overlay.ko\n".utf8),
    "modules.order": Array("kernel/virtio/virtio.ko\n".utf8),
  ]

  private func importing(_ source: KernelSource, _ scratch: Scratch) async throws -> ImportedKernel {
    let program = try scratch.write("init", [0x7f, 0x45, 0x4c, 0x46])
    return try await importTestKernel(source: source, initPath: program, dataRoot: scratch("data"))
  }

  private func failure(_ source: KernelSource, _ scratch: Scratch) async throws -> ImageError {
    let error = await #expect(throws: ImageError.self) { try await importing(source, scratch) }
    let left = try FileManager.default.contentsOfDirectory(atPath: scratch("data/kernels"))
    #expect(left.isEmpty)
    return try #require(error)
  }

  private func write(_ files: [String: [UInt8]], below folder: String) throws {
    for (name, bytes) in files {
      let url = URL(fileURLWithPath: "\(folder)/\(name)")
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(bytes).write(to: url)
    }
  }

  private func image(_ layers: [[UInt8]], _ scratch: Scratch) async throws -> KernelSource {
    var layout = try TestLayout(scratch("layout-\(UUID().uuidString)"))
    var all: [TestLayout.Layer] = []
    for tar in layers { all.append(try await layout.layer(tar: tar)) }
    try layout.list(try layout.image(all), tag: "k")
    return .image(.layout(path: layout.path, tag: "k"))
  }

  private func tar(_ body: (inout TestArchive) throws -> Void) throws -> [UInt8] {
    var archive = TestArchive()
    try body(&archive)
    return archive.finished
  }

  private func add(_ archive: inout TestArchive, _ path: String, _ bytes: [UInt8]) {
    var member = TestArchive.Member(.file, path)
    member.data = bytes
    archive.add(member)
  }

  /// Weave's kernels: a link in /boot, the configuration beside it, the modules; here with a second layer over it.
  @Test func imagesWithALinkToTheKernel() async throws {
    let scratch = try Scratch()
    let lower = try tar { archive in
      add(&archive, "boot/vmlinux-1.0", Array("old".utf8))
      add(&archive, "boot/config-1.0", Array("old".utf8))
      add(&archive, "lib/modules/1.0/modules.order", [])
      add(&archive, "boot/vmlinux-9.9.9-test", try makeKernel(scratch: scratch))
      archive.link("boot/vmlinux", to: "/boot/vmlinux-9.9.9-test")
      for (name, bytes) in modules.sorted(by: { $0.key < $1.key }) {
        add(&archive, "usr/lib/modules/9.9.9-test/\(name)", bytes)
      }
      archive.file("etc/passwd", "not of a kernel")
    }
    let upper = try tar { archive in
      archive.file("boot/.wh.vmlinux-1.0")
      archive.file("lib/modules/.wh.1.0")
      archive.link("lib/modules/9.9.9-test/build", to: "/usr/src/linux")
      archive.link(
        "lib/modules/9.9.9-test/kernel/again.ko", to: "usr/lib/modules/9.9.9-test/kernel/virtio/virtio.ko", hard: true)
    }
    let source = try await image([lower, upper], scratch)
    let kernel = try await importing(source, scratch)
    #expect(kernel.version == Self.version)
    #expect(kernel.name.hasPrefix("localhost/layout-") && kernel.name.hasSuffix(":k"))
    #expect(kernel.moduleCount == 6)
    #expect(kernel.facts.hasACPI && kernel.facts.hasOverlay && kernel.facts.hasSMP && !kernel.facts.virtioBuiltIn)
    #expect(
      kernel.initrdModules == ["00-virtio.ko", "01-virtio_mmio.ko", "02-virtio_console.ko", "03-virtio_blk.ko"])
    let store = KernelStore(root: scratch("data"))
    let disk = try #require(store.modulesDisk(of: kernel))
    try run("e2fsck", "-fn", disk)
    let listing = try run("debugfs", "-R", "ls -p /kernel/a", disk)
    #expect(listing.contains(String(repeating: "long-name-", count: 12)))
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch("data/kernels")) == [kernel.digest.hex])
    #expect(try await importing(source, scratch) == kernel)
  }

  @Test func imagesWithoutWhatAKernelNeeds() async throws {
    let scratch = try Scratch()
    let none = try await image([try tar { $0.file("etc/passwd", "x") }], scratch)
    #expect(try await failure(none, scratch).message.contains("it holds no kernel"))
    let dangling = try await image([try tar { $0.link("boot/vmlinux", to: "../../../etc/shadow") }], scratch)
    #expect(try await failure(dangling, scratch).message.contains("it holds no kernel"))
    let two = try await image(
      [
        try tar {
          $0.file("boot/vmlinuz-1", "x")
          $0.file("boot/vmlinuz-2", "y")
        }
      ], scratch)
    let several = try await failure(two, scratch)
    #expect(several.message.contains("/boot/vmlinuz-1, /boot/vmlinuz-2"))
    let junk = try await failure(try await image([try tar { $0.file("boot/vmlinuz", "junk") }], scratch), scratch)
    #expect(junk.code == .corrupt && junk.message.contains("/boot/vmlinuz"))
    let other = try await image(
      [
        try tar {
          add(&$0, "boot/vmlinuz", try makeKernel(scratch: scratch))
          $0.file("lib/modules/8.0/modules.order", "")
        }
      ], scratch)
    #expect(try await failure(other, scratch).message.contains("its modules are those of 8.0"))
    let mixed = try await image(
      [
        try tar {
          add(&$0, "boot/vmlinuz", try makeKernel(scratch: scratch))
          add(&$0, "lib/modules/9.9.9-test/kernel/x.ko", TestELF.module(["vermagic=1.2.3 SMP "]))
        }
      ], scratch)
    #expect(try await failure(mixed, scratch).message.contains("was built for 1.2.3"))
  }

  /// Layers that say the same name for ever, or hide the same for ever, do not fill the memory.
  @Test func treesAreBounded() throws {
    let scratch = try Scratch()
    let name = String(repeating: "n", count: 80)
    for member in ["boot/.wh.\(name)", "boot/.wh..wh..opq", "boot/\(name)"] {
      let source = repeated(member, count: 2_000)
      var tree = KernelTree()
      tree.limit = 1_000
      let error = #expect(throws: ImageError.self) {
        try tree.apply(source, into: scratch.path) { (_) throws(ImageError) in }
      }
      #expect(error?.code == .limitExceeded, "\(member)")
    }
    var tree = KernelTree()
    tree.nameLimit = 100
    let names = #expect(throws: ImageError.self) {
      try tree.apply(repeated("boot/\(name)", count: 3), into: scratch.path) { (_) throws(ImageError) in }
    }
    #expect(names?.code == .limitExceeded)
    tree = KernelTree()
    try tree.apply(
      MemoryByteSource(
        tar {
          $0.file("boot/a", "1")
          $0.file("lib/modules/1/x", "2")
          $0.file("usr/lib/modules/1/y/z", "3")
        }), into: scratch.path
    ) { (_) throws(ImageError) in }
    #expect(Set(tree.nodes.keys) == ["boot/a", "lib/modules/1/x", "lib/modules/1/y/z"])
    try tree.apply(
      MemoryByteSource(
        tar {
          $0.file("lib/modules/1/new", "4")
          $0.file("lib/modules/1/.wh..wh..opq")
          $0.file("../boot/b", "outside")
          $0.file("etc/boot/c", "elsewhere")
        }), into: scratch.path
    ) { (_) throws(ImageError) in }
    #expect(Set(tree.nodes.keys) == ["boot/a", "lib/modules/1/new"])
    for hidden in ["lib/.wh.modules", ".wh.lib", "usr/.wh.lib", "./.wh.usr", "usr/lib/modules/.wh..wh..opq"] {
      var copy = tree
      try copy.apply(MemoryByteSource(tar { $0.file(hidden) }), into: scratch.path) { (_) throws(ImageError) in }
      #expect(Set(copy.nodes.keys) == ["boot/a"], "\(hidden)")
    }
    for hidden in [".wh..wh..opq", "./.wh..wh..opq"] {
      var copy = tree
      try copy.apply(MemoryByteSource(tar { $0.file(hidden) }), into: scratch.path) { (_) throws(ImageError) in }
      #expect(copy.nodes.isEmpty, "\(hidden)")
    }
  }

  /// An archive with one symbolic link, or whiteout, over and over.
  private func repeated(_ name: String, count: Int) -> any ByteSource {
    var archive = TestArchive()
    archive.link(name, to: "x")
    let block = archive.bytes
    var left = count
    return ClosureByteSource { (buffer) throws(ImageError) in
      var filled = 0
      while left > 0, filled + block.count <= buffer.count {
        UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).copyBytes(from: block)
        filled += block.count
        left -= 1
      }
      return filled
    }
  }

  @Test func filesWithModulesOfAFolder() async throws {
    let scratch = try Scratch()
    let bytes = try makeKernel(scratch: scratch)
    let vmlinux = try scratch.write("vmlinux", bytes)
    let bzImage = try scratch.write("bzImage", TestImage.bzImage(try TestImage.lz4(bytes, in: scratch)))
    try write(modules, below: scratch("modules/9.9.9-test"))
    let kernel = try await importing(.file(path: vmlinux, modules: scratch("modules")), scratch)
    #expect(kernel.name == "localhost/kernel:9.9.9-test")
    #expect(kernel.moduleCount == 5 && kernel.initrdModules.count == 4)
    // The same by the folder itself, whatever it is called.
    try FileManager.default.copyItem(atPath: scratch("modules/9.9.9-test"), toPath: scratch("here"))
    #expect(try await importing(.file(path: vmlinux, modules: scratch("here")), scratch) == kernel)
    let packed = try await importing(.file(path: bzImage, modules: scratch("here")), scratch)
    #expect(packed.digest != kernel.digest && packed.vmlinuxSize == kernel.vmlinuxSize)

    let fresh = try Scratch()
    let wrong = try await failure(.file(path: vmlinux, modules: scratch("modules/9.9.9-test/kernel")), fresh)
    #expect(wrong.code == .notFound && wrong.advice?.contains("virtio") == true)
    #expect(try await failure(.file(path: vmlinux, modules: scratch("nothing")), fresh).code == .notFound)
    try write(["modules.order": [], "kernel/x.ko": TestELF.module(["depends="])], below: scratch("few"))
    let few = try await failure(.file(path: vmlinux, modules: scratch("few")), fresh)
    #expect(few.message.contains("the kernel lacks virtio_mmio"))
  }

  @Test func filesWithoutModules() async throws {
    let scratch = try Scratch()
    let bare = try scratch.write("bare", try makeKernel(scratch: scratch))
    let unknown = try await failure(.file(path: bare, modules: nil), scratch)
    #expect(unknown.message.contains("CONFIG_IKCONFIG") && unknown.advice?.contains("--modules") == true)
    let lacking = Self.allBuiltIn.replacingOccurrences(of: "VIRTIO_BLK=y", with: "VIRTIO_BLK=m")
    let modular = try scratch.write("modular", try makeKernel(configuration: lacking, scratch: scratch))
    #expect(
      try await failure(.file(path: modular, modules: nil), scratch).message.contains("the kernel lacks virtio_blk"))

    let whole = try scratch.write("whole", try makeKernel(configuration: Self.allBuiltIn, scratch: scratch))
    let kernel = try await importing(.file(path: whole, modules: nil), scratch)
    #expect(kernel.moduleCount == 0 && kernel.initrdModules.isEmpty)
    #expect(kernel.facts.hasACPI && kernel.facts.virtioBuiltIn)
    // What tells modprobe that all is built in goes into the initrd, and is worth no disk.
    let lists = ["modules.builtin": Array("kernel/fs/ext4/ext4.ko\n".utf8), "modules.order": []]
    try write(lists, below: scratch("lists"))
    let listed = try await importing(.file(path: whole, modules: scratch("lists")), scratch)
    #expect(listed.moduleCount == 0 && listed.modulesSize == 0 && listed.digest != kernel.digest)
    let folder = KernelStore(root: scratch("data")).path(of: listed.digest)
    #expect(!FileManager.default.fileExists(atPath: folder + "/modules.ext4"))
    let archive = try Data(contentsOf: URL(filePath: folder + "/modules.cpio"))
    for name in ["modules.builtin", "modules.builtin.bin", "modules.dep.bin"] {
      #expect(archive.contains(Data("builtin/\(name)\0".utf8)), "\(name)")
    }
    // The same configuration from a file beside the kernel.
    _ = try scratch.write("config-9.9.9-test", Array(Self.allBuiltIn.utf8))
    let beside = try await importing(.file(path: bare, modules: nil), scratch)
    #expect(beside.facts == kernel.facts && beside.version == kernel.version)
  }

  @Test func filesThatAreNoKernels() async throws {
    let scratch = try Scratch()
    for (bytes, words) in [
      (Array("hello".utf8), "neither an ELF file nor a Linux bzImage"), (TestELF.module([]), "x86-64"),
      (TestELF.kernel(noteName: "GNU"), "PVH"), (TestELF.kernel(), "does not tell its version"),
      ([UInt8](), "neither an ELF file"),
    ] {
      let file = try scratch.write("file", bytes)
      let error = try await failure(.file(path: file, modules: nil), scratch)
      #expect(error.message.contains(words), "\(error)")
      #expect(error.message.contains(file), "\(error)")
    }
    let evil = try scratch.write("evil", try makeKernel(version: "9/../../x", scratch: scratch))
    #expect(try await failure(.file(path: evil, modules: nil), scratch).message.contains("does not tell its version"))
    let package = try TestPackage.complete(in: scratch).build(in: scratch, file: "odd-name")
    #expect(try await importing(.file(path: package, modules: nil), scratch).name.hasPrefix("debian/"))
  }

  /// What is looked for is found across the pieces in which a kernel is read.
  @Test func scansAcrossPieces() throws {
    let scratch = try Scratch()
    let words = Array("Linux version 1.2.3 (x) #1 SMP \n\0virtio_mmio.device\0LNRO0005\0".utf8)
    for shift in stride(from: -70, through: 4, by: 1) {
      var bytes = [UInt8](repeating: 0, count: (1 << 20) + shift)
      bytes += words + [UInt8](repeating: 1, count: 100)
      let scan = try KernelScan(path: try scratch.write("kernel", bytes))
      #expect(scan.version == "1.2.3" && scan.hasSMP, "\(shift)")
      #expect(scan.findsDevicesByACPI && scan.takesDevicesByCommandLine, "\(shift)")
    }
  }
}
