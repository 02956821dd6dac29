internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// Takes a blob in: hashes it while it is written, and gives it its name once digest and size are right.
///
/// Blocking; one thread at a time.
final class BlobWriter {
  let file: IngestFile
  private let store: ContentStore
  private let digest: Digest
  private let size: Int64
  private var hasher = DigestHasher()
  private var written: Int64 = 0
  private var writeBehind = WriteBehind()

  init(store: ContentStore, digest: Digest, size: Int64) throws(ImageError) {
    _ = try store.path(of: digest)
    self.store = store
    self.digest = digest
    self.size = size
    file = try IngestFile(directory: store.ingest, kind: "blob")
  }

  /// Appends bytes; more than the blob may have are refused at once.
  func write(_ bytes: UnsafeRawBufferPointer) throws(ImageError) {
    guard Int64(bytes.count) <= size - written else {
      throw ImageError(
        .corrupt, "there is more data than the \(size) bytes of its descriptor",
        advice: "the registry or its cache is damaged: push the image again")
    }
    var rest = bytes
    while !rest.isEmpty {
      let count = Glibc.write(file.descriptor.number, rest.baseAddress, rest.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw .system("write", file.path)
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    hasher.update(bytes)
    written += Int64(bytes.count)
    if store.syncs { writeBehind.advance(to: written, of: file.descriptor.number) }
  }

  func write(_ bytes: [UInt8]) throws(ImageError) {
    let result: Result<Void, ImageError> = bytes.withUnsafeBytes { bytes in
      do throws(ImageError) { return .success(try write(bytes)) } catch { return .failure(error) }
    }
    try result.get()
  }

  /// Compares size and digest, and puts the blob in its place.
  func commit() throws(ImageError) {
    guard written == size else {
      throw ImageError(
        .corrupt, "the data ends \(size - written) bytes early",
        advice: "the registry or its cache is damaged: push the image again")
    }
    let found = hasher.finalize()
    guard found == digest else {
      throw ImageError(
        .corrupt, "the data has the digest \(found.short) where its descriptor says \(digest.short)",
        advice: "the registry or its cache is damaged: push the image again")
    }
    try store.adopt(file, as: digest)
    file.descriptor.close()
  }

  /// Deletes what was written, unless it was committed.
  func abandon() { file.remove() }
}

extension ContentStore {
  /// Gives a file with the content of that digest its place among the blobs, on stable storage.
  func adopt(_ file: IngestFile, as digest: Digest) throws(ImageError) {
    let number = file.descriptor.number
    if fchmod(number, 0o444) != 0 { throw .system("write", file.path) }
    if syncs, fsync(number) != 0 { throw .system("sync", file.path) }
    try makeDirectory(blobs)
    let target = try path(of: digest)
    if rename(file.path, target) != 0 { throw .system("make", target) }
    if syncs { try syncDirectory(blobs) }
  }
}
