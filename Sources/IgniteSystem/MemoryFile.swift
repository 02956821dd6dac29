internal import CIgniteSystem
internal import Glibc

/// Files that are in memory only, by memfd_create(2).
public enum MemoryFile {
  /// An empty one. Its mode lets every user who has a descriptor open it anew.
  public static func make(_ name: String) throws(SystemError) -> FileDescriptor {
    FileDescriptor(Int32(try retrying("memfd_create") { Int(ignite_memory_file(name)) }))
  }

  /// Has nobody change its content, size or seals any more, whoever holds a descriptor. Refused (EBUSY) while it is
  /// mapped for writing.
  public static func seal(_ file: FileDescriptor) throws(SystemError) {
    try retrying("seal the memory") { Int(ignite_seal(file.number)) }
  }

  /// Whether it is one that `seal` has sealed.
  public static func isSealed(_ file: FileDescriptor) -> Bool { ignite_is_sealed(file.number) != 0 }
}

extension UnixSocket {
  /// Passes a descriptor on with a message of at least a byte; it stays the caller's too.
  public static func send(
    _ descriptor: FileDescriptor, with message: [UInt8], over socket: FileDescriptor
  ) throws(SystemError) {
    try retrying("pass a descriptor on") {
      Int(ignite_send_descriptor(socket.number, descriptor.number, message, message.count))
    }
  }

  /// Takes a descriptor that the other end passes on, and the first `limit` bytes of its message, waiting for it.
  /// Blocking.
  public static func receiveDescriptor(
    from socket: FileDescriptor, limit: Int, timeout milliseconds: Int32
  ) throws(SystemError) -> (descriptor: FileDescriptor, message: [UInt8]) {
    var entry = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
    let count = try retrying("wait for a descriptor") { Int(poll(&entry, 1, milliseconds)) }
    if count == 0 { throw SystemError("wait for a descriptor", code: ETIMEDOUT) }
    var message = [UInt8](repeating: 0, count: limit)
    var received = 0
    let number = try retrying("take a descriptor") {
      Int(ignite_receive_descriptor(socket.number, &message, limit, &received))
    }
    return (FileDescriptor(Int32(number)), Array(message.prefix(received)))
  }
}
