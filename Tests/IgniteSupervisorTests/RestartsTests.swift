import IgniteSystem
import Testing

@testable import IgniteSupervisor

@Suite struct RestartsTests {
  @Test func theDelayDoublesToAMinute() {
    var restarts = Restarts()
    var delays: [Int] = []
    for _ in 0..<12 {
      restarts.delay = restarts.nextDelay()
      delays.append(restarts.delay)
    }
    #expect(delays == [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000])
  }

  @Test func tenSecondsOfHealthBeginAnew() {
    var restarts = Restarts(count: 9, delay: 51_200)
    restarts.began()
    let now = Timeline.now()
    #expect(restarts.nextDelay(now: now + 9_000_000_000) == 60_000)
    #expect(restarts.nextDelay(now: now + 10_100_000_000) == 100)
  }

  @Test func aProcessThatRanOnceHasRun() {
    var restarts = Restarts()
    #expect(!restarts.hasRun)
    restarts.began()
    #expect(restarts.hasRun)
    #expect(Restarts(count: 1, delay: 100).hasRun)
  }
}
