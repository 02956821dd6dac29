internal import Glibc
internal import IgniteSystem

/// A blob that is a file of this machine, read on a thread of its own.
public actor FileBlobReader: BlobReader {
  private let executor = ThreadExecutor(name: "ignite-blob")
  private let path: String
  private let piece = 256 << 10
  private var file: FileDescriptor?
  private var ended = false

  public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  public init(path: String) { self.path = path }

  public func next() async throws(OCIError) -> BlobChunk? {
    guard !Task.isCancelled else { throw .cancelled }
    guard !ended else { return nil }
    do throws(SystemError) {
      let file: FileDescriptor
      if let open = self.file { file = open } else { file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW) }
      self.file = file
      var bytes = [UInt8](repeating: 0, count: piece)
      let count = try retrying("read \(path)") { read(file.number, &bytes, bytes.count) }
      guard count > 0 else {
        ended = true
        self.file = nil
        return nil
      }
      bytes.removeLast(bytes.count - count)
      return BlobChunk(bytes)
    } catch {
      throw OCIError(
        error.code == ENOENT ? .notFound : .fileSystem, "cannot read the blob: \(error.message)", cause: error)
    }
  }
}
