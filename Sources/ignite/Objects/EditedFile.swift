internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

/// The file that an editor is given; the user's alone.
struct EditedFile: Sendable {
  let path: String

  static let head = """
    # Edit the object below, and end the editor: what was changed is applied then.
    # Lines that begin with # are left out; an empty file changes nothing.
    #

    """

  /// - Parameter problem: why it is opened again; one line.
  static func head(with problem: String) -> String {
    let line = String(problem.map { $0.isNewline ? " " : $0 })
    return head + "# \(Table.printable(line))\n#\n"
  }

  /// Blocking.
  init() throws {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/ignite-edit-XXXXXX.yaml".utf8CString)
    let number = mkstemps(&template, 5)
    guard number >= 0 else { throw SystemError("make a file in \(parent)") }
    FileDescriptor(number).close()
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Gives the text to the editor, and waits until it has ended.
  /// - Returns: what is in the file then, without the lines that are comments.
  func edited(_ text: String) async throws -> String {
    let path = path
    try await ThreadExecutor.run { () throws in try Self.write(text, path) }
    let editor = Self.editor
    let status = try await ForegroundChild.run("\(editor) \"$@\"", [path])
    guard status == 0 else {
      throw EngineError(
        .unavailable, "the editor \(editor) has ended with \(status)",
        advice: status == 127 ? "name another: EDITOR" : nil)
    }
    let after = try await ThreadExecutor.run { () throws in try ManifestFiles.text(path) }
    let lines = after.split(separator: "\n", omittingEmptySubsequences: false)
    return lines.filter { !$0.hasPrefix("#") }.joined(separator: "\n")
  }

  /// Blocking.
  func remove() { unlink(path) }

  private static var editor: String {
    let environment = ProcessInfo.processInfo.environment
    return ["IGNITE_EDITOR", "VISUAL", "EDITOR"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty } ?? "vi"
  }

  /// Over what is there, which an editor may have put into the place of the first one.
  private static func write(_ text: String, _ path: String) throws {
    let file = try FileDescriptor.open(path, O_WRONLY | O_TRUNC | O_CREAT | O_NOFOLLOW, mode: 0o600)
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = try retrying("write \(path)") {
        rest.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
      }
      rest = rest.dropFirst(count)
    }
  }
}
