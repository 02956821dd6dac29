internal import Glibc

/// Says that something happened to files or directories (inotify(7)); what, the caller looks for himself.
public final class FileWatch: Sendable {
  /// What is waited for.
  public enum Interest: Sendable {
    /// A file is written to, or cut short.
    case content
    /// Names come into a directory, or go from it.
    case names
    /// Anything happens to a directory or to what is right in it, but its being read.
    case everything

    fileprivate var mask: UInt32 {
      switch self {
      case .content: UInt32(IN_MODIFY)
      case .names: UInt32(IN_CREATE) | UInt32(IN_DELETE) | UInt32(IN_MOVED_TO) | UInt32(IN_MOVED_FROM)
      case .everything:
        UInt32(IN_MODIFY) | UInt32(IN_ATTRIB) | UInt32(IN_CLOSE_WRITE) | UInt32(IN_CREATE) | UInt32(IN_DELETE)
          | UInt32(IN_MOVED_TO) | UInt32(IN_MOVED_FROM) | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF)
      }
    }
  }

  /// A value after something happened; what happens before it is taken is one with it.
  public let changes: AsyncStream<Void>
  private let descriptor: FileDescriptor
  private let loop: EventLoop

  public init() throws(SystemError) {
    let number = Int32(try retrying("inotify_init1") { Int(inotify_init1(Int32(O_CLOEXEC | O_NONBLOCK))) })
    let descriptor = FileDescriptor(number)
    let (changes, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let loop = try EventLoop(name: "ignite-watch")
    self.descriptor = descriptor
    self.changes = changes
    self.loop = loop
    loop.submit {
      try? loop.watch(descriptor.number, for: .read) { _ in
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while read(descriptor.number, &buffer, buffer.count) > 0 {}
        continuation.yield()
      }
    }
  }

  deinit { loop.stop() }

  /// Watches a path, or goes on to; a path that is not there is none, and one that goes is forgotten.
  ///
  /// - Throws: SystemError, as where the user has no watches left (`fs.inotify.max_user_watches`).
  public func watch(_ path: String, for interest: Interest) throws(SystemError) {
    if inotify_add_watch(descriptor.number, path, interest.mask) < 0, errno != ENOENT {
      throw SystemError("watch \(path)", advice: "raise the sysctl fs.inotify.max_user_watches")
    }
  }
}
