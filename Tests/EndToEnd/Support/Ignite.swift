import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// The program under test with a data directory of its own: a kernel and the test image are in it.
///
/// Everything lies in a scratch folder, which `end` empties after removing what VMs are left.
final class Ignite: Sendable {
  let folder: String
  private let base: [String: String]

  static let variables = ProcessInfo.processInfo.environment
  static let root = #filePath.split(separator: "/").dropLast(4).map { "/" + $0 }.joined()
  /// What runs a program as the ordinary user of the run; empty where the tests' own user is used.
  static let wrap = (variables["IGNITE_TEST_WRAP"] ?? "").split(separator: " ").map(String.init)
  static let program = variables["IGNITE_BIN"] ?? root + "/.build/debug/ignite"
  static let image = "localhost/test:latest"
  static var isRoot: Bool { getuid() == 0 && wrap.isEmpty }
  /// The number of rounds of a suite that repeats: small in `make test`, full in `make soak`.
  static func rounds(_ few: Int, soak many: Int) -> Int { variables["SOAK"] == "1" ? many : few }

  init(folder: String) {
    self.folder = folder
    var environment = Self.variables.filter {
      ["PATH", "HOME", "LANG", "TMPDIR", "IGNITE_LIBEXEC", "IGNITE_TEST_HIDE"].contains($0.key)
        || $0.key.hasPrefix("SSL_")
    }
    if environment["IGNITE_LIBEXEC"] == nil && Self.variables["IGNITE_BIN"] == nil {
      environment["IGNITE_LIBEXEC"] = Self.root + "/.build-guest"
    }
    environment["IGNITE_DATA_DIR"] = folder + "/data"
    environment["IGNITE_RUN_DIR"] = folder + "/run"
    // Nothing goes on behind a test's back: VMs start from the seed's template, and others are made by tests that want them.
    environment["IGNITE_TEMPLATES"] = "manual"
    environment["XDG_CONFIG_HOME"] = folder + "/config"
    base = environment
  }

  /// Where the guest's files are; nil where the program finds them beside itself.
  var libexec: String? { base["IGNITE_LIBEXEC"] }

  /// A fresh directory with the seed's kernel and image.
  static func make() async throws -> Ignite {
    let seed = try await Seed.shared.folder()
    let ignite = Ignite(folder: try scratchFolder())
    try await run(wrap + ["/bin/cp", "-al", seed + "/data", ignite.folder + "/data"])
    // What is written to in place must be this directory's own.
    for name in ["ignite.db", "ignite.db-wal", "ignite.db-shm", "ignite.db.rev", "events"] {
      let file = "\(ignite.folder)/data/\(name)"
      guard FileManager.default.fileExists(atPath: "\(seed)/data/\(name)") else { continue }
      try await run(wrap + ["/bin/cp", "--remove-destination", "\(seed)/data/\(name)", file])
    }
    let used = """
      for file in "$1"/templates/*/used; do
        [ ! -e "$file" ] || { cp -p "$file" "$file.own" && mv "$file.own" "$file"; }
      done
      """
    try await run(wrap + ["/bin/sh", "-c", used, "used", ignite.folder + "/data"])
    return ignite
  }

  /// Runs `body` with a fresh directory, which is taken away at its end.
  static func with(_ body: (Ignite) async throws -> Void) async throws {
    let ignite = try await make()
    do {
      try await body(ignite)
    } catch {
      await ignite.end()
      throw error
    }
    await ignite.end()
  }

  /// Removes what is left, last made first, and the folder.
  func end() async {
    if let list = try? await self("ps", "-a", "-q"), !list.text.isEmpty {
      _ = try? await Program(
        arguments: Self.wrap + [Self.program, "rm", "-f"] + list.text.split(separator: "\n").map(String.init),
        environment: base
      ).run()
    }
    _ = try? await Program(arguments: ["/bin/rm", "-rf", folder], environment: ["PATH": "/usr/bin:/bin"]).run()
  }

  // MARK: Commands

  @discardableResult
  func callAsFunction(_ arguments: String..., input: [UInt8] = [], extra: [String: String] = [:]) async throws
    -> Program.Result
  {
    try await command(arguments, input: input, extra: extra).run()
  }

  @discardableResult
  func callAsFunction(_ arguments: [String], input: [UInt8] = []) async throws -> Program.Result {
    try await command(arguments, input: input).run()
  }

  /// Starts a command whose streams stay in the test's hands.
  func start(_ arguments: String...) throws -> RunningProgram { try command(arguments).start() }

  func command(_ arguments: [String], input: [UInt8] = [], extra: [String: String] = [:]) -> Program {
    Program(
      arguments: (Self.wrap + [Self.program]).withAbsoluteFirst() + arguments,
      environment: base.merging(extra) { $1 }, input: input)
  }

  /// Runs a command that has to succeed; its output without the last line's end.
  @discardableResult
  func succeed(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
    let result = try await command(arguments).run()
    guard result.status == 0 else {
      Issue.record(
        "ignite \(arguments.joined(separator: " ")): status \(result.status): \(result.errorText)",
        sourceLocation: sourceLocation)
      throw CommandFailed()
    }
    return result.text.hasSuffix("\n") ? String(result.text.dropLast()) : result.text
  }

  /// A VM that sleeps in the background; its UID.
  func sleeper(_ options: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
    let result = try await command(["run", "-d"] + options + [Self.image, "sleep", "3600"]).run()
    guard result.status == 0 else {
      Issue.record("run -d: status \(result.status): \(result.errorText)", sourceLocation: sourceLocation)
      throw CommandFailed()
    }
    return String(result.text.dropLast())
  }

  // MARK: Folders

  static func scratchFolder() throws -> String {
    let parent = variables["IGNITE_TEST_SCRATCH"] ?? "/tmp"
    let folder = "\(parent)/e2e-\(String(UInt32.random(in: .min ... .max), radix: 36))"
    guard mkdir(folder, 0o700) == 0 else { throw SystemError("make \(folder)") }
    if let user = variables["IGNITE_TEST_USER"], !wrap.isEmpty, let entry = getpwnam(user) {
      chown(folder, entry.pointee.pw_uid, entry.pointee.pw_gid)
    }
    return folder
  }

  /// Runs `body` with a file as a block device; as root only.
  static func withLoopDevice(_ image: String, _ body: (String) async throws -> Void) async throws {
    let device = try await run(["losetup", "-f", "--show", image]).text.trimmingSuffix()
    do {
      try await body(device)
    } catch {
      try await run(["losetup", "-d", device])
      throw error
    }
    try await run(["losetup", "-d", device])
  }

  /// Runs a program that has to succeed.
  @discardableResult
  static func run(_ arguments: [String], environment: [String: String]? = nil) async throws -> Program.Result {
    let result = try await Program(
      arguments: arguments.withAbsoluteFirst(), environment: environment ?? variables
    ).run()
    guard result.status == 0 else {
      Issue.record("\(arguments.joined(separator: " ")): status \(result.status): \(result.errorText)")
      throw CommandFailed()
    }
    return result
  }
}

/// A command that had to succeed did not; what it said is recorded.
struct CommandFailed: Error {}

extension [String] {
  /// The first as a path, found in PATH.
  func withAbsoluteFirst() -> [String] {
    guard let name = first, !name.hasPrefix("/") else { return self }
    for folder in (Ignite.variables["PATH"] ?? "/usr/bin:/bin").split(separator: ":") {
      let path = "\(folder)/\(name)"
      if access(path, X_OK) == 0 { return [path] + dropFirst() }
    }
    return self
  }
}
