internal import CoreMetrics
internal import Glibc
public import IgniteEngine
public import IgniteSystem
public import Logging

/// `ignited`: services that run for as long as it does, and what it tells of them over its socket.
///
/// VMs are none of its parts: they go on when it ends.
public struct Daemon: Sendable {
  /// How a daemon is set up.
  public struct Settings: Sendable {
    public var paths: Paths
    public var version: String
    /// The process's variables; those that are meant for it alone are not passed on.
    public var environment: [String: String]
    /// A socket that listens already; one below the run directory is made when it is nil.
    public var socket: FileDescriptor?
    /// Reads the configuration, at the start and for each reload. May block.
    public var configuration: @Sendable () throws -> EngineConfiguration
    /// How long requests may take to end once the daemon is to.
    public var grace = Duration.seconds(5)
    /// How long the end may take in all.
    public var limit = Duration.seconds(30)
    /// What is done when it takes longer.
    public var giveUp: @Sendable () async -> Void

    public init(
      paths: Paths, version: String, environment: [String: String], socket: FileDescriptor?,
      configuration: @escaping @Sendable () throws -> EngineConfiguration, giveUp: @escaping @Sendable () async -> Void
    ) {
      self.paths = paths
      self.version = version
      self.environment = environment
      self.socket = socket
      self.configuration = configuration
      self.giveUp = giveUp
    }
  }

  private enum Happening: Sendable {
    case signal(Int32)
    case listeningEnded(String)
  }

  private let settings: Settings
  private let registry: MetricRegistry
  private let log: Logger
  private let makeLog: @Sendable (String) -> Logger
  private let manager: ServiceManager
  private let board = HealthBoard()
  private let reloads = ReloadSignal()

  /// - Parameters:
  ///   - registry: where services' metrics are kept; the process's MetricsSystem should have it, too.
  ///   - log: makes the logger of a component.
  public init(_ settings: Settings, registry: MetricRegistry, log: @escaping @Sendable (String) -> Logger) {
    self.settings = settings
    self.registry = registry
    self.log = log("daemon")
    makeLog = log
    manager = ServiceManager(environment: settings.environment)
  }

  /// Serves until SIGTERM, SIGINT or SIGQUIT comes; SIGHUP reloads the configuration.
  ///
  /// - Parameters:
  ///   - signals: those that the process takes.
  ///   - services: makes what runs in it, once the state is open.
  /// - Throws: EngineError where another daemon serves the run directory; what the state cannot be opened for.
  public func run(
    signals: AsyncStream<Int32>, services makeServices: (EngineSource) throws -> [any DaemonService]
  ) async throws {
    let paths = settings.paths
    try paths.prepare()
    let lock = try InstanceLock.take(paths.run + "/ignited.lock")
    defer { lock.release() }
    let configuration = settings.configuration
    let engines = EngineSource(
      try await Engine.open(
        paths: paths, configuration: try await ThreadExecutor.run { try configuration() },
        environment: settings.environment.filter { !ServiceManager.variables.contains($0.key) }))
    if let warning = engines.engine.driver.warning { log.warning("\(warning)") }
    let services = try makeServices(engines)
    for service in services { board.add(service.name) }

    let path = paths.run + "/ignited.sock"
    defer { if settings.socket == nil { unlink(path) } }
    let server = try await HTTPServer.start(try settings.socket ?? Self.listen(path), respond: responder(engines))
    log.info(
      "listening",
      metadata: [
        "object": "\(settings.socket == nil ? path : "inherited socket")", "version": "\(settings.version)",
        "pid": "\(getpid())", "data": "\(paths.data)",
      ])
    let failure = await serve(server, engines: engines, services: services, signals: signals)
    await server.end()
    if let failure {
      throw EngineError(.unavailable, "the socket could not be served any more: \(failure)", advice: "start it again")
    }
    log.info("ended")
  }

  /// A socket file that a daemon left which was killed is replaced: the caller holds the lock.
  private static func listen(_ path: String) throws(SystemError) -> FileDescriptor {
    unlink(path)
    return try UnixSocket.listen(path, backlog: 256)
  }

  /// - Returns: what went wrong; nil where a signal ended it.
  private func serve(
    _ server: HTTPServer, engines: EngineSource, services: [any DaemonService], signals: AsyncStream<Int32>
  ) async -> String? {
    let (happenings, happening) = AsyncStream<Happening>.makeStream(bufferingPolicy: .bufferingNewest(64))
    return await withTaskGroup { outer in
      outer.addTask {
        do {
          try await server.run()
          happening.yield(.listeningEnded("it was closed"))
        } catch {
          happening.yield(.listeningEnded(userMessage(error)))
        }
      }
      outer.addTask { for await signal in signals { happening.yield(.signal(signal)) } }
      if let interval = manager.watchdogInterval { outer.addTask { await keepAlive(server, interval) } }
      let failure = await withTaskGroup { inner in
        for service in services {
          let runner = ServiceRunner(
            service: service, board: board, reloads: reloads, log: makeLog(service.name))
          inner.addTask { await runner.run() }
        }
        inner.addTask { await announce(services.count) }
        let failure = await watch(happenings, engines)
        // From here on nothing new is begun.
        board.beginShutdown()
        manager.stopping()
        outer.addTask { await guardEnd() }
        inner.cancelAll()
        return failure
      }
      await server.shutDown(within: settings.grace)
      outer.cancelAll()
      return failure
    }
  }

