import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Declared objects looked at, compared and edited: `describe`, `get events`, `diff -f`, `edit`.
@Suite(.timeLimit(.minutes(10))) struct Looking {
  private struct EventView: Decodable {
    struct Object: Decodable {
      var kind: String
      var name: String
      var uid: String?
    }
    struct Metadata: Decodable {
      var name: String
    }
    var kind: String
    var apiVersion: String
    var metadata: Metadata
    var involvedObject: Object
    var reason: String
    var message: String
    var count: Int
    var firstTimestamp: String
    var lastTimestamp: String
    var type: String
  }

  private func run(
    _ ignite: Ignite, _ words: String..., manifest: String, extra: [String: String] = [:]
  ) async throws -> Program.Result {
    try await ignite.command(words + ["-f", "-"], input: Array(manifest.utf8), extra: extra).run()
  }

  private func edit(_ ignite: Ignite, _ object: String, _ editor: String) async throws -> Program.Result {
    try await ignite("edit", object, extra: ["EDITOR": "false", "VISUAL": editor, "TMPDIR": scratch(ignite)])
  }

  /// What commands write beside their work; made before the first of them.
  private func scratch(_ ignite: Ignite) -> String { ignite.folder + "/scratch" }

  private func leftovers(_ ignite: Ignite) async throws -> [String] {
    try await Ignite.run(Ignite.wrap + ["/bin/ls", scratch(ignite)]).text.split(separator: "\n").map(String.init)
  }

  private func makeScratch(_ ignite: Ignite) async throws {
    try await Ignite.run(Ignite.wrap + ["/bin/mkdir", scratch(ignite)])
  }

  /// A program of the shell's in the folder.
  private func script(_ ignite: Ignite, _ name: String, _ text: String) throws -> String {
    let file = "\(ignite.folder)/\(name)"
    try ("#!/bin/sh\n" + text + "\n").write(toFile: file, atomically: true, encoding: .utf8)
    guard chmod(file, 0o755) == 0 else { throw SystemError("make \(file) a program") }
    return file
  }

  /// The value of a field that `describe` prints.
  private func field(_ name: String, in text: String) -> String? {
    text.split(separator: "\n").first { $0.hasPrefix(name + ":") }.map {
      String($0.dropFirst(name.count + 1).drop { $0 == " " })
    }
  }

  @Test func objectsAreDescribed() async throws {
    try await Ignite.with { ignite in
      let app = """
        apiVersion: ignite.weave.works/v1beta1
        kind: App
        metadata: {name: shop, labels: {tier: all, odd: "a\\eb"}}
        spec:
          objects:
          - kind: VM
            name: web
            labels: {tier: web}
            spec:
              image: {oci: \(Ignite.image)}
              resources: {memory: 256MiB}
              process: {args: [sh, -c, "sleep 3600"]}
              volumes: [{mountPath: /data, volume: {name: data}}]
          - {kind: Volume, name: data, spec: {size: 64MiB}}
        """
      let applied = try await run(ignite, "apply", "-y", "--wait", manifest: app)
      #expect(applied.status == 0, "\(applied.errorText)")
      for _ in 0..<2 {
        try await ignite.succeed("pause", "web")
        try await ignite.succeed("unpause", "web")
      }
      let uid = try await ignite.vm("web").uid
      let web = try await ignite.succeed("describe", "vm/web")
      for (name, value) in [
        ("Name", "web"), ("Kind", "VM"), ("UID", uid), ("Labels", "tier=web"), ("Annotations", "<none>"),
        ("Owner", "App/shop"), ("Memory", "256MiB"), ("Args", "sh -c 'sleep 3600'"), ("Status", "Running"),
        ("Ready", "Yes"), ("Mounts", "/data from volume/data"),
      ] { #expect(field(name, in: web) == value, "\(name): \(web)") }
      #expect(web.contains("Conditions:\n  TYPE") && !web.contains("Pending:"), "\(web)")
      let pauses = try #require(web.split(separator: "\n").first { $0.contains(" pause ") }, "\(web)")
      #expect(pauses.contains("Normal") && pauses.contains("(x2 over "), "\(web)")

      // By kind and names, and by labels; nobody's words drive the terminal.
      let both =
        try await ignite.succeed("describe", "volume", "data") + ignite.succeed("describe", "app", "-l", "tier")
      #expect(field("Used by", in: both) == "vm/web" && field("Size", in: both) == "64MiB", "\(both)")
      #expect(both.contains("odd=a?b") && !both.contains("\u{1b}"), "\(both)")
      #expect(try await ignite.succeed("describe", "app", "-l", "tier=none") == "")
      for (words, problem) in [(["vm/none"], "there is no VM/none"), (["vn/web"], "did you mean vm?")] {
        let wrong = try await ignite(["describe"] + words)
        #expect(wrong.status == 1 && wrong.errorText.contains(problem), "\(wrong.errorText)")
      }

      // What holds an application back, and what is to be done about it.
      #expect(field("Ready", in: try await ignite.succeed("describe", "app/shop")) == "2 of 2")
      try await ignite.succeed("stop", "-t", "0", "web")
      let shop = try await ignite.succeed("describe", "app/shop")
      #expect(field("Ready", in: shop) == "1 of 2", "\(shop)")
      #expect(field("Held back by", in: shop)?.contains("VM/web: ") == true, "\(shop)")
      #expect(shop.contains("Pending:\n  ~ VM/web (App/shop) will be changed in place"), "\(shop)")
      #expect(shop.contains("\"Stopped\" -> \"Running\""), "\(shop)")
      let row = shop.split(separator: "\n").first { $0.hasPrefix("  VM/web") }
      #expect(row?.split(separator: " ").prefix(2) == ["VM/web", "No"], "\(shop)")

      // Events as objects.
      let text = try await ignite.succeed("get", "events", "-o", "json")
      let events = try JSONDecoder().decode([EventView].self, from: Data(text.utf8))
      let pause = try #require(events.first { $0.reason == "pause" })
      #expect(pause.kind == "Event" && pause.apiVersion == "v1" && pause.count == 2 && pause.type == "Normal")
      #expect(pause.involvedObject.kind == "VM" && pause.involvedObject.name == "web")
      #expect(pause.involvedObject.uid == uid && pause.firstTimestamp <= pause.lastTimestamp)
      let die = try #require(events.first { $0.reason == "die" && $0.involvedObject.name == "web" })
      #expect(die.type == "Warning" && die.message.contains("has ended with"), "\(die)")
      #expect(events.contains { $0.involvedObject.kind == "Image" && $0.reason == "import" })
      #expect(Set(events.map(\.metadata.name)).count == events.count)
      let table = try await ignite.succeed("get", "events", "--for", "vm/web")
      #expect(table.hasPrefix("LAST SEEN   COUNT   OBJECT   ACTION"), "\(table)")
      #expect(table.split(separator: "\n").dropFirst().allSatisfy { $0.contains("vm/web") }, "\(table)")
      #expect(
        try await ignite.succeed("get", "events", pause.metadata.name, "-o", "name") == "event/\(pause.metadata.name)")
      // They are told, and not declared.
      let yaml = try await ignite.succeed("get", "events", "-o", "yaml")
      let refused = try await run(ignite, "apply", "-y", manifest: yaml)
      #expect(refused.status == 1 && refused.errorText.contains("kind: an Event tells"), "\(refused.errorText)")

      // What belongs to another is edited there.
      let part = try await ignite("edit", "vm/web")
      #expect(part.status == 1 && part.errorText.contains("ignite edit app/shop"), "\(part.errorText)")
    }
  }

  @Test func whatIsNotThereIsLookedForWhereItWouldBe() async throws {
    try await Ignite.with { ignite in
      for (words, kind, plural) in [
        (["edit", "vm/none"], "VM", "vms"), (["edit", "app/none"], "App", "apps"),
        (["delete", "-y", "vm", "none"], "VM", "vms"), (["delete", "-y", "vmset/none"], "VMSet", "vmsets"),
        (["describe", "volume/none"], "Volume", "volumes"),
      ] {
        let result = try await ignite(words)
        #expect(result.status == 1 && result.errorText.contains("there is no \(kind)/none"), "\(result.errorText)")
        // The advice can be followed.
        #expect(result.errorText.contains("ignite get \(plural)"), "\(result.errorText)")
        #expect(try await ignite("get", plural).status == 0)
      }
    }
  }

  @Test func objectsAreChosenByTheirFields() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "web")
      try await ignite.succeed("create", "--name", "db", "-m", "200m", Ignite.image, "sleep", "3600")
      try await ignite.succeed("volume", "create", "--size", "64m", "data")
      try await ignite.succeed("volume", "create", "--size", "32m", "logs")
      let uid = try await ignite.vm("db").uid
      for (selector, names) in [
        ("metadata.name=web", ["web"]), ("metadata.name!=web", ["db"]), ("status.phase==Running", ["web"]),
        ("status.phase!=Running", ["db"]), ("metadata.name=web,status.phase!=Running", []),
        ("spec.resources.memory=200MiB", ["db"]), ("metadata.uid=\(uid),spec.state=Stopped", ["db"]),
        ("spec.image.oci=\(Ignite.image),status.hypervisor=QEMU", ["web"]), ("status.exitCode=", ["db", "web"]),
        ("spec.kernel.oci=none", []),
      ] {
        let expected = names.map { "vm/\($0)" }.joined(separator: "\n")
        #expect(
          try await ignite.succeed("get", "vms", "--field-selector", selector, "-o", "name") == expected, "\(selector)")
        let table = try await ignite.succeed("get", "vms", "--field-selector", selector)
        let shown = table.split(separator: "\n").dropFirst().map { line in String(line.prefix { $0 != " " }) }
        #expect(shown == names, "\(selector): \(table)")
        let yaml = try await ignite.succeed("get", "vms", "--field-selector", selector, "-o", "yaml")
        let isWhole = names.allSatisfy { yaml.contains("\n  name: \($0)\n") }
        #expect(isWhole && names.isEmpty == yaml.isEmpty, "\(selector): \(yaml)")
      }
      let some = try await ignite.succeed("get", "volumes", "--field-selector", "spec.size=64MiB", "-o", "name")
      #expect(some == "volume/data")
      let starts = try await ignite.succeed(
        "get", "events", "--field-selector", "involvedObject.name=web,reason=start", "-o", "name")
      #expect(starts.hasPrefix("event/web.") && !starts.contains("\n"), "\(starts)")

      // What cannot be asked is refused by name, with what can.
      for (kind, selector, problems) in [
        ("vms", "status.phse=Running", ["\"status.phse\"", "did you mean status.phase?", "metadata.name, "]),
        ("volumes", "status.phase=x", ["\"status.phase\"", "spec.size"]), ("apps", "spec=x", ["status.ready"]),
        ("events", "spec.state=x", ["involvedObject.name"]), ("vms", "metadata.name", ["makes no sense"]),
        ("vms", "", ["makes no sense"]), ("vms", "metadata.name=a=b", ["makes no sense"]),
      ] {
        let wrong = try await ignite("get", kind, "--field-selector", selector)
        #expect(wrong.status == 1 && problems.allSatisfy(wrong.errorText.contains), "\(selector): \(wrong.errorText)")
      }
      #expect(try await ignite("get", "vm", "web", "--field-selector", "metadata.name=web").status != 0)

      // Followed: what comes among the chosen, and what leaves them, as it is then.
      let watch = try ignite.start("get", "vms", "-w", "--field-selector", "status.phase=Running")
      _ = try await watch.readOutput(until: "\nweb")
      _ = try await watch.readOutput(until: "\n")
      /// Until a line begins so: whatever else is written of a VM meanwhile is told, too.
      func told(_ words: String...) async throws {
        while true {
          let line = try await watch.readOutput(until: "\n").split(separator: " ").map(String.init)
          if line.starts(with: words) { return }
          try #require(!line.isEmpty, "the watch has ended")
        }
      }
      try await ignite.succeed("start", "db")
      try await told("db", "Running", "Running")
      // Its phase is what it leaves by; that it is wished so, too, may be written a moment later.
      try await ignite.succeed("pause", "web")
      try await told("web", "Paused")
      try await ignite.succeed("rm", "-f", "db")
      try await told("db")
      try watch.signal(SIGINT)
      _ = await watch.ended()
    }
  }

  @Test func objectsAreEdited() async throws {
    try await Ignite.with { ignite in
      try await makeScratch(ignite)
      _ = try await ignite.sleeper("--name", "web", "--restart", "always", "--label", "tier=web")
      let supervisor = try await ignite.vm("web").supervisor
      func inspected() async throws -> String { try await ignite.succeed("inspect", "web") }

      var result = try await edit(ignite, "vm/web", "sed -i 's/policy: Always/policy: OnFailure/'")
      #expect(result.status == 0 && result.text.contains("VM/web: changed"), "\(result.text) \(result.errorText)")
      #expect(try await inspected().contains("\"OnFailure\""))
      // What is taken out goes back to its default; nothing of this is what a manifest said.
      result = try await edit(
        ignite, "vm/web", "sed -i -e '/^  restart:/,+1d' -e '/tier: web/d' -e 's/^  labels:/  labels: {}/'")
      #expect(result.status == 0, "\(result.text) \(result.errorText)")
      var text = try await inspected()
      #expect(!text.contains("\"OnFailure\"") && !text.contains("tier") && !text.contains("last-applied"), "\(text)")
      #expect(try await ignite.vm("web").supervisor == supervisor)
      #expect(try await leftovers(ignite) == [])

      // What is wrong is told in the file, with the line that it has there.
      let mends = try script(
        ignite, "mends",
        """
        if [ -e "$0.seen" ]; then sed -i -e 's/^spek:/spec:/' "$1"
        else sed -i -e 's/^spec:/spek:/' -e 's/^spek:/spek:\\n  stopTimeout: 7s/' "$1"; fi
        cp "$1" "$0.last"
        [ -e "$0.seen" ] || { echo > "$0.seen"; exit 0; }
        """)
      let shows = try script(ignite, "shows", "cp \"$1\" \"$0.shown\"; exec \(mends) \"$1\"")
      result = try await edit(ignite, "vm/web", shows)
      #expect(result.status == 0, "\(result.text) \(result.errorText)")
      text = try await inspected()
      #expect(text.contains("\"stopTimeout\" : 7"), "\(text)")
      let shown = try String(contentsOfFile: shows + ".shown", encoding: .utf8)
      let line = shown.split(separator: "\n", omittingEmptySubsequences: false).firstIndex { $0 == "spek:" }
      #expect(shown.contains("# the edited object:\(try #require(line) + 1): spek: there is no such field"), "\(shown)")
      #expect(try await leftovers(ignite) == [])

      // Nothing comes of these, and what was typed is not lost.
      for (editor, problem) in [
        ("sed -i 's/name: web/name: other/'", "nothing was changed that mends"), ("sh -c 'exit 3' #", "ended with 3"),
        ("true", "no terminal"), ("/no/such/editor", "ended with 127"),
        ("sed -i 's/cpus: 1/cpus: 2/'", "is kept in"),
      ] {
        result = try await edit(ignite, "vm/web", editor)
        #expect(result.status == 1 && result.errorText.contains(problem), "\(editor): \(result.errorText)")
        let kept = try await leftovers(ignite)
        #expect(kept.count == 1 && result.errorText.contains("is kept in \(scratch(ignite))/\(kept[0])"), "\(kept)")
        let mode = try await Ignite.run(["stat", "-c", "%a", "\(scratch(ignite))/\(kept[0])"]).text
        #expect(mode == "600\n")
        if editor.contains("other") {
          let file = try await Ignite.run(["cat", "\(scratch(ignite))/\(kept[0])"]).text
          #expect(file.contains("an object's kind and name cannot be changed"), "\(file)")
        }
        if editor.contains("cpus") { #expect(result.text.contains("! VM/web"), "\(result.text)") }
        try await Ignite.run(Ignite.wrap + ["/bin/rm", "\(scratch(ignite))/\(kept[0])"])
      }
      result = try await edit(ignite, "vm/web", "truncate -s 0")
      #expect(result.status == 0 && result.errorText.contains("nothing was changed"), "\(result.errorText)")
      #expect(try await ignite.vms().map(\.name) == ["web"])

      // An application's parts follow.
      let app = """
        apiVersion: ignite.weave.works/v1beta1
        kind: App
        metadata: {name: shop}
        spec:
          objects:
          - {kind: Volume, name: a, spec: {size: 32MiB}}
          - {kind: Volume, name: b, spec: {size: 32MiB}}
        """
      #expect(try await run(ignite, "apply", "-y", manifest: app).status == 0)
      result = try await edit(ignite, "app/shop", "sed -i 's/name: b$/name: c/'")
      #expect(result.status == 0, "\(result.text) \(result.errorText)")
      #expect(try await ignite.succeed("volume", "ls", "-q") == "a\nc")
      #expect(try await leftovers(ignite) == [])
    }
  }

  @Test func manifestsAreCompared() async throws {
    try await Ignite.with { ignite in
      try await makeScratch(ignite)
      let scratch = ["TMPDIR": scratch(ignite)]
      func vm(_ labels: String, _ more: String = "", args: String = "3600") -> String {
        """
        apiVersion: ignite.weave.works/v1beta1
        kind: VM
        metadata: {name: web, labels: \(labels)}
        spec:
          image: {oci: \(Ignite.image)}
          state: Stopped
          process: {args: [sleep, "\(args)"]}
          \(more)
        """
      }
      let first = vm("{tier: web}", "restart: {policy: Always}")
      let volume =
        "\n---\napiVersion: ignite.weave.works/v1beta1\nkind: Volume\nmetadata: {name: new}\nspec: {size: 32MiB}\n"
      func lines(_ result: Program.Result) -> [String] {
        result.text.split(separator: "\n").map(String.init).filter {
          ($0.hasPrefix("+") || $0.hasPrefix("-")) && !$0.hasPrefix("+++") && !$0.hasPrefix("---")
        }
      }
      // All of it is new.
      var result = try await run(ignite, "diff", manifest: first, extra: scratch)
      #expect(result.status == 1 && lines(result).contains("+kind: VM"), "\(result.text) \(result.errorText)")
      #expect(lines(result).contains("+  name: web") && !result.text.contains("\n-kind"), "\(result.text)")
      #expect(try await ignite.vms().isEmpty)
      #expect(try await run(ignite, "apply", "-y", manifest: first).status == 0)
      result = try await run(ignite, "diff", manifest: first, extra: scratch)
      #expect(result.status == 0 && result.text == "", "\(result.text) \(result.errorText)")

      // A label, and a field that is said no more; what was set by hand stays.
      try await ignite.succeed("update", "--label", "by=hand", "web")
      result = try await run(ignite, "diff", manifest: vm("{tier: db}") + volume, extra: scratch)
      #expect(result.status == 1, "\(result.errorText)")
      #expect(result.text.contains("--- LIVE/VM.web") && result.text.contains("+++ MERGED/VM.web"), "\(result.text)")
      let web = lines(result).filter { !result.text.contains("MERGED/Volume.new") || !$0.hasPrefix("+kind") }
      for line in ["-    tier: web", "+    tier: db", "-  restart:", "-    policy: Always", "+  name: new"] {
        #expect(web.contains(line), "\(line): \(result.text)")
      }
      #expect(result.text.contains("     by: hand"), "\(result.text)")
      // What apply would not do is told, too; and what it would lose.
      result = try await run(
        ignite, "diff", manifest: vm("{tier: web}", "restart: {policy: Always}", args: "9"), extra: scratch)
      #expect(result.status == 1 && lines(result) == ["-    - \"3600\"", "+    - \"9\""], "\(result.text)")
      #expect(result.errorText.contains("VM/web differs in what cannot be changed"), "\(result.errorText)")
      result = try await run(
        ignite, "diff", manifest: vm("{tier: web}", "updatePolicy: Replace", args: "9"), extra: scratch)
      #expect(result.errorText.contains("VM/web would be replaced"), "\(result.errorText)")
      #expect(lines(result).contains("-    by: hand") && !result.text.contains("boot:  Auto"), "\(result.text)")
      #expect(try await ignite.vms().map(\.name) == ["web"])

      // Another program, and what goes wrong.
      for (name, program, status) in [
        ("IGNITE_EXTERNAL_DIFF", "ls -d", 0), ("KUBECTL_EXTERNAL_DIFF", "false", 1),
        ("IGNITE_EXTERNAL_DIFF", "/no/such", 2),
      ] {
        result = try await run(
          ignite, "diff", manifest: vm("{}"), extra: scratch.merging([name: program]) { $1 })
        #expect(result.status == status, "\(program): \(result.text) \(result.errorText)")
        if status == 0 { #expect(result.text == "LIVE\nMERGED\n") }
      }
      for words in [["diff", "-f", "/no/such"], ["diff", "web", "-f", "x"], ["diff", "-f", "-", "--format", "json"]] {
        let wrong = try await ignite(words)
        #expect(wrong.status == 2 && !wrong.errorText.isEmpty, "\(words): \(wrong.errorText)")
      }
      #expect(try await ignite("diff").status == 1)
      #expect(try await leftovers(ignite) == [])

      // Interrupted, it leaves nothing behind.
      let slow = try script(ignite, "slow", "echo shown; exec sleep 60")
      let command = ignite.command(
        ["diff", "-f", "-"], input: Array(vm("{}").utf8), extra: scratch.merging(["IGNITE_EXTERNAL_DIFF": slow]) { $1 })
      let running = try command.start()
      _ = running.feed(command.input)
      #expect(try await running.readOutput(until: "shown\n") == "shown\n")
      try running.signal(SIGINT)
      #expect(await running.ended() == 130)
      #expect(try await leftovers(ignite) == [])
    }
  }
}
