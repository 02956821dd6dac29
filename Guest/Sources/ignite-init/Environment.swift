import CGuest
import IgniteWire

/// The variables that a process gets beside its own, as docker does it.
enum Environment {
  private static let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

  static func complete(_ request: ProcessRequest, home: Bytes) -> [Bytes] {
    var environment = request.environment
    if value("PATH", environment) == nil { environment.append(Bytes(("PATH=" + defaultPath).utf8)) }
    if value("HOSTNAME", environment) == nil, let name = File.read("/proc/sys/kernel/hostname", limit: 65) {
      environment.append(Bytes("HOSTNAME=".utf8) + name.prefix { $0 > 32 })
    }
    if request.tty, value("TERM", environment) == nil { environment.append(Bytes("TERM=xterm".utf8)) }
    if request.setHome, value("HOME", environment) == nil { environment.append(Bytes("HOME=".utf8) + home) }
    return environment
  }

  static func searchPath(_ environment: [Bytes]) -> Bytes { value("PATH", environment) ?? Bytes(defaultPath.utf8) }

  private static func value(_ name: StaticString, _ environment: [Bytes]) -> Bytes? {
    name.withUTF8Buffer { name in
      for variable in environment
      where variable.count > name.count && variable[name.count] == 61 && variable.starts(with: name) {
        return Bytes(variable.dropFirst(name.count + 1))
      }
      return nil
    }
  }
}

/// A NULL-terminated array of C strings, as execve takes it.
final class CStrings {
  let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private let storage: UnsafeMutablePointer<CChar>

  init(_ strings: [Bytes]) throws(GuestError) {
    var size = 0
    for string in strings {
      if string.contains(0) { throw GuestError("an argument or a variable contains a zero byte") }
      size += string.count + 1
    }
    pointer = .allocate(capacity: strings.count + 1)
    storage = .allocate(capacity: size + 1)
    var next = storage
    for (index, string) in strings.enumerated() {
      pointer[index] = next
      for byte in string {
        next.pointee = CChar(bitPattern: byte)
        next += 1
      }
      next.pointee = 0
      next += 1
    }
    pointer[strings.count] = nil
  }

  deinit {
    pointer.deallocate()
    storage.deallocate()
  }
}
