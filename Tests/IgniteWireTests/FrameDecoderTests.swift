import Testing

@testable import IgniteWire

@Suite struct FrameDecoderTests {
  private let session: UInt32 = 0xDEAD_1F00
  private var preamble: Preamble { Preamble(session: session) }

  private var sample: [Frame] {
    [
      Frame(.request, stream: 1, payload: [1, 2, 3]),
      Frame(.end, stream: .max, channel: .standardError),
      Frame(.data, stream: 7, channel: .standardOutput, payload: Wire.preambleMagic + [0xA7, 0x1F]),
      .credit(stream: 7, channel: .standardOutput, bytes: 65_536),
    ]
  }

  /// Frames whose payloads hold nothing that a searching decoder takes for a preamble.
  private var plain: [Frame] { sample.filter { !$0.payload.starts(with: Wire.preambleMagic) } }

  private var sampleEvents: [FrameDecoder.Event] { [.preamble(preamble)] + sample.map { .frame($0) } }

  @Test func theBytesAreThoseOfTheDocument() {
    let bytes = Frame(.data, stream: 2, channel: .standardOutput, payload: [0x41]).encoded(session: 0x0102_0304)
    let trailer: UInt32 = ~(0x0102_0304 ^ (2 &* 0x9E37_79B1) ^ (1 << 8))
    let expected: [UInt8] =
      [0xA7, 0x1F, 3, 1, 4, 3, 2, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x41]
      + (0..<4).map { UInt8(truncatingIfNeeded: trailer >> (8 * $0)) }
    #expect(bytes == expected)
    #expect(Preamble(session: 0x0102_0304).encoded() == Wire.preambleMagic + [1, 0, 0, 0, 4, 3, 2, 1])
  }

  @Test func aStreamSplitAnywhereGivesTheSameEvents() {
    let bytes = preamble.encoded() + encode(sample, session: session)
    for first in 0...bytes.count {
      #expect(decode(Array(bytes[..<first]), Array(bytes[first...])) == sampleEvents)
      for second in stride(from: first, through: bytes.count, by: 13) {
        let pieces = [bytes[..<first], bytes[first..<second], bytes[second...]].map(Array.init)
        var decoder = FrameDecoder()
        #expect(decode(pieces, with: &decoder) == sampleEvents)
      }
    }
    var decoder = FrameDecoder()
    #expect(decode(bytes.map { [$0] }, with: &decoder) == sampleEvents)
  }

  @Test func theLargestPayloadPasses() {
    let frame = Frame(.data, stream: 3, payload: [UInt8](repeating: 0, count: Wire.maximumPayload))
    #expect(decode(preamble.encoded(), frame.encoded(session: session)) == [.preamble(preamble), .frame(frame)])
    #expect(frame.encoded(session: session).count == 65_560)
  }

  @Test func aPayloadBeyondTheLimitIsCutByTheSender() {
    let frame = Frame(.data, stream: 3, payload: [UInt8](repeating: 9, count: Wire.maximumPayload + 5))
    var cut = frame
    cut.payload.removeLast(5)
    #expect(decode(preamble.encoded(), frame.encoded(session: session)) == [.preamble(preamble), .frame(cut)])
  }

  @Test func nothingIsDeliveredBeforeAPreamble() {
    #expect(decode(encode(plain, session: session)) == [])
    #expect(decode(encode(plain, session: session), preamble.encoded()) == [.preamble(preamble)])
  }

  @Test func framesOfAnotherSessionAreDropped() {
    let other = Frame(.end, stream: 4).encoded(session: session &+ 1)
    let bytes = preamble.encoded() + other + encode(plain, session: session)
    #expect(decode(bytes) == [.preamble(preamble), .desynchronized])
    #expect(decode(bytes, preamble.encoded()) == [.preamble(preamble), .desynchronized, .preamble(preamble)])
  }

  @Test func everyHeaderFieldThatIsWrongLosesTheFrame() {
    let frame = Frame(.data, stream: 5, channel: .standardOutput, payload: [1, 2, 3, 4])
    let bytes = frame.encoded(session: session)
    // The reserved bytes, type, channel and payload carry no check of their own.
    let unchecked = Set([2, 3] + Array(16..<24))
    for index in bytes.indices where !unchecked.contains(index) {
      var damaged = bytes
      damaged[index] ^= 0x40
      let padding = [UInt8](repeating: 0, count: 65_560)
      let events = decode(preamble.encoded(), damaged, padding, preamble.encoded())
      #expect(events == [.preamble(preamble), .desynchronized, .preamble(preamble)], "byte \(index)")
    }
  }

  @Test func aLengthBeyondTheLimitIsNotWaitedFor() {
    var header = Frame(.data, stream: 5).encoded(session: session)
    header[14] = 1
    header[12] = 1
    #expect(decode(preamble.encoded(), header) == [.preamble(preamble), .desynchronized])
  }

  @Test func halfAFrameOfALostConnectionIsNeverDelivered() {
    let next = Preamble(session: session &+ 9)
    let frame = Frame(.data, stream: 5, payload: (0..<200).map { UInt8($0) })
    let bytes = frame.encoded(session: session)
    let zeros = [UInt8](repeating: 0, count: 65_560)
    for length in 1..<bytes.count {
      // What docs/wire.md has a client do that hears no preamble.
      let events = decode(
        preamble.encoded(), Array(bytes[..<length]), next.encoded(), zeros, next.encoded(),
        encode(sample, session: next.session))
      let frames = events.filter { if case .frame = $0 { true } else { false } }
      #expect(frames == sample.map { .frame($0) }, "cut at \(length)")
      #expect(events.contains(.preamble(next)))
    }
  }

  @Test func aPreambleThatTheHalfFrameSwallowedIsFoundAgain() {
    let next = Preamble(session: 5)
    let half = Frame(.data, stream: 1, payload: [UInt8](repeating: 7, count: 100)).encoded(session: session).prefix(40)
    let after = Frame(.data, stream: 2, payload: [UInt8](repeating: 8, count: 500))
    let events = decode(preamble.encoded(), Array(half), next.encoded(), after.encoded(session: 5))
    #expect(events == [.preamble(preamble), .desynchronized, .preamble(next), .frame(after)])
  }

  @Test func resetForgetsHalfAFrameAndTheSession() {
    var decoder = FrameDecoder()
    let half = Array(Frame(.data, stream: 1, payload: [1, 2, 3]).encoded(session: session).dropLast(5))
    #expect(decode([preamble.encoded(), half], with: &decoder) == [.preamble(preamble)])
    decoder.reset()
    #expect(decode([encode(plain, session: session)], with: &decoder) == [])
    #expect(decode([preamble.encoded(), encode(sample, session: session)], with: &decoder) == sampleEvents)
  }

  @Test func aLossIsToldOnce() {
    let junk = [UInt8](repeating: 0xA7, count: 5000)
    #expect(decode(preamble.encoded(), junk, junk, junk) == [.preamble(preamble), .desynchronized])
  }

  @Test func theBeginningOfAPreambleWithinJunkIsNoPreamble() {
    for count in 1..<Wire.preambleMagic.count {
      let partial = Array(Wire.preambleMagic.prefix(count))
      #expect(decode([0x55] + partial + preamble.encoded()) == [.preamble(preamble)], "\(count) bytes")
    }
  }
}
