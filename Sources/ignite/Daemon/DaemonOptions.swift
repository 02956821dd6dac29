internal import ArgumentParser
internal import CoreMetrics
internal import FoundationEssentials
internal import Glibc
internal import IgniteEngine
internal import IgniteServer
internal import IgniteSystem
internal import Logging

/// How the daemon serves, whatever command has it do so.
struct DaemonOptions: ParsableArguments {
  @OptionGroup var global: GlobalOptions

  @Option(
    name: .customLong("log-level"),
    help: ArgumentHelp("The least that is logged: debug, info, warning or error.", valueName: "level"),
    completion: .list(["trace", "debug", "info", "notice", "warning", "error"]))
  var logLevel = "info"

  @Option(
    name: .customLong("log-format"), help: ArgumentHelp("logfmt or json, a line an event.", valueName: "format"),
    completion: .list(LogStyle.Format.allCases.map(\.rawValue)))
  var logFormat = "logfmt"

  /// Serves until it is told to end.
  /// - Parameters:
  ///   - manifests: a directory whose manifests are kept; "" is none.
  ///   - isAwaited: it need not be there.
  func serve(manifests: String = "", isAwaited: Bool = false) async throws {
    let variables = ProcessInfo.processInfo.environment
    guard let level = Logger.Level(rawValue: logLevel) else {
      throw EngineError(
        .invalidArgument, "--log-level \(logLevel) is not possible", advice: "write debug, info, warning or error")
    }
    guard let format = LogStyle.Format(rawValue: logFormat) else {
      throw EngineError(.invalidArgument, "--log-format \(logFormat) is not possible", advice: "write logfmt or json")
    }
    let socket = try SocketActivation.take(environment: variables)
    // What the service manager says to this process is not for those that it starts.
    for name in ServiceManager.variables { unsetenv(name) }
    let sink = LogSink(descriptor: 2)
    let style = LogStyle(format: format, isForJournal: LogStyle.isJournal(2, environment: variables))
    let log: @Sendable (String) -> Logger = { component in
      Logger(label: component) { StructuredLogHandler(component: $0, style: style, level: level, sink: sink) }
    }
    let registry = MetricRegistry()
    MetricsSystem.bootstrap(registry)
    let daemon = Daemon(
      Daemon.Settings(
        paths: try global.paths(), version: Ignite.version, environment: variables, socket: socket,
        configuration: { try EngineConfiguration.load(environment: variables) },
        giveUp: {
          await sink.flush(within: .seconds(2))
          Glibc.exit(1)
        }), registry: registry, log: log)
    do {
      try await Interrupts.follow { signals in
        try await daemon.run(signals: signals) { engines in
          Self.services(engines)
            + (manifests.isEmpty ? [] : [ManifestsKeeper(engines, path: manifests, isAwaited: isAwaited)])
        }
      }
    } catch {
      log("daemon").critical("not served", metadata: ["error": "\(userMessage(error))"])
      await sink.flush(within: .seconds(2))
      throw ExitWith(status: 1)
    }
    await sink.flush(within: .seconds(2))
  }

  /// What the daemon does. Each is started again where it fails.
  private static func services(_ engines: EngineSource) -> [any DaemonService] {
    [StatusKeeper(engines), ObjectKeeper(engines), GitOpsKeeper(engines)]
  }
}
