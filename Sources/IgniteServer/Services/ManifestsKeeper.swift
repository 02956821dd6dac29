internal import Glibc
internal import IgniteControl
internal import Logging

/// Declares the directory whose manifests are kept without anybody's having declared it, once it is there.
public struct ManifestsKeeper: DaemonService {
  /// How often it is looked whether the directory has come.
  private static let interval: Duration = .seconds(2)

  public let name = "manifests-keeper"
  private let engines: EngineSource
  private let path: String
  private let isAwaited: Bool

  /// - Parameters:
  ///   - path: absolute.
  ///   - isAwaited: nothing is declared before the directory is there; otherwise its absence is the source's error.
  public init(_ engines: EngineSource, path: String, isAwaited: Bool) {
    self.engines = engines
    self.path = path
    self.isAwaited = isAwaited
  }

  public func run(_ status: ServiceStatus) async throws {
    status.ready()
    while isAwaited, !Self.isDirectory(path) { try await Task.sleep(for: Self.interval) }
    guard try await Controller(engine: engines.engine).declareManifests(path) else { return }
    let name = Controller.manifestsName
    status.log.notice("manifests are kept from now on", metadata: ["directory": "\(path)", "object": "Sync/\(name)"])
  }

  private static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}
