import FoundationEssentials
import Glibc
import Testing

@testable import IgniteHypervisor

/// A template's record, damaged at random: it is refused, or is what was written; nothing traps.
///
/// FUZZ_SECONDS says how long (default 5), FUZZ_SEED where the random numbers start; a failure names its seed.
@Suite struct TemplateRecordFuzz {
  private static let words = [
    "-1", "1e999", "9223372036854775808", "18446744073709551615", "null", "{}", "[]", "\"\\ud800\"", "\"\"", "sha256:",
    "../", "\u{0}", "é", "true", "0.5", ",", " ", "\n", "2026-01-01T00:00:00Z", "\"format\" : 1,",
  ]

  private func mutated(_ sample: [UInt8], _ random: inout SeededNumbers) -> [UInt8] {
    var bytes = sample
    for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
      let position = Int.random(in: 0..<bytes.count, using: &random)
      let end = min(bytes.count, position + Int.random(in: 0...12, using: &random))
      switch Int.random(in: 0..<6, using: &random) {
      case 0: bytes[position] = UInt8.random(in: .min ... .max, using: &random)
      case 1: bytes.removeSubrange(position..<end)
      case 2: bytes.insert(contentsOf: bytes[position..<end], at: position)
      case 3: bytes.replaceSubrange(position..<end, with: Array((Self.words.randomElement(using: &random) ?? "").utf8))
      case 4: bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random) / 8)
      // A digit for a digit keeps the JSON whole.
      default: if (48...57).contains(bytes[position]) { bytes[position] = UInt8.random(in: 48...57, using: &random) }
      }
    }
    return bytes
  }

  @Test func damagedRecordsAreRefused() throws {
    let scratch = TemplateScratch()
    let record = try TemplateScratch.make(scratch.store())
    let folder = "\(scratch.templates)/\(record.key.hex)"
    let path = folder + "/template.json"
    let good = try SmallFile.read(path, limit: 1 << 20)
    let variables = ProcessInfo.processInfo.environment
    let first = variables["FUZZ_SEED"].flatMap(UInt64.init) ?? UInt64(time(nil))
    let end = ContinuousClock.now + .seconds(variables["FUZZ_SECONDS"].flatMap(Double.init) ?? 5)
    var seed = first
    var (taken, refused) = (0, 0)
    repeat {
      for _ in 0..<50 {
        var random = SeededNumbers(seed: seed)
        let bytes = mutated(good, &random)
        unlink(path)
        try SmallFile.write(bytes, to: path)
        do {
          let read = try TemplateRecord.read(folder, key: record.key)
          taken += 1
          // Of its fields only those may differ that the key does not cover, each with a value that it can have.
          #expect(read.identity.key == record.key && read.stateBytes >= 0, "FUZZ_SEED=\(seed)")
          #expect(
            TemplateDigest.isOne(read.memoryDigest) && TemplateDigest.isOne(read.stateDigest), "FUZZ_SEED=\(seed)")
        } catch {
          refused += 1
          #expect(error.code == .damaged && !error.message.contains("\n"), "FUZZ_SEED=\(seed): \(error)")
        }
        seed &+= 1
      }
    } while ContinuousClock.now < end
    print("fuzz: seeds \(first) to \(seed &- 1), \(taken) taken, \(refused) refused")
    #expect(refused > 0)
  }
}

/// The SplitMix64 generator: the same numbers for the same seed.
private struct SeededNumbers: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}
