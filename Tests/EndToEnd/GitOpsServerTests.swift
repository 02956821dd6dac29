import Foundation
import Testing

/// GitOps with repositories on servers: git's own behind Apache with TLS and a password, and behind OpenSSH's with a deploy key.
@Suite(.timeLimit(.minutes(10))) struct GitOpsServers {
  private func write(_ bytes: [UInt8], _ path: String) throws -> String {
    try Data(bytes).write(to: URL(filePath: path))
    return path
  }

  @Test func httpsWithAPassword() async throws {
    try await Ignite.with { ignite in
      let bed = try TestDirectory()
      let repository = try await FleetRepository(bed.file("fleet.git"))
      try await repository.commit("one", ["web.yaml": FleetRepository.vm("web")])
      let server = try await GitWebServer(bed.path, scratch: bed)
      let url = server.url("private", "fleet.git")
      let password = try write(Array(GitWebServer.password.utf8), bed.file("password"))
      let authority = try write(server.authority, bed.file("ca.crt"))
      // What is lacking is named, and nothing is made.
      let unknown = try await ignite.gitOpsOnce([url], extra: FleetRepository.nothing)
      #expect(unknown.status == 1 && unknown.errorText.contains("certificate"), "\(unknown.errorText)")
      let nobody = try await ignite.gitOpsOnce(["--ca-file", authority, url], extra: FleetRepository.nothing)
      #expect(nobody.status == 1 && nobody.errorText.contains("password"), "\(nobody.errorText)")
      #expect(try await ignite.vms().isEmpty)
      let known = [
        "--ca-file", authority, "--https-username", GitWebServer.user, "--https-password-file", password, url,
      ]
      let first = try await ignite.gitOpsOnce(known, extra: FleetRepository.nothing)
      #expect(first.status == 0 && first.text.contains("applied, 1 change"), "\(first.text) \(first.errorText)")
      // From a Secret, by the daemon.
      try await DaemonProcess.with(ignite, extra: FleetRepository.nothing) { daemon in
        let two = try await repository.commit("two", ["db.yaml": FleetRepository.vm("db")])
        try await ignite.succeed("gitops", "sync", "gitops")
        try await ignite.gitOps(FleetRepository.short(two), "2/2", "Ready")
        // Another password: what there is goes on, and the reason is told without the one that was tried.
        let wrong = Data("wr0ng".utf8).base64EncodedString()
        let user = Data(GitWebServer.user.utf8).base64EncodedString()
        let ca = Data(server.authority).base64EncodedString()
        try await ignite.apply(
          """
          apiVersion: v1
          kind: Secret
          metadata: {name: gitops}
          data: {username: \(user), password: \(wrong), ca.crt: \(ca)}
          """)
        let three = try await repository.commit("three", ["cache.yaml": FleetRepository.vm("cache")])
        let refused = try await ignite("gitops", "sync", "gitops")
        #expect(refused.status == 1, "\(refused.text)")
        let said = try await ignite.gitOps("GitRepository/gitops: ", "2/2")
        #expect(!said.contains("wr0ng") && said.contains(url), "\(said)")
        #expect(try await ignite.vms().count == 2)
        let right = Data(GitWebServer.password.utf8).base64EncodedString()
        try await ignite.apply(
          """
          apiVersion: v1
          kind: Secret
          metadata: {name: gitops}
          data: {username: \(user), password: \(right), ca.crt: \(ca)}
          """)
        try await ignite.succeed("gitops", "sync", "gitops")
        try await ignite.gitOps(FleetRepository.short(three), "3/3", "Ready")
        for secret in ["wr0ng", GitWebServer.password, wrong, right] { #expect(!daemon.log.contains(secret)) }
      }
    }
  }

  @Test func sshWithADeployKey() async throws {
    try await Ignite.with { ignite in
      let bed = try TestDirectory()
      let repository = try await FleetRepository(bed.file("fleet.git"))
      try await repository.commit("one", ["vms/web.yaml": FleetRepository.vm("web"), "README.md": "VMs"])
      let key = try await DeployKey(in: bed)
      let other = try await DeployKey(in: bed)
      let (identity, wrong) = (bed.file("identity"), bed.file("wrong"))
      _ = try write(key.identity, identity)
      _ = try write(other.identity, wrong)
      var server: GitSSHServer? = try await GitSSHServer(authorized: key.authorized, scratch: bed)
      let port = try #require(server?.port)
      let hosts = try write(try #require(server?.knownHosts), bed.file("hosts"))
      let url = try #require(server?.url(repository.path))
      func words(_ identity: String) -> [String] {
        ["--branch", "main", "--path", "vms", "--identity-file", identity, "--hosts-file", hosts, url]
      }
      let refused = try await ignite.gitOpsOnce(words(wrong), extra: FleetRepository.nothing)
      #expect(refused.status == 1 && refused.errorText.contains("Permission denied"), "\(refused.errorText)")
      #expect(try await ignite.vms().isEmpty)
      let first = try await ignite.gitOpsOnce(words(identity), extra: FleetRepository.nothing)
      #expect(first.status == 0 && first.text.contains("applied, 1 change"), "\(first.text) \(first.errorText)")
      // The server is gone, and then another one is where it was: what there is goes on.
      server = nil
      try await repository.commit("two", ["vms/web.yaml": nil, "vms/db.yaml": FleetRepository.vm("db")])
      let away = try await ignite.gitOpsOnce(words(identity), extra: FleetRepository.nothing)
      #expect(away.status == 1 && away.errorText.contains(url), "\(away.errorText)")
      server = try await GitSSHServer(authorized: key.authorized, scratch: bed, port: port)
      let changed = try await ignite.gitOpsOnce(words(identity), extra: FleetRepository.nothing)
      #expect(changed.status == 1 && changed.errorText.contains("Host key verification failed"), "\(changed.errorText)")
      #expect(try await ignite.vms().map(\.name) == ["web"])
      _ = try write(try #require(server?.knownHosts), hosts)
      let all = try await ignite.gitOpsOnce(words(identity) + ["--allow-mass-deletion"], extra: FleetRepository.nothing)
      #expect(all.status == 0 && all.text.contains("applied, 2 changes"), "\(all.text) \(all.errorText)")
      #expect(try await ignite.vms().map(\.name) == ["db"])
      withExtendedLifetime(server) {}
    }
  }

  @Test func aServerThatHangsAndABranchThatGoes() async throws {
    try await Ignite.with { ignite in
      let bed = try TestDirectory()
      let repository = try await FleetRepository(bed.file("fleet.git"))
      try await repository.commit("one", ["vms/web.yaml": FleetRepository.vm("web")])
      func declare(_ url: String) async throws {
        try await ignite.apply(
          """
          apiVersion: ignite.weave.works/v1beta1
          kind: GitRepository
          metadata: {name: fleet}
          spec: {url: "\(url)", ref: {branch: main}, interval: 1s, timeout: 1s}
          ---
          apiVersion: ignite.weave.works/v1beta1
          kind: Sync
          metadata: {name: fleet}
          spec: {sourceRef: {kind: GitRepository, name: fleet}, path: vms, interval: 1s, prune: true}
          """)
      }
      let silent = try SilentServer()
      try await declare(repository.path)
      try await DaemonProcess.with(ignite, extra: FleetRepository.nothing) { _ in
        try await ignite.gitOps("1/1", "Ready")
        let uid = try await ignite.vm("web").uid
        try await declare("http://127.0.0.1:\(silent.port)/fleet.git")
        try await ignite.gitOps("GitRepository/fleet: ", "timeout", "1/1")
        try await declare(repository.path)
        try await ignite.succeed("gitops", "sync", "fleet")
        try await ignite.gitOps("1/1", "Ready")
        // `gitops sync` looks at once; by itself the daemon waits longer after each failure.
        // The branch is deleted.
        try await repository.git("checkout", "-q", "-b", "other")
        try await repository.git("branch", "-q", "-D", "main")
        let gone = try await ignite.gitOps("GitRepository/fleet: file:", "other", "1/1")
        #expect(gone.contains("main"), "\(gone)")
        // It comes again, rewritten by force: another root, another content.
        try await repository.git("checkout", "-q", "--orphan", "main")
        let rewritten = try await repository.commit("anew", ["vms/db.yaml": FleetRepository.vm("db")])
        _ = try await ignite("gitops", "sync", "fleet")
        try await ignite.gitOps(FleetRepository.short(rewritten), "2/2", "Ready")
        let events = try await ignite.succeed("events", "--since", "5m", "--until", "0s", "--filter", "event=fetched")
        #expect(events.contains("rewritten or set back"), "\(events)")
        // Ten thousand and one files are too many; so is one of five MiB.
        var many: [String: String?] = [:]
        for number in 0...10_000 { many["vms/many/\(number).yaml"] = "# \(number)" }
        try await repository.commit("many", many)
        _ = try await ignite("gitops", "sync", "fleet")
        try await ignite.gitOps("GitRepository/fleet: ", "10000", "2/2")
        try await repository.git("rm", "-rq", "vms/many")
        try await repository.commit("large", ["vms/large.yaml": String(repeating: "# \n", count: 2 << 20)])
        _ = try await ignite("gitops", "sync", "fleet")
        try await ignite.gitOps("GitRepository/fleet: ", "vms/large.yaml", "2/2")
        try await repository.commit(
          "not text",
          ["vms/large.yaml": nil, "vms/sound.yaml": "kind: ConfigMap", ".gitattributes": "*.yaml filter=x\n"])
        try Data([0x6B, 0x3A, 0xFF, 0xFE]).write(to: URL(filePath: repository.path + "/vms/sound.yaml"))
        try await repository.commit("not text", [:])
        _ = try await ignite("gitops", "sync", "fleet")
        try await ignite.gitOps("GitRepository/fleet: ", "vms/sound.yaml", "UTF-8", "2/2")
        let mended = try await repository.commit("mended", ["vms/sound.yaml": nil])
        _ = try await ignite("gitops", "sync", "fleet")
        try await ignite.gitOps(FleetRepository.short(mended), "2/2", "Ready")
        #expect(try await ignite.vm("web").uid == uid)
      }
      withExtendedLifetime(silent) {}
    }
  }
}
