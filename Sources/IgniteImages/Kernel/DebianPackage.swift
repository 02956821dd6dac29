/// A Debian binary package file (deb(5)): its control fields and its files as a stream, read without dpkg.
struct DebianPackage {
  /// The most bytes of unpacked files that a kernel package may hold.
  static let dataLimit: UInt64 = 4 << 30
  private static let controlArchiveLimit: UInt64 = 64 << 20
  private static let controlLimit = 1 << 20

  let path: String
  /// The fields of the control file, by their names as deb-control(5) spells them.
  let control: [String: String]
  private let archive: ArArchive
  private let dataMember: ArArchive.Member

  /// Reads the package's headers and its control file. Blocking.
  ///
  /// - Throws: `corrupt` where the file is no package, `unsupported` where it is packed in a way not known here.
  init(path: String) throws(ImageError) {
    let archive = try ArArchive(path: path)
    guard let first = archive.members.first, first.name == "debian-binary" else {
      throw ImageError(.corrupt, "\(path) is no Debian package: its first member is not debian-binary")
    }
    let version = String(decoding: try archive.data(of: first).readAll(limit: 64), as: UTF8.self)
    guard version.hasPrefix("2.") else {
      throw ImageError(.unsupported, "\(path) is a Debian package of another format than 2.0")
    }
    guard let control = archive.members.first(where: { $0.name.hasPrefix("control.tar") }) else {
      throw ImageError(.corrupt, "\(path) is no Debian package: it has no control.tar")
    }
    guard let data = archive.members.first(where: { $0.name.hasPrefix("data.tar") }) else {
      throw ImageError(.corrupt, "\(path) is no Debian package: it has no data.tar", advice: "fetch the package again")
    }
    self.path = path
    self.archive = archive
    dataMember = data
    do throws(ImageError) {
      self.control = try Self.readControl(
        Self.unpacked(try archive.data(of: control), name: control.name, limit: Self.controlArchiveLimit))
    } catch {
      throw error.of(path)
    }
    guard self.control["Package"] != nil, self.control["Version"] != nil, self.control["Architecture"] != nil else {
      throw ImageError(.corrupt, "\(path): the control file lacks Package, Version or Architecture")
    }
  }

  var name: String { control["Package"] ?? "" }
  var version: String { control["Version"] ?? "" }
  var architecture: String { control["Architecture"] ?? "" }

  /// The package's files as an unpacked tar stream, from its beginning, each time anew.
  func files() throws(ImageError) -> any ByteSource {
    try Self.unpacked(try archive.data(of: dataMember), name: dataMember.name, limit: Self.dataLimit)
  }

  /// Unpacks by the first bytes; the member's name only helps the message.
  private static func unpacked(
    _ source: any ByteSource, name: String, limit: UInt64
  ) throws(ImageError) -> any ByteSource {
    let peeked = try PeekedByteSource(source, count: 8)
    switch Compression.detect(peeked.head) {
    case .none: return LimitedByteSource(peeked, limit: limit)
    case .gzip: return GzipByteSource(peeked, limit: limit)
    case .xz: return try XZByteSource(peeked, limit: limit, concatenated: true)
    case .zstd: return try ZstdByteSource(peeked, limit: limit)
    case .bzip2:
      throw ImageError(
        .unsupported, "\(name) is packed with bzip2, which is not supported",
        advice: "repack the package with dpkg-deb -Zxz")
    }
  }

  private static func readControl(_ source: any ByteSource) throws(ImageError) -> [String: String] {
    let reader = TarReader(source)
    while let entry = try reader.next() {
      let path = String(decoding: entry.path, as: UTF8.self)
      guard entry.kind == .file, path == "./control" || path == "control" else { continue }
      return ControlFile.fields(String(decoding: try reader.data.readAll(limit: controlLimit), as: UTF8.self))
    }
    throw ImageError(.corrupt, "the package has no control file")
  }
}

/// The syntax of Debian's control files (deb-control(5), also what apt-cache prints).
enum ControlFile {
  /// The fields of the first paragraph; a field's continuation lines are joined by line feeds.
  static func fields(_ text: String) -> [String: String] {
    var fields: [String: String] = [:]
    var current: String?
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.isEmpty {
        if fields.isEmpty { continue }
        break
      }
      if line.first == " " || line.first == "\t" {
        if let current { fields[current, default: ""] += "\n" + line.drop { $0 == " " || $0 == "\t" } }
        continue
      }
      guard let colon = line.firstIndex(of: ":") else { continue }
      let name = String(line[..<colon])
      current = name
      fields[name] = String(line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" })
    }
    return fields
  }

  /// The package names of a relationship field, the first of each alternative: `a (= 1), b | c` gives a and b.
  static func packages(_ field: String) -> [String] {
    field.split(separator: ",").compactMap { relation in
      let first = relation.split(separator: "|").first ?? ""
      let name = first.drop { $0 == " " || $0 == "\n" }.prefix { $0 != " " && $0 != "(" && $0 != ":" && $0 != "[" }
      return name.isEmpty ? nil : String(name)
    }
  }
}
