import Foundation
import Glibc
import IgniteOCI
import Testing

@testable import IgniteImages

/// A docker archive made by hand, as Docker wrote it before version 25: a folder a layer, and the list.
struct TestDockerArchive {
  struct Image {
    var tags: [String]?
    var layers: [[UInt8]]
    /// Paths of the layers where they are not to be `ID/layer.tar`.
    var paths: [String]?
    var config: [UInt8]?
  }

  var archive = TestArchive()

  /// A layer's tar with one file.
  static func layer(_ name: String, _ text: String) -> [UInt8] { TestArchive.make { $0.file(name, text) } }

  static func config(_ layers: [[UInt8]]) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let config = ImageConfig(
      architecture: Platform.host.architecture, os: "linux", config: .init(command: ["/bin/true"]),
      diffIDs: layers.map { Digest.sha256(of: $0) })
    return [UInt8](try encoder.encode(config))
  }

  /// The archive of some images. A layer that an image before had is a link to that one's file, as Docker made it.
  static func make(
    _ images: [Image], before: (inout TestArchive) -> Void = { _ in }, after: (inout TestArchive) -> Void = { _ in }
  ) throws -> [UInt8] {
    var archive = TestArchive()
    before(&archive)
    var seen: [[UInt8]: String] = [:]
    var list: [[String: Any]] = []
    for (number, image) in images.enumerated() {
      var paths: [String] = []
      for (position, layer) in image.layers.enumerated() {
        let folder = "i\(number)l\(position)"
        let path = "\(folder)/layer.tar"
        if image.paths == nil {
          archive.directory(folder + "/")
          archive.file("\(folder)/VERSION", "1.0")
          if let first = seen[layer] {
            archive.link(path, to: "../\(first)")
          } else {
            var member = TestArchive.Member(.file, path)
            member.data = layer
            archive.add(member)
            seen[layer] = path
          }
        }
        paths.append(path)
      }
      let config = try image.config ?? Self.config(image.layers)
      var member = TestArchive.Member(.file, "\(Digest.sha256(of: config).hex).json")
      member.data = config
      archive.add(member)
      list.append([
        "Config": "\(Digest.sha256(of: config).hex).json", "RepoTags": image.tags as Any? ?? NSNull(),
        "Layers": image.paths ?? paths,
      ])
    }
    var manifest = TestArchive.Member(.file, "manifest.json")
    manifest.data = [UInt8](try JSONSerialization.data(withJSONObject: list, options: .sortedKeys))
    archive.add(manifest)
    after(&archive)
    return archive.finished
  }
}

extension ArchiveSource {
  /// As a test opens it: of a text, without a Docker daemon.
  static func open(_ text: String, store: ContentStore) async throws -> ArchiveSource {
    try await open(try ImageSourceReference(text), store: store, environment: [:]) { _ in }
  }
}

/// A named pipe that a thread fills: an archive that cannot be read twice.
func withPipe<Result>(
  _ bytes: [UInt8], _ scratch: TestDirectory, _ body: (String) async throws -> Result
) async throws -> Result {
  let path = scratch.file("pipe-\(UUID().uuidString)")
  guard mkfifo(path, 0o600) == 0 else { throw TestToolFailure(description: "mkfifo \(path)") }
  let source = scratch.file("source-\(UUID().uuidString)")
  try Data(bytes).write(to: URL(fileURLWithPath: source))
  let writer = Process()
  writer.executableURL = URL(fileURLWithPath: "/bin/dd")
  writer.arguments = ["status=none", "if=\(source)", "of=\(path)", "bs=64k"]
  writer.standardError = FileHandle.nullDevice
  try writer.run()
  defer {
    // A reader that gave up before it opened the pipe leaves its writer waiting.
    if writer.isRunning { writer.terminate() }
    try? FileManager.default.removeItem(atPath: source)
  }
  return try await body(path)
}
