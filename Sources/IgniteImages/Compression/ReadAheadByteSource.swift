internal import Glibc

/// Reads a source ahead on a thread of its own, so that unpacking and digesting one piece go on while the one before is
/// written to the disk. At most four pieces of 512 KiB are held.
///
/// The source belongs to that thread from here on; once `read` has returned 0 or thrown, it may be used again. A reader
/// that goes away lets the thread end after the piece under way.
public final class ReadAheadByteSource: ByteSource {
  private let ring: Ring
  private var piece: UnsafeMutableRawBufferPointer?
  private var offset = 0

  /// - Throws: `io` where the system refuses a thread.
  public init(_ source: any ByteSource) throws(ImageError) {
    ring = Ring(source)
    let box = Unmanaged.passRetained(ring)
    var thread = pthread_t()
    let failure = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        Unmanaged<Ring>.fromOpaque(argument).takeRetainedValue().fill()
        return nil
      }, box.toOpaque())
    guard failure == 0 else {
      box.release()
      throw ImageError(.io, "the system refuses a thread: \(systemMessage(failure))")
    }
    pthread_detach(thread)
  }

  deinit { ring.stop() }

  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    if buffer.isEmpty { return 0 }
    if piece == nil {
      piece = try ring.take()
      offset = 0
    }
    guard let piece else { return 0 }
    let count = min(buffer.count, piece.count - offset)
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[offset..<offset + count]))
    offset += count
    if offset == piece.count {
      ring.giveBack()
      self.piece = nil
    }
    return count
  }
}

/// The pieces between the two threads. Not a Swift actor: both sides block, one of them outside of Swift's pool.
///
/// Its fields but `source` are used under `lock` only; a piece's memory belongs to one side at a time.
private final class Ring {
  private static let pieceSize = 512 * 1024
  private static let pieces = 4

  private let source: any ByteSource
  private let memory: UnsafeMutableRawBufferPointer
  private var lengths = [Int](repeating: 0, count: pieces)
  private var first = 0
  private var count = 0
  private var end: Result<Void, ImageError>?
  private var stopped = false
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  init(_ source: any ByteSource) {
    self.source = source
    memory = .allocate(byteCount: Self.pieceSize * Self.pieces, alignment: 4096)
    pthread_mutex_init(lock, nil)
    pthread_cond_init(changed, nil)
  }

  deinit {
    pthread_mutex_destroy(lock)
    pthread_cond_destroy(changed)
    lock.deallocate()
    changed.deallocate()
    memory.deallocate()
  }

  /// The reading thread's work.
  func fill() {
    while let index = free() {
      var length = 0
      var outcome: Result<Void, ImageError>?
      do throws(ImageError) {
        length = try source.readFully(into: slice(index, Self.pieceSize))
        if length < Self.pieceSize { outcome = .success(()) }
      } catch {
        // What was read of this piece is lost, as the stream is with the error.
        outcome = .failure(error)
      }
      put(index, length, outcome)
      if outcome != nil { return }
    }
  }

  private func free() -> Int? {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    while count == Self.pieces, !stopped { pthread_cond_wait(changed, lock) }
    return stopped ? nil : (first + count) % Self.pieces
  }

  private func put(_ index: Int, _ length: Int, _ outcome: Result<Void, ImageError>?) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    lengths[index] = length
    if length > 0 { count += 1 }
    end = outcome
    pthread_cond_signal(changed)
  }

  /// The next piece; nil at the end.
  func take() throws(ImageError) -> UnsafeMutableRawBufferPointer? {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    while count == 0, end == nil { pthread_cond_wait(changed, lock) }
    if count > 0 { return slice(first, lengths[first]) }
    try end?.get()
    return nil
  }

  func giveBack() {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    first = (first + 1) % Self.pieces
    count -= 1
    pthread_cond_signal(changed)
  }

  func stop() {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    stopped = true
    pthread_cond_signal(changed)
  }

  private func slice(_ index: Int, _ length: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: memory[index * Self.pieceSize..<index * Self.pieceSize + length])
  }
}
