import FoundationEssentials
import Glibc
import Testing

/// What the tests read of `ignite template ls --format json`.
struct TemplateView: Decodable {
  var key: String
  var cpus: Int
  var memory: UInt64
  var size: UInt64
  var unusable: String?
  var keeper: Int32?
  var clones: Int?
  var spares: Int
}

extension Ignite {
  func templates() async throws -> [TemplateView] {
    let text = try await succeed("template", "ls", "--format", "json")
    return try JSONDecoder().decode([TemplateView].self, from: Data(text.utf8))
  }

  /// Waits until there are so many.
  func awaitTemplates(_ count: Int) async throws -> [TemplateView] {
    while true {
      let found = try await templates()
      if found.count >= count { return found }
      try Task.checkCancellation()
      await Task.yield()
    }
  }

  /// An image with an empty /etc/machine-id, which the first boot is to fill in: `localhost/mid`.
  func importWithMachineID(_ layout: String) async throws {
    let script = """
      set -eu
      cd "$1"
      cp -r "$2" image
      mkdir -p tree/etc
      : > tree/etc/machine-id
      tar -C tree --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX -cf layer.tar .
      umoci --log error raw add-layer --image image:test layer.tar
      chmod -R go+rX image
      """
    let scratch = try Self.scratchFolder()
    chmod(scratch, 0o755)
    try await Self.run(["bash", "-c", script, "image", scratch, layout])
    try await succeed("image", "import", "oci:\(scratch)/image:test", "--name", "localhost/mid:latest")
    try await Self.run(["rm", "-rf", scratch])
  }
}
