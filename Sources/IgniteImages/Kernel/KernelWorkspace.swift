internal import CIgniteSystem
internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem
internal import Synchronization

/// A private directory below `kernels/`, held by a lock and removed at the end. What a killed process left is unlocked,
/// so the next import removes it.
final class KernelWorkspace {
  static let prefixes = [".import-", ".apt-", ".files-", ".remove-"]

  let path: String
  private let descriptor: OwnedDescriptor

  private init(path: String, descriptor: OwnedDescriptor) {
    self.path = path
    self.descriptor = descriptor
  }

  deinit {
    // Removed while the lock is held, so that nobody begins to use it in between.
    try? FileManager.default.removeItem(atPath: path)
  }

  /// Makes and locks an empty directory; waits for another process that holds it. Blocking.
  ///
  /// - Throws: `cancelled` when `cancellation` says so while it waits, `io`.
  static func acquire(_ path: String, _ cancellation: Cancellation) throws(ImageError) -> KernelWorkspace {
    while true {
      try cancellation.check()
      if mkdir(path, 0o700) != 0, errno != EEXIST { throw .system("make", path) }
      if let workspace = try tryLock(path) {
        try workspace.clear()
        return workspace
      }
      usleep(20_000)
    }
  }

  /// Removes what killed processes left. Blocking, and never an error: it is tried again next time.
  static func removeAbandoned(in directory: String) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    for name in names where prefixes.contains(where: { name.hasPrefix($0) }) {
      _ = try? tryLock("\(directory)/\(name)")
    }
  }

  /// The names of what killed processes left.
  static func abandoned(in directory: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.sorted().filter { name in
      guard prefixes.contains(where: { name.hasPrefix($0) }) else { return false }
      let number = open("\(directory)/\(name)", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      guard number >= 0 else { return false }
      defer { close(number) }
      return flock(number, LOCK_EX | LOCK_NB) == 0
    }
  }

  /// nil when another holds it, or has just removed it.
  private static func tryLock(_ path: String) throws(ImageError) -> KernelWorkspace? {
    let number = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    if number < 0 {
      if errno == ENOENT { return nil }
      throw .system("open", path)
    }
    let descriptor = OwnedDescriptor(number)
    if flock(number, LOCK_EX | LOCK_NB) != 0 {
      if errno == EWOULDBLOCK || errno == EINTR { return nil }
      throw .system("lock", path)
    }
    var held = stat()
    var named = stat()
    guard fstat(number, &held) == 0, lstat(path, &named) == 0, held.st_ino == named.st_ino else { return nil }
    return KernelWorkspace(path: path, descriptor: descriptor)
  }

  private func clear() throws(ImageError) {
    do {
      for name in try FileManager.default.contentsOfDirectory(atPath: path) {
        try FileManager.default.removeItem(atPath: "\(path)/\(name)")
      }
    } catch {
      throw ImageError(.io, "cannot empty \(path)", cause: error)
    }
  }
}

/// A caller's wish to stop, seen by blocking code between two pieces of work.
final class Cancellation: Sendable {
  private let flag = Atomic(false)

  func cancel() { flag.store(true, ordering: .releasing) }

  func check() throws(ImageError) {
    if flag.load(ordering: .acquiring) { throw ImageError(.cancelled, "interrupted") }
  }

  /// Runs blocking work on a thread of its own, and tells it when the task is cancelled.
  static func blocking<Value: Sendable>(
    name: String, _ body: @escaping @Sendable (Cancellation) throws(ImageError) -> Value
  ) async throws(ImageError) -> Value {
    let cancellation = Cancellation()
    let result: Result<Value, ImageError> = await withTaskCancellationHandler {
      await ThreadExecutor.run(name: name) {
        do throws(ImageError) { return .success(try body(cancellation)) } catch { return .failure(error) }
      }
    } onCancel: {
      cancellation.cancel()
    }
    return try result.get()
  }
}
