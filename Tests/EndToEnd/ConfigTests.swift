import FoundationEssentials
import Glibc
import Testing

/// ConfigMaps, Secrets and single files, as VMs have them.
@Suite(.timeLimit(.minutes(10))) struct Configured {
  private func run(_ ignite: Ignite, _ words: String..., manifest: String) async throws -> Program.Result {
    try await ignite(words + ["-f", "-"], input: Array(manifest.utf8))
  }

  private func manifests(level: String = "info", password: String = "hunter2", policy: String = "InPlace") -> String {
    """
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: web}
    data:
      app.conf: |
        level = \(level)
      LEVEL: \(level)
      not-a-name: x
    binaryData: {blob: "\(Data((0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }).base64EncodedString())"}
    ---
    apiVersion: v1
    kind: Secret
    metadata: {name: db}
    stringData: {password: \(password), user: shop}
    ---
    apiVersion: ignite.weave.works/v1beta1
    kind: VM
    metadata: {name: web}
    spec:
      image: {oci: \(Ignite.image)}
      resources: {memory: 256MiB}
      restart: {policy: Always}
      updatePolicy: \(policy)
      process:
        args: [sh, -c, "cat /etc/web/app.conf; exec sleep 86400"]
        env: [OWN=1]
        envFrom:
        - configMap: {name: web}
        - {secret: {name: db}, prefix: DB_, variables: {PASSWORD: password}}
        - secret: {name: none, optional: true}
      volumes:
      - {mountPath: /etc/web, configMap: {name: web}}
      - {mountPath: /run/secrets/db, secret: {name: db, mode: "0400", owner: "1000:1000", items: [{key: password, path: deep/er}]}}
      files:
      - {path: /srv/new/dir/motd, content: "hello\\n", mode: "0640"}
      - {path: /etc/passwd.txt, secret: {name: db, key: user}}
    """
  }

  @Test func filesAndVariables() async throws {
    try await Ignite.with { ignite in
      let applied = try await run(ignite, "apply", "--yes", manifest: manifests())
      #expect(applied.status == 0, "\(applied.text) \(applied.errorText)")
      #expect(!applied.text.contains("hunter2") && !applied.text.contains("aHVudGVyMg"), "\(applied.text)")
      // They were there before the process was.
      // It runs, and may not have written yet.
      while try await ignite.succeed("logs", "web").isEmpty { try Task.checkCancellation() }
      #expect(try await ignite.succeed("logs", "web") == "level = info")
      let script = """
        cat /etc/web/app.conf; echo $LEVEL $DB_PASSWORD $OWN; ls /etc/web; cat /srv/new/dir/motd
        stat -c '%a %u:%g' /run/secrets/db/deep/er /srv/new/dir/motd /srv/new/dir; cat /run/secrets/db/deep/er; echo
        cat /etc/passwd.txt; echo; env | grep -c not-a-name; stat -f -c %T /run/secrets/db
        """
      let blob = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      #expect(try await ignite("exec", "web", "cat", "/etc/web/blob").output == blob)
      let shown = try await ignite.succeed("exec", "web", "sh", "-c", script)
      #expect(
        shown.split(separator: "\n").map(String.init) == [
          "level = info", "info hunter2 1", "LEVEL", "app.conf", "blob", "not-a-name", "hello", "400 1000:1000",
          "640 0:0", "755 0:0", "hunter2", "shop", "0", "tmpfs",
        ], "\(shown)")
      #expect(try await run(ignite, "plan", manifest: manifests()).text.contains("No changes"))

      // A start by policy brings them again.
      try await ignite.succeed("exec", "web", "rm", "/etc/web/app.conf")
      kill(try #require(try await ignite.vm("web").hypervisor), SIGKILL)
      while try await ignite("exec", "web", "cat", "/etc/web/app.conf").text != "level = info\n" {
        try Task.checkCancellation()
      }

      // What has changed since its start is there with the next one, and nobody is left in the dark.
      let changed = manifests(level: "debug", password: "other")
      let planned = try await run(ignite, "plan", manifest: changed)
      #expect(planned.text.contains("data.LEVEL    = \"info\" -> \"debug\""), "\(planned.text)")
      #expect(planned.text.contains("data.password   # a secret's") && !planned.text.contains("other"))
      #expect(planned.text.contains("! VM/web differs") && planned.text.contains("ignite restart web"))
      let json = try await run(ignite, "plan", "-o", "json", manifest: changed)
      #expect(!json.text.contains("b3RoZXI"), "\(json.text)")
      let different = try await run(ignite, "diff", manifest: changed)
      #expect(different.text.contains("***") && !different.text.contains("b3RoZXI"), "\(different.text)")
      #expect(try await run(ignite, "apply", "--yes", manifest: changed).status == 1)
      #expect(
        try await ignite.succeed("exec", "web", "sh", "-c", "cat /etc/web/app.conf; echo $LEVEL")
          == "level = info\ninfo")
      try await ignite.succeed("restart", "-t", "1", "web")
      let now = try await ignite.succeed("exec", "web", "sh", "-c", "cat /etc/web/app.conf; echo $LEVEL $DB_PASSWORD")
      #expect(now == "level = debug\ndebug other")
      #expect(try await run(ignite, "plan", manifest: changed).text.contains("No changes"))
      // With updatePolicy: Replace another VM takes its place.
      let third = manifests(level: "warn", password: "other", policy: "Replace")
      let replaced = try await run(ignite, "apply", "--yes", manifest: third)
      #expect(replaced.status == 0 && replaced.text.contains("VM/web: replaced"), "\(replaced.text)")
      #expect(try await ignite.succeed("exec", "web", "cat", "/etc/web/app.conf") == "level = warn")

      #expect(try await ignite.succeed("get", "configmaps").contains("web"))
      let described = try await ignite.succeed("describe", "secret/db")
      #expect(described.contains("password: 5 bytes") && !described.contains("other"), "\(described)")
      let printed = try await ignite.succeed("get", "secret", "db", "-o", "yaml")
      #expect(printed.contains("password: b3RoZXI") || printed.contains("password: \"b3RoZXI="), "\(printed)")
      #expect(!printed.contains("hunter2"))
      let again = try await run(ignite, "apply", "--yes", manifest: printed)
      #expect(again.status == 0 && again.text.contains("No changes"), "\(again.text) \(again.errorText)")
      let gone = try await run(ignite, "delete", "--yes", manifest: third)
      #expect(gone.status == 0, "\(gone.errorText)")
      #expect(try await ignite.succeed("get", "secrets").split(separator: "\n").count == 1)
    }
  }

  @Test func whatIsNotThereIsNamed() async throws {
    try await Ignite.with { ignite in
      func vm(_ spec: String) -> String {
        """
        apiVersion: ignite.weave.works/v1beta1
        kind: VM
        metadata: {name: x}
        spec: {image: {oci: \(Ignite.image)}, \(spec)}
        """
      }
      for (spec, words) in [
        (
          "volumes: [{mountPath: /a, configMap: {name: no}}]",
          "there is no ConfigMap/no, which the VM \"x\" is given at /a"
        ),
        ("process: {envFrom: [{secret: {name: no}}]}", "there is no Secret/no"),
        ("files: [{path: a, content: x}]", "cannot be the path of a file"),
        ("files: [{path: /a/../b, content: x}]", "cannot be the path of a file"),
        ("files: [{path: /a}]", "the file /a has 0 sources"),
        ("files: [{path: /a, content: x, mode: \"9\"}]", "is no octal number"),
        ("files: [{path: /a, content: x, owner: root}]", "is no pair of numbers"),
        ("volumes: [{mountPath: /a}]", "nothing is to be mounted at /a"),
        ("process: {envFrom: [{}]}", "one ConfigMap or one Secret each"),
        ("files: [{path: /proc/x/y, content: x}]", "its files could not be written"),
      ] {
        let result = try await run(ignite, "apply", "--yes", manifest: vm(spec))
        #expect(result.status == 1 && result.errorText.contains(words), "\(spec): \(result.errorText)")
        _ = try await ignite("delete", "vm/x", "--yes")
      }
      let immutable = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: i}\nimmutable: true\ndata: {a: \"1\"}\n"
      #expect(try await run(ignite, "apply", "--yes", manifest: immutable).status == 0)
      let refused = try await run(ignite, "apply", "--yes", manifest: immutable.replacing("\"1\"", with: "\"2\""))
      #expect(refused.status == 1 && refused.errorText.contains("is immutable"), "\(refused.errorText)")
    }
  }

  @Test func imagesAndKernels() async throws {
    try await Ignite.with { ignite in
      let layout = try await TestImage.layout()
      let text = """
        apiVersion: ignite.weave.works/v1beta1
        kind: VM
        metadata: {name: x}
        spec: {image: {oci: tools}, state: Stopped}
        ---
        apiVersion: ignite.weave.works/v1beta1
        kind: Image
        metadata: {name: tools, labels: {app: shop}}
        spec: {oci: "oci:\(layout):test"}
        """
      let applied = try await run(ignite, "apply", "--yes", manifest: text)
      #expect(applied.status == 0, "\(applied.text) \(applied.errorText)")
      #expect(try await ignite.succeed("image", "ls", "-q", "tools").isEmpty == false)
      #expect(
        try await ignite.succeed("get", "images", "-l", "app=shop", "-o", "name")
          == "image/docker.io/library/tools:latest")
      #expect(try await run(ignite, "plan", manifest: text).text.contains("No changes"))
      // Its last name.
      try await ignite.succeed("image", "rm", Ignite.image)
      let used = try await ignite("delete", "image/tools", "--yes")
      #expect(used.status == 1 && used.errorText.contains("is used by the VM x"), "\(used.errorText)")
      let printed = try await ignite.succeed("get", "image", "tools", "-o", "yaml")
      #expect(try await run(ignite, "plan", manifest: printed).text.contains("No changes"), "\(printed)")
      #expect(try await ignite.succeed("describe", "image/tools").contains("oci:\(layout):test"))
      let gone = try await run(ignite, "delete", "--yes", manifest: text)
      #expect(gone.status == 0, "\(gone.errorText)")
      #expect(try await ignite.succeed("image", "ls", "-q", "tools") == "")

      let kernel = try await ignite.succeed("get", "kernels", "-o", "name").split(separator: "\n").count
      #expect(kernel == 1)
      let wrong = try await run(
        ignite, "apply", "--yes",
        manifest: """
          apiVersion: ignite.weave.works/v1beta1
          kind: Kernel
          metadata: {name: mine}
          spec: {oci: /no/such/file}
          """)
      #expect(wrong.status == 1 && wrong.errorText.contains("/no/such/file"), "\(wrong.errorText)")
      #expect(try await ignite.succeed("get", "kernels", "-o", "name").split(separator: "\n").count == 1)
    }
  }
}
