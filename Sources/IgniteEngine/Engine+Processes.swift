public import FoundationEssentials
internal import Glibc
public import IgniteAPI
internal import IgniteSupervisor
internal import IgniteSystem
internal import IgniteWire

/// A process of a VM, as `ps -ef` would show it.
public struct GuestProcessInfo: Sendable, Equatable {
  public var pid: UInt64
  public var parent: UInt64
  /// By name where the image has one.
  public var user: String
  public var terminal: String
  public var command: String
  /// When it was started.
  public var started: Date
  /// Of processors' time, in seconds.
  public var time: UInt64
  /// Per cent of a processor since its start.
  public var load: Int
}

extension Engine {
  /// The VM's processes, without the kernel's and the agent's own.
  public func processes(of vm: VM) async throws -> [GuestProcessInfo] {
    guard let bytes = try await listing(.processes, of: vm), let processes = ProcessListing.decode(bytes) else {
      throw EngineError(
        .unavailable, "the VM \"\(vm.metadata.name)\" did not tell its processes", advice: "restart it and try again")
    }
    return processes
  }

  /// What the VM's agent writes when it is asked for a list; nil where it could not make it.
  func listing(_ kind: RequestKind, of vm: VM) async throws -> [UInt8]? {
    let loop = try EventLoop(name: "ignite-client")
    defer { loop.stop() }
    let client = try await client(of: vm, loop: loop)
    let output = try FileDescriptor.pipe()
    let null = try FileDescriptor.open("/dev/null", O_WRONLY)
    let session = try await client.work(
      emptyRequest(kind), ProcessStreams(input: nil, output: output.write.number, errors: null.number))
    async let read = ThreadExecutor.run { ProcessListing.read(output.read) }
    let ended = await Result.awaiting { try await session.ended() }
    output.write.close()
    let bytes = await read
    await client.close()
    return try ended.get(vm) == 0 ? bytes : nil
  }
}

/// What a guest says of its processes: Guest/Sources/ignite-init/ProcessList.swift has the form.
enum ProcessListing {
  private static let limit = 16 << 20

  /// Blocking.
  static func read(_ pipe: FileDescriptor) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(pipe.number, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { return bytes }
      if bytes.count < limit { bytes += buffer.prefix(count) }
    }
  }

  /// nil for what has not the form.
  static func decode(_ bytes: [UInt8]) -> [GuestProcessInfo]? {
    let lines = bytes.split(separator: 10)
    let head = (lines.first ?? []).split(separator: 9).map { number($0) }
    guard head.count == 3, let now = head[0], let uptime = head[1], let ticks = head[2], ticks > 0, ticks <= 100_000,
      now < 1 << 40, uptime < 1 << 32
    else { return nil }
    var processes: [GuestProcessInfo] = []
    for line in lines.dropFirst() {
      let fields = line.split(separator: 9, maxSplits: 6, omittingEmptySubsequences: false)
      guard fields.count == 7, let pid = number(fields[0]), let parent = number(fields[1]),
        let time = number(fields[3]), let start = number(fields[4])
      else { return nil }
      let age = uptime &- min(uptime, start / ticks)
      processes.append(
        GuestProcessInfo(
          pid: pid, parent: parent, user: text(fields[2]), terminal: text(fields[5]), command: text(fields[6]),
          started: Date(timeIntervalSince1970: Double(now &- min(now, age))), time: time / ticks,
          load: Int(min(min(time / ticks, 1 << 40) * 100 / max(age, 1), 99))))
    }
    return processes
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64? {
    bytes.count <= 18 ? UInt64(String(decoding: bytes, as: UTF8.self)) : nil
  }

  /// For a terminal: no control characters.
  private static func text(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.map { $0 < 32 || $0 == 127 ? 63 : $0 }, as: UTF8.self)
  }
}
