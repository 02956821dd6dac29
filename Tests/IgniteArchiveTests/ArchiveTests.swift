import Foundation
import Glibc
import Testing

@testable import IgniteArchive

/// What is packed comes out as it was, and GNU tar agrees.
@Suite struct Archives {
  private static let tree = """
    mkdir -p src/empty src/deep/er
    printf 'hello' > src/file; chmod 640 src/file; touch -d '2001-02-03 04:05:06.789' src/file
    ln -s ../elsewhere src/link; ln src/file src/second; mkfifo -m 600 src/pipe
    touch src/deep/er/$(printf 'n%.0s' $(seq 200)); printf x > 'src/deep/with
    newline'
    head -c 300000 /dev/urandom > src/large; chmod 4755 src/large
    truncate -s 20M src/sparse; printf middle | dd of=src/sparse bs=1 seek=9000000 conv=notrunc status=none
    truncate -s 9M src/hole; cp --sparse=always src/sparse src/trailing; truncate -s 30M src/trailing
    printf end | dd of=src/sparse bs=1 seek=20971517 conv=notrunc status=none
    chmod 555 src/deep; touch -d '1999-12-31 23:59:59' src/deep src
    """
  /// Names, kinds, modes, times, sizes and link counts.
  private static let listing =
    "cd $D && find . -printf '%P %y %m %T@ %s %n %l\\n' | sed '/ d /s/ [0-9]* [0-9]* *$//' | sort"

  @Test func aTreeComesOutAsItWas() throws {
    let scratch = try ArchiveScratch()
    try scratch.shell(Self.tree)
    #expect(try scratch.pack("src", into: "a.tar", as: ".") == [])
    var policy = UnpackPolicy.careful
    policy.keepsSetID = true
    try scratch.unpack("a.tar", into: "out", policy: policy)
    let before = try scratch.shell("D=src; " + Self.listing + " | grep -v '^ d'")
    let after = try scratch.shell("D=out; " + Self.listing + " | grep -v '^ d'")
    #expect(before == after)
    try scratch.shell("cmp src/large out/large && cmp src/sparse out/sparse && [ src/file -ef src/second ]")
    try scratch.shell("[ out/file -ef out/second ] && [ $(du -k out/sparse | cut -f1) -lt 1000 ]")
    // Holes are not in the archive either.
    try scratch.shell("[ $(stat -c %s a.tar) -lt 1000000 ]")
  }

  @Test func gnuTarReadsIt() throws {
    let scratch = try ArchiveScratch()
    try scratch.shell(Self.tree)
    _ = try scratch.pack("src", into: "a.tar", as: "src")
    try scratch.shell("mkdir gnu; tar -C gnu -xpf a.tar 2>warnings; [ ! -s warnings ]")
    let before = try scratch.shell("D=src; " + Self.listing)
    let after = try scratch.shell("D=gnu/src; " + Self.listing)
    #expect(before == after)
    try scratch.shell("cmp src/sparse gnu/src/sparse; [ $(du -k gnu/src/sparse | cut -f1) -lt 1000 ]")
  }

  @Test func setIDBitsAreTakenAwayUnlessKept() throws {
    let scratch = try ArchiveScratch()
    try scratch.write([.file("f", mode: 0o6755), .directory("d", mode: 0o2777)], to: "a.tar")
    try scratch.unpack("a.tar", into: "out")
    #expect(try scratch.shell("stat -c %a out/f out/d") == "755\n777\n")
  }

  @Test func filesOfProcHaveTheirContent() throws {
    let scratch = try ArchiveScratch()
    #expect(try scratch.pack("/proc/version", into: "a.tar", as: "version") == [])
    try scratch.unpack("a.tar", into: "out")
    try scratch.shell("cmp /proc/version out/version")
  }

