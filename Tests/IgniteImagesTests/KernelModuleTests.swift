import Foundation
import Testing

@testable import IgniteImages

@Suite struct KernelModuleTests {
  private func module(_ name: String, _ dependencies: [String] = [], path: String? = nil) -> KernelModule {
    var module = KernelModule(name: name, path: path ?? "kernel/\(name).ko")
    module.dependencies = dependencies
    return module
  }

  @Test func readsWhatAModuleSays() throws {
    let bytes = TestELF.module(
      [
        "license=GPL", "depends=virtio-ring,virtio", "alias=pci:v00001AF4d*", "alias=two\nlines", "softdep=pre: crc32c",
        "depends=", "noequals", "=",
      ], symbols: ["one", "two"])
    let module = try KernelModule(path: "kernel/a-b.ko", name: "a_b", elf: bytes)
    #expect(module.dependencies == ["virtio_ring", "virtio"])
    #expect(module.aliases == ["pci:v00001AF4d*"])
    #expect(module.softDependencies == ["pre: crc32c"])
    #expect(module.symbols == ["one", "two"])
  }

  @Test func readsPackedModules() throws {
    let scratch = try Scratch()
    let bytes = TestELF.module(["depends=x"])
    for (tool, suffix) in [("xz", ".xz"), ("gzip", ".gz"), ("zstd", ".zst")] {
      #expect(
        try KernelModule.unpacked(
          TestImage.packed(bytes, by: tool == "zstd" ? [tool, "-q"] : [tool], suffix, in: scratch)) == bytes)
    }
    let bzip2 = try TestImage.packed(bytes, by: ["bzip2"], ".bz2", in: scratch)
    #expect(throws: ImageError.self) { try KernelModule.unpacked(bzip2) }
  }

  @Test func tellsModulesByTheirFiles() {
    #expect(KernelModule.name(ofFile: "kernel/a/virtio-rng.ko") == "virtio_rng")
    #expect(KernelModule.name(ofFile: "virtio_net.ko.xz") == "virtio_net")
    #expect(KernelModule.name(ofFile: "modules.dep") == nil)
    #expect(KernelModule.name(ofFile: "") == nil)
  }

  @Test func damagedModulesNeverTrap() throws {
    let good = TestELF.module(["depends=a,b", "alias=c"], symbols: ["d"])
    for offset in 0..<good.count {
      for value: UInt8 in [0, 1, 0x7f, 0x80, 0xff] {
        var bytes = good
        bytes[offset] = value
        do { _ = try KernelModule(path: "x.ko", name: "x", elf: bytes) } catch { continue }
      }
    }
    for length in 0..<64 {
      #expect(throws: ImageError.self) { try KernelModule(path: "x.ko", name: "x", elf: Array(good[..<length])) }
    }
  }

  @Test func loadsDependenciesFirst() throws {
    let tree = ModuleTree(
      [
        module("net", ["virtio", "failover", "built_in"]), module("failover"), module("virtio", ["ring"]),
        module("ring"), module("unused"),
      ], order: [], builtin: ["kernel/built-in.ko"])
    #expect(try tree.loadOrder(for: ["net", "virtio"]).map(\.name) == ["ring", "virtio", "failover", "net"])
    #expect(try tree.loadOrder(for: ["built_in"]).isEmpty)
  }

  @Test func refusesCirclesAndGaps() {
    func failure(_ modules: [KernelModule]) -> String {
      let tree = ModuleTree(modules, order: [], builtin: [])
      let error = #expect(throws: ImageError.self) { try tree.loadOrder(for: ["a"]) }
      return error?.message ?? ""
    }
    #expect(failure([module("a", ["a"])]) == "the modules a and a need each other")
    #expect(failure([module("a", ["b"]), module("b", ["c"]), module("c", ["a"])]).contains("need each other"))
    #expect(failure([module("a", ["b"])]) == "the package lacks the module b, which a needs")
    #expect(failure([]) == "the package lacks the module a")
    let circle = ModuleTree([module("a", ["b"]), module("b", ["a"])], order: [], builtin: [])
    #expect(throws: ImageError.self) { try ModuleIndex.files(of: circle, builtinInformation: []) }
  }

  @Test func aLongChainDoesNotOverflowTheStack() throws {
    let count = 40_000
    let modules = (0..<count).map { module("m\($0)", $0 + 1 < count ? ["m\($0 + 1)"] : []) }
    let tree = ModuleTree(modules, order: [], builtin: [])
    let order = try tree.loadOrder(for: ["m0"])
    #expect(order.count == count)
    #expect(order.first?.name == "m\(count - 1)")
    let error = #expect(throws: ImageError.self) { try tree.closures() }
    #expect(error?.code == .limitExceeded)
  }

  @Test func followsModulesOrder() {
    let tree = ModuleTree(
      [module("z", path: "kernel/z.ko.xz"), module("b"), module("a"), module("y")],
      order: ["kernel/z.ko", "kernel/y.ko"], builtin: [])
    #expect(tree.modules.map(\.name) == ["z", "y", "a", "b"])
  }

  @Test func normalizesAliasesAsKmodDoes() {
    #expect(ModuleIndex.normalized("char-major-10-229") == "char_major_10_229")
    #expect(ModuleIndex.normalized("a-[0-9]-b") == "a_[0-9]_b")
    #expect(ModuleIndex.normalized("a]") == nil)
    #expect(ModuleIndex.normalized("a[") == nil)
  }

  @Test func anEmptyIndexHasAHeaderOnly() {
    #expect(ModuleTrie().encoded() == [0xb0, 0x07, 0xf4, 0x57, 0, 2, 0, 1, 0, 0, 0, 0])
  }
}

