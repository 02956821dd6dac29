import Glibc
import IgniteSystem
import Synchronization
import Testing

@testable import IgniteServer

@Suite(.timeLimit(.minutes(2))) struct Services {
  private static func runner(
    _ board: HealthBoard, _ reloads: ReloadSignal = ReloadSignal(),
    _ body: @escaping @Sendable (ServiceStatus) async throws -> Void
  ) -> ServiceRunner {
    board.add("worker")
    let backoff = ServiceRunner.Backoff(first: .milliseconds(1), most: .milliseconds(4), recovery: .seconds(60))
    return ServiceRunner(service: Worker(body: body), board: board, reloads: reloads, log: quiet, backoff: backoff)
  }

  @Test func oneThatFailsIsStartedAgain() async throws {
    let board = HealthBoard()
    let runs = Mutex(0)
    let runner = Self.runner(board) { status in
      let run = runs.withLock { runs in
        runs += 1
        return runs
      }
      guard run > 4 else { throw SystemError("do it", code: EIO) }
      status.ready()
      try await Task.sleep(for: .seconds(3600))
    }
    await withTaskGroup { group in
      group.addTask { await runner.run() }
      // Its first failure is enough for those who wait for the start.
      await board.settled()
      try? await eventually { board.restarts()[0].isWell }
      group.cancelAll()
    }
    #expect(runs.withLock { $0 } == 5 && board.restarts()[0].count == 4)
  }

  @Test func oneThatReturnsHasDoneIt() async throws {
    let board = HealthBoard()
    await Self.runner(board) { _ in }.run()
    await board.settled()
    #expect(board.restarts()[0].isWell && board.failures.isEmpty)
  }

  @Test func reloadsAreHeard() async throws {
    let board = HealthBoard()
    let reloads = ReloadSignal()
    let heard = Mutex(0)
    let runner = Self.runner(board, reloads) { status in
      status.ready()
      for await _ in status.reloads { heard.withLock { $0 += 1 } }
    }
    await withTaskGroup { group in
      group.addTask { await runner.run() }
      await board.settled()
      for count in 1...3 {
        reloads.send()
        try? await eventually { heard.withLock { $0 } == count }
      }
      group.cancelAll()
    }
    #expect(heard.withLock { $0 } == 3)
  }

  @Test func whoWaitsForTheStartIsLetGo() async throws {
    let board = HealthBoard()
    board.add("never")
    await withTaskGroup { group in
      group.addTask { await board.settled() }
      group.addTask {
        try? await eventually { board.waiting == 1 }
        board.beginShutdown()
      }
    }
    // One that comes later does not wait at all.
    await board.settled()
  }
}

@Suite(.timeLimit(.minutes(1))) struct ServiceManagers {
  /// A datagram socket at a path, or in the abstract namespace.
  private static func receiver(_ name: [UInt8]) throws -> IgniteSystem.FileDescriptor {
    let flags = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let socket = IgniteSystem.FileDescriptor(socket(AF_UNIX, flags, 0))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let length = socklen_t(2 + name.count)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket.number, $0, length) }
    }
    guard bound == 0 else { throw SystemError("bind") }
    return socket
  }

  private static func message(_ socket: IgniteSystem.FileDescriptor) -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = recv(socket.number, &buffer, buffer.count, 0)
    return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
  }

  @Test(arguments: [false, true]) func messagesArrive(_ abstract: Bool) throws {
    let scratch = try Scratch()
    let path = scratch.path + "/notify"
    let socket = try Self.receiver(abstract ? [0] + Array(path.utf8) : Array(path.utf8))
    let manager = ServiceManager(environment: ["NOTIFY_SOCKET": (abstract ? "@" : "") + path])
    manager.ready("two\nlines")
    #expect(Self.message(socket) == "READY=1\nSTATUS=two lines")
    manager.reloading()
    let reloading = Self.message(socket)
    #expect(reloading.hasPrefix("RELOADING=1\nMONOTONIC_USEC=") && (Int64(reloading.dropFirst(27)) ?? 0) > 0)
    manager.alive()
    #expect(Self.message(socket) == "WATCHDOG=1")
    manager.stopping()
    #expect(Self.message(socket) == "STOPPING=1\nSTATUS=Ending")
  }

  @Test func withoutOneNothingHappens() {
    for address in ["", "/", "@", "/no/such/socket", "vsock:2:1234", String(repeating: "/x", count: 200)] {
      ServiceManager(environment: ["NOTIFY_SOCKET": address]).ready("x")
    }
    #expect(ServiceManager(environment: [:]).watchdogInterval == nil)
    #expect(ServiceManager(environment: ["WATCHDOG_USEC": "2000000"]).watchdogInterval == .seconds(1))
    #expect(ServiceManager(environment: ["WATCHDOG_USEC": "-1"]).watchdogInterval == nil)
    #expect(ServiceManager(environment: ["WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"]).watchdogInterval == nil)
  }

  @Test func socketsOfOthersAreLeftAlone() throws {
    for environment in [
      [:], ["LISTEN_PID": "1", "LISTEN_FDS": "1"], ["LISTEN_PID": "\(getpid())", "LISTEN_FDS": "x"],
    ] {
      #expect(try SocketActivation.take(environment: environment) == nil)
    }
  }

  @Test func oneInstanceAndNoFileBehindIt() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/ignited.lock"
    let first = try InstanceLock.take(path)
    let error = #expect(throws: (any Error).self) { try InstanceLock.take(path) }
    #expect(userMessage(try #require(error)).contains("process \(getpid())"))
    first.release()
    #expect(access(path, F_OK) != 0)
    try InstanceLock.take(path).release()
  }
}

@Suite(.timeLimit(.minutes(1))) struct FileWatches {
  @Test func whatHappensIsTold() async throws {
    let scratch = try Scratch()
    let watch = try FileWatch()
    try watch.watch(scratch.path, for: .names)
    try watch.watch(scratch.path + "/absent", for: .content)
    var changes = watch.changes.makeAsyncIterator()
    let file = try IgniteSystem.FileDescriptor.open(scratch.path + "/journal", O_RDWR | O_CREAT)
    #expect(await changes.next() != nil)
    try watch.watch(scratch.path + "/journal", for: .content)
    _ = write(file.number, "x", 1)
    #expect(await changes.next() != nil)
    _ = ftruncate(file.number, 0)
    #expect(await changes.next() != nil)
  }
}
