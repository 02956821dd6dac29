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
    let failure: Int32 = ["run", "exec"].contains(arguments.first(where: { !$0.hasPrefix("-") })) ? 125 : 1
    do {
      var command = try await parse(arguments)
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
      exit(0)
    } catch let error as ExitWith {
      exit(error.status)
    } catch let error as SupervisorError {
      say(error.description)
      exit(failure == 125 ? error.exitCode : 1)
    } catch let error as any UserFacingError {
      say(error.description)
      exit(failure)
    } catch is CancellationError {
      exit(128 + (Interrupts.received ?? SIGINT))
    } catch {
      let isHelp = Ignite.exitCode(for: error) == .success
      let text = Ignite.fullMessage(for: error)
      if isHelp {
        print(text)
        exit(0)
      }
      if Ignite.exitCode(for: error) == .validationFailure {
        say(usage(error))
      } else {
        say(userMessage(error))
      }
      exit(failure)
    }
  }

  private static func parse(_ arguments: [String]) async throws -> any ParsableCommand {
    try await Ignite.asyncParseAsRoot(try DockerFlags.checked(arguments))
  }

  /// A usage error as one line with the next step, in place of the parser's page.
  private static func usage(_ error: any Error) -> String {
    let text = Ignite.message(for: error).split(separator: "\n").first.map(String.init) ?? "the command line is wrong"
    return "\(text); see `ignite --help`, or --help after a command's name"
  }

  /// One line on standard error.
  static func say(_ text: String) {
    let line = "ignite: " + text.split(whereSeparator: \.isNewline).joined(separator: " ") + "\n"
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
