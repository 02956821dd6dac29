import Foundation
import Glibc
import IgniteHypervisor
import IgniteSystem
import IgniteWire
import Synchronization
import Testing

@testable import IgniteSupervisor

/// A whole supervisor with its clients, and a guest that says what it likes: nobody waits for ever, nothing traps, what
/// waits in memory and on the disk is bounded, and the journal tells how it ended.
///
/// FUZZ_SECONDS says for how long (default 5), FUZZ_SEED where the seeds start; a failure names its seed.
@Suite(.timeLimit(.minutes(60)), .serialized) struct SupervisorFuzz {
  @Test func aHostileGuestHarmsNobody() async throws {
    let variables = ProcessInfo.processInfo.environment
    let end = Date().addingTimeInterval(variables["FUZZ_SECONDS"].flatMap(Double.init) ?? 5)
    let first = variables["FUZZ_SEED"].flatMap(UInt64.init) ?? .random(in: 0...1 << 32)
    var seed = first
    var results: [String: Int] = [:]
    var slowest = (0.0, seed)
    repeat {
      let began = Date()
      results[try await life(seed), default: 0] += 1
      let took = Date().timeIntervalSince(began)
      if took > slowest.0 { slowest = (took, seed) }
      seed += 1
    } while Date() < end
    print(
      "\(seed - first) lives of a supervisor, from seed \(first), the slowest \(slowest): \(results.sorted { $0.value > $1.value })"
    )
  }

  /// - Returns: what the journal says of the end.
  private func life(_ seed: UInt64) async throws -> String {
    var numbers = FuzzNumbers(state: ~seed)
    let folder = "/tmp/isf-\(getpid())-\(seed)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var plan = Self.plan(folder)
    plan.waitsForClient = Bool.random(using: &numbers)
    if Bool.random(using: &numbers) {
      plan.health = SpawnPlan.Health(
        arguments: ["true"], interval: 1, timeout: 20, startPeriod: 0, startInterval: 0, retries: 3,
        endsUnhealthy: false)
    }
    let notices = try FileDescriptor.pipe()
    let guest = FakeHostileGuest(seed: seed, amount: Int.random(in: 10_000...8_000_000, using: &numbers))
    let supervisor = try Supervisor(
      plan: plan, hypervisor: guest, notices: notices.write, lock: try FileDescriptor.open("/dev/null", O_RDONLY))
    let largest = Largest()
    await supervisor.watch(largest)
    async let life: Void = supervisor.run()
    async let clients: Void = use(plan.paths.spawnSocket, seed: seed)
    await clients
    await life
    // 16 MiB for a guest that does not read, 8 for each of the clients that do not, and what credit allows.
    let waited = largest.bytes.withLock { $0 }
    #expect(waited < 48 << 20, "FUZZ_SEED=\(seed): \(waited) bytes wait")
    let entries = try Journal.read(path: plan.paths.journal, from: 0).entries
    #expect(entries.first?.event == .starting, "FUZZ_SEED=\(seed)")
    let last = try #require(entries.last { $0.event != .health }, "FUZZ_SEED=\(seed)")
    #expect([.exited, .failed].contains(last.event), "FUZZ_SEED=\(seed): \(last)")
    #expect(entries.count { $0.event == .running } <= 1, "FUZZ_SEED=\(seed)")
    for file in try FileManager.default.contentsOfDirectory(atPath: folder) {
      // A report of its health may be on its way to its name.
      let size = try? FileManager.default.attributesOfItem(atPath: folder + "/" + file)[.size] as? Int
      #expect(size ?? 0 <= 5 << 20, "FUZZ_SEED=\(seed): \(file) has \(size ?? 0) bytes")
    }
    let reason = last.message.map { String($0.prefix { $0 != ";" }.prefix(60)) } ?? ""
    return "\(last.event) \(reason)"
  }

  private static func plan(_ folder: String) -> SpawnPlan {
    var plan = SpawnPlan(
      uid: "0", name: "fuzzed", paths: SpawnPlan.Paths(data: folder, run: folder),
      machine: MachineConfiguration(
        kernelPath: "/none", agentSocketPath: folder + "/agent", controlSocketPath: folder + "/control",
        consoleSocketPath: folder + "/console"), network: .none,
      guest: SpawnPlan.Guest(
        hostname: "fuzzed", machineID: String(repeating: "0", count: 32), modulesDevice: "", macAddress: "",
        address: "",
        gateway: "", nameServers: [], searchDomains: []),
      process: SpawnPlan.Process(
        arguments: ["true"], environment: [], workingDirectory: "/", user: "", tty: false, input: true, machine: false,
        size: TerminalSize(columns: 80, rows: 24)), stopSignal: SIGTERM, waitsForClient: false)
    plan.logs = SpawnPlan.Logs(maxSize: 1 << 20, maxFiles: 2)
    return plan
  }

  /// Commands of all kinds; in the end the VM is stopped. What they come to is the guest's to say, but they end.
  private func use(_ socket: String, seed: UInt64) async {
    do {
      let loop = try EventLoop(name: "fuzz-client")
      defer { loop.stop() }
      var client: SpawnClient?
      for _ in 0..<2000 where client == nil {
        client = try? await SpawnClient.connect(path: socket, loop: loop)
        if client == nil { try await Task.sleep(for: .milliseconds(1)) }
      }
      guard let client else { return }
      let (zero, null) = (
        try FileDescriptor.open("/dev/zero", O_RDONLY), try FileDescriptor.open("/dev/null", O_WRONLY)
      )
      let streams = ProcessStreams(input: zero.number, output: null.number, errors: null.number)
      let attached = try await client.attach(streams)
      async let joined = try? attached.ended()
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<4 {
          group.addTask {
            var request = ProcessRequest()
            request.arguments = [Array("true".utf8)]
            request.input = true
            let session = try? await client.exec(request, streams)
            // What the guest does not end is left.
            let leaver = Task {
              try? await Task.sleep(for: .milliseconds(150))
              session?.leave()
            }
            _ = try? await session?.ended()
            leaver.cancel()
          }
        }
      }
      try? await client.kill(signal: SIGUSR1)
      try? await client.stop(signal: SIGKILL, grace: .zero)
      _ = await joined
      await client.closed()
    } catch {
      Issue.record("FUZZ_SEED=\(seed): \(error)")
    }
  }
}

/// The most bytes that have waited at any time.
private final class Largest: Sendable {
  let bytes = Mutex(0)
}

extension Supervisor {
  /// Looks every few milliseconds, until its loop ends.
  fileprivate func watch(_ largest: Largest) {
    let now = waitingBytes
    largest.bytes.withLock { $0 = max($0, now) }
    loop.schedule(after: .milliseconds(5)) { [weak self] in self?.assumeIsolated { $0.watch(largest) } }
  }

  /// Bytes in memory for who does not take them.
  fileprivate var waitingBytes: Int {
    var bytes = agent?.queued ?? 0
    for client in clients.values {
      bytes += client.connection.queued
      for case .chunk(let chunk) in client.attached?.waiting ?? [] { bytes += chunk.bytes.count }
    }
    return bytes
  }
}
