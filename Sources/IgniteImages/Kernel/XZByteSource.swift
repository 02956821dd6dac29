internal import CLZMA
internal import Glibc

/// Unpacks .xz streams with liblzma, on several threads where the stream's blocks allow it (dpkg-deb's do).
final class XZByteSource: ByteSource {
  private static let inputSize = 256 * 1024
  /// Enough for `xz -9` (64 MiB of dictionary) and for two threads over blocks of 24 MiB.
  private static let memoryLimit: UInt64 = 256 << 20

  private let source: any ByteSource
  private let limit: UInt64
  private let stream: UnsafeMutablePointer<lzma_stream>
  private let input: UnsafeMutableRawBufferPointer
  private var produced: UInt64 = 0
  private var inputEnded = false
  private var ended = false

  /// - Parameters:
  ///   - source: the packed bytes.
  ///   - limit: the most bytes that may come out.
  ///   - concatenated: whether more streams may follow the first one, up to the source's end; otherwise what follows
  ///     the first stream is left alone.
  init(_ source: any ByteSource, limit: UInt64, concatenated: Bool) throws(ImageError) {
    self.source = source
    self.limit = limit
    stream = .allocate(capacity: 1)
    stream.initialize(to: lzma_stream())
    input = .allocate(byteCount: Self.inputSize, alignment: 64)
    var options = lzma_mt()
    options.flags = concatenated ? ignite_lzma_concatenated : 0
    options.threads = UInt32(max(1, min(4, sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
    options.memlimit_threading = Self.memoryLimit
    options.memlimit_stop = Self.memoryLimit
    guard lzma_stream_decoder_mt(stream, &options) == LZMA_OK else {
      throw ImageError(.io, "the xz decoder cannot be started: not enough memory")
    }
  }

  deinit {
    lzma_end(stream)
    stream.deallocate()
    input.deallocate()
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    guard let base = buffer.baseAddress, buffer.count > 0, !ended else { return 0 }
    stream.pointee.next_out = base.assumingMemoryBound(to: UInt8.self)
    stream.pointee.avail_out = buffer.count
    while true {
      if stream.pointee.avail_in == 0, !inputEnded {
        let count = try source.read(into: input)
        inputEnded = count == 0
        stream.pointee.next_in = UnsafePointer(input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = count
      }
      let result = lzma_code(stream, inputEnded ? LZMA_FINISH : LZMA_RUN)
      let count = buffer.count - stream.pointee.avail_out
      if result == LZMA_STREAM_END { ended = true } else { try check(result) }
      if count > 0 || ended {
        produced += UInt64(count)
        guard produced <= limit else {
          throw ImageError(.limitExceeded, "the xz data unpacks to more than \(limit) bytes")
        }
        return count
      }
    }
  }

  private func check(_ result: lzma_ret) throws(ImageError) {
    switch result {
    case LZMA_OK: return
    case LZMA_FORMAT_ERROR: throw ImageError(.corrupt, "the data is not xz")
    case LZMA_BUF_ERROR:
      throw ImageError(.corrupt, "the xz data is truncated: it ends after \(produced) unpacked bytes")
    case LZMA_MEM_ERROR: throw ImageError(.io, "there is not enough memory to unpack xz data")
    case LZMA_MEMLIMIT_ERROR:
      throw ImageError(.limitExceeded, "the xz data wants more than \(Self.memoryLimit >> 20) MiB of memory to unpack")
    case LZMA_OPTIONS_ERROR: throw ImageError(.unsupported, "the xz data uses options that are not supported")
    default: throw ImageError(.corrupt, "the xz data is damaged after \(produced) unpacked bytes")
    }
  }
}
