import Foundation
import IgniteSystem
import Testing

@testable import IgniteAPI

@Suite struct ManifestTests {
  private static let head = "apiVersion: ignite.weave.works/v1beta1\nkind: VM\nmetadata: {name: web}\n"

  private static let all = """
    spec:
      image: {oci: nginx, pullPolicy: Always}
      kernel: {oci: "own:1"}
      hypervisor: QEMU
      state: Paused
      restart: {policy: OnFailure, max: 3}
      updatePolicy: Replace
      resources: {cpus: 2, memory: 1GiB, disk: 10Gi}
      process: {boot: Process, command: [sh], args: ["-c", 'echo 1'], env: [A=1], workingDir: /tmp, user: "1:1", tty: yes}
      network: {ports: [{vm: 80}, {address: 127.0.0.1, host: 8080, vm: 81, protocol: UDP}]}
      hostname: box
      logs: {maxSize: 1MiB, maxFiles: 3}
      health: {test: [CMD, "true"], interval: 1m30s, timeout: 500ms, retries: 2}
      stopSignal: USR1
      stopTimeout: 20s
      cold: true
      limits: {cpuMillis: 500, devices: [{path: /dev/sda, readBytes: 1MiB}]}
      volumes:
        - {mountPath: /data, volume: {name: data}}
        - {mountPath: /tmp, readOnly: true, tmpfs: {size: 64MiB}}
    """

  private func vm(_ spec: String) throws -> VMSpec {
    let manifests = try ManifestReader.read(Self.head + spec, file: "web.yaml")
    let first = try #require(manifests.first)
    return try first.spec(over: VMSpec(image: VMSpec.Image(oci: "")))
  }

