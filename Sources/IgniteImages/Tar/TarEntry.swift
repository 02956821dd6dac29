/// A moment, as file systems keep it.
public struct FileTime: Sendable, Hashable, Comparable {
  /// Seconds since 1970-01-01T00:00:00Z; negative before.
  public var seconds: Int64
  /// Nanoseconds after `seconds`: 0 to 999,999,999.
  public var nanoseconds: UInt32

  public init(seconds: Int64 = 0, nanoseconds: UInt32 = 0) {
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  public static func < (a: FileTime, b: FileTime) -> Bool {
    a.seconds == b.seconds ? a.nanoseconds < b.nanoseconds : a.seconds < b.seconds
  }
}

/// One extended attribute of a file, such as `security.capability`.
public struct ExtendedAttribute: Sendable, Hashable {
  /// The full name, namespace included; it need not be UTF-8.
  public var name: [UInt8]
  public var value: [UInt8]

  public init(name: [UInt8], value: [UInt8]) {
    self.name = name
    self.value = value
  }

  public init(_ name: String, _ value: [UInt8]) {
    self.init(name: Array(name.utf8), value: value)
  }
}

/// What a file system keeps of a file beside its name and its data.
public struct FileAttributes: Sendable, Hashable {
  /// Permissions, set-user-ID, set-group-ID and sticky bit: the lower 12 bits.
  public var mode: UInt16
  public var uid: UInt32
  public var gid: UInt32
  public var modified: FileTime
  public var extendedAttributes: [ExtendedAttribute]

  public init(
    mode: UInt16, uid: UInt32 = 0, gid: UInt32 = 0, modified: FileTime = FileTime(),
    extendedAttributes: [ExtendedAttribute] = []
  ) {
    self.mode = mode
    self.uid = uid
    self.gid = gid
    self.modified = modified
    self.extendedAttributes = extendedAttributes
  }
}

/// A run of stored bytes within a sparse file; all bytes outside of such runs are zero.
public struct TarSegment: Sendable, Hashable {
  /// Where the run begins in the file, in bytes.
  public var offset: UInt64
  /// How many bytes it has.
  public var length: UInt64
}

/// One member of a tar archive, with everything that extension headers said of it worked in.
public struct TarEntry: Sendable {
  /// What kind of file a member is.
  public enum Kind: Sendable, Hashable {
    case file, hardLink, symbolicLink, directory, fifo
    case characterDevice, blockDevice
  }

  /// The name as stored, neither cleaned nor checked; it need not be UTF-8 and may hold `..`.
  public var path: [UInt8]
  public var kind: Kind
  public var attributes: FileAttributes
  /// Where a link points to, as stored; empty for all but links.
  public var linkTarget: [UInt8] = []
  /// The length of the file's content in bytes, holes included.
  public var size: UInt64 = 0
  /// Where a sparse file has data, in ascending order; nil when the file is stored whole.
  public var segments: [TarSegment]?
  /// A device's major and minor number.
  public var deviceMajor: UInt32 = 0
  public var deviceMinor: UInt32 = 0

  public init(path: [UInt8], kind: Kind, attributes: FileAttributes) {
    self.path = path
    self.kind = kind
    self.attributes = attributes
  }

  /// The name for people: invalid UTF-8 and control characters replaced, and cut after 200 bytes.
  public var displayPath: String { displayName(path) }
}

/// A name from an archive made safe to print: one line, no control characters, at most 200 bytes of it.
func displayName(_ bytes: some Collection<UInt8>) -> String {
  let text = String(decoding: bytes.prefix(200), as: UTF8.self)
  var safe = ""
  for scalar in text.unicodeScalars {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: safe.unicodeScalars.append("\u{FFFD}")
    default: safe.unicodeScalars.append(scalar)
    }
  }
  return bytes.count > 200 ? safe + "…" : safe
}

/// What a tar archive may hold; beyond it reading ends with `limitExceeded`.
public struct TarLimits: Sendable, Hashable, Codable {
  /// Members of one archive.
  public var entries: UInt64 = 10_000_000
  /// Bytes of a name or of a link's target.
  public var nameBytes = 4096
  /// Bytes of one block of extension records.
  public var extensionBytes = 1 << 20
  /// Bytes of one extended attribute's value.
  public var attributeBytes = 64 << 10
  /// Bytes of one file, holes included.
  public var fileBytes: UInt64 = 1 << 40
  /// Data runs of one sparse file.
  public var segments = 1 << 20

  public init() {}
}
