/// A 64-bit little-endian ELF file (System V gABI, chapter 4), read in pieces; every offset is checked against the
/// file's size.
struct ELF64 {
  /// What a section header says (gABI, Sections).
  struct Section {
    var name: String
    var type: UInt32
    var offset: Int
    var size: Int
  }

  /// What a program header says (gABI, Program Loading).
  struct Segment {
    var type: UInt32
    var offset: Int
    var fileSize: Int
  }

  static let machineX86_64: UInt16 = 62
  private static let headerSize = 64
  private static let tableLimit = 65_536
  private static let noSectionData: UInt32 = 8

  let type: UInt16
  let machine: UInt16
  /// The file's size in bytes.
  let size: Int
  private let read: (Range<Int>) throws(ImageError) -> [UInt8]
  private let header: [UInt8]

  /// - Parameters:
  ///   - size: the file's size in bytes.
  ///   - read: gives the bytes of a range that lies within the file.
  /// - Throws: `corrupt` where this is no such ELF file.
  init(size: Int, read: @escaping (Range<Int>) throws(ImageError) -> [UInt8]) throws(ImageError) {
    guard size >= Self.headerSize else { throw ImageError(.corrupt, "it is no ELF file: it has \(size) bytes only") }
    header = try read(0..<Self.headerSize)
    guard header.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else {
      throw ImageError(.corrupt, "it is no ELF file: the magic number is wrong")
    }
    guard header[4] == 2, header[5] == 1 else {
      throw ImageError(.unsupported, "it is no 64-bit little-endian ELF file")
    }
    self.size = size
    self.read = read
    type = UInt16(header.littleEndian(at: 16, bytes: 2))
    machine = UInt16(header.littleEndian(at: 18, bytes: 2))
  }

  /// A file in memory.
  init(_ bytes: [UInt8]) throws(ImageError) {
    try self.init(size: bytes.count) { range in Array(bytes[range]) }
  }

  /// All sections, with their names.
  func sections() throws(ImageError) -> [Section] {
    let table = try table(offsetAt: 40, entrySizeAt: 58, countAt: 60, minimum: 64, what: "section headers")
    // Above 65,279 sections the count stands in the first header; no kernel or module has so many.
    let nameIndex = Int(header.littleEndian(at: 62, bytes: 2))
    guard nameIndex < table.count else { return [] }
    let strings = try bytes(of: section(table[nameIndex], ""), what: "the section names")
    var sections: [Section] = []
    for entry in table {
      let start = Int(entry.littleEndian(at: 0, bytes: 4))
      guard start <= strings.count else { throw ImageError(.corrupt, "a section's name lies outside of the names") }
      sections.append(section(entry, displayName(strings[start...].prefix { $0 != 0 })))
    }
    return sections
  }

  /// The program headers.
  func segments() throws(ImageError) -> [Segment] {
    try table(offsetAt: 32, entrySizeAt: 54, countAt: 56, minimum: 56, what: "program headers").map { entry in
      Segment(
        type: UInt32(entry.littleEndian(at: 0, bytes: 4)),
        offset: Int(clamping: entry.littleEndian(at: 8, bytes: 8)),
        fileSize: Int(clamping: entry.littleEndian(at: 32, bytes: 8)))
    }
  }

  /// A section's bytes; none for one without bytes in the file.
  func bytes(of section: Section, what: String) throws(ImageError) -> [UInt8] {
    if section.type == Self.noSectionData { return [] }
    return try bytes(offset: section.offset, count: section.size, what: what)
  }

  func bytes(offset: Int, count: Int, what: String) throws(ImageError) -> [UInt8] {
    guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
      throw ImageError(.corrupt, "\(what) reach beyond the ELF file's end")
    }
    return try read(offset..<offset + count)
  }

  private func section(_ entry: [UInt8], _ name: String) -> Section {
    Section(
      name: name, type: UInt32(entry.littleEndian(at: 4, bytes: 4)),
      offset: Int(clamping: entry.littleEndian(at: 24, bytes: 8)),
      size: Int(clamping: entry.littleEndian(at: 32, bytes: 8)))
  }

  private func table(
    offsetAt: Int, entrySizeAt: Int, countAt: Int, minimum: Int, what: String
  ) throws(ImageError) -> [[UInt8]] {
    let offset = Int(clamping: header.littleEndian(at: offsetAt, bytes: 8))
    let entrySize = Int(header.littleEndian(at: entrySizeAt, bytes: 2))
    let count = Int(header.littleEndian(at: countAt, bytes: 2))
    if count == 0 { return [] }
    guard entrySize >= minimum, entrySize <= 4096, count <= Self.tableLimit else {
      throw ImageError(.corrupt, "the ELF file's \(what) are damaged")
    }
    let bytes = try bytes(offset: offset, count: entrySize * count, what: "the \(what)")
    return (0..<count).map { Array(bytes[$0 * entrySize..<($0 + 1) * entrySize]) }
  }
}

extension ELF64 {
  /// One note (gABI, Note Section).
  struct Note {
    var name: [UInt8]
    var type: UInt32
    var description: [UInt8]
  }

  private static let noteSegment: UInt32 = 4
  private static let noteLimit = 1 << 20

  /// The notes of all PT_NOTE segments.
  func notes() throws(ImageError) -> [Note] {
    var notes: [Note] = []
    for segment in try segments() where segment.type == Self.noteSegment {
      guard segment.fileSize <= Self.noteLimit else {
        throw ImageError(.limitExceeded, "the ELF file has notes of \(segment.fileSize) bytes")
      }
      let bytes = try bytes(offset: segment.offset, count: segment.fileSize, what: "the notes")
      var position = 0
      while bytes.count - position >= 12 {
        let nameSize = Int(bytes.littleEndian(at: position, bytes: 4))
        let descriptionSize = Int(bytes.littleEndian(at: position + 4, bytes: 4))
        let type = UInt32(bytes.littleEndian(at: position + 8, bytes: 4))
        position += 12
        let descriptionStart = position + (nameSize + 3) / 4 * 4
        let end = descriptionStart + descriptionSize
        guard end <= bytes.count else { throw ImageError(.corrupt, "a note reaches beyond the notes' end") }
        notes.append(
          Note(
            name: bytes[position..<position + nameSize].prefix { $0 != 0 }.map { $0 }, type: type,
            description: Array(bytes[descriptionStart..<end])))
        position = min(bytes.count, (end + 3) / 4 * 4)
      }
    }
    return notes
  }
}

extension [UInt8] {
  /// An unsigned little-endian number of up to eight bytes; the caller has checked that it lies within the array.
  func littleEndian(at offset: Int, bytes: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<bytes { value |= UInt64(self[offset + index]) << (8 * UInt64(index)) }
    return value
  }
}
