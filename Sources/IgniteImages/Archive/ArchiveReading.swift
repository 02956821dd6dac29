internal import Glibc
internal import IgniteOCI

/// Reads archives into tables. Blocking.
enum ArchiveReading {
  /// Finds the members of a plain archive in a file, without reading their data.
  static func index(_ file: LayoutFile, _ interruption: StreamInterruption) throws(ImageError) -> ArchiveTable {
    let reader = TarReader(ArchiveFileSource(file), limits: limits)
    var table = ArchiveTable()
    while let entry = try reader.next() {
      try interruption.check()
      guard let name = ArchiveTable.name(entry.path) else { continue }
      let part = ArchiveContent.part(file, offset: Int64(reader.dataOffset), size: Int64(entry.size))
      try add(entry, name, to: &table) { _ throws(ImageError) in part }
    }
    return table
  }

  /// Takes a stream's members in: the small ones into memory, the others into files below the store's `ingest`.
  ///
  /// - Parameter told: called with the bytes so far.
  static func spool(
    _ source: any ByteSource, into store: ContentStore, _ interruption: StreamInterruption,
    told: @escaping (Int64) -> Void
  ) throws(ImageError) -> ArchiveTable {
    let reader = TarReader(source, limits: limits)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var table = ArchiveTable()
    var (memory, files, total) = (0, 0, Int64(0))
    while let entry = try reader.next() {
      try interruption.check()
      guard let name = ArchiveTable.name(entry.path) else { continue }
      try add(entry, name, to: &table) { (entry) throws(ImageError) in
        if entry.size <= ArchiveLimits.smallBytes, memory + Int(entry.size) <= ArchiveLimits.memory {
          let bytes = try reader.data.readAll(limit: Int(ArchiveLimits.smallBytes))
          memory += bytes.count
          return .bytes(bytes)
        }
        files += 1
        guard files <= ArchiveLimits.spooledFiles else {
          throw ImageError(
            .limitExceeded, "the stream has more than \(ArchiveLimits.spooledFiles) files of more than 64 KiB",
            advice: "save it to a file, unpacked, and import it from there")
        }
        let file = try SpooledFile.write(reader.data, below: store.ingest, buffer: buffer, interruption) { count in
          total += count
          told(total)
        }
        return .spooled(file)
      }
    }
    // What follows the end is padding, whose writer is not to be killed by a closed pipe; of more than that no writer
    // need be spared.
    try PrefixByteSource(source, length: 16 << 20).drain()
    return table
  }

  private static var limits: TarLimits {
    var limits = TarLimits()
    limits.entries = ArchiveLimits.members
    limits.fileBytes = ArchiveLimits.memberBytes
    return limits
  }

  private static func add(
    _ entry: TarEntry, _ name: String, to table: inout ArchiveTable,
    content: (TarEntry) throws(ImageError) -> ArchiveContent
  ) throws(ImageError) {
    switch entry.kind {
    case .file where entry.segments != nil: try table.addSparse(name)
    case .file:
      let content = try content(entry)
      try verify(name, content)
      try table.add(name, content)
    case .symbolicLink: try table.addSymbolicLink(name, to: entry.linkTarget)
    case .hardLink: try table.addHardLink(name, to: entry.linkTarget)
    case .directory, .fifo, .characterDevice, .blockDevice: break
    }
  }

  /// A blob of a stream must have the digest that names it; one that is read in place is verified when it is read.
  private static func verify(_ name: String, _ content: ArchiveContent) throws(ImageError) {
    guard case .spooled(let file) = content, name.hasPrefix("blobs/sha256/"),
      let named = Digest("sha256:\(name.dropFirst("blobs/sha256/".count))"), named != file.digest
    else { return }
    throw ImageError(
      .corrupt, "\(name) has the digest \(file.digest.short)", advice: "the archive is damaged: make it again")
  }

  /// The stream's unpacked bytes, whatever the archive is packed with as a whole.
  static func unpacked(_ source: any ByteSource) throws(ImageError) -> any ByteSource {
    let peeked = try PeekedByteSource(source, count: Compression.magicLength)
    switch Compression.detect(peeked.head) {
    case .bzip2:
      throw ImageError(
        .unsupported, "the archive is packed with bzip2, which is not supported",
        advice: "unpack it on the way: bzcat FILE | ignite image import -")
    case .none, .gzip, .zstd, .xz: return try Compression.unpacked(peeked, limit: ArchiveLimits.unpackedBytes).source
    }
  }
}

/// A file as a stream that can pass over bytes without reading them.
final class ArchiveFileSource: SkippingByteSource {
  private let file: LayoutFile
  private var offset: Int64 = 0

  init(_ file: LayoutFile) { self.file = file }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let count: Int
    do throws(OCIError) {
      count = try file.read(at: offset, into: buffer, "the archive")
    } catch {
      throw ImageError(error)
    }
    offset += Int64(count)
    return count
  }

  func skip(_ count: UInt64) -> UInt64 {
    let skipped = Int64(min(count, UInt64(max(0, file.size - offset))))
    offset += skipped
    return UInt64(skipped)
  }
}
