/// Where a git repository is. What git would take and Ignite must not is refused here, before git sees it.
///
/// `https://`, `ssh://`, `user@host:path`, `file://` and absolute paths; `http://` to this machine alone. Neither a password nor
/// a user of https is part of it.
public struct GitURL: Sendable, Hashable, CustomStringConvertible {
  public enum Transport: String, Sendable {
    case https, http, ssh, file
  }

  public let transport: Transport
  /// Empty for a file.
  public let host: String
  public let port: UInt16?
  /// Of ssh.
  public let user: String?
  /// As git is given it.
  public let description: String

  static let longest = 2048

  /// - Throws: SourceError `badURL`; what may hold a password is not in its message.
  public init(_ text: String) throws(SourceError) {
    guard !text.isEmpty, text.utf8.count <= Self.longest else {
      throw Self.bad("it is empty, or has more than \(Self.longest) bytes")
    }
    guard !Words.hasControl(text) else { throw Self.bad("it has control characters") }
    guard !text.hasPrefix("-") else { throw Self.bad("\(Words.clean(text, limit: 40)) is an option, no address") }
    if let helper = Self.helper(text) {
      throw Self.bad("git's remote helpers (\(Words.clean(helper, limit: 40))::) run programs, and are never used")
    }
    if text.hasPrefix("/") {
      self.init(file: text)
    } else if let mark = text.firstRange(of: "://") {
      let scheme = text[..<mark.lowerBound].lowercased()
      let rest = text[mark.upperBound...]
      switch scheme {
      case "https", "http": try self.init(web: rest, Transport(rawValue: scheme) ?? .https)
      case "ssh": try self.init(ssh: rest)
      case "file": try self.init(fileURL: rest)
      default:
        throw Self.bad("\(Words.clean(scheme, limit: 40)):// is not fetched from", advice: "use https, ssh or file")
      }
    } else {
      try self.init(scp: text)
    }
  }

  static func bad(
    _ reason: String, advice: String = "write it as https://host/path, ssh://user@host/path or file:///path"
  )
    -> SourceError
  { SourceError(.badURL, "bad URL of a git repository: \(reason)", advice: advice) }

  /// `ext` of `ext::command`.
  private static func helper(_ text: String) -> String? {
    let name = text.utf8.prefix { $0 != 0x3a && $0 != 0x2f && $0 != 0x40 }
    return text.utf8.dropFirst(name.count).starts(with: "::".utf8) ? String(decoding: name, as: UTF8.self) : nil
  }

  private init(file path: String) {
    transport = .file
    host = ""
    port = nil
    user = nil
    // Always as a URL: of a plain path git has readings of its own.
    description = "file://" + Self.encoded(path)
  }

  private init(fileURL rest: Substring) throws(SourceError) {
    let local = rest.hasPrefix("localhost/") ? rest.dropFirst("localhost".count) : rest
    guard local.hasPrefix("/"), let path = Self.decoded(local), !Words.hasControl(path) else {
      throw Self.bad(
        "a file URL names an absolute path of this machine", advice: "write it as file:///srv/repository.git")
    }
    self.init(file: path)
  }

  private init(web rest: Substring, _ transport: Transport) throws(SourceError) {
    let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    let path = rest[authority.endIndex...]
    guard !authority.contains("@") else {
      throw Self.bad(
        "there is a user or a password in it",
        advice: "take them out of the URL, and give them as the source's credentials")
    }
    let (host, port) = try Self.hostAndPort(authority)
    guard path.count > 1, path.hasPrefix("/"), !path.contains("?"), !path.contains("#"), !path.contains(" "),
      !path.contains("\\"), !path.split(separator: "/").contains("..")
    else { throw Self.bad("the path of a repository follows the host, without spaces, queries or ..") }
    if transport == .http, !Self.isLoopback(host) {
      throw Self.bad(
        "http:// is not protected, and is taken of this machine alone (localhost, 127.0.0.1, ::1)",
        advice: "use https://")
    }
    self.transport = transport
    self.host = host
    self.port = port
    user = nil
    description = "\(transport.rawValue)://\(authority)\(path)"
  }

  private init(ssh rest: Substring) throws(SourceError) {
    let authority = rest.prefix { $0 != "/" }
    let path = rest[authority.endIndex...]
    let (user, place) = try Self.userAndPlace(authority)
    let (host, port) = try Self.hostAndPort(place)
    guard path.count > 1 else { throw Self.bad("the path of a repository follows the host") }
    transport = .ssh
    self.host = host
    self.port = port
    self.user = user
    description = "ssh://\(authority)\(path)"
  }

  private init(scp text: String) throws(SourceError) {
    guard let colon = text.firstIndex(of: ":"), !text[..<colon].contains("/") else {
      throw Self.bad("\(Words.clean(text, limit: 60)) names no host and is no absolute path")
    }
    let (user, host) = try Self.userAndPlace(text[..<colon])
    let path = text[text.index(after: colon)...]
    guard !path.prefix(while: { $0 != "/" }).contains("@") else {
      throw Self.bad("there is a password in it", advice: "take it out of the URL; ssh is used with a key")
    }
    _ = try Self.hostAndPort(host)
    guard !path.isEmpty, !path.hasPrefix("-") else { throw Self.bad("the path of a repository follows the host") }
    transport = .ssh
    self.host = String(host)
    port = nil
    self.user = user
    description = text
  }

  private static func userAndPlace(_ authority: Substring) throws(SourceError) -> (String?, Substring) {
    guard let at = authority.lastIndex(of: "@") else { return (nil, authority) }
    let user = authority[..<at]
    guard !user.contains(":") else {
      throw bad("there is a password in it", advice: "take it out of the URL; ssh is used with a key")
    }
    let good = user.utf8.allSatisfy { isLetterOrDigit($0) || "._-+".utf8.contains($0) }
    guard good, !user.isEmpty, !user.hasPrefix("-") else { throw bad("its user is no user's name") }
    return (String(user), authority[authority.index(after: at)...])
  }

  private static func hostAndPort(_ place: Substring) throws(SourceError) -> (String, UInt16?) {
    var host = place
    var port: UInt16?
    let afterBracket = place.lastIndex(of: "]") ?? place.startIndex
    if let colon = place[afterBracket...].lastIndex(of: ":") {
      let text = place[place.index(after: colon)...]
      guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt16(text), number > 0 else {
        throw bad("its port is no number from 1 to 65535")
      }
      port = number
      host = place[..<colon]
    }
    let isAddress = host.hasPrefix("[") && host.hasSuffix("]") && host.count > 2
    let inner = isAddress ? host.dropFirst().dropLast() : host
    let good = inner.utf8.allSatisfy { byte in
      isAddress
        ? byte == 0x3a || byte == 0x2e || (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
        : isLetterOrDigit(byte) || ".-_".utf8.contains(byte)
    }
    guard good, !inner.isEmpty, inner.utf8.count <= 253, !inner.hasPrefix("-"), !inner.hasPrefix(".") else {
      throw bad("it names no host, or what is no host's name")
    }
    return (String(inner), port)
  }

  private static func isLoopback(_ host: String) -> Bool {
    if host.lowercased() == "localhost" || host == "::1" { return true }
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
  }

  private static func encoded(_ path: String) -> String {
    String(
      decoding: path.utf8.flatMap { byte -> [UInt8] in
        if isLetterOrDigit(byte) || "/._-~+,=@".utf8.contains(byte) { return [byte] }
        return Array("%\(hex([byte]))".utf8)
      }, as: UTF8.self)
  }

  private static func decoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == 0x25 else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), value != 0
      else {
        return nil
      }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }
}
