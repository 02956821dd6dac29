@testable import IgniteWire

/// A generator whose numbers are the same in every run, so that a failure can be had again.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &self) }
  }

  mutating func frame(payload limit: Int = 300) -> Frame {
    Frame(
      FrameType(rawValue: .random(in: 0...13, using: &self)), stream: .random(in: 0 ... .max, using: &self),
      channel: Channel(rawValue: .random(in: 0...3, using: &self)),
      payload: bytes(.random(in: 0...limit, using: &self)))
  }
}

/// Decodes pieces one after another; all events in their order.
func decode(_ pieces: [[UInt8]], with decoder: inout FrameDecoder) -> [FrameDecoder.Event] {
  var events: [FrameDecoder.Event] = []
  for piece in pieces {
    decoder.append(piece)
    while let event = decoder.next() { events.append(event) }
  }
  return events
}

func decode(_ pieces: [UInt8]...) -> [FrameDecoder.Event] {
  var decoder = FrameDecoder()
  return decode(pieces, with: &decoder)
}

func encode(_ frames: [Frame], session: UInt32) -> [UInt8] { frames.flatMap { $0.encoded(session: session) } }
