import Foundation
import Testing

@testable import IgniteWire

/// Random bytes; a failure names its seed. Each test takes 200 fixed seeds, and with FUZZ_SECONDS goes on with the next
/// ones for so long.
@Suite struct FrameDecoderFuzz {
  private func eachSeed(_ body: (inout SeededGenerator, UInt64) -> Void) {
    let seconds = ProcessInfo.processInfo.environment["FUZZ_SECONDS"].flatMap(Double.init) ?? 0
    let end = Date().addingTimeInterval(seconds)
    var seed: UInt64 = 0
    repeat {
      var generator = SeededGenerator(seed: seed)
      body(&generator, seed)
      seed += 1
    } while seed < 200 || Date() < end
  }

  @Test func whatWasSentArrivesHoweverItIsCut() {
    eachSeed { generator, seed in
      let session = UInt32.random(in: 0 ... .max, using: &generator)
      let frames = (0..<Int.random(in: 0...12, using: &generator)).map { _ in generator.frame() }
      let bytes = Preamble(session: session).encoded() + encode(frames, session: session)
      var decoder = FrameDecoder()
      let events = decode(cut(bytes, &generator), with: &decoder)
      #expect(events == [.preamble(Preamble(session: session))] + frames.map { .frame($0) }, "seed \(seed)")
    }
  }

  @Test func afterJunkANewConnectionWorks() {
    eachSeed { generator, seed in
      let old = UInt32.random(in: 0 ... .max, using: &generator)
      let new = old &+ 1
      var bytes = Preamble(session: old).encoded()
      for _ in 0..<Int.random(in: 0...4, using: &generator) { bytes += generator.frame().encoded(session: old) }
      bytes.removeLast(Int.random(in: 0...min(bytes.count, 200), using: &generator))
      bytes += generator.bytes(.random(in: 0...400, using: &generator))
      let frames = (0..<4).map { _ in generator.frame() }
      bytes += [UInt8](repeating: 0, count: 65_560) + Preamble(session: new).encoded() + encode(frames, session: new)

      var decoder = FrameDecoder()
      let events = decode(cut(bytes, &generator), with: &decoder)
      let expected: [FrameDecoder.Event] = [.preamble(Preamble(session: new))] + frames.map { .frame($0) }
      #expect(Array(events.suffix(5)) == expected, "seed \(seed)")
    }
  }

  @Test func damagedBytesNeverTrapAndNeverGiveMoreThanWasSent() {
    eachSeed { generator, seed in
      let session = UInt32.random(in: 0 ... .max, using: &generator)
      var bytes = Preamble(session: session).encoded()
      for _ in 0..<8 { bytes += generator.frame().encoded(session: session) }
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        let index = Int.random(in: bytes.indices, using: &generator)
        bytes[index] = .random(in: .min ... .max, using: &generator)
      }
      var decoder = FrameDecoder()
      var delivered = 0
      for case .frame(let frame) in decode(cut(bytes, &generator), with: &decoder) {
        #expect(frame.payload.count <= Wire.maximumPayload, "seed \(seed)")
        delivered += frame.payload.count + Wire.headerSize + Wire.trailerSize
      }
      #expect(delivered <= bytes.count, "seed \(seed)")
    }
  }

  private func cut(_ bytes: [UInt8], _ generator: inout SeededGenerator) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let size = Int.random(in: 1...(Bool.random(using: &generator) ? 40 : 9000), using: &generator)
      pieces.append(Array(rest.prefix(size)))
      rest = rest.dropFirst(size)
    }
    return pieces
  }
}
