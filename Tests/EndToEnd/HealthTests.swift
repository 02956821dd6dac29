import FoundationEssentials
import Glibc
import Testing

/// Health checks: docker's flags, and what `ps` and `inspect` tell of them.
@Suite(.timeLimit(.minutes(10))) struct HealthChecks {
  private func await(_ health: String, _ name: String, _ ignite: Ignite) async throws {
    while try await ignite.vm(name).status.health != health { try Task.checkCancellation() }
  }

  @Test func itIsTakenIllAndRecovers() async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.sleeper(
        "--name", "one", "--health-cmd", "echo looked; test -e /well", "--health-interval", "200ms",
        "--health-retries", "2", "-e", "A=b")
      #expect(["starting", "unhealthy"].contains(try await ignite.vm("one").status.health))
      try await self.await("unhealthy", "one", ignite)
      #expect(try await ignite.succeed("ps").contains("(unhealthy)"))
      #expect(try await ignite.succeed("ps", "-q", "--filter", "health=unhealthy") == String(uid.prefix(12)))
      let ill = try #require(try await ignite.vm("one").status.healthCheck)
      #expect(ill.failingStreak >= 2 && (2...5).contains(ill.log.count))
      #expect(ill.log.last?.exitCode == 1 && ill.log.last?.output == "looked\n")
      try await ignite.succeed("exec", "one", "touch", "/well")
      try await self.await("healthy", "one", ignite)
      #expect(try await ignite.succeed("ps").contains("(healthy)"))
      #expect(try await ignite.vm("one").status.healthCheck?.failingStreak == 0)
      // A successor goes on with it.
      let supervisor = try #require(try await ignite.vm("one").supervisor)
      kill(supervisor, SIGKILL)
      while !hasEnded(supervisor) { try Task.checkCancellation() }
      try await ignite.succeed("exec", "one", "rm", "/well")
      try await self.await("unhealthy", "one", ignite)
      try await ignite.succeed("stop", "-t", "1", "one")
      #expect(try await ignite.vm("one").status.health == nil)
    }
  }

  @Test func oneThatHangsAndOneThatFloods() async throws {
    try await Ignite.with { ignite in
      let often = ["--health-interval", "100ms", "--health-timeout", "300ms", "--health-retries", "1"]
      for (name, command) in [("hangs", "sleep 3600"), ("floods", "yes"), ("absent", "exec not-there")] {
        let result = try await ignite(
          ["run", "-d", "--name", name, "--health-cmd", command] + often + [Ignite.image, "sleep", "3600"])
        #expect(result.status == 0, "\(result.errorText)")
      }
      for name in ["hangs", "floods", "absent"] { try await self.await("unhealthy", name, ignite) }
      #expect(
        try await ignite.vm("hangs").status.healthCheck?.log.last?.output.contains("did not end within 300 ms") == true)
      let flood = try #require(try await ignite.vm("floods").status.healthCheck?.log.last)
      #expect(flood.exitCode == -1 && flood.output.utf8.count <= 4096 && flood.output.hasPrefix("y\ny\n"))
      #expect(try await ignite.vm("absent").status.healthCheck?.log.last?.exitCode == 127)
      // Those that did not end in time are ended.
      let left = try await ignite.succeed("exec", "hangs", "sh", "-c", "sleep 1; ps | grep -c '[s]leep 3600'")
      #expect((1...3).contains(Int(left) ?? 0), "\(left)")
    }
  }

  @Test func anIllOneIsStartedAgainWhereThatIsWanted() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper(
        "--name", "one", "--health-cmd", "test ! -e /ill", "--health-interval", "200ms", "--health-retries", "2",
        "--restart", "on-failure", "--restart-unhealthy")
      try await self.await("healthy", "one", ignite)
      try await ignite.succeed("exec", "one", "sh", "-c", "touch /ill; sync")
      while try await ignite.vm("one").status.restarts < 1 { try Task.checkCancellation() }
      try await ignite.succeed("stop", "-t", "1", "one")
      let refused = try await ignite("run", "--health-cmd", "true", "--restart-unhealthy", Ignite.image, "true")
      #expect(refused.status == 125 && refused.errorText.contains("needs a restart policy"))
    }
  }

  @Test func failuresDoNotCountInTheStartPeriod() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper(
        "--name", "one", "--health-cmd", "test -e /well", "--health-interval", "1h", "--health-start-period", "1h",
        "--health-start-interval", "100ms", "--health-retries", "1")
      while try await ignite.vm("one").status.healthCheck?.log.count != 5 { try Task.checkCancellation() }
      #expect(try await ignite.vm("one").status.health == "starting")
      #expect(try await ignite.vm("one").status.healthCheck?.failingStreak == 0)
      try await ignite.succeed("exec", "one", "touch", "/well")
      try await self.await("healthy", "one", ignite)
      for (options, words) in [
        (["--health-interval", "soon"], "write it as"), (["--health-retries", "0"], "1 to 1000"),
        (["--no-healthcheck", "--health-cmd", "true"], "contradict"),
      ] {
        let result = try await ignite(["run"] + options + [Ignite.image, "true"])
        #expect(result.status == 125 && result.errorText.contains(words), "\(options): \(result.errorText)")
      }
    }
  }

  /// The image's HEALTHCHECK counts, and is taken away by a flag.
  @Test func theImagesOwn() async throws {
    try await Ignite.with { ignite in
      let layout = try await TestImage.layout()
      let script = """
        import hashlib, json, os, shutil, sys
        layout = sys.argv[1] + "/image"
        shutil.copytree(sys.argv[2], layout)
        def load(digest):
            return json.load(open(layout + "/blobs/sha256/" + digest.split(":")[1]))
        def store(value, descriptor):
            data = json.dumps(value).encode()
            name = hashlib.sha256(data).hexdigest()
            open(layout + "/blobs/sha256/" + name, "wb").write(data)
            descriptor.update(digest="sha256:" + name, size=len(data))
        index = json.load(open(layout + "/index.json"))
        found = [d for d in index["manifests"] if d["annotations"]["org.opencontainers.image.ref.name"] == "test"][0]
        manifest = load(found["digest"])
        config = load(manifest["config"]["digest"])
        config["config"]["Healthcheck"] = {"Test": ["CMD", "test", "-e", "/etc/passwd"], "Interval": 200000000}
        store(config, manifest["config"])
        store(manifest, found)
        json.dump(index, open(layout + "/index.json", "w"))
        os.system("chmod -R go+rX " + layout)
        """
      let scratch = try Ignite.scratchFolder()
      chmod(scratch, 0o755)
      try await Ignite.run(["python3", "-c", script, scratch, layout])
      try await ignite.succeed("image", "import", "oci:\(scratch)/image:test", "--name", "localhost/checked:latest")
      try await Ignite.run(["rm", "-rf", scratch])
      try await ignite.succeed("run", "-d", "--name", "one", "localhost/checked:latest", "sleep", "3600")
      try await self.await("healthy", "one", ignite)
      try await ignite.succeed(
        "run", "-d", "--name", "two", "--no-healthcheck", "localhost/checked:latest", "sleep", "3600")
      #expect(try await ignite.vm("two").status.health == nil)
    }
  }
}
