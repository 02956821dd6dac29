import Testing

@testable import IgniteSupervisor

@Suite struct DetachKeysTests {
  @Test func keysAreReadAsDockerWritesThem() {
    for good in ["ctrl-p,ctrl-q", "a", "ctrl-@", "ctrl-],x", "CTRL-a"] { #expect(DetachKeys(good) != nil, "\(good)") }
    for bad in ["", "ctrl-", "ctrl-1", "ab", "a,,b", "é", "ctrl-pq"] { #expect(DetachKeys(bad) == nil, "\(bad)") }
    #expect(DetachKeys("ctrl-p,ctrl-q") == .usual)
  }

  /// Typed at once, or key by key.
  @Test func whatIsNoSequenceIsPassedOn() {
    func typed(_ pieces: [[UInt8]]) -> (passed: [UInt8], leaves: Bool) {
      var keys = DetachKeys.usual
      var all: [UInt8] = []
      for piece in pieces {
        let (passed, leaves) = keys.filter(piece)
        all += passed
        if leaves { return (all, true) }
      }
      return (all, false)
    }
    #expect(typed([[65, 16, 17, 66]]) == ([65], true))
    #expect(typed([[65], [16], [17]]) == ([65], true))
    #expect(typed([[16], [66], [17]]) == ([16, 66, 17], false))
    #expect(typed([[16, 16], [17]]) == ([16], true))
    #expect(typed([[17, 16]]) == ([17], false))
  }
}
