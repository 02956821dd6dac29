import Foundation
import IgniteImages
import Testing

/// Whiteouts, opaque directories and replacements: OCI image specification, "Image Layer Filesystem Changeset".
@Suite struct LayerTests {
  private let base = TestArchive.make { archive in
    archive.directory("d", mode: 0o700)
    archive.file("d/one", "1")
    archive.file("d/two", "2")
    archive.file("d/sub/three", "3")
    archive.file("d/sub/four", "4")
    archive.file("file", "f")
    archive.link("hard", to: "file", hard: true)
    archive.link("to-d", to: "d")
  }

  private func paths(_ layer: (inout TestArchive) -> Void) throws -> Set<String> {
    let scratch = try Scratch()
    return try buildDisk(scratch, [base, TestArchive.make(layer)]).paths()
  }

  private let all: Set<String> = [
    "", "d", "d/one", "d/two", "d/sub", "d/sub/three", "d/sub/four", "file", "hard", "to-d",
  ]

  @Test func whiteoutsHideFilesAndDirectories() throws {
    #expect(try paths { $0.file("d/.wh.one") } == all.subtracting(["d/one"]))
    #expect(try paths { $0.file(".wh.d") } == ["", "file", "hard", "to-d"])
    #expect(try paths { $0.file("d/.wh.sub") } == all.subtracting(["d/sub", "d/sub/three", "d/sub/four"]))
    #expect(try paths { $0.file(".wh.file") } == all.subtracting(["file"]))
    #expect(
      try paths {
        $0.file(".wh.missing"); $0.file("no/such/.wh.x")
      } == all)
    #expect(try paths { $0.file("to-d/.wh.one") } == all.subtracting(["d/one"]))
  }

  @Test func whiteoutsSpareTheirOwnLayer() throws {
    // In either order.
    for order in [false, true] {
      let left = try paths { archive in
        if order { archive.file(".wh.d") }
        archive.file("d/new", "n")
        if !order { archive.file(".wh.d") }
      }
      #expect(left == ["", "d", "d/new", "file", "hard", "to-d"])
      let scratch = try Scratch()
      let layer = TestArchive.make { archive in
        if order { archive.file(".wh.d") }
        archive.file("d/new", "n")
        if !order { archive.file(".wh.d") }
      }
      // The directory is a new one: the lower one's mode is gone with it.
      #expect(try buildDisk(scratch, [base, layer]).record("d").mode == 0o755)
    }
    let replaced = try paths { archive in
      archive.file("file", "new")
      archive.file(".wh.file")
    }
    #expect(replaced == all)
  }

  @Test func opaqueDirectories() throws {
    for order in [false, true] {
      let left = try paths { archive in
        if order { archive.file("d/.wh..wh..opq") }
        archive.directory("d")
        archive.file("d/new", "n")
        archive.file("d/sub/new", "n")
        if !order { archive.file("d/.wh..wh..opq") }
      }
      #expect(left == ["", "d", "d/new", "d/sub", "d/sub/new", "file", "hard", "to-d"])
    }
    #expect(try paths { $0.file("d/sub/.wh..wh..opq") } == all.subtracting(["d/sub/three", "d/sub/four"]))
    #expect(
      try paths {
        $0.file(".wh..wh..opq"); $0.file("x")
      } == ["", "x"])
  }

  @Test func aufsMarksAreIgnored() throws {
    #expect(
      try paths {
        $0.directory(".wh..wh.plnk"); $0.file(".wh..wh.aufs"); $0.file("d/.wh..wh.orph")
      } == all)
  }

  @Test func threeLayers() throws {
    let scratch = try Scratch()
    let second = TestArchive.make { archive in
      archive.file("d/.wh.one")
      archive.file("d/two", "second")
    }
    let third = TestArchive.make { archive in
      archive.file("d/one", "third")
      archive.file("d/.wh.two")
    }
    let disk = try buildDisk(scratch, [base, second, third])
    #expect(try disk.text("d/one") == "third")
    #expect(try disk.paths() == all.subtracting(["d/two"]))
  }

  @Test func kindsReplaceEachOther() throws {
    // File over directory takes the whole tree; directory over file and over a link.
    #expect(try paths { $0.file("d", "now a file") } == ["", "d", "file", "hard", "to-d"])
    #expect(
      try paths {
        $0.directory("file"); $0.file("file/x")
      } == all.union(["file/x"]))
    let scratch = try Scratch()
    let layer = TestArchive.make { archive in
      archive.directory("to-d")
      archive.file("to-d/inside", "i")
      archive.link("d/sub", to: "/file")
      archive.file("hard", "no longer linked")
    }
    let disk = try buildDisk(scratch, [base, layer])
    #expect(try disk.record("to-d").type == 0o040000)
    #expect(try disk.record("d/sub").type == 0o120000)
    #expect(try disk.text("file") == "f")
    #expect(try disk.record("file").links == 1)
    #expect(try disk.paths() == all.subtracting(["d/sub/three", "d/sub/four"]).union(["to-d/inside"]))
  }

  @Test func directoriesMergeAndTakeTheNewAttributes() throws {
    let scratch = try Scratch()
    let layer = TestArchive.make { archive in
      var member = TestArchive.Member(.directory, "d/")
      member.mode = 0o1770
      member.uid = 12
      member.attributes = [("user.new", [1])]
      archive.add(member)
    }
    let disk = try buildDisk(scratch, [base, layer])
    let record = try disk.record("d")
    #expect(record.mode == 0o1770 && record.uid == 12 && record.attributes == ["user.new": [1]])
    #expect(try disk.paths() == all)
  }

  @Test func repeatedEntriesOfALayer() throws {
    let scratch = try Scratch()
    let layer = TestArchive.make { archive in
      archive.file("twice", "first")
      archive.link("other", to: "twice", hard: true)
      archive.file("twice", "second")
      archive.link("other", to: "other", hard: true)
    }
    let disk = try buildDisk(scratch, [base, layer])
    #expect(try disk.text("twice") == "second")
    #expect(try disk.text("other") == "first")
  }

  @Test func hardLinkThatReplacesTheDirectoryOfItsTarget() throws {
    let scratch = try Scratch()
    let layer = TestArchive.make { $0.link("d", to: "d/sub/three", hard: true) }
    let disk = try buildDisk(scratch, [base, layer])
    #expect(try disk.text("d") == "3")
    #expect(try disk.record("d").links == 1)
  }

  @Test func emptyNamesAndTheRoot() throws {
    let scratch = try Scratch()
    let layer = TestArchive.make { archive in
      var root = TestArchive.Member(.directory, "/")
      root.mode = 0o750
      root.uid = 3
      archive.add(root)
      archive.directory("a//b/./c/")
      archive.file("./a/../x", "x")
    }
    let disk = try buildDisk(scratch, [layer])
    #expect(try disk.record("").mode == 0o750)
    #expect(try disk.record("").uid == 3)
    #expect(try disk.paths() == ["", "a", "a/b", "a/b/c", "x"])
  }
}
