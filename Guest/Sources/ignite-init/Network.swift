import CGuest
import IgniteWire

/// The one interface and the loopback, by rtnetlink. IPv6 is left to the kernel.
enum Network {
  private struct Interface {
    var index: UInt32
    var address: Bytes
    var name: Bytes = []
  }

  private static let loopbackIndex: UInt32 = 1
  private static let up: UInt32 = 1

  /// What was set before the freeze.
  private struct Prepared {
    var interface: Interface
    var address: String
    var gateway: String
  }

  /// Unsafe: this program has one thread.
  nonisolated(unsafe) private static var prepared: Prepared?

  /// Brings the interface up before the freeze, with the address that clones will have. Its Ethernet address is its own
  /// still, so IPv6 is left without an address of its own until `finish`.
  static func prepare(_ configuration: Configuration) throws(GuestError) {
    guard !configuration.address.isEmpty else { return }
    let socket = try NetlinkSocket()
    try setLink(socket, loopbackIndex, mtu: 0, address: [])
    guard let interface = try interfaces(socket).first else { return }
    setAddressGeneration(of: interface, none: true)
    try setAddress(socket, interface, configuration, changed: [])
    prepared = Prepared(interface: interface, address: configuration.address, gateway: configuration.gateway)
  }

  static func configure(_ configuration: Configuration) throws(GuestError) {
    let socket = try NetlinkSocket()
    if let prepared {
      if prepared.address.utf8.elementsEqual(configuration.address.utf8),
        prepared.gateway.utf8.elementsEqual(configuration.gateway.utf8)
      {
        // With its address standing, the interface tells the network of its new Ethernet address.
        let wanted = try hardwareAddress(configuration.macAddress)
        return try setLink(socket, prepared.interface.index, mtu: UInt32(clamping: configuration.mtu), address: wanted)
      }
      let (address, prefix) = try addressWithPrefix(prepared.address)
      try changeAddress(socket, NetlinkMessage.Kind.deleteAddress, prepared.interface.index, address, prefix)
    } else {
      try setLink(socket, loopbackIndex, mtu: 0, address: [])
    }
    guard !configuration.address.isEmpty || !configuration.macAddress.isEmpty else { return }

    let wanted = try hardwareAddress(configuration.macAddress)
    let interfaces = try interfaces(socket)
    guard let interface = interfaces.first(where: { $0.address == wanted }) ?? interfaces.first else {
      throw GuestError("the VM has no network interface")
    }
    // A clone's state carries the template's address.
    let changed = wanted.isEmpty || wanted == interface.address ? [] : wanted
    guard !configuration.address.isEmpty else {
      return try setLink(socket, interface.index, mtu: UInt32(clamping: configuration.mtu), address: changed)
    }
    try setAddress(socket, interface, configuration, changed: changed)
  }

  /// What nobody waits for: the IPv6 address of the link, from the Ethernet address.
  static func finish() {
    guard let prepared else { return }
    setAddressGeneration(of: prepared.interface, none: false)
    self.prepared = nil
  }

  static var isUnfinished: Bool { prepared != nil }

  /// A kernel without IPv6 has no such setting.
  private static func setAddressGeneration(of interface: Interface, none: Bool) {
    // IN6_ADDR_GEN_MODE_NONE is 1, IN6_ADDR_GEN_MODE_EUI64 0.
    let path = "/proc/sys/net/ipv6/conf/" + text(interface.name) + "/addr_gen_mode"
    File.write(path, Bytes((none ? "1" : "0").utf8), flags: 0)
  }

  private static func setAddress(
    _ socket: borrowing NetlinkSocket, _ interface: Interface, _ configuration: Configuration, changed: Bytes
  ) throws(GuestError) {
    // The address stands before the link does, so that the kernel tells it to the network as the link comes up: passt
    // learns the guest's Ethernet address from the first frame, and drops what is published until then.
    File.write("/proc/sys/net/ipv4/conf/all/arp_notify", Bytes("1".utf8), flags: 0)
    let (address, prefix) = try addressWithPrefix(configuration.address)
    try changeAddress(socket, NetlinkMessage.Kind.newAddress, interface.index, address, prefix)
    try setLink(socket, interface.index, mtu: UInt32(clamping: configuration.mtu), address: changed)
    guard !configuration.gateway.isEmpty else { return }
    guard let gateway = IPv4.parse(Bytes(configuration.gateway.utf8)[...]) else {
      throw GuestError("the gateway's address is malformed: " + configuration.gateway)
    }
    try addDefaultRoute(socket, interface.index, gateway, onLink: !IPv4.same(address, gateway, prefix: prefix))
  }

  // MARK: - rtnetlink

  private static func interfaces(_ socket: borrowing NetlinkSocket) throws(GuestError) -> [Interface] {
    var found: [Interface] = []
    let message = NetlinkMessage(
      NetlinkMessage.Kind.getLink, flags: NetlinkMessage.Flag.dump, body: Bytes(repeating: 0, count: 16))
    try socket.dump(message, "list the interfaces") { slice in
      let bytes = Bytes(slice)
      guard bytes.count >= 32 else { return }
      // struct ifinfomsg: ARPHRD_ETHER is 1.
      guard read16(bytes, 18) == 1 else { return }
      var interface = Interface(index: read32(bytes, 20), address: [])
      var offset = 32
      while bytes.count - offset >= 4 {
        let length = Int(read16(bytes, offset))
        guard length >= 4, length <= bytes.count - offset else { break }
        let value = bytes[(offset + 4)..<(offset + length)]
        // IFLA_ADDRESS is 1, IFLA_IFNAME 3.
        if read16(bytes, offset + 2) == 1 { interface.address = Bytes(value) }
        if read16(bytes, offset + 2) == 3 { interface.name = Bytes(value.prefix { $0 != 0 }) }
        offset += (length + 3) & ~3
      }
      found.append(interface)
    }
    return found
  }

