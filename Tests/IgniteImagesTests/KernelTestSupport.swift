import Foundation
import Glibc
import IgniteOCI
import IgniteSystem
import Synchronization
import Testing

@testable import IgniteImages

/// ELF files made for tests: as small as the code under test allows.
enum TestELF {
  /// An executable with a PT_NOTE segment that holds one note.
  static func kernel(
    machine: UInt16 = 62, noteName: String = "Xen", noteType: UInt32 = 18, padding: Int = 100_000
  ) -> [UInt8] {
    var note: [UInt8] = []
    note.put(UInt64(noteName.utf8.count + 1), 4)
    note.put(4, 4)
    note.put(UInt64(noteType), 4)
    note += Array(noteName.utf8) + [0]
    while note.count % 4 != 0 { note.append(0) }
    note.put(0x100_0000, 4)

    var elf = header(type: 2, machine: machine, programHeaders: 1)
    elf.put(4, 4)  // PT_NOTE
    elf.put(4, 4)
    elf.put(120, 8)  // offset
    elf.put(0, 8)
    elf.put(0, 8)
    elf.put(UInt64(note.count), 8)
    elf.put(UInt64(note.count), 8)
    elf.put(4, 8)
    elf += note
    // Something that packs, with a hole in it.
    elf += (0..<padding / 2).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 3) }
    elf += [UInt8](repeating: 0, count: padding / 2)
    return elf
  }

  /// A relocatable file with `.modinfo` and `.strtab`.
  static func module(_ information: [String], symbols: [String] = []) -> [UInt8] {
    let modinfo = Array(information.map { "\($0)\0" }.joined().utf8)
    let strings = Array(("\0" + symbols.map { "__ksymtab_\($0)\0" }.joined()).utf8)
    let names = Array("\0.modinfo\0.strtab\0.shstrtab\0".utf8)
    let table = 64 + modinfo.count + strings.count + names.count
    var elf = header(type: 1, machine: 62, sectionHeaders: 4, sectionOffset: table, names: 3)
    elf += modinfo + strings + names
    section(&elf, name: 0, type: 0, offset: 0, size: 0)
    section(&elf, name: 1, type: 1, offset: 64, size: modinfo.count)
    section(&elf, name: 10, type: 3, offset: 64 + modinfo.count, size: strings.count)
    section(&elf, name: 18, type: 3, offset: 64 + modinfo.count + strings.count, size: names.count)
    return elf
  }

  private static func header(
    type: UInt16, machine: UInt16, programHeaders: Int = 0, sectionHeaders: Int = 0, sectionOffset: Int = 0,
    names: Int = 0
  ) -> [UInt8] {
    var elf: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
    elf.put(UInt64(type), 2)
    elf.put(UInt64(machine), 2)
    elf.put(1, 4)
    elf.put(0, 8)
    elf.put(programHeaders > 0 ? 64 : 0, 8)
    elf.put(UInt64(sectionOffset), 8)
    elf.put(0, 4)
    for value in [64, 56, programHeaders, 64, sectionHeaders, names] { elf.put(UInt64(value), 2) }
    return elf
  }

  private static func section(_ elf: inout [UInt8], name: UInt64, type: UInt64, offset: Int, size: Int) {
    elf.put(name, 4)
    elf.put(type, 4)
    elf.put(0, 8)
    elf.put(0, 8)
    elf.put(UInt64(offset), 8)
    elf.put(UInt64(size), 8)
    for width in [4, 4, 8, 8] { elf.put(0, width) }
  }
}

/// A bzImage around a payload, with the setup header's fields that tell where it is.
enum TestImage {
  static func bzImage(_ payload: [UInt8], length: Int? = nil, offset: Int = 32) -> [UInt8] {
    var image = [UInt8](repeating: 0, count: 1024)
    image[0x1f1] = 1
    image.set(0x202, 0x5372_6448, 4)
    image.set(0x206, 0x020f, 2)
    image.set(0x248, UInt64(offset), 4)
    image.set(0x24c, UInt64(length ?? payload.count), 4)
    return image + [UInt8](repeating: 0xcc, count: offset) + payload + [UInt8](repeating: 0x90, count: 512)
  }

