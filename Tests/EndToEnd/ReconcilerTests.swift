import FoundationEssentials
import Glibc
import Testing

/// Declared objects under a daemon, and under daemons and commands that are killed.
@Suite(.timeLimit(.minutes(600))) struct Reconciling {
  /// An application of VMs, each of which does nothing; `seconds` is in their commands.
  private func app(_ names: [String], seconds: Int = 3600) -> String {
    """
    apiVersion: ignite.weave.works/v1beta1
    kind: App
    metadata: {name: shop}
    spec:
      objects:
      - {kind: Volume, name: data, spec: {size: 64MiB}}

    """
      + names.map { name in
        let volume = name == "db" ? ", volumes: [{mountPath: /data, volume: {name: data}}]" : ""
        return """
          - kind: VM
            name: \(name)
            spec: {image: {oci: \(Ignite.image)}, resources: {memory: 128MiB}, updatePolicy: Replace,
              process: {args: [sleep, "\(seconds)"]}\(volume)}
          """.split(separator: "\n").map { "  \($0)\n" }.joined()
      }.joined()
  }

  /// Two VMs, or ten in a soak.
  private static let names = ["db", "web"] + (0..<Ignite.rounds(0, soak: 8)).map { "more-\($0)" }

  private func run(_ ignite: Ignite, _ words: String..., manifest: String) async throws -> Program.Result {
    try await ignite(words + ["-f", "-"], input: Array(manifest.utf8))
  }

  /// Waits until the application is ready with so many parts, and told so by its own status.
  private func ready(_ ignite: Ignite, _ parts: String) async throws {
    while true {
      let line = try await ignite("get", "apps", "shop").text.split(separator: "\n").last?.split(separator: " ") ?? []
      if line.prefix(3) == ["shop", Substring(parts), "Ready"] { return }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  @Test func theDaemonMendsWhatIsChangedBehindItsBack() async throws {
    try await Ignite.with { ignite in
      #expect(try await run(ignite, "up", manifest: app(["db", "web"])).status == 0)
      let web = try await ignite.vm("web").uid
      try await DaemonProcess.with(ignite) { daemon in
        kill(try #require(try await ignite.vm("db").hypervisor), SIGKILL)
        try await daemon.logged("part=VM/db")
        try await ready(ignite, "3/3")
        try await ignite.succeed("rm", "-f", "web")
        try await daemon.logged("part=VM/web")
        try await ready(ignite, "3/3")
        #expect(try await ignite.vm("web").uid != web)
        try await ignite.succeed("stop", "-t", "0", "web")
        try await ready(ignite, "3/3")
        let events = try await ignite.succeed("events", "--since", "1h", "--until", "0s", "--filter", "event=drift")
        #expect(events.contains("it is not there") && events.contains("spec.state"), "\(events)")
        // A VM that was declared alone and breaks down is started again; one that was stopped by hand is left.
        let alone = """
          apiVersion: ignite.weave.works/v1beta1
          kind: VM
          metadata: {name: alone}
          spec: {image: {oci: \(Ignite.image)}, resources: {memory: 128MiB}, process: {args: [sleep, "3600"]}}
          """
        #expect(try await run(ignite, "apply", "-y", manifest: alone).status == 0)
        kill(try #require(try await ignite.vm("alone").hypervisor), SIGKILL)
        try await daemon.logged("object=VM/alone")
        while try await ignite.vm("alone").phase != "Running" { try await Task.sleep(for: .milliseconds(100)) }
        try await ignite.succeed("stop", "-t", "0", "alone")
        // Commands and the daemon are at it together, and agree.
        let grown = try await run(ignite, "up", manifest: app(["db", "web", "cache"], seconds: 3700))
        #expect(grown.status == 0, "\(grown.text) \(grown.errorText)")
        try await ready(ignite, "4/4")
        #expect(try await ignite.vm("alone").phase == "Stopped")
        try await daemon.metric("ignite_service_restarts_total{service=\"object-keeper\"} 0")
        #expect(try await ignite("delete", "-y", "app/shop", "vm/alone").status == 0)
        #expect(try await ignite.vms().isEmpty)
      }
      let left = try await ignite.succeed("gc", "--dry-run")
      #expect(left == "")
    }
  }

  /// The daemon is killed at random while an application comes, changes and goes; what was declared comes about.
  @Test func aDaemonThatIsKilledConverges() async throws {
    var random = SeededNumbers()
    try await Ignite.with { ignite in
      #expect(try await run(ignite, "up", manifest: app([])).status == 0)
      for round in 0..<Ignite.rounds(10, soak: 100) {
        let names = Array(Self.names.prefix(Int.random(in: 0...Self.names.count, using: &random)))
        let wanted = app(names, seconds: 3600 + round)
        let daemon = try DaemonProcess.launch(ignite)
        try await daemon.ready()
        // A command that is killed has only said what is wanted, or has begun with it.
        let command = try ignite.start("apply", "-y", "-f", "-")
        let feed = command.feed(Array(wanted.utf8))
        async let output = command.readOutput(until: "App/shop: changed")
        _ = try await output
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...3000, using: &random)))
        kill(command.pid, SIGKILL)
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...3000, using: &random)))
        _ = try await daemon.end(SIGKILL)
        _ = await command.ended()
        feed.cancel()
        try await DaemonProcess.with(ignite) { _ in
          try await ready(ignite, "\(names.count + 1)/\(names.count + 1)")
        }
        try await ignite.expectOneHypervisorEach(names)
        let same = try await run(ignite, "plan", "--detailed-exitcode", manifest: wanted)
        #expect(same.status == 0, "round \(round): \(same.text) \(same.errorText)")
      }
      #expect(try await ignite("delete", "-y", "app/shop").status == 0)
      try await ignite.succeed("gc")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }

  /// `apply` and `delete` are killed at random where no daemon is: the next one comes to the end.
  @Test func aCommandThatIsKilledIsTakenUp() async throws {
    var random = SeededNumbers()
    try await Ignite.with { ignite in
      for round in 0..<Ignite.rounds(10, soak: 100) {
        let names = Array(Self.names.prefix(Int.random(in: 0...Self.names.count, using: &random)))
        let wanted = app(names, seconds: 3600 + round)
        let isRemoval = round % 3 == 2
        let command =
          isRemoval ? try ignite.start("delete", "-y", "app/shop") : try ignite.start("apply", "-y", "-f", "-")
        let feed = command.feed(Array(wanted.utf8))
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...4000, using: &random)))
        kill(command.pid, SIGKILL)
        _ = await command.ended()
        feed.cancel()
        if isRemoval {
          // Collecting finishes it; or it had not begun.
          try await ignite.succeed("gc")
          let line = try await ignite.succeed("get", "apps")
          #expect(!line.contains("Deleting"), "round \(round): \(line)")
        }
        let applied = try await run(ignite, "up", manifest: wanted)
        #expect(applied.status == 0, "round \(round): \(applied.text) \(applied.errorText)")
        try await ready(ignite, "\(names.count + 1)/\(names.count + 1)")
        try await ignite.expectOneHypervisorEach(names)
      }
      #expect(try await ignite("delete", "-y", "app/shop").status == 0)
      try await ignite.succeed("gc")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      #expect(try await ignite.vms().isEmpty)
    }
  }
}