  @Test func whatTheHeadersCannotHoldComesInRecords() throws {
    let scratch = try ArchiveScratch()
    var entry = ArchiveEntry.link(String(repeating: "d/", count: 80) + "x", to: String(repeating: "t", count: 300))
    entry.uid = 3_000_000_000
    entry.gid = 4_000_000
    entry.seconds = -12
    entry.nanoseconds = 250_000_000
    var large = ArchiveEntry(path: Array("big".utf8), kind: .file, mode: 0o600)
    large.size = 1 << 40
    large.segments = [ArchiveSegment(offset: 5 << 33, length: 7), ArchiveSegment(offset: 1 << 40, length: 0)]
    large.attributes = [ArchiveEntry.Attribute(name: Array("user.x".utf8), value: [0, 10, 61, 255])]
    large.seconds = 1 << 40
    try scratch.write([entry, large], to: "a.tar")
    let descriptor = open(scratch.file("a.tar"), O_RDONLY)
    defer { close(descriptor) }
    let reader = ArchiveReader(descriptor: descriptor)
    #expect(try reader.next() == entry)
    #expect(try reader.next() == large)
    #expect(try reader.next() == nil)
    #expect(
      try scratch.shell("tar --numeric-owner -tvf a.tar | awk '{print $2, $3}'")
        == "3000000000/4000000 0\n0/0 1099511627776\n")
  }

  @Test func directoriesAreMergedAndFilesReplaced() throws {
    let scratch = try ArchiveScratch()
    try scratch.write([.directory("d"), .file("d/new"), .file("f", size: 0)], to: "a.tar")
    try scratch.shell("mkdir -p out/d; echo old > out/d/old; echo old > kept; ln kept out/f")
    try scratch.unpack("a.tar", into: "out")
    #expect(try scratch.shell("ls out/d; stat -c %s out/f; cat kept") == "new\nold\n0\nold\n")
  }

  @Test func neitherTakesThePlaceOfTheOther() throws {
    let scratch = try ArchiveScratch()
    try scratch.shell("mkdir -p out/d; echo x > out/f")
    try scratch.write([.file("d")], to: "a.tar")
    #expect(throws: ArchiveError.self) { try scratch.unpack("a.tar", into: "out") }
    try scratch.write([.directory("f")], to: "b.tar")
    #expect(throws: ArchiveError.self) { try scratch.unpack("b.tar", into: "out") }
    try scratch.shell("[ -d out/d ] && [ -f out/f ]")
  }
}

/// What a hostile guest sends.
@Suite struct HostileArchives {
  private func refused(_ entries: [ArchiveEntry], prepare: String = "") throws {
    let scratch = try ArchiveScratch()
    try scratch.shell("mkdir out outside; echo secret > outside/secret; \(prepare)")
    let before = try scratch.shell("find outside -printf '%p %m %T@ %s %n\\n'")
    try scratch.write(entries, to: "a.tar")
    #expect(throws: ArchiveError.self) { try scratch.unpack("a.tar", into: "out") }
    #expect(try scratch.shell("find outside -printf '%p %m %T@ %s %n\\n'") == before)
  }

  @Test func linksLeadNowhereElse() throws {
    try refused([.link("x", to: "../outside"), .file("x/new")])
    try refused([.link("x", to: "/proc/self/cwd"), .file("x/new")])
    try refused([.directory("a"), .link("a/b", to: ".."), .link("c", to: "a/b/../../outside"), .file("c/new")])
    // One of the user's own is no way out either.
    try refused([.file("mine/new")], prepare: "ln -s ../outside out/mine")
    try refused([.directory("mine/new")], prepare: "ln -s ../outside out/mine")
  }

  @Test func aLinkAtTheEndIsReplaced() throws {
    let scratch = try ArchiveScratch()
    try scratch.shell("mkdir out outside; echo secret > outside/secret; ln -s ../outside/secret out/x")
    try scratch.write([.file("x", size: 0)], to: "a.tar")
    try scratch.unpack("a.tar", into: "out")
    #expect(try scratch.shell("cat outside/secret; stat -c %F out/x") == "secret\nregular empty file\n")
  }

