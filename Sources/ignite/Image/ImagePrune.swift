internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages
internal import IgniteOCI

struct ImagePrune: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune", abstract: "Remove what no image and no VM needs.",
    discussion: """
      Without -a: blobs and base disks that no image and no VM needs, once they are older than images.gracePeriod, and what \
      imports that died left behind. With -a: images that no VM uses too, whatever their age.
      """)

  @OptionGroup var global: GlobalOptions
  @OptionGroup var options: PruneOptions

  func run() async throws {
    let request = try options.request()
    try await Interrupts.run { _ in
      if !options.force && !options.dryRun {
        let what =
          options.all
          ? "This will remove all images without at least one VM made from them."
          : "This will remove all blobs and base disks that no image and no VM needs."
        guard try await Confirmation.ask(what, flag: "-f") else { return }
      }
      PruneText.show(try await global.engine().pruneImages(request), dryRun: options.dryRun)
    }
  }
}

/// A prune's report as docker writes it.
enum PruneText {
  static func show(_ report: PruneReport, dryRun: Bool) {
    func section(_ title: String, _ lines: [String]) {
      guard !lines.isEmpty else { return }
      Output.line("\(dryRun ? "Would delete" : "Deleted") \(title):")
      for line in lines { Output.line(line) }
      Output.line("")
    }
    section("VMs", report.vms.map { "\($0.metadata.uid) \($0.metadata.name)" })
    section(
      "images",
      report.images.map { "untagged: \(ImageNames.familiar($0.name))" }
        + report.cleanup.items.filter { $0.kind != .leftover }.map { "deleted: \($0.name)" })
    section(
      "leftovers", report.cleanup.items.filter { $0.kind == .leftover }.map(\.name) + report.kernelLeftovers)
    section("templates", report.templates.map { "\($0.key) (\($0.unusable ?? "not used"))" })
    section("volumes", report.volumes.map(\.metadata.name))
    let bytes = ByteQuantity(bytes: UInt64(max(0, report.bytes))).rounded
    Output.line(dryRun ? "Reclaimable space: \(bytes)" : "Total reclaimed space: \(bytes)")
  }
}
