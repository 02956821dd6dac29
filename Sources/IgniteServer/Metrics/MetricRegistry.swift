public import CoreMetrics
internal import Synchronization

/// swift-metrics' backend: keeps values in memory, for a scrape to read.
///
/// A counter's name ends in `_total`, a timer is a histogram of seconds. The number of series is bounded: labels may come
/// from users.
public final class MetricRegistry: MetricsFactory, Sendable {
  private enum Cell {
    case value(MetricValue)
    case histogram(MetricHistogram)
  }

  private struct Family {
    var kind: MetricFamily.Kind
    var series: [[String]: Cell] = [:]
    var labels: [[String]: [(name: String, value: String)]] = [:]
  }

  private struct State {
    var families: [String: Family] = [:]
    var help: [String: String] = [:]
    var count = 0
    var dropped = 0
  }

  private let limit: Int
  private let state = Mutex(State())

  /// - Parameter limit: the most series that are kept; those that come later are dropped, and counted.
  public init(limit: Int = 10_000) { self.limit = limit }

  /// What a metric tells, by the name that is shown.
  public func describe(_ name: String, _ help: String) { state.withLock { $0.help[name] = help } }

  /// All that was measured so far.
  public func families() -> [MetricFamily] {
    state.withLock { state in
      var families = state.families.map { name, family in
        MetricFamily(
          name, family.kind, help: state.help[name] ?? Self.words(name),
          samples: family.series.keys.sorted { $0.lexicographicallyPrecedes($1) }.flatMap { key in
            Self.samples(family.series[key], labels: family.labels[key] ?? [])
          })
      }
      families.append(
        MetricFamily(
          "ignite_metrics_dropped_series_total", .counter, help: "Series that were not kept, for their number.",
          Double(state.dropped)))
      return families
    }
  }

  private static func samples(_ cell: Cell?, labels: [(name: String, value: String)]) -> [MetricFamily.Sample] {
    switch cell {
    case .value(let value): [MetricFamily.Sample(labels: labels, value: value.current)]
    case .histogram(let histogram): histogram.samples(labels: labels)
    case nil: []
    }
  }

  private static func words(_ name: String) -> String { name.split(separator: "_").joined(separator: " ") + "." }

  // MARK: Handlers

  public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    value(Self.counterName(label), .counter, dimensions)
  }

  public func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    value(Self.counterName(label), .counter, dimensions)
  }

  public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    value(label, .gauge, dimensions)
  }

  public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    aggregate
      ? histogram(label, dimensions, bounds: MetricHistogram.wideBounds) : value(label, .gauge, dimensions)
  }

  public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    histogram(
      label.hasSuffix("_seconds") ? label : label + "_seconds", dimensions, bounds: MetricHistogram.secondBounds)
  }

  public func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
  public func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
  public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
  public func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
  public func destroyTimer(_ handler: any TimerHandler) { remove(handler) }

  private static func counterName(_ label: String) -> String { label.hasSuffix("_total") ? label : label + "_total" }

  private func value(_ label: String, _ kind: MetricFamily.Kind, _ dimensions: [(String, String)]) -> MetricValue {
    let cell = cell(label, kind, dimensions) { .value(MetricValue()) }
    if case .value(let value) = cell { return value }
    return MetricValue()
  }

  private func histogram(_ label: String, _ dimensions: [(String, String)], bounds: [Double]) -> MetricHistogram {
    let cell = cell(label, .histogram, dimensions) { .histogram(MetricHistogram(bounds: bounds)) }
    if case .histogram(let histogram) = cell { return histogram }
    return MetricHistogram(bounds: bounds)
  }

  /// The series' cell; nil where its name is of another kind, or there are too many.
  private func cell(
    _ label: String, _ kind: MetricFamily.Kind, _ dimensions: [(String, String)], make: () -> Cell
  ) -> Cell? {
    let name = PrometheusText.name(label)
    var values: [String: String] = [:]
    for (label, value) in dimensions {
      let label = PrometheusText.name(label, allowsColons: false)
      // `le` is a histogram's own, and what begins with two underscores Prometheus'.
      values[label == "le" || label.hasPrefix("__") ? "exported_" + label : label] = value
    }
    let labels = values.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    let key = labels.flatMap { [$0.name, $0.value] }
    return state.withLock { state in
      var family = state.families[name] ?? Family(kind: kind)
      if family.kind == kind, let cell = family.series[key] { return cell }
      guard family.kind == kind, state.count < limit else {
        state.dropped += 1
        return nil
      }
      let cell = make()
      family.series[key] = cell
      family.labels[key] = labels
      state.families[name] = family
      state.count += 1
      return cell
    }
  }

  private func remove(_ handler: AnyObject) {
    state.withLock { state in
      for (name, family) in state.families {
        let key = family.series.first { _, cell in
          switch cell {
          case .value(let value): value === handler
          case .histogram(let histogram): histogram === handler
          }
        }?.key
        guard let key else { continue }
        state.families[name]?.series[key] = nil
        state.families[name]?.labels[key] = nil
        state.count -= 1
        return
      }
    }
  }
}
