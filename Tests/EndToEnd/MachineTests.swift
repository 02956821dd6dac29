import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Images that boot their own init.
@Suite(.timeLimit(.minutes(15))) struct Machine {
  /// An init that heeds no signal, and the button.
  @Test func thePowerButtonIsPressedBeforeTheEnd() async throws {
    try await Ignite.with { ignite in
      let layout = try await BuiltImage.layout(
        in: ignite.folder,
        """
        mkdir tree/sbin
        cat > tree/sbin/init <<'EOF'
        #!/bin/sh
        trap '' TERM INT PWR HUP USR1 USR2
        modprobe button; modprobe evdev
        echo waiting
        head -c 1 /dev/input/event0 > /dev/null
        echo pressed
        poweroff -f
        EOF
        chmod 755 tree/sbin/init
        """)
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "button")
      try await ignite.succeed("run", "--name", "one", "--boot", "machine", "--entrypoint", "/sbin/init", "button")
      while !(try await ignite.succeed("logs", "one").contains("waiting")) { try Task.checkCancellation() }
      // Two thirds of it are over after twenty seconds.
      try await ignite.succeed("stop", "-t", "30", "one")
      let ended = try await ignite.vm("one")
      #expect(ended.phase == "Stopped" && ended.exitCode == 0, "\(ended)")
      #expect(try await ignite.succeed("logs", "one").contains("pressed"))
    }
  }

  @Test func systemdReachesMultiUserAndEndsCleanly() async throws {
    try await Ignite.with { ignite in
      let image = try await DebianImage.machine.imported(ignite)
      // Neither command nor terminal, and all the image says is a shell: its init boots.
      let uid = try await ignite.succeed("run", "--name", "box", image)
      #expect(uid.count == 16)
      let state = try await ignite.booted("box")
      let failed = try await ignite("exec", "box", "systemctl", "--failed", "--plain", "--no-legend")
      #expect(state == "running", "\(failed.text)")
      for unit in ["multi-user.target", "ssh.service", "dbus.socket", "serial-getty@ttyS0.service"] {
        #expect(try await ignite("exec", "box", "systemctl", "is-active", unit).text == "active\n", "\(unit)")
      }
      #expect(try await ignite.succeed("exec", "box", "readlink", "/proc/1/exe") == "/usr/lib/systemd/systemd")
      #expect(try await ignite.succeed("exec", "box", "hostname") == String(uid.prefix(12)))
      #expect(try await ignite.succeed("exec", "box", "cat", "/etc/machine-id") == uid + uid)
      #expect(try await ignite.succeed("logs", "box").contains("Multi-User System"))
      #expect(try await ignite.succeed("top", "box").contains("sshd"))
      // Its clock is set by the agent, too: it would warn otherwise.
      _ = try await ignite.succeed("pause", "box")
      let unpaused = try await ignite("unpause", "box")
      #expect(unpaused.status == 0 && unpaused.text == "box\n" && unpaused.errorText == "")

      try await ignite.succeed("exec", "box", "sh", "-c", "echo kept > /var/kept")
      try await ignite.succeed("cp", "box:/etc/ssh/sshd_config", ignite.folder + "/copied")
      #expect(try String(contentsOfFile: ignite.folder + "/copied", encoding: .utf8).contains("UsePAM"))
      try await ignite.succeed("cp", ignite.folder + "/copied", "box:/root/back")
      _ = try await ignite.succeed("exec", "box", "cmp", "/root/back", "/etc/ssh/sshd_config")

      // It powers off by itself, and leaves a file system that needs no recovery.
      #expect(try await ignite.succeed("stop", "box") == "box")
      let ended = try await ignite.vm("box")
      #expect(ended.phase == "Stopped" && ended.status.exitCode == 0)
      #expect(try await ignite.succeed("logs", "box").contains("System Power Off"))
      let disk = try await Ignite.run(["dumpe2fs", "-h", "\(ignite.folder)/data/vms/\(uid)/disk.ext4"]).text
      #expect(!disk.contains("needs_recovery") && disk.contains("Filesystem state:         clean"), "\(disk)")

      // Again, with its disk, at its console, and from a template of such machines.
      #expect(ended.template == nil)
      try await ignite.succeed("template", "build", "--boot", "machine")
      let console = try ignite.start("start", "-i", "box")
      #expect(try await console.readOutput(until: "login: ").hasSuffix("login: "))
      _ = write(console.input.number, "nobody\n", 7)
      #expect(try await console.readOutput(until: "Password: ").hasSuffix("Password: "))
      // The input's end is not the machine's, nor is a hang-up of the command.
      console.input.close()
      #expect(try await ignite.booted("box") == "running")
      try console.signal(SIGHUP)
      #expect(await console.ended() == 129)
      #expect(try await ignite.vm("box").phase == "Running")
      #expect(try await ignite.vm("box").template != nil)
      #expect(try await ignite.succeed("exec", "box", "cat", "/var/kept") == "kept")

      // A restart from within ends it; one from outside brings it back.
      #expect(try await ignite.succeed("restart", "box") == "box")
      #expect(try await ignite.booted("box") == "running")
      _ = try await ignite("exec", "box", "systemctl", "reboot")
      #expect(try await ignite.succeed("wait", "box") == "0")
    }
  }

  @Test func aCommandOfSuchAnImageIsAProcess() async throws {
    try await Ignite.with { ignite in
      let image = try await DebianImage.machine.imported(ignite)
      let result = try await ignite("run", "--rm", image, "cat", "/proc/1/comm")
      #expect(result.status == 0, "\(result.errorText)")
      #expect(result.text == "init\n")
      // Input is wanted: that is for the shell.
      let shell = try await ignite(["run", "--rm", "-i", image], input: Array("readlink /proc/$$/exe\n".utf8))
      #expect(shell.text == "/usr/bin/bash\n", "\(shell.errorText)")
    }
  }

  @Test func anInitsStatusIsTheVMs() async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.succeed(
        "run", "--name", "box", "--boot", "machine", Ignite.image, "/bin/sh", "-c", "echo from the console; exit 7")
      #expect(uid.count == 16)
      #expect(try await ignite.succeed("wait", "box") == "7")
      #expect(try await ignite.succeed("logs", "box").contains("from the console"))
      // The same at its console.
      let stayed = try await ignite(
        ["run", "--rm", "-i", "--boot", "machine", Ignite.image, "/bin/sh", "-c", "read word; echo got $word; exit 5"],
        input: Array("this\n".utf8))
      #expect(stayed.status == 5, "\(stayed.errorText)")
      #expect(stayed.text.contains("got this"))
    }
  }
}

extension Ignite {
  /// Waits until systemd has finished its boot; how it calls itself then.
  func booted(_ name: String) async throws -> String {
    while true {
      let state = try await self("exec", name, "systemctl", "is-system-running", "--wait")
      if ["running", "degraded"].contains(state.text.trimmingSuffix()) { return state.text.trimmingSuffix() }
      // Early in the boot nobody answers; a machine that is gone never will.
      guard try await vm(name).phase == "Running" else { return "gone: \(state.errorText)" }
    }
  }
}
