import Foundation
import IgniteImages
import Testing

@Suite struct TarReaderTests {
  private func entries(_ bytes: [UInt8], limits: TarLimits = TarLimits()) throws -> [TarEntry] {
    let reader = TarReader(MemoryByteSource(bytes), limits: limits)
    var list: [TarEntry] = []
    while let entry = try reader.next() { list.append(entry) }
    return list
  }

  private func failure(_ bytes: [UInt8], limits: TarLimits = TarLimits()) throws -> ImageError {
    do {
      _ = try entries(bytes, limits: limits)
    } catch let error as ImageError {
      return error
    }
    throw ToolFailure(description: "the archive was read without an error")
  }

  @Test func fieldsOfEveryKind() throws {
    let bytes = TestArchive.make { archive in
      var file = TestArchive.Member(.file, "a/file")
      file.data = Array("hello".utf8)
      file.mode = 0o4755
      file.uid = 4_000_000_000
      file.gid = 3_000_000
      file.modified = FileTime(seconds: -2, nanoseconds: 250_000_000)
      file.attributes = [("user.one", [1, 2, 0, 10, 3]), ("security.capability", [0])]
      archive.add(file)
      archive.link("a/soft", to: String(repeating: "t/", count: 90))
      archive.link("a/hard", to: "a/file", hard: true)
      var device = TestArchive.Member(.characterDevice, "dev")
      device.device = (1, 3)
      archive.add(device)
      archive.directory(String(repeating: "long-directory/", count: 20))
      archive.add(TestArchive.Member(.fifo, "fifo"))
    }
    let list = try entries(bytes)
    #expect(list.map(\.kind) == [.file, .symbolicLink, .hardLink, .characterDevice, .directory, .fifo])
    #expect(list[0].attributes.mode == 0o4755)
    #expect(list[0].attributes.uid == 4_000_000_000)
    #expect(list[0].attributes.gid == 3_000_000)
    #expect(list[0].attributes.modified == FileTime(seconds: -2, nanoseconds: 250_000_000))
    #expect(list[0].attributes.extendedAttributes.map(\.value) == [[1, 2, 0, 10, 3], [0]])
    #expect(list[0].size == 5)
    #expect(list[1].linkTarget.count == 180)
    #expect(list[3].deviceMajor == 1 && list[3].deviceMinor == 3)
    #expect(list[4].path.count == 300)
  }

  @Test func contentIsTheSameHoweverItIsRead() throws {
    var data: [UInt8] = []
    for index in 0..<700_000 { data.append(UInt8(truncatingIfNeeded: index &* 2_654_435_761 >> 7)) }
    let bytes = TestArchive.make { archive in
      var file = TestArchive.Member(.file, "big")
      file.data = data
      archive.add(file)
      archive.file("small", "x")
    }
    for size in [1, 511, 512, 4096, 1 << 17, 1 << 20] where size > 1 || bytes.count < 1 << 21 {
      var offset = 0
      let source = ClosureByteSource { buffer in
        let count = min(buffer.count, size, bytes.count - offset)
        buffer.copyBytes(from: bytes[offset..<offset + count])
        offset += count
        return count
      }
      let reader = TarReader(source)
      _ = try reader.next()
      #expect(try reader.data.readAll(limit: 1 << 20) == data)
      #expect(try reader.next()?.path == Array("small".utf8))
      #expect(try reader.next() == nil)
      #expect(reader.hasEndMarker)
    }
  }

