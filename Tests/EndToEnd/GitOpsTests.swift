import FoundationEssentials
import Glibc
import Testing

/// Fleets of VMs in a git repository. The repository is real, and so is git; servers by https and ssh are in GitOpsServers.
@Suite(.timeLimit(.minutes(10))) struct GitOperations {
  @Test func theLifeOfAFleet() async throws {
    try await Ignite.with { ignite in
      let repository = try await FleetRepository(ignite.folder + "/fleet.git")
      try await repository.commit("one", ["vms/web.yaml": FleetRepository.vm("web"), "other/no.yaml": "kind: nothing"])
      try await repository.declare(in: ignite, more: ", postBuild: {substitute: {STAGE: test}}")
      #expect(try await ignite.succeed("gitops", "status").contains("does ignited run?"))
      try await DaemonProcess.with(ignite) { _ in
        try await ignite.gitOps("1/1", "Ready")
        #expect(try await ignite.succeed("exec", "web", "sh", "-c", "echo $STAGE") == "test")
        // Three more, whose names no UID begins with (`inspect` takes those, too), and a configuration.
        var began = ContinuousClock.now
        /// Prints how long it was since the last step, or the last time.
        func took(_ what: String) {
          print("push to ready: \(what): \(ContinuousClock.now - began)")
          began = .now
        }
        let three = try await repository.commit(
          "three more",
          [
            "vms/north.yaml": FleetRepository.vm("north"), "vms/deep/south.yaml": FleetRepository.vm("south"),
            "vms/west.yaml": FleetRepository.vm("west"),
            "vms/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {a: b}\n",
          ])
        try await ignite.gitOps(FleetRepository.short(three), "5/5")
        took("three VMs")
        for name in ["north", "south", "west"] {
          #expect(try await ignite.succeed("exec", name, "cat", "/proc/1/comm").isEmpty == false)
        }
        // A change, by replacement.
        let old = try await ignite.vm("north").uid
        began = .now
        let changed = try await repository.commit(
          "change", ["vms/north.yaml": FleetRepository.vm("north", seconds: 7200)])
        try await ignite.gitOps(FleetRepository.short(changed), "5/5")
        #expect(try await ignite.vm("north").uid != old)
        took("a change, by replacement")
        // One goes, and comes back.
        began = .now
        let gone = try await repository.commit("remove west", ["vms/west.yaml": nil])
        try await ignite.gitOps(FleetRepository.short(gone), "4/4")
        took("a removal")
        #expect(try await ignite("inspect", "west").status == 1)
        try await repository.git("revert", "--no-edit", "HEAD")
        try await ignite.gitOps("5/5")
        took("the revert of that")
        #expect(try await ignite.succeed("exec", "west", "echo", "hi") == "hi")
        began = .now
        // A broken one harms nothing, and is named.
        let broken = try await repository.commit(
          "broken", ["vms/x.yaml": FleetRepository.vm("x").replacing("args:", with: "argz:")])
        let said = try await ignite.gitOps("BadRevision")
        #expect(said.contains("vms/x.yaml@\(FleetRepository.short(broken)):8: spec.process.argz"), "\(said)")
        #expect(said.contains("5/5"))
        took("a broken commit, until it is told")
        try await repository.git("revert", "--no-edit", "HEAD")
        try await ignite.gitOps("Ready")
        // What somebody does by hand is told, and taken back.
        began = .now
        try await ignite.succeed("kill", "north")
        try await ignite.succeed("rm", "-f", "south")
        try await ignite.gitOps("5/5")
        while try await ignite("exec", "north", "true").status != 0 { try Task.checkCancellation() }
        took("drift by kill and by rm")
        #expect(try await ignite.succeed("exec", "south", "echo", "hi") == "hi")
        let drift = try await ignite.succeed("events", "--since", "5m", "--until", "0s", "--filter", "event=drift")
        #expect(drift.contains("name=north") && drift.contains("it is not there, name=south"), "\(drift)")
        // Most of it at once waits for somebody.
        began = .now
        let most = try await repository.commit(
          "most", ["vms/north.yaml": nil, "vms/deep/south.yaml": nil, "vms/west.yaml": nil, "vms/web.yaml": nil])
        let held = try await ignite.gitOps("HeldBack")
        took("a mass deletion, until it is held back")
        #expect(held.contains("would delete 4 of its 5 objects") && held.contains("5/5"), "\(held)")
        let done = try await ignite.succeed("gitops", "sync", "fleet", "--allow-mass-deletion")
        #expect(done.contains("applied, 4 changes"), "\(done)")
        #expect(try await ignite.vms().isEmpty)
        // Back to an older one, while nothing is written to the repository.
        try await ignite.succeed("gitops", "rollback", "fleet", "--to", String(three.prefix(10)))
        let back = try await ignite.gitOps("Suspended", "5/5")
        #expect(back.contains(FleetRepository.short(three)), "\(back)")
        #expect(try await repository.git("rev-parse", "HEAD") == most)
        let history = try await ignite.succeed("gitops", "history", "fleet").split(separator: "\n")
        #expect(history.count == 10 || history.count == 9, "\(history)")
        let tree = try await ignite.succeed("gitops", "tree", "fleet")
        #expect(tree.contains("├─ ConfigMap/map") && tree.contains("└─ VM/west"), "\(tree)")
        // A source that goes harms nothing either.
        try await Ignite.run(["mv", repository.path, repository.path + ".away"])
        try await ignite.succeed("gitops", "resume", "fleet")
        try await ignite.gitOps("HeldBack", "GitRepository/fleet: ")
        #expect(try await ignite.succeed("exec", "north", "echo", "hi") == "hi")
      }
      // With the sync goes what it keeps, but what is not to be pruned.
      try await ignite.succeed("update", "--label", "x=y", "north")
      let deleted = try await ignite.succeed("delete", "sync/fleet", "gitrepository/fleet", "--yes")
      #expect(deleted.contains("VM/north will be deleted: Sync/fleet keeps it"), "\(deleted)")
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }

  private static let fleet = ["one", "two"] + (0..<Ignite.rounds(0, soak: 8)).map { "more-\($0)" }

  /// `ignited` is killed at random while it rolls a commit out: the next one comes to what was pushed.
  @Test(.timeLimit(.minutes(Ignite.rounds(10, soak: 600)))) func aDaemonThatIsKilledConverges() async throws {
    var random = SeededNumbers()
    try await Ignite.with { ignite in
      let repository = try await FleetRepository(ignite.folder + "/fleet.git")
      try await repository.commit(
        "nothing", ["vms/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\n"])
      try await repository.declare(in: ignite, more: ", prune: true")
      let foreign = try await ignite.sleeper("--name", "foreign")
      for round in 0..<Ignite.rounds(10, soak: 50) {
        let names = Array(Self.fleet.prefix(Int.random(in: 0...Self.fleet.count, using: &random)))
        var files: [String: String?] = [
          "vms/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {round: \"\(round)\"}\n"
        ]
        for name in Self.fleet {
          files.updateValue(
            names.contains(name) ? FleetRepository.vm(name, seconds: 3600 + round) : nil, forKey: "vms/\(name).yaml")
        }
        let commit = try await repository.commit("round \(round)", files)
        // However much of it goes: that is meant here.
        let sync = try await ignite(
          ["apply", "-y", "-f", "-"],
          input: Array(
            """
            apiVersion: ignite.weave.works/v1beta1
            kind: Sync
            metadata: {name: fleet, annotations: {ignite.weave.works/allow-mass-deletion: \(commit)}}
            spec: {sourceRef: {kind: GitRepository, name: fleet}, path: vms, interval: 3s, prune: true}
            """.utf8))
        #expect(sync.status == 0, "\(sync.errorText)")
        let daemon = try DaemonProcess.launch(ignite)
        try await daemon.ready()
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...4000, using: &random)))
        _ = try await daemon.end(SIGKILL)
        try await DaemonProcess.with(ignite) { _ in
          try await ignite.gitOps(FleetRepository.short(commit), "\(names.count + 1)/\(names.count + 1)", "Ready")
        }
        try await ignite.expectOneHypervisorEach(names + ["foreign"])
        #expect(try await ignite.vm("foreign").uid == foreign)
        let left = try await ignite.succeed("gitops", "plan", "fleet")
        #expect(left.contains("No changes"), "round \(round): \(left)")
      }
      #expect(try await ignite("delete", "-y", "sync/fleet", "gitrepository/fleet").status == 0)
      #expect(try await ignite.vms().map(\.name) == ["foreign"])
      try await ignite.succeed("rm", "-f", "foreign")
      try await ignite.succeed("gc")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }
}
