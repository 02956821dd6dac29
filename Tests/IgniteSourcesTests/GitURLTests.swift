import IgniteSystem
import Testing

@testable import IgniteSources

@Suite struct GitURLs {
  @Test func addressesAreTaken() throws {
    let https = try GitURL("https://git.example.com:8443/team/repo.git")
    #expect(https.transport == .https && https.host == "git.example.com" && https.port == 8443 && https.user == nil)
    #expect(https.description == "https://git.example.com:8443/team/repo.git")
    #expect(try GitURL("HTTPS://host/x").description == "https://host/x")
    for local in ["http://localhost/x", "http://127.8.0.1:80/x", "http://[::1]:8080/x"] {
      #expect(try GitURL(local).transport == .http)
    }
    let ssh = try GitURL("ssh://git@[fd00::1]:2222/~me/repo.git")
    #expect(ssh.transport == .ssh && ssh.host == "fd00::1" && ssh.port == 2222 && ssh.user == "git")
    let short = try GitURL("git@github.com:weaveworks/ignite.git")
    #expect(short.transport == .ssh && short.host == "github.com" && short.user == "git" && short.port == nil)
    #expect(try GitURL("host:path").user == nil)
    #expect(try GitURL("/srv/a b%.git").description == "file:///srv/a%20b%25.git")
    #expect(try GitURL("file:///srv/a%20b.git").description == "file:///srv/a%20b.git")
    #expect(try GitURL("file://localhost/srv/x").transport == .file)
  }

  @Test(arguments: [
    "", " ", "x", "./x", "../x", "https://", "https:///x", "https://host", "https://host/", "https://host/a b",
    "https://host/a?b",
    "https://host/a#b", "https://host/../x", "https://ho st/x", "https://host:0/x", "https://host:99999/x",
    "https://host:/x",
    "https://-host/x", "https://[::1/x", "http://host/x", "http://127.0.0.1.example.com/x",
    "http://localhost.example.com/x",
    "git://host/x", "ftp://host/x", "git+ssh://host/x", "ext::sh -c true", "EXT::x", "::x", "transport::address", "-x",
    "--upload-pack=touch /tmp/x", "ssh://-oProxyCommand=x/y", "ssh://a:b@host/x", "ssh://@host/x", "ssh://-a@host/x",
    "ssh://host",
    "ssh://host/", "-a@host:x", "host:-x", "host:", ":x", "a:b@host:x", "file://host/x", "file://x", "file:///a%00b",
    "file:///a%zz",
    "file:///a%0ab", "https://host/x\n", "https://host/\u{1b}[31m", "https://host\\@evil/x",
  ])
  func othersAreRefused(text: String) {
    #expect { try GitURL(text) } throws: { error in
      let error = error as? SourceError
      return error?.code == .badURL && error?.message.utf8.allSatisfy { $0 >= 0x20 } == true
    }
  }

  @Test func passwordsAreNeitherTakenNorSaid() {
    for text in ["https://ann:s3cret@host/x", "https://s3cret@host/x", "ssh://ann:s3cret@host/x", "ann:s3cret@host:x"] {
      #expect { try GitURL(text) } throws: { error in
        let error = error as? SourceError
        return error?.code == .badURL && error?.description.contains("s3cret") == false
      }
    }
  }

  @Test func credentialsAreCheckedAndNeverShown() throws {
    var credentials = GitCredentials()
    credentials.password = "s3cret"
    credentials.bearerToken = "t0ken"
    credentials.identity = Array("key".utf8)
    var dumped = ""
    dump(credentials, to: &dumped)
    for text in [
      "\(credentials)", String(reflecting: credentials), dumped,
      "\(GitSource(url: "https://h/x", credentials: credentials))",
    ] {
      #expect(!text.contains("s3cret") && !text.contains("t0ken"))
    }
    let url = try GitURL("https://host/x")
    for bad in ["line\nX-Header: 1", "", "\u{0}", "\r"] {
      var broken = GitCredentials()
      broken.bearerToken = bad
      #expect { try broken.check(for: url) } throws: { ($0 as? SourceError)?.code == .badSource }
    }
    #expect { try GitCredentials(secret: ["password": [0xff]]) } throws: { ($0 as? SourceError)?.code == .badSource }
    let secret = try GitCredentials(secret: ["username": Array("ann".utf8), "password": Array("pw".utf8)])
    #expect(secret.authorization == "Basic YW5uOnB3" && secret.identityPassphrase == nil)
  }

  @Test func whatGitSaysIsReadAndCutDown() throws {
    let url = try GitURL("https://host/x")
    let complaint = GitComplaint(subject: "https://host/x at branch main", url: url, secrets: ["s3cret"])
    let error = complaint.error(
      "remote: \u{1b}[31mhello\nfatal: could not read Username for 'https://host': s3cret\u{7}\u{202e}"
        + String(repeating: "x", count: 900))
    #expect(error.code == .authentication && !error.message.contains("s3cret") && error.message.count < 400)
    #expect(!error.message.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202e })
    #expect(complaint.error("fatal: something else").code == .failed)
    #expect(complaint.error("").message.hasSuffix("it said nothing"))
  }

  @Test func pathsAreNormalized() throws {
    #expect(try SourcePaths.normalized([]) == [""])
    #expect(try SourcePaths.normalized([".", "a"]) == [""])
    #expect(try SourcePaths.normalized(["a//b/", "./a/b/c", "/ab"]) == ["a/b", "ab"])
    for bad in ["..", "a/..", "a\nb", String(repeating: "a", count: 2000)] {
      #expect(throws: SourceError.self) { try SourcePaths.normalized([bad]) }
    }
    #expect(
      SourcePaths.isManifest("a/b.YAML") && !SourcePaths.isManifest("a/.b.yaml") && !SourcePaths.isManifest("yaml"))
    #expect(SourcePaths.isManifest(".a/b.yaml", below: ".a") && !SourcePaths.isManifest("b.yaml~"))
  }
}