  @Test(arguments: ["v7", "oldgnu", "gnu", "ustar", "pax"])
  func formatsOfGNUTar(_ format: String) throws {
    let scratch = try Scratch()
    try run("mkdir", "-p", scratch("t/directory"))
    try Data("content".utf8).write(to: URL(fileURLWithPath: scratch("t/directory/file")))
    try run("ln", scratch("t/directory/file"), scratch("t/hard"))
    try run("ln", "-s", "directory/file", scratch("t/soft"))
    let long = String(repeating: "n", count: format == "v7" ? 80 : 95)
    try run("touch", scratch("t/\(long)"))
    if format != "v7", format != "ustar" {
      try run("touch", scratch("t/\(String(repeating: "m", count: 200))"))
      try run("ln", "-s", String(repeating: "target/", count: 40), scratch("t/long-link"))
    }
    try run("tar", "--format=\(format)", "--sort=name", "-C", scratch("t"), "-cf", scratch("a.tar"), ".")
    let reader = TarReader(try FileByteSource(path: scratch("a.tar")))
    var seen: [String: TarEntry] = [:]
    while let entry = try reader.next() {
      seen[String(decoding: entry.path, as: UTF8.self)] = entry
      if entry.kind == .file, entry.size > 0 { #expect(try reader.data.readAll(limit: 100) == Array("content".utf8)) }
    }
    let listed = try run("tar", "-tf", scratch("a.tar")).split(separator: "\n").map(String.init)
    #expect(Set(seen.keys) == Set(listed))
    #expect(seen["./soft"]?.kind == .symbolicLink)
    #expect(seen["./directory/"]?.kind == .directory)
    #expect(seen.values.filter { $0.kind == .hardLink }.count == 1)
    if format != "v7", format != "ustar" { #expect(seen["./long-link"]?.linkTarget.count == 280) }
  }

  @Test(arguments: ["gnu", "pax 0.0", "pax 0.1", "pax 1.0"])
  func sparseFiles(_ format: String) throws {
    let scratch = try Scratch()
    // More runs than a header and one extension block of the old format hold.
    var content = [UInt8](repeating: 0, count: 1 << 20)
    for run in 0..<60 { for index in 0..<700 { content[run * 16384 + index + 3] = UInt8(run + 1) } }
    try Data(content).write(to: URL(fileURLWithPath: scratch("plain")))
    try run("cp", "--sparse=always", scratch("plain"), scratch("sparse"))
    try run("truncate", "-s", "3000001", scratch("sparse"))
    let parts = format.split(separator: " ")
    var command = ["tar", "--format=\(parts[0])", "-S", "--hole-detection=raw"]
    if parts.count > 1 { command.append("--sparse-version=\(parts[1])") }
    try run(command + ["-C", scratch.path, "-cf", scratch("a.tar"), "sparse"])
    let reader = TarReader(try FileByteSource(path: scratch("a.tar")))
    let entry = try #require(try reader.next())
    #expect(entry.displayPath == "sparse")
    #expect(entry.size == 3_000_001)
    #expect((entry.segments?.count ?? 0) >= 60)
    let data = try reader.data.readAll(limit: 1 << 22)
    #expect(data.count == 3_000_001)
    #expect(Array(data[..<(1 << 20)]) == content)
    #expect(data[(1 << 20)...].allSatisfy { $0 == 0 })
    #expect(try reader.next() == nil)
  }

  @Test func recordsOfAllMembersAndTakingThemBack() throws {
    let bytes = TestArchive.make { archive in
      archive.addRecords([("uid", Array("77".utf8)), ("comment", Array("x".utf8))], type: UInt8(ascii: "g"))
      archive.file("one")
      archive.addRecords([("uid", []), ("path", Array("renamed".utf8))])
      archive.file("two")
      archive.addRecords([
        ("LIBARCHIVE.xattr.user.a%20b", Array("AAEC/w".utf8)), ("SCHILY.xattr.user.c", Array("d".utf8)),
      ])
      archive.file("three")
    }
    let list = try entries(bytes)
    #expect(list.map(\.attributes.uid) == [77, 0, 77])
    #expect(list.map(\.displayPath) == ["one", "renamed", "three"])
    #expect(list[2].attributes.extendedAttributes.map(\.name) == [Array("user.a b".utf8), Array("user.c".utf8)])
    #expect(list[2].attributes.extendedAttributes[0].value == [0, 1, 2, 255])
  }

  @Test func hardLinksWithData() throws {
    var ustar = TestArchive.Header("link", type: "1")
    ustar.link = Array("file".utf8)
    ustar.size = 5
    var noData = ustar
    noData.magic = Array("ustar  \u{0}".utf8)
    let bytes = TestArchive.make { archive in
      archive.file("file", "hello")
      archive.addRaw(ustar.encoded)
      archive.addData(Array("hello".utf8))
      archive.addRaw(ustar.encoded)
      archive.addRaw(noData.encoded)
      archive.file("last", "x")
    }
    let list = try entries(bytes)
    #expect(list.map(\.displayPath) == ["file", "link", "link", "link", "last"])
    #expect(list.map(\.size) == [5, 5, 0, 0, 1])
  }

  @Test func signedChecksumsAndNumbersOfBase256() throws {
    var header = TestArchive.Header(name: [0xe9, 0xe8, 0xff], type: UInt8(ascii: "0"))
    header.overlay = [
      (108, [0x80, 0, 0, 0, 0xee, 0x6b, 0x28, 0]), (136, [UInt8](repeating: 0xff, count: 11) + [0xfe]),
    ]
    var block = header.encoded
    let signed = block.enumerated().reduce(0) { sum, item in
      sum + (148..<156 ~= item.offset ? 32 : Int(Int8(bitPattern: item.element)))
    }
    let octal = String(signed, radix: 8)
    block.replaceSubrange(148..<156, with: Array((String(repeating: "0", count: 6 - octal.count) + octal + "\0 ").utf8))
    let list = try entries(block + [UInt8](repeating: 0, count: 1024))
    #expect(list[0].attributes.uid == 4_000_000_000)
    #expect(list[0].attributes.modified.seconds == -2)
  }

  @Test func endings() throws {
    var archive = TestArchive()
    archive.file("a", "text")
    #expect(try entries(archive.bytes).count == 1)
    #expect(try entries(archive.bytes + [UInt8](repeating: 0, count: 512)).count == 1)
    #expect(try entries([]).isEmpty)
    // Whatever follows the end is no part of the archive.
    #expect(try entries(archive.finished + [1, 2, 3]).count == 1)
    #expect(try failure(archive.bytes + [UInt8](repeating: 0, count: 512) + archive.bytes).code == .corrupt)
  }

  @Test func truncationAnywhereElseIsAnError() throws {
    let bytes = TestArchive.make { archive in
      var member = TestArchive.Member(.file, String(repeating: "p", count: 150))
      member.data = [UInt8](repeating: 7, count: 1300)
      archive.add(member)
    }
    // Header and data of the records, header, data and padding of the member.
    for length in [1, 511, 512, 513, 1023, 1024, 1025, 1536, 1537, 2047, 2836, 3071] where length < bytes.count - 1024 {
      #expect(try failure(Array(bytes[..<length])).code == .corrupt, "cut at \(length)")
    }
  }

  @Test func damagedAndHostileHeaders() throws {
    var flipped = TestArchive.make { $0.file("a", "text") }
    flipped[0] ^= 1
    #expect(try failure(flipped).message.contains("checksum"))
    #expect(try failure([UInt8](repeating: 0x41, count: 2048)).code == .corrupt)

    func damaged(_ change: (inout TestArchive.Header) -> Void) throws -> ImageError {
      var header = TestArchive.Header("name", type: "0")
      change(&header)
      return try failure(header.encoded + [UInt8](repeating: 0, count: 1024))
    }
    // -1, 2^62 and 2^80 as the size.
    #expect(try damaged { $0.overlay = [(124, [UInt8](repeating: 0xff, count: 12))] }.code == .corrupt)
    #expect(try damaged { $0.overlay = [(124, [0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0])] }.code == .limitExceeded)
    #expect(try damaged { $0.overlay = [(124, [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])] }.code == .corrupt)
    #expect(try damaged { $0.overlay = [(108, Array("99999999".utf8))] }.code == .corrupt)
    #expect(try damaged { $0.type = UInt8(ascii: "M") }.code == .unsupported)
    #expect(
      try damaged {
        $0.type = UInt8(ascii: "L"); $0.size = 5000
      }.code == .limitExceeded)
    #expect(
      try damaged {
        $0.type = UInt8(ascii: "x"); $0.size = 2 << 20
      }.code == .limitExceeded)
  }

