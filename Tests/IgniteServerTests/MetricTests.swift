import CoreMetrics
import Foundation
import Testing

@testable import IgniteServer

@Suite struct Metrics {
  @Test func textOfEveryKind() {
    let registry = MetricRegistry()
    registry.describe("a_total", "Counts \\ a\nline.")
    Counter(label: "a", dimensions: [("path", "x\"y\\z\n"), ("code", "200")], factory: registry).increment(by: 2)
    Counter(label: "a", dimensions: [("code", "200"), ("path", "x\"y\\z\n")], factory: registry).increment()
    FloatingPointCounter(label: "b_total", factory: registry).increment(by: 0.5)
    Gauge(label: "c.d-e", factory: registry).record(7)
    Meter(label: "9f", dimensions: [("le", "1"), ("__x", "2")], factory: registry).set(-1.5)
    Timer(label: "wait", factory: registry).recordMilliseconds(30)
    Recorder(label: "sizes", factory: registry).record(50)
    let text = PrometheusText.render(registry.families())
    #expect(
      text.contains(
        "# HELP a_total Counts \\\\ a\\nline.\n# TYPE a_total counter\na_total{code=\"200\",path=\"x\\\"y\\\\z\\n\"} 3\n"
      ))
    #expect(text.contains("# TYPE b_total counter\nb_total 0.5\n"))
    #expect(text.contains("# TYPE c_d_e gauge\nc_d_e 7\n"))
    #expect(text.contains("_9f{exported___x=\"2\",exported_le=\"1\"} -1.5\n"))
    #expect(text.contains("# TYPE wait_seconds histogram\n"))
    #expect(text.contains("wait_seconds_bucket{le=\"0.025\"} 0\nwait_seconds_bucket{le=\"0.05\"} 1\n"))
    #expect(text.contains("wait_seconds_bucket{le=\"+Inf\"} 1\nwait_seconds_sum 0.03\nwait_seconds_count 1\n"))
    #expect(text.contains("sizes_bucket{le=\"100\"} 1\n"))
  }

  @Test func promtoolFindsNothingWrong() throws {
    let registry = MetricRegistry()
    Counter(label: "a", dimensions: [("path", "x\"y\\z\n")], factory: registry).increment()
    Meter(label: "b_bytes", factory: registry).set(0.1)
    Timer(label: "wait", factory: registry).recordNanoseconds(1)
    #expect(try promtool(PrometheusText.render(registry.families() + ProcessMetrics.families())) == "")
  }

  @Test func seriesAreBounded() {
    let registry = MetricRegistry(limit: 3)
    for number in 0..<10 { Counter(label: "a", dimensions: [("n", "\(number)")], factory: registry).increment() }
    // One of another kind is no series at all.
    Meter(label: "a_total", factory: registry).set(1)
    let text = PrometheusText.render(registry.families())
    #expect(text.contains("ignite_metrics_dropped_series_total 8\n") && text.contains("a_total{n=\"2\"} 1\n"))
    #expect(!text.contains("n=\"3\""))
  }

  @Test func whatIsDestroyedIsGone() {
    let registry = MetricRegistry()
    let meter = Meter(label: "a", factory: registry)
    meter.set(1)
    meter.destroy()
    #expect(!PrometheusText.render(registry.families()).contains("\na "))
  }

  @Test func theProcessIsMeasured() {
    let families = ProcessMetrics.families()
    let values = Dictionary(uniqueKeysWithValues: families.map { ($0.name, $0.samples[0].value) })
    #expect((values["process_resident_memory_bytes"] ?? 0) > 1_048_576)
    #expect((values["process_open_fds"] ?? 0) >= 3 && (values["process_max_fds"] ?? 0) >= 3)
    #expect(abs((values["process_start_time_seconds"] ?? 0) - Date().timeIntervalSince1970) < 86_400)
    #expect((values["process_cpu_seconds_total"] ?? -1) >= 0)
  }

  /// What `promtool check metrics` has against it.
  private func promtool(_ text: String) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["promtool", "check", "metrics"]
    let (input, output) = (Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    try process.run()
    // It fits in a pipe.
    #expect(text.utf8.count < 32 << 10)
    input.fileHandleForWriting.write(Data(text.utf8))
    try input.fileHandleForWriting.close()
    let said = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: said, as: UTF8.self)
      + (process.terminationStatus == 0 ? "" : "\(process.terminationStatus)")
  }
}
