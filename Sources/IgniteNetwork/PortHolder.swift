internal import Glibc
internal import IgniteSystem

/// Who holds a port of the host, as far as /proc shows it to this user.
enum PortHolder {
  /// `nginx (process 812)`; nil where it cannot be found.
  static func find(port: UInt16, transport: PublishedPort.TransportProtocol) -> String? {
    var sockets: Set<String> = []
    for suffix in ["", "6"] {
      let table = HostHardware.text(of: "/proc/net/\(transport.rawValue)\(suffix)", limit: 1 << 20) ?? ""
      sockets.formUnion(inodes(in: table, port: port, transport: transport))
    }
    guard !sockets.isEmpty, let proc = opendir("/proc") else { return nil }
    defer { closedir(proc) }
    while let entry = readdir(proc) {
      let name = entryName(entry)
      guard let pid = Int32(name), holds(pid, sockets) else { continue }
      let command = HostHardware.text(of: "/proc/\(pid)/comm", limit: 64)?.split(separator: "\n").first
      return command.map { "\($0) (process \(pid))" } ?? "process \(pid)"
    }
    return nil
  }

  /// proc(5), /proc/net/tcp: field 2 is the local address and port in hexadecimal, 4 the state (0A: listening),
  /// 10 the inode.
  static func inodes(in table: String, port: UInt16, transport: PublishedPort.TransportProtocol) -> Set<String> {
    var found: Set<String> = []
    for line in table.split(separator: "\n").dropFirst() {
      let fields = line.split(separator: " ")
      guard fields.count > 9, let colon = fields[1].lastIndex(of: ":"),
        UInt16(fields[1][fields[1].index(after: colon)...], radix: 16) == port,
        transport == .udp || fields[3] == "0A"
      else { continue }
      found.insert("socket:[\(fields[9])]")
    }
    return found
  }

  private static func holds(_ pid: Int32, _ sockets: Set<String>) -> Bool {
    guard let descriptors = opendir("/proc/\(pid)/fd") else { return false }
    defer { closedir(descriptors) }
    var buffer = [CChar](repeating: 0, count: 64)
    while let entry = readdir(descriptors) {
      let count = readlink("/proc/\(pid)/fd/\(entryName(entry))", &buffer, buffer.count)
      guard count > 0 else { continue }
      if sockets.contains(String(decoding: buffer[0..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)) {
        return true
      }
    }
    return false
  }

  private static func entryName(_ entry: UnsafeMutablePointer<dirent>) -> String {
    withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
  }
}