  @Test func hostileRecords() throws {
    func damaged(_ records: String) throws -> ImageError {
      var header = TestArchive.Header("x", type: "x")
      header.size = UInt64(records.utf8.count)
      var archive = TestArchive()
      archive.addRaw(header.encoded)
      archive.addData(Array(records.utf8))
      archive.file("a")
      return try failure(archive.finished)
    }
    for records in [
      "9 path=a\n1", "99999999999 path=a\n", "0 path=a\n", "-5 path=a\n", "5 =a\n", "9 path=ab", "6 abc\n",
      "12 size=-10\n", "33 size=99999999999999999999999\n", "15 uid=5000000000\n".replacing("15", with: "18"),
      "12 mtime=ab\n", "30 GNU.sparse.numbytes=1000000\n".replacing("30", with: "31"),
    ] {
      #expect(try damaged(records).code == .corrupt, "\(records)")
    }
    let long = TestArchive.make { archive in
      archive.addRecords([("path", [UInt8](repeating: 0x61, count: 4097))])
      archive.file("a")
    }
    #expect(try failure(long).code == .limitExceeded)
    let attribute = TestArchive.make { archive in
      archive.addRecords([("SCHILY.xattr.user.a", [UInt8](repeating: 0x61, count: 65537))])
      archive.file("a")
    }
    #expect(try failure(attribute).code == .limitExceeded)
  }

