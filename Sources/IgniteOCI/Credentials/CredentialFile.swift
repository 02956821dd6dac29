internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// One file of credentials: Docker's `config.json` or Podman's `auth.json` (containers-auth.json(5)).
struct CredentialFile: Sendable {
  let path: String
  /// Docker names its own registry by a URL of its past.
  let isDocker: Bool

  /// The key of Docker's own registry in Docker's files, and what its credential helpers are asked for.
  static let dockerHub = "https://index.docker.io/v1/"

  /// The document; nil where there is no file.
  func read() throws(OCIError) -> JSONValue? {
    guard access(path, F_OK) == 0 else { return nil }
    let bytes = try SmallFile.read(path, "the credentials in")
    if bytes.allSatisfy({ [0x20, 0x09, 0x0a, 0x0d].contains($0) }) { return .object([:]) }
    let document = try decodeDocument(JSONValue.self, bytes, "the file of credentials \(path)")
    guard case .object = document else {
      throw OCIError(.invalidDocument, "the file of credentials \(path) is no JSON object")
    }
    return document
  }

  /// Puts the document in the file's place, readable by its owner alone. A symbolic link stays, and leads to it.
  func write(_ document: JSONValue) throws(OCIError) {
    var target = path
    if let resolved = realpath(path, nil) {
      target = String(cString: resolved)
      free(resolved)
    }
    let folder = target.lastIndex(of: "/").map { String(target[..<$0]) } ?? "."
    let partial = "\(folder)/.ignite-\(getpid())-\(UInt32.random(in: .min ... .max))"
    do throws(SystemError) {
      try Self.makeFolder(folder)
      do throws(SystemError) {
        let file = try FileDescriptor.open(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let encoded = try? encoder.encode(document) else { throw SystemError("encode \(path)", code: EINVAL) }
        var rest = Array(encoded)[...]
        rest.append(UInt8(ascii: "\n"))
        while !rest.isEmpty {
          let count = try retrying("write \(partial)") {
            rest.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
          }
          rest = rest.dropFirst(count)
        }
        try retrying("sync \(partial)") { Int(fsync(file.number)) }
        try retrying("rename \(partial) to \(target)") { Int(rename(partial, target)) }
      } catch {
        unlink(partial)
        throw error
      }
    } catch {
      throw OCIError(
        .fileSystem, "cannot store credentials in \(path): \(error.message)",
        advice: "name another file in REGISTRY_AUTH_FILE, or another folder in DOCKER_CONFIG", cause: error)
    }
  }

  private static func makeFolder(_ path: String) throws(SystemError) {
    var built = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
      built += "/\(part)"
      if mkdir(built, 0o700) != 0, errno != EEXIST { throw SystemError("make the directory \(built)") }
    }
  }

  // MARK: Entries

  /// The keys that may hold the credentials of a repository, best first: `host/namespace/name`, …, `host`.
  static func keys(host: String, repository: String) -> [String] {
    var keys: [String] = []
    var path = repository.split(separator: "/")[...]
    while !path.isEmpty {
      keys.append("\(host)/\(path.joined(separator: "/"))")
      path = path.dropLast()
    }
    keys.append(host)
    if host == "docker.io" { keys += ["index.docker.io", "registry-1.docker.io"] }
    return keys
  }

  /// A file's key without what history put around it: scheme, and then the path of an API.
  static func normalized(_ key: String) -> String {
    for scheme in ["https://", "http://"] where key.hasPrefix(scheme) {
      return String(key.dropFirst(scheme.count).prefix { $0 != "/" })
    }
    return key
  }

  /// What is written under: Docker reads its registry under one name, Podman under another.
  func key(_ host: String) -> String { isDocker && host == "docker.io" ? Self.dockerHub : host }

  /// The credential that the document itself holds.
  static func credential(in document: JSONValue, host: String, repository: String) throws(OCIError)
    -> RegistryCredential?
  {
    var entries: [String: JSONValue] = [:]
    // A key as it is comes before one that was normalized.
    for (key, entry) in document["auths"]?.fields ?? [:] {
      let name = normalized(key)
      if name == key || entries[name] == nil { entries[name] = entry }
    }
    for key in keys(host: host, repository: repository) {
      guard let entry = entries[key], let credential = try credential(entry, key) else { continue }
      return credential
    }
    return nil
  }

  private static func credential(_ entry: JSONValue, _ key: String) throws(OCIError) -> RegistryCredential? {
    var credential: RegistryCredential?
    if let token = entry["identitytoken"]?.text {
      credential = .identityToken(token)
    } else if let token = entry["registrytoken"]?.text {
      credential = .registryToken(token)
    } else if let encoded = entry["auth"]?.text {
      guard let data = Data(base64Encoded: encoded), let text = String(validating: data, as: UTF8.self),
        let colon = text.firstIndex(of: ":")
      else {
        throw OCIError(
          .denied,
          "the stored credentials for \(OCIError.quoted(key)) cannot be read: 'auth' is not USER:PASSWORD in base64",
          advice: "log in again: ignite login \(OCIError.quoted(key))")
      }
      // Docker pads with NULs.
      let password = text[text.index(after: colon)...].filter { $0 != "\0" }
      credential = .password(user: String(text[..<colon]), password: String(password))
    } else if let user = entry["username"]?.text, let password = entry["password"]?.text {
      credential = .password(user: user, password: password)
    }
    guard let credential else { return nil }
    guard credential.isUsable else {
      throw OCIError(
        .denied,
        "the stored credentials for \(OCIError.quoted(key)) cannot be sent: they are empty or have control characters",
        advice: "log in again: ignite login \(OCIError.quoted(key))")
    }
    return credential
  }
}
