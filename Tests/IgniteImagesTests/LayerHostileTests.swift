import Foundation
import IgniteImages
import Testing

/// Names that try to leave the image, and archives that contradict themselves.
@Suite struct LayerHostileTests {
  private func paths(_ body: (inout TestArchive) -> Void) throws -> Set<String> {
    let scratch = try Scratch()
    return try buildDisk(scratch, [TestArchive.make(body)]).paths()
  }

  private func failure(_ body: (inout TestArchive) -> Void) throws -> ImageError {
    try buildFailure([TestArchive.make(body)])
  }

  @Test func dotsAndAbsoluteNamesStayInside() throws {
    #expect(try paths { $0.file("../../../etc/passwd") } == ["", "etc", "etc/passwd"])
    #expect(try paths { $0.file("/etc/passwd") } == ["", "etc", "etc/passwd"])
    #expect(try paths { $0.file("a/../../../../x") } == ["", "x"])
    #expect(try paths { $0.directory("..") } == [""])
  }

  @Test func symbolicLinksAreFollowedInside() throws {
    let escaped = try paths { archive in
      archive.link("up", to: "../../../..")
      archive.file("up/one")
      archive.link("abs", to: "/")
      archive.file("abs/two")
      archive.link("dangling", to: "/made/here")
      archive.file("dangling/three")
      archive.link("e", to: "/etc/../../..//etc/.")
      archive.file("e/../e/four")
    }
    #expect(
      escaped == [
        "", "up", "one", "abs", "two", "dangling", "made", "made/here", "made/here/three", "e", "etc", "etc/four",
      ])
  }

  @Test func circlesOfLinks() throws {
    let error = try failure { archive in
      archive.link("a", to: "b")
      archive.link("b", to: "a")
      archive.file("a/x")
    }
    #expect(error.code == .corrupt && error.message.contains("a/x"))
    #expect(
      try failure {
        $0.link("s", to: "s/s"); $0.file("s/x")
      }.code == .corrupt)
  }

  @Test func linksToNothing() throws {
    let error = try failure { $0.link("link", to: "not/there", hard: true) }
    #expect(error.code == .corrupt && error.message.contains("link") && error.message.contains("not/there"))
    #expect(try failure { $0.link("link", to: "../../../etc/passwd", hard: true) }.code == .corrupt)
    #expect(
      try failure {
        $0.directory("d"); $0.link("link", to: "d", hard: true)
      }.message.contains("directory"))
    #expect(try failure { $0.link("link", to: "/", hard: true) }.code == .corrupt)
    #expect(try failure { $0.link("soft", to: "") }.code == .corrupt)
    #expect(try failure { $0.link("soft", to: String(repeating: "x", count: 4096)) }.code == .unsupported)
  }

  @Test func hardLinkCarriesItsDataWhenTheTargetIsMissing() throws {
    let scratch = try Scratch()
    var member = TestArchive.Member(.hardLink, "link")
    member.target = Array("gone".utf8)
    member.data = Array("data".utf8)
    member.attributes = [("user.a", [1])]
    let disk = try buildDisk(scratch, [TestArchive.make { $0.add(member) }])
    #expect(try disk.text("link") == "data")
  }

  @Test func namesThatExt4HasNoRoomFor() throws {
    #expect(try failure { $0.file(String(repeating: "n", count: 256)) }.code == .unsupported)
    #expect(try failure { $0.file(String(repeating: "n/", count: 2048) + "xy") }.code == .limitExceeded)
    #expect(try failure { $0.file(String(repeating: "n", count: 256) + "/x") }.code == .unsupported)
    #expect(try paths { $0.file(String(repeating: "n/", count: 2047) + "x") }.count == 2049)
  }

  @Test func filesAsDirectories() throws {
    #expect(
      try failure {
        $0.file("f", "x"); $0.file("f/x")
      }.code == .corrupt)
    #expect(
      try failure {
        $0.file("f", "x"); $0.link("l", to: "f"); $0.file("l/x")
      }.code == .corrupt)
    #expect(try failure { $0.file("/", "x") }.code == .corrupt)
    #expect(try failure { $0.link("a/..", to: "x") }.code == .corrupt)
    #expect(try failure { $0.file(".wh.") }.code == .corrupt)
    #expect(try failure { $0.file("a/.wh...") }.code == .corrupt)
  }

  @Test func devicesAndAttributesBeyondExt4() throws {
    var device = TestArchive.Member(.characterDevice, "dev")
    device.device = (4096, 0)
    #expect(try failure { $0.add(device) }.code == .unsupported)
    var file = TestArchive.Member(.file, "f")
    file.attributes = [("user.large", [UInt8](repeating: 1, count: 5000))]
    #expect(try failure { $0.add(file) }.code == .unsupported)
    file.attributes = [("system.posix_acl_access", [9, 9])]
    #expect(try failure { $0.add(file) }.code == .corrupt)
    // No name space for these: left out, as the kernel would refuse them.
    let scratch = try Scratch()
    file.attributes = [
      ("com.apple.provenance", [1]), ("trusted.overlay.opaque", [0x79]), ("user.kept", [2]), ("user.", [1]),
    ]
    let disk = try buildDisk(scratch, [TestArchive.make { $0.add(file) }])
    #expect(try disk.record("f").attributes == ["user.kept": [2]])
  }

  @Test func attributesUpToTheLastByte() throws {
    let scratch = try Scratch()
    let layer = TestArchive.make { archive in
      for size in [0, 1, 40, 60, 64, 65, 66, 67, 68, 69, 70, 72, 3000, 4000, 4028, 4032] {
        var file = TestArchive.Member(.file, "f\(size)")
        file.attributes = [("user.a", [UInt8](repeating: 5, count: size))]
        archive.add(file)
      }
      for index in 0..<1100 {
        var file = TestArchive.Member(.file, "shared/\(index)")
        file.attributes = [("security.selinux", [UInt8](repeating: 7, count: 200)), ("user.b", [1])]
        archive.add(file)
      }
    }
    let disk = try buildDisk(scratch, [layer])
    let records = try disk.records()
    for size in [0, 1, 68, 69, 4032] { #expect(records["f\(size)"]?.attributes["user.a"]?.count == size) }
    #expect(records.filter { $0.key.hasPrefix("shared/") && $0.value.attributes.count == 2 }.count == 1100)
  }

  @Test func truncatedLayersLeaveNothing() throws {
    let whole = TestArchive.make { archive in
      var file = TestArchive.Member(.file, "file")
      file.data = [UInt8](repeating: 1, count: 300_000)
      archive.add(file)
    }
    for length in [100, 512, 513, 4096, 262_144, 300_511, 300_600] {
      #expect(try buildFailure([Array(whole[..<length])]).code == .corrupt, "cut at \(length)")
    }
  }

  @Test func callersCanStopABuild() throws {
    let scratch = try Scratch()
    let builder = try BaseDiskBuilder(path: scratch("d"), options: .init(identity: "x"))
    var options = BaseDiskBuilder.LayerOptions()
    options.progress = { _ throws(ImageError) in throw ImageError(.cancelled, "stopped") }
    do {
      try builder.apply(MemoryByteSource(TestArchive.make { $0.file("a") }), options: options)
      Issue.record("the build went on")
    } catch {
      #expect(error.code == .cancelled)
    }
    #expect(throws: ImageError.self, "what is half made is never finished") { try builder.finish() }
  }

  /// Opaque marks on every directory of a deep tree, deepest first: each directory is walked once.
  @Test func whiteoutsWithinWhiteouts() throws {
    let scratch = try Scratch()
    let depth = 900
    let deep = (1...depth).map { String(repeating: "d/", count: $0) }
    let base = TestArchive.make { archive in
      for name in deep { archive.directory(name) }
      for index in 0..<500 { archive.file(deep[depth - 1] + "f\(index)") }
    }
    let layer = TestArchive.make { archive in
      for name in deep.reversed() { archive.file(name + ".wh..wh..opq") }
      archive.file("left")
    }
    #expect(try buildDisk(scratch, [base, layer]).paths() == ["", "d", "left"])
  }
}
