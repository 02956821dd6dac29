internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// The credentials for registries that Docker's and Podman's files hold, and the programs that these name.
///
/// In the first of these files that knows a registry it is looked up: the one that `REGISTRY_AUTH_FILE` names, alone;
/// or else Docker's `config.json` (`DOCKER_CONFIG`, `~/.docker`), `$XDG_RUNTIME_DIR/containers/auth.json`,
/// `$XDG_CONFIG_HOME/containers/auth.json`.
public struct CredentialStore: Sendable {
  let files: [CredentialFile]
  let environment: [String: String]
  /// How long a helper may take; it may ask its user something.
  var helperTimeout: Duration = .seconds(60)

  public init(environment: [String: String]) {
    self.environment = environment
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    if let file = value("REGISTRY_AUTH_FILE") {
      files = [CredentialFile(path: file, isDocker: file.hasSuffix("/config.json"))]
      return
    }
    var files: [CredentialFile] = []
    let home = value("HOME")
    if let folder = value("DOCKER_CONFIG") ?? home.map({ "\($0)/.docker" }) {
      files.append(CredentialFile(path: "\(folder)/config.json", isDocker: true))
    }
    for folder in [value("XDG_RUNTIME_DIR"), value("XDG_CONFIG_HOME") ?? home.map { "\($0)/.config" }] {
      if let folder { files.append(CredentialFile(path: "\(folder)/containers/auth.json", isDocker: false)) }
    }
    self.files = files
  }

  /// The credential for a repository; nil where nobody has one.
  ///
  /// - Parameters:
  ///   - host: as references spell it: `docker.io`, `registry.example:5000`.
  ///   - repository: may be empty.
  func credential(host: String, repository: String) async throws(OCIError) -> RegistryCredential? {
    for file in files {
      guard let document = try await read(file) else { continue }
      if let name = document["credHelpers"].flatMap({ Self.helper(in: $0, host: host) }) {
        if let credential = try await helper(name).get(Self.server(host)) { return credential }
        continue
      }
      if let credential = try CredentialFile.credential(in: document, host: host, repository: repository) {
        return credential
      }
      if let name = document["credsStore"]?.text,
        let credential = try await helper(name).get(Self.server(host))
      {
        return credential
      }
    }
    return nil
  }

  /// Keeps a user's password for a registry, in the first of the files or with the helper that it names.
  ///
  /// - Parameter host: a registry, or with Podman a part of one: `registry.example/team`.
  /// - Returns: where it is kept, for people.
  public func store(user: String, password: String, host: String) async throws(OCIError) -> String {
    guard RegistryCredential.password(user: user, password: password).isUsable else {
      throw OCIError(
        .denied, "the user name or the password cannot be sent",
        advice: "neither may be empty or have control characters, and no colon is in a user's name")
    }
    guard let file = files.first else {
      throw OCIError(
        .fileSystem, "there is no file to keep credentials in: HOME is not set",
        advice: "name one in REGISTRY_AUTH_FILE")
    }
    var document = try await read(file) ?? .object([:])
    let key = file.key(host)
    let name = document["credHelpers"].flatMap { Self.helper(in: $0, host: host) } ?? document["credsStore"]?.text
    var auths = document["auths"] ?? .object([:])
    if let name {
      try await helper(name).store(Self.server(host), user: user, secret: password)
      auths[key] = .object([:])
    } else {
      auths[key] = .object(["auth": .string(Data("\(user):\(password)".utf8).base64EncodedString())])
    }
    document["auths"] = auths
    try await write(document, to: file)
    return name.map { "docker-credential-\($0)" } ?? file.path
  }

  /// Forgets a registry's credentials, wherever they are.
  ///
  /// - Returns: where they were, for people; empty where nowhere.
  public func erase(host: String) async throws(OCIError) -> [String] {
    var places: [String] = []
    for file in files {
      guard var document = try await read(file) else { continue }
      let name = document["credHelpers"].flatMap { Self.helper(in: $0, host: host) } ?? document["credsStore"]?.text
      if let name, try await helper(name).erase(Self.server(host)) { places.append("docker-credential-\(name)") }
      let names = CredentialFile.keys(host: host, repository: "")
      let keys = (document["auths"]?.fields ?? [:]).keys.filter { names.contains(CredentialFile.normalized($0)) }
      guard !keys.isEmpty, var auths = document["auths"] else { continue }
      for key in keys { auths[key] = nil }
      document["auths"] = auths
      try await write(document, to: file)
      if name == nil { places.append(file.path) }
    }
    return places
  }

  private static func helper(in helpers: JSONValue, host: String) -> String? {
    for key in CredentialFile.keys(host: host, repository: "") {
      if let name = helpers[key]?.text { return name }
    }
    return host == "docker.io" ? helpers[CredentialFile.dockerHub]?.text : nil
  }

  /// What helpers know a registry by.
  private static func server(_ host: String) -> String { host == "docker.io" ? CredentialFile.dockerHub : host }

  private func helper(_ name: String) -> CredentialHelper {
    CredentialHelper(name: name, environment: environment, timeout: helperTimeout)
  }

  private func read(_ file: CredentialFile) async throws(OCIError) -> JSONValue? {
    try await ThreadExecutor.run(name: "ignite-auth") { () throws(OCIError) in try file.read() }
  }

  private func write(_ document: JSONValue, to file: CredentialFile) async throws(OCIError) {
    try await ThreadExecutor.run(name: "ignite-auth") { () throws(OCIError) in try file.write(document) }
  }
}