  /// An LZ4 legacy frame as the kernel's build makes it, by the lz4 tool; `sized` adds the unpacked size.
  static func lz4(_ bytes: [UInt8], in scratch: Scratch, sized: Bool = true) throws -> [UInt8] {
    let file = try scratch.write("payload", bytes)
    try run("lz4", "-l", "-9", "-f", file, file + ".lz4")
    var packed = try [UInt8](Data(contentsOf: URL(fileURLWithPath: file + ".lz4")))
    if sized { packed.put(UInt64(bytes.count), 4) }
    return packed
  }

  static func packed(_ bytes: [UInt8], by tool: [String], _ suffix: String, in scratch: Scratch) throws -> [UInt8] {
    let file = try scratch.write("payload", bytes)
    try run(tool + ["-f", "-k", file])
    return try [UInt8](Data(contentsOf: URL(fileURLWithPath: file + suffix)))
  }
}

extension [UInt8] {
  mutating func put(_ value: UInt64, _ width: Int) {
    for index in 0..<width { append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))) }
  }

  mutating func set(_ offset: Int, _ value: UInt64, _ width: Int) {
    for index in 0..<width { self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
  }
}

/// A kernel package of a test's own, packed by dpkg-deb.
struct TestPackage {
  var name = "linux-image-9.9.9-test"
  var architecture = "amd64"
  var version = "9.9.9"
  var kernel: [UInt8]?
  var configuration = "CONFIG_ACPI=y\nCONFIG_EXT4_FS=y\nCONFIG_OVERLAY_FS=m\n"
  /// Modules by their paths below `kernel/`.
  var modules: [String: [UInt8]] = [:]
  var order: [String] = []
  var compression = "xz"

  /// One that imports: the virtio modules, with their dependencies.
  static func complete(in scratch: Scratch) throws -> TestPackage {
    var package = TestPackage()
    package.kernel = TestImage.bzImage(try TestImage.lz4(TestELF.kernel(), in: scratch))
    package.modules = [
      "virtio/virtio_ring.ko": TestELF.module(["license=GPL", "depends=", "name=virtio_ring"], symbols: ["vring_new"]),
      "virtio/virtio.ko": TestELF.module(["depends=virtio_ring", "name=virtio"]),
      "virtio/virtio_mmio.ko": TestELF.module(["depends=virtio,virtio_ring", "alias=acpi*:LNRO0005:*"]),
      "block/virtio_blk.ko": TestELF.module(["depends=virtio", "alias=virtio:d00000002v*"]),
      "char/virtio-console.ko": TestELF.module(["depends=virtio"]),
    ]
    return package
  }

  func build(in scratch: Scratch, file: String = "kernel.deb") throws -> String {
    let tree = scratch("tree-\(file)")
    func put(_ path: String, _ bytes: [UInt8]) throws {
      let url = URL(fileURLWithPath: "\(tree)/\(path)")
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(bytes).write(to: url)
    }
    try put(
      "DEBIAN/control",
      Array(
        """
        Package: \(name)
        Version: \(version)
        Architecture: \(architecture)
        Maintainer: Test <test@example.org>
        Description: a kernel
         of two lines

        """.utf8))
    if let kernel { try put("boot/vmlinuz-9.9.9-test", kernel) }
    try put("boot/config-9.9.9-test", Array(configuration.utf8))
    for (path, bytes) in modules { try put("lib/modules/9.9.9-test/kernel/\(path)", bytes) }
    if !modules.isEmpty {
      try put("lib/modules/9.9.9-test/modules.order", Array(order.map { "kernel/\($0)\n" }.joined().utf8))
      try put("lib/modules/9.9.9-test/modules.builtin", Array("kernel/fs/ext4/ext4.ko\n".utf8))
    }
    // dpkg-deb wants its directory readable, whatever the umask.
    try run("chmod", "-R", "go+rX", tree)
    try run("dpkg-deb", "--root-owner-group", "-Z\(compression)", "--build", tree, scratch(file))
    try FileManager.default.removeItem(atPath: tree)
    return scratch(file)
  }
}

