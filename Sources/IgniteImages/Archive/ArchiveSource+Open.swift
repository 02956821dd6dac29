internal import Glibc
public import IgniteOCI
internal import IgniteSystem

extension ArchiveSource {
  /// Reads an archive's list of members, of a stream all of it, and chooses the image.
  ///
  /// - Parameters:
  ///   - reference: an archive, the Docker daemon's image, or standard input.
  ///   - store: takes what a stream brings.
  ///   - environment: where `DOCKER_HOST` is looked up.
  ///   - progress: told how far the reading of a stream is.
  /// - Throws: `unsupported` for a reference of another kind, and what reading fails with.
  public static func open(
    _ reference: ImageSourceReference, store: ContentStore, environment: [String: String],
    progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws(ImageError) -> ArchiveSource {
    let interruption = try StreamInterruption()
    return try await interruption.run { () throws(ImageError) in
      do throws(ImageError) {
        let table = try read(reference, store, environment, interruption, progress)
        return try ArchiveSource(reference, table: table, store: store, interruption)
      } catch {
        throw error.code == .cancelled ? error : error.of(reference.description)
      }
    }
  }

  private static func read(
    _ reference: ImageSourceReference, _ store: ContentStore, _ environment: [String: String],
    _ interruption: StreamInterruption, _ progress: @escaping @Sendable (ImportProgress) -> Void
  ) throws(ImageError) -> ArchiveTable {
    func spool(_ source: any ByteSource) throws(ImageError) -> ArchiveTable {
      progress(.reading(reference.description, done: 0))
      var next: Int64 = 0
      return try ArchiveReading.spool(try ArchiveReading.unpacked(source), into: store, interruption) { done in
        guard done >= next else { return }
        next = done + 8 << 20
        progress(.reading(reference.description, done: done))
      }
    }
    switch reference {
    case .archive(_, let path, _):
      // A pipe must not block the thread: it is waited for where it is read.
      let number = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
      guard number >= 0 else { throw .system("open", path) }
      return try read(FileDescriptor(number), path, interruption, spool)
    case .standardInput:
      guard isatty(0) == 0 else {
        throw ImageError(
          .invalidReference, "it is a terminal", advice: "pipe an archive in: docker save NAME | ignite image import -")
      }
      let number = fcntl(0, F_DUPFD_CLOEXEC, 0)
      guard number >= 0 else { throw .system("read", "it") }
      return try read(FileDescriptor(number), "standard input", interruption, spool)
    case .dockerDaemon(let image):
      return try spool(try DockerDaemon(environment: environment).save(image, interruption))
    case .registry, .layout:
      throw ImageError(.unsupported, "it is no archive")
    }
  }

  /// Indexes a plain file that begins here; spools all else.
  private static func read(
    _ descriptor: FileDescriptor, _ path: String, _ interruption: StreamInterruption,
    _ spool: (any ByteSource) throws(ImageError) -> ArchiveTable
  ) throws(ImageError) -> ArchiveTable {
    var status = stat()
    if fstat(descriptor.number, &status) != 0 { throw .system("read", path) }
    switch status.st_mode & S_IFMT {
    case S_IFREG where lseek(descriptor.number, 0, Int32(SEEK_CUR)) == 0:
      var head = [UInt8](repeating: 0, count: Compression.magicLength)
      let count = head.withUnsafeMutableBytes { pread(descriptor.number, $0.baseAddress, $0.count, 0) }
      if count < 0 { throw .system("read", path) }
      guard count > 0 else { throw ImageError(.corrupt, "the archive is empty") }
      guard Compression.detect(head) == .none else { break }
      let file: LayoutFile
      do throws(OCIError) {
        file = try LayoutFile(descriptor: descriptor.release(), path: path)
      } catch {
        throw ImageError(error)
      }
      return try ArchiveReading.index(file, interruption)
    case S_IFDIR:
      throw ImageError(.corrupt, "it is a directory, not an archive", advice: "name an OCI image layout as oci:DIR")
    default: break
    }
    return try spool(DescriptorByteSource(descriptor, name: path, interruption))
  }
}
