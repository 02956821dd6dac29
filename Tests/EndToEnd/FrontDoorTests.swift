import FoundationEssentials
import Glibc
import Testing

/// `ignited gitops`: from nothing to the VMs of a repository with one command, also as an ordinary user.
@Suite(.timeLimit(.minutes(10))) struct GitOpsFrontDoor {
  /// The front door, and a roll-out without a daemon.
  @Test func oneCommand() async throws {
    try await Ignite.with { ignite in
      let repository = try await FleetRepository(ignite.folder + "/fleet.git")
      try await repository.commit("one", ["web.yaml": FleetRepository.vm("web")])
      var once = ignite.command([])
      symlink(Ignite.program, ignite.folder + "/ignited")
      once.arguments = [ignite.folder + "/ignited", "gitops", "--once", "--branch", "main", repository.path]
      let result = try await once.run()
      #expect(result.status == 0 && result.text.contains("applied, 1 change"), "\(result.text) \(result.errorText)")
      #expect(try await ignite.succeed("exec", "web", "echo", "hi") == "hi")
      let again = try await once.run()
      #expect(again.status == 0 && again.text.contains("everything is as it says"), "\(again.text)")
      // Planned, and not done, as long as nobody says so.
      try await repository.commit("two", ["web.yaml": FleetRepository.vm("web", seconds: 60)])
      let plan = try await ignite.succeed("gitops", "plan", "--fetch", "gitops")
      #expect(plan.contains("-/+ VM/web will be replaced"), "\(plan)")
      // Two syncs do not take an object from each other.
      try await repository.declare(in: ignite)
      try await repository.commit("three", ["vms/web.yaml": FleetRepository.vm("web")])
      let refused = try await ignite("gitops", "sync", "fleet")
      #expect(
        refused.status == 1 && refused.errorText.contains("VM/web belongs to Sync/gitops"), "\(refused.errorText)")
      // What has no value is an error with its place.
      try await repository.commit(
        "four", ["vms/web.yaml": FleetRepository.vm("other").replacing("${STAGE:=none}", with: "${NONE}")])
      try await repository.declare(in: ignite, more: ", postBuild: {}")
      let undefined = try await ignite("gitops", "sync", "fleet")
      #expect(
        undefined.status == 1 && undefined.errorText.contains(":8: ${NONE} has no value"), "\(undefined.errorText)")
    }
  }
}
