import Foundation
import Testing

/// What the fields of a Sync do, each by itself. VMs are brought about by the driver that does nothing.
@Suite(.timeLimit(.minutes(10))) struct SyncFields {
  private static let header = "apiVersion: ignite.weave.works/v1beta1\n"

  /// Runs `body` with a directory of manifests, a daemon, and a function that declares a sync of it.
  private func with(
    _ body: (Ignite, Manifests, DaemonProcess) async throws -> Void
  ) async throws {
    try await Ignite.with { ignite in
      let manifests = Manifests(path: ignite.folder + "/manifests", ignite: ignite)
      try manifests.make("")
      try await ignite.apply(
        Self.header + "kind: Directory\nmetadata: {name: here}\nspec: {path: \(manifests.path), interval: 1s}\n")
      try await DaemonProcess.with(ignite, extra: FleetRepository.nothing) { try await body(ignite, manifests, $0) }
    }
  }

  /// A directory whose files are written as they should be: under another name, and renamed.
  private struct Manifests {
    let path: String
    let ignite: Ignite

    func make(_ folder: String) throws {
      try FileManager.default.createDirectory(atPath: "\(path)/\(folder)", withIntermediateDirectories: true)
    }

    func write(_ name: String, _ text: String) throws {
      try Data(text.utf8).write(to: URL(filePath: "\(path)/\(name)"), options: .atomic)
    }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }

    /// - Parameter fields: YAML in flow style, each with a comma before it.
    func sync(_ name: String, _ fields: String = "", annotations: String = "") async throws {
      try await ignite.apply(
        SyncFields.header + """
          kind: Sync
          metadata: {name: \(name), annotations: {\(annotations)}}
          spec: {sourceRef: {kind: Directory, name: here}, path: \(name), interval: 1s\(fields)}
          """)
    }
  }

  private static func map(_ name: String, _ data: String = "a: b", annotations: String = "") -> String {
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \(name), annotations: {\(annotations)}}\ndata: {\(data)}\n"
  }

  private func data(_ ignite: Ignite, _ map: String) async throws -> String {
    try await ignite.succeed("get", "configmap", map, "-o", "yaml")
  }

  @Test func dependsOnWaitsForOthers() async throws {
    try await with { ignite, manifests, _ in
      try manifests.make("first")
      try manifests.make("second")
      try manifests.write("first/x.yaml", Self.map("one").replacing("data:", with: "dato:"))
      try manifests.write("second/x.yaml", Self.map("two"))
      try await manifests.sync("second", ", dependsOn: [{name: first}]")
      try await ignite.gitOps("it depends on Sync/first, which is not there")
      try await manifests.sync("first")
      try await ignite.gitOps("BadRevision", "it depends on Sync/first, which is not ready")
      #expect(try await ignite("get", "configmap", "two").status == 1)
      try manifests.write("first/x.yaml", Self.map("one"))
      while try await ignite("get", "configmap", "two").status != 0 { try Task.checkCancellation() }
      #expect(
        try await ignite.succeed("events", "--since", "5m", "--until", "0s", "--filter", "event=applied").contains(
          "second"))
    }
  }

  @Test func aFailureIsTriedAgainAfterItsOwnInterval() async throws {
    try await with { ignite, manifests, _ in
      try manifests.make("web")
      try manifests.write("web/x.yaml", Self.map("one", "a: ${VALUE}"))
      // Nothing but the retry can find the value: the interval is an hour, and the directory is left alone.
      try await ignite.apply(
        Self.header + """
          kind: Sync
          metadata: {name: web}
          spec: {sourceRef: {kind: Directory, name: here}, path: web, interval: 1h, retryInterval: 1s,
            postBuild: {substituteFrom: [{kind: ConfigMap, name: values}]}}
          """)
      try await ignite.gitOps("postBuild.substituteFrom: there is no ConfigMap/values")
      try await ignite.apply(Self.map("values", "VALUE: found"))
      try await ignite.gitOps("1/1", "Ready")
      #expect(try await data(ignite, "one").contains("a: found"))
    }
  }

  @Test func valuesComeFromConfigurationInTheirOrder() async throws {
    try await with { ignite, manifests, _ in
      try await ignite.apply(Self.map("plain", "ONE: map, TWO: map, THREE: map"))
      try await ignite.apply(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: hidden}\nstringData: {TWO: secret, THREE: secret}\n")
      try manifests.make("web")
      try manifests.write(
        "web/x.yaml",
        Self.map("all", "one: ${ONE}, two: ${TWO}, three: ${THREE}, four: '${FOUR:-none}', five: '$${FIVE}'"))
      try await manifests.sync(
        "web",
        """
        , postBuild: {substitute: {THREE: sync}, substituteFrom: [{kind: ConfigMap, name: plain}, {kind: Secret, name: hidden},
          {kind: ConfigMap, name: absent, optional: true}]}
        """)
      try await ignite.gitOps("1/1", "Ready")
      let text = try await data(ignite, "all")
      for pair in ["one: map", "two: secret", "three: sync", "four: none", "five: \"${FIVE}\""] {
        #expect(text.contains(pair), "\(text)")
      }
    }
  }

  @Test func commonMetadataStandsOnAll() async throws {
    try await with { ignite, manifests, _ in
      try manifests.make("web")
      try manifests.write("web/map.yaml", Self.map("one"))
      try manifests.write("web/vm.yaml", FleetRepository.vm("web"))
      try await manifests.sync("web", ", commonMetadata: {labels: {team: blue}, annotations: {example.org/owner: ann}}")
      try await ignite.gitOps("2/2", "Ready")
      let vms = try await ignite.succeed("get", "vms", "-l", "team=blue", "-o", "yaml")
      #expect(vms.contains("name: web") && vms.contains("example.org/owner: ann"), "\(vms)")
      #expect(try await ignite.succeed("get", "configmaps", "-l", "team=blue", "-o", "name").contains("one"))
    }
  }

  @Test func forceReplacesWhatCannotBeChanged() async throws {
    try await with { ignite, manifests, _ in
      func vm(_ seconds: Int) -> String {
        FleetRepository.vm("web", seconds: seconds).replacing("  updatePolicy: Replace\n", with: "")
      }
      try manifests.make("web")
      try manifests.write("web/vm.yaml", vm(3600))
      try await manifests.sync("web")
      try await ignite.gitOps("1/1", "Ready")
      let uid = try await ignite.vm("web").uid
      try manifests.write("web/vm.yaml", vm(7200))
      // Pending is told, and is no failure.
      while true {
        let status = try await ignite.succeed("get", "sync", "web", "-o", "yaml")
        if status.contains("pending: VM/web") { break }
        try Task.checkCancellation()
      }
      #expect(try await ignite.vm("web").uid == uid)
      try await manifests.sync("web", ", force: true")
      while try await ignite("inspect", "web").text.contains(uid) { try Task.checkCancellation() }
      try await ignite.gitOps("1/1", "Ready")
      #expect(try await ignite.succeed("inspect", "web").contains("7200"))
    }
  }

  @Test func driftIsToldWithItsDifferenceAndOnlyToldWhereThatIsThePolicy() async throws {
    try await with { ignite, manifests, daemon in
      try manifests.make("web")
      try manifests.write("web/vm.yaml", FleetRepository.vm("web") + "\n  stopTimeout: 5s\n")
      try manifests.write("web/map.yaml", Self.map("one", "a: declared"))
      try await manifests.sync("web", ", driftPolicy: Report")
      try await ignite.gitOps("2/2", "Ready")
      try await ignite.succeed("update", "--stop-timeout", "77", "web")
      try await ignite.succeed("update", "--label", "by=hand", "web")
      try await ignite.gitOps("not as declared: VM/web")
      func events() async throws -> String {
        try await ignite.succeed("events", "--since", "5m", "--until", "0s", "--filter", "event=drift")
      }
      let first = try await events()
      #expect(first.contains("spec.stopTimeout = 77 -> 5"), "\(first)")
      let plan = try await ignite.succeed("gitops", "plan", "web")
      #expect(plan.contains("spec.stopTimeout"), "\(plan)")
      try await daemon.logged("objects are not as they are declared, and are left so")
      #expect(try await ignite.succeed("inspect", "web").contains("\"stopTimeout\" : 77"))
      // Told once, and not again each second.
      let told = try await events().split(separator: "\n").count
      try await daemon.metric("ignite_gitops_runs_total{kind=\"Sync\",outcome=\"drifted\"} 4")
      #expect(try await events().split(separator: "\n").count == told)
      // By hand it is brought back, and then by the policy.
      try await ignite.succeed("gitops", "sync", "web")
      #expect(try await ignite.succeed("inspect", "web").contains("\"stopTimeout\" : 5"))
      try await manifests.sync("web", ", driftPolicy: Correct")
      try await ignite.succeed("update", "--stop-timeout", "78", "web")
      while try await ignite.succeed("inspect", "web").contains("\"stopTimeout\" : 78") { try Task.checkCancellation() }
      try await ignite.gitOps("2/2", "Ready")
    }
  }

  @Test func whatIsNotToBePrunedStays() async throws {
    try await with { ignite, manifests, _ in
      try manifests.make("web")
      let keys = ["ignite.weave.works/prune: disabled", "kustomize.toolkit.fluxcd.io/prune: disabled", ""]
      for (number, key) in keys.enumerated() {
        try manifests.write("web/\(number).yaml", Self.map("map-\(number)", annotations: key))
      }
      for number in 3..<8 { try manifests.write("web/\(number).yaml", Self.map("map-\(number)")) }
      try await manifests.sync("web")
      try await ignite.gitOps("8/8", "Ready")
      for number in 0..<3 { try manifests.remove("web/\(number).yaml") }
      try await ignite.gitOps("5/5", "Ready")
      for number in 0..<3 {
        #expect(try await ignite("get", "configmap", "map-\(number)").status == (number == 2 ? 1 : 0))
      }
      // None of it, where the sync says so.
      try await manifests.sync("web", ", prune: false")
      try manifests.remove("web/3.yaml")
      try await ignite.gitOps("4/4", "Ready")
      #expect(try await ignite("get", "configmap", "map-3").status == 0)
      // With the sync, too.
      try await ignite.succeed("delete", "sync/web", "--yes")
      #expect(try await ignite("get", "configmap", "map-5").status == 0)
    }
  }

  @Test func healthIsThatOfWhatIsNamed() async throws {
    try await with { ignite, manifests, _ in
      try manifests.make("web")
      try manifests.write("web/vm.yaml", FleetRepository.vm("web"))
      try manifests.write(
        "web/lost.yaml", FleetRepository.vm("lost").replacing(Ignite.image, with: "localhost:1/none:1"))
      try await manifests.sync("web", ", timeout: 20s, retryInterval: 1s")
      // The image of one cannot be had: that is told of it, and the other one runs.
      try await ignite.gitOps("Failed", "VM/lost")
      #expect(try await ignite.vm("web").phase == "Running")
      try manifests.write(
        "web/lost.yaml", FleetRepository.vm("lost").replacing("spec:\n", with: "spec:\n  state: Stopped\n"))
      try await manifests.sync("web", ", healthChecks: [{kind: VM, name: web}]")
      try await ignite.gitOps("2/2", "Ready")
      // One that is named and not there is waited for.
      try await manifests.sync("web", ", timeout: 2s, retryInterval: 1s, healthChecks: [{kind: VM, name: nobody}]")
      try await ignite.gitOps("VM/nobody")
      try await manifests.sync("web", ", wait: false")
      try await ignite.gitOps("2/2", "Ready")
      let refused = try await ignite(
        ["apply", "-y", "-f", "-"],
        input: Array(
          (Self.header + """
            kind: Sync
            metadata: {name: web}
            spec: {sourceRef: {kind: Directory, name: here}, targetNamespace: other}
            """).utf8))
      #expect(refused.status == 1 && refused.errorText.contains("targetNamespace"), "\(refused.errorText)")
    }
  }

  /// The directory that a daemon is told to watch needs no declaration.
  @Test func aDirectoryOfManifestsIsKept() async throws {
    try await Ignite.with { ignite in
      let folder = ignite.folder + "/manifests"
      let manifests = Manifests(path: folder, ignite: ignite)
      let relative = try DaemonProcess.launch(ignite, ["--manifests", "manifests"])
      #expect(await relative.ended() == 1)
      try await DaemonProcess.with(ignite, "--manifests", folder, extra: FleetRepository.nothing) { daemon in
        try await ignite.gitOps("Directory/manifests: ", folder)
        try manifests.make("deep")
        // As Weave Ignite's daemon had it, in one of its versions.
        try manifests.write(
          "deep/smoke.yaml",
          """
          apiVersion: ignite.weave.works/v1alpha4
          kind: VM
          metadata: {name: smoke}
          spec:
            image: {oci: \(Ignite.image)}
            cpus: 1
            memory: 128MB
          status: {running: true}
          """)
        try await ignite.gitOps("manifests", "1/1", "Ready")
        #expect(try await ignite.vm("smoke").phase == "Running")
        try manifests.write("other.yaml", FleetRepository.vm("other"))
        try await ignite.gitOps("2/2", "Ready")
        try manifests.remove("deep/smoke.yaml")
        try await ignite.gitOps("1/1", "Ready")
        #expect(try await ignite.vms().map(\.name) == ["other"])
        // All of it gone may be a disk that is not mounted.
        try manifests.remove("")
        try await ignite.gitOps("Directory/manifests: ", "1/1")
        #expect(try await ignite.vm("other").phase == "Running")
        try await daemon.logged("manifests are kept from now on")
      }
      // What somebody has made of it stays.
      try await ignite.succeed("gitops", "suspend", "manifests")
      try await DaemonProcess.with(ignite, "--manifests", folder, extra: FleetRepository.nothing) { _ in
        try await ignite.gitOps("manifests", "Suspended")
      }
    }
  }
}
