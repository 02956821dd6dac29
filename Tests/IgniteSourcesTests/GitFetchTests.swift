import Foundation
import Testing

@testable import IgniteSources

/// Repositories on this machine, by the real git.
@Suite struct GitFetches {
  @Test func filesOfABranchAreReadAndNothingElseIs() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    let id = try await repository.commit(
      [
        "deploy/web.yaml": .text("kind: VM\n"), "deploy/sub/db.yml": .text("b"), "deploy/more.JSON": .text("{}"),
        "deploy/readme.md": .text("no"), "deploy/.hidden.yaml": .text("no"), ".github/ci.yaml": .text("no"),
        "deploy/yaml": .text("no"),
      ], message: "First line\n\nMore", time: 1_700_000_001)
    let artifact = try await bed.artifact(GitSource(url: repository.url))
    #expect(artifact.paths == ["deploy/more.JSON", "deploy/sub/db.yml", "deploy/web.yaml"])
    #expect(artifact.text("deploy/web.yaml") == "kind: VM\n")
    #expect(artifact.revision == "main@sha1:\(id)")
    #expect(artifact.header.omissions.isEmpty)
    let commit = try #require(artifact.header.commit)
    #expect(commit.id == id && commit.parents.isEmpty && commit.subject == "First line")
    #expect(commit.author == "Ann <ann@test>" && commit.authored == 1_700_000_001 && commit.committed == 1_700_000_001)
    #expect(bed.leftovers.isEmpty)

