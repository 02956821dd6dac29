internal import CIgniteArchive

/// Extended attributes that an archive carries: users' own, capabilities and access lists.
enum FileAttribute {
  private static func isCarried(_ name: ArraySlice<UInt8>) -> Bool {
    func begins(_ text: StaticString) -> Bool { text.withUTF8Buffer { name.starts(with: $0) } }
    return begins("user.") || begins("security.capability") || begins("system.posix_acl_")
  }

  static func isUsers(_ name: [UInt8]) -> Bool { name.starts(with: Array("user.".utf8)) }

  static func read(_ descriptor: Int32) -> [ArchiveEntry.Attribute] {
    // Most files have none, and a list of them costs one call.
    let size = archive_attributes(descriptor, nil, 0)
    guard size > 0, size <= ArchiveLimits.attributeBytes else { return [] }
    var code = 0
    guard let names = bytes(of: size, code: &code, { archive_attributes(descriptor, $0, $1) }) else { return [] }
    var attributes: [ArchiveEntry.Attribute] = []
    for name in names.split(separator: 0) where isCarried(name) {
      let value = [UInt8](name).withCString { name in
        bytes(of: ArchiveLimits.attributeBytes, code: &code) { archive_attribute(descriptor, name, $0, $1) }
      }
      if let value { attributes.append(ArchiveEntry.Attribute(name: [UInt8](name), value: value)) }
    }
    return attributes
  }

  static func write(_ attribute: ArchiveEntry.Attribute, _ descriptor: Int32) -> Int {
    Int(
      attribute.name.withCString { name in
        attribute.value.withUnsafeBytes { archive_set_attribute(descriptor, name, $0.baseAddress, $0.count) }
      })
  }
}