@Suite struct KernelInitrdTests {
  @Test func cpioReadsIt() throws {
    let scratch = try Scratch()
    let module = KernelModule(name: "virtio", path: "kernel/virtio.ko")
    let other = KernelModule(name: "odd", path: "kernel/odd.ko")
    let (bytes, names) = KernelStore.modulesArchive([(module, [1, 2, 3]), (other, Array(repeating: 7, count: 4097))])
    #expect(names == ["00-virtio.ko", "01-odd.ko"])
    var tail = CPIOArchive(firstInode: 1)
    tail.addFile("init", mode: 0o755, content: Array("program".utf8))
    tail.finish()
    _ = try scratch.write("initrd", bytes + tail.bytes)
    let listing = try run("sh", "-c", "cpio -tv --quiet < \(scratch("initrd"))")
    let lines = listing.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
    #expect(
      lines.compactMap { $0.last.map(String.init) } == [
        "dev", "dev/console", "proc", "sys", "newroot", "modules", "modules/00-virtio.ko", "modules/01-odd.ko",
        "modules.list", "init",
      ])
    #expect(listing.contains("crw-------   1 root     root       5,   1"))
    #expect(lines.last?.first == "-rwxr-xr-x")
    try run(
      "sh", "-c", "mkdir \(scratch("out")) && cd \(scratch("out")) && cpio -i --quiet < ../initrd init 'modules*'")
    #expect(try String(contentsOfFile: scratch("out/modules.list"), encoding: .utf8) == "00-virtio.ko\n01-odd.ko\n")
    #expect(try Data(contentsOf: URL(fileURLWithPath: scratch("out/modules/01-odd.ko"))).count == 4097)
    #expect(try String(contentsOfFile: scratch("out/init"), encoding: .utf8) == "program")
  }

  @Test func aKernelWithoutVirtioIsRefusedByName() throws {
    let tree = ModuleTree([], order: [], builtin: ["kernel/virtio_mmio.ko", "kernel/virtio_blk.ko"])
    let error = #expect(throws: ImageError.self) { try InitrdModules.select(from: tree) }
    #expect(error?.code == .unsupported)
    #expect(error?.message.contains("virtio_console") == true)
  }
}
