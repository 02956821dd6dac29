internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import IgniteEngine

struct TopCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "List the processes of a running VM.",
    discussion: "The guest's agent reads them from /proc, so the image needs no ps; the columns are those of `ps -ef`.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "A name or UID.", completion: .unpausedVMs)
  var vm: String

  @Argument(parsing: .captureForPassthrough, help: ArgumentHelp("-ef, which is the default.", valueName: "ps-options"))
  var options: [String] = []

  func run() async throws {
    guard options.isEmpty || options == ["-ef"] else {
      throw EngineError(
        .invalidArgument,
        "the options \(options.joined(separator: " ")) of ps cannot be given: no ps is run, and the columns are fixed",
        advice: "leave them out, or use a ps of the image: ignite exec \(vm) ps \(options.joined(separator: " "))")
    }
    let engine = try await global.engine()
    let processes = try await engine.processes(of: try await engine.vm(vm))
    var table = Table(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
    let now = Date()
    for process in processes {
      table.add([
        process.user, String(process.pid), String(process.parent), String(process.load),
        Self.start(process.started, now), process.terminal, Self.span(process.time), process.command,
      ])
    }
    FileHandleOutput.standardOutput.write(table.text())
  }

  /// As ps: the time of a start within the last day, the day of one before.
  private static func start(_ date: Date, _ now: Date) -> String {
    var seconds = time_t(date.timeIntervalSince1970)
    var parts = tm()
    localtime_r(&seconds, &parts)
    var text = [CChar](repeating: 0, count: 16)
    let recent = now.timeIntervalSince(date) < 86_400
    strftime(&text, text.count, recent ? "%H:%M" : "%b%d", &parts)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// `00:01:05`.
  private static func span(_ seconds: UInt64) -> String {
    [seconds / 3600, seconds / 60 % 60, seconds % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
  }
}