  @Test func allOfItIsRead() throws {
    let spec = try vm(Self.all)
    #expect(spec.image.pullPolicy == .always && spec.kernel?.oci == "own:1" && spec.state == .paused)
    #expect(spec.restart == VMSpec.Restart(policy: .onFailure, max: 3) && spec.updatePolicy == .replace)
    #expect(spec.resources.cpus == 2 && spec.resources.memory == .gibibytes(1) && spec.resources.disk == .gibibytes(10))
    #expect(
      spec.process.command == ["sh"] && spec.process.args == ["-c", "echo 1"] && spec.process.tty && !spec.process.stdin
    )
    #expect(spec.network.ports[0] == VMSpec.Port(address: "", host: 0, vm: 80, protocol: "TCP"))
    #expect(spec.network.ports[1].protocol == "UDP" && spec.network.ports[1].host == 8080)
    #expect(spec.health?.interval == 90_000 && spec.health?.timeout == 500 && spec.stopTimeout == 20)
    #expect(spec.limits?.devices?.first?.readBytes == .mebibytes(1))
    #expect(spec.volumes?.count == 2 && spec.volumes?[0].volume?.name == "data" && spec.volumes?[1].readOnly == true)
  }

  @Test func whatIsWrittenIsReadBack() throws {
    let spec = try vm(Self.all)
    var vm = VM(
      metadata: ObjectMeta(name: "web", labels: ["a": "true", "b": "1.5", "c": "x: y", "d": "- z"]), spec: spec)
    vm.metadata.uid = "0123456789012345"
    let text = try ManifestWriter.yaml([try ManifestWriter.manifest(of: vm, kind: VM.kind)])
    let read = try #require(try ManifestReader.read(text, file: "written").first, "\(text)")
    #expect(read.labels == vm.metadata.labels && read.name == "web")
    let again: VMSpec = try read.spec(over: VMSpec(image: VMSpec.Image(oci: "")))
    #expect(again == spec, "\(text)")
  }

  @Test func whatIsNotSaidIsTheDefault() throws {
    let spec = try vm("spec: {image: {oci: nginx}}")
    #expect(spec == VMSpec(image: VMSpec.Image(oci: "nginx")))
  }

  /// Every field of the type is in the schema, and no other: the type's own names, taken from a spec that has all of them.
  @Test func theSchemaIsTheTypes() throws {
    var spec = VMSpec(image: VMSpec.Image(oci: "x"))
    spec.kernel = VMSpec.Kernel(oci: "x")
    (spec.hostname, spec.stopSignal, spec.stopTimeout, spec.cold) = ("x", "x", 1, true)
    spec.reclaimMemory = true
    (spec.restart, spec.updatePolicy) = (VMSpec.Restart(), .replace)
    spec.logs = VMSpec.Logs(maxSize: .mebibytes(1), maxFiles: 1)
    (spec.process.command, spec.process.args, spec.process.workingDir, spec.process.user) = ([], [], "x", "x")
    var health = VMSpec.Health()
    (health.test, health.interval, health.timeout, health.startPeriod, health.startInterval) = ([], 1, 1, 1, 1)
    (health.retries, health.endsUnhealthy) = (1, true)
    spec.health = health
    var limits = VMSpec.Limits()
    (limits.cpuMillis, limits.cpuShares, limits.ioWeight) = (10, 2, 10)
    var device = VMSpec.Limits.Device(path: "x")
    (device.readBytes, device.writeBytes, device.readOperations, device.writeOperations) =
      (.mebibytes(1), .mebibytes(1), 1, 1)
    limits.devices = [device]
    spec.limits = limits
    spec.network.ports = [VMSpec.Port(address: "x", host: 1, vm: 1, protocol: "TCP")]
    var mount = VolumeMount(mountPath: "x")
    mount.volume = VolumeMount.Named(name: "x", noCopy: true)
    (mount.hostPath, mount.blockDevice) = (.init(path: "x"), .init(path: "x"))
    var memory = VolumeMount.Temporary()
    (memory.size, memory.mode, memory.options) = (.mebibytes(1), "x", [])
    mount.tmpfs = memory
    var given = ConfigFiles(name: "x")
    (given.items, given.mode, given.owner, given.optional) = ([.init(key: "x", path: "x")], "x", "x", true)
    (mount.configMap, mount.secret) = (given, given)
    var file = GivenFile(path: "x")
    (file.content, file.mode, file.owner) = ("x", "x", "x")
    (file.configMap, file.secret) = (
      .init(name: "x", key: "x", optional: true), .init(name: "x", key: "x", optional: true)
    )
    spec.files = [file]
    var variables = ConfigVariables()
    (variables.configMap, variables.secret) = (.init(name: "x", optional: true), .init(name: "x", optional: true))
    (variables.prefix, variables.variables) = ("x", [:])
    spec.process.envFrom = [variables]
    spec.volumes = [mount]
    let value = try JSONValue.parse(Array(try APICoding.encoder().encode(spec)))
    // The command line's alone: a VM that goes with its process is nobody's declared object.
    let own: Set<String> = ["spec.autoRemove"]
    #expect(Set(names(value, "spec")).subtracting(own) == Set(names(KindSchema.vm.spec, "spec")))
  }

  private func names(_ value: JSONValue, _ path: String) -> [String] {
    switch value {
    case .object(let fields): fields.flatMap { ["\(path).\($0.key)"] + names($0.value, "\(path).\($0.key)") }
    case .array(let items): items.flatMap { names($0, path) }
    default: []
    }
  }

  private func names(_ fields: [Field], _ path: String) -> [String] {
    fields.flatMap { field in
      let name = "\(path).\(field.name)"
      return switch field.shape {
      case .record(let inner), .list(.record(let inner)): [name] + names(inner, name)
      default: [name]
      }
    }
  }

  @Test(
    arguments: [
      (
        "spec: {image: {oci: x}, resources: {memoy: 1GiB}}", "web.yaml:4: spec.resources.memoy: there is no such field",
        "memory"
      ),
      ("spec: {image: {oci: x}, state: running}", "\"running\" is not one of Running, Stopped, Paused", "Running"),
      ("spec: {image: {oci: x}, resources: {memory: 1GB}}", "it is not a size", nil),
      ("spec: {image: {oci: x}, resources: {cpus: 33}}", "a whole number from 1 to 32", nil),
      ("spec: {image: {oci: x}, resources: {cpus: 1.5}}", "a whole number", nil),
      ("spec: {image: {oci: x}, stopTimeout: 20}", "it is not a span of time", nil),
      ("spec: {image: {oci: x}, process: {args: -c}}", "spec.process.args: it is not a list", nil),
      ("spec: {image: {oci: x}, network: {ports: [{host: 80}]}}", "spec.network.ports[0].vm: it is missing", nil),
      ("spec: {image: {oci: x}, cold: 1}", "it is not true or false", nil),
      ("spec: {}", "spec.image: it is missing", nil),
      ("spec: [", "it is not YAML", nil),
      ("spec: {image: {oci: x, oci: y}}", "stands twice", nil),
      ("status: {}", "spec: it is missing", nil),
      ("spec: {image: {oci: x}}\nsepc: {}", "sepc: there is no such field", "spec"),
      ("spec: {image: {oci: x}}\n---\napiVersion: v1\nkind: Pod", "(document 2): apiVersion: \"v1\" is not known", nil),
    ] as [(String, String, String?)])
  func whatIsWrongIsNamed(_ text: String, _ problem: String, _ hint: String?) {
    let error = #expect(throws: ManifestError.self) { try ManifestReader.read(Self.head + text, file: "web.yaml") }
    #expect(error?.message.contains(problem) == true, "\(error?.message ?? "")")
    if let hint { #expect(error?.advice?.contains(hint) == true, "\(error?.advice ?? "")") }
  }

  @Test func whatIsTooMuchIsRefused() {
    let small = """
      apiVersion: ignite.weave.works/v1beta1
      kind: VM
      metadata: {name: web, labels: {}}
      spec: {image: {oci: x}, process: {env: &a [a, a, a, a, a, a, a, a, a, a]}}
      """
    let list = (1...8).reduce("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n") { text, i in
      text + "a\(i): &a\(i) [" + Array(repeating: "*a\(i - 1)", count: 10).joined(separator: ", ") + "]\n"
    }
    for text in [
      String(repeating: "#", count: (4 << 20) + 1), String(repeating: "[", count: 100_000),
      String(repeating: "- ", count: 50_000),
      list, Self.head + "spec: {image: {oci: x}, process: {env: [" + String(repeating: "a, ", count: 100_001) + "a]}}",
      String(repeating: "---\n" + Self.head + "spec: {image: {oci: x}}\n", count: 10_001),
    ] {
      #expect(throws: ManifestError.self) { try ManifestReader.read(text, file: "big.yaml") }
    }
    #expect(throws: Never.self) { try ManifestReader.read(small, file: "small.yaml") }
    // A few kilobytes that are each of the schema's form, and together 200,000 values.
    let vm =
      "{kind: VM, name: a, spec: {image: {oci: x}, process: {env: ["
      + Array(repeating: "a", count: 1000).joined(separator: ", ") + "]}}}"
    let exploding = """
      apiVersion: ignite.weave.works/v1beta1
      kind: App
      metadata: {name: shop}
      spec: {objects: [&a \(vm), \(Array(repeating: "*a", count: 200).joined(separator: ", "))]}
      """
    let error = #expect(throws: ManifestError.self) { try ManifestReader.read(exploding, file: "big.yaml") }
    #expect(error?.message.contains("those that anchors repeat") == true, "\(error?.message ?? "")")
  }

  @Test(arguments: [("\"57\"", Int64(57)), ("57", 57), ("\"\"", nil)])
  func theVersionIsRead(_ text: String, _ version: Int64?) throws {
    let manifest = try ManifestReader.read(
      """
      apiVersion: ignite.weave.works/v1beta1
      kind: Volume
      metadata: {name: data, resourceVersion: \(text), uid: 0123456789abcdef}
      spec: {size: 1GiB}
      """, file: "data.yaml"
    ).first
    #expect(manifest?.resourceVersion == version && (manifest?.uid == nil) == (version == nil))
  }

  @Test func documentsOfJSONAndSeveralInAFile() throws {
    let json =
      #"{"apiVersion":"ignite.weave.works/v1beta1","kind":"Volume","metadata":{"name":"data"},"spec":{"size":"1GiB"}}"#
    #expect(try ManifestReader.read(json, file: "a.json").map(\.title) == ["Volume/data"])
    let several = "---\n\(json)\n---\n---\n" + Self.head + "spec: {image: {oci: x}}\n"
    #expect(try ManifestReader.read(several, file: "a").map(\.title) == ["Volume/data", "VM/web"])
    #expect(try ManifestReader.read("", file: "a").isEmpty)
  }
}

