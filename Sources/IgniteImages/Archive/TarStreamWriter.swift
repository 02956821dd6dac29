internal import Glibc

/// Writes a tar archive (POSIX ustar) front to back to a descriptor, which may be a pipe.
///
/// Owners are root and times 0, so that the same content gives the same bytes. Blocking; one thread at a time.
final class TarStreamWriter {
  private let output: ArchiveOutput
  private static let block = 512

  init(_ output: ArchiveOutput) { self.output = output }

  func directory(_ name: String) throws(ImageError) {
    try output.write(Self.header(name: name + "/", size: 0, type: UInt8(ascii: "5"), mode: 0o755))
  }

  func file(_ name: String, _ bytes: [UInt8]) throws(ImageError) {
    try file(name, size: UInt64(bytes.count), MemoryByteSource(bytes))
  }

  /// - Parameter size: exactly what the source gives.
  /// - Throws: `corrupt` where it gives more or less.
  func file(_ name: String, size: UInt64, _ source: any ByteSource) throws(ImageError) {
    try output.write(Self.header(name: name, size: size, type: UInt8(ascii: "0"), mode: 0o644))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    defer { buffer.deallocate() }
    var rest = size
    while true {
      let count = try source.readFully(into: buffer)
      guard UInt64(count) <= rest else { throw ImageError(.corrupt, "\(name) is longer than its \(size) bytes") }
      try output.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      rest -= UInt64(count)
      if count < buffer.count { break }
    }
    guard rest == 0 else { throw ImageError(.corrupt, "\(name) ends \(rest) bytes early") }
    let over = Int(size % UInt64(Self.block))
    if over > 0 { try output.write([UInt8](repeating: 0, count: Self.block - over)) }
  }

  /// The two empty blocks that end an archive.
  func finish() throws(ImageError) { try output.write([UInt8](repeating: 0, count: 2 * Self.block)) }

  /// A header block.
  ///
  /// - Parameters:
  ///   - name: at most 100 bytes of it; the archives made here have no longer ones.
  ///   - link: a link's target, of which the same holds.
  static func header(name: String, size: UInt64, type: UInt8, mode: UInt64, link: String = "") -> [UInt8] {
    var header = [UInt8](repeating: 0, count: block)
    func put(_ bytes: some Sequence<UInt8>, at offset: Int) {
      for (index, byte) in bytes.enumerated() { header[offset + index] = byte }
    }
    func octal(_ value: UInt64, digits: Int) -> [UInt8] {
      let text = Array(String(value, radix: 8).utf8)
      return [UInt8](repeating: UInt8(ascii: "0"), count: max(0, digits - text.count)) + text
    }
    put(name.utf8.prefix(100), at: 0)
    put(octal(mode, digits: 7), at: 100)
    put(octal(0, digits: 7), at: 108)
    put(octal(0, digits: 7), at: 116)
    if size < 1 << 33 {
      put(octal(size, digits: 11), at: 124)
    } else {
      // GNU's binary form, which every reader of large archives knows.
      header[124] = 0x80
      for index in 0..<8 { header[128 + index] = UInt8(truncatingIfNeeded: size >> UInt64(8 * (7 - index))) }
    }
    put(octal(0, digits: 11), at: 136)
    put([UInt8](repeating: UInt8(ascii: " "), count: 8), at: 148)
    header[156] = type
    put(link.utf8.prefix(100), at: 157)
    put("ustar".utf8, at: 257)
    put("00".utf8, at: 263)
    put(octal(header.reduce(0) { $0 + UInt64($1) }, digits: 6) + [0, UInt8(ascii: " ")], at: 148)
    return header
  }
}

/// A descriptor that is written to from a blocking thread, and given up when the work is cancelled, even while nobody
/// reads what it leads to.
final class ArchiveOutput {
  private let descriptor: OwnedDescriptor
  private let name: String
  private let cancellation: Cancellation

  /// - Parameter number: stays the caller's.
  init(_ number: Int32, name: String, cancellation: Cancellation) throws(ImageError) {
    var status = stat()
    var own: Int32 = -1
    if fstat(number, &status) == 0, status.st_mode & S_IFMT == S_IFIFO {
      // A description of our own, so that others who share the pipe are not made non-blocking.
      own = open("/proc/self/fd/\(number)", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
    }
    if own < 0 { own = fcntl(number, F_DUPFD_CLOEXEC, 0) }
    if own < 0 { throw .system("write", name) }
    descriptor = OwnedDescriptor(own)
    self.name = name
    self.cancellation = cancellation
  }

  func write(_ bytes: [UInt8]) throws(ImageError) {
    let result: Result<Void, ImageError> = bytes.withUnsafeBytes { bytes in
      do throws(ImageError) { return .success(try write(bytes)) } catch { return .failure(error) }
    }
    try result.get()
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws(ImageError) {
    var done = 0
    while done < bytes.count {
      try cancellation.check()
      let count = Glibc.write(descriptor.number, bytes.baseAddress?.advanced(by: done), bytes.count - done)
      if count >= 0 {
        done += count
      } else if errno == EAGAIN {
        var waiting = pollfd(fd: descriptor.number, events: Int16(POLLOUT), revents: 0)
        poll(&waiting, 1, 100)
      } else if errno != EINTR {
        throw .system("write", name)
      }
    }
  }
}
