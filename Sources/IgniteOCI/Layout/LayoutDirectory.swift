internal import Glibc
internal import IgniteSystem

/// The files of an image layout. All calls block.
struct LayoutDirectory: Sendable {
  let path: String

  /// What a message calls a blob.
  func describe(_ descriptor: Descriptor) -> String {
    "\(path)/blobs/\(descriptor.digest.algorithm.rawValue)/\(descriptor.digest.hex)"
  }

  /// Reads a file at the top of the layout.
  func read(_ name: String, limit: Int) throws(OCIError) -> [UInt8] {
    let file = try open([name], missing: "\(path) is no OCI image layout: it has no \(name)")
    guard file.size <= Int64(limit) else {
      throw OCIError(.limitExceeded, "\(path)/\(name) is longer than \(limit) bytes")
    }
    return try file.readAll(Int(file.size), "\(path)/\(name)")
  }

  /// Reads a whole blob of a bounded size.
  func readBlob(_ descriptor: Descriptor, limit: Int) throws(OCIError) -> [UInt8] {
    let file = try openBlob(descriptor)
    guard file.size <= Int64(limit) else {
      throw OCIError(.limitExceeded, "\(describe(descriptor)) is longer than \(limit) bytes")
    }
    return try file.readAll(Int(file.size), describe(descriptor))
  }

  /// Opens a blob whose size is as its descriptor says.
  func openBlob(_ descriptor: Descriptor) throws(OCIError) -> LayoutFile {
    let digest = descriptor.digest
    let file = try open(
      ["blobs", digest.algorithm.rawValue, digest.hex], missing: "the layout \(path) lacks the blob \(digest)")
    guard file.size == descriptor.size else {
      throw OCIError(
        .sizeMismatch,
        "\(describe(descriptor)) has \(file.size) bytes where its descriptor says \(descriptor.size)",
        advice: "make the layout again")
    }
    return file
  }

  /// Opens a regular file without following a symbolic link, or leaving the directory, at any step below it.
  private func open(_ components: [String], missing: String) throws(OCIError) -> LayoutFile {
    var current = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard current >= 0 else {
      let reason = errno
      let code: OCIError.Code = reason == ENOENT || reason == ENOTDIR ? .notFound : .fileSystem
      throw OCIError(code, "cannot open the layout \(path): \(String(cString: strerror(reason)))")
    }
    for (position, component) in components.enumerated() {
      let last = position == components.count - 1
      // A FIFO must not block the thread: it is opened without waiting and refused below.
      let flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (last ? O_NONBLOCK : O_DIRECTORY)
      let next = openat(current, component, flags)
      let reason = errno
      close(current)
      guard next >= 0 else {
        if reason == ENOENT { throw OCIError(.notFound, missing, advice: "check the directory") }
        let file = ([path] + components[...position]).joined(separator: "/")
        let why =
          reason == ELOOP || (reason == ENOTDIR && !last)
          ? "it is a symbolic link or no directory, which a layout must not have" : String(cString: strerror(reason))
        throw OCIError(.fileSystem, "cannot open \(file): \(why)")
      }
      current = next
    }
    return try LayoutFile(descriptor: current, path: ([path] + components).joined(separator: "/"))
  }
}

/// An open regular file, closed with its last use.
final class LayoutFile: Sendable {
  private let descriptor: Int32
  let size: Int64

  /// Takes the descriptor over.
  init(descriptor: Int32, path: String) throws(OCIError) {
    self.descriptor = descriptor
    var status = stat()
    let failure = fstat(descriptor, &status)
    size = Int64(status.st_size)
    guard failure == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw OCIError(.fileSystem, "\(path) is no regular file")
    }
  }

  deinit { close(descriptor) }

  func readAll(_ count: Int, _ path: String) throws(OCIError) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      let piece = try read(at: Int64(bytes.count), count: count - bytes.count, path)
      guard !piece.isEmpty else { throw OCIError(.sizeMismatch, "\(path) became shorter while it was read") }
      bytes += piece
    }
    return bytes
  }

  /// At most `count` bytes at an offset; none at the end.
  func read(at offset: Int64, count: Int, _ path: String) throws(OCIError) -> [UInt8] {
    var failure: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      var got = 0
      repeat {
        got = pread(descriptor, buffer.baseAddress, count, off_t(offset))
      } while got < 0 && errno == EINTR
      if got < 0 { failure = errno }
      filled = max(got, 0)
    }
    guard failure == 0 else {
      throw OCIError(.fileSystem, "cannot read \(path): \(String(cString: strerror(failure)))")
    }
    return bytes
  }
}

/// Reads a blob of a layout in pieces, on a thread of its own.
actor LayoutBlobReader: BlobReader {
  private let executor = ThreadExecutor(name: "ignite-layout")
  private let file: LayoutFile
  private let path: String
  private let size: Int64
  private var offset: Int64 = 0

  private static let pieceSize = 512 << 10

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  init(file: LayoutFile, path: String, size: Int64) {
    self.file = file
    self.path = path
    self.size = size
  }

  func next() async throws(OCIError) -> BlobChunk? {
    guard !Task.isCancelled else { throw .cancelled }
    guard offset < size else { return nil }
    let bytes = try file.read(at: offset, count: Int(min(Int64(Self.pieceSize), size - offset)), path)
    guard !bytes.isEmpty else {
      throw OCIError(.sizeMismatch, "\(path) became shorter while it was read")
    }
    offset += Int64(bytes.count)
    return BlobChunk(bytes)
  }
}
