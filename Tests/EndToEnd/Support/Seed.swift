import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// What is made once for all tests of a run: a data directory with Debian's kernel and the test image.
actor Seed {
  static let shared = Seed()
  private var made: Task<String, any Error>?

  func folder() async throws -> String {
    if let made { return try await made.value }
    let task = Task { try await Self.make() }
    made = task
    return try await task.value
  }

  private static func make() async throws -> String {
    let seed = Ignite(folder: try Ignite.scratchFolder())
    let deb = try await kernel(in: seed.folder)
    try await seed.succeed("kernel", "import", deb)
    let layout = try await TestImage.layout()
    try await seed.succeed("image", "import", "oci:\(layout):test", "--name", Ignite.image)
    // What is said once, measured once and probed once is over with.
    try await seed.succeed("run", "--rm", Ignite.image, "true")
    try await seed.succeed("template", "build")
    return seed.folder
  }

  /// Debian's kernel, as a package in that folder: the ordinary user may not enter root's cache.
  static func kernel(in folder: String) async throws -> String {
    let deb: String
    if let given = Ignite.variables["IGNITE_TEST_KERNEL_DEB"] {
      deb = given
    } else {
      deb = try await Ignite.run([Ignite.root + "/scripts/kernel-deb"]).text.trimmingSuffix()
    }
    let copy = folder + "/kernel.deb"
    try await Ignite.run(["cp", deb, copy])
    chmod(copy, 0o644)
    return copy
  }
}

extension String {
  func trimmingSuffix() -> String { hasSuffix("\n") ? String(dropLast()) : self }
}

/// The image that most tests run: busybox, two users, and files that cannot be executed.
actor TestImage {
  private static let shared = TestImage()
  private var made: Task<String, any Error>?

  /// An OCI layout with the tag `test`.
  static func layout() async throws -> String { try await shared.folder() }

  private func folder() async throws -> String {
    if let made { return try await made.value }
    let task = Task { try await Self.make() }
    made = task
    return try await task.value
  }

  private static func make() async throws -> String {
    let folder = try Ignite.scratchFolder()
    chmod(folder, 0o755)
    let script = """
      set -eu
      cd "$1"
      "$2/scripts/busybox-image" "$1/layout" >/dev/null
      mkdir -p tree/etc tree/home/alice tree/usr/local/bin tree/srv
      printf 'root:x:0:0:root:/root:/bin/sh\\nalice:x:1000:1000::/home/alice:/bin/sh\\n' > tree/etc/passwd
      printf 'root:x:0:\\nalice:x:1000:\\nstaff:x:50:alice\\naudio:x:29:alice\\n' > tree/etc/group
      echo plain > tree/srv/plain
      printf '#!/no/such/interpreter\\n' > tree/usr/local/bin/lost
      chmod 755 tree/usr/local/bin/lost
      chmod 644 tree/srv/plain
      tar -C tree --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX -cf layer.tar .
      umoci --log error raw add-layer --image layout:busybox --tag test layer.tar
      umoci --log error config --image layout:test --config.env COLOUR=red --config.cmd /bin/sh
      chmod -R go+rX layout
      """
    try await Ignite.run(["bash", "-c", script, "test-image", folder, Ignite.root])
    return folder + "/layout"
  }
}
