internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages
internal import IgniteOCI
internal import IgniteSystem
internal import Synchronization

struct KernelCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernel", abstract: "Import, list and remove kernels.",
    subcommands: [KernelImport.self, KernelList.self, KernelRemove.self, KernelInspect.self])
}

struct KernelImport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Make a kernel ready for VMs; the first one becomes the default.")

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("The name that the kernel gets here.", valueName: "reference"))
  var name: String?

  @Flag(name: .customLong("default"), help: "Give it to VMs that name no kernel.")
  var makeDefault = false

  @Option(
    help: ArgumentHelp(
      "Where a kernel file's modules are: /lib/modules/VERSION, or the folder above it.", valueName: "dir"),
    completion: .directory)
  var modules: String?

  @Argument(
    help: """
      apt:PACKAGE or FILE.deb, a Debian package; a vmlinux or bzImage file; or an image with a kernel in /boot and its \
      modules in /lib/modules, from any source that `image import` takes.
      """)
  var source: String

  func run() async throws {
    let record = try await Interrupts.run { _ in
      try await global.engine().importKernel(source, modules: modules, name: name, makeDefault: makeDefault) {
        KernelProgress.shared.show($0)
      }
    }
    Output.line(record.kernel.name)
  }
}

struct KernelList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "ls", abstract: "List kernels.", aliases: ["list"])

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Print names only.")
  var quiet = false

  @Option(help: ArgumentHelp("table or json.", valueName: "format"))
  var format: String = "table"

  func run() async throws {
    let format = try ListFormat(checking: format)
    let records = try await global.engine().kernelRecords()
    if quiet {
      for record in records { Output.line(record.kernel.name) }
      return
    }
    switch format {
    case .json: try Output.json(records)
    case .table:
      var table = Table(["KERNEL", "VERSION", "DIGEST", "IMPORTED", "SIZE", "DEFAULT"])
      for record in records {
        table.add([
          record.kernel.name, record.kernel.version, String(record.kernel.digest.hex.prefix(12)),
          Output.span(Date().timeIntervalSince(record.imported)) + " ago",
          ByteQuantity(bytes: record.kernel.vmlinuxSize &+ record.kernel.modulesSize).rounded,
          record.isDefault == true ? "*" : "",
        ])
      }
      FileHandleOutput.standardOutput.write(table.text())
    }
  }
}

struct KernelRemove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove kernels that no VM uses.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names, versions or digests' first digits.", completion: .kernels)
  var kernels: [String]

  func run() async throws {
    let engine = try await global.engine()
    try await forEachQuery(kernels) { try await engine.removeKernel($0).name }
  }
}

struct KernelInspect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Print all that is known of kernels, as JSON.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names, versions or digests' first digits.", completion: .kernels)
  var kernels: [String]

  func run() async throws {
    let engine = try await global.engine()
    try Output.json(try await kernels.asyncMap { try await engine.inspectKernel($0) })
  }
}

/// What a kernel's import does, a plain line a step.
private final class KernelProgress: Sendable {
  static let shared = KernelProgress()
  private let unpacking = Mutex(false)

  func show(_ progress: KernelImportProgress) {
    switch progress {
    case .resolving(let package): CommandLineTool.say("resolving \(package)")
    case .downloading(let package, let bytes):
      CommandLineTool.say("downloading \(package) (\(ByteQuantity(bytes: bytes).rounded))")
    case .unpacking(let package, _, _):
      if !unpacking.withLock({ told in
        defer { told = true }
        return told
      }) {
        CommandLineTool.say("unpacking \(package)")
      }
    case .reused(let package): CommandLineTool.say("\(package) is here already")
    }
  }
}
