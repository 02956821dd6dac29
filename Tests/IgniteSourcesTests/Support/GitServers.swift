import Foundation
import Glibc

/// `git http-backend` behind Apache on loopback, with TLS by an authority of the test's own.
///
/// Of the repositories in its folder `/open/NAME` is for all, `/private/NAME` for a user with a password, `/token/NAME` for who
/// bears a token; `/moved/NAME` redirects to `/open/NAME`.
final class GitWebServer: Sendable {
  static let (user, password, token) = ("ann", "p@ss: w0rd/+", "t0ken-with-Letters_1")

  let port: Int
  /// In PEM.
  let authority: [UInt8]
  private let server: TestServer

  /// - Parameters:
  ///   - repositories: the folder that is served.
  ///   - names: whom the certificate is for.
  init(_ repositories: String, scratch: TestDirectory, names: String = "DNS:localhost,IP:127.0.0.1") async throws {
    let ca = try await TestAuthority(in: scratch, name: "web-ca")
    let (certificate, key) = try await ca.issue("web", names)
    let users = try await passwordFile(in: scratch, user: Self.user, password: Self.password)
    port = try TestServer.freePort()
    let modules = [
      "mpm_prefork", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "alias", "env", "cgi", "ssl",
    ]
    // Apache's processes give up root's rights; what they read must be anybody's.
    let identity = getuid() == 0 ? "User nobody\nGroup nogroup" : ""
    let configuration = """
      ServerRoot "\(scratch.path)"
      ServerName localhost
      Listen 127.0.0.1:\(port)
      PidFile "\(scratch.file("web.pid"))"
      ErrorLog "\(scratch.file("web.log"))"
      DefaultRuntimeDir "\(scratch.path)"
      Mutex "file:\(scratch.path)"
      \(modules.map { "LoadModule \($0)_module /usr/lib/apache2/modules/mod_\($0).so" }.joined(separator: "\n"))
      \(identity)
      StartServers 1
      SSLEngine on
      SSLCertificateFile "\(certificate)"
      SSLCertificateKeyFile "\(key)"
      SetEnv GIT_PROJECT_ROOT "\(repositories)"
      SetEnv GIT_HTTP_EXPORT_ALL 1
      SetEnv GIT_CONFIG_COUNT 1
      SetEnv GIT_CONFIG_KEY_0 safe.directory
      SetEnv GIT_CONFIG_VALUE_0 *
      ScriptAlias /open/ /usr/lib/git-core/git-http-backend/
      ScriptAlias /private/ /usr/lib/git-core/git-http-backend/
      ScriptAlias /token/ /usr/lib/git-core/git-http-backend/
      Redirect 302 /moved/ https://localhost:\(port)/open/
      <Location /private/>
        AuthType Basic
        AuthName test
        AuthUserFile "\(users)"
        Require valid-user
      </Location>
      <Location /token/>
        Require expr "%{HTTP:Authorization} == 'Bearer \(Self.token)'"
      </Location>
      """
    try configuration.write(toFile: scratch.file("web.conf"), atomically: true, encoding: .utf8)
    server = try await serve(
      ["/usr/sbin/apache2", "-f", scratch.file("web.conf"), "-D", "FOREGROUND"], port: port, scratch: scratch)
    authority = [UInt8](try Data(contentsOf: URL(fileURLWithPath: ca.certificate)))
  }

  func url(_ access: String, _ name: String) -> String { "https://localhost:\(port)/\(access)/\(name)" }
}

/// Starts a server, and returns once it takes connections. It ends with what is returned.
private func serve(_ program: [String], port: Int, scratch: TestDirectory) async throws -> TestServer {
  let script = """
    # SIGTERM is blocked in what this program starts; a session of its own is killed whole.
    port=$1; shift; setsid "$@" & pid=$!
    trap 'kill -9 -- -$pid; wait $pid' EXIT; trap 'exit 0' TERM
    until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do kill -0 $pid || exit 1; sleep 0.05; done
    echo ready; cat >/dev/null
    """
  return try await TestServer(
    ["bash", "-c", script, "server", String(port)] + program, readiness: "ready", scratch: scratch)
}

/// OpenSSH's server on loopback, for this user with a deploy key, and for git alone.
final class GitSSHServer: Sendable {
  let port: Int
  /// The lines for known_hosts.
  let knownHosts: [UInt8]
  private let server: TestServer

  /// - Parameters:
  ///   - authorized: the deploy key's public part, as ssh-keygen writes it.
  ///   - port: nil for one that is free.
  init(authorized: String, scratch: TestDirectory, port: Int? = nil) async throws {
    let port = try port ?? TestServer.freePort()
    self.port = port
    let name = "sshd-\(UInt32.random(in: 0 ... .max))"
    let hostKey = scratch.file("\(name)-key")
    try await tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey])
    let shell =
      #"restrict,command="env GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null git-shell -c \"$SSH_ORIGINAL_COMMAND\"" "#
    try (shell + authorized).write(toFile: scratch.file("\(name)-authorized"), atomically: true, encoding: .utf8)
    try """
    Port \(port)
    ListenAddress 127.0.0.1
    HostKey \(hostKey)
    AuthorizedKeysFile \(scratch.file("\(name)-authorized"))
    PidFile none
    UsePAM no
    StrictModes no
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    PermitRootLogin prohibit-password
    AcceptEnv GIT_PROTOCOL
    MaxStartups 100
    """.write(toFile: scratch.file("\(name)-config"), atomically: true, encoding: .utf8)
    // As root it wants its empty directory, which Debian's unit makes.
    if getuid() == 0 { try FileManager.default.createDirectory(atPath: "/run/sshd", withIntermediateDirectories: true) }
    server = try await serve(
      ["/usr/sbin/sshd", "-D", "-e", "-f", scratch.file("\(name)-config")], port: port, scratch: scratch)
    let key = try String(contentsOfFile: hostKey + ".pub", encoding: .utf8)
    knownHosts = Array("[127.0.0.1]:\(port) \(key)".utf8)
  }

  func url(_ path: String) -> String { "ssh://\(NSUserName())@127.0.0.1:\(port)\(path)" }
}

/// A deploy key that ssh-keygen makes.
struct DeployKey: Sendable {
  let identity: [UInt8]
  let authorized: String

  init(in scratch: TestDirectory, passphrase: String = "") async throws {
    let path = scratch.file("deploy-\(UInt32.random(in: 0 ... .max))")
    try await tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "deploy", "-f", path])
    identity = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    authorized = try String(contentsOfFile: path + ".pub", encoding: .utf8)
  }
}

/// A socket that takes connections and never says a word.
final class SilentServer: Sendable {
  let port: Int
  private let socket: Int32

  init() throws {
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let number = socket
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        bind(number, pointer, length) == 0 && listen(number, 16) == 0 && getsockname(number, pointer, &length) == 0
      }
    }
    guard bound else { throw TestToolFailure(description: "no socket") }
    port = Int(UInt16(bigEndian: address.sin_port))
  }

  deinit { close(socket) }
}
