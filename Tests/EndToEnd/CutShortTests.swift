import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Operations on VMs that run, on images, kernels and templates, ended by SIGKILL at each of their named steps: the same
/// operation, asked for once more, does its work, and nothing is left.
@Suite(.timeLimit(.minutes(15))) struct CutShort {
  /// What comes to the step. nil for the steps of a VM's life, which `Collection` goes through.
  private static func operation(_ step: CrashPoint, _ ignite: Ignite, layout: String) -> [String]? {
    switch step {
    case .stopRemembered, .stopAsked, .supervisorStopping: ["stop", "-t", "1", "one"]
    case .pauseRemembered, .supervisorPaused: ["pause", "one"]
    case .updateRemembered: ["update", "--restart", "always", "one"]
    case .execAsked: ["exec", "one", "true"]
    case .copyAsked, .supervisorAsked: ["cp", ignite.folder + "/small", "one:/small"]
    case .importDocuments, .importDisk, .importPlaced, .importRecorded:
      ["image", "import", "oci:\(layout):test", "--name", "other"]
    case .imageForgotten: ["image", "rm", "-f", Ignite.image]
    case .kernelPlaced, .kernelRecorded: ["kernel", "import", ignite.folder + "/kernel.deb", "--name", "other:1"]
    case .kernelForgotten: ["kernel", "rm", "other:1"]
    case .templateFrozen: ["template", "build", "-m", "160m"]
    default: nil
    }
  }

  @Test(arguments: CrashPoint.allCases.filter { !Collection.steps.contains($0) })
  func isDoneTheNextTime(at step: CrashPoint) async throws {
    let layout = try await TestImage.layout()
    try await Ignite.with { ignite in
      let crash = [CrashPoint.variable: step.rawValue]
      let operation = try #require(Self.operation(step, ignite, layout: layout), "no test comes to \(step.rawValue)")
      let script = "echo x > \(ignite.folder)/small"
      try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", script])
      let isOfVM = operation.contains { $0 == "one" || $0.hasPrefix("one:") }
      if isOfVM {
        let made = try await ignite.command(
          ["run", "-d", "--name", "one", Ignite.image, "sleep", "1000"], extra: crash
        ).run()
        #expect(made.status == 0, "\(made.errorText)")
      }
      if operation[0] == "kernel" {
        let deb = try await Seed.kernel(in: ignite.folder)
        if step == .kernelForgotten { try await ignite.succeed("kernel", "import", deb, "--name", "other:1") }
      }
      if step == .importDisk {
        // Only the first import of an image makes its disk.
        try await ignite.succeed("image", "rm", "-f", Ignite.image)
      }
      let cut = try await ignite.command(operation, extra: crash).run()
      // A supervisor's end after a stop was asked for is the stop's success.
      #expect(cut.status != 0 || step == .supervisorStopping, "\(step.rawValue): \(cut.text)")
      let collected = try await ignite("gc")
      #expect(collected.status == 0, "\(collected.errorText)")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")

      if isOfVM, try await ignite.vm("one").phase != "Running", operation[0] != "stop" {
        _ = try await ignite("unpause", "one")
        _ = try await ignite("start", "one")
      }
      let again = try await ignite(operation)
      if [.imageForgotten, .kernelForgotten].contains(step) {
        #expect(again.status == 1 && again.errorText.contains("is named"), "\(again.errorText)")
      } else {
        #expect(again.status == 0, "\(step.rawValue): \(again.errorText)")
      }
      if isOfVM { try await ignite.succeed("rm", "-f", "one") }
      try await ignite.succeed("system", "prune", "-f")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      #expect(try await !ignite.succeed("system", "df").contains("Unaccounted"))
    }
  }
}
