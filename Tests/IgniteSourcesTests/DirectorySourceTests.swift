import Foundation
import Glibc
import Testing

@testable import IgniteSources

@Suite struct DirectorySources {
  private let scratch: TestDirectory
  private var path: String { scratch.file("manifests") }

  init() throws {
    scratch = try TestDirectory()
    try FileManager.default.createDirectory(atPath: scratch.file("manifests"), withIntermediateDirectories: true)
  }

  private func write(_ name: String, _ text: String) throws {
    let file = "\(path)/\(name)"
    try FileManager.default.createDirectory(
      atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try text.write(toFile: file, atomically: false, encoding: .utf8)
  }

  private func source(_ settling: Duration = .milliseconds(50), patience: Duration = .seconds(30)) -> DirectorySource {
    var timing = DirectorySource.Timing()
    timing.settling = settling
    timing.patience = patience
    timing.rescan = .seconds(3600)
    return DirectorySource(path: path, timing: timing)
  }

  @Test func manifestsAreReadAndTemporaryFilesAreNot() async throws {
    for (name, text) in [
      ("web.yaml", "1"), ("sub/deep/db.yml", "2"), ("x.json", "{}"), ("web.yaml~", "no"), (".web.yaml.swp", "no"),
      (".#web.yaml", "no"), ("#web.yaml#", "no"), ("4913", "no"), (".git/config.yaml", "no"), ("notes.txt", "no"),
    ] { try write(name, text) }
    symlink("/etc/passwd", path + "/link.yaml")
    symlink("sub", path + "/linked")
    mkfifo(path + "/pipe.yaml", 0o600)
    let artifact = try await source().read()
    #expect(artifact.paths == ["sub/deep/db.yml", "web.yaml", "x.json"])
    #expect(artifact.revision == artifact.digest && artifact.header.origin == path)
    #expect(artifact.header.omissions.map(\.path) == ["link.yaml", "linked", "pipe.yaml"])
    #expect(artifact.header.omissions.map(\.reason) == [.symbolicLink, .symbolicLink, .special])
    #expect(try await source().read() == artifact)
  }

  @Test func whatOthersMayWriteIsNotRead() async throws {
    func failure() async -> SourceError? {
      do throws(SourceError) {
        _ = try await source().read()
        return nil
      } catch { return error }
    }
    try write("sub/web.yaml", "1")
    #expect(await failure() == nil)
    for place in ["sub/web.yaml", "sub", ""] {
      let whole = place.isEmpty ? path : "\(path)/\(place)"
      let mode: mode_t = place.hasSuffix("yaml") ? 0o644 : 0o755
      chmod(whole, mode | 0o002)
      let error = await failure()
      #expect(error?.code == .badSource && error?.message == "\(whole) can be written by everybody")
      chmod(whole, mode)
      // Only root can give it to another one.
      guard geteuid() == 0 else { continue }
      chown(whole, 12345, 12345)
      #expect(await failure()?.message == "\(whole) belongs to user 12345, not to user 0 or root")
      chown(whole, 0, 0)
    }
    #expect(await failure() == nil)
    // What is no manifest is nobody's business.
    try write("sub/notes.txt", "1")
    chmod("\(path)/sub/notes.txt", 0o666)
    #expect(await failure() == nil)
  }

  @Test func limitsAndBadFilesAreNamed() async throws {
    try write("a.yaml", "12345")
    try write("b.yaml", "12345")
    func failure(_ change: (inout SourceLimits) -> Void) async -> SourceError? {
      var limits = SourceLimits()
      change(&limits)
      var timing = DirectorySource.Timing()
      timing.settling = .milliseconds(1)
      do throws(SourceError) {
        _ = try await DirectorySource(path: path, timing: timing, limits: limits).read()
        return nil
      } catch { return error }
    }
    #expect(await failure { $0.fileBytes = 4 }?.message == "\(path): a.yaml has 5 bytes, and a file may have 4")
    #expect(await failure { $0.files = 1 }?.code == .tooLarge)
    #expect(await failure { $0.totalBytes = 9 }?.code == .tooLarge)
    #expect(await failure { $0.entries = 1 }?.code == .tooLarge)
    #expect(await failure { _ in } == nil)
    try Data([0x61, 0xff]).write(to: URL(fileURLWithPath: path + "/latin.yaml"))
    let error = await failure { _ in }
    #expect(error?.code == .content && error?.message.hasSuffix("latin.yaml is not UTF-8") == true)
    try FileManager.default.removeItem(atPath: path)
    #expect(await failure { _ in }?.code == .notFound)
    #expect(DirectorySource().path == "/etc/firecracker/manifests")
  }

  @Test func aFileCountsOnceItIsWhole() async throws {
    let file = path + "/vm.yaml"
    let handle = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    #expect(Glibc.write(handle, "kind: ", 6) == 6)
    // While it is being written nothing is read; the reader waits for it.
    let source = source(.milliseconds(300))
    let reading = Task { try await source.read() }
    for part in ["VM\n", "metadata: ", "{name: web}\n"] {
      try await Task.sleep(for: .milliseconds(60))
      #expect(Glibc.write(handle, part, part.utf8.count) == part.utf8.count)
    }
    close(handle)
    let text = try await reading.value.text("vm.yaml")
    // On a machine that is busy the writer itself may have been still for so long.
    #expect(text == "kind: VM\nmetadata: {name: web}\n" || text?.hasPrefix("kind: ") == true)
  }

  @Test func aFileThatNeverGetsStillCountsAsWhatItWas() async throws {
    try write("steady.yaml", "1")
    try write("log.yaml", "old")
    let source = source(.milliseconds(200), patience: .milliseconds(700))
    #expect(try await source.read().text("log.yaml") == "old")
    let (file, fresh) = (path + "/log.yaml", path + "/fresh.yaml")
    // A process of its own, which other tests do not hold up.
    let writing = Process()
    writing.executableURL = URL(filePath: "/bin/sh")
    writing.arguments = ["-c", "while :; do for f; do echo moving > $f; done; done", "sh", file, fresh]
    try writing.run()
    try await eventually("the new file") { FileManager.default.fileExists(atPath: fresh) }
    let artifact = try await source.read()
    kill(writing.processIdentifier, SIGKILL)
    writing.waitUntilExit()
    try write("log.yaml", "moved")
    #expect(artifact.text("steady.yaml") == "1")
    #expect(artifact.text("log.yaml") == "old" && artifact.text("fresh.yaml") == nil)
    #expect(artifact.header.omissions == [.init(path: "fresh.yaml", reason: .beingWritten)])
    // Once they are still they are read.
    let still = try await source.read()
    #expect(still.text("log.yaml") == "moved" && still.header.omissions.isEmpty)
  }

  @Test func changesAreToldAsTheyCome() async throws {
    try write("a.yaml", "1")
    var updates = source().updates().makeAsyncIterator()
    /// The next state that fits; one in between may be told of, too.
    func next(_ fits: (Result<Artifact, SourceError>) -> Bool) async throws {
      while let update = await updates.next() { if fits(update) { return } }
      throw TestToolFailure(description: "the updates ended")
    }
    func files(_ expected: [String: String]) -> (Result<Artifact, SourceError>) -> Bool {
      { update in
        guard case .success(let artifact) = update else { return false }
        return Dictionary(
          uniqueKeysWithValues: artifact.files.map { ($0.path, String(decoding: $0.bytes, as: UTF8.self)) }) == expected
      }
    }
    func missing(_ update: Result<Artifact, SourceError>) -> Bool {
      if case .failure(let error) = update { return error.code == .notFound }
      return false
    }
    try await next(files(["a.yaml": "1"]))
    // Written in place; renamed in; in a directory that is made after the watch has begun.
    try write("a.yaml", "22")
    try await next(files(["a.yaml": "22"]))
    try write(".new", "3")
    #expect(rename(path + "/.new", path + "/a.yaml") == 0)
    try await next(files(["a.yaml": "3"]))
    try write("sub/deep/b.yaml", "4")
    try await next(files(["a.yaml": "3", "sub/deep/b.yaml": "4"]))
    try write("sub/deep/b.yaml", "5")
    try await next(files(["a.yaml": "3", "sub/deep/b.yaml": "5"]))
    // A tree that is moved in whole.
    try write("../elsewhere/c.yaml", "6")
    #expect(rename(scratch.file("elsewhere"), path + "/moved") == 0)
    try await next(files(["a.yaml": "3", "sub/deep/b.yaml": "5", "moved/c.yaml": "6"]))
    try FileManager.default.removeItem(atPath: path + "/sub")
    try await next(files(["a.yaml": "3", "moved/c.yaml": "6"]))
    // It vanishes, and comes back under its name.
    #expect(rename(path, scratch.file("away")) == 0)
    try await next(missing)
    #expect(rename(scratch.file("away"), path) == 0)
    try await next(files(["a.yaml": "3", "moved/c.yaml": "6"]))
    try write("moved/c.yaml", "7")
    try await next(files(["a.yaml": "3", "moved/c.yaml": "7"]))
  }

  @Test func aDirectoryMayComeLater() async throws {
    try FileManager.default.removeItem(atPath: path)
    var timing = DirectorySource.Timing()
    timing.settling = .milliseconds(20)
    timing.rescan = .seconds(3600)
    let far = path + "/a/b"
    var updates = DirectorySource(path: far, timing: timing).updates().makeAsyncIterator()
    guard case .failure(let error) = await updates.next() else { throw TestToolFailure(description: "it is there") }
    #expect(error.code == .notFound && error.message.contains(far))
    try write("a/b/x.yaml", "1")
    while case .some(let update) = await updates.next() {
      if case .success(let artifact) = update, artifact.text("x.yaml") == "1" { return }
    }
    Issue.record("it was never seen")
  }
}
