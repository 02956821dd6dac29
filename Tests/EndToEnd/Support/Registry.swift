import FoundationEssentials
import IgniteSystem

/// Debian's docker-registry on loopback with the test image in it as `things/test:1`.
final class Registry: Sendable {
  let address: String
  private let program: RunningProgram

  private init(address: String, program: RunningProgram) {
    self.address = address
    self.program = program
  }

  static func start(in folder: String) async throws -> Registry {
    let layout = try await TestImage.layout()
    return try await start([folder, "\(layout):test", "things/test:1"], environment: [:])
  }

  /// An empty one that asks for a user's password.
  static func start(in folder: String, user: String, password: String) async throws -> Registry {
    let file = folder + ".htpasswd"
    try await Ignite.run(["htpasswd", "-Bbc", file, user, password])
    return try await start(
      [folder], environment: ["REGISTRY_AUTH_HTPASSWD_REALM": "test", "REGISTRY_AUTH_HTPASSWD_PATH": file])
  }

  private static func start(_ arguments: [String], environment: [String: String]) async throws -> Registry {
    let program = try Program(
      arguments: [Ignite.root + "/scripts/registry"] + arguments,
      environment: Ignite.variables.merging(environment) { $1 }
    ).start()
    // It ends with its standard input.
    let address = try await program.readOutput(until: "\n").trimmingSuffix()
    return Registry(address: address, program: program)
  }

  func end() async {
    program.input.close()
    _ = await program.ended()
  }
}
