internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

/// A plan in a file: the manifests, and each object as it was read, with its UID and version.
struct SavedPlan: Codable {
  private static let currentVersion = 1
  private static let limit = 64 << 20

  private var version = SavedPlan.currentVersion
  var plan: ObjectPlan
  var manifests: [Manifest]
  var inventory: String?
  var prune: Bool

  init(plan: ObjectPlan, manifests: [Manifest], inventory: InventoryOptions) throws {
    self.plan = plan
    self.manifests = manifests
    self.inventory = try inventory.name()
    prune = inventory.prune
  }

  /// Beside its place, then renamed; it has what is in the manifests, so it is the user's alone.
  func write(_ path: String) async throws {
    let data = try APICoding.encoder(pretty: true).encode(self)
    try await ThreadExecutor.run { () throws -> Void in
      let file = try FileDescriptor.open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
      let count = data.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
      guard count == data.count, fsync(file.number) == 0, rename(path + ".new", path) == 0 else {
        let error = SystemError("write the plan \(path)")
        unlink(path + ".new")
        throw error
      }
    }
  }

  static func read(_ path: String) async throws -> SavedPlan {
    let text = try await ThreadExecutor.run { () throws in try ManifestFiles.text(path, limit: limit) }
    guard text.utf8.count <= limit else {
      throw EngineError(.invalidArgument, "\(path) has more than \(limit >> 20) MiB, and is no plan that was saved")
    }
    do {
      let saved = try APICoding.decoder().decode(SavedPlan.self, from: Data(text.utf8))
      guard saved.version == currentVersion else {
        throw EngineError(
          .invalidArgument, "the plan \(path) is of version \(saved.version), and this program knows \(currentVersion)",
          advice: "plan again")
      }
      return saved
    } catch is DecodingError {
      throw EngineError(
        .invalidArgument, "\(path) is no plan that was saved", advice: "manifests are applied with -f \(path)")
    }
  }

  /// - Throws: EngineError where anything that it read is not as it was.
  func check(_ now: ObjectPlan, file: String) throws {
    if now == plan { return }
    let old = Dictionary(plan.changes.map { ($0.title, $0) }) { first, _ in first }
    let moved =
      now.changes.filter { old[$0.title] != $0 }.map(\.title)
      + plan.changes.map(\.title).filter { title in !now.changes.contains { $0.title == title } }
    throw EngineError(
      .wrongState, "nothing was done: since the plan \(file) was made \(moved.joined(separator: ", ")) moved",
      advice: "plan again")
  }
}
