import Foundation
import IgniteOCI

/// Writes an OCI image layout, as valid or as broken as a test wants it.
struct TestLayout {
  let path: String
  private(set) var entries: [Descriptor] = []

  init(_ path: String) throws {
    self.path = path
    try FileManager.default.createDirectory(atPath: "\(path)/blobs/sha256", withIntermediateDirectories: true)
    try write("oci-layout", Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
  }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }

  func blobPath(_ digest: Digest) -> String { "\(path)/blobs/sha256/\(digest.hex)" }

  /// Adds a blob.
  func add(_ bytes: [UInt8], type: String) throws -> Descriptor {
    let digest = Digest.sha256(of: bytes)
    try write("blobs/sha256/\(digest.hex)", bytes)
    return Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
  }

  func add(json value: some Encodable, type: String) throws -> Descriptor {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return try add([UInt8](encoder.encode(value)), type: type)
  }

  /// A layer in its tar and as it is stored.
  struct Layer {
    var descriptor: Descriptor
    var diffID: Digest
  }

  /// Packs files into a layer with the system's tar and gzip.
  func layer(_ files: [String: [UInt8]], gzip: Bool = true) async throws -> Layer {
    let scratch = try TestDirectory()
    for (name, bytes) in files {
      let url = URL(fileURLWithPath: scratch.file(name))
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(bytes).write(to: url)
    }
    let tar = try await tool(
      [
        "tar", "-c", "--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "--numeric-owner", "-C",
        scratch.path, ".",
      ])
    return try await layer(tar: tar, gzip: gzip)
  }

  func layer(tar: [UInt8], gzip: Bool = true) async throws -> Layer {
    let stored = gzip ? try await tool(["gzip", "-nc"], input: tar) : tar
    let descriptor = try add(stored, type: gzip ? MediaType.ociLayerGzip : MediaType.ociLayer)
    return Layer(descriptor: descriptor, diffID: Digest.sha256(of: tar))
  }

  /// Adds configuration and manifest of an image.
  func image(
    _ layers: [Layer], platform: Platform = .host, process: ImageConfig.Process = .init(command: ["/bin/true"]),
    diffIDs: [Digest]? = nil
  ) throws -> Descriptor {
    let config = ImageConfig(
      created: "2024-01-02T03:04:05Z", architecture: platform.architecture, os: platform.os, variant: platform.variant,
      config: process, diffIDs: diffIDs ?? layers.map(\.diffID))
    let manifest = Manifest(
      config: try add(json: config, type: MediaType.ociConfig), layers: layers.map(\.descriptor))
    return try add(json: manifest, type: MediaType.ociManifest)
  }

  /// Lists a manifest or index in `index.json`.
  mutating func list(_ descriptor: Descriptor, tag: String? = nil, platform: Platform? = nil) throws {
    var entry = descriptor
    entry.platform = platform
    if let tag { entry.annotations["org.opencontainers.image.ref.name"] = tag }
    entries.append(entry)
    try write("index.json", [UInt8](JSONEncoder().encode(Index(manifests: entries))))
  }
}
