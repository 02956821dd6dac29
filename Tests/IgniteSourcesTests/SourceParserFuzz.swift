import Foundation
import Testing

@testable import IgniteSources

/// Addresses, ranges and what git prints, damaged at random: what is taken keeps its promises, and nothing traps.
///
/// FUZZ_SECONDS says how long (default 3), FUZZ_SEED where the random numbers start; a failure names its seed.
@Suite struct SourceParserFuzz {
  private static let samples: [[UInt8]] = [
    "https://git.example.com:8443/team/repo.git", "ssh://git@[fd00::1]:22/x", "git@host:path/x.git",
    "file:///srv/a%20b",
    ">=1.0.0-0 <2.0.0 || ~1.2, ^0.3.x || 1.2 - 1.4", "v1.20.300-rc.1.x-y+build.5",
    "100644 blob 61780798228d17af2d34fce4cfbdf35556832472\ta/b.yaml\0"
      + "120000 blob 61780798228d17af2d34fce4cfbdf35556832472\tc\0",
    "61780798228d17af2d34fce4cfbdf35556832472 blob 5\nhello\n61780798228d17af2d34fce4cfbdf35556832472 missing\n",
    "ref: refs/heads/main\tHEAD\n61780798228d17af2d34fce4cfbdf35556832472\tHEAD\n61780798228d17af2d34fce4cfbdf35556832472\trefs/tags/v1^{}\n",
    "tree 61780798228d17af2d34fce4cfbdf35556832472\nparent 61780798228d17af2d34fce4cfbdf35556832472\nauthor A <a> 1 +0\n\nx\n",
    "ignite-artifact/1 2\n{}", "deploy/./production//x/../y",
  ].map { Array($0.utf8) }

  private static let marks = Array("@:/.-|<>=~^*x \0\n\t%[]09".utf8)

  private func mutated(_ random: inout SplitMix) -> [UInt8] {
    var bytes = Self.samples[random.below(Self.samples.count)]
    for _ in 0..<random.below(7) {
      let position = random.below(bytes.count)
      switch random.below(5) {
      case 0: bytes.insert(UInt8(random.below(256)), at: position)
      case 1 where !bytes.isEmpty: bytes.remove(at: position)
      case 2 where !bytes.isEmpty: bytes[position] = Self.marks[random.below(Self.marks.count)]
      case 3: bytes.removeLast(random.below(bytes.count + 1))
      default: bytes += Self.samples[random.below(Self.samples.count)].prefix(random.below(40))
      }
    }
    return bytes
  }

  @Test func damagedTextsAreTakenOrRefused() {
    let environment = ProcessInfo.processInfo.environment
    let seconds = environment["FUZZ_SECONDS"].flatMap(Double.init) ?? 3
    let first = environment["FUZZ_SEED"].flatMap(UInt64.init) ?? UInt64(Date().timeIntervalSince1970)
    let end = ContinuousClock.now + .seconds(seconds)
    var seed = first
    var taken = 0
    repeat {
      for _ in 0..<50 {
        var random = SplitMix(seed: seed)
        let bytes = mutated(&random)
        taken += check(bytes, String(decoding: bytes, as: UTF8.self), seed)
        seed &+= 1
      }
    } while ContinuousClock.now < end
    print("fuzz: seeds \(first) to \(seed &- 1), \(taken) taken")
    #expect(taken > 0)
  }

  private func check(_ bytes: [UInt8], _ text: String, _ seed: UInt64) -> Int {
    var taken = 0
    if let url = try? GitURL(text) {
      taken += 1
      // As git's transport_get looks for a helper.
      let scheme = url.description.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "+.-".contains($0)) }
      let isHelper = url.description.dropFirst(scheme.count).hasPrefix("::")
      #expect(!isHelper && !url.description.hasPrefix("-"), "FUZZ_SEED=\(seed)")
      #expect(!url.host.hasPrefix("-") && url.user?.hasPrefix("-") != true, "FUZZ_SEED=\(seed)")
      // What was taken once is taken again, as the same.
      #expect((try? GitURL(url.description))?.description == url.description, "FUZZ_SEED=\(seed)")
    }
    if let range = try? VersionRange(text) {
      taken += 1
      if let version = SemanticVersion("1.3.0") { _ = range.contains(version) }
    }
    if let version = SemanticVersion(text) {
      taken += 1
      #expect(SemanticVersion(version.description) == version, "FUZZ_SEED=\(seed)")
    }
    if let entries = try? TreeEntry.parse(bytes, place: "x") { taken += entries.count }
    var reader = ObjectReader(bytes, place: "x")
    while let head = try? reader.head() {
      if head.kind != nil, (try? reader.content(head)) == nil { break }
    }
    let references = RemoteReferences(bytes)
    #expect(references.objects.values.allSatisfy { isObjectName($0) }, "FUZZ_SEED=\(seed)")
    let commit = ArtifactHeader.Commit(id: "x", bytes)
    #expect(commit.subject.count <= 203 && commit.parents.allSatisfy { isObjectName($0) }, "FUZZ_SEED=\(seed)")
    if let paths = try? SourcePaths.normalized([text]) {
      #expect(paths.allSatisfy { !$0.hasPrefix("/") && !$0.split(separator: "/").contains("..") }, "FUZZ_SEED=\(seed)")
    }
    return taken
  }
}