/// An import whose images are layouts and archives.
func importTestKernel(
  source: KernelSource, name: String? = nil, initPath: String?, dataRoot: String,
  progress: @escaping @Sendable (KernelImportProgress) -> Void = { _ in }
) async throws(ImageError) -> ImportedKernel {
  try await KernelImporter.importKernel(
    source: source, name: name, initPath: initPath, dataRoot: dataRoot,
    openImage: { reference, store in
      if case .layout(let path, let tag) = reference { return LayoutSource(path: path, tag: tag) }
      return try await ArchiveSource.open(reference, store: store, environment: [:]) { _ in }
    }, progress: progress)
}

/// Debian's cloud kernel, fetched once and kept for later runs.
enum RealKernel {
  static func package() async throws -> String {
    let environment = ProcessInfo.processInfo.environment
    let cache = environment["XDG_CACHE_HOME"] ?? NSHomeDirectory() + "/.cache"
    let directory = cache + "/ignite-tests"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let candidate = try await AptDownloader().resolve("linux-image-cloud-amd64")
    let place = "\(directory)/\(candidate.name)_\(candidate.version).deb"
    if FileManager.default.fileExists(atPath: place) { return place }
    let scratch = try Scratch()
    let file = try await AptDownloader().download(candidate, into: scratch.path)
    // Under a name of its own first: another test process may fetch it at the same time.
    let temporary = "\(place).\(UUID().uuidString)"
    try FileManager.default.copyItem(atPath: file, toPath: temporary)
    _ = Glibc.rename(temporary, place)
    return place
  }

  /// One import of it for all tests of this process.
  static let imported = Task {
    let scratch = try Scratch()
    // No test is the last to use it, so it goes with the process.
    directory.withLock { $0 = scratch.path }
    atexit { RealKernel.directory.withLock { _ = try? FileManager.default.removeItem(atPath: $0) } }
    let program = try TestInit.build(in: scratch)
    let kernel = try await importTestKernel(
      source: .package(path: try await package()), initPath: program, dataRoot: scratch("data"))
    return Imported(scratch: scratch, store: KernelStore(root: scratch("data")), kernel: kernel, program: program)
  }

  private static let directory = Mutex("")

  struct Imported: @unchecked Sendable {
    // Unchecked: the scratch directory's object is held, never used.
    var scratch: Scratch
    var store: KernelStore
    var kernel: ImportedKernel
    var program: String
  }
}

/// The guest's init of the boot test.
enum TestInit {
  static func build(in scratch: Scratch) throws -> String {
    let source = try scratch.write("init.c", Array(text.utf8))
    try run("gcc", "-static", "-Os", "-o", scratch("init"), source)
    return scratch("init")
  }

  private static let text = #"""
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/mount.h>
    #include <sys/reboot.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/utsname.h>
    #include <unistd.h>

    static int appears(const char *path) {
      for (int i = 0; i < 500 && access(path, F_OK); i++) usleep(10000);
      return access(path, F_OK) == 0;
    }

    int main(void) {
      mkdir("/mnt", 0755);
      mount("sys", "/sys", "sysfs", 0, 0);
      mount("dev", "/dev", "devtmpfs", 0, 0);
      struct utsname u;
      uname(&u);
      printf("release=%s\n", u.release);
      FILE *list = fopen("/modules.list", "r");
      char line[256], path[512];
      int loaded = 0;
      while (list && fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        snprintf(path, sizeof path, "/modules/%s", line);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || syscall(SYS_finit_module, fd, "", 0)) printf("failed=%s: %m\n", line);
        else loaded++;
        close(fd);
      }
      printf("loaded=%d\n", loaded);
      printf("disk=%d\n", appears("/dev/vda"));
      printf("mounted=%d\n", mount("/dev/vda", "/mnt", "ext4", MS_RDONLY, "") == 0);
      printf("index=%d\n", access("/mnt/modules.dep.bin", F_OK) == 0);
      printf("port=%d\n", appears("/sys/class/virtio-ports/vport0p1") || appears("/sys/class/virtio-ports/vport1p1"));
      printf("network=%d\n", appears("/sys/class/net/eth0"));
      fflush(stdout);
      reboot(RB_AUTOBOOT);
      for (;;) pause();
    }
    """#
}
