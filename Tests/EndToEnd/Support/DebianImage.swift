import Glibc
import Testing

/// Debian images that scripts/debian-image makes, each once for a run of the tests.
actor DebianImage {
  /// Debian with systemd, D-Bus, udev and an SSH server, as an image of Weave's kind: its command is a shell.
  static let machine = DebianImage("machine")
  /// Debian with what sets up networks, filters and disks.
  static let tools = DebianImage("tools")

  private let tag: String
  private var made: Task<String, any Error>?

  private init(_ tag: String) { self.tag = tag }

  /// Imports it, and gives its name.
  func imported(_ ignite: Ignite) async throws -> String {
    let layout = try await layout()
    let name = "localhost/\(tag):latest"
    try await ignite.succeed("image", "import", "oci:\(layout):shell", "--name", name)
    return name
  }

  private func layout() async throws -> String {
    if let made { return try await made.value }
    let task = Task { [tag] in try await Self.make(tag) }
    made = task
    return try await task.value
  }

  private static func make(_ tag: String) async throws -> String {
    let folder = try Ignite.scratchFolder()
    chmod(folder, 0o755)
    let script = """
      set -eu
      "$2/scripts/debian-image" "$1/layout" "$3" >/dev/null
      umoci --log error config --image "$1/layout:$3" --tag shell --config.cmd /bin/bash
      chmod -R go+rX "$1/layout"
      """
    try await Ignite.run(["bash", "-c", script, "debian-image", folder, Ignite.root, tag])
    return folder + "/layout"
  }
}
