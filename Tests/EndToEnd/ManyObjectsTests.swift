import FoundationEssentials
import Glibc
import IgniteAPI
import IgniteStore
import Testing

/// As many objects as there may be, and a reader that does not read: what is told is true, and memory is bounded.
@Suite(.timeLimit(.minutes(20))) struct ManyObjects {
  /// Runs `body` with VMs that were made in the store alone: no disk, no hypervisor. The folder is in memory, for each of them is
  /// a transaction that is synced.
  private func with(
    _ count: Int, _ body: (Ignite, ObjectStore) async throws -> Void
  ) async throws {
    let folder = "/dev/shm/ignite-e2e-\(String(UInt32.random(in: .min ... .max), radix: 36))"
    try await Ignite.run(["mkdir", "-p", "\(folder)/data"])
    let ignite = Ignite(folder: folder)
    do {
      let store = try await ObjectStore.open(root: ignite.data)
      for number in 0..<count { try await store.create(try Self.vm(number)) }
      try await body(ignite, store)
      try await store.close()
    } catch {
      await ignite.removeFolder()
      throw error
    }
    await ignite.removeFolder()
  }

  private static func vm(_ number: Int) throws -> StoredObject {
    var spec = VMSpec(image: VMSpec.Image(oci: Ignite.image))
    spec.state = .stopped
    let digits = String(number, radix: 16)
    return StoredObject(
      kind: VM.kind, namespace: "default", name: "vm-\(number)",
      uid: "f" + String(repeating: "0", count: 15 - digits.count) + digits,
      created: Date(timeIntervalSince1970: Double(1_700_000_000 + number)), labels: ["tenth": "\(number % 10)"],
      spec: try APICoding.encoder().encode(spec), status: try APICoding.encoder().encode(VMStatus()))
  }

  /// Runs a command to its end; its output, and the most memory that it had resident, in MiB.
  private func measured(_ ignite: Ignite, _ words: String...) async throws -> (text: String, mebibytes: Int) {
    let script = """
      import resource, subprocess, sys
      status = subprocess.run(sys.argv[1:]).returncode
      print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
      sys.exit(status)
      """
    var program = ignite.command(words)
    program.arguments = ["python3", "-c", script].withAbsoluteFirst() + program.arguments
    let result = try await program.run()
    #expect(result.status == 0, "\(words): \(result.errorText)")
    let kibibytes = result.errorText.split(separator: "\n").last.flatMap { Int($0) }
    return (result.text, try #require(kibibytes) >> 10)
  }

  /// The most that a process had resident, in MiB.
  private func resident(_ pid: Int32) throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
    return try #require(line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }) >> 10
  }

  /// Bounds of memory, in MiB: three times what a debug build took (53, 189, 112 and 41) on a machine with other work. A table
  /// keeps a few words of each object, JSON a tree of each before it is text, some 15 KiB, and the daemon decodes all of them at once.
  /// What that has to tell from is growth with the square of the number, or with each look: gigabytes.
  private enum Most {
    static let table = 160
    static let objects = 576
    static let daemon = 336
    static let watcher = 128
  }

  @Test func tenThousandAreListedAndLookedAt() async throws {
    let count = 10_000
    try await with(count) { ignite, _ in
      for (words, expected) in [
        (["-o", "name"], count), (["-l", "tenth=3", "-o", "name"], count / 10),
        (["--field-selector", "status.phase!=Running,metadata.name!=vm-7", "-o", "name"], count - 1),
        (["--field-selector", "metadata.name=vm-7777", "-o", "name"], 1),
        (["-l", "tenth=3", "--field-selector", "spec.state=Running", "-o", "name"], 0),
      ] {
        let names = try await ignite(["get", "vms"] + words)
        #expect(names.text.split(separator: "\n").count == expected, "\(words): \(names.errorText)")
      }
      let table = try await measured(ignite, "get", "vms")
      #expect(table.text.split(separator: "\n").count == count + 1)
      #expect(table.mebibytes < Most.table)
      let json = try await measured(ignite, "get", "vms", "-o", "json")
      let objects = try JSONDecoder().decode([Named].self, from: Data(json.text.utf8))
      #expect(Set(objects.map(\.metadata.name)).count == count)
      #expect(json.mebibytes < Most.objects)
      let one = try await measured(ignite, "get", "vms", "--field-selector", "metadata.name=vm-9999", "-o", "json")
      #expect(one.text.contains("\"vm-9999\"") && one.mebibytes < Most.table)

      try await DaemonProcess.with(ignite) { daemon in
        try await daemon.metric("ignite_vms{phase=\"Created\"} \(count)")
        let most = try resident(daemon.pid)
        #expect(most < Most.daemon)
      }

      // More than there may be at once are refused, be they in files or what sets come to.
      func refused(_ manifest: String) async throws {
        for verb in ["plan", "apply"] {
          let words = verb == "plan" ? [verb, "-f", "-"] : [verb, "-y", "-f", "-"]
          let result = try await ignite(words, input: Array(manifest.utf8))
          #expect(result.status == 1 && result.errorText.contains("more than 10000"), "\(result.errorText.prefix(300))")
        }
      }
      let head = "apiVersion: ignite.weave.works/v1beta1\nkind: "
      let spec = "spec: {image: {oci: \(Ignite.image)}}"
      try await refused((0...count).map { "---\n\(head)VM\nmetadata: {name: n\($0)}\n\(spec)\n" }.joined())
      try await refused(
        (0...10).map { "---\n\(head)VMSet\nmetadata: {name: s\($0)}\nspec: {replicas: 1000, template: {\(spec)}}\n" }
          .joined())
      #expect(try await ignite("get", "vms", "-o", "name").text.split(separator: "\n").count == count)
    }
  }

  private struct Named: Decodable {
    struct Metadata: Decodable { var name: String }
    var metadata: Metadata
  }

  /// Nobody waits for it, it keeps what it has, and once it is read it ends in the truth.
  @Test func aWatcherThatNobodyReadsHoldsUpNobody() async throws {
    let count = 500
    try await with(count) { ignite, store in
      let watch = try ignite.start("get", "vms", "-w")
      _ = try await watch.readOutput(until: "\nvm-0 ")
      // Ten writes of each at least, and as many as fill the pipe; the last ones are known.
      var round = 0
      while try round < 9 || !isBlocked(watch.pid) {
        try await write(store, round.isMultiple(of: 2) ? { _ in .running } : { _ in .paused })
        round += 1
      }
      try await write(store) { $0.hasSuffix("7") ? .running : .stopped }
      var last = try Self.vm(count)
      last.name = "zz-last"
      try await store.create(last)
      let most = try resident(watch.pid)
      #expect(most < Most.watcher)
      // The last word on each is what it is by now.
      let text = try await watch.readOutput(until: "zz-last ")
      var states: [String: String] = [:]
      for line in text.split(separator: "\n") {
        let words = line.split(separator: " ").map(String.init)
        if words.count > 2, words[0].hasPrefix("vm-") { states[words[0]] = words[1] }
      }
      let running = states.filter { $0.value == "Running" }.keys
      #expect(states.count == count)
      #expect(running.count == count / 10 && running.allSatisfy { $0.hasSuffix("7") })
      try watch.signal(SIGKILL)
      _ = await watch.ended()
    }
  }

  private func write(_ store: ObjectStore, _ state: (_ name: String) -> DesiredState) async throws {
    for var object in try await store.list(kind: VM.kind) {
      var spec = try APICoding.decoder().decode(VMSpec.self, from: object.spec)
      spec.state = state(object.name)
      object.spec = try APICoding.encoder().encode(spec)
      try await store.update(object)
    }
  }

  /// Whether one of its threads waits in write(2), number 1, on standard output (proc(5), `syscall`).
  private func isBlocked(_ pid: Int32) throws -> Bool {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").contains { thread in
      let call = try? String(contentsOfFile: "/proc/\(pid)/task/\(thread)/syscall", encoding: .utf8)
      return call?.hasPrefix("1 0x1 ") ?? false
    }
  }
}

extension Ignite {
  /// Of VMs that are in the store alone nothing is to be ended.
  fileprivate func removeFolder() async { _ = try? await Self.run(["rm", "-rf", folder]) }
}
