internal import FoundationEssentials
internal import Glibc
public import IgniteOCI
internal import IgniteSystem

/// A part of an image that is not what it should be.
public struct ImageDamage: Sendable, Hashable {
  public enum Part: Sendable, Hashable {
    case blob(Digest)
    case disk
    /// What the parts say of one another.
    case record
  }

  public var part: Part
  /// What is wrong, without the part.
  public var reason: String

  /// As a message tells it.
  public var text: String {
    switch part {
    case .blob(let digest): "the blob \(digest.short) \(reason)"
    case .disk: "the base disk \(reason)"
    case .record: reason
    }
  }
}

extension ContentStore {
  /// Compares an image with itself: size and digest of every blob, each layer's diff ID, the chain ID, and the base disk
  /// with a fresh one built from the layers, byte for byte.
  ///
  /// - Parameter mendsDisk: a base disk that is damaged or gone gets the fresh one's content, where all layers are whole.
  ///   A VM that runs on the old one goes on with it.
  /// - Returns: what is damaged, what was mended included.
  /// - Throws: `cancelled`, `noSpace` and `io` where the comparing itself fails.
  public func verify(_ image: ImportedImage, mendsDisk: Bool = false) async throws(ImageError) -> [ImageDamage] {
    let lock = try await waitForDisk(image.disk)
    defer { lock.release() }
    return try await Cancellation.blocking(name: "ignite-verify") { (cancellation) throws(ImageError) in
      let lease = try Lease.take(self, blobs: image.blobs, disk: image.disk)
      defer { lease.release() }
      let space = HostSpace(below: root)
      do throws(ImageError) {
        var verifier = ImageVerifier(store: self, image: image, cancellation: cancellation)
        return try verifier.run(mendsDisk: mendsDisk)
      } catch {
        throw error.explained("the fresh disk to compare with", before: space, needed: image.diskUsage)
      }
    }
  }

  private func waitForDisk(_ disk: String) async throws(ImageError) -> NamedLock {
    while true {
      let lock = try await ThreadExecutor.run { () throws(ImageError) in
        try NamedLock.tryTake("\(disks)/\(disk.dropLast(5)).lock")
      }
      if let lock { return lock }
      // flock(2) can be waited for only by blocking a thread that nothing can interrupt.
      do { try await Task.sleep(for: .milliseconds(50)) } catch { throw .cancelled }
    }
  }
}

/// One image's verification. Blocking.
private struct ImageVerifier {
  let store: ContentStore
  let image: ImportedImage
  let cancellation: Cancellation
  private var damage: [ImageDamage] = []

  init(store: ContentStore, image: ImportedImage, cancellation: Cancellation) {
    self.store = store
    self.image = image
    self.cancellation = cancellation
  }

  private mutating func note(_ part: ImageDamage.Part, _ reason: String) {
    damage.append(ImageDamage(part: part, reason: reason))
  }

  mutating func run(mendsDisk: Bool) throws(ImageError) -> [ImageDamage] {
    try verifyDocuments()
    let isCurrent = image.disk == DiskFile.base(chainID: image.chainID, version: BaseDiskSink.version) + ".ext4"
    let path = "\(store.disks)/\(image.disk)"
    let fresh = "\(path.dropLast(5)).partial"
    // The disk's lock is held, so what lies there is left over.
    unlink(fresh)
    defer { unlink(fresh) }
    let isBuilt = try verifyLayers(fresh: fresh, mendsDisk: mendsDisk)
    guard store.hasDisk(image.disk) else {
      note(.disk, "is not there")
      if mendsDisk && isBuilt && isCurrent { try replace(path, by: fresh) }
      return damage
    }
    // A disk of another version of the builder has other bytes.
    guard isBuilt, isCurrent, let difference = try firstDifference(path, fresh) else { return damage }
    note(.disk, "differs from what its layers make, first at byte \(difference)")
    if mendsDisk { try replace(path, by: fresh) }
    return damage
  }

  private func replace(_ path: String, by fresh: String) throws(ImageError) {
    if rename(fresh, path) != 0 { throw .system("make", path) }
    try syncDirectory(store.disks)
  }

  // MARK: Documents

  private mutating func verifyDocuments() throws(ImageError) {
    if let index = image.indexDigest { _ = try document(index, Limits.manifestSize) }
    if let bytes = try document(image.manifestDigest, Limits.manifestSize) {
      let manifest = try? JSONDecoder().decode(Manifest.self, from: Data(bytes))
      if manifest?.config.digest != image.configDigest || manifest?.layers.map(\.digest) != image.layers.map(\.digest) {
        note(.record, "its record and its manifest \(image.manifestDigest.short) list different blobs")
      }
    }
    if let bytes = try document(image.configDigest, Limits.configSize) {
      let config = try? ImageConfig(json: bytes)
      if config?.diffIDs != image.config.diffIDs {
        note(.record, "its record and its configuration \(image.configDigest.short) list different layers")
      }
    }
    if ChainID.of(image.config.diffIDs) != image.chainID || !image.disk.hasPrefix(image.chainID.hex) {
      note(.record, "its base disk's name does not follow from its layers")
    }
  }

