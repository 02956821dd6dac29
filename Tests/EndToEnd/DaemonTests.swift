import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// `ignited`: its process, its socket, what it tells, and that VMs need it for nothing but their status at once.
@Suite(.timeLimit(.minutes(10))) struct Daemon {
  @Test func healthAndMetrics() async throws {
    try await Ignite.with { ignite in
      try await DaemonProcess.with(ignite) { daemon in
        #expect(try await daemon.get("/livez") == (200, "ok"))
        let verbose = try await daemon.get("/healthz?verbose")
        #expect(verbose.status == 200 && verbose.body.contains("[+]service/status-keeper ok\n"))
        #expect(try await daemon.get("/nothing").status == 404)
        #expect(try await daemon.get("/metrics", "-X", "DELETE").status == 405)
        var mode = stat()
        #expect(stat(daemon.socket, &mode) == 0 && mode.st_mode & 0o777 == 0o600)

        try await daemon.metric("ignite_vms{phase=\"Running\"} 0")
        _ = try await ignite.sleeper("--name", "one")
        try await daemon.metric("ignite_vms{phase=\"Running\"} 1")
        try await ignite.succeed("volume", "create", "v")
        try await daemon.metric("ignite_volumes 1")
        try await daemon.metric("ignite_http_requests_total{code=\"404\",path=\"other\"} 1")
        try await daemon.metric("ignite_service_restarts_total{service=\"status-keeper\"} 0")

        let metrics = try await daemon.get("/metrics").body
        for name in ["process_open_fds", "process_resident_memory_bytes", "ignite_build_info"] {
          #expect(metrics.contains("# TYPE \(name) gauge\n"))
        }
        let judge = try await Program(
          arguments: ["promtool", "check", "metrics"].withAbsoluteFirst(), environment: Ignite.variables,
          input: Array("\(metrics)\n".utf8)
        ).run()
        #expect(judge.status == 0 && judge.errors.isEmpty && judge.output.isEmpty, "\(judge.text)\(judge.errorText)")
      }
      try await ignite.succeed("rm", "-f", "one")
    }
  }

  @Test(arguments: [SIGTERM, SIGINT]) func oneAtATimeAndNothingBehindIt(_ number: Int32) async throws {
    try await Ignite.withEmpty { ignite in
      let daemon = try DaemonProcess.launch(ignite)
      try await daemon.ready()
      let second = try DaemonProcess.launch(ignite)
      #expect(await second.ended() == 1)
      #expect(
        daemon.log.contains(
          "level=critical msg=\"not served\" component=daemon error=\"another ignited, process \(daemon.pid), serves"))
      #expect(try await daemon.get("/livez").status == 200)
      #expect(try await daemon.end(number) == 0, "\(daemon.log)")
      let left = try FileManager.default.contentsOfDirectory(atPath: ignite.folder + "/run")
      #expect(left == ["vms"], "\(left)")
    }
  }

  /// One that is killed leaves its socket; the next takes its place.
  @Test func afterAKill() async throws {
    try await Ignite.withEmpty { ignite in
      let first = try DaemonProcess.launch(ignite)
      try await first.ready()
      #expect(try await first.end(SIGKILL) == 128 + SIGKILL)
      #expect(access(first.socket, F_OK) == 0)
      try await DaemonProcess.with(ignite) { daemon in
        let status = try await daemon.get("/livez").status
        #expect(status == 200)
      }
      try await ignite.expectEveryByteAccountedFor()
    }
  }

  @Test func theConfigurationIsReadAgain() async throws {
    try await Ignite.withEmpty { ignite in
      let manager = try NotifySocket(ignite.folder + "/notify")
      try await DaemonProcess.with(ignite, extra: ["NOTIFY_SOCKET": manager.name]) { daemon in
        #expect(try await manager.next().lines == ["READY=1", "STATUS=Serving"])
        try await ignite.configure("volumes: {size: 1GiB}\n")
        try daemon.signal(SIGHUP)
        #expect(try await manager.next().lines.first == "RELOADING=1")
        #expect(try await manager.next().lines == ["READY=1", "STATUS=Serving"])
        try await daemon.metric("ignite_configuration_reloads_total{result=\"success\"} 1")

        try await ignite.configure("volumes: {size: lots}\n")
        try daemon.signal(SIGHUP)
        #expect(try await manager.next().lines.first == "RELOADING=1")
        let told = try await manager.next().lines
        #expect(told.first == "READY=1" && told.last?.contains("volumes.size") == true, "\(told)")
        try await daemon.metric("ignite_configuration_last_reload_successful 0")
        try await daemon.logged("level=error msg=\"the configuration is kept as it was\"")
        #expect(try await daemon.get("/healthz").status == 200)
      }
      #expect(try await manager.next().lines.first == "STOPPING=1")
    }
  }

  @Test func aServiceManagerHearsThatItLives() async throws {
    try await Ignite.withEmpty { ignite in
      let manager = try NotifySocket("@ignited-test-\(UInt32.random(in: .min ... .max))")
      let extra = ["NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "100000"]
      try await DaemonProcess.with(ignite, extra: extra) { _ in for _ in 0..<3 { try await manager.alive() } }
    }
  }

  @Test func theSocketOfAServiceManager() async throws {
    try await Ignite.withEmpty { ignite in
      let path = ignite.folder + "/passed"
      let listener = try UnixSocket.listen(path)
      let daemon = try DaemonProcess.launch(ignite, listener: listener, socket: path)
      // A connection from before it came up is served.
      #expect(try await daemon.get("/livez") == (200, "ok"))
      try await daemon.ready()
      #expect(access(ignite.folder + "/run/ignited.sock", F_OK) != 0)
      #expect(try await daemon.end() == 0, "\(daemon.log)")
      #expect(access(path, F_OK) == 0)
    }
  }

  @Test func logsAreJSONWhereThatIsWanted() async throws {
    try await Ignite.withEmpty { ignite in
      try await DaemonProcess.with(ignite, "--log-format", "json", "--log-level", "debug") { daemon in
        try await daemon.logged("\"msg\":\"answered\"")
        for line in daemon.log.split(separator: "\n") {
          let fields = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
          #expect(fields["time"] != nil && fields["level"] != nil && fields["component"] != nil)
        }
      }
    }
  }

  @Test(arguments: [["--log-level", "loud"], ["--log-format", "xml"], ["serve"]])
  func whatIsNotUnderstoodIsRefused(_ options: [String]) async throws {
    try await Ignite.withEmpty { ignite in
      let daemon = try DaemonProcess.launch(ignite, options)
      #expect(await daemon.ended() == 1)
      #expect(daemon.log.hasPrefix("ignited: ") && daemon.log.split(separator: "\n").count == 1, "\(daemon.log)")
    }
  }

  /// What the database says of a VM, without the program under test looking.
  private func recorded(_ ignite: Ignite, _ field: String) async throws -> String {
    let query = "select json_extract(status, '$.\(field)') from objects where kind = 'VM'"
    return try await Ignite.run(["sqlite3", "-readonly", ignite.data + "/ignite.db", query]).text.trimmingSuffix()
  }

  private func awaitRecord(_ ignite: Ignite, _ field: String, _ isRight: (String) -> Bool) async throws {
    while !isRight(try await recorded(ignite, field)) { try Task.checkCancellation() }
  }

  @Test func statusesAreTrueWithoutALook() async throws {
    try await Ignite.with { ignite in
      try await DaemonProcess.with(ignite) { daemon in
        let result = try await ignite("run", "-d", "--name", "one", Ignite.image, "sh", "-c", "sleep 3; exit 7")
        #expect(result.status == 0)
        try await awaitRecord(ignite, "phase") { $0 == "Stopped" }
        #expect(try await recorded(ignite, "exitCode") == "7")
        try await daemon.metric("ignite_vms{phase=\"Stopped\"} 1")
        try await ignite.succeed("rm", "one")
      }
    }
  }

  @Test func aLostVMIsStartedAgainWithoutALook() async throws {
    try await Ignite.with { ignite in
      try await DaemonProcess.with(ignite) { _ in
        _ = try await ignite.sleeper("--name", "one", "--restart", "always")
        let before = try await ignite.vm("one")
        // Held first: it must not see its machine's end.
        kill(try #require(before.supervisor), SIGSTOP)
        kill(try #require(before.hypervisor), SIGKILL)
        kill(try #require(before.supervisor), SIGKILL)
        let old = try #require(before.hypervisor)
        try await awaitRecord(ignite, "hypervisorPID") { Int32($0).map { $0 != old } ?? false }
        try await awaitRecord(ignite, "phase") { $0 == "Running" }
        #expect(try await ignite.succeed("exec", "one", "echo", "well") == "well")
        try await ignite.succeed("rm", "-f", "one")
      }
    }
  }

  /// Its looks come between the steps of commands, and change none of their results.
  @Test func commandsBesideIt() async throws {
    try await Ignite.with { ignite in
      try await DaemonProcess.with(ignite) { _ in
        for round in 1...5 {
          let result = try await ignite("run", "--rm", Ignite.image, "sh", "-c", "echo \(round); exit 5")
          #expect(result.status == 5 && result.text == "\(round)\n" && result.errors.isEmpty, "\(result.errorText)")
        }
        _ = try await ignite.sleeper("--name", "one")
        for _ in 1...3 {
          try await ignite.succeed("restart", "-t", "0", "one")
          try await ignite.succeed("stop", "-t", "0", "one")
          try await ignite.succeed("start", "one")
        }
        #expect(try await ignite.vm("one").phase == "Running")
        try await ignite.succeed("rm", "-f", "one")
        #expect(try await ignite.vms().isEmpty)
      }
    }
  }

  @Test(arguments: [SIGTERM, SIGKILL]) func aVMGoesOnWithoutIt(_ number: Int32) async throws {
    try await Ignite.with { ignite in
      let daemon = try DaemonProcess.launch(ignite)
      try await daemon.ready()
      _ = try await ignite.sleeper("--name", "one")
      let before = try await ignite.vm("one")
      let status = try await daemon.end(number)
      #expect(status == (number == SIGTERM ? 0 : 128 + number))
      let after = try await ignite.vm("one")
      #expect(after.phase == "Running" && after.hypervisor == before.hypervisor)
      #expect(after.supervisor == before.supervisor)
      #expect(try await ignite.succeed("exec", "one", "echo", "well") == "well")
      try await ignite.succeed("rm", "-f", "one")
    }
  }

  @Test func clientsThatDoNotBehave() async throws {
    try await Ignite.withEmpty { ignite in
      try await DaemonProcess.with(ignite) { daemon in
        var open: [FileDescriptor] = []
        for words in [
          "", "GET /metr", "\u{1}\u{2}garbage\r\n\r\n", "POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
        ] {
          let client = try UnixSocket.connect(daemon.socket)
          _ = send(client.number, words, words.utf8.count, Int32(MSG_NOSIGNAL))
          open.append(client)
        }
        // It asks, and never reads.
        let deaf = try UnixSocket.connect(daemon.socket)
        let question = "GET /metrics HTTP/1.1\r\n\r\n"
        for _ in 0..<1000 { _ = send(deaf.number, question, question.utf8.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)) }
        #expect(try await daemon.get("/healthz").status == 200)
        #expect(try await daemon.get("/metrics").status == 200)
        // More than there may be at once: those beyond are closed, and the others go on.
        while open.count < 200 {
          if let client = try? UnixSocket.connect(daemon.socket) { open.append(client) } else { await Task.yield() }
        }
        for client in open { client.close() }
        try await daemon.ready()
        try await daemon.metric("ignite_build_info{version=\"0.1.0\"} 1")
        // The one that never reads holds up the end for a moment only.
        #expect(try await daemon.end() == 0, "\(daemon.log)")
        deaf.close()
      }
    }
  }
}
