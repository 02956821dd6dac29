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
package final class LayoutFile: Sendable {
  private let descriptor: Int32
  package let size: Int64

  /// Takes the descriptor over.
  package init(descriptor: Int32, path: String) throws(OCIError) {
    self.descriptor = descriptor
    var status = stat()
    let failure = fstat(descriptor, &status)
    size = Int64(status.st_size)
    guard failure == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw OCIError(.fileSystem, "\(path) is no regular file")
    }
  }

  deinit { close(descriptor) }

  package func readAll(_ count: Int, _ path: String) throws(OCIError) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      let piece = try read(at: Int64(bytes.count), count: count - bytes.count, path)
      guard !piece.isEmpty else { throw OCIError(.sizeMismatch, "\(path) became shorter while it was read") }
      bytes += piece
    }
    return bytes
  }

  /// At most `count` bytes at an offset; none at the end.
  package func read(at offset: Int64, count: Int, _ path: String) throws(OCIError) -> [UInt8] {
    var failure: OCIError?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      do throws(OCIError) {
        filled = try read(at: offset, into: UnsafeMutableRawBufferPointer(buffer), path)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Fills the front of a buffer with the bytes at an offset; returns how many, 0 at the end.
  package func read(
    at offset: Int64, into buffer: UnsafeMutableRawBufferPointer, _ path: String
  ) throws(OCIError) -> Int {
    var got = 0
    repeat {
      got = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
    } while got < 0 && errno == EINTR
    guard got >= 0 else {
      throw OCIError(.fileSystem, "cannot read \(path): \(String(cString: strerror(errno)))")
    }
    return got
  }
}

/// Reads a blob of a layout in pieces, on a thread of its own.
package actor LayoutBlobReader: BlobReader {
  private let executor = ThreadExecutor(name: "ignite-layout")
  private let file: LayoutFile
  private let path: String
  private let start: Int64
  private let size: Int64
  private var offset: Int64 = 0

  private static let pieceSize = 512 << 10

  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// - Parameter start: where the blob begins in the file.
  package init(file: LayoutFile, path: String, start: Int64 = 0, size: Int64) {
    self.file = file
    self.path = path
    self.start = start
    self.size = size
  }

  package func next() async throws(OCIError) -> BlobChunk? {
    guard !Task.isCancelled else { throw .cancelled }
    guard offset < size else { return nil }
    let bytes = try file.read(at: start + offset, count: Int(min(Int64(Self.pieceSize), size - offset)), path)
    guard !bytes.isEmpty else {
      throw OCIError(.sizeMismatch, "\(path) became shorter while it was read")
    }
    offset += Int64(bytes.count)
    return BlobChunk(bytes)
  }
}
