import Foundation
import Testing

@testable import IgniteOCI

/// Where credentials are found and kept.
@Suite struct CredentialTests {
  let scratch: TestDirectory

  init() throws { scratch = try TestDirectory() }

  private static func encoded(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

  private func write(_ name: String, _ json: String) throws {
    let path = scratch.file(name)
    try FileManager.default.createDirectory(
      at: URL(fileURLWithPath: path).deletingLastPathComponent(), withIntermediateDirectories: true)
    try json.write(toFile: path, atomically: true, encoding: .utf8)
  }

  private func read(_ name: String) throws -> [String: Any] {
    let data = try Data(contentsOf: URL(fileURLWithPath: scratch.file(name)))
    return try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  private func store(_ variables: [String: String] = [:]) -> CredentialStore {
    var environment = ["HOME": scratch.path, "PATH": "\(scratch.path)/bin:/usr/bin:/bin"]
    for (name, value) in variables { environment[name] = value }
    return CredentialStore(environment: environment)
  }

  @Test func theLongestNameWins() async throws {
    try write(
      ".config/containers/auth.json",
      """
      {"auths":{"r.test":{"auth":"\(Self.encoded("host:1"))"},"r.test/team":{"auth":"\(Self.encoded("team:2"))"},
      "r.test/team/app":{"auth":"\(Self.encoded("app:3:4"))"},"https://old.test/v1/":{"auth":"\(Self.encoded("old:5"))"},
      "token.test":{"auth":"","identitytoken":"long"},"plain.test":{"username":"p","password":"6"},"empty.test":{}}}
      """)
    let store = store()
    func found(_ host: String, _ repository: String) async throws -> RegistryCredential? {
      try await store.credential(host: host, repository: repository)
    }
    #expect(try await found("r.test", "other") == .password(user: "host", password: "1"))
    #expect(try await found("r.test", "team/other") == .password(user: "team", password: "2"))
    #expect(try await found("r.test", "teams/other") == .password(user: "host", password: "1"))
    #expect(try await found("r.test", "team/app") == .password(user: "app", password: "3:4"))
    #expect(try await found("old.test", "x") == .password(user: "old", password: "5"))
    #expect(try await found("token.test", "x") == .identityToken("long"))
    #expect(try await found("plain.test", "x") == .password(user: "p", password: "6"))
    #expect(try await found("empty.test", "x") == nil)
    #expect(try await found("r.test:443", "x") == nil)
  }

  @Test func filesHaveAnOrder() async throws {
    func entry(_ user: String) -> String {
      #"{"auths":{"https://index.docker.io/v1/":{"auth":"\#(Self.encoded(user + ":x"))"}}}"#
    }
    func user(_ store: CredentialStore) async throws -> String? {
      guard case .password(let user, _) = try await store.credential(host: "docker.io", repository: "library/x") else {
        return nil
      }
      return user
    }
    #expect(try await user(store()) == nil)
    try write(".config/containers/auth.json", #"{"auths":{"docker.io":{"auth":"\#(Self.encoded("podman:x"))"}}}"#)
    #expect(try await user(store()) == "podman")
    try write("run/containers/auth.json", entry("runtime"))
    #expect(try await user(store(["XDG_RUNTIME_DIR": scratch.file("run")])) == "runtime")
    try write(".docker/config.json", entry("docker"))
    #expect(try await user(store(["XDG_RUNTIME_DIR": scratch.file("run")])) == "docker")
    try write("other/config.json", entry("other"))
    #expect(try await user(store(["DOCKER_CONFIG": scratch.file("other")])) == "other")
    try write("mine.json", entry("mine"))
    #expect(try await user(store(["REGISTRY_AUTH_FILE": scratch.file("mine.json")])) == "mine")
    #expect(try await user(store(["REGISTRY_AUTH_FILE": scratch.file("absent.json")])) == nil)
  }

  @Test(arguments: [
    #"{"auths":{"r.test":{"auth":"!"}}}"#, #"{"auths":{"r.test":{"auth":"bm9jb2xvbg=="}}}"#,
    #"{"auths":{"r.test":{"username":"a\r\nb","password":"x"}}}"#, "[]", "{", #"{"credsStore":"../../bin/sh"}"#,
    #"{"credHelpers":{"r.test":"absent"}}"#,
  ])
  func whatIsBrokenIsSaid(json: String) async throws {
    try write(".docker/config.json", json)
    let error = await #expect(throws: OCIError.self) {
      try await store().credential(host: "r.test", repository: "x")
    }
    #expect(error?.message.contains("\n") == false)
  }

  @Test func storingKeepsWhatElseIsThere() async throws {
    try write(
      "real.json",
      #"{"auths":{"a.test":{"auth":"eDp5"}},"proxies":{"default":{"n":1,"big":12345678901}},"psFormat":"x/y"}"#)
    try FileManager.default.createDirectory(atPath: scratch.file(".docker"), withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: scratch.file(".docker/config.json"), withDestinationPath: scratch.file("real.json"))
    let store = store()
    #expect(
      try await store.store(user: "me", password: "word:x", host: "b.test:5000") == scratch.file(".docker/config.json"))
    _ = try await store.store(user: "hub", password: "y", host: "docker.io")
    let document = try read("real.json")
    let auths = try #require(document["auths"] as? [String: [String: String]])
    #expect(auths["b.test:5000"] == ["auth": Self.encoded("me:word:x")])
    #expect(auths["https://index.docker.io/v1/"] == ["auth": Self.encoded("hub:y")])
    #expect(auths["a.test"] == ["auth": "eDp5"])
    #expect(document["psFormat"] as? String == "x/y")
    let text = try String(contentsOfFile: scratch.file("real.json"), encoding: .utf8)
    #expect(text.contains("12345678901") && text.contains("proxies"))
    let mode = try FileManager.default.attributesOfItem(atPath: scratch.file("real.json"))[.posixPermissions]
    #expect(mode as? Int == 0o600)
    #expect(
      try FileManager.default.attributesOfItem(atPath: scratch.file(".docker/config.json"))[.type] as? FileAttributeType
        == .typeSymbolicLink)
    #expect(try await store.credential(host: "docker.io", repository: "x") == .password(user: "hub", password: "y"))
    #expect(try await store.erase(host: "docker.io") == [scratch.file(".docker/config.json")])
    #expect(try await store.erase(host: "docker.io") == [])
    #expect(
      try await store.credential(host: "b.test:5000", repository: "x") == .password(user: "me", password: "word:x"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).filter { $0.hasPrefix(".ignite") } == [])
    // Another tool reads what we wrote.
    let user = try await tool([
      "env", "-u", "REGISTRY_AUTH_FILE", "HOME=\(scratch.path)", "XDG_RUNTIME_DIR=\(scratch.path)/none", "skopeo",
      "login", "--get-login", "b.test:5000",
    ])
    #expect(String(decoding: user, as: UTF8.self) == "me\n")
  }

