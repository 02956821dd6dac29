/// A stream of bytes that is read once, front to back: a blob, what is unpacked from it, a file of an archive.
///
/// Reading blocks, so it belongs on a thread of its own (`ThreadExecutor`). A source is used by one thread at a time.
public protocol ByteSource: AnyObject {
  /// Fills the front of `buffer` and returns the number of bytes; 0 at the end of the stream only.
  ///
  /// Fewer bytes than the buffer holds do not mean the end. A buffer of no bytes returns 0.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int
}

extension ByteSource {
  /// Fills the whole buffer unless the stream ends before; returns the number of bytes.
  public func readFully(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    var done = 0
    while done < buffer.count {
      let count = try read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Reads to the end and returns the number of bytes, which nobody else sees.
  ///
  /// After a tar archive's end this brings the rest of the layer under its digest.
  @discardableResult
  public func drain() throws(ImageError) -> UInt64 {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    var total: UInt64 = 0
    while true {
      let count = try read(into: buffer)
      if count == 0 { return total }
      total += UInt64(count)
    }
  }

  /// Reads the rest of the stream into memory.
  ///
  /// - Throws: `limitExceeded` when there are more than `limit` bytes.
  public func readAll(limit: Int) throws(ImageError) -> [UInt8] {
    var bytes: [UInt8] = []
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    while true {
      let count = try read(into: buffer)
      if count == 0 { return bytes }
      guard bytes.count + count <= limit else {
        throw ImageError(.limitExceeded, "the data is longer than \(limit) bytes, the most that is read into memory")
      }
      bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }
}

/// Bytes in memory as a stream.
public final class MemoryByteSource: ByteSource {
  private let bytes: [UInt8]
  private var offset = 0

  public init(_ bytes: [UInt8]) { self.bytes = bytes }

  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let count = min(buffer.count, bytes.count - offset)
    if count == 0 { return 0 }
    buffer.copyBytes(from: bytes[offset..<offset + count])
    offset += count
    return count
  }
}

/// A byte source made of a closure, for glue code: it fills the buffer's front and returns the count, 0 at the end.
public final class ClosureByteSource: ByteSource {
  private let body: (UnsafeMutableRawBufferPointer) throws(ImageError) -> Int

  public init(_ body: @escaping (UnsafeMutableRawBufferPointer) throws(ImageError) -> Int) { self.body = body }

  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int { try body(buffer) }
}

/// A source that can pass over bytes without reading them, such as a file.
protocol SkippingByteSource: ByteSource {
  /// Passes over `count` bytes, or as many as there are; returns how many.
  func skip(_ count: UInt64) throws(ImageError) -> UInt64
}
