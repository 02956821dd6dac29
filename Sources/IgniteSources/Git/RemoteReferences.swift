/// What `git ls-remote --symref` lists of a repository.
struct RemoteReferences: Sendable, Equatable {
  /// By name; an annotated tag's commit is under `name^{}`.
  private(set) var objects: [String: String] = [:]
  /// The branch that HEAD stands for, as `refs/heads/main`.
  private(set) var head: String?

  /// Lines that are none of git's, as of a server that is no git server, are left out.
  init(_ output: [UInt8]) {
    for line in output.split(separator: 0x0a) {
      guard let text = String(validating: line, as: UTF8.self), let tab = text.firstIndex(of: "\t") else { continue }
      let (value, name) = (text[..<tab], String(text[text.index(after: tab)...]))
      if value.hasPrefix("ref: ") {
        let target = value.dropFirst("ref: ".count)
        if name == "HEAD", GitReference.isName(target) { head = String(target) }
      } else if isObjectName(value), Self.isName(name) {
        objects[name] = String(value)
      }
    }
  }

  /// The commit that a reference leads to, tags followed.
  func commit(_ name: String) -> String? { objects[name + "^{}"] ?? objects[name] }

  var tags: [String] { names(below: "refs/tags/") }

  func names(below prefix: String) -> [String] {
    objects.keys.filter { $0.hasPrefix(prefix) && !$0.hasSuffix("^{}") }.map { String($0.dropFirst(prefix.count)) }
      .sorted()
  }

  private static func isName(_ name: String) -> Bool {
    name == "HEAD" || GitReference.isName(name.hasSuffix("^{}") ? name.dropLast(3) : name[...])
  }
}
