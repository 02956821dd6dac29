import Glibc
import IgniteEngine
import IgniteSystem
import Synchronization
import Testing

@testable import IgniteServer

/// A whole daemon in this process, over a state of its own.
@Suite(.timeLimit(.minutes(2))) struct DaemonRuns {
  private static func settings(
    _ scratch: Scratch, giveUp: @escaping @Sendable () async -> Void = {}
  ) throws -> Daemon.Settings {
    Daemon.Settings(
      paths: try Paths(dataFlag: scratch.path + "/data", runFlag: scratch.path + "/run", environment: [:]),
      version: "1", environment: [:], socket: nil, configuration: { EngineConfiguration() }, giveUp: giveUp)
  }

  private static func get(_ scratch: Scratch, _ path: String) async throws -> String {
    guard let client = try? RawClient(scratch.path + "/run/ignited.sock") else { return "" }
    client.send("GET \(path) HTTP/1.0\r\n\r\n")
    return await client.read()
  }

  @Test func aServiceThatFailsIsToldOf() async throws {
    let scratch = try Scratch()
    let (signals, signal) = AsyncStream<Int32>.makeStream()
    let daemon = Daemon(try Self.settings(scratch), registry: MetricRegistry()) { _ in quiet }
    try await withThrowingTaskGroup { group in
      group.addTask {
        try await daemon.run(signals: signals) { _ in
          [Worker { _ in throw SystemError("reach the moon", code: EHOSTUNREACH) }]
        }
      }
      try await eventually {
        try await Self.get(scratch, "/healthz").contains("[-]service/worker failed: reach the moon")
      }
      #expect(try await Self.get(scratch, "/healthz").hasPrefix("HTTP/1.1 500 "))
      #expect(try await Self.get(scratch, "/readyz").hasPrefix("HTTP/1.1 503 "))
      #expect(try await Self.get(scratch, "/livez").hasPrefix("HTTP/1.1 200 "))
      let metrics = try await Self.get(scratch, "/metrics")
      #expect(metrics.contains("ignite_service_up{service=\"worker\"} 0\n"))
      #expect(!metrics.contains("ignite_service_restarts_total{service=\"worker\"} 0\n"))
      // While it waits to start it again.
      signal.yield(SIGTERM)
      try await group.waitForAll()
    }
    #expect(
      access(scratch.path + "/run/ignited.sock", F_OK) != 0 && access(scratch.path + "/run/ignited.lock", F_OK) != 0)
  }

  @Test func aServiceThatDoesNotEndIsNotWaitedForWithoutEnd() async throws {
    let scratch = try Scratch()
    let (signals, signal) = AsyncStream<Int32>.makeStream()
    let stuck = Mutex<CheckedContinuation<Void, Never>?>(nil)
    let gaveUp = Mutex(0)
    var settings = try Self.settings(scratch) {
      gaveUp.withLock { $0 += 1 }
      stuck.withLock { $0 }?.resume()
    }
    settings.limit = .milliseconds(20)
    let daemon = Daemon(settings, registry: MetricRegistry()) { _ in quiet }
    try await daemon.run(signals: signals) { _ in
      [
        Worker { status in
          status.ready()
          await withCheckedContinuation { continuation in
            stuck.withLock { $0 = continuation }
            signal.yield(SIGTERM)
          }
        }
      ]
    }
    #expect(gaveUp.withLock { $0 } == 1)
  }

  @Test func readinessWaitsForEveryService() async throws {
    let scratch = try Scratch()
    let (signals, signal) = AsyncStream<Int32>.makeStream()
    let (gate, opened) = AsyncStream<Void>.makeStream()
    let daemon = Daemon(try Self.settings(scratch), registry: MetricRegistry()) { _ in quiet }
    try await withThrowingTaskGroup { group in
      group.addTask {
        try await daemon.run(signals: signals) { engines in
          [
            StatusKeeper(engines),
            Worker { status in
              for await _ in gate { break }
              status.ready()
              try await Task.sleep(for: .seconds(3600))
            },
          ]
        }
      }
      try await eventually { try await Self.get(scratch, "/readyz").contains("[+]service/status-keeper ok") }
      #expect(try await Self.get(scratch, "/readyz").contains("[-]service/worker failed: it has not come up yet"))
      opened.yield()
      try await eventually { try await Self.get(scratch, "/readyz").hasPrefix("HTTP/1.1 200 ") }
      signal.yield(SIGINT)
      try await group.waitForAll()
    }
  }
}
