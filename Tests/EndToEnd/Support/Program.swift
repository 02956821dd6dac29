import FoundationEssentials
import Glibc
import IgniteSystem

/// A program that a test runs, with its files in the test's hands.
struct Program {
  struct Result: Sendable {
    var status: Int32
    var output: [UInt8]
    var errors: [UInt8]
    var text: String { String(decoding: output, as: UTF8.self) }
    var errorText: String { String(decoding: errors, as: UTF8.self) }
  }

  var arguments: [String]
  var environment: [String: String]
  var input: [UInt8] = []
  /// What it has beside its standard streams.
  var descriptors: [LaunchRequest.Descriptor] = []

  /// Runs to the end; output and input go through pipes, each on a thread of its own.
  func run() async throws -> Result {
    let running = try start()
    let feed = running.feed(input)
    async let output = running.readOutput()
    async let errors = running.readErrors()
    let status = await running.ended()
    feed.cancel()
    return Result(status: status, output: try await output, errors: try await errors)
  }

  func start(inputPipe: Bool = true) throws -> RunningProgram { try RunningProgram(self) }
}

/// A program that runs, its standard streams as pipes.
final class RunningProgram: Sendable {
  let process: LaunchedProcess
  let input: FileDescriptor
  private let output: FileDescriptor
  private let errors: FileDescriptor
  private let loop: EventLoop

  init(_ program: Program) throws {
    let (inputRead, inputWrite) = try FileDescriptor.pipe()
    let (outputRead, outputWrite) = try FileDescriptor.pipe()
    let (errorsRead, errorsWrite) = try FileDescriptor.pipe()
    let executable = program.arguments[0]
    var request = LaunchRequest(
      executable: executable, arguments: program.arguments, environment: program.environment,
      standardInput: inputRead.number, standardOutput: outputWrite.number, standardError: errorsWrite.number,
      descriptors: program.descriptors, newSession: true)
    request.keepsRights = true
    process = try launch(request)
    input = inputWrite
    output = outputRead
    errors = errorsRead
    loop = try EventLoop(name: "test-program")
  }

  deinit {
    try? process.kill()
    loop.stop()
  }

  /// Writes all of it, then closes the pipe.
  func feed(_ bytes: [UInt8]) -> Task<Void, Never> {
    let input = input
    return Task {
      await ThreadExecutor.run(name: "test-feed") {
        var offset = 0
        while offset < bytes.count {
          let count = bytes.withUnsafeBytes {
            write(input.number, $0.baseAddress?.advanced(by: offset), $0.count - offset)
          }
          if count > 0 { offset += count } else if errno != EINTR { break }
        }
        input.close()
      }
    }
  }

  func readOutput() async throws -> [UInt8] { try await Self.readAll(output) }
  func readErrors() async throws -> [UInt8] { try await Self.readAll(errors) }

  /// Reads standard output up to and with `text`; what came is returned when the output ends before.
  func readOutput(until text: String) async throws -> String { try await Self.readUntil(output, until: text) }
  /// The same of standard error.
  func readErrors(until text: String) async throws -> String { try await Self.readUntil(errors, until: text) }

  private static func readUntil(_ descriptor: FileDescriptor, until text: String) async throws -> String {
    let wanted = Array(text.utf8)
    return try await ThreadExecutor.run(name: "test-read") { () throws(SystemError) -> String in
      var bytes: [UInt8] = []
      var byte: UInt8 = 0
      while bytes.suffix(wanted.count) != wanted[...] {
        if try retrying("read", { Glibc.read(descriptor.number, &byte, 1) }) == 0 { break }
        bytes.append(byte)
      }
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  func signal(_ number: Int32) throws { try process.kill(number) }

  var pid: Int32 { process.pid }

  func ended() async -> Int32 { await process.exited(on: loop).shellStatus }

  private static func readAll(_ descriptor: FileDescriptor) async throws -> [UInt8] {
    try await ThreadExecutor.run(name: "test-read") { () throws(SystemError) -> [UInt8] in
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = try retrying("read") { read(descriptor.number, &buffer, buffer.count) }
        if count == 0 { return bytes }
        bytes += buffer.prefix(count)
      }
    }
  }
}
