/// The map of a sparse file in GNU tar's old format: four runs in the header, 21 in each block that follows.
struct OldSparseMap {
  var segments: [TarSegment] = []
  var isExtended: Bool

  init(_ header: TarHeader) throws(ImageError) {
    isExtended = header.block[482] != 0
    try take(header.block, at: 386, count: 4)
  }

  mutating func take(_ block: UnsafeRawBufferPointer, at offset: Int, count: Int) throws(ImageError) {
    for index in 0..<count {
      let at = offset + index * 24
      // An empty slot ends the list.
      if block[at + 12] == 0 { return }
      guard let start = TarHeader.number(block, at, 12), let length = TarHeader.number(block, at + 12, 12),
        start >= 0, length >= 0
      else { throw ImageError(.corrupt, "a sparse file's map does not parse") }
      segments.append(TarSegment(offset: UInt64(start), length: UInt64(length)))
    }
  }
}

extension TarReader {
  func readMapExtension(_ map: inout OldSparseMap?) throws(ImageError) {
    guard let block = try peekBlock() else { throw truncated("inside a sparse file's map") }
    try map?.take(block, at: 0, count: 21)
    map?.isExtended = block[504] != 0
    consume(TarHeader.blockSize)
    guard (map?.segments.count ?? 0) <= limits.segments else {
      throw ImageError(.limitExceeded, "a sparse file has more than \(limits.segments) runs of data")
    }
  }

  /// GNU tar's pax formats: 0.0 and 0.1 carry the map in records, 1.0 at the front of the data.
  func decodePaxSparse(_ records: PaxRecords.SparseRecords, _ entry: inout TarEntry) throws(ImageError) {
    if let major = records.major, major != 1 || (records.minor ?? 0) != 0 {
      guard major == 0 else {
        throw ImageError(
          .unsupported, "\(entry.displayPath) is a sparse file in an unknown format, \(major).\(records.minor ?? 0)")
      }
    }
    guard let realSize = records.realSize else {
      throw ImageError(.corrupt, "the sparse file \(entry.displayPath) lacks its real size")
    }
    entry.size = realSize
    entry.segments = records.major == 1 ? try readMap(entry) : records.segments
  }

  /// Decimal numbers, each on a line: the count, then offset and length of each run; padded to a block.
  private func readMap(_ entry: TarEntry) throws(ImageError) -> [TarSegment] {
    var lines = MapLines(self, entry)
    let count = try lines.next()
    guard count <= UInt64(limits.segments) else {
      throw ImageError(.limitExceeded, "\(entry.displayPath) has more than \(limits.segments) runs of data")
    }
    var segments: [TarSegment] = []
    for _ in 0..<count {
      let offset = try lines.next()
      segments.append(TarSegment(offset: offset, length: try lines.next()))
    }
    return segments
  }

  /// Checks that the runs ascend, lie within the file and make up exactly what is stored; drops empty ones.
  func checked(_ segments: [TarSegment], _ entry: TarEntry) throws(ImageError) -> [TarSegment] {
    var end: UInt64 = 0
    var total: UInt64 = 0
    for run in segments {
      guard run.offset >= end, run.offset <= entry.size, run.length <= entry.size - run.offset else {
        throw ImageError(.corrupt, "the map of the sparse file \(entry.displayPath) is not in order")
      }
      end = run.offset + run.length
      total += run.length
    }
    guard total == stored else {
      throw ImageError(
        .corrupt, "the sparse file \(entry.displayPath) maps \(total) bytes of data and stores \(stored)")
    }
    return segments.filter { $0.length > 0 }
  }
}

/// Reads the numbers of a map of format 1.0, block by block.
private struct MapLines {
  private let reader: TarReader
  private let entry: TarEntry
  private var block: [UInt8] = []
  private var index = 0

  init(_ reader: TarReader, _ entry: TarEntry) {
    self.reader = reader
    self.entry = entry
  }

  mutating func next() throws(ImageError) -> UInt64 {
    var digits: [UInt8] = []
    while true {
      let byte = try byte()
      if byte == 0x0a { break }
      digits.append(byte)
      guard digits.count <= 20 else { throw damaged }
    }
    guard let number = decimal(digits) else { throw damaged }
    return number
  }

  private mutating func byte() throws(ImageError) -> UInt8 {
    if index == block.count {
      guard reader.stored >= 512, let bytes = try reader.peekBlock() else { throw damaged }
      block = Array(bytes)
      index = 0
      reader.consume(512)
      reader.stored -= 512
    }
    index += 1
    return block[index - 1]
  }

  private var damaged: ImageError {
    ImageError(.corrupt, "the map of the sparse file \(entry.displayPath) does not parse")
  }
}
