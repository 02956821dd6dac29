import FoundationEssentials
import Glibc
import Testing

@testable import IgniteSupervisor

@Suite struct LogFileTests {
  private func with(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.path + "/log-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder + "/log")
  }

  private func text(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }

  @Test(arguments: 1...4) func theOldestGoes(count: Int) throws {
    try with { path in
      var file = try BoundedFile(path: path, limit: 10, count: count)
      for number in 0..<7 { Array("line \(number)\n".utf8).withUnsafeBytes { file.append($0) } }
      #expect(text(path) == "line 6\n")
      for number in 1..<max(count, 1) { #expect(text("\(path).\(number)") == "line \(6 - number)\n") }
      #expect(text("\(path).\(count)") == nil)
      // What one has left, the next goes on with.
      var next = try BoundedFile(path: path, limit: 20, count: count)
      Array("more\n".utf8).withUnsafeBytes { next.append($0) }
      #expect(text(path) == "line 6\nmore\n")
    }
  }

  @Test func linesAreSharedOut() throws {
    try with { path in
      var file = try BoundedFile(path: path, limit: 12, count: 4)
      file.append(lines: Array("one\ntwo\nthree\na very long line of its own\nend\n".utf8))
      #expect(text(path) == "end\n" && text(path + ".1") == "a very long line of its own\n")
      #expect(text(path + ".2") == "three\n" && text(path + ".3") == "one\ntwo\n")
    }
  }

  @Test func aPieceThatIsLargerThanAFileIsWrittenWhole() throws {
    try with { path in
      var file = try BoundedFile(path: path, limit: 4, count: 2)
      for piece in ["aaaaaaaa", "bbbbbbbb"] { Array(piece.utf8).withUnsafeBytes { file.append($0) } }
      #expect(text(path) == "bbbbbbbb" && text(path + ".1") == "aaaaaaaa")
    }
  }
}
