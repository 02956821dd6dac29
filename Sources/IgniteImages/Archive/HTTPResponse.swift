/// An answer of HTTP/1.1 (RFC 9112) on a connection that is closed after it: its status, and its body as a stream.
final class HTTPResponse {
  private static let headLimit = 64 << 10
  private static let lineLimit = 4096

  let status: Int
  let body: any ByteSource

  /// Reads the head. Blocking.
  ///
  /// - Throws: `corrupt` for what is no such answer.
  init(_ source: any ByteSource) throws(ImageError) {
    let reader = BufferedReader(source)
    let first = try reader.line(limit: Self.lineLimit)
    let parts = first.split(separator: " ", maxSplits: 2)
    guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), parts[1].utf8.count == 3, let status = Int(parts[1]) else {
      throw ImageError(.corrupt, "the answer is not HTTP", advice: "is that socket the Docker daemon's?")
    }
    self.status = status
    var headBytes = first.utf8.count
    var isChunked = false
    var length: UInt64?
    while true {
      let line = try reader.line(limit: Self.headLimit)
      if line.isEmpty { break }
      headBytes += line.utf8.count
      guard headBytes <= Self.headLimit else { throw ImageError(.limitExceeded, "the answer's head is too long") }
      guard let colon = line.firstIndex(of: ":") else { throw ImageError(.corrupt, "the answer's head is damaged") }
      let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
      switch line[..<colon].lowercased() {
      case "transfer-encoding": isChunked = value.lowercased() == "chunked"
      case "content-length":
        guard let number = UInt64(value) else { throw ImageError(.corrupt, "the answer's length is no number") }
        length = number
      default: continue
      }
    }
    if isChunked {
      body = ChunkedByteSource(reader)
    } else if let length {
      body = ExactByteSource(reader, length: length)
    } else {
      body = reader
    }
  }
}

/// A source that is read by lines and by bytes.
private final class BufferedReader: ByteSource {
  private let source: any ByteSource
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 64)
  private var available = 0..<0

  init(_ source: any ByteSource) { self.source = source }

  deinit { buffer.deallocate() }

  func read(into target: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    if available.isEmpty { return try source.read(into: target) }
    let count = min(target.count, available.count)
    let end = available.lowerBound + count
    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[available.lowerBound..<end]))
    available = end..<available.upperBound
    return count
  }

  /// A line without its end.
  func line(limit: Int) throws(ImageError) -> String {
    var bytes: [UInt8] = []
    while true {
      if available.isEmpty {
        let count = try source.read(into: buffer)
        guard count > 0 else { throw ImageError(.corrupt, "the answer ends early") }
        available = 0..<count
      }
      let byte = buffer[available.lowerBound]
      available = available.lowerBound + 1..<available.upperBound
      if byte == 0x0a {
        if bytes.last == 0x0d { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
      }
      guard bytes.count < limit else { throw ImageError(.limitExceeded, "a line of the answer is too long") }
      bytes.append(byte)
    }
  }
}

/// A body of a known length; shorter is an error.
private final class ExactByteSource: ByteSource {
  private let source: any ByteSource
  private var left: UInt64

  init(_ source: any ByteSource, length: UInt64) {
    self.source = source
    left = length
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let wanted = Int(min(UInt64(buffer.count), left))
    if wanted == 0 { return 0 }
    let count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
    guard count > 0 else { throw ImageError(.corrupt, "the answer ends \(left) bytes early") }
    left -= UInt64(count)
    return count
  }
}

/// A body in chunks (RFC 9112, 7.1); it ends with an empty one, and an end without that is an error.
private final class ChunkedByteSource: ByteSource {
  private let reader: BufferedReader
  private var left: UInt64 = 0
  private var isFirst = true
  private var ended = false

  init(_ reader: BufferedReader) { self.reader = reader }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    if buffer.isEmpty || ended { return 0 }
    if left == 0 {
      if !isFirst, try !reader.line(limit: 16).isEmpty { throw ImageError(.corrupt, "the answer's chunks are damaged") }
      isFirst = false
      let size = try reader.line(limit: 1024).prefix { $0 != ";" && $0 != " " }
      guard size.utf8.count <= 15, let count = UInt64(size, radix: 16) else {
        throw ImageError(.corrupt, "the answer's chunks are damaged")
      }
      left = count
      if count == 0 {
        // Trailing fields, which nobody needs, up to an empty line.
        for _ in 0..<64 where try reader.line(limit: 4096).isEmpty {
          ended = true
          return 0
        }
        throw ImageError(.limitExceeded, "the answer has too many trailing fields")
      }
    }
    let wanted = Int(min(UInt64(buffer.count), left))
    let count = try reader.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
    guard count > 0 else { throw ImageError(.corrupt, "the answer ends in the middle of a chunk") }
    left -= UInt64(count)
    return count
  }
}
