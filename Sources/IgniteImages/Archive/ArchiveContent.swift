internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// Where the content of an archive's member is.
enum ArchiveContent: Sendable {
  /// A part of the archive itself, which is read in place.
  case part(LayoutFile, offset: Int64, size: Int64)
  /// A small member of a stream, in memory.
  case bytes([UInt8])
  /// A member of a stream in a file of its own.
  case spooled(SpooledFile)

  /// Bytes.
  var size: Int64 {
    switch self {
    case .part(_, _, let size): size
    case .bytes(let bytes): Int64(bytes.count)
    case .spooled(let file): file.size
    }
  }

  /// At most `count` bytes at an offset.
  private func read(at offset: Int64, count: Int) throws(ImageError) -> [UInt8] {
    let wanted = Int(max(0, min(Int64(count), size - offset)))
    do throws(OCIError) {
      switch self {
      case .part(let file, let start, _):
        return try file.read(at: start + offset, count: wanted, "the archive")
      case .bytes(let bytes): return Array(bytes[Int(offset)..<Int(offset) + wanted])
      case .spooled(let file): return try file.content.read(at: offset, count: wanted, "the archive's copy")
      }
    } catch {
      throw ImageError(error)
    }
  }

  /// The first bytes, by which a packing is told.
  func head() throws(ImageError) -> [UInt8] { try read(at: 0, count: Compression.magicLength) }

  /// All bytes.
  ///
  /// - Throws: `limitExceeded` where there are more than `limit`.
  func bytes(limit: Int, _ what: String) throws(ImageError) -> [UInt8] {
    guard size <= Int64(limit) else {
      throw ImageError(.limitExceeded, "\(what) has \(size) bytes, more than the limit of \(limit)")
    }
    var result: [UInt8] = []
    while Int64(result.count) < size {
      let piece = try read(at: Int64(result.count), count: 1 << 20)
      guard !piece.isEmpty else { throw ImageError(.io, "the archive became shorter while it was read") }
      result += piece
    }
    return result
  }

  /// The sha256; of a part, all of it is read for that.
  func digest(_ interruption: StreamInterruption) throws(ImageError) -> Digest {
    if case .spooled(let file) = self { return file.digest }
    var hasher = DigestHasher()
    var offset: Int64 = 0
    while offset < size {
      try interruption.check()
      let piece = try read(at: offset, count: 1 << 20)
      guard !piece.isEmpty else { throw ImageError(.io, "the archive became shorter while it was read") }
      piece.withUnsafeBytes { hasher.update($0) }
      offset += Int64(piece.count)
    }
    return hasher.finalize()
  }
}

/// A member of a stream in a file of its own below `content/ingest`; the file goes with the object, unless the content
/// store has taken it over.
final class SpooledFile: Sendable {
  let file: IngestFile
  /// The same file, for reading; it stays open whatever becomes of the name.
  let content: LayoutFile
  let digest: Digest
  let size: Int64

  private init(file: IngestFile, content: LayoutFile, digest: Digest, size: Int64) {
    self.file = file
    self.content = content
    self.digest = digest
    self.size = size
  }

  deinit { file.remove() }

  /// Writes a stream to its end.
  static func write(
    _ source: any ByteSource, below directory: String, buffer: UnsafeMutableRawBufferPointer,
    _ interruption: StreamInterruption, told: (Int64) -> Void
  ) throws(ImageError) -> SpooledFile {
    let file = try IngestFile(directory: directory, kind: "blob")
    do throws(ImageError) {
      var hasher = DigestHasher()
      var size: Int64 = 0
      while true {
        try interruption.check()
        let count = try source.readFully(into: buffer)
        if count == 0 { break }
        try SparseFile.writeAll(file.descriptor.number, buffer, 0..<count, at: UInt64(size), file.path)
        hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        size += Int64(count)
        told(Int64(count))
      }
      let copy = fcntl(file.descriptor.number, F_DUPFD_CLOEXEC, 0)
      guard copy >= 0 else { throw .system("read", file.path) }
      let content: LayoutFile
      do throws(OCIError) {
        content = try LayoutFile(descriptor: copy, path: file.path)
      } catch {
        throw ImageError(error)
      }
      return SpooledFile(file: file, content: content, digest: hasher.finalize(), size: size)
    } catch {
      file.remove()
      throw error
    }
  }
}
