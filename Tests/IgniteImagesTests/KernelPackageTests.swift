import Foundation
import IgniteOCI
import Testing

@testable import IgniteImages

@Suite struct KernelPackageTests {
  @Test(arguments: ["xz", "gzip", "zstd", "none"])
  func readsPackagesOfDpkg(compression: String) throws {
    let scratch = try Scratch()
    var package = try TestPackage.complete(in: scratch)
    package.compression = compression
    let read = try DebianPackage(path: try package.build(in: scratch))
    #expect(read.name == "linux-image-9.9.9-test")
    #expect(read.version == "9.9.9")
    #expect(read.architecture == "amd64")
    #expect(read.control["Description"] == "a kernel\nof two lines")
    var names: [String] = []
    let reader = TarReader(try read.files())
    while let entry = try reader.next() { names.append(entry.displayPath) }
    #expect(names.contains("./boot/vmlinuz-9.9.9-test"))
    #expect(names.contains("./lib/modules/9.9.9-test/kernel/virtio/virtio.ko"))
  }

  @Test func everyTruncationIsAnError() throws {
    let scratch = try Scratch()
    let whole = try [UInt8](
      Data(contentsOf: URL(fileURLWithPath: try TestPackage.complete(in: scratch).build(in: scratch))))
    // The last byte may be padding.
    for length in stride(from: 0, to: whole.count - 1, by: 61) {
      let file = try scratch.write("cut.deb", Array(whole[..<length]))
      #expect(throws: ImageError.self, "cut to \(length) of \(whole.count) bytes") {
        let reader = TarReader(try DebianPackage(path: file).files())
        while try reader.next() != nil {}
      }
    }
  }

  @Test func damagedBytesNeverTrap() throws {
    let scratch = try Scratch()
    let whole = try [UInt8](
      Data(contentsOf: URL(fileURLWithPath: try TestPackage.complete(in: scratch).build(in: scratch))))
    var random = SystemRandomNumberGenerator()
    var failures = 0
    for _ in 0..<200 {
      var bytes = whole
      for _ in 0..<4 {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let file = try scratch.write("damaged.deb", bytes)
      do {
        let reader = TarReader(try DebianPackage(path: file).files())
        while try reader.next() != nil {}
      } catch {
        failures += 1
      }
    }
    #expect(failures > 100)
  }

  @Test func refusesArchivesThatLie() throws {
    let scratch = try Scratch()
    func expect(_ bytes: [UInt8], _ code: ImageError.Code, _ words: String) throws {
      let file = try scratch.write("lie.deb", bytes)
      let error = #expect(throws: ImageError.self) { try DebianPackage(path: file) }
      #expect(error?.code == code)
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
    let magic = Array("!<arch>\n".utf8)
    func member(_ name: String, _ size: String, _ data: String = "") -> [UInt8] {
      func field(_ text: String, _ width: Int) -> [UInt8] {
        Array((text + String(repeating: " ", count: width)).utf8.prefix(width))
      }
      return field(name, 16) + field("0", 12) + field("0", 6) + field("0", 6) + field("100644", 8) + field(size, 10)
        + [0x60, 0x0a] + Array(data.utf8)
    }
    try expect([], .corrupt, "does not begin with !<arch>")
    try expect(Array("PK\u{3}\u{4} and so on".utf8), .corrupt, "does not begin with !<arch>")
    try expect(magic, .corrupt, "first member is not debian-binary")
    try expect(magic + member("debian-binary", "9999999999", "2.0\n"), .corrupt, "beyond the file's end")
    try expect(magic + member("debian-binary", "-4", "2.0\n"), .corrupt, "no valid archive member header")
    try expect(magic + member("debian-binary", "", "2.0\n"), .corrupt, "no valid archive member header")
    try expect(magic + member("debian-binary", "4x", "2.0\n"), .corrupt, "no valid archive member header")
    try expect(magic + member("debian-binary", "4", "3.0\n"), .unsupported, "another format")
    try expect(magic + member("debian-binary", "4", "2.0\n"), .corrupt, "no control.tar")
    let many = (0..<100).flatMap { _ in member("x", "0") }
    try expect(magic + many, .limitExceeded, "more than 64")
  }

  @Test func readsRelationships() {
    #expect(
      ControlFile.packages("kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120) | linux-initramfs-tool, a:any")
        == ["kmod", "linux-base", "initramfs-tools", "a"])
    #expect(ControlFile.packages("") == [])
  }

  @Test func readsSources() throws {
    #expect(try KernelSource("apt:linux-image-cloud-amd64") == .apt(package: "linux-image-cloud-amd64"))
    #expect(try KernelSource("./a.deb") == .package(path: "./a.deb"))
    #expect(try KernelSource("kernel.deb") == .package(path: "kernel.deb"))
    #expect(try KernelSource("/boot/vmlinuz", modules: "/m") == .file(path: "/boot/vmlinuz", modules: "/m"))
    #expect(try KernelSource("./bzImage") == .file(path: "./bzImage", modules: nil))
    #expect(try KernelSource("oci:dir:k") == .image(.layout(path: "dir", tag: "k")))
    #expect(
      try KernelSource("weaveworks/ignite-kernel:5.10.51").description == "docker.io/weaveworks/ignite-kernel:5.10.51")
    #expect(try KernelSource("-") == .image(.standardInput))
    for (text, modules) in [("apt:linux-image", "m"), ("a.deb", "m"), ("oci:dir", "m")] {
      let error = #expect(throws: ImageError.self) { try KernelSource(text, modules: modules) }
      #expect(error?.message.contains("--modules") == true)
    }
    for wrong in ["", "apt:", "apt:-oDir=/x", "apt:a b", "apt:x/y", "linux-image", "apt:A", "apt:a=1", "dir:x", "a/B"] {
      let error = #expect(throws: ImageError.self, "\(wrong)") { try KernelSource(wrong) }
      #expect(error?.code == .invalidReference || wrong == "dir:x")
    }
  }

  @Test func namesAreReferences() throws {
    #expect(
      KernelImporter.defaultName(package: "linux-image-6.1.0-56-cloud-amd64", version: "6.1.192-2")
        == "debian/linux-image-6.1.0-56-cloud-amd64:6.1.192-2")
    let odd = KernelImporter.defaultName(package: "linux-image-6.1+x", version: "1:6.1~rc1+b1")
    try KernelImporter.check(name: odd)
    #expect(odd == "debian/linux-image-6.1-x:1_6.1_rc1_b1")
    #expect(throws: ImageError.self) { try KernelImporter.check(name: "not a name") }
  }
}
