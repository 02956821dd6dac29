internal import Glibc

/// A part of a file, or all of it, as a stream.
public final class FileByteSource: ByteSource {
  private let descriptor: OwnedDescriptor
  private let path: String
  private var offset: Int64
  private let end: Int64

  /// Opens a regular file, without following a symbolic link at the end of its path.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - offset: where the part begins, in bytes.
  ///   - length: how many bytes the part has; nil for all up to the file's end.
  /// - Throws: `notFound` or `io`; `corrupt` where the file is shorter than the part.
  public init(path: String, offset: Int64 = 0, length: Int64? = nil) throws(ImageError) {
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    if number < 0 { throw .system("open", path) }
    descriptor = OwnedDescriptor(number)
    self.path = path
    var status = stat()
    if fstat(number, &status) != 0 { throw .system("read", path) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw ImageError(.io, "\(path) is not a regular file") }
    let size = Int64(status.st_size)
    guard offset >= 0, offset <= size, (length ?? 0) >= 0, (length ?? 0) <= size - offset else {
      throw ImageError(.corrupt, "\(path) has \(size) bytes and the part wanted lies beyond them")
    }
    self.offset = offset
    end = length.map { offset + $0 } ?? size
    posix_fadvise(number, off_t(offset), off_t(end - offset), POSIX_FADV_SEQUENTIAL)
  }

  /// The number of bytes not yet read.
  public var remaining: Int64 { end - offset }

  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let wanted = Int(min(Int64(buffer.count), end - offset))
    if wanted == 0 { return 0 }
    while true {
      let count = pread(descriptor.number, buffer.baseAddress, wanted, off_t(offset))
      if count > 0 {
        offset += Int64(count)
        return count
      }
      if count == 0 { throw ImageError(.io, "\(path) became shorter while it was read") }
      if errno != EINTR { throw .system("read", path) }
    }
  }
}
