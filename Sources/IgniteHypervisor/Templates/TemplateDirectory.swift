internal import Glibc
internal import IgniteSystem

/// A template's directory, held open: its files are those of one and the same template even where it is removed and made
/// again meanwhile.
struct TemplateDirectory {
  let key: TemplateKey
  private let path: String
  private let descriptor: FileDescriptor

  /// nil where there is none.
  static func open(_ path: String, key: TemplateKey) throws(HypervisorError) -> TemplateDirectory? {
    do throws(SystemError) {
      let descriptor = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
      return TemplateDirectory(key: key, path: path, descriptor: descriptor)
    } catch {
      if error.code == ENOENT { return nil }
      throw error.code == ENOTDIR || error.code == ELOOP
        ? .damaged("it is not a directory") : HypervisorError(error)
    }
  }

  /// Whether it is in its place still, and no other.
  var isThere: Bool {
    var here = stat()
    var there = stat()
    return fstat(descriptor.number, &here) == 0 && lstat(path, &there) == 0 && here.st_ino == there.st_ino
      && here.st_dev == there.st_dev
  }

  func record() throws(HypervisorError) -> TemplateRecord { try TemplateRecord.read(place(""), key: key) }

  /// The devices' state, checked.
  func state(_ record: TemplateRecord) throws(HypervisorError) -> FileDescriptor {
    let changed = HypervisorError.damaged("the state of its devices is not what was saved")
    guard let file = try? FileDescriptor.open(place("/state"), O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else {
      throw changed
    }
    // One byte more than there should be, so that a longer one shows.
    var bytes = [UInt8](repeating: 0, count: record.stateBytes + 1)
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeMutableBytes {
        pread(file.number, $0.baseAddress.map { $0 + done }, $0.count - done, off_t(done))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      done += count
    }
    guard done == record.stateBytes, TemplateDigest.of(Array(bytes[..<done])) == record.stateDigest else {
      throw changed
    }
    return file
  }

  /// The memory's file, of the right size; its content is not checked.
  func memory(_ record: TemplateRecord) throws(HypervisorError) -> FileDescriptor {
    let file: FileDescriptor
    do throws(SystemError) {
      file = try FileDescriptor.open(place("/ram"), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    } catch {
      throw .damaged("its memory cannot be read: \(SystemError.text(of: error.code))")
    }
    var info = stat()
    guard fstat(file.number, &info) == 0, info.st_mode & S_IFMT == S_IFREG,
      UInt64(max(0, info.st_size)) == record.identity.memoryBytes
    else { throw .damaged("its memory does not have its size") }
    return file
  }

  func markUsed() { utimensat(AT_FDCWD, place("/used"), nil, 0) }

  private func place(_ name: String) -> String { "/proc/self/fd/\(descriptor.number)\(name)" }
}
