// Packing and unpacking trees of files as tar streams, for `cp`: in the guest and on the host.
//
// This module is compiled twice, as IgniteWire is: no Foundation, no existentials, and every length is checked before
// anything is allocated for it.

internal import CIgniteArchive

/// Why a file could not be packed or unpacked, in one line.
public struct ArchiveError: Error, Sendable {
  public var text: String
  /// The archive itself cannot be written any further; else the matter is one file's.
  public var breaksArchive: Bool

  public init(_ text: String, breaksArchive: Bool = false) {
    self.text = text
    self.breaksArchive = breaksArchive
  }

  /// A system call on a file that failed with a negated errno.
  init(_ path: [UInt8], _ code: Int) {
    self.init(printable(path) + ": " + errorText(code))
  }
}

/// `permission denied` for -EACCES; abbreviations keep their capitals.
func errorText(_ code: Int) -> String {
  var bytes: [UInt8] = []
  var next = archive_error_text(Int32(truncatingIfNeeded: code))
  while let character = next, character.pointee != 0 {
    bytes.append(UInt8(bitPattern: character.pointee))
    next = character + 1
  }
  if bytes.count > 1, bytes[0] >= 65, bytes[0] <= 90, bytes[1] >= 97 { bytes[0] += 32 }
  return String(decoding: bytes, as: UTF8.self)
}

/// A name made safe for a message: no control characters, at most 300 bytes of it.
public func printable(_ name: [UInt8]) -> String {
  String(decoding: name.prefix(300).map { $0 < 32 || $0 == 127 ? 63 : $0 }, as: UTF8.self)
}

/// A run of stored bytes within a sparse file.
public struct ArchiveSegment: Equatable, Sendable {
  public var offset: UInt64
  public var length: UInt64

  public init(offset: UInt64, length: UInt64) {
    self.offset = offset
    self.length = length
  }
}

/// One member of an archive.
public struct ArchiveEntry: Equatable, Sendable {
  public enum Kind: UInt8, Sendable {
    // The type in a tar header.
    case file = 48
    case hardLink = 49
    case symbolicLink = 50
    case characterDevice = 51
    case blockDevice = 52
    case directory = 53
    case fifo = 54
  }

  public struct Attribute: Equatable, Sendable {
    public var name: [UInt8]
    public var value: [UInt8]

    public init(name: [UInt8], value: [UInt8]) {
      self.name = name
      self.value = value
    }
  }

  public var path: [UInt8]
  public var kind: Kind
  /// The lower twelve bits.
  public var mode: UInt32
  public var uid: UInt32 = 0
  public var gid: UInt32 = 0
  /// The content's length, holes included.
  public var size: UInt64 = 0
  /// Of the last change: seconds since 1970, nanoseconds after them.
  public var seconds: Int64 = 0
  public var nanoseconds: UInt32 = 0
  public var linkTarget: [UInt8] = []
  public var major: UInt32 = 0
  public var minor: UInt32 = 0
  public var attributes: [Attribute] = []
  /// Where a sparse file has data, in ascending order; nil when it is stored whole.
  public var segments: [ArchiveSegment]?

  public init(path: [UInt8], kind: Kind, mode: UInt32) {
    self.path = path
    self.kind = kind
    self.mode = mode
  }

  /// The bytes of content that follow the header, without padding.
  public var stored: UInt64 {
    guard kind == .file else { return 0 }
    guard let segments else { return size }
    return segments.reduce(0) { $0 + $1.length }
  }
}

/// The limits of an archive that both sides keep to.
public enum ArchiveLimits {
  /// Bytes of a path, its end included (PATH_MAX).
  public static let pathBytes = 4096
  /// Bytes of one name (NAME_MAX).
  public static let nameBytes = 255
  static let attributeBytes = 65_536
  static let extensionBytes = 1 << 20
  /// Pieces of data of one sparse file.
  public static let segments = 1 << 16
  static let fileBytes: UInt64 = 1 << 56
}

extension [UInt8] {
  /// Calls `body` with the bytes as a C string; what follows a zero byte is not seen.
  func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    var terminated = self
    terminated.append(0)
    return terminated.withUnsafeBytes { buffer in
      guard let base = buffer.bindMemory(to: CChar.self).baseAddress else { return body("") }
      return body(base)
    }
  }
}
