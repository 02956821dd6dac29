internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

/// The text of a description: fields under each other, and sections behind them.
struct DescriptionText {
  private var fields: [(label: String, values: [String])] = []
  private var sections = ""

  mutating func field(_ label: String, _ value: String) { field(label, [value]) }

  /// Several values stand under each other.
  mutating func field(_ label: String, _ values: [String]) { fields.append((label + ":", values)) }

  mutating func table(_ title: String, _ table: Table) {
    lines(title, table.text().split(separator: "\n").map { "  \($0)" })
  }

  mutating func lines(_ title: String, _ lines: [String]) {
    sections += "\(title):\n" + lines.map { Table.printable($0) + "\n" }.joined()
  }

  /// - Parameter conditions: with the time since when each is as it is, where that is known.
  mutating func conditions(_ conditions: [(condition: Condition, time: Date?)]) {
    guard !conditions.isEmpty else { return }
    let isDated = conditions.contains { $0.time != nil }
    var table = Table(["TYPE", "STATUS", "REASON"] + (isDated ? ["AGE"] : []) + ["MESSAGE"])
    for (condition, time) in conditions {
      let age = isDated ? [time.map { EventRows.age($0) } ?? ""] : []
      table.add([condition.type, condition.status, condition.reason] + age + [condition.message])
    }
    self.table("Conditions", table)
  }

  func text() -> String {
    let width = (fields.map(\.label.count).max() ?? 0) + 2
    var text = ""
    for (label, values) in fields {
      for (index, value) in values.enumerated() {
        let head = index == 0 ? label : ""
        // Others' words may be among them.
        text += head + String(repeating: " ", count: width - head.count) + Table.printable(value) + "\n"
      }
    }
    return text + sections
  }

  static func moment(_ date: Date) -> String {
    "\(date.formatted(Date.ISO8601FormatStyle())) (\(EventRows.age(date)) ago)"
  }
}

extension DescriptionText {
  /// What a VM is to be, in its important fields.
  mutating func add(_ spec: VMSpec) {
    field("Image", ImageNames.familiar(spec.image.oci))
    if let kernel = spec.kernel { field("Kernel", kernel.oci) }
    field("State wished", spec.state.rawValue)
    field("CPUs", "\(spec.resources.cpus)")
    field("Memory", spec.resources.memory.description)
    field("Disk", spec.resources.disk.description)
    if let command = spec.process.command, !command.isEmpty { field("Command", Self.words(command)) }
    if let args = spec.process.args, !args.isEmpty { field("Args", Self.words(args)) }
    if !spec.process.env.isEmpty { field("Environment", spec.process.env) }
    field("Restart", (spec.restart ?? VMSpec.Restart()).policy.rawValue)
    if let test = spec.health?.test { field("Health test", Self.words(test)) }
    if !spec.network.ports.isEmpty {
      field("Ports", spec.network.ports.map { "\($0.address):\($0.host) -> \($0.vm)/\($0.protocol)" })
    }
    if let volumes = spec.volumes, !volumes.isEmpty { field("Mounts", volumes.map(Self.mount)) }
  }

  /// What was found of a VM.
  mutating func add(_ status: VMStatus, _ readiness: Readiness) {
    field("Status", status.phase.rawValue)
    field("Ready", readiness.reason.map { "No: \($0)" } ?? "Yes")
    if let health = status.health { field("Health", health) }
    if status.restarts > 0 { field("Restarts", "\(status.restarts)") }
    if !status.phase.isActive, let code = status.exitCode { field("Exit code", "\(code)") }
    if let message = status.message { field("Message", message) }
    if !status.addresses.isEmpty { field("Addresses", status.addresses) }
    if let hypervisor = status.hypervisor {
      field("Hypervisor", hypervisor + (status.accelerator.map { " (\($0))" } ?? ""))
    }
    if let started = status.startedAt { field("Started", Self.moment(started)) }
    if !status.phase.isActive, let finished = status.finishedAt { field("Finished", Self.moment(finished)) }
  }

  /// As a shell takes them.
  private static func words(_ words: [String]) -> String {
    words.map { word in
      let isPlain = !word.isEmpty && word.allSatisfy { $0.isLetter || $0.isNumber || "-_./:=,@%+".contains($0) }
      return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
    }.joined(separator: " ")
  }

  private static func mount(_ mount: VolumeMount) -> String {
    let source =
      mount.volume.map { "volume/\($0.name)" } ?? mount.hostPath?.path ?? mount.blockDevice?.path ?? "tmpfs"
    return "\(mount.mountPath) from \(source)" + (mount.readOnly ? " (read only)" : "")
  }
}