    let branch = try await bed.artifact(GitSource(url: repository.path, reference: GitReference(branch: "main")))
    #expect(branch == artifact)
  }

  @Test func onlyWhatIsBelowThePathsIsRead() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit([
      "a/x.yaml": .text("1"), "a/b/y.yaml": .text("2"), "ab/z.yaml": .text("3"), ".c/.d/v.yaml": .text("4"),
      ".c/.d/.w/v.yaml": .text("no"), "a/notes": .text("no"),
    ])
    let source = GitSource(url: repository.url, paths: ["./a/", "a/b", ".c//.d"])
    let artifact = try await bed.artifact(source)
    #expect(artifact.paths == [".c/.d/v.yaml", "a/b/y.yaml", "a/x.yaml"])
    #expect(artifact.header.paths == [".c/.d", "a"])
    #expect(try await bed.artifact(GitSource(url: repository.url, paths: ["a/b/y.yaml"])).paths == ["a/b/y.yaml"])
    let notes = try await bed.failure(GitSource(url: repository.url, paths: ["a/notes"]))
    #expect(notes.code == .badSource && notes.message.contains("a/notes is a file"))
    let missing = try await bed.failure(GitSource(url: repository.url, paths: ["nothing"]))
    #expect(missing.code == .notFound && missing.message.hasSuffix("has no nothing"))
    #expect(try await bed.failure(GitSource(url: repository.url, paths: ["a/../../x"])).code == .badSource)
  }

  @Test func referencesLeadToTheirCommits() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    var ids: [String] = []
    for text in ["1", "2", "3", "4"] { ids.append(try await repository.commit(["a.yaml": .text(text)])) }
    try await repository.tag("v1.2.0", ids[0])
    try await repository.tag("v1.10.0", ids[1], annotated: true)
    try await repository.tag("v2.0.0-rc.1", ids[2])
    try await repository.tag("nightly", ids[2])
    try await repository.git(["update-ref", "refs/pull/7/head", ids[1]])
    func read(_ reference: GitReference) async throws -> [String] {
      let artifact = try await bed.artifact(GitSource(url: repository.url, reference: reference))
      return [artifact.revision, artifact.text("a.yaml") ?? ""]
    }
    #expect(try await read(GitReference(tag: "v1.10.0")) == ["v1.10.0@sha1:\(ids[1])", "2"])
    #expect(try await read(GitReference(branch: "x", tag: "nightly")) == ["nightly@sha1:\(ids[2])", "3"])
    #expect(try await read(GitReference(semver: ">=1.0.0 <2.0.0")) == ["v1.10.0@sha1:\(ids[1])", "2"])
    #expect(try await read(GitReference(semver: ">=1.0.0-0")) == ["v2.0.0-rc.1@sha1:\(ids[2])", "3"])
    #expect(try await read(GitReference(name: "refs/pull/7/head")) == ["refs/pull/7/head@sha1:\(ids[1])", "2"])
    #expect(try await read(GitReference(branch: "main", commit: ids[0])) == ["main@sha1:\(ids[0])", "1"])
    #expect(try await read(GitReference(tag: "nightly", commit: ids[3])) == ["sha1:\(ids[3])", "4"])
    #expect(try await read(GitReference()) == ["main@sha1:\(ids[3])", "4"])

    let none = try await bed.failure(GitSource(url: repository.url, reference: GitReference(semver: "^3")))
    #expect(none.code == .notFound && none.advice?.contains("4 tags") == true)
    let noCommit = try await bed.failure(
      GitSource(url: repository.url, reference: GitReference(commit: String(repeating: "1", count: 40))))
    #expect(noCommit.code == .notFound)
    #expect(
      try await bed.failure(GitSource(url: repository.url, reference: GitReference(commit: "1234"))).code == .badSource)
    // A tag of a file is no commit.
    let blob = try await repository.git(["rev-parse", "main:a.yaml"])
    try await repository.tag("file", blob)
    #expect(
      try await bed.failure(GitSource(url: repository.url, reference: GitReference(tag: "file"))).code == .notFound)
  }

  @Test func repositoriesOfSHA256AreRead() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository(objectFormat: "sha256")
    let id = try await repository.commit(["a.yaml": .text("1")])
    let artifact = try await bed.artifact(GitSource(url: repository.url))
    #expect(id.count == 64 && artifact.revision == "main@sha256:\(id)" && artifact.text("a.yaml") == "1")
  }

  @Test func nothingIsFetchedWhereNothingHasMoved() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    let first = try await repository.commit(["a.yaml": .text("1")])
    let source = GitSource(url: repository.url)
    let artifact = try await bed.artifact(source)
    #expect(try await bed.isUnchanged(source, known: artifact.header))
    // Other paths of the same commit are something else.
    #expect(try await !bed.isUnchanged(GitSource(url: repository.url, paths: ["a.yaml"]), known: artifact.header))
    // With the objects gone a fetch must fail; asking where the branch stands need not.
    let pinned = GitSource(url: repository.url, reference: GitReference(commit: first))
    let fixed = try await bed.artifact(pinned)
    try FileManager.default.removeItem(atPath: repository.path)
    #expect(try await bed.isUnchanged(pinned, known: fixed.header))
  }

  @Test func aBranchThatIsRewrittenIsFollowedAndTold() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    let source = GitSource(url: repository.url, reference: GitReference(branch: "main"))
    try await repository.commit(["a.yaml": .text("1")], time: 1_700_000_000)
    let first = try await bed.artifact(source)
    try await repository.commit(["a.yaml": .text("2")], time: 1_700_000_100)
    let second = try await bed.artifact(source, known: first.header)
    #expect(second.succession(after: first.header) == .follows)
    try await repository.commit(["a.yaml": .text("3")], rewriting: true, time: 1_700_000_200)
    let third = try await bed.artifact(source, known: second.header)
    #expect(third.text("a.yaml") == "3" && third.succession(after: second.header) == .rewinds)
    // Set back by force.
    try await repository.git(["update-ref", "refs/heads/main", try #require(first.header.commit?.id)])
    let back = try await bed.artifact(source, known: third.header)
    #expect(back == first && back.succession(after: third.header) == .rewinds)
    // Several commits at once are not told from a rewritten branch.
    try await repository.commit(["a.yaml": .text("4")], time: 1_700_000_300)
    try await repository.commit(["a.yaml": .text("5")], time: 1_700_000_400)
    #expect(try await bed.artifact(source, known: back.header).succession(after: back.header) == .jumps)
  }

  @Test func aKilledFetchsFolderIsRemovedByTheNext() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    // As a fetch leaves it that was killed: with its lock's file, which nobody holds.
    let stale = bed.work + "/fetch-stale"
    try FileManager.default.createDirectory(atPath: stale + "/repository", withIntermediateDirectories: true)
    for path in [stale + ".lock", stale + "/identity"] {
      _ = FileManager.default.createFile(atPath: path, contents: Data())
    }
    let lasting = bed.work + "/fetch-lasting"
    let held = try #require(try HeldLock(lasting + ".lock"))
    try FileManager.default.createDirectory(atPath: lasting, withIntermediateDirectories: true)
    _ = try await bed.artifact(GitSource(url: repository.url))
    #expect(Set(bed.leftovers) == ["fetch-lasting", "fetch-lasting.lock"])
    held.release()
  }

  @Test func gitThatIsMissingOrTooOldIsNamed() async throws {
    let scratch = try TestDirectory()
    let source = GitSource(url: "file:///nothing")
    await #expect {
      try await GitFetcher(directory: scratch.file("w"), searched: [scratch.path]).fetch(source)
    } throws: {
      ($0 as? SourceError)?.code == .noGit && ($0 as? SourceError)?.advice?.contains("apt-get install git") == true
    }
    let old = scratch.file("git")
    try "#!/bin/sh\necho git version 2.30.2\n".write(toFile: old, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: old)
    await #expect {
      try await GitFetcher(directory: scratch.file("w"), searched: [scratch.path]).fetch(source)
    } throws: {
      ($0 as? SourceError)?.message.contains("2.30, and 2.32 is needed") == true
    }
    #expect(GitProgram.version("git version 3.0.windows.1")?.0 == 3)
    #expect(GitProgram.version("git version x") == nil)
  }
}
