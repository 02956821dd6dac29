import Testing

@testable import IgniteEngine

@Suite struct GuestStatisticsTests {
  private static let said = """
    = meminfo
    MemTotal:         100000 kB
    MemFree:           20000 kB
    MemAvailable:      60000 kB

    = net/dev
    Inter-|   Receive                                                |  Transmit
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
        lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
      eth0:12345678901     20    0    0    0     0          0         0     3456      30    0    0    0     0       0          0

    = diskstats
     254       0 vda 10 0 200 5 0 0 0 0 0 4 5 0 0 0 0 0 0
     254      16 vdb 3 0 24 5 6 7 80 0 0 4 5 0 0 0 0 0 0
     253       0 loop0 3 0 24 5 6 7 80 0 0 4 5 0 0 0 0 0 0

    = pids
    7
    """

  @Test func theKernelsWordsAreRead() throws {
    let guest = try #require(VMStatistics.Guest(Array(Self.said.utf8)))
    #expect(guest.memoryUsed == 40_000 << 10 && guest.processes == 7)
    #expect(guest.received == 12_345_678_901 && guest.sent == 3456)
    #expect(guest.read == 224 * 512 && guest.written == 80 * 512)
  }

  @Test func whatAGuestMayLieIsNoFailure() {
    for text in [
      "", "= pids\n7\n", "= meminfo\nMemTotal: x kB\n= pids\n1", "= meminfo\nMemTotal: 99999999999999999999 kB\n",
    ] {
      #expect(VMStatistics.Guest(Array(text.utf8)) == nil)
    }
    let huge = Self.said.replacing("200 5 0", with: "18446744073709551615 5 0").replacing(
      "60000", with: "18446744073709551615")
    #expect(VMStatistics.Guest(Array(huge.utf8))?.memoryUsed == 0)
    #expect(VMStatistics.Guest([UInt8](repeating: 65, count: 1 << 17)) == nil)
    #expect(VMStatistics.Guest([0xff, 0xfe, 10, 61]) == nil)
  }

  /// Any bytes, and the kernel's with some of them changed.
  @Test func anyBytesEndInAnAnswer() {
    var numbers = SystemRandomNumberGenerator()
    for _ in 0..<500 {
      var bytes = Array(Self.said.utf8)
      for _ in 0..<Int.random(in: 1...40, using: &numbers) {
        bytes[Int.random(in: bytes.indices, using: &numbers)] = UInt8.random(in: 0...255, using: &numbers)
      }
      _ = VMStatistics.Guest(bytes)
    }
  }
}
