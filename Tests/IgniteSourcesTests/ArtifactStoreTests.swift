import Foundation
import Testing

@testable import IgniteSources

@Suite struct ArtifactStores {
  private let scratch: TestDirectory
  private var directory: String { scratch.file("store") }

  init() throws { scratch = try TestDirectory() }

  private func artifact(_ files: [String: String], revision: String = "main@sha1:1") -> Artifact {
    Artifact(
      origin: "https://host/x", revision: revision, paths: [""],
      commit: .init(id: "1", parents: ["0"], author: "Ann", authored: 1, committed: 2, subject: "An \"odd\" one"),
      files: files.map { .init(path: $0.key, bytes: Array($0.value.utf8)) },
      omissions: [.init(path: "link.yaml", reason: .symbolicLink)])
  }

  private var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted() }

  @Test func whatIsPutIsReadBack() async throws {
    let store = ArtifactStore(directory: directory)
    #expect(try await store.newest() == nil)
    let first = artifact(["b.yaml": "two", "a.yaml": "", "ü \"x\".yaml": "three"])
    try await store.put(first)
    #expect(try await store.newest() == first)
    #expect(first.files.map(\.path) == ["a.yaml", "b.yaml", "ü \"x\".yaml"])
    // The same again is no other one.
    try await store.put(first)
    #expect(try await store.list().count == 1)
    let second = artifact(["a.yaml": "2"], revision: "main@sha1:2")
    try await store.put(second)
    try await store.put(first)
    #expect(try await store.newest() == first)
    #expect(try await store.list().count == 3)
    let mode = try FileManager.default.attributesOfItem(atPath: directory)[.posixPermissions] as? Int
    #expect(mode == 0o700)
  }

  @Test func digestsAreOfContentAlone() {
    let one = artifact(["a.yaml": "1"])
    #expect(one.digest == artifact(["a.yaml": "1"], revision: "other").digest)
    #expect(one.digest.hasPrefix("sha256:") && one.digest.count == 71)
    // No two ways of cutting the same bytes into names and contents are equal.
    let others = [
      artifact(["a.yaml": "2"]), artifact(["b.yaml": "1"]), artifact(["a.yam": "l1"]),
      artifact(["a.yaml": "1", "b": ""]),
    ]
    #expect(Set(others.map(\.digest) + [one.digest]).count == 5)
  }

  @Test func onlyTheLastOnesAreKept() async throws {
    let store = ArtifactStore(directory: directory, retention: .init(count: 2))
    for number in 1...5 { try await store.put(artifact(["a.yaml": "\(number)"])) }
    #expect(try await store.list().map(\.number) == [4, 5])
    let small = ArtifactStore(directory: directory, retention: .init(count: 2, bytes: 1))
    try await small.collect()
    #expect(try await store.list().map(\.number) == [5])
    #expect(try await store.newest()?.files.first?.bytes == Array("5".utf8))
  }

  @Test func whatACrashLeavesIsRemovedAndNothingHalfWrittenIsRead() async throws {
    let store = ArtifactStore(directory: directory)
    let good = artifact(["a.yaml": "1"])
    try await store.put(good)
    try "half".write(toFile: directory + "/.new-0123", atomically: false, encoding: .utf8)
    try "other".write(toFile: directory + "/readme", atomically: false, encoding: .utf8)
    #expect(try await store.newest() == good)
    try await store.collect()
    #expect(names.filter { $0.hasPrefix(".new") }.isEmpty && names.contains("readme"))
  }

  @Test func aDamagedArtifactIsNamedAndNoOlderOneStandsInForIt() async throws {
    let store = ArtifactStore(directory: directory)
    try await store.put(artifact(["a.yaml": "old"]))
    try await store.put(artifact(["a.yaml": "new"]))
    let path = try directory + "/" + #require(names.last { $0.hasSuffix(".artifact") })
    let whole = try Data(contentsOf: URL(fileURLWithPath: path))
    for damage in [whole.dropLast(1), Data(), whole + Data([0]), Data(whole.map { $0 ^ 1 })] {
      try damage.write(to: URL(fileURLWithPath: path))
      await #expect { try await store.newest() } throws: { ($0 as? SourceError)?.code == .corrupt }
    }
    // A fetch puts a good one after it.
    let fresh = artifact(["a.yaml": "new"])
    try await store.put(artifact(["a.yaml": "newer"]))
    #expect(try await store.newest()?.files.first?.bytes == Array("newer".utf8))
    try await store.put(fresh)
    #expect(try await store.newest() == fresh)
  }

  @Test func aDamagedNewestIsReplacedByTheSameArtifact() async throws {
    let store = ArtifactStore(directory: directory)
    let good = artifact(["a.yaml": "1"])
    try await store.put(good)
    let path = try directory + "/" + #require(names.last { $0.hasSuffix(".artifact") })
    try Data("x".utf8).write(to: URL(fileURLWithPath: path))
    try await store.put(good)
    #expect(try await store.newest() == good)
  }

  @Test func severalWritersLeaveWholeArtifacts() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<12 {
        let store = ArtifactStore(directory: directory)
        let artifact = artifact(["a.yaml": String(repeating: "\(number) ", count: 1000)])
        group.addTask { try await store.put(artifact) }
      }
      try await group.waitForAll()
    }
    let store = ArtifactStore(directory: directory)
    let entries = try await store.list()
    #expect(entries.map(\.number) == [10, 11, 12])
    for entry in entries { _ = try await store.read(entry) }
  }

  @Test func aDirectoryThatCannotBeMadeIsNamed() async throws {
    try "file".write(toFile: scratch.file("file"), atomically: true, encoding: .utf8)
    let store = ArtifactStore(directory: scratch.file("file/store"))
    let artifact = artifact(["a.yaml": "1"])
    await #expect { try await store.put(artifact) } throws: { ($0 as? SourceError)?.code == .fileSystem }
  }
}
