import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Operations cut short at each of their steps, and what `ignite gc` makes of that.
@Suite(.timeLimit(.minutes(15))) struct Collection {
  /// The steps from a VM's making to its removal.
  static let steps = CrashPoint.allCases.prefix { $0 != .stopRemembered }

  /// Ends the program at that step of a VM's life, and expects that everything is accounted for then.
  @Test(arguments: steps) func nothingIsLeft(at step: CrashPoint) async throws {
    try await Ignite.with { ignite in
      let crash = [CrashPoint.variable: step.rawValue]
      let volumes = step.rawValue.contains("volume") ? ["-v", "made:/made", "-v", "/anonymous"] : []
      let ran = try await ignite.command(
        ["run", "--name", "one"] + volumes + [Ignite.image, "true"], extra: crash
      ).run()
      let removed = ran.status == 0 ? try await ignite("rm", "-v", "one", extra: crash) : nil
      // It came to the step, and no further; a supervisor's end after its process's is nothing to the command.
      #expect(ran.status != 0 || removed?.status != 0 || step == .supervisorDown, "\(step.rawValue)")
      // Whose command is gone before it has joined is given up by its supervisor.
      while try await ignite.vms().contains(where: { $0.phase == "Starting" }) { try Task.checkCancellation() }
      let told = try await ignite("gc")
      #expect(told.status == 0, "\(told.errorText)")
      for vm in try await ignite.vms() {
        #expect(["Created", "Stopped", "Failed"].contains(vm.phase), "\(vm.phase)")
        try await ignite.succeed("rm", vm.name)
      }
      try await ignite.succeed("volume", "prune", "-af")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      try await nothingStays(ignite)
    }
  }

  @Test func whatIsNobodysIsNamedAndTakenBack() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "kept")
      let stray = "0123456789abcdef"
      let script = """
        mkdir \(ignite.data)/vms/\(stray) \(ignite.data)/plans/\(stray) \(ignite.folder)/run/vms/0123456789ab
        echo x > \(ignite.data)/vms/\(stray)/disk.ext4
        """
      try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", script])
      let dry = try await ignite.succeed("gc", "--dry-run")
      #expect(dry.contains(stray) && dry.contains("0123456789ab "), "\(dry)")
      let doctor = try await ignite("doctor")
      #expect(doctor.text.contains("leftovers: 2 things"), "\(doctor.text)")
      let fixed = try await ignite("doctor", "--fix")
      #expect(fixed.errorText.contains("taken back: VM \(stray)"), "\(fixed.status): \(fixed.errorText)")
      #expect(fixed.text.contains("everything is accounted for"))
      #expect(try await ignite.succeed("gc") == "")
      #expect(try await ignite.succeed("exec", "kept", "echo", "hi") == "hi")
      #expect(try ignite.names(in: "vms").count == 1)
    }
  }

  /// No file of a VM; processes are looked for at the end of the run (scripts/leftovers).
  private func nothingStays(_ ignite: Ignite) async throws {
    for folder in ["data/vms", "data/plans", "run/vms", "data/volumes"] {
      let left = try await Ignite.run(Ignite.wrap + ["/bin/ls", "-A", "\(ignite.folder)/\(folder)"]).text
      #expect(left.isEmpty, "\(folder): \(left)")
    }
  }
}