  /// Until something ends the daemon.
  /// - Returns: what ended it; nil for a signal.
  private func watch(_ happenings: AsyncStream<Happening>, _ engines: EngineSource) async -> String? {
    for await happening in happenings {
      switch happening {
      case .signal(SIGHUP): await reload(engines)
      case .signal(let number) where [SIGTERM, SIGINT, SIGQUIT].contains(number):
        log.info("ending", metadata: ["signal": "\(number)"])
        return nil
      case .signal: continue
      case .listeningEnded(let reason):
        return reason
      }
    }
    return nil
  }

  private func reload(_ engines: EngineSource) async {
    // Before the start is told no reload is: its end would be taken for the start's.
    let isUp = board.isSettled
    if isUp { manager.reloading() }
    let configuration = settings.configuration
    let isLoaded: Bool
    do {
      engines.configure(try await ThreadExecutor.run { try configuration() })
      isLoaded = true
      log.info("the configuration was read again")
      if isUp { manager.ready(status) }
      reloads.send()
    } catch {
      isLoaded = false
      let reason = userMessage(error)
      log.error("the configuration is kept as it was", metadata: ["error": "\(reason)"])
      if isUp { manager.ready("\(status); the configuration is kept as it was: \(reason)") }
    }
    Meter(label: Self.reloadMetric, factory: registry).set(isLoaded ? 1 : 0)
    Counter(
      label: "ignite_configuration_reloads", dimensions: [("result", isLoaded ? "success" : "failure")],
      factory: registry
    ).increment()
  }

  /// Says that the daemon is up once its services are, or have failed to once: they are tried again, and a start must not
  /// wait for that.
  private func announce(_ count: Int) async {
    await board.settled()
    guard !board.isShuttingDown else { return }
    manager.ready(status)
    log.info("ready", metadata: ["services": "\(count)"])
  }

  private var status: String {
    let failures = board.failures
    return failures.isEmpty
      ? "Serving" : "Serving; " + failures.map { "\($0.name): \($0.failure ?? "")" }.joined(separator: "; ")
  }

  private func keepAlive(_ server: HTTPServer, _ interval: Duration) async {
    while !Task.isCancelled {
      await server.isAlive()
      manager.alive()
      try? await Task.sleep(for: interval)
    }
  }

  /// A service that does not end is not waited for without end.
  private func guardEnd() async {
    try? await Task.sleep(for: settings.limit)
    if Task.isCancelled { return }
    log.critical("the end takes too long", metadata: ["limit": "\(settings.limit)"])
    await settings.giveUp()
  }
}

extension Daemon {
  private static let reloadMetric = "ignite_configuration_last_reload_successful"

  private func responder(_ engines: EngineSource) -> HTTPServer.Responder {
    let view = EngineView(engines)
    describe()
    let (board, registry, version) = (board, registry, settings.version)
    let endpoints = Endpoints(board: board) {
      await view.failure()
    } metrics: {
      let process = await ThreadExecutor.run { ProcessMetrics.families() }
      let build = MetricFamily(
        "ignite_build_info", .gauge, help: "The version that runs; always 1.",
        samples: [.init(labels: [("version", version)], value: 1)])
      return PrometheusText.render(
        registry.families() + process + [build] + Self.families(board) + (await view.families()))
    }
    let log = makeLog("http")
    return { request in
      let began = ContinuousClock.now
      let response = await endpoints.respond(to: request)
      let path = Endpoints.paths.contains(request.path) ? request.path : "other"
      Counter(
        label: "ignite_http_requests", dimensions: [("code", String(response.status)), ("path", path)],
        factory: registry
      ).increment()
      Timer(label: "ignite_http_request_duration_seconds", dimensions: [("path", path)], factory: registry)
        .recordNanoseconds(Int64(began.duration(to: .now) / .nanoseconds(1)))
      log.debug(
        "answered",
        metadata: [
          "method": "\(request.method.prefix(32))", "object": "\(request.path.prefix(256))",
          "code": "\(response.status)",
        ])
      return response
    }
  }

  private func describe() {
    registry.describe("ignite_http_requests_total", "HTTP requests by status code and path.")
    registry.describe("ignite_http_request_duration_seconds", "How long requests took to answer, by path.")
    registry.describe(Self.reloadMetric, "Whether the configuration was read at the last try.")
    registry.describe("ignite_configuration_reloads_total", "Tries to read the configuration again, by result.")
    Meter(label: Self.reloadMetric, factory: registry).set(1)
  }

  private static func families(_ board: HealthBoard) -> [MetricFamily] {
    let services = board.restarts()
    return [
      MetricFamily(
        "ignite_service_restarts_total", .counter, help: "How often a service failed, and was started again.",
        samples: services.map { .init(labels: [("service", $0.name)], value: Double($0.count)) }),
      MetricFamily(
        "ignite_service_up", .gauge, help: "Whether a service does what it is there for.",
        samples: services.map { .init(labels: [("service", $0.name)], value: $0.isWell ? 1 : 0) }),
    ]
  }
}
