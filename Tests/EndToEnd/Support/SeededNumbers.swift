/// Numbers from a seed that is printed, so that a run can be had again: IGNITE_TEST_SEED.
struct SeededNumbers: RandomNumberGenerator {
  let seed: UInt64
  private var state: UInt64

  init() {
    seed = Ignite.variables["IGNITE_TEST_SEED"].flatMap { UInt64($0) } ?? .random(in: .min ... .max)
    state = seed
    print("IGNITE_TEST_SEED=\(seed)")
  }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }
}
