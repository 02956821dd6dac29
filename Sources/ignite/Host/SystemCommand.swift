internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages
internal import IgniteOCI

struct SystemCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "system", abstract: "What is kept on disk, and the VMs that come and go with the host.",
    subcommands: [SystemUsage.self, SystemPrune.self, SystemStart.self, SystemStop.self])
}

struct SystemStart: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "start", abstract: "Start the VMs whose restart policy has them run when the host does.",
    discussion: """
      Those of the policy always, those of unless-stopped that were not stopped, and those of on-failure that broke down \
      with the host. The systemd unit ignite.service does it when the host has started.
      """)

  @OptionGroup var global: GlobalOptions

  func run() async throws {
    let started = try await Interrupts.run { _ in
      try await global.engine().startWithHost(notify: CommandLineTool.say)
    }
    for vm in started { Output.line(vm.metadata.name) }
  }
}

struct SystemStop: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stop", abstract: "End all VMs, as before the host goes down: `system start` starts them again.")

  @OptionGroup var global: GlobalOptions

  func run() async throws {
    let stopped = try await Interrupts.run { _ in
      try await global.engine().stopWithHost(notify: CommandLineTool.say)
    }
    for vm in stopped { Output.line(vm.metadata.name) }
  }
}

struct SystemPrune: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune", abstract: "Remove stopped VMs, images that nothing needs, and what died imports left.")

  @OptionGroup var global: GlobalOptions
  @OptionGroup var options: PruneOptions

  @Flag(name: .customLong("volumes"), help: "Remove anonymous volumes that no VM has, too.")
  var volumes = false

  func run() async throws {
    var asked = try options.request()
    asked.volumes = volumes
    let request = asked
    try await Interrupts.run { _ in
      if !options.force && !options.dryRun {
        let images =
          options.all
          ? "all images without at least one VM made from them" : "all blobs and base disks that nothing needs"
        let what = """
          This will remove:
            - all stopped VMs, with their disks and logs
            - \(images)
            - what imports that died left behind\(volumes ? "\n  - all anonymous volumes that no VM has" : "")

          """
        guard try await Confirmation.ask(what, flag: "-f") else { return }
      }
      PruneText.show(try await global.engine().prune(request), dryRun: options.dryRun)
    }
  }
}

struct SystemUsage: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "df", abstract: "Show what takes how much of the disk, to the byte.")

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("v"), .customLong("verbose")], help: "List every image, VM and kernel.")
  var verbose = false

  @Option(help: ArgumentHelp("table or json.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String = "table"

  func run() async throws {
    let format = try ListFormat(checking: format)
    let usage = try await global.engine().usage()
    switch format {
    case .json: try Output.json(usage.rows)
    case .table:
      FileHandleOutput.standardOutput.write(Self.summary(usage))
      if verbose { FileHandleOutput.standardOutput.write(Self.details(usage)) }
    }
  }

  private static func size(_ bytes: Int64) -> String { ByteQuantity(bytes: UInt64(max(0, bytes))).rounded }

  private static func summary(_ usage: Usage) -> String {
    var table = Table(["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"])
    for row in usage.rows {
      let counted = row.type != .records
      let share = row.size > 0 && row.reclaimable > 0 ? " (\(row.reclaimable * 100 / row.size)%)" : ""
      table.add([
        row.type.rawValue, counted ? "\(row.count)" : "-", counted ? "\(row.active)" : "-", size(row.size),
        size(row.reclaimable) + share,
      ])
    }
    table.add(["Total", "", "", size(usage.total), size(usage.rows.reduce(0) { $0 + $1.reclaimable })])
    return table.text()
  }

  private static func details(_ usage: Usage) -> String {
    var images = Table(["IMAGE", "IMAGE ID", "CREATED", "DISK", "BLOBS", "VMS"])
    let now = Date()
    for (record, disk, blobs, vms) in usage.images {
      images.add([
        ImageNames.familiar(record.image.name), String(record.image.manifestDigest.hex.prefix(12)),
        Output.span(now.timeIntervalSince(ImageFilter.made(record))) + " ago", size(disk), size(blobs), "\(vms)",
      ])
    }
    var vms = Table(["VM ID", "NAME", "IMAGE", "STATUS", "SIZE"])
    for (vm, bytes) in usage.vms {
      vms.add([
        vm.metadata.shortUID, vm.metadata.name, ImageNames.familiar(vm.spec.image.oci), vm.status.text(at: now),
        size(bytes),
      ])
    }
    var kernels = Table(["KERNEL", "SIZE", "VMS"])
    for (record, bytes, users) in usage.kernels { kernels.add([record.kernel.name, size(bytes), "\(users)"]) }
    var text =
      "\nImages, which share what they have in common:\n\n\(images.text())\nVMs:\n\n\(vms.text())\nKernels:\n\n"
      + kernels.text()
    if !usage.unaccounted.isEmpty {
      var rest = Table(["UNACCOUNTED", "SIZE"])
      for (path, bytes) in usage.unaccounted { rest.add([path, size(bytes)]) }
      text += "\n\(rest.text())"
    }
    return text
  }
}