  @Test func whatSkopeoStoresIsFound() async throws {
    let registry = try await DockerRegistry(Self.guarded(scratch))
    try await tool([
      "skopeo", "login", "--tls-verify=false", "--authfile", scratch.file("auth.json"), "-u", "me", "-p", "pass word",
      registry.authority,
    ])
    let store = store(["REGISTRY_AUTH_FILE": scratch.file("auth.json")])
    #expect(
      try await store.credential(host: registry.authority, repository: "a/b")
        == .password(user: "me", password: "pass word"))
  }

  static func guarded(_ scratch: TestDirectory) async throws -> DockerRegistry.Options {
    var options = DockerRegistry.Options()
    options.passwords = try await passwordFile(in: scratch, user: "me", password: "pass word")
    return options
  }

  /// A helper that keeps what it is given in a file, a line a server.
  private func installHelper(_ name: String, _ script: String) throws {
    try write("bin/docker-credential-\(name)", "#!/bin/sh\n" + script)
    try FileManager.default.setAttributes(
      [.posixPermissions: 0o755], ofItemAtPath: scratch.file("bin/docker-credential-\(name)"))
  }

  @Test func helpersKeepCredentials() async throws {
    try installHelper(
      "shelf",
      """
      shelf=\(scratch.path)/shelf; mkdir -p "$shelf"
      input=$(cat)
      case $1 in
        store) name=$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/; s,\\\\,,g' | md5sum | cut -c1-32)
          printf %s "$input" > "$shelf/$name" ;;
        get|erase) name=$(printf %s "$input" | md5sum | cut -c1-32)
          [ -e "$shelf/$name" ] || { echo "credentials not found in native keychain"; exit 1; }
          if [ "$1" = get ]; then cat "$shelf/$name"; else rm "$shelf/$name"; fi ;;
      esac
      """)
    try write(".docker/config.json", #"{"credsStore":"shelf"}"#)
    let store = store()
    #expect(try await store.credential(host: "r.test", repository: "x") == nil)
    #expect(try await store.store(user: "me", password: "w\"ord", host: "r.test") == "docker-credential-shelf")
    _ = try await store.store(user: "hub", password: "y", host: "docker.io")
    #expect(try await store.credential(host: "r.test", repository: "x") == .password(user: "me", password: "w\"ord"))
    #expect(try await store.credential(host: "docker.io", repository: "x") == .password(user: "hub", password: "y"))
    let text = try String(contentsOfFile: scratch.file(".docker/config.json"), encoding: .utf8)
    #expect(!text.contains(Self.encoded("me:w\"ord")) && !text.contains("ord"))
    #expect(try await store.erase(host: "r.test") == ["docker-credential-shelf"])
    #expect(try await store.credential(host: "r.test", repository: "x") == nil)
    #expect(try await store.erase(host: "r.test") == [])
  }

  @Test func helpersOfSingleRegistriesAndTokens() async throws {
    try installHelper("token", #"cat >/dev/null; echo '{"ServerURL":"x","Username":"<token>","Secret":"refresh"}'"#)
    try write(
      ".docker/config.json",
      #"{"credHelpers":{"r.test":"token"},"auths":{"s.test":{"auth":"\#(Self.encoded("a:b"))"}}}"#)
    #expect(try await store().credential(host: "r.test", repository: "x") == .identityToken("refresh"))
    #expect(try await store().credential(host: "s.test", repository: "x") == .password(user: "a", password: "b"))
  }

  @Test(arguments: [
    ("echo 'the key ring is locked' >&2; exit 3", "the key ring is locked"), ("echo nonsense", "no credential"),
    ("cat /dev/zero | tr '\\0' x | head -c 3000000", "no credential"),
    (#"printf '{"ServerURL":"x","Username":"a\\nb","Secret":"c"}'"#, "cannot be sent"),
  ])
  func helpersThatMisbehave(script: String, word: String) async throws {
    try installHelper("bad", script)
    try write(".docker/config.json", #"{"credsStore":"bad"}"#)
    let error = await #expect(throws: OCIError.self) {
      try await store().credential(host: "r.test", repository: "x")
    }
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
  }

  @Test func helpersThatHangAreEnded() async throws {
    try installHelper("slow", "echo $$ > \(scratch.path)/pid; exec sleep 3600")
    try write(".docker/config.json", #"{"credsStore":"slow"}"#)
    var store = store()
    store.helperTimeout = .seconds(1)
    let error = await #expect(throws: OCIError.self) { try await store.credential(host: "r.test", repository: "x") }
    #expect(error?.code == .timedOut)
    let pid = try String(contentsOfFile: scratch.file("pid"), encoding: .utf8).trimmingCharacters(in: .newlines)
    #expect(!FileManager.default.fileExists(atPath: "/proc/\(pid)"))
  }

  @Test(arguments: [
    ("docker.io", "docker.io", "docker.io"), ("https://index.docker.io/v1/", "docker.io", "docker.io"),
    ("registry-1.docker.io", "docker.io", "docker.io"), ("r.test:5000", "r.test:5000", "r.test:5000"),
    ("http://r.test/v2/", "r.test", "r.test"), ("r.test/team/", "r.test", "r.test/team"),
  ])
  func namesForLogin(text: String, registry: String, key: String) throws {
    let found = try RegistryClient.loginKey(text)
    #expect(found.registry == registry && found.key == key)
  }

  @Test(arguments: ["", "https://", "a b", "r.test/UP", "r.test:0"])
  func noNamesForLogin(text: String) {
    #expect(throws: OCIError.self) { try RegistryClient.loginKey(text) }
  }

  @Test func secretsAreNotPrinted() {
    let credential = RegistryCredential.password(user: "me", password: "hush")
    #expect(!"\(credential)".contains("hush") && !String(reflecting: credential).contains("hush"))
    #expect(!"\(RegistryCredential.identityToken("hush"))".contains("hush"))
  }
}
