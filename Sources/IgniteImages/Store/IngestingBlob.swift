internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// A blob that may still be growing: one thread writes it, others read it meanwhile.
///
/// What readers get is not verified before the writer says so: whatever is made of it is to be kept only when `outcome`
/// is success.
final class IngestingBlob: Sendable {
  let descriptor: Descriptor
  private let state: Condition<State>

  private struct State {
    var file: FileDescriptor?
    var written: Int64 = 0
    var outcome: Result<Void, ImageError>?
  }

  init(_ descriptor: Descriptor) {
    self.descriptor = descriptor
    state = Condition(State())
  }

  /// Readers can begin: the file is there and grows.
  ///
  /// - Parameter file: stays the caller's; this keeps a descriptor of its own.
  func begin(_ file: FileDescriptor) throws(ImageError) {
    let copy = fcntl(file.number, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw .system("read", "the blob \(descriptor.digest.short)") }
    state.update { $0.file = FileDescriptor(copy) }
  }

  /// So many bytes can be read.
  func advance(to written: Int64) { state.update { $0.written = written } }

  /// Ends the growing, for good: the first outcome stands.
  func end(_ outcome: Result<Void, ImageError>) {
    state.update { if $0.outcome == nil { $0.outcome = outcome } }
  }

  /// Blocks until the blob is whole and verified, or failed.
  func outcome() -> Result<Void, ImageError> { state.wait { $0.outcome } }

  /// The outcome if there is one yet; does not block.
  var currentOutcome: Result<Void, ImageError>? { state.update { $0.outcome } }

  /// A stream over the blob from its start. Reads block while more is to come, and fail as soon as the blob has.
  func source() -> any ByteSource { Reader(self) }

  private enum Step {
    case bytes(FileDescriptor, upTo: Int64)
    case end
    case failure(ImageError)
  }

  private func step(after offset: Int64) -> Step {
    state.wait { state in
      if case .failure(let error) = state.outcome { return .failure(error) }
      if let file = state.file, state.written > offset { return .bytes(file, upTo: state.written) }
      return state.outcome == nil ? nil : .end
    }
  }

  private final class Reader: ByteSource {
    private let blob: IngestingBlob
    private var offset: Int64 = 0

    init(_ blob: IngestingBlob) { self.blob = blob }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
      guard !buffer.isEmpty else { return 0 }
      switch blob.step(after: offset) {
      case .end: return 0
      case .failure(let error): throw error
      case .bytes(let file, let written):
        let wanted = Int(min(Int64(buffer.count), written - offset))
        while true {
          let count = pread(file.number, buffer.baseAddress, wanted, off_t(offset))
          if count > 0 {
            offset += Int64(count)
            return count
          }
          if count == 0 { throw ImageError(.io, "the blob \(blob.descriptor.digest.short) became shorter on the disk") }
          if errno != EINTR { throw .system("read", "the blob \(blob.descriptor.digest.short)") }
        }
      }
    }
  }
}
