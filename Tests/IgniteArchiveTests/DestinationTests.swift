import Testing

@testable import IgniteArchive

/// docker's rules for where a copy goes.
@Suite struct Destinations {
  private func target(
    _ scratch: ArchiveScratch, _ path: String, name: String, isDirectory: Bool
  ) throws -> String {
    let place = try CopyDestination(path: Array(scratch.file(path).utf8))
    let target = try place.target(name: Array(name.utf8), isDirectory: isDirectory)
    let directory = String(decoding: target.directory, as: UTF8.self).dropFirst(scratch.path.count)
    return "\(directory)|\(String(decoding: target.name, as: UTF8.self))"
  }

  @Test func eachCase() throws {
    let scratch = try ArchiveScratch()
    try scratch.shell(
      "mkdir -p dir/below; echo x > file; ln -s dir todir; ln -s file tofile; ln -s gone dangling; mkfifo pipe")
    // A directory that is there takes the source in, or its contents.
    for path in ["dir", "dir/", "dir/.", "todir", "todir/"] {
      #expect(try target(scratch, path, name: "s", isDirectory: false) == "/dir|s")
      #expect(try target(scratch, path, name: "s", isDirectory: true) == "/dir|s")
      #expect(try target(scratch, path, name: "", isDirectory: true) == "/dir|")
    }
    // A file is replaced by a file, also one that a link leads to.
    #expect(try target(scratch, "file", name: "s", isDirectory: false) == "|file")
    #expect(try target(scratch, "tofile", name: "s", isDirectory: false) == "|file")
    #expect(throws: ArchiveError.self) { try target(scratch, "file", name: "s", isDirectory: true) }
    #expect(throws: ArchiveError.self) { try target(scratch, "file/", name: "s", isDirectory: false) }
    // What is not there is made: a file, or a directory under that name, with the contents too.
    #expect(try target(scratch, "new", name: "s", isDirectory: false) == "|new")
    #expect(try target(scratch, "new", name: "s", isDirectory: true) == "|new")
    #expect(try target(scratch, "new/", name: "s", isDirectory: true) == "|new")
    #expect(try target(scratch, "new", name: "", isDirectory: true) == "|new")
    #expect(throws: ArchiveError.self) { try target(scratch, "new/", name: "s", isDirectory: false) }
    #expect(try target(scratch, "dangling", name: "s", isDirectory: false) == "|gone")
    // Neither a file nor a directory.
    #expect(throws: ArchiveError.self) { try target(scratch, "pipe", name: "s", isDirectory: false) }
  }

  @Test(arguments: [
    ("/a/b", "b"), ("/a/b/", "b"), ("/a/b/.", "."), ("/", "."), ("/.", "."), ("/a/..", "."), ("a", "a"),
    ("a/../b", "b"),
  ])
  func theTopsName(path: String, name: String) {
    #expect(ArchivePath.top(of: Array(path.utf8)) == Array(name.utf8))
  }

  @Test(arguments: [
    ("/a//b/./c/../d", "/a/b/d"), ("/../x", "/x"), ("a/../../b", "../b"), ("", "."), ("./", "."), ("/", "/"),
  ])
  func cleanIsAsGos(path: String, clean: String) {
    #expect(ArchivePath.clean(Array(path.utf8)) == Array(clean.utf8))
  }
}
