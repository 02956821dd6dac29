internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import IgniteSupervisor
internal import IgniteSystem

/// The root command.
struct Ignite: AsyncParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "ignite",
    abstract: "Run any OCI image as a microVM.",
    version: "ignite version \(version)",
    groupedSubcommands: [
      CommandGroup(
        name: "VMs",
        subcommands: [
          RunCommand.self, CreateCommand.self, StartCommand.self, ListCommand.self, LogsCommand.self, ExecCommand.self,
          AttachCommand.self,
          CopyCommand.self, StopCommand.self, RestartCommand.self, KillCommand.self, RemoveCommand.self,
          PauseCommand.self, UnpauseCommand.self, WaitCommand.self, InspectCommand.self, TopCommand.self,
          DiffCommand.self,
          StatsCommand.self,
          PortCommand.self, RenameCommand.self, UpdateCommand.self,
        ]),
      CommandGroup(
        name: "Objects",
        subcommands: [
          PlanCommand.self, ApplyCommand.self, UpCommand.self, DownCommand.self, GitOpsCommand.self, GetCommand.self,
          DescribeCommand.self, EditCommand.self, DeleteCommand.self, ExplainCommand.self,
        ]),
      CommandGroup(
        name: "Images, kernels and volumes",
        subcommands: [
          ImageCommand.self, KernelCommand.self, TemplateCommand.self, VolumeCommand.self, LoginCommand.self,
          LogoutCommand.self,
        ]),
      CommandGroup(
        name: "The host",
        subcommands: [
          EventsCommand.self, SystemCommand.self, CollectCommand.self, DoctorCommand.self, CompletionCommand.self,
          VersionCommand.self,
        ]),
    ])
}

/// A command's own exit status, with nothing more to say.
struct ExitWith: Error {
  let status: Int32
}

/// Parses, runs, and turns every end into an exit status: the process's own for `run` and `exec`, 125 for our failures
/// there (usage errors too), 1 everywhere else.
enum CommandLineTool {
  static func main(_ arguments: [String]) async -> Never {
    let chosen = getenv(RequestID.variable).map { String(cString: $0) }.flatMap(RequestID.init(rawValue:))
    await RequestID.$current.withValue(chosen ?? RequestID()) {
      await run(Ignite.self, failure: failure(of: arguments)) {
        try CommandNames.check(arguments)
        return try await Ignite.asyncParseAsRoot(try DockerFlags.checked(arguments))
      }
    }
  }

  /// The program as `ignited`.
  static func daemon(_ arguments: [String]) async -> Never {
    await run(Ignited.self, failure: 1) { try await Ignited.asyncParseAsRoot(arguments) }
  }

  private static func run(
    _ root: any ParsableCommand.Type, failure: Int32, parse: () async throws -> any ParsableCommand
  ) async -> Never {
    let name = root.configuration.commandName ?? "ignite"
    do {
      var command = try await parse()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
      exit(0)
    } catch let error as ExitWith {
      exit(error.status)
    } catch let error as SupervisorError {
      say(error.description, as: name)
      exit(failure == 125 ? error.exitCode : 1)
    } catch let error as any UserFacingError {
      say(error.description, as: name)
      exit(failure)
    } catch is CancellationError {
      exit(128 + (Interrupts.received ?? SIGINT))
    } catch {
      let isHelp = root.exitCode(for: error) == .success
      let text = root.fullMessage(for: error)
      if isHelp {
        print(text)
        exit(0)
      }
      if root.exitCode(for: error) == .validationFailure {
        say(usage(error, root, name), as: name)
      } else {
        say(userMessage(error), as: name)
      }
      exit(failure)
    }
  }

  /// The status of a failure of ours.
  private static func failure(of arguments: [String]) -> Int32 {
    // 1 of diff says that something differs.
    if DiffCommand.comparesManifests(arguments) { return 2 }
    return ["run", "exec"].contains(arguments.first(where: { !$0.hasPrefix("-") })) ? 125 : 1
  }

  /// A usage error as one line with the next step, in place of the parser's page.
  private static func usage(_ error: any Error, _ root: any ParsableCommand.Type, _ name: String) -> String {
    let text = root.message(for: error).split(separator: "\n").first.map(String.init) ?? "the command line is wrong"
    return "\(text); see `\(name) --help`, or --help after a command's name"
  }

  /// One line on standard error.
  static func say(_ text: String) { say(text, as: "ignite") }

  private static func say(_ text: String, as name: String) {
    // A guest's, an image's or a registry's words may be among them.
    let line = "\(name): " + Table.printable(text.split(whereSeparator: \.isNewline).joined(separator: " ")) + "\n"
    FileHandleOutput.standardError.write(line)
  }
}

/// Unbuffered text to a descriptor.
struct FileHandleOutput {
  let descriptor: Int32
  static let standardOutput = FileHandleOutput(descriptor: 1)
  static let standardError = FileHandleOutput(descriptor: 2)

  func write(_ text: String) { write(Array(text.utf8)) }

  func write(_ bytes: [UInt8]) {
    var offset = 0
    while offset < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress?.advanced(by: offset), $0.count - offset)
      }
      if count > 0 { offset += count } else if errno != EINTR && errno != EAGAIN { return }
    }
  }
}
