public import Logging

/// Something that the daemon does for as long as it lives.
public protocol DaemonService: Sendable {
  /// A few lower-case words with hyphens, as `status-keeper`: its name in health, metrics and logs.
  var name: String { get }

  /// Does it until the task is cancelled, and says `ready` once it has come up.
  ///
  /// One that throws is started again after a while; one that returns has done what it was there for.
  func run(_ status: ServiceStatus) async throws
}

/// What a service says of itself, and hears of the daemon.
public struct ServiceStatus: Sendable {
  /// A value after each reload of the configuration; several before it is taken are one.
  public let reloads: AsyncStream<Void>
  /// Logs in the service's name.
  public let log: Logger
  private let report: @Sendable (HealthBoard.Report) -> Void

  init(reloads: AsyncStream<Void>, log: Logger, report: @escaping @Sendable (HealthBoard.Report) -> Void) {
    self.reloads = reloads
    self.log = log
    self.report = report
  }

  /// It has come up, and does what it is there for; also after it was `unhealthy`.
  public func ready() { report(.ready) }

  /// It does not do what it is there for, though it goes on trying.
  /// - Parameter reason: what failed, on what and why; shown with `?verbose`.
  public func unhealthy(_ reason: String) { report(.unhealthy(reason)) }
}
