internal import Glibc
internal import IgniteSystem

/// Manifests in a directory of this machine, and all directories below it, as people and tools write them there.
///
/// Nothing is read while it moves: a file counts once it, and the directories, have been still for a while. A file that never
/// gets still counts as what it was before, or not at all. Files are best written under another name and renamed.
public actor DirectorySource {
  /// Times of a directory's being watched.
  public struct Timing: Sendable {
    /// How long nothing may have changed.
    public var settling: Duration = .milliseconds(500)
    /// How long it is waited for that, before what is still is taken without the rest.
    public var patience: Duration = .seconds(10)
    /// How often it is looked at without having been told: of file systems that tell nothing.
    public var rescan: Duration = .seconds(30)

    public init() {}
  }

  /// What Weave Ignite's daemon watched.
  public static let usualPath = "/etc/firecracker/manifests"

  public nonisolated let path: String
  private let timing: Timing
  private let limits: SourceLimits
  private let executor = ThreadExecutor(name: "ignite-source")
  /// The last good content of each file.
  private var last: [String: Artifact.File] = [:]

  public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// - Parameters:
  ///   - path: absolute; need not be there yet.
  ///   - known: what was read of it last, by another.
  public init(
    path: String = usualPath, known: Artifact? = nil, timing: Timing = Timing(), limits: SourceLimits = SourceLimits()
  ) {
    let parts = path.split(separator: "/").filter { $0 != "." }
    self.path = "/" + parts.joined(separator: "/")
    self.timing = timing
    self.limits = limits
    if let known, known.header.origin == self.path {
      last = Dictionary(known.files.map { ($0.path, $0) }) { first, _ in first }
    }
  }

  /// The content now, once it is still.
  ///
  /// - Throws: SourceError: `notFound` where there is no such directory.
  public func read() async throws(SourceError) -> Artifact {
    let end = ContinuousClock.now + timing.patience
    var before: DirectoryScan?
    while true {
      let scan = try DirectoryScan(path, limits: limits)
      try checkSizes(of: scan)
      let isLate = .now >= end
      if isLate || scan == before || isStill(scan), let artifact = try take(scan, before: before, isLate: isLate) {
        last = Dictionary(artifact.files.map { ($0.path, $0) }) { first, _ in first }
        return artifact
      }
      before = scan
      do { try await Task.sleep(for: timing.settling) } catch { throw .cancelled }
    }
  }

  /// The content now, and each time that it has become another; errors in its stead, each once.
  ///
  /// The directory need not be there: its coming is seen, and its going is an error, `notFound`. The stream ends with the task
  /// that reads it.
  public nonisolated func updates() -> AsyncStream<Result<Artifact, SourceError>> {
    AsyncStream { continuation in
      let task = Task {
        await self.follow(continuation)
        continuation.finish()
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }

  // MARK: Private

  private func follow(_ updates: AsyncStream<Result<Artifact, SourceError>>.Continuation) async {
    let watch: FileWatch
    do {
      watch = try FileWatch()
    } catch {
      updates.yield(.failure(SourceError(error)))
      return
    }
    let (wakes, wake) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let rescan = timing.rescan
    await withDiscardingTaskGroup { group in
      group.addTask { for await _ in watch.changes { wake.yield() } }
      group.addTask { while (try? await Task.sleep(for: rescan)) != nil { wake.yield() } }
      wake.yield()
      var told: Result<Artifact, SourceError>?
      for await _ in wakes {
        observe(watch)
        let now: Result<Artifact, SourceError>
        do throws(SourceError) { now = .success(try await read()) } catch { now = .failure(error) }
        if Task.isCancelled { break }
        if !Self.isSame(now, told) {
          updates.yield(now)
          told = now
        }
      }
      group.cancelAll()
    }
  }

  /// Watches all there is, ahead of its being read, so that no change falls between the two. What cannot be watched is
  /// found by the next look.
  private func observe(_ watch: FileWatch) {
    if let scan = try? DirectoryScan(path, limits: limits) {
      for directory in scan.directories.keys {
        try? watch.watch(directory.isEmpty ? path : "\(path)/\(directory)", for: .everything)
      }
    }
    // Its own coming and going, and that of a link which it may be, is told by what is above it.
    var above = path
    repeat {
      above = String(above[..<(above.lastIndex(of: "/") ?? above.startIndex)])
      try? watch.watch(above.isEmpty ? "/" : above, for: .names)
    } while !above.isEmpty && access(above, F_OK) != 0
  }

  private static func isSame(_ now: Result<Artifact, SourceError>, _ told: Result<Artifact, SourceError>?) -> Bool {
    switch (now, told) {
    case (.success(let now), .success(let told)): now.header == told.header
    case (.failure(let now), .failure(let told)): now.code == told.code && now.message == told.message
    default: false
    }
  }

  private func checkSizes(of scan: DirectoryScan) throws(SourceError) {
    var count = SourceLimits.Count(limits, place: path)
    for (file, mark) in scan.files.sorted(by: { $0.key < $1.key }) { try count.add(file, size: mark.size) }
  }

  /// Whether the last change is long ago. A change that is yet to come, by a clock that was wrong, is none to wait for here:
  /// two equal scans tell.
  private func isStill(_ scan: DirectoryScan) -> Bool {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let age = Int64(now.tv_sec) &* 1_000_000_000 &+ Int64(now.tv_nsec) &- scan.newest
    return Duration.nanoseconds(age) > timing.settling
  }

  /// - Parameter isLate: whether what moves is left behind.
  /// - Returns: nil where something has changed meanwhile.
  private func take(_ scan: DirectoryScan, before: DirectoryScan?, isLate: Bool) throws(SourceError) -> Artifact? {
    var files: [Artifact.File] = []
    var omissions = scan.omissions
    for (file, mark) in scan.files.sorted(by: { $0.key < $1.key }) {
      let moves = isLate && before != nil && before?.files[file] != mark
      if !moves, let bytes = try scan.read(file, in: path, limits: limits) {
        files.append(try Artifact.File(checking: file, bytes, place: path))
      } else if !isLate {
        return nil
      } else if let known = last[file] {
        files.append(known)
      } else {
        omissions.append(.init(path: file, reason: .beingWritten))
      }
    }
    return Artifact(
      origin: path, revision: nil, paths: [""], commit: nil, files: files,
      omissions: omissions.sorted { $0.path < $1.path })
  }
}
