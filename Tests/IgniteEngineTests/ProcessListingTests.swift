import FoundationEssentials
import Testing

@testable import IgniteEngine

/// What a guest says of its processes, which may be anything.
@Suite struct ProcessListings {
  private func decode(_ text: String) -> [GuestProcessInfo]? { ProcessListing.decode(Array(text.utf8)) }

  @Test func aListIsRead() throws {
    let processes = try #require(
      decode(
        "1700000000\t500\t100\n84\t1\talice\t12500\t25000\tpts/0\tsleep 3600\n90\t84\t0\t0\t49900\t?\t[x]\ty\u{1b}\n"))
    #expect(processes.count == 2)
    #expect(processes[0].pid == 84 && processes[0].parent == 1 && processes[0].user == "alice")
    // Started 250 s after boot, 250 s ago; 125 s of time since.
    #expect(processes[0].started == Date(timeIntervalSince1970: 1_699_999_750))
    #expect(processes[0].time == 125 && processes[0].load == 50)
    #expect(processes[1].command == "[x]?y?")
    #expect(processes[1].load == 0)
  }

  @Test(arguments: [
    "", "\n", "1\t2\n", "a\tb\tc\n", "1\t2\t0\n", "1\t2\t99999999999999999999\n", "1\t2\t100\n1\t2\n",
    "1\t2\t100\nx\t1\tu\t0\t0\t?\tc\n", "1\t2\t100\n1\t1\tu\t-1\t0\t?\tc\n",
  ])
  func whatIsNoListIsNone(text: String) { #expect(decode(text) == nil) }

  @Test func numbersDoNotOverflow() throws {
    let most = "999999999999999999"
    let processes = try #require(decode("1\t1\t1\n\(most)\t\(most)\tu\t\(most)\t\(most)\t?\tc\n"))
    #expect(processes[0].load == 99)
  }
}
