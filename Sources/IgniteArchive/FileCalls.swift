internal import CIgniteArchive

/// An open descriptor, closed with its last use.
final class OpenFile {
  let number: Int32

  private init(_ number: Int32) { self.number = number }

  deinit { archive_close(number) }

  /// Takes over what a call has opened; throws what it failed with instead, told of `path`.
  static func take(_ result: Int32, _ path: [UInt8]) throws(ArchiveError) -> OpenFile {
    if result < 0 { throw ArchiveError(path, Int(result)) }
    return OpenFile(result)
  }

  /// The same, with an absent file as nil.
  static func takeIfThere(_ result: Int32, _ path: [UInt8]) throws(ArchiveError) -> OpenFile? {
    result == archive_no_entry ? nil : try take(result, path)
  }
}

typealias FileStatus = archive_status

extension archive_status {
  enum Kind { case file, directory, symbolicLink, characterDevice, blockDevice, fifo, socket }

  var kind: Kind {
    switch mode & 0o170000 {
    case 0o040000: .directory
    case 0o120000: .symbolicLink
    case 0o020000: .characterDevice
    case 0o060000: .blockDevice
    case 0o010000: .fifo
    case 0o140000: .socket
    default: .file
    }
  }

  var identity: FileIdentity { FileIdentity(device: device, inode: inode) }

  static func of(_ descriptor: Int32, _ path: [UInt8]) throws(ArchiveError) -> FileStatus {
    var status = FileStatus()
    let result = archive_status_of(descriptor, &status)
    if result < 0 { throw ArchiveError(path, Int(result)) }
    return status
  }

  /// nil where there is nothing.
  static func at(_ directory: Int32, _ name: [UInt8], _ path: [UInt8]) throws(ArchiveError) -> FileStatus? {
    var status = FileStatus()
    let result = name.withCString { archive_status_at(directory, $0, &status) }
    if result == archive_no_entry { return nil }
    if result < 0 { throw ArchiveError(path, Int(result)) }
    return status
  }
}

/// What tells a file from all others.
struct FileIdentity: Hashable {
  var device: UInt64
  var inode: UInt64
}

/// Reads what a call writes into a buffer; nil where it failed, with its code in `code`.
func bytes(of size: Int, code: inout Int, _ call: (UnsafeMutablePointer<CChar>?, Int) -> Int) -> [UInt8]? {
  var result = 0
  let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
    result = buffer.withMemoryRebound(to: CChar.self) { call($0.baseAddress, size) }
    count = max(0, result)
  }
  code = result
  return result < 0 ? nil : bytes
}
