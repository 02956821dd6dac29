/// What makes a booted kernel this VM: sent once, before any process is started.
public struct Configuration: Sendable {
  /// The host name; at most 64 bytes.
  public var hostname: String = ""
  /// 32 lower-case hex digits for /etc/machine-id, where the image has none of its own.
  public var machineID: String = ""
  /// Nanoseconds since 1970, the host's clock at sending.
  public var wallClock: UInt64 = 0
  /// Credited to the generator before anything reads it; 32 to 512 bytes.
  public var entropy: [UInt8] = []
  /// Device names below /dev: the image's read-only base disk, the VM's writable disk, the kernel's modules (may be empty).
  public var baseDevice = "vda"
  public var writableDevice = "vdb"
  public var modulesDevice = ""
  /// The Ethernet address of the one interface, aa:bb:cc:dd:ee:ff; empty without a network.
  public var macAddress = ""
  /// The interface's IPv4 address with its prefix, a.b.c.d/n; empty without a network.
  public var address = ""
  /// The default route's gateway, a.b.c.d; may be empty.
  public var gateway = ""
  /// Bytes; 0 leaves the kernel's.
  public var mtu: UInt64 = 0
  /// Name servers for /etc/resolv.conf, search domains for its `search` line.
  public var nameServers: [String] = []
  public var searchDomains: [String] = []
  /// Lines for /etc/hosts beside the usual ones, `address name…` each.
  public var hosts: [String] = []
  /// In their order: outer ones before those inside them.
  public var mounts: [GuestMount] = []

  public init() {}

  private enum Field {
    static let hostname: UInt16 = 16
    static let machineID: UInt16 = 17
    static let wallClock: UInt16 = 18
    static let entropy: UInt16 = 19
    static let baseDevice: UInt16 = 20
    static let writableDevice: UInt16 = 21
    static let modulesDevice: UInt16 = 22
    static let macAddress: UInt16 = 23
    static let address: UInt16 = 24
    static let gateway: UInt16 = 25
    static let mtu: UInt16 = 26
    static let nameServer: UInt16 = 27
    static let searchDomain: UInt16 = 28
    static let host: UInt16 = 29
    static let mount: UInt16 = 30
  }

  private static let maximumListItems = 64

  /// - Parameter kind: `configure` or `prepare`.
  public func encoded(as kind: RequestKind = .configure) -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.kind, number: kind.rawValue)
    writer.put(Field.hostname, string: hostname)
    writer.put(Field.machineID, string: machineID)
    writer.put(Field.wallClock, number: wallClock)
    writer.put(Field.entropy, bytes: entropy)
    writer.put(Field.baseDevice, string: baseDevice)
    writer.put(Field.writableDevice, string: writableDevice)
    writer.put(Field.modulesDevice, string: modulesDevice)
    writer.put(Field.macAddress, string: macAddress)
    writer.put(Field.address, string: address)
    writer.put(Field.gateway, string: gateway)
    writer.put(Field.mtu, number: mtu)
    for item in nameServers { writer.put(Field.nameServer, string: item) }
    for item in searchDomains { writer.put(Field.searchDomain, string: item) }
    for item in hosts { writer.put(Field.host, string: item) }
    for mount in mounts { writer.put(Field.mount, bytes: mount.encoded()) }
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    self.init()
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      let text = field.string ?? ""
      switch field.tag {
      case Field.hostname: hostname = text
      case Field.machineID: machineID = text
      case Field.wallClock: wallClock = try field.number()
      case Field.entropy: entropy = field.bytes
      case Field.baseDevice: baseDevice = text
      case Field.writableDevice: writableDevice = text
      case Field.modulesDevice: modulesDevice = text
      case Field.macAddress: macAddress = text
      case Field.address: address = text
      case Field.gateway: gateway = text
      case Field.mtu: mtu = try field.number()
      case Field.nameServer: try Self.append(text, to: &nameServers, tag: field.tag)
      case Field.searchDomain: try Self.append(text, to: &searchDomains, tag: field.tag)
      case Field.host: try Self.append(text, to: &hosts, tag: field.tag)
      case Field.mount:
        guard mounts.count < Self.maximumListItems else { throw .malformed(tag: field.tag) }
        mounts.append(try GuestMount(decoding: field.bytes))
      default: break
      }
    }
  }

  private static func append(_ text: String, to list: inout [String], tag: UInt16) throws(MessageError) {
    guard list.count < maximumListItems else { throw .malformed(tag: tag) }
    list.append(text)
  }
}

// Text that is compared brings Unicode's tables along, which the guest's init does without.
#if !hasFeature(Embedded)
  extension Configuration: Equatable {}
#endif
