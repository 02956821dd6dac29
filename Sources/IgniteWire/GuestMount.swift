/// Something that the guest mounts in its root before any of the image's programs runs.
public struct GuestMount: Sendable {
  public enum Kind: UInt64, Sendable {
    /// A block device with a file system.
    case disk = 1
    /// A file system in memory.
    case memory = 2
    /// A directory of the host, by virtio-fs.
    case share = 3
  }

  public var kind: Kind
  /// The device's name below /dev, or the share's tag.
  public var source = ""
  /// Absolute, in the image's root; made where it is not there.
  public var target: [UInt8] = []
  public var readOnly = false
  /// An empty disk is given what the image has at the target.
  public var isFilled = false
  /// mount(2)'s MS_NOSUID, MS_NODEV and MS_NOEXEC.
  public var flags: UInt64 = 0
  /// What the file system itself understands.
  public var options = ""

  public init(_ kind: Kind) { self.kind = kind }

  private enum Field {
    static let kind: UInt16 = 1
    static let source: UInt16 = 2
    static let target: UInt16 = 3
    static let readOnly: UInt16 = 4
    static let isFilled: UInt16 = 5
    static let flags: UInt16 = 6
    static let options: UInt16 = 7
  }

  func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Field.kind, number: kind.rawValue)
    writer.put(Field.source, string: source)
    writer.put(Field.target, bytes: target)
    writer.put(Field.readOnly, flag: readOnly)
    writer.put(Field.isFilled, flag: isFilled)
    writer.put(Field.flags, number: flags)
    writer.put(Field.options, string: options)
    return writer.bytes
  }

  init(decoding payload: [UInt8]) throws(MessageError) {
    self.init(.disk)
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      switch field.tag {
      case Field.kind:
        guard let known = Kind(rawValue: try field.number()) else { throw .malformed(tag: field.tag) }
        kind = known
      case Field.source: source = field.string ?? ""
      case Field.target: target = field.bytes
      case Field.readOnly: readOnly = try field.flag()
      case Field.isFilled: isFilled = try field.flag()
      case Field.flags: flags = try field.number() & 0xe
      case Field.options: options = field.string ?? ""
      default: break
      }
    }
  }
}

// Text that is compared brings Unicode's tables along, which the guest's init does without.
#if !hasFeature(Embedded)
  extension GuestMount: Equatable {}
#endif
