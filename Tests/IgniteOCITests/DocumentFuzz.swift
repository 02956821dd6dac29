import Foundation
import Testing

@testable import IgniteOCI

/// Manifests, indexes, configurations and references, damaged at random: what is taken keeps the limits and reads back as
/// it was, and nothing traps.
///
/// FUZZ_SECONDS says how long (default 5), FUZZ_SEED where the random numbers start; a failure names its seed.
@Suite struct DocumentFuzz {
  private static let hex = String(repeating: "0123456789abcdef", count: 4)

  private static let documents = [
    """
    {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":
    "application/vnd.oci.image.config.v1+json","digest":"sha256:\(hex)","size":7},"layers":[{"mediaType":
    "application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:\(hex)","size":1234,"annotations":{"a":"b"}}]}
    """,
    """
    {"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[{"mediaType":
    "application/vnd.docker.distribution.manifest.v2+json","digest":"sha256:\(hex)","size":527,"platform":
    {"architecture":"arm","os":"linux","variant":"v7","os.features":["x"]}}]}
    """,
    """
    {"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z","config":{"User":"0:0","Env":["A=b"],"Cmd":
    ["sh"],"Entrypoint":null,"ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"Labels":{"k":"v"},"StopSignal":"15",
    "Healthcheck":{"Test":["CMD","x"],"Interval":1}},"rootfs":{"type":"layers","diff_ids":["sha256:\(hex)"]},
    "history":[{"created_by":"x","empty_layer":true}]}
    """,
  ]
  private static let references = [
    "nginx", "docker.io/library/nginx:1.27", "[::1]:5000/a/b_c.d-e:T_0.9", "ghcr.io/o/n@sha256:\(hex)",
    "localhost/x:y@sha256:\(hex)", "127.0.0.1:65535/a__b", "UPPER.host:80/a", "index.docker.io/a",
  ]
  private static let words = [
    "-1", "1e999", "9223372036854775808", "null", "{}", "[]", "\"\\ud800\"", "\"\"", "sha512:", "sha256:", "../",
    "\u{0}",
    "é", "true", "0.5", ":", "@", "/",
  ]

  private func mutated(_ samples: [String], _ random: inout SplitMix) -> [UInt8] {
    var bytes = Array((samples.randomElement(using: &random) ?? "").utf8)
    for _ in 0..<Int.random(in: 1...5, using: &random) where !bytes.isEmpty {
      let position = Int.random(in: 0..<bytes.count, using: &random)
      let end = min(bytes.count, position + Int.random(in: 0...12, using: &random))
      switch Int.random(in: 0..<5, using: &random) {
      case 0: bytes[position] = UInt8.random(in: .min ... .max, using: &random)
      case 1: bytes.removeSubrange(position..<end)
      case 2: bytes.insert(contentsOf: bytes[position..<end], at: position)
      case 3: bytes.replaceSubrange(position..<end, with: Array((Self.words.randomElement(using: &random) ?? "").utf8))
      default: bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random) / 8)
      }
    }
    return bytes
  }

  @Test func damagedDocumentsAreTakenOrRefused() {
    fuzz { random, seed in
      let bytes = mutated(Self.documents, &random)
      var taken = 0
      if let document = try? ManifestDocument(bytes, declared: nil) {
        taken += 1
        switch document {
        case .manifest(let manifest, _):
          #expect(manifest.layers.count <= Limits.layerCount, "FUZZ_SEED=\(seed)")
          #expect(manifest.layers.allSatisfy { $0.size >= 0 } && manifest.config.size >= 0, "FUZZ_SEED=\(seed)")
        case .index(let index, _):
          #expect(index.manifests.allSatisfy { $0.size >= 0 }, "FUZZ_SEED=\(seed)")
          _ = try? ManifestResolver.select(from: index.manifests, for: .host)
        }
      }
      if let config = try? ImageConfig(json: bytes) {
        taken += 1
        #expect(config.diffIDs.count <= Limits.layerCount, "FUZZ_SEED=\(seed)")
        let again = try? ImageConfig(json: Array(JSONEncoder().encode(config)))
        #expect(again == config, "FUZZ_SEED=\(seed)")
      }
      return taken
    }
  }

  @Test func damagedReferencesAreTakenOrRefused() {
    fuzz { random, seed in
      let text = String(decoding: mutated(Self.references, &random), as: UTF8.self)
      guard let reference = try? Reference(text) else { return 0 }
      #expect(reference.tag != nil || reference.digest != nil, "FUZZ_SEED=\(seed)")
      #expect(!reference.repository.contains(".."), "FUZZ_SEED=\(seed)")
      #expect((try? Reference(reference.description)) == reference, "FUZZ_SEED=\(seed): \(text)")
      return 1
    }
  }

  private func fuzz(_ round: (inout SplitMix, UInt64) -> Int) {
    let environment = ProcessInfo.processInfo.environment
    let seconds = environment["FUZZ_SECONDS"].flatMap(Double.init) ?? 5
    let first = environment["FUZZ_SEED"].flatMap(UInt64.init) ?? UInt64(Date().timeIntervalSince1970)
    let end = ContinuousClock.now + .seconds(seconds)
    var seed = first
    var taken = 0
    repeat {
      for _ in 0..<50 {
        var random = SplitMix(seed: seed)
        taken += round(&random, seed)
        seed &+= 1
      }
    } while ContinuousClock.now < end
    print("fuzz: seeds \(first) to \(seed &- 1), \(taken) taken")
    #expect(taken > 0)
  }
}
