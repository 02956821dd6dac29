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
      let words = ["--branch", "main", repository.path]
      let result = try await ignite.gitOpsOnce(words)
      #expect(result.status == 0 && result.text.contains("applied, 1 change"), "\(result.text) \(result.errorText)")
      #expect(try await ignite.succeed("exec", "web", "echo", "hi") == "hi")
      let again = try await ignite.gitOpsOnce(words)
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

  /// Nothing is imported, nothing is configured: the repository has the kernel, the image and the VM.
  @Test func fromAnEmptyMachine() async throws {
    try await Ignite.withEmpty { ignite in
      let kernel = try await Seed.kernel(in: ignite.folder)
      let layout = try await TestImage.layout()
      let repository = try await FleetRepository(ignite.folder + "/fleet.git")
      func object(_ kind: String, _ name: String, _ from: String) -> String {
        """
        apiVersion: ignite.weave.works/v1beta1
        kind: \(kind)
        metadata: {name: "\(name)"}
        spec: {oci: "\(from)"}

        """
      }
      let vm = FleetRepository.vm("web").replacing(Ignite.image, with: "localhost/fleet:1")
      try await repository.commit(
        "all of it",
        [
          "a-vm.yaml": vm, "image.yaml": object("Image", "localhost/fleet:1", "oci:\(layout):test"),
          "kernel.yaml": object("Kernel", "debian/cloud:12", kernel),
        ])
      let daemon = try DaemonProcess.launch(ignite, command: ["gitops", "--interval", "1s", repository.path])
      try await daemon.ready()
      try await ignite.gitOps("3/3", "Ready")
      #expect(try await ignite.succeed("exec", "web", "sh", "-c", "echo $COLOUR") == "red")
      try await repository.commit("another", ["a-vm.yaml": vm.replacing("3600", with: "7200")])
      try await ignite.gitOps("3/3", "Ready")
      while !(try await ignite("inspect", "web").text.contains("7200")) { try Task.checkCancellation() }
      try await ignite.gitOps("3/3", "Ready")
      #expect(try await ignite.succeed("exec", "web", "sh", "-c", "echo $COLOUR") == "red")
      #expect(try await daemon.end() == 0)
      // It is gone, and the VM goes on.
      #expect(try await ignite.succeed("exec", "web", "echo", "hi") == "hi")
    }
  }
}
