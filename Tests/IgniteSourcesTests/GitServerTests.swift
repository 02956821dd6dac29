import Foundation
import Testing

@testable import IgniteSources

/// Real servers on loopback.
@Suite struct GitServers {
  @Test func httpsByCertificatePasswordAndToken() async throws {
    let bed = try FetchBed()
    try FileManager.default.createDirectory(atPath: bed.scratch.file("served"), withIntermediateDirectories: true)
    let repository = try await bed.repository("served/r.git")
    let id = try await repository.commit([
      "a.yaml": .text("1"), "large.yaml": .bytes(Array(repeating: 0x61, count: 5 << 20)),
    ])
    try await repository.tag("v1.0.0", annotated: true)
    let server = try await GitWebServer(bed.scratch.file("served"), scratch: bed.scratch)
    var good = GitCredentials()
    good.caFile = server.authority
    func source(_ access: String, _ credentials: GitCredentials, name: String = "r.git") -> GitSource {
      GitSource(url: server.url(access, name), paths: ["a.yaml"], credentials: credentials)
    }
    let artifact = try await bed.artifact(source("open", good))
    #expect(artifact.revision == "main@sha1:\(id)" && artifact.text("a.yaml") == "1")
    #expect(try await bed.isUnchanged(source("open", good), known: artifact.header))
    var tagged = source("open", good)
    tagged.reference = GitReference(semver: "1.x")
    #expect(try await bed.artifact(tagged).revision == "v1.0.0@sha1:\(id)")
    var pinned = source("open", good)
    pinned.reference = GitReference(commit: id)
    #expect(try await bed.artifact(pinned).revision == "sha1:\(id)")

    // The server keeps back what is too large.
    var all = source("open", good)
    all.paths = ["."]
    let large = try await bed.failure(all)
    #expect(large.code == .tooLarge && large.message.contains("large.yaml has more bytes"))

    #expect(try await bed.failure(source("open", GitCredentials())).code == .certificate)
    let missing = try await bed.failure(source("open", good, name: "none.git"))
    #expect(missing.code == .notFound, "\(missing)")
    let moved = try await bed.failure(source("moved", good))
    #expect(moved.code == .badURL && moved.advice?.contains("redirects are not followed") == true, "\(moved)")

    let locked = try await bed.failure(source("private", good))
    #expect(locked.code == .authentication, "\(locked)")
    var user = good
    user.username = GitWebServer.user
    user.password = "wr0ng-password"
    #expect(try await bed.failure(source("private", user)).code == .authentication)
    user.password = GitWebServer.password
    #expect(try await bed.artifact(source("private", user)).revision == artifact.revision)

    var bearer = good
    bearer.bearerToken = "an-0ther-token"
    #expect(try await bed.failure(source("token", bearer)).code == .authentication)
    bearer.bearerToken = GitWebServer.token
    #expect(try await bed.artifact(source("token", bearer)).revision == artifact.revision)

    // A Secret's data, as files written by an editor have it.
    let secret = try GitCredentials(secret: [
      "username": Array(GitWebServer.user.utf8), "password": Array((GitWebServer.password + "\n").utf8),
      "ca.crt": server.authority, "unrelated": [0xff],
    ])
    #expect(try await bed.artifact(source("private", secret)).revision == artifact.revision)
  }

  @Test func aCertificateForAnotherNameAndAServerThatIsAway() async throws {
    let bed = try FetchBed()
    try FileManager.default.createDirectory(atPath: bed.scratch.file("served"), withIntermediateDirectories: true)
    let server = try await GitWebServer(bed.scratch.file("served"), scratch: bed.scratch, names: "DNS:other.test")
    var credentials = GitCredentials()
    credentials.caFile = server.authority
    let error = try await bed.failure(GitSource(url: server.url("open", "r.git"), credentials: credentials))
    #expect(error.code == .certificate, "\(error)")
    let port = try TestServer.freePort()
    let away = try await bed.failure(GitSource(url: "https://localhost:\(port)/r.git", credentials: credentials))
    #expect(away.code == .unreachable && !away.isLasting, "\(away)")
    let unknown = try await bed.failure(GitSource(url: "https://no-such-host.invalid/r.git"))
    #expect(unknown.code == .unreachable, "\(unknown)")
    credentials.caFile = Array("no certificate".utf8)
    let bad = try await bed.failure(GitSource(url: server.url("open", "r.git"), credentials: credentials))
    #expect(bad.code == .certificate, "\(bad)")
  }

