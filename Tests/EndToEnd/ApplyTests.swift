import FoundationEssentials
import Glibc
import Testing

/// Declared objects: planned, applied, changed in place, replaced, drifted, deleted.
@Suite(.timeLimit(.minutes(10))) struct Declared {
  /// A VM and its volume; what is in braces may differ.
  private func manifests(
    labels: String = "{tier: web}", image: String = Ignite.image, more: String = "", args: String = "sleep 3600"
  ) -> String {
    """
    apiVersion: ignite.weave.works/v1beta1
    kind: VM
    metadata: {name: web, labels: \(labels)}
    spec:
      image: {oci: \(image)}
      resources: {memory: 256MiB}
      process: {args: [sh, -c, "\(args)"]}
      volumes: [{mountPath: /data, volume: {name: data}}]
      \(more)
    ---
    apiVersion: ignite.weave.works/v1beta1
    kind: Volume
    metadata: {name: data}
    spec: {size: 64MiB}
    """
  }

  private func run(_ ignite: Ignite, _ words: String..., manifest: String) async throws -> Program.Result {
    try await ignite(words + ["-f", "-"], input: Array(manifest.utf8))
  }

  @Test func theLifeOfAVM() async throws {
    try await Ignite.with { ignite in
      let first = manifests()
      let planned = try await run(ignite, "plan", "--detailed-exitcode", manifest: first)
      #expect(planned.status == 2, "\(planned.errorText)")
      #expect(
        planned.text.contains("+ Volume/data will be created") && planned.text.contains("+ VM/web will be created"))
      #expect(planned.text.contains("Plan: 2 to create, 0 to change, 0 to replace, 0 to delete."))
      #expect(try await ignite.vms().isEmpty)
      // Without a terminal nothing is done that was not agreed to.
      let unasked = try await run(ignite, "apply", manifest: first)
      #expect(unasked.status == 1 && unasked.errorText.contains("--yes"), "\(unasked.errorText)")
      #expect(try await ignite.vms().isEmpty)
      let applied = try await run(ignite, "apply", "--yes", manifest: first)
      #expect(applied.status == 0, "\(applied.errorText)")
      let vm = try await ignite.vm("web")
      #expect(vm.phase == "Running")
      #expect(try await ignite.succeed("exec", "web", "sh", "-c", "echo kept > /data/x; echo x > /x; echo hi") == "hi")
      // Once more, nothing; also by the image's short name.
      for same in [first, manifests(image: Ignite.image)] {
        let again = try await run(ignite, "plan", "--detailed-exitcode", manifest: same)
        #expect(again.status == 0 && again.text.contains("No changes"), "\(again.text)")
      }

      // What is printed of them can be applied, and changes nothing.
      let printed =
        try await ignite.succeed("get", "vm", "web", "-o", "yaml") + "\n---\n"
        + ignite.succeed("get", "volumes", "-o", "yaml")
      let same = try await run(ignite, "plan", "--detailed-exitcode", manifest: printed)
      #expect(same.status == 0, "\(same.text) \(same.errorText)\n\(printed)")
      #expect(try await ignite.succeed("get", "vms", "-l", "tier in (web,x)", "-o", "name") == "vm/web")
      #expect(try await ignite.succeed("get", "vms", "-l", "tier!=web", "-o", "name") == "")
      #expect(try await ignite.succeed("get", "vm", "-o", "wide").contains("256MiB"))
      #expect(try await ignite("get", "vm", "none").status == 1)

      // In place: the VM goes on.
      let second = manifests(labels: "{tier: db}", more: "restart: {policy: Always}\n  stopTimeout: 1s")
      let change = try await run(ignite, "plan", manifest: second)
      #expect(change.text.contains("~ VM/web will be changed in place"), "\(change.text)")
      #expect(
        change.text.contains("\"web\" -> \"db\"") && change.text.contains("(none) -> \"Always\""), "\(change.text)")
      #expect(try await run(ignite, "apply", "--yes", manifest: second).status == 0)
      #expect(try await ignite.vm("web").supervisor == vm.supervisor)
      #expect(try await ignite.succeed("inspect", "web").contains("\"Always\""))
      // What is not said any more goes back.
      let third = manifests(labels: "{}")
      #expect(try await run(ignite, "apply", "--yes", manifest: third).status == 0)
      let bare = try await ignite.succeed("inspect", "web")
      #expect(!bare.contains("\"Always\"") && !bare.contains("tier") && !bare.contains("stopTimeout"), "\(bare)")

      // Drift: stopped by hand, and its hypervisor killed.
      try await ignite.succeed("stop", "-t", "1", "web")
      let stopped = try await run(ignite, "plan", manifest: third)
      #expect(stopped.text.contains("\"Stopped\" -> \"Running\""), "\(stopped.text)")
      #expect(try await run(ignite, "apply", "--yes", manifest: third).status == 0)
      kill(try #require(try await ignite.vm("web").hypervisor), SIGKILL)
      while try await ignite.vm("web").phase != "Failed" { try Task.checkCancellation() }
      #expect(try await run(ignite, "apply", "--yes", manifest: third).status == 0)
      #expect(try await ignite.succeed("exec", "web", "cat", "/x") == "x")

      // What cannot be changed in place is pending, never in silence; or it is replaced, where its policy says so.
      let fourth = manifests(labels: "{}", args: "sleep 4000")
      let pending = try await run(ignite, "apply", "--yes", manifest: fourth)
      #expect(pending.status == 1 && pending.text.contains("! VM/web"), "\(pending.text)")
      #expect(try await ignite.vm("web").uid == vm.uid)
      let fifth = manifests(labels: "{}", more: "updatePolicy: Replace", args: "sleep 4000")
      let replaced = try await run(ignite, "apply", "--yes", manifest: fifth)
      #expect(replaced.status == 0 && replaced.text.contains("# forces replacement"), "\(replaced.text)")
      #expect(try await ignite.vm("web").uid != vm.uid)
      #expect(
        try await ignite.succeed("exec", "web", "sh", "-c", "cat /data/x; ls /x 2>/dev/null | wc -l") == "kept\n0")

      // Deleted by hand, it is made again.
      try await ignite.succeed("rm", "-f", "web")
      #expect(try await run(ignite, "apply", "--yes", manifest: fifth).status == 0)
      let deleted = try await run(ignite, "delete", "--yes", manifest: fifth)
      #expect(deleted.status == 0, "\(deleted.errorText)")
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.succeed("volume", "ls", "-q") == "")
      #expect(try await run(ignite, "delete", "--yes", manifest: fifth).status == 0)
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }

  /// A version in a manifest is that of the object that it was read from, as kubectl has it.
  @Test func whatWasChangedSinceIsNotOverwritten() async throws {
    try await Ignite.with { ignite in
      #expect(try await run(ignite, "apply", "-y", manifest: manifests()).status == 0)
      func read() async throws -> String {
        try await ignite.succeed("get", "vm", "web", "-o", "yaml") + "\n---\n"
          + ignite.succeed("get", "volumes", "-o", "yaml")
      }
      let first = try await read()
      // What the engine finds of it meanwhile does not matter: it broke down, and runs again.
      kill(try #require(try await ignite.vm("web").hypervisor), SIGKILL)
      while try await ignite.vm("web").phase != "Failed" { try Task.checkCancellation() }
      try await ignite.succeed("start", "web")
      let same = try await run(ignite, "plan", "--detailed-exitcode", manifest: first)
      #expect(same.status == 0, "\(same.text) \(same.errorText)")
      let edited = first.replacing("tier: web", with: "tier: db")
      #expect(try await run(ignite, "apply", "-y", manifest: edited).status == 0)

      // Now somebody has.
      func version(_ text: String) -> String {
        let line = text.split(separator: "\n").first { $0.contains("resourceVersion:") } ?? ""
        return String(line.filter(\.isNumber))
      }
      let now = try await version(read())
      for verb in [["plan"], ["apply", "-y"], ["diff"]] {
        let stale = try await ignite(verb + ["-f", "-"], input: Array(first.utf8))
        #expect(stale.status == (verb == ["diff"] ? 2 : 1), "\(stale.text)")
        for words in ["VM/web was changed", "is \(now),", "manifest's \(version(first))", "ignite get vm web -o yaml"] {
          #expect(stale.errorText.contains(words), "\(words): \(stale.errorText)")
        }
      }
      #expect(try await ignite.succeed("get", "vms", "-l", "tier=db", "-o", "name") == "vm/web")
      // Read again it can be applied; so can it without a version.
      let fresh = try await read().replacing("tier: db", with: "tier: x")
      #expect(try await run(ignite, "apply", "-y", manifest: fresh).status == 0)
      let bare = first.split(separator: "\n", omittingEmptySubsequences: false)
        .filter { !$0.contains("resourceVersion") }.joined(separator: "\n")
      #expect(try await run(ignite, "apply", "-y", manifest: bare).status == 0)
      // What is not there any more, and another one of the name.
      let last = try await read()
      try await ignite.succeed("rm", "-f", "web")
      let gone = try await run(ignite, "apply", "-y", manifest: last)
      #expect(gone.status == 1 && gone.errorText.contains("there is no VM/web"), "\(gone.errorText)")
      try await ignite.succeed("create", "--name", "web", Ignite.image)
      let other = try await run(ignite, "apply", "-y", manifest: last)
      #expect(other.status == 1 && other.errorText.contains("is another one"), "\(other.errorText)")
      let odd = try await run(
        ignite, "plan", manifest: last.replacing("resourceVersion: \"", with: "resourceVersion: \"x"))
      #expect(odd.status == 1 && odd.errorText.contains("metadata.resourceVersion"), "\(odd.errorText)")
    }
  }

  /// Two at once, with different values for one field: one of them is what there is in the end, whole.
  @Test func twoAppliersAtOnce() async throws {
    try await Ignite.with { ignite in
      func manifest(_ who: String, _ round: Int) -> String {
        manifests(
          labels: "{tier: \(who)-\(round), of-\(who): \"\(round)\"}",
          more: "state: Stopped\n  stopTimeout: \(who == "a" ? 1 : 2)s")
      }
      for round in 0..<Ignite.rounds(6, soak: 60) {
        async let one = run(ignite, "apply", "-y", manifest: manifest("a", round))
        async let two = run(ignite, "apply", "-y", manifest: manifest("b", round))
        for result in try await [one, two] { #expect(result.status == 0, "\(result.text) \(result.errorText)") }
        var winners: [String] = []
        for who in ["a", "b"] {
          let plan = try await run(ignite, "plan", "--detailed-exitcode", manifest: manifest(who, round))
          if plan.status == 0 { winners.append(who) }
        }
        #expect(winners.count == 1)
        let winner = winners.first ?? ""
        let yaml = try await ignite.succeed("get", "vm", "web", "-o", "yaml")
        let labels = yaml.split(separator: "\n").map { $0.filter { $0 != " " } }
          .filter { $0.hasPrefix("tier:") || $0.hasPrefix("of-") }
        #expect(labels == ["of-\(winner):\"\(round)\"", "tier:\(winner)-\(round)"], "\(yaml)")
        #expect(yaml.contains("stopTimeout: \"\(winner == "a" ? 1 : 2)s\""), "\(yaml)")
      }
      #expect(try await ignite.vms().count == 1)
      #expect(try await ignite.succeed("volume", "ls", "-q") == "data")
    }
  }

  @Test func statesAreWished() async throws {
    try await Ignite.with { ignite in
      for state in ["Stopped", "Running", "Paused", "Running", "Paused", "Stopped"] {
        let manifest = manifests(more: "state: \(state)")
        let applied = try await run(ignite, "apply", "--yes", manifest: manifest)
        #expect(applied.status == 0, "\(state): \(applied.errorText)")
        let phase = try await ignite.vm("web").phase
        #expect(phase == state || (state == "Stopped" && phase == "Created"), "\(state): \(phase)")
        #expect(try await run(ignite, "plan", "--detailed-exitcode", manifest: manifest).status == 0, "\(state)")
      }
      // A process that has done its work is not started for ever.
      let job = manifests(args: "exit 0").replacingWeb("job")
      #expect(try await run(ignite, "apply", "--yes", manifest: job).status == 0)
      #expect(try await ignite.succeed("wait", "job") == "0")
      #expect(try await run(ignite, "plan", "--detailed-exitcode", manifest: job).status == 0)
    }
  }

  @Test func weavesManifestsAreConverted() async throws {
    try await Ignite.with { ignite in
      func manifest(_ version: String, running: String) -> String {
        """
        apiVersion: ignite.weave.works/\(version)
        kind: VM
        metadata: {name: web, labels: {tier: web}}
        spec:
          image: {oci: \(Ignite.image)}
          cpus: 1
          memory: 256MB
          diskSize: 1GB
          network: {ports: [{hostPort: 18080, vmPort: 80, bindAddress: 127.0.0.1}]}
          ssh: true
        \(running)
        """
      }
      let still = manifest("v1alpha2", running: "")
      let applied = try await run(ignite, "apply", "--yes", manifest: still)
      #expect(applied.status == 0, "\(applied.errorText)")
      // On standard error, and once each.
      for warning in ["warning: standard input:10: spec.ssh", "warning: standard input:1: status.running"] {
        #expect(applied.errorText.split(separator: "\n").count { $0.contains(warning) } == 1, "\(applied.errorText)")
      }
      #expect(try await ignite.vm("web").phase == "Created")
      let printed = try await ignite.succeed("get", "vm", "web", "-o", "yaml")
      for line in ["boot: Machine", "disk: \"1GiB\"", "memory: \"256MiB\"", "host: 18080", "tier: web"] {
        #expect(printed.contains(line), "\(printed)")
      }
      // In any version it is the same VM, and nothing is to be done.
      for version in ["v1alpha2", "v1alpha3", "v1alpha4"] {
        let planned = try await run(
          ignite, "plan", "--detailed-exitcode", manifest: manifest(version, running: "status: {running: false}"))
        #expect(planned.status == 0, "\(version): \(planned.text)")
      }
      let started = try await run(
        ignite, "plan", "--detailed-exitcode", manifest: manifest("v1alpha4", running: "status: {running: true}"))
      #expect(
        started.status == 2 && started.text.contains("spec.state = \"Stopped\" -> \"Running\""), "\(started.text)")
      #expect(try await run(ignite, "delete", "--yes", manifest: still).status == 0)
      #expect(try await ignite.vms().isEmpty)
    }
  }

  @Test func badInput() async throws {
    try await Ignite.with { ignite in
      let script = """
        mkdir \(ignite.folder)/two \(ignite.folder)/none
        for name in a b; do echo '\(manifests())' > \(ignite.folder)/two/$name.yaml; done
        head -c 20000000 /dev/zero | tr '\\0' '#' > \(ignite.folder)/large.yaml
        """
      try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", script])
      for (words, problem) in [
        (["apply", "-y", "-f", "\(ignite.folder)/two"], "stands in"),
        (["plan", "-f", "\(ignite.folder)/none"], "has no manifest"),
        (["plan", "-f", "\(ignite.folder)/large.yaml"], "4 at most"), (["plan", "-f", "/none.yaml"], "/none.yaml"),
        (["plan"], "-f"),
      ] {
        let result = try await ignite(words)
        #expect(result.status == 1 && result.errorText.contains(problem), "\(words): \(result.errorText)")
        #expect(result.errorText.split(separator: "\n").count == 1)
      }
      let unknown = try await run(ignite, "apply", "-y", manifest: manifests(more: "memory: 1GiB"))
      #expect(
        unknown.status == 1 && unknown.errorText.contains("standard input:9: spec.memory"), "\(unknown.errorText)")
      #expect(try await ignite.vms().isEmpty)
    }
  }

  @Test func oneThatFailsLeavesTheOthers() async throws {
    try await Ignite.with { ignite in
      func vm(_ name: String, _ more: String = "") -> String {
        """
        apiVersion: ignite.weave.works/v1beta1
        kind: VM
        metadata: {name: \(name)}
        spec: {image: {oci: \(Ignite.image)}, process: {args: [sleep, "3600"]}, state: Stopped\(more)}
        ---

        """
      }
      let missing = ", files: [{path: /a, configMap: {name: none, key: k}}]"
      let broken = vm("b", missing).replacing("state: Stopped", with: "state: Running")
      let text = vm("a") + broken + broken.replacing("name: b", with: "name: c") + vm("d")
      let result = try await ignite(["apply", "-y", "-f", "-"], input: Array(text.utf8))
      #expect(result.status == 1, "\(result.text)")
      for name in ["b", "c"] {
        #expect(result.text.contains("VM/\(name): failed: there is no ConfigMap/none"), "\(result.text)")
        #expect(result.errorText.contains("VM/\(name): there is no ConfigMap/none"), "\(result.errorText)")
      }
      #expect(result.errorText.contains("2 objects failed"))
      for name in ["a", "d"] { #expect(result.text.contains("VM/\(name): created")) }
      let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: none}\ndata: {k: v}\n---\n"
      let again = try await ignite(["apply", "-y", "-f", "-"], input: Array((map + text).utf8))
      #expect(again.status == 0, "\(again.text) \(again.errorText)")
      #expect(try await ignite.vm("c").phase == "Running")
    }
  }
}

extension String {
  fileprivate func replacingWeb(_ name: String) -> String {
    split(separator: "\n", omittingEmptySubsequences: false)
      .map { $0.hasPrefix("metadata: {name: web") ? "metadata: {name: \(name)" + $0.dropFirst(20) : String($0) }
      .joined(separator: "\n")
  }
}