  private static func setLink(
    _ socket: borrowing NetlinkSocket, _ index: UInt32, mtu: UInt32, address: Bytes
  ) throws(GuestError) {
    // struct ifinfomsg: family, type, index, flags, change.
    let body = Bytes(repeating: 0, count: 4) + littleEndian(index) + littleEndian(up) + littleEndian(up)
    var message = NetlinkMessage(NetlinkMessage.Kind.setLink, flags: NetlinkMessage.Flag.acknowledge, body: body)
    if !address.isEmpty { message.put(1, address) }
    if mtu > 0 { message.put(4, number: mtu) }
    try socket.request(message, "bring up the interface")
  }

  private static func changeAddress(
    _ socket: borrowing NetlinkSocket, _ kind: UInt16, _ index: UInt32, _ address: Bytes, _ prefix: UInt8
  ) throws(GuestError) {
    // struct ifaddrmsg: AF_INET, prefix, flags, scope, index.
    let body: Bytes = [2, prefix, 0, 0] + littleEndian(index)
    let isNew = kind == NetlinkMessage.Kind.newAddress
    let flags = NetlinkMessage.Flag.acknowledge | (isNew ? NetlinkMessage.Flag.create | NetlinkMessage.Flag.replace : 0)
    var message = NetlinkMessage(kind, flags: flags, body: body)
    message.put(1, address)
    message.put(2, address)
    if prefix < 31 { message.put(4, IPv4.broadcast(address, prefix: prefix)) }
    try socket.request(message, isNew ? "set the address" : "take the template's address away")
  }

  private static func addDefaultRoute(
    _ socket: borrowing NetlinkSocket, _ index: UInt32, _ gateway: Bytes, onLink: Bool
  ) throws(GuestError) {
    // struct rtmsg: AF_INET, destination and source prefix, tos, table main, protocol boot, scope universe, unicast.
    let body: Bytes = [2, 0, 0, 0, 254, 3, 0, 1] + littleEndian(onLink ? 4 : 0)
    let flags = NetlinkMessage.Flag.acknowledge | NetlinkMessage.Flag.create | NetlinkMessage.Flag.replace
    var message = NetlinkMessage(NetlinkMessage.Kind.newRoute, flags: flags, body: body)
    message.put(5, gateway)
    message.put(4, number: index)
    try socket.request(message, "set the default route")
  }

  // MARK: - Addresses

  private static func hardwareAddress(_ text: String) throws(GuestError) -> Bytes {
    guard !text.isEmpty else { return [] }
    var address = Bytes()
    for part in Bytes(text.utf8).split(separator: 58, omittingEmptySubsequences: false) {
      guard part.count == 2, let byte = hexadecimal(part) else { break }
      address.append(byte)
    }
    guard address.count == 6 else { throw GuestError("the Ethernet address is malformed: " + text) }
    return address
  }

  private static func hexadecimal(_ digits: Bytes.SubSequence) -> UInt8? {
    var value: UInt8 = 0
    for digit in digits {
      switch digit {
      case 48...57: value = value << 4 | (digit - 48)
      case 65...70: value = value << 4 | (digit - 55)
      case 97...102: value = value << 4 | (digit - 87)
      default: return nil
      }
    }
    return value
  }

  private static func addressWithPrefix(_ text: String) throws(GuestError) -> (Bytes, UInt8) {
    let parts = Bytes(text.utf8).split(separator: 47, omittingEmptySubsequences: false)
    guard parts.count == 2, let address = IPv4.parse(parts[0]), let prefix = decimal(parts[1]), prefix <= 32 else {
      throw GuestError("the address is malformed: " + text)
    }
    return (address, UInt8(prefix))
  }
}

/// IPv4 addresses as four bytes.
enum IPv4 {
  static func parse(_ text: Bytes.SubSequence) -> Bytes? {
    var address = Bytes()
    for part in text.split(separator: 46, omittingEmptySubsequences: false) {
      guard let byte = decimal(part), byte <= 255, address.count < 4 else { return nil }
      address.append(UInt8(byte))
    }
    return address.count == 4 ? address : nil
  }

  static func broadcast(_ address: Bytes, prefix: UInt8) -> Bytes {
    var result = address
    for bit in Int(prefix)..<32 { result[bit / 8] |= 0x80 >> UInt8(bit % 8) }
    return result
  }

  static func same(_ first: Bytes, _ second: Bytes, prefix: UInt8) -> Bool {
    broadcast(first, prefix: prefix) == broadcast(second, prefix: prefix)
  }
}

/// A decimal number of at most ten digits.
func decimal(_ digits: Bytes.SubSequence) -> UInt64? {
  guard !digits.isEmpty, digits.count <= 10 else { return nil }
  var value: UInt64 = 0
  for digit in digits {
    guard digit >= 48, digit <= 57 else { return nil }
    value = value * 10 + UInt64(digit - 48)
  }
  return value
}
