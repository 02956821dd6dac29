/// Asks the guest for a file or a tree of files as an archive: tar, on the stream's standard output. What is said of files
/// that could not be read comes on its standard error, a line each. The exit is 0; 1 when files were left out; 2 when there
/// is no archive, or only a part of one.
public struct CopyOutRequest: Equatable, Sendable {
  /// In the VM; docker's rules for an ending in `/` or `/.`.
  public var path: [UInt8]
  /// Whether a symbolic link at the path's end is followed.
  public var followsLink: Bool

  public init(path: [UInt8], followsLink: Bool) {
    self.path = path
    self.followsLink = followsLink
  }

  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.kind, number: RequestKind.copyOut.rawValue)
    writer.put(16, bytes: path)
    writer.put(17, flag: followsLink)
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    self.init(path: [], followsLink: false)
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      switch field.tag {
      case 16: path = field.bytes
      case 17: followsLink = try field.flag()
      default: break
      }
    }
  }
}

/// Asks the guest to unpack an archive, which comes on the stream's standard input as Ignite itself writes it.
public struct CopyInRequest: Equatable, Sendable {
  /// The destination in the VM, as its user wrote it.
  public var path: [UInt8]
  /// The name of what is copied; empty when a directory's contents are. The archive's entries are named `.` and ``./…`.
  public var name: [UInt8] = []
  /// What is copied is a directory.
  public var isDirectory = false
  /// An archive of the user's own: its entries have their own names, and the destination has to be a directory.
  public var isArchive = false
  /// Owners, set-ID bits and attributes as the archive has them; else all is root's.
  public var keepsOwners = false
  /// Directories that are there stay as they are, whatever the archive says of them.
  public var keepsDirectories = false

  public init(path: [UInt8]) { self.path = path }

  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.kind, number: RequestKind.copyIn.rawValue)
    writer.put(16, bytes: path)
    writer.put(17, bytes: name)
    writer.put(18, flag: isDirectory)
    writer.put(19, flag: isArchive)
    writer.put(20, flag: keepsOwners)
    writer.put(21, flag: keepsDirectories)
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    self.init(path: [])
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      switch field.tag {
      case 16: path = field.bytes
      case 17: name = field.bytes
      case 18: isDirectory = try field.flag()
      case 19: isArchive = try field.flag()
      case 20: keepsOwners = try field.flag()
      case 21: keepsDirectories = try field.flag()
      default: break
      }
    }
  }
}
