public import IgniteEngine
internal import Synchronization

/// The engine under the configuration that is in force. Services ask for it each time they need it.
public final class EngineSource: Sendable {
  private let state: Mutex<Engine>

  public init(_ engine: Engine) { state = Mutex(engine) }

  public var engine: Engine { state.withLock { $0 } }

  func configure(_ configuration: EngineConfiguration) {
    state.withLock { $0 = $0.configured(as: configuration) }
  }
}
