internal import CZstd

/// Unpacks Zstandard (RFC 8878): frames one after the other, skippable ones (as zstd:chunked and pzstd write them) left
/// out, each frame's checksum compared where it has one.
public final class ZstdByteSource: ByteSource {
  private static let inputSize = 256 * 1024
  /// The largest window that is taken, as a power of two: 128 MiB, what `zstd -d` takes too. It is memory.
  private static let windowLog: Int32 = 27

  private let source: any ByteSource
  private let limit: UInt64
  private let stream: OpaquePointer
  private let memory: UnsafeMutableRawBufferPointer
  private var input = ZSTD_inBuffer()
  private var produced: UInt64 = 0
  /// What the decoder last asked for; 0 between frames.
  private var wanted = 0
  private var inputEnded = false
  private var frames = 0
  private let onlyFirst: Bool

  /// - Parameters:
  ///   - source: the packed bytes.
  ///   - limit: the most bytes that may come out, against bombs; default 128 GiB.
  ///   - concatenated: whether more frames may follow the first one, up to the source's end; otherwise what follows the
  ///     first frame is left alone.
  public init(_ source: any ByteSource, limit: UInt64 = 128 << 30, concatenated: Bool = true) throws(ImageError) {
    guard let stream = ZSTD_createDStream() else {
      throw ImageError(.io, "the zstd decoder cannot be started: not enough memory")
    }
    self.source = source
    self.limit = limit
    onlyFirst = !concatenated
    self.stream = stream
    memory = .allocate(byteCount: Self.inputSize, alignment: 64)
    input.src = UnsafeRawPointer(memory.baseAddress)
    ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, Self.windowLog)
  }

  deinit {
    ZSTD_freeDStream(stream)
    memory.deallocate()
  }

  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    guard buffer.count > 0 else { return 0 }
    var output = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
    while output.pos == 0 {
      if onlyFirst, frames > 0, wanted == 0 { return 0 }
      if input.pos == input.size, !inputEnded {
        input.size = try source.read(into: memory)
        input.pos = 0
        inputEnded = input.size == 0
      }
      if inputEnded, wanted == 0 {
        if frames == 0 { throw ImageError(.corrupt, "the zstd data is truncated: it has no bytes at all") }
        return 0
      }
      let before = input.pos
      let result = ZSTD_decompressStream(stream, &output, &input)
      if ZSTD_isError(result) != 0 { throw failure(result) }
      if wanted == 0, input.pos > before { frames += 1 }
      wanted = result
      if inputEnded, output.pos == 0, wanted > 0 {
        throw ImageError(.corrupt, "the zstd data is truncated: it ends after \(produced) unpacked bytes")
      }
    }
    produced += UInt64(output.pos)
    guard produced <= limit else {
      throw ImageError(
        .limitExceeded, "the zstd data unpacks to more than \(limit) bytes",
        advice: "raise the limit if you trust the image")
    }
    return output.pos
  }

  private func failure(_ result: Int) -> ImageError {
    switch ZSTD_getErrorCode(result) {
    case ZSTD_error_frameParameter_windowTooLarge:
      return ImageError(
        .limitExceeded, "the zstd data wants a window of more than \(1 << (Self.windowLog - 20)) MiB of memory",
        advice: "pack it again without --long or --ultra")
    case ZSTD_error_prefix_unknown:
      return frames == 0
        ? ImageError(.corrupt, "the data is not zstd")
        : ImageError(.corrupt, "the zstd data is followed by bytes that are no zstd data")
    case ZSTD_error_checksum_wrong:
      return ImageError(.corrupt, "the zstd data is damaged: the checksum of frame \(frames) does not match")
    case ZSTD_error_dictionary_wrong:
      return ImageError(.unsupported, "the zstd data needs a dictionary, which is not supported")
    case ZSTD_error_memory_allocation: return ImageError(.io, "there is not enough memory to unpack zstd data")
    default: return ImageError(.corrupt, "the zstd data is damaged after \(produced) unpacked bytes")
    }
  }
}
