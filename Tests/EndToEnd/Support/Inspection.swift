import FoundationEssentials
import Testing

/// What the tests read of a VM's JSON.
struct VMView: Decodable {
  struct Metadata: Decodable {
    var name: String
    var uid: String
  }
  struct HealthCheck: Decodable {
    struct Result: Decodable {
      var exitCode: Int32
      var output: String
    }
    var failingStreak: Int
    var log: [Result]
  }
  struct Status: Decodable {
    var phase: String
    var message: String?
    var exitCode: Int32?
    /// The driver's name.
    var hypervisor: String?
    var supervisorPID: Int32?
    var hypervisorPID: Int32?
    var userID: UInt32?
    var template: String?
    var restarts: Int
    var health: String?
    var healthCheck: HealthCheck?
  }
  struct Spec: Decodable {
    var state: String
  }
  var metadata: Metadata
  var spec: Spec
  var status: Status

  var name: String { metadata.name }
  var uid: String { metadata.uid }
  var phase: String { status.phase }
  var message: String? { status.message }
  var exitCode: Int32? { status.exitCode }
  var supervisor: Int32? { status.supervisorPID }
  var template: String? { status.template }
  var hypervisor: Int32? { status.hypervisorPID }
}

extension Ignite {
  func vms() async throws -> [VMView] {
    let text = try await succeed("ps", "-a", "--format", "json")
    return try JSONDecoder().decode([VMView].self, from: Data(text.utf8))
  }

  func vm(_ name: String) async throws -> VMView {
    let text = try await succeed("inspect", name)
    return try #require(try JSONDecoder().decode([VMView].self, from: Data(text.utf8)).first)
  }

  /// Writes the user's configuration file.
  func configure(_ yaml: String) async throws {
    try await Self.run(Self.wrap + ["/bin/mkdir", "-p", folder + "/config/ignite"])
    let writer = Program(
      arguments: (Self.wrap + ["/bin/sh", "-c", "cat > \(folder)/config/ignite/config.yaml"]).withAbsoluteFirst(),
      environment: Self.variables, input: Array(yaml.utf8))
    #expect(try await writer.run().status == 0)
  }
}
