import FoundationEssentials
import Testing

@testable import IgniteSupervisor

@Suite struct HealthReportTests {
  private func check(_ code: Int32) -> HealthReport.Check {
    HealthReport.Check(
      start: Date(timeIntervalSince1970: 1), end: Date(timeIntervalSince1970: 2), exitCode: code, output: "x")
  }

  @Test func changesComeAfterSoManyFailures() {
    var report = HealthReport()
    for (code, status) in [
      (1, HealthReport.Status.starting), (1, .starting), (1, .unhealthy), (0, .healthy), (1, .healthy), (1, .healthy),
      (-1, .unhealthy),
    ] as [(Int32, HealthReport.Status)] {
      report.add(check(code), retries: 3, isStarting: false)
      #expect(report.status == status)
    }
    #expect(report.failingStreak == 3 && report.log.count == 5)
  }

  @Test func aFailureAtTheStartCountsOnlyOnceItWasWell() {
    var report = HealthReport()
    report.add(check(1), retries: 1, isStarting: true)
    #expect(report.status == .starting && report.failingStreak == 0)
    report.add(check(0), retries: 1, isStarting: true)
    report.add(check(1), retries: 1, isStarting: true)
    #expect(report.status == .unhealthy)
  }

  @Test func whatIsNoReportIsNone() throws {
    let path = FileManager.default.temporaryDirectory.path + "/health-\(UInt32.random(in: 0 ... .max))"
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(HealthReport.read(path) == nil)
    var report = HealthReport()
    report.add(check(0), retries: 3, isStarting: false)
    report.write(path)
    #expect(HealthReport.read(path) == report)
    for bytes in [Data(), Data("{".utf8), Data("{\"status\":\"well\"}".utf8), Data(repeating: 32, count: 1 << 19)] {
      try bytes.write(to: URL(filePath: path))
      #expect(HealthReport.read(path) == nil)
    }
  }
}
