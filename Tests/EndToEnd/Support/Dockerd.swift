import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Debian's dockerd with a folder and a socket of its own, which leaves the host's network alone.
final class Dockerd: Sendable {
  let host: String
  private let folder: String
  private let program: RunningProgram

  private init(folder: String, program: RunningProgram) {
    self.folder = folder
    self.program = program
    host = "unix://\(folder)/s"
  }

  static func start(in folder: String) async throws -> Dockerd {
    try await Ignite.run(["mkdir", folder])
    let program = try Program(
      arguments: [
        "/usr/sbin/dockerd", "--bridge=none", "--iptables=false", "--storage-driver=vfs", "--data-root",
        folder + "/data", "--exec-root", folder + "/exec", "--pidfile", folder + "/pid", "-H", "unix://\(folder)/s",
      ], environment: Ignite.variables
    ).start()
    let daemon = Dockerd(folder: folder, program: program)
    let said = try await program.readErrors(until: "API listen on")
    guard said.hasSuffix("API listen on") else {
      Issue.record("dockerd does not start: \(said.suffix(2000))")
      throw CommandFailed()
    }
    // What it goes on to say must not fill the pipe.
    Task { _ = try? await program.readErrors() }
    return daemon
  }

  @discardableResult
  func docker(_ arguments: String...) async throws -> Program.Result {
    try await Ignite.run(["docker", "-H", host] + arguments)
  }

  /// Ends it, and takes away what it leaves mounted.
  func end() async {
    try? program.signal(SIGTERM)
    _ = await program.ended()
    _ = try? await Program(
      arguments: ["/bin/umount", "\(folder)/exec/netns/default"], environment: ["PATH": "/usr/bin:/bin"]
    ).run()
  }
}