  @Test func sshByDeployKeyAndKnownHosts() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    let id = try await repository.commit(["a.yaml": .text("1")])
    let key = try await DeployKey(in: bed.scratch)
    let server = try await GitSSHServer(authorized: key.authorized, scratch: bed.scratch)
    var good = GitCredentials()
    good.identity = key.identity
    good.knownHosts = server.knownHosts
    func source(_ credentials: GitCredentials, url: String? = nil) -> GitSource {
      GitSource(url: url ?? server.url(repository.path), credentials: credentials)
    }
    let artifact = try await bed.artifact(source(good))
    #expect(artifact.revision == "main@sha1:\(id)" && artifact.text("a.yaml") == "1")
    #expect(try await bed.isUnchanged(source(good), known: artifact.header))
    var pinned = source(good)
    pinned.reference = GitReference(commit: id)
    #expect(try await bed.artifact(pinned).revision == "sha1:\(id)")

    let missing = try await bed.failure(source(good, url: server.url(bed.scratch.file("none.git"))))
    #expect(missing.code == .notFound, "\(missing)")
    // What git-shell lets nobody do.
    let hostile = try await bed.failure(source(good, url: server.url("/';touch \(bed.scratch.file("marker"));'")))
    #expect(
      hostile.code == .notFound && !FileManager.default.fileExists(atPath: bed.scratch.file("marker")), "\(hostile)")

    var other = good
    other.identity = try await DeployKey(in: bed.scratch).identity
    let refused = try await bed.failure(source(other))
    #expect(refused.code == .authentication && refused.advice?.contains("deploy key") == true, "\(refused)")
    other.identity = Array("no key".utf8)
    #expect(try await bed.failure(source(other)).code == .authentication)
    other.identity = nil
    #expect(try await bed.failure(source(other)).code == .authentication)
    other = good
    other.knownHosts = nil
    let unknown = try await bed.failure(source(other))
    #expect(unknown.code == .hostKey && unknown.advice?.contains("ssh-keyscan 127.0.0.1") == true)
    other.knownHosts = Array("other.test ssh-ed25519 AAAA\n".utf8)
    #expect(try await bed.failure(source(other)).code == .hostKey)
  }

  @Test func aHostsKeyThatChangedIsRefused() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    let key = try await DeployKey(in: bed.scratch)
    var first: GitSSHServer? = try await GitSSHServer(authorized: key.authorized, scratch: bed.scratch)
    let port = try #require(first).port
    var credentials = GitCredentials()
    credentials.identity = key.identity
    credentials.knownHosts = try #require(first).knownHosts
    let source = GitSource(url: try #require(first).url(repository.path), credentials: credentials)
    let artifact = try await bed.artifact(source)
    first = nil
    let away = try await bed.failure(source)
    #expect(away.code == .unreachable, "\(away)")
    // Another server takes the place of the first.
    let second = try await GitSSHServer(authorized: key.authorized, scratch: bed.scratch, port: port)
    let error = try await bed.failure(source)
    #expect(error.code == .hostKey && error.message.contains("HAS CHANGED"), "\(error)")
    var told = source
    told.credentials.knownHosts = second.knownHosts
    #expect(try await bed.isUnchanged(told, known: artifact.header))
  }

  @Test func aKeysPassphraseIsGivenWithoutBeingAskedFor() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    let passphrase = "it's a $ecret"
    let key = try await DeployKey(in: bed.scratch, passphrase: passphrase)
    let server = try await GitSSHServer(authorized: key.authorized, scratch: bed.scratch)
    var source = GitSource(url: server.url(repository.path))
    source.credentials = try GitCredentials(secret: [
      "identity": key.identity, "known_hosts": server.knownHosts, "password": Array(passphrase.utf8),
    ])
    #expect(try await bed.artifact(source).text("a.yaml") == "1")
    source.credentials.identityPassphrase = "another"
    #expect(try await bed.failure(source).code == .authentication)
    source.credentials.identityPassphrase = nil
    #expect(try await bed.failure(source).code == .authentication)
  }
}
