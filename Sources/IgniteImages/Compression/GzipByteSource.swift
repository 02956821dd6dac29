internal import CISAL
internal import Glibc

/// Unpacks gzip (RFC 1952) with ISA-L: concatenated members, each with its checksum and length checked; zero bytes
/// after the last member are ignored, as GNU gzip does, and any other garbage is an error.
public final class GzipByteSource: ByteSource {
  private static let inputSize = 256 * 1024

  private let source: any ByteSource
  private let limit: UInt64
  private var state: UnsafeMutablePointer<inflate_state>
  private var input: UnsafeMutableRawBufferPointer
  private var produced: UInt64 = 0
  private var members = 0
  private var phase = Phase.betweenMembers

  private enum Phase {
    case betweenMembers, inMember, done
  }

  /// - Parameters:
  ///   - source: the packed bytes.
  ///   - limit: the most bytes that may come out, against bombs; default 128 GiB.
  public init(_ source: any ByteSource, limit: UInt64 = 128 << 30) {
    self.source = source
    self.limit = limit
    state = .allocate(capacity: 1)
    state.initialize(to: inflate_state())
    input = .allocate(byteCount: Self.inputSize, alignment: 64)
    isal_inflate_init(state)
    state.pointee.crc_flag = UInt32(ISAL_GZIP)
  }

  deinit {
    state.deallocate()
    input.deallocate()
  }

  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    guard let base = buffer.baseAddress, buffer.count > 0 else { return 0 }
    let room = UInt32(min(buffer.count, 1 << 30))
    while true {
      switch phase {
      case .done: return 0
      case .betweenMembers: try startMember()
      case .inMember:
        // At the end of the input ISA-L may still hold output.
        if state.pointee.avail_in == 0 { _ = try refill() }
        state.pointee.next_out = base.assumingMemoryBound(to: UInt8.self)
        state.pointee.avail_out = room
        let before = state.pointee.avail_in
        let result = isal_inflate(state)
        try check(result)
        let count = Int(room - state.pointee.avail_out)
        produced += UInt64(count)
        guard produced <= limit else {
          throw ImageError(
            .limitExceeded, "the gzip data unpacks to more than \(limit) bytes",
            advice: "raise the limit if you trust the image")
        }
        if state.pointee.block_state == ISAL_BLOCK_FINISH {
          phase = .betweenMembers
        } else if count == 0, before == state.pointee.avail_in, before == 0 {
          throw ImageError(
            .corrupt, "the gzip data is truncated: it ends after \(produced) unpacked bytes, inside member \(members)")
        }
        if count > 0 { return count }
      }
    }
  }

  /// Skips zero padding, then starts a member, or ends the stream where there are no more bytes.
  private func startMember() throws(ImageError) {
    if members > 0 {
      // Within the padding only zeros count; a member begins with 0x1f.
      while true {
        if state.pointee.avail_in == 0, try refill() == 0 {
          phase = .done
          return
        }
        if state.pointee.next_in.pointee != 0 { break }
        state.pointee.next_in += 1
        state.pointee.avail_in -= 1
      }
      guard state.pointee.next_in.pointee == 0x1f else {
        throw ImageError(.corrupt, "the gzip data is followed by bytes that are no gzip data")
      }
      isal_inflate_reset(state)
      state.pointee.crc_flag = UInt32(ISAL_GZIP)
    } else if state.pointee.avail_in == 0, try refill() == 0 {
      throw ImageError(.corrupt, "the gzip data is truncated: it has no bytes at all")
    }
    members += 1
    phase = .inMember
  }

  private func refill() throws(ImageError) -> Int {
    let count = try source.read(into: input)
    if let base = input.baseAddress { state.pointee.next_in = base.assumingMemoryBound(to: UInt8.self) }
    state.pointee.avail_in = UInt32(count)
    return count
  }

  private func check(_ result: Int32) throws(ImageError) {
    switch result {
    case ISAL_DECOMP_OK, ISAL_END_INPUT, ISAL_OUT_OVERFLOW: return
    case ISAL_INVALID_WRAPPER: throw ImageError(.corrupt, "the data is not gzip: member \(members) has no valid header")
    case ISAL_UNSUPPORTED_METHOD:
      throw ImageError(.unsupported, "the gzip data is packed by a method other than deflate")
    case ISAL_INCORRECT_CHECKSUM:
      throw ImageError(.corrupt, "the gzip data is damaged: the checksum of member \(members) does not match")
    default:
      throw ImageError(.corrupt, "the gzip data is damaged after \(produced) unpacked bytes, in member \(members)")
    }
  }
}
