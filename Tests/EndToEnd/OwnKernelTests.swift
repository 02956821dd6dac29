import FoundationEssentials
import Glibc
import Testing

/// The archive that Ignite's own kernel is imported from; nil where `make kernel` has not built it.
private let archive = Ignite.variables["IGNITE_TEST_OWN_KERNEL"]

/// Ignite's own kernel.
@Suite(.timeLimit(.minutes(15)), .enabled(if: archive != nil, "Ignite's own kernel is not built (make kernel)"))
struct OwnKernel {
  private struct View: Decodable {
    var kernel: Kernel
  }

  private struct Kernel: Decodable {
    struct Facts: Decodable {
      var hasACPI, hasVirtioMMIOCommandLine, hasSMP, virtioBuiltIn, hasOverlay, hasVMGenID, hasVsock, hasVirtioFS: Bool
    }
    var name, version: String
    var vmlinuxSize: Int
    var moduleCount: Int
    var initrdModules: [String]
    var facts: Facts
  }

  /// Imports it, and gives its name.
  private func imported(_ ignite: Ignite) async throws -> String {
    try await ignite.succeed("kernel", "import", "oci-archive:" + (try #require(archive)))
  }

  @Test func everythingIsBuiltIn() async throws {
    try await Ignite.with { ignite in
      let name = try await imported(ignite)
      let text = try await ignite.succeed("kernel", "inspect", name)
      let kernel = try #require(try JSONDecoder().decode([View].self, from: Data(text.utf8)).first).kernel
      #expect(kernel.name == "localhost/ignite-kernel:\(kernel.version)" && kernel.version.hasSuffix("-ignite"))
      #expect(kernel.vmlinuxSize <= 25 << 20)
      #expect(kernel.moduleCount == 0 && kernel.initrdModules.isEmpty)
      let facts = kernel.facts
      #expect(facts.hasACPI && facts.hasVirtioMMIOCommandLine && facts.hasSMP && facts.virtioBuiltIn)
      #expect(facts.hasOverlay && facts.hasVMGenID && facts.hasVsock && facts.hasVirtioFS)

      let result = try await ignite(
        "run", "--rm", "-k", name, "--cpus", "2", Ignite.image, "sh", "-c", "uname -r; nproc; ls /sys/class/net; exit 3"
      )
      #expect(result.status == 3, "\(result.errorText)")
      #expect(result.text == "\(kernel.version)\n2\neth0\nlo\n")
    }
  }

  @Test func systemdReachesMultiUserAndEndsCleanly() async throws {
    try await Ignite.with { ignite in
      let name = try await imported(ignite)
      let image = try await DebianImage.machine.imported(ignite)
      try await ignite.succeed("run", "--name", "box", "-k", name, image)
      let state = try await ignite.booted("box")
      let failed = try await ignite("exec", "box", "systemctl", "--failed", "--plain", "--no-legend")
      #expect(state == "running", "\(failed.text)")
      for unit in ["multi-user.target", "ssh.service", "serial-getty@ttyS0.service"] {
        #expect(try await ignite("exec", "box", "systemctl", "is-active", unit).text == "active\n", "\(unit)")
      }
      #expect(try await ignite.succeed("exec", "box", "uname", "-r").hasSuffix("-ignite"))
      #expect(try await ignite.succeed("stop", "box") == "box")
      #expect(try await ignite.vm("box").status.exitCode == 0)
      #expect(try await ignite.succeed("logs", "box").contains("System Power Off"))
    }
  }

  /// What containers, their networks and old programs want, each tried in one VM.
  @Test func ordinaryGuestsFindWhatTheyNeed() async throws {
    try await Ignite.with { ignite in
      let name = try await imported(ignite)
      let image = try await DebianImage.tools.imported(ignite)
      try await ignite.succeed("run", "-d", "--name", "box", "-k", name, "--cpus", "2", image, "sleep", "3600")
      for (what, script) in Self.features {
        let result = try await ignite("exec", "box", "bash", "-euo", "pipefail", "-c", script)
        #expect(result.status == 0, "\(what): \(result.errorText)\(result.text)")
      }
      // A program of 32 bits, which exits with 7.
      try await Ignite.run(["bash", "-euc", Self.makeOldProgram, "make", ignite.folder + "/old"])
      try await ignite.succeed("cp", ignite.folder + "/old", "box:/tmp/old")
      #expect(try await ignite("exec", "box", "/tmp/old").status == 7)
      // What failed within the kernel would be told there.
      let messages = try await ignite.succeed("exec", "box", "dmesg", "-t", "--level", "emerg,alert,crit,err")
      // A microVM has no PCI bus, and that is all.
      #expect(messages == "PCI: Fatal: No config space access function found")
    }
  }

  private static let makeOldProgram = """
    printf '.globl _start\\n_start: mov $1,%%eax\\nmov $7,%%ebx\\nint $0x80\\n' | as --32 -o "$1.o" -
    ld -m elf_i386 -o "$1" "$1.o"
    """
}