  @Test func hardLinksLeadToWhatWasUnpacked() throws {
    try refused([.link("x", to: "mine", hard: true)], prepare: "ln outside/secret out/mine")
    try refused([.link("l", to: "../outside/secret"), .link("x", to: "l", hard: true)])
    try refused([.link("x", to: "no/such", hard: true)])
    let scratch = try ArchiveScratch()
    try scratch.write([.file("a"), .link("b", to: "a", hard: true)], to: "a.tar")
    try scratch.unpack("a.tar", into: "out")
    try scratch.shell("[ out/a -ef out/b ]")
  }

  @Test func pathsThatLeadUpAreNone() {
    for path in ["..", "a/../..", "../x", String(repeating: "n", count: 256), String(repeating: "n/", count: 2048)] {
      #expect(ArchivePath.components(Array(path.utf8)) == nil)
    }
    #expect(ArchivePath.components([97, 0, 98]) == nil)
    #expect(ArchivePath.components(Array("/./a//b/.".utf8)) == [[97], [98]])
  }

  @Test func devicesAreLeftOut() throws {
    let scratch = try ArchiveScratch()
    var device = ArchiveEntry(path: Array("sda".utf8), kind: .blockDevice, mode: 0o666)
    device.major = 8
    try scratch.write([device, .file("f")], to: "a.tar")
    var lines: [String] = []
    try scratch.unpack("a.tar", into: "out") { lines.append($0) }
    #expect(lines.count == 1 && lines[0].contains("sda"))
    #expect(try scratch.shell("ls out") == "f\n")
  }

  @Test func whatIsCutShortIsAnError() throws {
    let scratch = try ArchiveScratch()
    try scratch.write([.directory("d"), .file("d/f", size: 5000)], to: "a.tar")
    let size = try #require(Int(try scratch.shell("stat -c %s a.tar").dropLast()))
    for length in [0, 100, 511, 512, 700, 1024, 3000, size - 1024] {
      try scratch.shell("head -c \(length) a.tar > cut.tar")
      #expect(throws: ArchiveError.self, "\(length) bytes") { try scratch.unpack("cut.tar", into: "out\(length)") }
    }
  }
}

/// Bytes that are nearly an archive: an error or a tree, never more.
@Suite struct ArchiveReaderFuzz {
  @Test func damagedBytesAreRead() throws {
    let seconds = ProcessInfo.processInfo.environment["FUZZ_SECONDS"].flatMap(Double.init) ?? 0
    let end = Date().addingTimeInterval(seconds)
    let scratch = try ArchiveScratch()
    var sparse = ArchiveEntry.file("s", size: 1 << 30)
    sparse.segments = [ArchiveSegment(offset: 4096, length: 100)]
    sparse.attributes = [ArchiveEntry.Attribute(name: Array("user.a".utf8), value: [1, 2, 3])]
    try scratch.write(
      [.directory("d"), .file("d/f", size: 700), .link("l", to: String(repeating: "t", count: 120)), sparse],
      to: "a.tar")
    let good = [UInt8](try Data(contentsOf: URL(fileURLWithPath: scratch.file("a.tar"))))
    var state: UInt64 = 1
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var round = 0
    repeat {
      var bytes = good
      for _ in 0...random(4) { bytes[random(bytes.count)] = UInt8(random(256)) }
      if random(3) == 0 { bytes.removeLast(random(bytes.count)) }
      var ends: [Int32] = [0, 0]
      #expect(pipe(&ends) == 0)
      // The archive fits into a pipe.
      #expect(write(ends[1], bytes, bytes.count) == bytes.count)
      close(ends[1])
      let reader = ArchiveReader(descriptor: ends[0])
      var total: UInt64 = 0
      do {
        while let entry = try reader.next() {
          #expect(entry.path.count < ArchiveLimits.pathBytes)
          total += entry.stored
          if total > 1 << 40 { break }
        }
      } catch { #expect(!error.text.isEmpty) }
      close(ends[0])
      round += 1
    } while round < 500 || Date() < end
  }
}
