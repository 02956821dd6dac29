internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

struct CopyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cp", abstract: "Copy files between a running VM and the host.",
    usage: """
      ignite cp [options] VM:SRC_PATH DEST_PATH|-
      ignite cp [options] SRC_PATH|- VM:DEST_PATH
      """,
    discussion: """
      - as the source unpacks a tar archive from standard input in a directory of the VM; as the destination it writes one \
      to standard output. A SRC_PATH that ends in /. means the directory's contents. A path of the host with a colon in \
      it is written as ./a:b.
      """)

  @OptionGroup var global: GlobalOptions

  @Flag(
    name: [.customShort("a"), .customLong("archive")],
    help: "Keep owners; else files in the VM are root's, and those on the host yours.")
  var archive = false

  @Flag(name: [.customShort("L"), .customLong("follow-link")], help: "Copy what a symbolic link SRC_PATH leads to.")
  var followLink = false

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Say nothing of a copy that went well.")
  var quiet = false

  @Argument(help: ArgumentHelp("What is copied.", valueName: "source"), completion: .file())
  var source: String

  @Argument(help: ArgumentHelp("Where to.", valueName: "destination"), completion: .file())
  var destination: String

  func run() async throws {
    let from = CopyPlace(source)
    let to = CopyPlace(destination)
    guard !from.path.isEmpty, !to.path.isEmpty else {
      throw EngineError(.invalidArgument, "source and destination cannot be empty", advice: "write VM:/PATH")
    }
    let engine = try await global.engine()
    let options = CopyOptions(keepsOwners: archive, followsLink: followLink)
    let result: CopyResult
    switch (from.vm, to.vm) {
    case (let name?, nil):
      let vm = try await engine.vm(name)
      if to.path == "-" {
        result = try await engine.copy(from: vm, path: from.path, toArchive: 1, options: options)
      } else {
        result = try await engine.copy(from: vm, path: from.path, to: to.path, options: options)
      }
    case (nil, let name?):
      let vm = try await engine.vm(name)
      if from.path == "-" {
        result = try await engine.copy(archive: 0, into: vm, path: to.path, options: options)
      } else {
        result = try await engine.copy(from.path, into: vm, path: to.path, options: options)
      }
    case (.some, .some):
      throw EngineError(
        .invalidArgument, "copying between VMs is not supported",
        advice: "pass an archive on: ignite cp \(source) - | ignite cp - \(destination)")
    case (nil, nil):
      throw EngineError(.invalidArgument, "neither path is one of a VM", advice: "write one as VM:/PATH")
    }
    for line in result.complaints { CommandLineTool.say(line) }
    if !result.complaints.isEmpty { throw ExitWith(status: 1) }
    // As docker: for people only.
    if !quiet, to.path != "-", Terminal.isTerminal(1) {
      let size = ByteQuantity(bytes: result.bytes).rounded
      FileHandleOutput.standardError.write("Successfully copied \(size) to \(destination)\n")
    }
  }
}

/// `VM:PATH`, or a path of the host: one that starts with `/` or `.`, or has no colon.
struct CopyPlace: Equatable {
  let vm: String?
  let path: String

  init(_ argument: String) {
    if !argument.hasPrefix("/"), !argument.hasPrefix("."), let colon = argument.firstIndex(of: ":") {
      vm = String(argument[..<colon])
      path = String(argument[argument.index(after: colon)...])
    } else {
      vm = nil
      path = argument
    }
  }
}
