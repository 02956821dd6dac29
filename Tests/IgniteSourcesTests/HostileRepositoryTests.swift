import Foundation
import Glibc
import IgniteSystem
import Testing

@testable import IgniteSources

/// Repositories that are away, broken, too large or hostile: each has its answer, and the last good artifact stays.
@Suite struct HostileRepositories {
  @Test func oneThatVanishesLeavesTheLastGoodArtifact() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    let source = GitSource(url: repository.url)
    let store = ArtifactStore(directory: bed.scratch.file("store"))
    let artifact = try await bed.artifact(source)
    try await store.put(artifact)
    try FileManager.default.removeItem(atPath: repository.path)
    let error = try await bed.failure(source)
    #expect(error.code == .notFound && error.message.contains(repository.url))
    #expect(try await store.newest() == artifact)
    // It comes back.
    let again = try await bed.repository()
    try await again.commit(["a.yaml": .text("2")])
    #expect(try await bed.artifact(source, known: artifact.header).text("a.yaml") == "2")
  }

  @Test func anEmptyOneIsCalledEmpty() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    for reference in [GitReference(), GitReference(branch: "main"), GitReference(semver: "*")] {
      let error = try await bed.failure(GitSource(url: repository.url, reference: reference))
      #expect(error.code == .empty && error.message.hasSuffix("the repository has no commits"))
    }
    // A commit without files is another thing.
    try await repository.commit([:])
    #expect(try await bed.artifact(GitSource(url: repository.url)).files.isEmpty)
  }

  @Test func aBranchThatIsDeletedIsNamedWithThoseThereAre() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    try await repository.commit(["a.yaml": .text("1")], branch: "live")
    let source = GitSource(url: repository.url, reference: GitReference(branch: "live"))
    let artifact = try await bed.artifact(source)
    try await repository.git(["update-ref", "-d", "refs/heads/live"])
    let error = try await bed.failure(source)
    #expect(error.code == .notFound && error.message.hasSuffix("has no branch live"))
    #expect(error.advice?.contains("1 branch: main") == true)
    #expect(artifact.text("a.yaml") == "1")
  }

  @Test func linksSubmodulesAndOddNamesAreLeftOutByName() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    let odd = #"d/it's "quoted" \ $(x) ;ü.yaml"#
    try await repository.commit([
      "passwd.yaml": .link("/etc/passwd"), "up.yaml": .link("../../up.yaml"), "folder": .link("d"),
      "vendor": .submodule(String(repeating: "1", count: 40)), odd: .text("odd"), "-x.yaml": .text("dash"),
      "d/line\nbreak.yaml": .text("no"), ":(glob)*.yaml": .text("magic"),
      ".gitmodules": .text("[submodule \"vendor\"]\n"),
    ])
    let artifact = try await bed.artifact(GitSource(url: repository.url))
    #expect(Set(artifact.paths) == [odd, "-x.yaml", ":(glob)*.yaml"])
    #expect(artifact.text(odd) == "odd")
    let omissions = Dictionary(uniqueKeysWithValues: artifact.header.omissions.map { ($0.path, $0.reason) })
    #expect(
      omissions == [
        "passwd.yaml": .symbolicLink, "up.yaml": .symbolicLink, "folder": .symbolicLink, "vendor": .submodule,
        "d/line break.yaml": .badName,
      ])
    // Paths are no patterns, and a link is no path.
    #expect(try await bed.artifact(GitSource(url: repository.url, paths: [":(glob)*.yaml"])).paths == [":(glob)*.yaml"])
    let link = try await bed.failure(GitSource(url: repository.url, paths: ["folder"]))
    #expect(link.code == .notFound && link.message.contains("not followed"))
    #expect(try await bed.failure(GitSource(url: repository.url, paths: ["folder/x"])).code == .notFound)
  }

  @Test func pathsThatLeadOutAreRefused() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    let blob = try await repository.git(["rev-parse", "main:a.yaml"])
    for name in ["..", ".git", ".", "a/b.yaml"] {
      // As git itself never writes it: the object's name in bytes behind the entry's.
      let raw = stride(from: 0, to: 40, by: 2).compactMap { UInt8(blob.dropFirst($0).prefix(2), radix: 16) }
      let inner = try await repository.git(
        ["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], input: Array("100644 x.yaml\0".utf8) + raw)
      let rawTree = stride(from: 0, to: 40, by: 2).compactMap { UInt8(inner.dropFirst($0).prefix(2), radix: 16) }
      let tree = try await repository.git(
        ["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], input: Array("40000 \(name)\0".utf8) + rawTree)
      let person = ["-c", "user.name=Ann", "-c", "user.email=ann@test"]
      let commit = try await repository.git(person + ["commit-tree", "-m", "x", tree])
      try await repository.git(["update-ref", "refs/heads/bad", commit])
      let error = try await bed.failure(GitSource(url: repository.url, reference: GitReference(branch: "bad")))
      #expect(error.code == .corrupt, "\(name): \(error)")
    }
  }

  @Test func aFileThatIsNotUTF8IsNamed() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["good.yaml": .text("a"), "deploy/latin.yaml": .bytes([0x61, 0xe9, 0x0a])])
    let error = try await bed.failure(GitSource(url: repository.url))
    #expect(error.code == .content && error.message.hasSuffix("deploy/latin.yaml is not UTF-8"))
    try await repository.commit(["good.yaml": .text("a"), "latin.txt": .bytes([0x61, 0xe9, 0x0a])])
    #expect(try await bed.artifact(GitSource(url: repository.url)).paths == ["good.yaml"])
  }

  @Test func tenThousandFilesAreReadAndOneMoreIsRefused() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    var files: [String: TestRepository.Entry] = [:]
    for number in 0..<10_000 { files["d\(number % 50)/f\(number).yaml"] = .text("n: \(number)\n") }
    try await repository.commit(files)
    let source = GitSource(url: repository.url, timeout: .seconds(900))
    let artifact = try await bed.artifact(source)
    #expect(artifact.files.count == 10_000 && artifact.text("d49/f9999.yaml") == "n: 9999\n")
    files["one-more.yaml"] = .text("x")
    try await repository.commit(files)
    let error = try await bed.failure(source)
    #expect(error.code == .tooLarge && error.message.hasSuffix("has more than 10000 files to read"))
    var few = source
    few.limits.entries = 5000
    #expect(try await bed.failure(few).message.hasSuffix("has more than 5000 names"))
    few.paths = ["d1"]
    #expect(try await bed.artifact(few).files.count == 200)
    few.limits.totalBytes = 1000
    #expect(try await bed.failure(few).message.hasSuffix("its files have more than 1000 bytes"))
  }

  @Test func aFileOfAGigabyteIsNeitherFetchedNorRead() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["small.yaml": .text("1"), "other/small.yaml": .text("2")])
    // A gigabyte of zeros, which git packs into five megabytes.
    let script = """
      { printf 'commit refs/heads/main\\ncommitter Bo <bo@test> 1700000000 +0000\\ndata 0\\nfrom refs/heads/main^0\\n'
        printf 'M 100644 inline big.yaml\\ndata 1073741824\\n'; head -c 1073741824 /dev/zero; echo; } |
        git --git-dir "$1" -c core.compression=1 -c fastimport.unpackLimit=1 fast-import --quiet --big-file-threshold=1m
      """
    try await tool(["bash", "-c", script, "big", repository.path])

    var source = GitSource(url: repository.url, timeout: .seconds(900))
    // The server keeps it back.
    let kept = try await bed.failure(source)
    #expect(kept.code == .tooLarge && kept.message.contains("big.yaml has more bytes, and a file may have 4194304"))
    // Beside the path it does no harm.
    source.paths = ["other"]
    #expect(try await bed.artifact(source).paths == ["other/small.yaml"])
    // A server that knows no filters sends it: five megabytes that would be a gigabyte.
    try await repository.git(["config", "uploadpack.allowFilter", "false"])
    source.paths = ["."]
    let sent = try await bed.failure(source)
    #expect(sent.code == .tooLarge && sent.message.contains("big.yaml has 1073741824 bytes"))
    source.limits.fetchBytes = 256 << 10
    let cut = try await bed.failure(source)
    #expect(cut.code == .tooLarge && cut.message.hasSuffix("a fetch of it has more than 262144 bytes"))
  }

  @Test func attributesFiltersAndHooksDoNothing() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    let marker = bed.scratch.file("marker")
    let text = "id: $Id$\nline\n"
    try await repository.commit([
      ".gitattributes": .text("*.yaml filter=evil diff=evil text eol=crlf ident working-tree-encoding=UTF-16\n"),
      "a.yaml": .text(text),
    ])
    for (name, value) in [
      ("filter.evil.smudge", "touch \(marker)"), ("filter.evil.process", "touch \(marker)"),
      ("uploadpack.packObjectsHook", "touch \(marker); exec"), ("core.fsmonitor", "touch \(marker)"),
      ("core.sshCommand", "touch \(marker)"), ("core.alternateRefsCommand", "touch \(marker)"),
    ] { try await repository.git(["config", name, value]) }
    for hook in ["post-checkout", "post-upload-pack", "pre-auto-gc", "reference-transaction", "post-merge"] {
      let path = "\(repository.path)/hooks/\(hook)"
      try? FileManager.default.createDirectory(atPath: "\(repository.path)/hooks", withIntermediateDirectories: true)
      try "#!/bin/sh\ntouch \(marker)\n".write(toFile: path, atomically: true, encoding: .utf8)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
    }
    #expect(try await bed.artifact(GitSource(url: repository.url)).text("a.yaml") == text)
    #expect(!FileManager.default.fileExists(atPath: marker))
  }

  @Test func aRepositoryAroundTheFetchersFolderIsNotAsked() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    try await tool(["git", "init", "-q", bed.scratch.path])
    try await tool(["git", "-C", bed.scratch.path, "config", "url.file:///nowhere/.insteadOf", "file://"])
    // It would change the address: this is what the test is worth.
    await #expect(throws: TestToolFailure.self) {
      try await tool(["git", "-C", bed.scratch.path, "ls-remote", repository.url])
    }
    #expect(try await bed.artifact(GitSource(url: repository.url)).text("a.yaml") == "1")
  }

  @Test func addressesThatWouldRunSomethingAreRefused() async throws {
    let bed = try FetchBed()
    let marker = bed.scratch.file("marker")
    for url in [
      "ext::sh -c touch% \(marker)", "--upload-pack=touch \(marker)", "-u\(marker)", "ssh://-oProxyCommand=touch/x",
      "ssh://-o@host/x", "fd::7", "-oProxyCommand=touch:x", "host:-x",
    ] {
      let error = try await bed.failure(GitSource(url: url))
      #expect(error.code == .badURL && error.isLasting, "\(url): \(error)")
    }
    for branch in ["--upload-pack=x", "a..b", "-x", "a b", "x:y", "x^{}", "x\ny", "+x", "@", "a.lock", ""]
    where branch != "+x" {
      #expect(
        try await bed.failure(GitSource(url: "file:///x", reference: GitReference(branch: branch))).code == .badSource)
    }
    #expect(!FileManager.default.fileExists(atPath: marker))
  }

  @Test func gitItselfTakesTheSourcesProtocolAlone() async throws {
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    let program = try await GitProgram.find()
    let workspace = try GitWorkspace.make(in: bed.work)
    defer { workspace.remove() }
    let surroundings = try GitSurroundings(
      try GitURL("https://host.test/x"), GitCredentials(), program: program, workspace: workspace)
    for address in [repository.url, "ext::sh -c true", "git://127.0.0.1/x", "http://127.0.0.1:1/x"] {
      let process = GitProcess(
        executable: program.git, arguments: ["ls-remote", address], environment: surroundings.environment,
        workingDirectory: workspace.home, outputLimit: 1 << 16, fileLimit: 1 << 20)
      let outcome = try await process.run(until: .now + .seconds(60))
      #expect(!outcome.succeeded && outcome.errors.contains("not allowed"), "\(address): \(outcome.errors)")
    }
  }

  @Test func aRepositoryOfAnotherUserIsRefusedWithAdvice() async throws {
    // Only root can give a repository away.
    guard getuid() == 0 else { return }
    let bed = try FetchBed()
    let repository = try await bed.repository()
    try await repository.commit(["a.yaml": .text("1")])
    try await tool(["chown", "-R", "nobody", repository.path])
    let error = try await bed.failure(GitSource(url: repository.url))
    #expect(error.code == .authentication && error.advice?.contains("belongs to the user") == true, "\(error)")
  }
}
