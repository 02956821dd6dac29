/// An entry of `git ls-tree -r -z`.
struct TreeEntry: Sendable, Equatable {
  enum Kind: Sendable {
    case file, symbolicLink, submodule, other
  }

  var kind: Kind
  var object: String
  /// Nil for a name that is not UTF-8.
  var path: String?
  /// As it may be shown.
  var shown: String

  /// - Throws: SourceError `corrupt` for what git does not write.
  static func parse(_ output: [UInt8], place: String) throws(SourceError) -> [TreeEntry] {
    var entries: [TreeEntry] = []
    for record in output.split(separator: 0) {
      guard let tab = record.firstIndex(of: 0x09) else { throw damaged(place) }
      let fields = record[..<tab].split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }
      guard fields.count == 3, isObjectName(fields[2]) else { throw damaged(place) }
      let kind: Kind =
        switch (fields[0], fields[1]) {
        case ("120000", "blob"): .symbolicLink
        case (_, "commit"): .submodule
        case (let mode, "blob") where mode.hasPrefix("100"): .file
        default: .other
        }
      let name = record[record.index(after: tab)...]
      entries.append(
        TreeEntry(
          kind: kind, object: fields[2], path: String(validating: name, as: UTF8.self),
          shown: Words.clean(String(decoding: name, as: UTF8.self), limit: 500)))
    }
    return entries
  }

  private static func damaged(_ place: String) -> SourceError {
    SourceError(.corrupt, "\(place): its list of files cannot be read")
  }
}

/// What `git cat-file --batch` answers, one object after the other.
struct ObjectReader {
  private var rest: ArraySlice<UInt8>
  private let place: String

  init(_ output: [UInt8], place: String) {
    rest = output[...]
    self.place = place
  }

  struct Head: Equatable {
    var name: String
    /// Nil where the object is not there.
    var kind: String?
    var size = 0
  }

  /// The line ahead of an object; of `--batch-check` there is nothing else.
  mutating func head() throws(SourceError) -> Head {
    guard let end = rest.firstIndex(of: 0x0a) else { throw damaged() }
    let words = rest[..<end].split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }
    rest = rest[(end + 1)...]
    if words.count == 2, words[1] == "missing" { return Head(name: words[0]) }
    guard words.count == 3, isObjectName(words[0]), let size = Int(words[2]), size >= 0 else { throw damaged() }
    return Head(name: words[0], kind: words[1], size: size)
  }

  /// The object that `head` announced.
  mutating func content(_ head: Head) throws(SourceError) -> [UInt8] {
    guard head.size < rest.count, rest[rest.startIndex + head.size] == 0x0a else { throw damaged() }
    let content = Array(rest.prefix(head.size))
    rest = rest.dropFirst(head.size + 1)
    return content
  }

  private func damaged() -> SourceError { SourceError(.corrupt, "\(place): an object cannot be read") }
}

extension ArtifactHeader.Commit {
  /// A commit object, as git writes it. What is not there or cannot be read is empty or 0: nothing depends on it.
  init(id: String, _ object: [UInt8]) {
    self.init(id: id, parents: [], author: "", authored: 0, committed: 0, subject: "")
    var lines = object.split(separator: 0x0a, omittingEmptySubsequences: false)[...]
    while let line = lines.popFirst(), !line.isEmpty {
      let text = String(decoding: line.prefix(2048), as: UTF8.self)
      if text.hasPrefix("parent "), parents.count < 64, isObjectName(text.dropFirst(7)) {
        parents.append(String(text.dropFirst(7)))
      } else if text.hasPrefix("author ") {
        (author, authored) = Self.person(text.dropFirst(7))
      } else if text.hasPrefix("committer ") {
        committed = Self.person(text.dropFirst(10)).1
      }
    }
    subject = Words.clean(String(decoding: (lines.first ?? []).prefix(2048), as: UTF8.self), limit: 200)
  }

  /// `Name <address> 1700000000 +0000`.
  private static func person(_ text: Substring) -> (String, Int64) {
    guard let end = text.lastIndex(of: ">") else { return (Words.clean(text, limit: 200), 0) }
    let time = text[text.index(after: end)...].split(separator: " ").first.flatMap { Int64($0) }
    return (Words.clean(text[...end], limit: 200), time ?? 0)
  }
}
