internal import FoundationEssentials
internal import Glibc
public import IgniteSystem

/// The process that serves a VM's directories of the host: `ignite-spawn --share`. It starts a virtiofsd for each, and
/// another one whenever its machine has been started anew.
///
/// Descriptor 3 ends with the VM's supervisor, 4 and the following are listening sockets. As root its programs run with the
/// rights that virtiofsd keeps, for it makes files in the names of the guest's users; each sees its directory alone.
public enum ShareKeeper {
  /// A directory of the host.
  public struct Share: Codable, Sendable, Equatable {
    public var path: String
    public var readOnly: Bool

    public init(path: String, readOnly: Bool) {
      self.path = path
      self.readOnly = readOnly
    }
  }

  /// QEMU's own daemon, up to QEMU 7.2; the later one of its own package takes other arguments, and has not been tried.
  public static let program = "/usr/lib/qemu/virtiofsd"

  private static let life: Int32 = 3
  static let firstListener: Int32 = 4

  /// Starts one; returns once it runs.
  /// - Parameters:
  ///   - executable: this program.
  ///   - wrapper: a program with arguments that runs it, for a user who is not root.
  ///   - folder: where the sockets are, as a mark of whose it is.
  ///   - life: when its other end is closed, the keeper goes with the machine.
  ///   - messages: what the daemons say.
  public static func start(
    _ shares: [Share], executable: String, wrapper: [String], folder: String, life: FileDescriptor,
    listeners: [FileDescriptor], messages: FileDescriptor, cgroup: Cgroup?
  ) throws(SystemError) {
    var words = ["ignite-spawn", "--share", folder]
    for share in shares { words += [share.readOnly ? "ro" : "rw", share.path] }
    if !wrapper.isEmpty { words = wrapper + [executable] + words.dropFirst() }
    var request = LaunchRequest(
      executable: wrapper.first ?? executable, arguments: words,
      environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"], standardError: messages.number,
      descriptors: [.init(source: life.number, place: Self.life)], newSession: true, workingDirectory: "/",
      cgroup: cgroup, limits: [.noCore])
    request.keepsRights = true
    for (index, listener) in listeners.enumerated() {
      request.descriptors.append(.init(source: listener.number, place: firstListener + Int32(index)))
    }
    _ = try launch(request)
  }

  public static func isWanted(_ arguments: [String]) -> Bool { arguments.first == "--share" }

  private struct Server {
    let share: Share
    let listener: Int32
    var process: LaunchedProcess?
    /// Those that ended at once, one after the other.
    var failures = 0
    var startedAt: UInt64 = 0
  }

  /// Serves until the VM has ended; the process's exit status. Blocking, on one thread.
  public static func run(_ arguments: [String]) -> Int32 {
    guard arguments.count >= 4, arguments.count % 2 == 0, fcntl(life, F_SETFD, FD_CLOEXEC) == 0 else { return 1 }
    var servers: [Server] = []
    for index in stride(from: 2, to: arguments.count, by: 2) {
      let listener = firstListener + Int32(servers.count)
      // Its daemon waits in accept(2).
      guard fcntl(listener, F_GETFD) >= 0, fcntl(listener, F_SETFL, 0) == 0 else { return 1 }
      servers.append(
        Server(share: Share(path: arguments[index + 1], readOnly: arguments[index] == "ro"), listener: listener))
    }
    do throws(SystemError) {
      try MountNamespace.enterOwn()
      for server in servers where server.share.readOnly { try MountNamespace.makeReadOnly(server.share.path) }
      for index in servers.indices { try start(&servers[index]) }
      try serve(&servers)
      return 0
    } catch {
      say(userMessage(error))
      for server in servers { shutdown(server.listener, Int32(SHUT_RDWR)) }
      return 1
    }
  }

  private static func start(_ server: inout Server) throws(SystemError) {
    server.startedAt = Timeline.now()
    var request = LaunchRequest(
      executable: program,
      arguments: [
        program, "-f", "--fd=3", "--rlimit-nofile=0", "-o", "source=\(server.share.path)", "-o", "cache=auto", "-o",
        "xattr", "-o", "announce_submounts", "-o", "log_level=err",
      ], environment: ["PATH": "/usr/bin:/bin"], standardError: 2,
      descriptors: [.init(source: server.listener, place: 3)], workingDirectory: "/", limits: [.noCore])
    request.keepsRights = true
    server.process = try launch(request)
  }

  private static func serve(_ servers: inout [Server]) throws(SystemError) {
    var isLast = false
    while servers.contains(where: { $0.process != nil }) {
      var polled = servers.map { pollfd(fd: $0.process?.pollable ?? -1, events: Int16(POLLIN), revents: 0) }
      polled.append(pollfd(fd: isLast ? -1 : life, events: Int16(POLLIN), revents: 0))
      _ = poll(&polled, nfds_t(polled.count), -1)
      if !isLast, polled[servers.count].revents != 0 {
        isLast = true
        // Those that wait for a machine end by it; those that serve one end with it.
        for server in servers { shutdown(server.listener, Int32(SHUT_RDWR)) }
      }
      for index in servers.indices {
        guard let process = servers[index].process, let end = process.reap() else { continue }
        servers[index].process = nil
        if isLast { continue }
        let lived = Timeline.now() - servers[index].startedAt
        servers[index].failures = lived < 1_000_000_000 && end != .exited(0) ? servers[index].failures + 1 : 0
        guard servers[index].failures < 5 else {
          say("the daemon for \(servers[index].share.path) ends as soon as it is started")
          shutdown(servers[index].listener, Int32(SHUT_RDWR))
          continue
        }
        try start(&servers[index])
      }
    }
  }

  private static func say(_ line: String) {
    let bytes = Array("ignite: \(line)\n".utf8)
    _ = write(2, bytes, bytes.count)
  }
}
