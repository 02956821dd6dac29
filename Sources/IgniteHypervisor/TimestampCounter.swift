internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// The rate of the host's time-stamp counter, which an emulated guest's kernel is told.
///
/// It is not a constant: with half of it a guest counts twice the time. Measured against CLOCK_MONOTONIC_RAW and cached
/// with the processor's model and the host's boot.
public enum TimestampCounter {
  private struct Cached: Codable, Equatable {
    var processor: String
    var boot: String
    var kilohertz: UInt64
  }

  /// The rate in kHz: from the cache file where it was written in this boot on this processor, measured else (50 ms).
  ///
  /// Blocking. A cache that cannot be read or written costs the measurement only.
  public static func kilohertz(cache path: String) -> UInt64? {
    let processor = HostHardware.processorField("model name") ?? ""
    let boot = HostHardware.bootID() ?? ""
    if let data = HostHardware.text(of: path, limit: 4096)?.data(using: .utf8),
      let cached = try? JSONDecoder().decode(Cached.self, from: data), cached.processor == processor,
      cached.boot == boot, !boot.isEmpty, plausible.contains(cached.kilohertz)
    {
      return cached.kilohertz
    }
    guard let measured = measure() else { return nil }
    let cached = Cached(processor: processor, boot: boot, kilohertz: measured)
    if let data = try? JSONEncoder().encode(cached) { HostCache.write(Array(data), to: path) }
    return measured
  }

  /// From 100 MHz to 100 GHz.
  private static let plausible: ClosedRange<UInt64> = 100_000...100_000_000

  /// Measures for 50 ms; nil where the processor has no such counter. Blocking.
  public static func measure() -> UInt64? {
    let first = reading()
    guard first.counter != 0 else { return nil }
    usleep(50_000)
    let last = reading()
    let nanoseconds = last.nanoseconds &- first.nanoseconds
    guard nanoseconds > 0, last.counter > first.counter else { return nil }
    let product = (last.counter - first.counter).multipliedReportingOverflow(by: 1_000_000)
    guard !product.overflow else { return nil }
    let rate = (product.partialValue + nanoseconds / 2) / nanoseconds
    return plausible.contains(rate) ? rate : nil
  }

  /// Counter and clock at one moment: of several tries the one that took least, as the process may be interrupted
  /// between the two.
  private static func reading() -> (counter: UInt64, nanoseconds: UInt64) {
    var best = (counter: UInt64(0), nanoseconds: UInt64(0))
    var least = UInt64.max
    for _ in 0..<32 {
      let before = HostHardware.timestampCounter()
      let nanoseconds = HostHardware.rawNanoseconds()
      let after = HostHardware.timestampCounter()
      let width = after &- before
      if width < least {
        least = width
        best = (before &+ width / 2, nanoseconds)
      }
    }
    return best
  }
}

/// Small files that save a measurement or a probe; losing one costs only that.
enum HostCache {
  /// Writes beside the file and renames, so that no reader sees half of it.
  static func write(_ bytes: [UInt8], to path: String) {
    let temporary = "\(path).\(getpid())"
    guard let file = try? FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644) else { return }
    let written = Glibc.write(file.number, bytes, bytes.count)
    if written != bytes.count || rename(temporary, path) != 0 { unlink(temporary) }
  }
}