/// Manifests damaged at random: read, or refused with their file's name; nothing traps. FUZZ_SECONDS, FUZZ_SEED.
@Suite struct ManifestFuzz {
  @Test func damagedOnesAreReadOrRefused() throws {
    let variables = ProcessInfo.processInfo.environment
    let end = Date().addingTimeInterval(variables["FUZZ_SECONDS"].flatMap(Double.init) ?? 3)
    var seed = variables["FUZZ_SEED"].flatMap(UInt64.init) ?? .random(in: 0...1 << 32)
    let current =
      """
      apiVersion: ignite.weave.works/v1beta1
      kind: VM
      metadata: {name: web, labels: {a: b}}
      spec:
        image: &i {oci: nginx}
        resources: {cpus: 2, memory: 1GiB}
        process: {args: ["-c", 'x'], env: [A=1]}
        network: {ports: [{vm: 80}]}
        health: {test: [CMD, "true"], interval: 1m30s}
        volumes: [{mountPath: /data, volume: {name: data}}]
      ---
      {"apiVersion": "ignite.weave.works/v1beta1", "kind": "Volume", "metadata": {"name": "data"}, "spec": {"size": "1GiB"}}
      """
    let samples = try ([current] + WeaveManifests.samples()).map { Array($0.utf8) }
    let words = [
      "[", "{", "&a ", "*i", "!!", "---", ": ", "- ", "\n  ", "1e99", "\u{0}", "é", "|", ">", "\"", "<<: *i",
      "9999999999999999999",
    ]
    repeat {
      var bytes = samples[Int(seed % UInt64(samples.count))]
      var state = seed
      func next(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
      }
      for _ in 0...next(6) {
        let place = next(bytes.count)
        switch next(4) {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: next(256))
        case 1: bytes.insert(contentsOf: words[next(words.count)].utf8, at: place)
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + next(20)))
        default: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + next(60))], at: place)
        }
      }
      switch Self.read(String(decoding: bytes, as: UTF8.self)) {
      case .success(let names):
        #expect(names.allSatisfy { HostKind.problem(with: $0) == nil }, "FUZZ_SEED=\(seed)")
      case .failure(let error):
        #expect(
          error.message.hasPrefix("fuzzed") && error.description.utf8.count < 2000,
          "FUZZ_SEED=\(seed): \(error.message)")
      }
      seed += 1
    } while Date() < end
  }

  private static func read(_ text: String) -> Result<[String], ManifestError> {
    do throws(ManifestError) {
      let manifests = try ManifestReader.read(text, file: "fuzzed")
      for manifest in manifests where manifest.kind == VM.kind {
        _ = try? manifest.weaveDocument(.v1alpha4)
        let _: VMSpec = try manifest.spec(over: VMSpec(image: VMSpec.Image(oci: "")))
      }
      return .success(manifests.map(\.name))
    } catch {
      return .failure(error)
    }
  }
}
