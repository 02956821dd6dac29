import IgniteImages

/// Hands the bytes on in pieces of a given size.
func source(_ bytes: [UInt8], piece: Int = .max) -> any ByteSource {
  var offset = 0
  return ClosureByteSource { buffer in
    let count = min(buffer.count, piece, bytes.count - offset)
    buffer.copyBytes(from: bytes[offset..<offset + count])
    offset += count
    return count
  }
}

/// 300,000 bytes that pack, but not to nothing.
let sample: [UInt8] = (0..<300_000).map { UInt8(truncatingIfNeeded: ($0 * $0) >> 9) }
