internal import CExt2fs
internal import Glibc

/// Copies files with holes: blocks are shared where the host's file system can, and holes stay holes elsewhere.
public enum SparseCopy {
  /// How a copy was made.
  public enum Method: String, Sendable {
    /// Both files share their blocks until one is written.
    case clone
    /// The data was copied, holes left out.
    case data
  }

  static let seekData: Int32 = 3
  private static let seekHole: Int32 = 4

  /// Copies a regular file to a new one; blocking.
  ///
  /// - Throws: `notFound`, `alreadyExists`, `noSpace` or `io`; the new file is removed then.
  @discardableResult
  public static func copy(from source: String, to target: String) throws(ImageError) -> Method {
    let input = open(source, O_RDONLY | O_CLOEXEC)
    if input < 0 { throw .system("open", source) }
    let from = OwnedDescriptor(input)
    var status = stat()
    if fstat(input, &status) != 0 { throw .system("read", source) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw ImageError(.io, "\(source) is not a regular file") }
    let output = open(target, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, status.st_mode & 0o777)
    if output < 0 { throw .system("create", target) }
    let to = OwnedDescriptor(output)
    do throws(ImageError) {
      if ignite_clone_file(output, input) == 0 { return .clone }
      if ftruncate(output, status.st_size) != 0 { throw .system("extend", target) }
      try copyData(from, source, to, target, size: Int64(status.st_size))
      return .data
    } catch {
      unlink(target)
      throw error
    }
  }

  private static func copyData(
    _ from: OwnedDescriptor, _ source: String, _ to: OwnedDescriptor, _ target: String, size: Int64
  ) throws(ImageError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var position: Int64 = 0
    while position < size {
      var start = Int64(lseek(from.number, off_t(position), seekData))
      if start < 0 {
        if errno == ENXIO { return }
        // No such call there: all of it is data.
        guard errno == EINVAL || errno == EOPNOTSUPP else { throw .system("read", source) }
        start = position
      }
      var end = Int64(lseek(from.number, off_t(start), seekHole))
      if end < 0 { end = size }
      position = start
      while position < end {
        let count = pread(
          from.number, buffer.baseAddress, Int(min(Int64(buffer.count), end - position)), off_t(position))
        if count < 0, errno == EINTR { continue }
        if count < 0 { throw .system("read", source) }
        if count == 0 { return }
        try write(UnsafeRawBufferPointer(rebasing: buffer[..<count]), to, target, at: position)
        position += Int64(count)
      }
    }
  }

  private static func write(
    _ bytes: UnsafeRawBufferPointer, _ to: OwnedDescriptor, _ target: String, at offset: Int64
  ) throws(ImageError) {
    var done = 0
    while done < bytes.count {
      let count = pwrite(
        to.number, bytes.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset) + off_t(done))
      if count < 0, errno == EINTR { continue }
      if count < 0 { throw .system("write", target) }
      done += count
    }
  }
}
