internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// Brings one blob from a source into the store, on a thread of its own for what blocks.
actor BlobIngest {
  private let executor = ThreadExecutor(name: "ignite-ingest")
  private let store: ContentStore
  private let blob: IngestingBlob
  private var writer: BlobWriter?
  private var written: Int64 = 0

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  init(store: ContentStore, blob: IngestingBlob) {
    self.store = store
    self.blob = blob
  }

  /// Transfers the blob unless the store has it. The blob's outcome is set in every case.
  ///
  /// - Parameters:
  ///   - subject: what an error is about: `layer 2 of app:1 (sha256:12ab34cd56ef)`.
  ///   - progress: called with the bytes that are here.
  /// - Returns: whether the store had it already.
  static func run(
    _ blob: IngestingBlob, from source: any ImageSource, to store: ContentStore, subject: String,
    progress: @Sendable (Int64) -> Void
  ) async throws(ImageError) -> Bool {
    let ingest = BlobIngest(store: store, blob: blob)
    do throws(ImageError) {
      let reused = try await ingest.transfer(from: source, progress)
      blob.end(.success(()))
      return reused
    } catch {
      let error = error.code == .cancelled ? error : error.of(subject)
      await ingest.abandon()
      blob.end(.failure(error))
      throw error
    }
  }

  private nonisolated func transfer(
    from source: any ImageSource, _ progress: @Sendable (Int64) -> Void
  ) async throws(ImageError) -> Bool {
    if Task.isCancelled { throw .cancelled }
    guard let lock = try await turn() else { return true }
    defer { lock.release() }
    try await begin()
    do throws(OCIError) {
      let reader = try await source.open(blob.descriptor)
      while let chunk = try await reader.next() {
        let written: Int64
        do throws(ImageError) { written = try await write(chunk) } catch {
          throw OCIError(.fileSystem, "", cause: error)
        }
        progress(written)
      }
    } catch {
      if let cause = error.cause as? ImageError { throw cause }
      throw ImageError(error)
    }
    if Task.isCancelled { throw .cancelled }
    try await commit()
    return false
  }

  /// Waits for the right to fetch the blob, so that imports that need the same one fetch it once; nil once it is here.
  private nonisolated func turn() async throws(ImageError) -> NamedLock? {
    while true {
      if try await reuse() { return nil }
      if let lock = try await tryLock() {
        // Between the look and the lock another may have finished.
        guard try await reuse() else { return lock }
        lock.release()
        return nil
      }
      // flock(2) can be waited for only by blocking a thread that nothing can interrupt.
      do { try await Task.sleep(for: .milliseconds(20)) } catch { throw .cancelled }
    }
  }

  private func tryLock() throws(ImageError) -> NamedLock? {
    try makeDirectory(store.ingest)
    return try NamedLock.tryTake("\(store.ingest)/\(blob.descriptor.digest.hex).lock")
  }

  /// Lets readers have the store's own copy, where there is one of the right size.
  private func reuse() throws(ImageError) -> Bool {
    guard let size = try? store.size(of: blob.descriptor.digest) else { return false }
    guard size == blob.descriptor.size else {
      // Either the descriptor lies or the store is damaged: what comes is verified and takes its place.
      return false
    }
    let path = try store.path(of: blob.descriptor.digest)
    let file: FileDescriptor
    do throws(SystemError) {
      file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW)
    } catch {
      return false
    }
    try blob.begin(file)
    blob.advance(to: size)
    return true
  }

  private func begin() throws(ImageError) {
    let writer = try BlobWriter(store: store, digest: blob.descriptor.digest, size: blob.descriptor.size)
    self.writer = writer
    try blob.begin(writer.file.descriptor)
  }

  private func write(_ chunk: BlobChunk) throws(ImageError) -> Int64 {
    try chunk.withUnsafeBytes { (bytes) throws(ImageError) in try writer?.write(bytes) }
    written += Int64(chunk.count)
    blob.advance(to: written)
    return written
  }

  private func commit() throws(ImageError) {
    try writer?.commit()
    writer = nil
  }

  private func abandon() {
    writer?.abandon()
    writer = nil
  }
}

extension ImageError {
  static var cancelled: ImageError { ImageError(.cancelled, "interrupted", cause: CancellationError()) }

  /// A source's error in this module's terms; the original stays its cause.
  init(_ error: OCIError) {
    if let original = error.cause as? ImageError {
      self.init(original.code, error.message, advice: error.advice, cause: original.cause)
      return
    }
    let code: Code =
      switch error.code {
      case .invalidReference: .invalidReference
      case .notFound: .notFound
      case .unsupported, .noSuitablePlatform: .unsupported
      case .invalidDocument, .digestMismatch, .sizeMismatch, .invalidLayout: .corrupt
      case .limitExceeded: .limitExceeded
      case .cancelled: .cancelled
      case .unreachable, .timedOut, .tls, .denied, .badResponse, .fileSystem: .io
      }
    self.init(code, error.message, advice: error.advice, cause: error)
  }
}
