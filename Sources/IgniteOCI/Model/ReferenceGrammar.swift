internal import Glibc

/// The grammar of references (distribution specification, Pulling manifests; registry hosts as Docker has them).
enum ReferenceGrammar {
  /// Whether the part before the first slash is a registry and not the first component of a name: Docker's rule.
  static func isRegistry(_ text: Substring) -> Bool {
    text == "localhost" || text.contains(".") || text.contains(":") || text.contains { $0.isUppercase }
  }

  /// What is wrong with a tag; nil for a valid one: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
  static func problem(tag: some StringProtocol) -> String? {
    guard let first = tag.utf8.first else { return "the tag after ':' is empty" }
    guard tag.utf8.count <= Reference.longestTag else { return "the tag is longer than \(Reference.longestTag) bytes" }
    guard isAlphanumeric(first) || first == UInt8(ascii: "_") else {
      return "the tag '\(OCIError.quoted(tag))' must start with a letter, a digit or '_'"
    }
    guard tag.utf8.allSatisfy({ isAlphanumeric($0) || "_.-".utf8.contains($0) }) else {
      return "the tag '\(OCIError.quoted(tag))' may have letters, digits, '_', '.' and '-' only"
    }
    return nil
  }

  /// What is wrong with a repository: components of `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` between slashes.
  static func problem(repository: String) -> String? {
    guard !repository.isEmpty else { return "the name is empty" }
    for component in repository.split(separator: "/", omittingEmptySubsequences: false) {
      guard !component.isEmpty else { return "the name has an empty component between slashes" }
      if component.utf8.contains(where: { $0 >= 65 && $0 <= 90 }) {
        return "the name '\(OCIError.quoted(component))' must be in lower case"
      }
      guard component.utf8.allSatisfy({ isLower($0) || "._-".utf8.contains($0) }) else {
        return "the name '\(OCIError.quoted(component))' may have lower-case letters, digits, '.', '_' and '-' only"
      }
      guard let first = component.utf8.first, let last = component.utf8.last, isLower(first), isLower(last) else {
        return "the name '\(OCIError.quoted(component))' must start and end with a letter or a digit"
      }
      guard separatorsAreValid(component) else {
        return "the name '\(OCIError.quoted(component))' may have '.', '_', '__' or a row of '-' between its parts only"
      }
    }
    return nil
  }

  private static func separatorsAreValid(_ component: Substring) -> Bool {
    for run in component.utf8.split(whereSeparator: { isLower($0) }) {
      let separator = String(decoding: run, as: UTF8.self)
      guard separator == "." || separator == "_" || separator == "__" || separator.allSatisfy({ $0 == "-" }) else {
        return false
      }
    }
    return true
  }

  /// What is wrong with a registry: a host name, an IPv4 address or an IPv6 address in brackets, and perhaps a port.
  static func problem(registry: String) -> String? {
    var host = registry[...]
    if registry.hasPrefix("[") {
      guard let bracket = registry.firstIndex(of: "]") else { return "the registry's address has no closing ']'" }
      host = registry[registry.index(after: registry.startIndex)..<bracket]
      guard isIPv6(String(host)) else { return "'\(OCIError.quoted(host))' is no IPv6 address" }
      let rest = registry[registry.index(after: bracket)...]
      guard rest.isEmpty || rest.hasPrefix(":") else { return "the registry has more after its ']' than a port" }
      return rest.isEmpty ? nil : problem(port: rest.dropFirst())
    }
    if let colon = registry.firstIndex(of: ":") {
      host = registry[..<colon]
      if let why = problem(port: registry[registry.index(after: colon)...]) { return why }
    }
    for label in host.split(separator: ".", omittingEmptySubsequences: false) {
      guard let first = label.utf8.first, let last = label.utf8.last else {
        return "the registry '\(OCIError.quoted(registry))' has an empty part in its host name"
      }
      guard isAlphanumeric(first), isAlphanumeric(last),
        label.utf8.allSatisfy({ isAlphanumeric($0) || $0 == UInt8(ascii: "-") })
      else { return "the registry '\(OCIError.quoted(registry))' is no host name" }
    }
    return nil
  }

  private static func problem(port: Substring) -> String? {
    guard (1...5).contains(port.utf8.count), port.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }),
      let number = Int(port), (1...65535).contains(number)
    else { return "the registry's port '\(OCIError.quoted(port))' is no number from 1 to 65535" }
    return nil
  }

  /// Whether `text` is an IPv6 address, without a zone.
  static func isIPv6(_ text: String) -> Bool {
    var address = in6_addr()
    return inet_pton(AF_INET6, text, &address) == 1
  }

  private static func isLower(_ byte: UInt8) -> Bool { (byte >= 97 && byte <= 122) || (byte >= 48 && byte <= 57) }
  private static func isAlphanumeric(_ byte: UInt8) -> Bool { isLower(byte) || (byte >= 65 && byte <= 90) }
}
