import CGuest

/// Who a process runs as.
struct Identity {
  var user: UInt32 = 0
  var group: UInt32 = 0
  var groups: [UInt32] = []
  var home: Bytes = Bytes("/".utf8)
}

/// Finds `user[:group]` of an image's configuration in its /etc/passwd and /etc/group, with docker's rules: numbers need
/// no entry; a name without a group brings the user's supplementary groups.
enum Users {
  private static let fileLimit = 4 << 20
  private static let largestID: UInt64 = 0x7FFF_FFFF

  static func resolve(_ specification: Bytes) throws(GuestError) -> Identity {
    let parts = specification.split(separator: 58, maxSplits: 1, omittingEmptySubsequences: false)
    let userName = parts.first ?? []
    let groupName = parts.count > 1 ? parts[1] : []
    var identity = Identity()
    var matchedName = Bytes()

    let number = decimal(userName.isEmpty ? [48] : userName)
    if let entry = findUser(name: userName, number: number) {
      guard entry.count >= 4, let user = id(entry[2]), let group = id(entry[3]) else {
        throw GuestError("unable to find user " + text(Bytes(userName)) + ": its line in passwd file is malformed")
      }
      identity.user = user
      identity.group = group
      if entry.count > 5, !entry[5].isEmpty { identity.home = Bytes(entry[5]) }
      matchedName = Bytes(entry[0])
    } else {
      guard let number else {
        throw GuestError("unable to find user " + text(Bytes(userName)) + ": no matching entries in passwd file")
      }
      identity.user = try inRange(number)
    }
    if !groupName.isEmpty {
      identity.group = try findGroup(groupName)
    } else if !matchedName.isEmpty {
      identity.groups = supplementaryGroups(of: matchedName)
    }
    if !identity.groups.contains(identity.group) { identity.groups.insert(identity.group, at: 0) }
    return identity
  }

  /// The name of a user's number; nil where the image has none.
  static func name(of number: Bytes) -> Bytes? {
    findUser(name: [], number: decimal(number[...])).map { Bytes($0[0]) }
  }

  private static func inRange(_ number: UInt64) throws(GuestError) -> UInt32 {
    guard number <= largestID else { throw GuestError("uids and gids must be in range 0-2147483647") }
    return UInt32(number)
  }

  private static func id(_ field: Bytes.SubSequence) -> UInt32? {
    guard let number = decimal(field), number <= largestID else { return nil }
    return UInt32(number)
  }

  private static func findUser(name: Bytes.SubSequence, number: UInt64?) -> [Bytes.SubSequence]? {
    var found: [Bytes.SubSequence]?
    lines(of: "/etc/passwd") { fields in
      guard fields.count >= 4, number == nil ? fields[0] == name : decimal(fields[2]) == number else { return true }
      found = fields
      return false
    }
    return found
  }

  private static func findGroup(_ name: Bytes.SubSequence) throws(GuestError) -> UInt32 {
    if let number = decimal(name) { return try inRange(number) }
    var found: UInt32?
    lines(of: "/etc/group") { fields in
      guard fields.count >= 3, fields[0] == name, let group = id(fields[2]) else { return true }
      found = group
      return false
    }
    guard let found else {
      throw GuestError("unable to find group " + text(Bytes(name)) + ": no matching entries in group file")
    }
    return found
  }

  private static func supplementaryGroups(of user: Bytes) -> [UInt32] {
    var groups: [UInt32] = []
    lines(of: "/etc/group") { fields in
      guard fields.count >= 4, let group = id(fields[2]) else { return true }
      for member in fields[3].split(separator: 44) where member.elementsEqual(user) && groups.count < 65_536 {
        groups.append(group)
        break
      }
      return true
    }
    return groups
  }

  /// Gives each line's fields to `body` until it answers false; comments and empty lines are passed over.
  private static func lines(of path: String, _ body: ([Bytes.SubSequence]) -> Bool) {
    guard let file = File.read(path, limit: fileLimit) else { return }
    for line in file.split(separator: 10) where line.first != 35 {
      if !body(line.split(separator: 58, omittingEmptySubsequences: false)) { return }
    }
  }
}