  private mutating func document(_ digest: Digest, _ limit: Int) throws(ImageError) -> [UInt8]? {
    do throws(ImageError) {
      return try store.read(digest, limit: limit)
    } catch {
      try noteDamage(of: digest, error)
      return nil
    }
  }

  /// An error that a blob's own state explains; others end the verification.
  private mutating func noteDamage(of digest: Digest, _ error: ImageError) throws(ImageError) {
    switch error.code {
    case .notFound: note(.blob(digest), "is not there")
    case .corrupt, .limitExceeded: note(.blob(digest), "does not have its digest")
    default: throw error
    }
  }

  // MARK: Layers

  /// Reads every layer once, for its digests and for a fresh disk.
  ///
  /// - Returns: whether all are whole, and so the disk is made.
  private mutating func verifyLayers(fresh: String, mendsDisk: Bool) throws(ImageError) -> Bool {
    var sink: BaseDiskSink? = try BaseDiskSink(
      path: fresh, identity: image.chainID.description, limits: .alreadyPassed, syncs: mendsDisk)
    for (layer, diffID) in zip(image.layers, image.config.diffIDs) {
      if try !verify(layer, diffID, into: &sink) { sink = nil }
    }
    guard let sink, damage.isEmpty else { return false }
    try sink.finish()
    return true
  }

  private mutating func verify(
    _ layer: Descriptor, _ diffID: Digest, into sink: inout BaseDiskSink?
  ) throws(ImageError) -> Bool {
    guard let size = try? store.size(of: layer.digest) else {
      note(.blob(layer.digest), "is not there")
      return false
    }
    guard size == layer.size else {
      note(.blob(layer.digest), "has \(size) bytes, not \(layer.size)")
      return false
    }
    let stored = HashedByteSource(CancellableByteSource(try store.open(layer.digest), cancellation))
    var problem: ImageError?
    do throws(ImageError) {
      let tar = HashedByteSource(try Compression.unpacked(stored, limit: .max).source)
      try sink?.apply(tar)
      try tar.drain()
      if tar.digest != diffID {
        problem = ImageError(.corrupt, "does not unpack to the layer \(diffID.short) of the configuration")
      }
    } catch {
      guard [.corrupt, .limitExceeded, .unsupported].contains(error.code) else { throw error }
      problem = error
    }
    try stored.drain()
    guard stored.digest == layer.digest else {
      note(.blob(layer.digest), "does not have its digest")
      return false
    }
    guard let problem else { return true }
    note(.blob(layer.digest), problem.message)
    return false
  }

  // MARK: Disk

  /// The first byte in which two files differ; nil where they are equal.
  private func firstDifference(_ path: String, _ fresh: String) throws(ImageError) -> Int64? {
    let one = try ComparedFile(path)
    let two = try ComparedFile(fresh)
    let left = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    let right = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer {
      left.deallocate()
      right.deallocate()
    }
    var offset: Int64 = 0
    while true {
      try cancellation.check()
      // What is a hole in both is equal; base disks end with a large one.
      offset = min(one.nextData(from: offset), two.nextData(from: offset))
      let count = try one.read(into: left, at: offset)
      let other = try two.read(into: right, at: offset)
      let common = min(count, other)
      if let mine = left.baseAddress, let its = right.baseAddress, memcmp(mine, its, common) != 0 {
        return offset + Int64((0..<common).first { left[$0] != right[$0] } ?? 0)
      }
      if count != other { return offset + Int64(common) }
      if count == 0 { return nil }
      offset += Int64(count)
    }
  }
}

/// A file that is compared piece by piece.
private struct ComparedFile: ~Copyable {
  private let path: String
  private let descriptor: OwnedDescriptor

  init(_ path: String) throws(ImageError) {
    self.path = path
    let number = open(path, O_RDONLY | O_CLOEXEC)
    if number < 0 { throw .system("open", path) }
    descriptor = OwnedDescriptor(number)
  }

  /// Where data stands next, or the file's end.
  func nextData(from offset: Int64) -> Int64 {
    let found = lseek(descriptor.number, off_t(offset), SparseCopy.seekData)
    return found >= 0 ? Int64(found) : max(offset, Int64(lseek(descriptor.number, 0, SEEK_END)))
  }

  /// Fills the buffer as far as the file goes.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ImageError) -> Int {
    var done = 0
    while done < buffer.count {
      let count = pread(
        descriptor.number, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset + Int64(done)))
      if count == 0 { break }
      if count < 0, errno != EINTR { throw .system("read", path) }
      done += max(0, count)
    }
    return done
  }
}

/// A stream that ends with an error once its reader's work is cancelled.
private final class CancellableByteSource: ByteSource {
  private let source: any ByteSource
  private let cancellation: Cancellation

  init(_ source: any ByteSource, _ cancellation: Cancellation) {
    self.source = source
    self.cancellation = cancellation
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    try cancellation.check()
    return try source.read(into: buffer)
  }
}
