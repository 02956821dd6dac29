import IgniteSources
import Testing

@Suite struct Schedules {
  @Test func intervalsAreJitteredAboutThemselves() {
    let schedule = SourceSchedule(interval: .seconds(100), jitter: 0.1)
    #expect(schedule.wait(random: 0) == .seconds(95))
    #expect(schedule.wait(random: 0.5) == .seconds(100))
    #expect(schedule.wait(random: 0.999999) < .seconds(105))
    #expect(SourceSchedule(interval: .seconds(100), jitter: 0).wait(random: 0.9) == .seconds(100))
  }

  @Test func failuresWaitTwiceAsLongEachTimeUpToALimit() {
    let schedule = SourceSchedule(interval: .seconds(60), jitter: 0)
    let waits = (1...12).map { schedule.wait(failures: $0, random: 0.5) }
    #expect(waits.prefix(4) == [.seconds(2), .seconds(4), .seconds(8), .seconds(16)])
    #expect(waits.last == SourceSchedule.longestRetry)
    #expect(SourceSchedule(interval: .seconds(3600), jitter: 0).wait(failures: .max, random: 0.5) == .seconds(3600))
    #expect(SourceSchedule(interval: .zero).interval == .seconds(1))
  }
}
