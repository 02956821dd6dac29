internal import CoreMetrics
internal import Synchronization

/// A counter's or a gauge's value.
final class MetricValue: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler, Sendable {
  private let value = Mutex(0.0)

  var current: Double { value.withLock { $0 } }

  func increment(by amount: Int64) { value.withLock { $0 += Double(amount) } }
  func increment(by amount: Double) { value.withLock { $0 += amount } }
  func decrement(by amount: Double) { value.withLock { $0 -= amount } }
  func set(_ value: Int64) { set(Double(value)) }
  func set(_ value: Double) { self.value.withLock { $0 = value } }
  func record(_ value: Int64) { set(Double(value)) }
  func record(_ value: Double) { set(value) }
  func reset() { set(0.0) }
}

/// How often what was measured was at most so much.
final class MetricHistogram: TimerHandler, RecorderHandler, Sendable {
  private struct State {
    var counts: [UInt64]
    var sum = 0.0
  }

  /// Prometheus' own, for the length of requests.
  static let secondBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
  /// Of what has no unit.
  static let wideBounds = [1.0, 10, 100, 1000, 10_000, 100_000, 1_000_000]

  private let bounds: [Double]
  private let state: Mutex<State>

  init(bounds: [Double]) {
    self.bounds = bounds
    state = Mutex(State(counts: Array(repeating: 0, count: bounds.count + 1)))
  }

  func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
  func record(_ value: Int64) { record(Double(value)) }
  func record(_ value: Double) {
    let place = bounds.firstIndex { value <= $0 } ?? bounds.endIndex
    state.withLock { state in
      state.counts[place] += 1
      state.sum += value
    }
  }

  func samples(labels: [(name: String, value: String)]) -> [MetricFamily.Sample] {
    let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
    var samples: [MetricFamily.Sample] = []
    var total: UInt64 = 0
    for (bound, count) in zip(bounds + [.infinity], counts) {
      total += count
      samples.append(
        .init(
          suffix: "_bucket", labels: labels + [(name: "le", value: PrometheusText.number(bound))],
          value: Double(total)))
    }
    samples.append(.init(suffix: "_sum", labels: labels, value: sum))
    samples.append(.init(suffix: "_count", labels: labels, value: Double(total)))
    return samples
  }
}