  @Test func hostileSparseMaps() throws {
    func damaged(_ records: [(String, String)], data: String = "") throws -> ImageError {
      try failure(
        TestArchive.make { archive in
          archive.addRecords(records.map { ($0.0, Array($0.1.utf8)) })
          archive.file("a", data)
        })
    }
    let size = ("GNU.sparse.realsize", "1000")
    #expect(try damaged([size, ("GNU.sparse.map", "0,10,5,10")], data: "01234567890123456789").code == .corrupt)
    #expect(try damaged([size, ("GNU.sparse.map", "995,10")], data: "0123456789").code == .corrupt)
    #expect(try damaged([size, ("GNU.sparse.map", "9223372036854775807,10")], data: "0123456789").code == .corrupt)
    #expect(try damaged([size, ("GNU.sparse.map", "0,11")], data: "0123456789").code == .corrupt)
    #expect(try damaged([size, ("GNU.sparse.map", "0")], data: "").code == .corrupt)
    #expect(try damaged([("GNU.sparse.map", "0,10")], data: "0123456789").code == .corrupt)
    let version = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), size]
    #expect(try damaged(version, data: "1\n0\n").code == .corrupt)
    #expect(try damaged(version, data: "99999999\n" + String(repeating: "0\n", count: 252)).code == .limitExceeded)
    #expect(try damaged(version, data: String(repeating: "x", count: 512)).code == .corrupt)
    #expect(try damaged([("GNU.sparse.major", "7"), size]).code == .unsupported)
  }

  @Test func limits() throws {
    var limits = TarLimits()
    limits.entries = 2
    let three = TestArchive.make { archive in for name in ["a", "b", "c"] { archive.file(name) } }
    #expect(try failure(three, limits: limits).code == .limitExceeded)
    limits = TarLimits()
    limits.fileBytes = 3
    #expect(try failure(TestArchive.make { $0.file("a", "1234") }, limits: limits).code == .limitExceeded)
  }
}
