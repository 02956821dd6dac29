import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// The corpus of scripts/hostile-images: each image ends in one clear line, or in the tree that umoci makes of it.
@Suite(.timeLimit(.minutes(15))) struct HostileImages {
  private struct Case {
    let name: String
    let answer: String
  }

  private static func corpus(in folder: String) async throws -> [Case] {
    let full = Ignite.variables["SOAK"] == "1" ? ["--full"] : []
    try await Ignite.run([Ignite.root + "/scripts/hostile-images", folder] + full)
    try await Ignite.run(["chmod", "-R", "a+rX", folder])
    let text = try String(contentsOfFile: folder + "/cases", encoding: .utf8)
    return text.split(separator: "\n").compactMap { line in
      let parts = line.split(separator: "\t")
      return parts.count == 2 ? Case(name: String(parts[0]), answer: String(parts[1])) : nil
    }
  }

  @Test func everyOneIsAnswered() async throws {
    try await Ignite.with { ignite in
      chmod(ignite.folder, 0o755)
      let folder = ignite.folder + "/corpus"
      let cases = try await Self.corpus(in: folder)
      #expect(cases.count > 80)
      // The limits are the configuration's, so that the floods need not be as large as the defaults.
      let configuration = ignite.folder + "/config/ignite"
      try await Ignite.run(Ignite.wrap + ["/bin/mkdir", "-p", configuration])
      let expansionFrom = Ignite.variables["SOAK"] == "1" ? "4Gi" : "64Mi"
      try "images:\n  limits:\n    files: 5000\n    expansionFrom: \(expansionFrom)\n".write(
        toFile: configuration + "/config.yaml", atomically: false, encoding: .utf8)
      let disks = try names(ignite.folder + "/data/disks")

      for one in cases {
        let result = try await ignite("image", "import", "oci:\(folder)/\(one.name):x", "--name", "localhost/hostile:x")
        let lines = result.errorText.split(separator: "\n").filter { $0.hasPrefix("ignite: ") }
        if one.answer.hasPrefix("error") {
          let words = one.answer.dropFirst("error".count).drop { $0 == " " }
          #expect(result.status == 1, "\(one.name): \(result.errorText)")
          #expect(lines.count == 1, "\(one.name): \(result.errorText)")
          #expect(
            words.isEmpty || lines.first?.lowercased().contains(words.lowercased()) == true,
            "\(one.name) says: \(result.errorText)")
          #expect(!result.errorText.contains("Fatal error"), "\(one.name)")
          #expect(try names(ignite.folder + "/data/disks") == disks, "\(one.name) left a disk")
        } else {
          #expect(result.status == 0, "\(one.name): \(result.errorText)")
          if one.answer == "tree" { try await expectReferenceTree(of: one.name, in: folder, ignite) }
          try await ignite.succeed("image", "rm", "localhost/hostile:x")
        }
        #expect(try names(ignite.folder + "/data/content/ingest").isEmpty, "\(one.name) left something under way")
      }
    }
  }

  /// Compares the disk, dumped by debugfs, with what umoci unpacks: every name with its kind, mode, size and target.
  private func expectReferenceTree(of name: String, in folder: String, _ ignite: Ignite) async throws {
    let seen = "\(folder)/seen", reference = "\(folder)/reference"
    let inspected = try await ignite.succeed("image", "inspect", "localhost/hostile:x")
    let disk = try #require(inspected.firstMatch(of: /[0-9a-f]{64}\.[0-9A-Za-z]+\.ext4/)).0
    try await Ignite.run(["rm", "-rf", seen, reference])
    try await Ignite.run(["mkdir", seen])
    let file = "\(ignite.folder)/data/disks/\(disk)"
    try await Ignite.run(["/sbin/e2fsck", "-fn", file])
    // debugfs complains of owners that it may not give, and goes on.
    try await Ignite.run(["/sbin/debugfs", "-R", "rdump / \(seen)", file])
    let rootless = getuid() == 0 ? [] : ["--rootless"]
    // It makes missing folders by the caller's umask.
    let unpack = ["/bin/sh", "-c", #"umask 022; exec umoci unpack "$@""#, "umoci"] + rootless
    try await Ignite.run(unpack + ["--image", "\(folder)/\(name):x", reference])
    // debugfs gives no special bits back; that the disk has them is tested beside the builder.
    try await Ignite.run(["chmod", "-R", "ug-s,-t", "\(reference)/rootfs"])
    let listing = [
      "find", ".", "-mindepth", "1", "(", "-type", "d", "-printf", "%P %y %m\\0", "-o", "-printf", "%P %y %m %s %l\\0",
      ")",
    ]
    func list(_ folder: String) async throws -> Set<[UInt8]> {
      let result = try await Ignite.run(["env", "-C", folder] + listing)
      return Set(result.output.split(separator: 0).map(Array.init))
    }
    let (ours, theirs) = (try await list(seen), try await list("\(reference)/rootfs"))
    func text(_ names: Set<[UInt8]>) -> [String] { names.map { String(decoding: $0, as: UTF8.self) }.sorted() }
    #expect(
      ours == theirs,
      "\(name): only ours \(text(ours.subtracting(theirs))), only umoci's \(text(theirs.subtracting(ours)))")
  }

  private func names(_ folder: String) throws -> Set<String> {
    guard FileManager.default.fileExists(atPath: folder) else { return [] }
    return Set(try FileManager.default.contentsOfDirectory(atPath: folder))
  }
}
