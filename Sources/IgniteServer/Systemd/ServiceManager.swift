internal import Glibc

/// The service manager that started us, spoken to by sd_notify(3)'s protocol: datagrams of `NAME=VALUE` lines to the Unix
/// socket that NOTIFY_SOCKET names. Without one every call does nothing.
public struct ServiceManager: Sendable {
  /// Variables that are meant for this process alone.
  public static let variables = [
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
  ]

  private let address: [UInt8]?
  /// How often the manager wants to hear that we live: half of what it waits for.
  public let watchdogInterval: Duration?

  public init(environment: [String: String], pid: Int32? = nil) {
    address = environment["NOTIFY_SOCKET"].flatMap(Self.address)
    let isOurs = environment["WATCHDOG_PID"].map { $0 == String(pid ?? getpid()) } ?? true
    watchdogInterval = environment["WATCHDOG_USEC"].flatMap { Int64($0) }.flatMap { isOurs && $0 > 1 ? $0 : nil }
      .map { .microseconds($0 / 2) }
  }

  /// The address's bytes: a path, or a name of the abstract namespace after `@`. Of other families none.
  private static func address(_ text: String) -> [UInt8]? {
    let bytes = Array(text.utf8)
    guard bytes.count > 1, bytes.count <= MemoryLayout.size(ofValue: sockaddr_un().sun_path) else { return nil }
    switch bytes[0] {
    case UInt8(ascii: "/"): return bytes
    case UInt8(ascii: "@"): return [0] + bytes.dropFirst()
    default: return nil
    }
  }

  /// Comes up; called once, and again at a reload's end.
  public func ready(_ status: String) { send("READY=1", Self.line(status)) }

  public func status(_ status: String) { send(Self.line(status)) }

  /// A reload begins: with the time, by which the manager tells it from an earlier one.
  public func reloading() {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    send("RELOADING=1", "MONOTONIC_USEC=\(Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)")
  }

  public func stopping() { send("STOPPING=1", Self.line("Ending")) }

  public func alive() { send("WATCHDOG=1") }

  /// A status is one line.
  private static func line(_ status: String) -> String {
    "STATUS=" + String(String.UnicodeScalarView(status.unicodeScalars.map { $0.value < 0x20 ? " " : $0 }).prefix(512))
  }

  private func send(_ lines: String...) {
    guard let bytes = address else { return }
    let flags = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let socket = Glibc.socket(AF_UNIX, flags, 0)
    guard socket >= 0 else { return }
    defer { close(socket) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    // A name of the abstract namespace has no end but the address's.
    let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count + (bytes[0] == 0 ? 0 : 1))
    let message = Array(lines.joined(separator: "\n").utf8)
    _ = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(
          socket, message, message.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT), $0,
          min(length, socklen_t(MemoryLayout<sockaddr_un>.size)))
      }
    }
  }
}
