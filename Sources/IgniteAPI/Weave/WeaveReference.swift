/// Images' names, as Weave Ignite read them: docker's familiar names, which lead to a registry and to nothing else.
enum WeaveReference {
  /// `weaveworks/ignite-ubuntu` is `docker.io/weaveworks/ignite-ubuntu:latest`; nil for what is no reference.
  static func canonical(_ text: String) -> String? {
    guard text.utf8.count <= 512 else { return nil }
    var rest = Substring(text)
    var digest = ""
    if let at = rest.firstIndex(of: "@") {
      digest = String(rest[at...])
      rest = rest[..<at]
      guard digest.hasPrefix("@sha256:"), digest.utf8.count == 72,
        digest.utf8.dropFirst(8).allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
      else { return nil }
    }
    var parts = rest.split(separator: "/", omittingEmptySubsequences: false)
    var domain = "docker.io"
    if parts.count > 1, let first = parts.first, first == "localhost" || first.contains(where: { ".:".contains($0) }) {
      guard isDomain(first) else { return nil }
      domain = first == "index.docker.io" ? domain : String(first)
      parts.removeFirst()
    }
    guard let last = parts.popLast() else { return nil }
    let name = last.prefix { $0 != ":" }
    let tag = last.dropFirst(name.count)
    parts.append(name)
    guard parts.allSatisfy(isComponent), tag.isEmpty || isTag(tag.dropFirst()) else { return nil }
    if domain == "docker.io", parts.count == 1 { parts.insert("library", at: 0) }
    let isNamed = !tag.isEmpty || !digest.isEmpty
    return "\(domain)/\(parts.joined(separator: "/"))\(tag)\(isNamed ? "" : ":latest")\(digest)"
  }

  /// The short form of a canonical reference; its tag stays.
  static func familiar(_ reference: String) -> String {
    for prefix in ["docker.io/library/", "docker.io/"] where reference.hasPrefix(prefix) {
      return String(reference.dropFirst(prefix.count))
    }
    return reference
  }

  /// A host's name, with a port or without.
  private static func isDomain(_ text: Substring) -> Bool {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard let host = parts.first, parts.count <= 2, parts.count == 1 || UInt16(parts[1]) != nil else { return false }
    return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
      guard let first = label.utf8.first, let last = label.utf8.last, first != 45, last != 45 else { return false }
      return label.utf8.allSatisfy { isAlphanumeric($0) || (65...90).contains($0) || $0 == 45 }
    }
  }

  /// Lower-case letters and digits, with dots, underscores and hyphens between them.
  private static func isComponent(_ text: Substring) -> Bool {
    guard let first = text.utf8.first, let last = text.utf8.last else { return false }
    return isAlphanumeric(first) && isAlphanumeric(last)
      && text.utf8.allSatisfy { isAlphanumeric($0) || [45, 46, 95].contains($0) }
  }

  private static func isTag(_ text: Substring) -> Bool {
    guard let first = text.utf8.first, text.utf8.count <= 128 else { return false }
    return ![45, 46].contains(first)
      && text.utf8.allSatisfy { isAlphanumeric($0) || (65...90).contains($0) || [45, 46, 95].contains($0) }
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool { (48...57).contains(byte) || (97...122).contains(byte) }
}
