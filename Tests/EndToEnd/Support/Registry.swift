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
    let program = try Program(
      arguments: [Ignite.root + "/scripts/registry", folder, "\(layout):test", "things/test:1"],
      environment: Ignite.variables
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
