internal import CIgniteSystem
internal import Glibc

/// Reads a source ahead on a thread of its own, so that unpacking goes on while the piece before is written to the disk;
/// where there is a digest, a second thread takes it of the same pieces meanwhile. At most eight pieces of 256 KiB are held.
///
/// The source belongs to those threads from here on; once `read` has returned 0 or thrown, it may be used again. A reader
/// that goes away lets them end after the piece under way.
public final class ReadAheadByteSource: ByteSource {
  private let ring: Ring
  private var piece: UnsafeMutableRawBufferPointer?
  private var offset = 0

  /// - Parameter digest: taken of all bytes; `finish` gives its result.
  /// - Throws: `io` where the system refuses a thread.
  public init(_ source: any ByteSource, digest: (any StreamingDigest)? = nil) throws(ImageError) {
    let ring = Ring(source, digest)
    self.ring = ring
    try Self.thread("ignite-unpack") { ring.fill() }
    guard digest != nil else { return }
    do throws(ImageError) {
      try Self.thread("ignite-digest") { ring.digestAll() }
    } catch {
      ring.stop()
      throw error
    }
  }

  deinit { ring.stop() }

  private final class Body {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
  }

  private static func thread(_ name: String, _ body: @escaping () -> Void) throws(ImageError) {
    let box = Unmanaged.passRetained(Body(body))
    let failure = ignite_thread_start(
      name, { argument in argument.map { Unmanaged<Body>.fromOpaque($0).takeRetainedValue().run() } }, box.toOpaque())
    guard failure == 0 else {
      box.release()
      throw ImageError(.io, "the system refuses a thread: \(systemMessage(failure))")
    }
  }

  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    if buffer.isEmpty { return 0 }
    if piece == nil {
      piece = try ring.take(.reader)
      offset = 0
    }
    guard let piece else { return 0 }
    let count = min(buffer.count, piece.count - offset)
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[offset..<offset + count]))
    offset += count
    if offset == piece.count {
      ring.giveBack(.reader)
      self.piece = nil
    }
    return count
  }

  /// The digest of the whole source; to be asked for once `read` has returned 0. Empty where none was wanted.
  public func finish() -> [UInt8] { ring.digestResult() }
}

/// The pieces between the threads. Not a Swift actor: all sides block, some of them outside of Swift's pool.
///
/// `source` is used by the filling thread only, `digest` by the digesting one. A piece's memory is written by the filling
/// thread while no consumer has it, and only read by the consumers after.
private final class Ring {
  private static let pieceSize = 256 * 1024
  private static let pieces = 8

  enum Consumer: Int { case reader, digester }

  private struct State {
    var lengths = [Int](repeating: 0, count: Ring.pieces)
    /// How many pieces were filled so far, and how many each consumer has given back.
    var filled = 0
    var passed: [Int]
    var end: Result<Void, ImageError>?
    var digest: [UInt8]?
    var stopped = false
  }

  private let source: any ByteSource
  private var digest: (any StreamingDigest)?
  private let memory: UnsafeMutableRawBufferPointer
  private let state: Condition<State>

  init(_ source: any ByteSource, _ digest: (any StreamingDigest)?) {
    self.source = source
    self.digest = digest
    state = Condition(State(passed: digest == nil ? [0] : [0, 0]))
    memory = .allocate(byteCount: Self.pieceSize * Self.pieces, alignment: 4096)
  }

  deinit { memory.deallocate() }

  /// The filling thread's work.
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
      state.update { state in
        state.lengths[index] = length
        if length > 0 { state.filled += 1 }
        state.end = outcome
      }
      if outcome != nil { return }
    }
  }

  private func free() -> Int? {
    // -1 stands for the end: an optional of an optional reads too easily as the wrong one.
    let index = state.wait { state -> Int? in
      if state.stopped { return -1 }
      return state.filled - (state.passed.min() ?? 0) < Self.pieces ? state.filled % Self.pieces : nil
    }
    return index < 0 ? nil : index
  }

  /// The digesting thread's work.
  func digestAll() {
    while let piece = try? take(.digester) {
      digest?.update(bufferPointer: UnsafeRawBufferPointer(piece))
      giveBack(.digester)
    }
    let bytes = digest?.finish() ?? []
    state.update { $0.digest = bytes }
  }

  func digestResult() -> [UInt8] {
    state.wait { $0.passed.count == 1 || $0.stopped ? $0.digest ?? [] : $0.digest }
  }

  /// The next piece; nil at the end.
  func take(_ consumer: Consumer) throws(ImageError) -> UnsafeMutableRawBufferPointer? {
    typealias Step = Result<UnsafeMutableRawBufferPointer?, ImageError>
    let step = state.wait { state -> Step? in
      if state.stopped { return .success(nil) }
      let passed = state.passed[consumer.rawValue]
      if passed < state.filled {
        return .success(slice(passed % Self.pieces, state.lengths[passed % Self.pieces]))
      }
      return state.end?.map { nil }
    }
    return try step.get()
  }

  func giveBack(_ consumer: Consumer) { state.update { $0.passed[consumer.rawValue] += 1 } }

  func stop() { state.update { $0.stopped = true } }

  private func slice(_ index: Int, _ length: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: memory[index * Self.pieceSize..<index * Self.pieceSize + length])
  }
}
