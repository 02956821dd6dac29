import FoundationEssentials
import Glibc
import Testing

/// What the tests read of `system df`.
struct UsageView: Decodable {
  var type: String
  var count: Int
  var active: Int
  var size: Int64
  var reclaimable: Int64
}

extension Ignite {
  /// Runs `body` with a folder in which nothing is imported.
  static func withEmpty(_ body: (Ignite) async throws -> Void) async throws {
    let ignite = Ignite(folder: try scratchFolder())
    do {
      try await body(ignite)
    } catch {
      await ignite.end()
      throw error
    }
    await ignite.end()
  }

  var data: String { folder + "/data" }

  func usage() async throws -> [String: UsageView] {
    let text = try await succeed("system", "df", "--format", "json")
    let rows = try JSONDecoder().decode([UsageView].self, from: Data(text.utf8))
    return Dictionary(uniqueKeysWithValues: rows.map { ($0.type, $0) })
  }

  /// `system df` accounts for every byte that du(1) finds, and knows them all.
  func expectEveryByteAccountedFor(sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let rows = try await usage()
    let sum = rows.values.reduce(0) { $0 + $1.size }
    let text = try await Self.run(["du", "-s", "--block-size=1", data]).text
    #expect(
      Int64(text.prefix { $0.isNumber }) == sum, "df: \(rows.values.map { "\($0.type) \($0.size)" }); du: \(text)",
      sourceLocation: sourceLocation)
    #expect(rows["Unaccounted"] == nil, sourceLocation: sourceLocation)
  }

  func names(in folder: String) throws -> [String] {
    let path = "\(data)/\(folder)"
    guard FileManager.default.fileExists(atPath: path) else { return [] }
    return try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  /// The one base disk that there is.
  func onlyDisk() throws -> String {
    let disks = try names(in: "disks").filter { $0.hasSuffix(".ext4") }
    #expect(disks.count == 1)
    return "\(data)/disks/\(try #require(disks.first))"
  }

  /// Of a disk: tar leaves out its holes, which are many gigabytes.
  static func digest(of file: String) async throws -> String {
    let script = "tar --sparse --mtime=@0 --transform='s/.*/disk/' -cPf - \"$1\" | sha256sum"
    return String(try await run(["bash", "-c", script, "digest", file]).text.prefix(64))
  }
}

/// Images that tests make of the busybox image and a layer of their own.
enum BuiltImage {
  /// An OCI layout at `folder/layout` with the tag `test` and one more layer, whose files a script makes in `tree`.
  static func layout(in folder: String, _ script: String) async throws -> String {
    let source = try await TestImage.layout()
    let all = """
      set -eu
      cd "$1"
      cp -r "$2" layout
      mkdir tree
      \(script)
      tar -C tree --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner -cf layer.tar .
      umoci --log error raw add-layer --image layout:test layer.tar
      rm -rf tree layer.tar
      chmod -R a+rX layout
      """
    try await Ignite.run(["bash", "-c", all, "built-image", folder, source])
    return folder + "/layout"
  }
}
