import FoundationEssentials
import Glibc
import Testing

/// Packaged applications and sets of VMs.
@Suite(.timeLimit(.minutes(10))) struct Packaged {
  /// A database that is healthy after a moment, and a web server that depends on it.
  private func app(
    web: String = "sleep 3600", extra: String = "", healthy: String = "test -e /data/up", restart: String = "Always"
  ) -> String {
    """
    apiVersion: ignite.weave.works/v1beta1
    kind: App
    metadata: {name: shop}
    spec:
      objects:
      - kind: VM
        name: web
        dependsOn: [db]
        labels: {tier: web}
        spec:
          image: {oci: \(Ignite.image)}
          resources: {memory: 256MiB}
          restart: {policy: \(restart)}
          updatePolicy: Replace
          process: {args: [sh, -c, "\(web)"]}
      - kind: VM
        name: db
        spec:
          image: {oci: \(Ignite.image)}
          resources: {memory: 256MiB}
          process: {args: [sh, -c, "sleep 1; touch /data/up; sleep 3600"]}
          health: {test: [CMD-SHELL, "\(healthy)"], interval: 200ms, startPeriod: 60s, startInterval: 200ms, retries: 3}
          volumes: [{mountPath: /data, volume: {name: data}}]
      - kind: Volume
        name: data
        spec: {size: 64MiB}
    \(extra)
    """
  }

  private func run(_ ignite: Ignite, _ words: String..., manifest: String) async throws -> Program.Result {
    try await ignite(words + ["-f", "-"], input: Array(manifest.utf8))
  }

  private func row(_ ignite: Ignite, _ kind: String, _ name: String) async throws -> [String] {
    try await ignite.succeed("get", kind, name).split(separator: "\n").last?.split(separator: " ").map(String.init)
      ?? []
  }

  @Test func theLifeOfAnApplication() async throws {
    try await Ignite.with { ignite in
      let planned = try await run(ignite, "plan", manifest: app())
      #expect(planned.text.contains("+ App/shop will be created"), "\(planned.text) \(planned.errorText)")
      #expect(planned.text.contains("+ VM/web (App/shop) will be created"))
      #expect(planned.text.contains("Plan: 4 to create, 0 to change, 0 to replace, 0 to delete."))
      let up = try await run(ignite, "up", manifest: app())
      #expect(up.status == 0, "\(up.text) \(up.errorText)")
      // The one that depends on the other waits for its health, and says so.
      let order = ["VM/db: created", "VM/web: waiting: VM/db: its health", "VM/web: created", "App/shop: ready"]
      let lines = up.text.split(separator: "\n")
      let places = order.compactMap { word in lines.firstIndex { $0.hasPrefix(word) } }
      #expect(places.count == order.count && places == places.sorted(), "\(up.text)")
      #expect(try await row(ignite, "apps", "shop").prefix(3) == ["shop", "3/3", "Ready"])
      #expect(try await ignite.succeed("get", "vm", "-o", "wide").contains("App/shop"))
      let again = try await run(ignite, "plan", "--detailed-exitcode", manifest: app())
      #expect(again.status == 0, "\(again.text)")
      // What belongs to it is changed there.
      let apart = """
        apiVersion: ignite.weave.works/v1beta1
        kind: Volume
        metadata: {name: data}
        spec: {size: 64MiB}
        """
      let refused = try await run(ignite, "apply", "-y", manifest: apart)
      #expect(refused.status == 1 && refused.errorText.contains("belongs to App/shop"), "\(refused.errorText)")
      // As it is printed it can be applied, and changes nothing.
      let printed = try await ignite.succeed("get", "app", "shop", "-o", "yaml")
      let same = try await run(ignite, "plan", "--detailed-exitcode", manifest: printed)
      #expect(same.status == 0, "\(same.text) \(same.errorText)")

      // In place and by replacement.
      let (db, web) = (try await ignite.vm("db").uid, try await ignite.vm("web").uid)
      let inPlace = try await run(ignite, "apply", "-y", manifest: app(restart: "OnFailure"))
      #expect(
        inPlace.status == 0 && inPlace.text.contains("~ VM/web (App/shop) will be changed in place"), "\(inPlace.text)")
      #expect(try await ignite.vm("web").uid == web)
      let replaced = try await run(ignite, "up", manifest: app(web: "sleep 4000", restart: "OnFailure"))
      #expect(replaced.status == 0 && replaced.text.contains("-/+ VM/web (App/shop)"), "\(replaced.text)")
      #expect(try await ignite.vm("web").uid != web)
      #expect(try await ignite.vm("db").uid == db)

      // Drift: killed, and removed by hand.
      kill(try #require(try await ignite.vm("db").hypervisor), SIGKILL)
      while try await ignite.vm("db").phase != "Failed" { try Task.checkCancellation() }
      #expect(try await row(ignite, "app", "shop")[2] == "Stalled")
      try await ignite.succeed("rm", "-f", "web")
      let mended = try await run(ignite, "up", manifest: app(web: "sleep 4000", restart: "OnFailure"))
      #expect(mended.status == 0, "\(mended.text) \(mended.errorText)")
      #expect(try await ignite.vm("db").uid == db)
      #expect(try await row(ignite, "app", "shop")[2] == "Ready")

      // What it has no more is deleted; what is new is made.
      let more = """
        - kind: VMSet
          name: worker
          dependsOn: [VM/db]
          spec:
            replicas: 2
            template: {labels: {role: worker}, spec: {image: {oci: \(Ignite.image)}, resources: {memory: 128MiB}, process: {args: [sleep, "3600"]}}}
        """
      let indented = more.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")
      let grown = try await run(ignite, "up", manifest: app(web: "sleep 4000", extra: indented, restart: "OnFailure"))
      #expect(grown.status == 0, "\(grown.text) \(grown.errorText)")
      #expect(try await row(ignite, "vmset", "worker").prefix(3) == ["worker", "2/2", "Ready"])
      #expect(try await ignite.succeed("get", "vms", "-l", "role=worker", "-o", "name") == "vm/worker-0\nvm/worker-1")
      let shrunk = try await run(ignite, "apply", "-y", manifest: app(web: "sleep 4000", restart: "OnFailure"))
      #expect(
        shrunk.status == 0
          && shrunk.text.contains("- VM/worker-1 (VMSet/worker) will be deleted: App/shop has it no more"),
        "\(shrunk.text) \(shrunk.errorText)")
      #expect(try await ignite.succeed("get", "vmsets", "-o", "name") == "")
      #expect(try await ignite.vms().count == 2)

      // Down, its volume stays; up again, it is what it was.
      try await ignite.succeed("exec", "db", "sh", "-c", "echo kept > /data/x")
      let down = try await run(ignite, "down", manifest: app())
      #expect(down.status == 0, "\(down.text) \(down.errorText)")
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.succeed("get", "apps", "-o", "name") == "")
      #expect(try await ignite.succeed("volume", "ls", "-q") == "data")
      let upAgain = try await run(ignite, "up", manifest: app())
      #expect(upAgain.status == 0, "\(upAgain.text) \(upAgain.errorText)")
      #expect(try await ignite.succeed("exec", "db", "cat", "/data/x") == "kept")
      let deleted = try await ignite("delete", "-y", "app/shop")
      #expect(deleted.status == 0, "\(deleted.errorText)")
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.succeed("volume", "ls", "-q") == "")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      #expect(try await Ignite.run(Ignite.wrap + ["/bin/ls", "\(ignite.folder)/run/vms"]).text == "")
    }
  }

  @Test func aSetIsRolledAndScaled() async throws {
    try await Ignite.with { ignite in
      func set(_ replicas: Int, _ seconds: Int, update: String = "Rolling", more: String = "") -> String {
        """
        apiVersion: ignite.weave.works/v1beta1
        kind: VMSet
        metadata: {name: w}
        spec:
          replicas: \(replicas)
          update: \(update)
          template:
            spec: {image: {oci: \(Ignite.image)}, resources: {memory: 128MiB}, process: {args: [sleep, "\(seconds)"]}\(more)}
        """
      }
      func uids() async throws -> [String: String] {
        Dictionary(uniqueKeysWithValues: try await ignite.vms().map { ($0.name, $0.uid) })
      }
      var result = try await run(ignite, "apply", "-y", "--wait", manifest: set(3, 3600))
      #expect(result.status == 0, "\(result.errorText)")
      let first = try await uids()
      #expect(first.keys.sorted() == ["w-0", "w-1", "w-2"])
      // One after the other.
      result = try await run(ignite, "apply", "-y", "--wait", manifest: set(3, 3700))
      #expect(result.status == 0, "\(result.errorText)")
      let lines = result.text.split(separator: "\n").filter { $0.hasPrefix("VM/w-") && !$0.contains("waiting") }
      #expect(
        lines == (0..<3).flatMap { ["VM/w-\($0): replacing …", "VM/w-\($0): replaced"] }.map { $0[...] },
        "\(result.text)")
      let second = try await uids()
      #expect(Set(second.values).isDisjoint(with: first.values))
      // Fewer: the last go; all at once, where that is wished.
      result = try await run(ignite, "apply", "-y", manifest: set(1, 3700))
      #expect(result.status == 0 && result.text.contains("3 -> 1"), "\(result.text)")
      #expect(try await uids() == ["w-0": second["w-0"] ?? ""])
      result = try await run(ignite, "apply", "-y", "--wait", manifest: set(2, 3800, update: "Parallel"))
      #expect(result.status == 0, "\(result.errorText)")
      #expect(try await uids().count == 2)
      // A replica that cannot be replaced is told of, and one that never gets ready too.
      result = try await run(ignite, "apply", "-y", manifest: set(2, 3900, more: ", updatePolicy: InPlace"))
      #expect(result.status == 1 && result.text.contains("! VM/w-0"), "\(result.text)")
      let bad = set(
        2, 3800, update: "Parallel", more: ", health: {test: [CMD, \"false\"], interval: 100ms, retries: 1}")
      result = try await run(ignite, "apply", "-y", "--wait", "--timeout", "5s", manifest: bad)
      #expect(result.status == 1 && result.errorText.contains("0 of 2 ready"), "\(result.errorText)")
      #expect(try await run(ignite, "delete", "-y", manifest: bad).status == 0)
      #expect(try await ignite.vms().isEmpty)
    }
  }

  @Test func plansAreSavedAndSetsPruned() async throws {
    try await Ignite.with { ignite in
      func volume(_ names: String...) -> String {
        names.map { name in
          """
          apiVersion: ignite.weave.works/v1beta1
          kind: Volume
          metadata: {name: \(name)}
          spec: {size: 32MiB}
          """
        }.joined(separator: "\n---\n")
      }
      let file = ignite.folder + "/plan.json"
      var result = try await run(ignite, "plan", "--out", file, manifest: volume("a", "b"))
      #expect(result.status == 0, "\(result.errorText)")
      // Something moves.
      try await ignite.succeed("volume", "create", "a")
      result = try await ignite("apply", file)
      #expect(result.status == 1 && result.errorText.contains("Volume/a moved"), "\(result.errorText)")
      #expect(try await ignite.succeed("volume", "ls", "-q") == "a")
      try await ignite.succeed("volume", "rm", "a")
      result = try await ignite("apply", file)
      #expect(result.status == 0, "\(result.errorText)")
      #expect(try await ignite.succeed("volume", "ls", "-q") == "a\nb")
      // Once only.
      #expect(try await ignite("apply", file).status == 1)
      for (words, problem) in [
        (["apply", "/etc/passwd"], "no plan"), (["apply", file, "-f", "x"], "leave -f out"),
        (["apply", "-y", "--prune", "-f", "-"], "--inventory"),
        (["apply", "-y", "--timeout", "3s", "-f", "-"], "--wait"),
      ] {
        let wrong = try await ignite(words)
        #expect(wrong.status == 1 && wrong.errorText.contains(problem), "\(words): \(wrong.errorText)")
      }
      // Of the inventory alone, and what belongs to nobody stays.
      result = try await run(ignite, "apply", "-y", "--inventory", "fleet", manifest: volume("a", "c"))
      #expect(result.status == 0, "\(result.errorText)")
      result = try await run(ignite, "apply", "-y", "--inventory", "fleet", "--prune", manifest: volume("c"))
      #expect(
        result.status == 0 && result.text.contains("- Volume/a will be deleted: no manifest of the inventory fleet"),
        "\(result.text)")
      #expect(try await ignite.succeed("volume", "ls", "-q") == "b\nc")
      #expect(try await ignite("delete", "-y", "volume/none").status == 1)
      #expect(try await ignite.succeed("delete", "-y", "volume", "b", "c").contains("Volume/c: deleted"))
    }
  }

  @Test func whatMakesNoSenseIsRefused() async throws {
    try await Ignite.with { ignite in
      func objects(_ text: String) -> String {
        "apiVersion: ignite.weave.works/v1beta1\nkind: App\nmetadata: {name: shop}\nspec:\n  objects:\n" + text
      }
      func vm(_ name: String, _ more: String = "") -> String {
        "  - {kind: VM, name: \(name), \(more) spec: {image: {oci: x}}}\n"
      }
      for (manifest, problem) in [
        (objects(vm("a", "dependsOn: [b],") + vm("b", "dependsOn: [a],")), "circle: VM/a -> VM/b -> VM/a"),
        (objects(vm("a", "dependsOn: [c],")), "no object \"c\""), (objects(vm("a") + vm("a")), "stands in"),
        (objects("  - {kind: App, name: a, spec: {objects: []}}\n"), "not one of VM, VMSet, Volume"),
        (
          objects("  - {kind: VM, name: a, spec: {image: {oci: x}, memory: 1GiB}}\n"),
          "-:6: spec.objects[0].spec.memory"
        ),
        (objects("  - {kind: VM, name: A_, spec: {image: {oci: x}}}\n"), "spec.objects[0].name"),
      ] {
        let result = try await run(ignite, "apply", "-y", manifest: manifest)
        #expect(
          result.status == 1 && result.errorText.contains(problem.replacing("-:", "standard input:")),
          "\(result.errorText)")
      }
      #expect(try await ignite.succeed("get", "apps", "-o", "name") == "")
    }
  }
}

extension String {
  fileprivate func replacing(_ word: String, _ other: String) -> String {
    hasPrefix(word) ? other + dropFirst(word.count) : self
  }
}
