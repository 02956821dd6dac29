import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// The driver that does nothing: a VM in all but its machine, which only a variable brings about, and which says what it is.
@Suite(.timeLimit(.minutes(20))) struct DoNothingDriver {
  private static let choice = ["IGNITE_DRIVER": "does-nothing"]
  private static let words = "no VM runs: the driver does nothing"

  private func nothing(_ ignite: Ignite, _ words: String..., input: String = "") async throws -> Program.Result {
    try await ignite.command(words, input: Array(input.utf8), extra: Self.choice).run()
  }

  private func set(_ replicas: Int) -> String {
    """
    apiVersion: ignite.weave.works/v1beta1
    kind: VMSet
    metadata: {name: crowd}
    spec:
      replicas: \(replicas)
      template: {spec: {image: {oci: \(Ignite.image)}, process: {args: [sleep, "3600"]}}}
    """
  }

  private func ready(_ ignite: Ignite, _ parts: String) async throws {
    while true {
      let line =
        try await ignite("get", "vmsets", "crowd").text.split(separator: "\n").last?.split(separator: " ") ?? []
      if line.prefix(3) == ["crowd", Substring(parts), "Ready"] { return }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  private func commandLine(_ pid: Int32?) throws -> String {
    try String(contentsOfFile: "/proc/\(try #require(pid))/cmdline", encoding: .utf8)
  }

  @Test func aCrowdComesIsMendedAndGoes() async throws {
    try await Ignite.with { ignite in
      let applied = try await nothing(ignite, "up", "-f", "-", input: set(50))
      #expect(applied.status == 0 && applied.errorText.contains(Self.words), "\(applied.errorText)")
      try await ready(ignite, "50/50")
      // Whoever looks is told, without the variable, too.
      #expect(try await ignite.succeed("ps").split(separator: "\n").count { $0.contains(" (DoesNothing)") } == 50)
      #expect(
        try await ignite.succeed("get", "vms").split(separator: "\n").count { $0.contains("Running (DoesNothing)") }
          == 50)
      let vms = try await ignite.vms()
      #expect(vms.count == 50 && vms.allSatisfy { $0.phase == "Running" && $0.status.hypervisor == "DoesNothing" })
      for vm in vms { #expect(try commandLine(vm.hypervisor).contains("--does-nothing")) }
      #expect(Set(vms.compactMap(\.hypervisor)).count == 50)
      // Nothing is left to do.
      #expect(try await nothing(ignite, "plan", "--detailed-exitcode", "-f", "-", input: set(50)).status == 0)

      // What ends behind everybody's back is seen, and mended by the next command.
      kill(try #require(vms[7].hypervisor), SIGKILL)
      while try await ignite.vm(vms[7].name).phase != "Failed" { try await Task.sleep(for: .milliseconds(50)) }
      #expect(try await ignite.vm(vms[7].name).message?.contains("DoesNothing ended before") == true)
      #expect(try await nothing(ignite, "plan", "--detailed-exitcode", "-f", "-", input: set(50)).status == 2)
      #expect(try await nothing(ignite, "up", "-f", "-", input: set(50)).status == 0)
      try await ready(ignite, "50/50")
      // Or by the daemon, at once.
      try await DaemonProcess.with(ignite, extra: Self.choice) { daemon in
        try await daemon.logged(Self.words)
        kill(try #require(try await ignite.vm(vms[11].name).hypervisor), SIGKILL)
        try await daemon.logged("part=VM/\(vms[11].name)")
        try await ready(ignite, "50/50")
        #expect(try await ignite.vm(vms[11].name).status.hypervisor == "DoesNothing")
      }

      let last = try await ignite.vms()
      try await ignite.succeed("delete", "-y", "vmset/crowd")
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      for pid in last.flatMap({ [$0.hypervisor, $0.supervisor] }) {
        let line = try? commandLine(pid)
        #expect(line?.hasPrefix("ignite-spawn") != true, "\(line ?? "")")
      }
    }
  }

  @Test func itIsAVMInAllButItsMachine() async throws {
    try await Ignite.with { ignite in
      let started = try await nothing(ignite, "run", "-d", "--name", "one", Ignite.image, "sleep", "3600")
      #expect(started.status == 0 && started.errorText.contains(Self.words))
      let exec = try await ignite("exec", "one", "true")
      #expect(exec.status == 125 && exec.errorText.contains(Self.words), "\(exec.errorText)")
      #expect(try await ignite.succeed("describe", "vm/one").contains("DoesNothing"))

      // A lost supervisor has a successor, which takes up what stands for the machine.
      let before = try await ignite.vm("one")
      kill(try #require(before.supervisor), SIGKILL)
      var now = try await ignite.vm("one")
      while now.supervisor == before.supervisor { now = try await ignite.vm("one") }
      #expect(now.phase == "Running" && now.hypervisor == before.hypervisor)

      try await ignite.succeed("stop", "one")
      #expect(try await ignite.vm("one").exitCode == 128 + SIGTERM)
      #expect(try await nothing(ignite, "start", "one").status == 0)
      try await ignite.succeed("kill", "one")
      try await ignite.succeed("wait", "one")
      #expect(try await ignite.vm("one").exitCode == 128 + SIGKILL)

      #expect(
        try await nothing(ignite, "run", "-d", "--name", "two", "--restart", "always", Ignite.image, "sleep", "1")
          .status
          == 0)
      kill(try #require(try await ignite.vm("two").hypervisor), SIGKILL)
      var two = try await ignite.vm("two")
      while two.status.restarts == 0 || two.phase != "Running" {
        try await Task.sleep(for: .milliseconds(50))
        two = try await ignite.vm("two")
      }
      #expect(two.status.hypervisor == "DoesNothing")
      try await ignite.succeed("rm", "-f", "one", "two")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }

  @Test func withoutTheVariableItIsOutOfReach() async throws {
    try await Ignite.with { ignite in
      // What was started as nothing is started as a machine without it.
      #expect(try await nothing(ignite, "run", "-d", "--name", "vm", Ignite.image, "sleep", "3600").status == 0)
      try await ignite.succeed("stop", "vm")
      try await ignite.succeed("start", "vm")
      #expect(try await ignite.vm("vm").status.hypervisor == "QEMU")
      #expect(try await ignite.succeed("exec", "vm", "echo", "here") == "here")
      #expect(try commandLine(try await ignite.vm("vm").hypervisor).contains("qemu-system"))
      #expect(try await !ignite.succeed("ps").contains("DoesNothing"))

      let other = try await ignite("ps", extra: ["IGNITE_DRIVER": "DoesNothing"])
      #expect(other.status == 1 && other.errorText.contains("IGNITE_DRIVER=DoesNothing names no driver"))
      let manifest = """
        apiVersion: ignite.weave.works/v1beta1
        kind: VM
        metadata: {name: no}
        spec: {image: {oci: \(Ignite.image)}, hypervisor: DoesNothing}
        """
      let applied = try await ignite(["apply", "-y", "-f", "-"], input: Array(manifest.utf8))
      #expect(applied.status != 0 && applied.errorText.contains("hypervisor"), "\(applied.errorText)")
      // By hand it has no sockets to answer at, and ends.
      let alone = try await Program(
        arguments: ["/bin/bash", "-c", "exec -a ignite-spawn \(Ignite.program) --does-nothing x"],
        environment: Ignite.variables
      ).run()
      #expect(alone.status == 1)
    }
  }
}
