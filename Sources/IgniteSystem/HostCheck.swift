/// One thing that a host was asked, for `ignite doctor`.
public struct HostCheck: Sendable, Equatable, Codable {
  public enum Status: String, Sendable, Codable {
    case ok
    /// VMs run, with something missing or slower.
    case warning
    /// No VM can run.
    case failed
  }

  /// A short name, as `kvm`.
  public var name: String
  public var status: Status
  /// What was found.
  public var detail: String
  /// How to mend it.
  public var advice: String?

  public init(_ name: String, _ status: Status, _ detail: String, advice: String? = nil) {
    self.name = name
    self.status = status
    self.detail = detail
    self.advice = advice
  }
}
