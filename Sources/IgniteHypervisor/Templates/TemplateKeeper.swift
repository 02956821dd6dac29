internal import Glibc
internal import IgniteSystem

/// The process that holds a template's memory, sealed, for clones that run as other users: `ignite-spawn --keep`.
///
/// As root only. Each connection is a lease; without one it ends after a while.
public enum TemplateKeeper {
  /// What a keeper's command line says.
  struct Arguments {
    var directory: String
    var key: TemplateKey
    var socket: String
    var lock: String
    var idle: Int64

    var words: [String] { ["ignite-spawn", "--keep", directory, key.hex, socket, lock, String(idle)] }

    init(store: TemplateStore, key: TemplateKey) {
      directory = store.path(key)
      self.key = key
      socket = store.runPath(key, "sock")
      lock = store.runPath(key, "lock")
      idle = store.keepIdle
    }

    init?(_ words: [String]) {
      guard words.count == 6, words[0] == "--keep", let key = TemplateKey(words[2]), let idle = Int64(words[5]),
        idle > 0
      else { return nil }
      directory = words[1]
      self.key = key
      socket = words[3]
      lock = words[4]
      self.idle = idle
    }
  }

  // MARK: For who wants the memory

  /// The memory from its keeper, who is started where there is none.
  /// - Throws: `damaged` where the memory is not what was saved; all else says that there is no keeper to be had.
  static func memory(
    of record: TemplateRecord, store: TemplateStore, program: String
  ) throws(HypervisorError) -> (memory: FileDescriptor, lease: FileDescriptor) {
    store.makeRunDirectory()
    let arguments = Arguments(store: store, key: record.key)
    var failure = "it does not answer"
    // A keeper that is about to end may refuse; the next one does not.
    for attempt in 0..<3 {
      if let held = answer(arguments.socket, record) { return held }
      if attempt < 2, let reason = try start(arguments, program: program) { failure = reason }
    }
    throw HypervisorError(.startFailed, "the keeper of the template \(record.key.short) cannot be had: \(failure)")
  }

  /// What a keeper passes on: nil without one, or where it has the memory of another template (one that was removed, and
  /// made again under the same key, say).
  private static func answer(
    _ socket: String, _ record: TemplateRecord
  ) -> (memory: FileDescriptor, lease: FileDescriptor)? {
    guard let lease = try? UnixSocket.connect(socket), UnixSocket.peerUserID(lease.number) == getuid(),
      let (memory, digest) = try? UnixSocket.receiveDescriptor(from: lease, limit: 128, timeout: 5000),
      digest == Array(record.memoryDigest.utf8), MemoryFile.isSealed(memory)
    else { return nil }
    return (memory, lease)
  }

  /// Starts a keeper, and waits until it has the memory.
  /// - Returns: why it has not; nil where it has, or where another one was faster.
  private static func start(_ arguments: Arguments, program: String) throws(HypervisorError) -> String? {
    let said: String
    do throws(SystemError) {
      let pipe = try FileDescriptor.pipe()
      let process = try launch(
        LaunchRequest(
          executable: program, arguments: arguments.words, environment: ["PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"],
          descriptors: [.init(source: pipe.write.number, place: 3)], newSession: true, workingDirectory: "/",
          limits: [.noCore, .openFiles(65_536)]))
      pipe.write.close()
      withExtendedLifetime(process) {}
      var entry = pollfd(fd: pipe.read.number, events: Int16(POLLIN), revents: 0)
      let ready = try retrying("wait for the keeper") { Int(poll(&entry, 1, 30_000)) }
      if ready == 0 { throw SystemError("wait for the keeper", code: ETIMEDOUT) }
      var buffer = [UInt8](repeating: 0, count: 1024)
      let count = try retrying("hear of the keeper") { read(pipe.read.number, &buffer, buffer.count) }
      said = String(decoding: buffer.prefix(count), as: UTF8.self)
    } catch {
      return error.message
    }
    if said.hasPrefix("damaged: ") { throw .damaged(String(said.dropFirst(9))) }
    return said.hasPrefix("failed: ") ? String(said.dropFirst(8)) : nil
  }

  /// A template's keeper, and how many hold on to its memory; nil without one.
  static func running(_ key: TemplateKey, store: TemplateStore) -> (pid: Int32, leases: Int)? {
    let path = store.runPath(key, "lock")
    guard FileLock.isHeld(path), let text = try? SmallFile.read(path, limit: 64) else { return nil }
    let numbers = String(decoding: text, as: UTF8.self).split { $0 == " " || $0 == "\n" }.map { Int32($0) }
    guard numbers.count == 2, let pid = numbers[0], let leases = numbers[1] else { return nil }
    return (pid, Int(leases))
  }

  // MARK: The keeper itself

  /// Whether these are a keeper's arguments.
  public static func isWanted(_ words: [String]) -> Bool { words.first == "--keep" }

  /// Is the keeper, until nobody needs it. Descriptor 3 is the pipe to who started it. Blocking.
  public static func run(_ words: [String]) -> Int32 {
    let told = FileDescriptor(3)
    guard let arguments = Arguments(words), fcntl(3, F_SETFD, FD_CLOEXEC) == 0 else { return 1 }
    do throws(HypervisorError) {
      guard let lock = try system({ () throws(SystemError) in try PassingLock.take(arguments.lock) }) else {
        // Another one is at it: who started us waits for its socket.
        return waitForOther(arguments)
      }
      defer { lock.release() }
      // What an earlier one said of itself.
      _ = ftruncate(lock.descriptor.number, 0)
      let held = try load(arguments)
      unlink(arguments.socket)
      let listener = try system { () throws(SystemError) in try UnixSocket.listen(arguments.socket) }
      write(leases: 0, to: lock)
      tell(told, "ready")
      told.close()
      serve(arguments, held, listener, lock)
      unlink(arguments.socket)
      return 0
    } catch {
      tell(told, (error.code == .damaged ? "damaged: " : "failed: ") + error.message)
      return 1
    }
  }

  /// Until the other one listens, or has ended. Blocking: this process has nothing else to do.
  private static func waitForOther(_ arguments: Arguments) -> Int32 {
    for _ in 0..<1000 {
      if (try? UnixSocket.connect(arguments.socket)) != nil { return 0 }
      if let lock = try? PassingLock.take(arguments.lock) {
        lock.release()
        return 1
      }
      usleep(10_000)
    }
    return 1
  }

  private static func tell(_ pipe: FileDescriptor, _ word: String) {
    _ = Array(word.utf8).withUnsafeBytes { Glibc.write(pipe.number, $0.baseAddress, $0.count) }
  }

  private static func system<Value>(
    _ body: () throws(SystemError) -> Value
  ) throws(HypervisorError) -> Value {
    do throws(SystemError) { return try body() } catch { throw HypervisorError(error) }
  }

  private struct Held {
    var memory: FileDescriptor
    var directory: TemplateDirectory
    /// Said to all who get the memory, so that they know whose it is.
    var digest: [UInt8]
  }

  /// The memory, checked as it is read, and sealed.
  private static func load(_ arguments: Arguments) throws(HypervisorError) -> Held {
    guard let directory = try TemplateDirectory.open(arguments.directory, key: arguments.key) else {
      throw HypervisorError(.gone, "it was removed")
    }
    let record = try directory.record()
    let file = try directory.memory(record)
    let (memory, digest) = try system { () throws(SystemError) in
      let memory = try MemoryFile.make("ignite-template")
      return (memory, try TemplateMemory.copy(file, to: memory))
    }
    guard digest == record.memoryDigest else { throw .damaged("its memory is not what was saved") }
    try system { () throws(SystemError) in try MemoryFile.seal(memory) }
    return Held(memory: memory, directory: directory, digest: Array(digest.utf8))
  }

  /// Until nobody has had a lease for long enough, or until the template is removed: clones have its memory mapped, and go
  /// on without a keeper.
  private static func serve(_ arguments: Arguments, _ held: Held, _ listener: FileDescriptor, _ lock: PassingLock) {
    // Some stay free: a connection that cannot be taken would wake this loop for ever.
    let mostLeases = openFiles() - 32
    let removal = watchRemoval(of: arguments.directory)
    var leases: [FileDescriptor] = []
    var idleSince = monotonicSeconds()
    while held.directory.isThere {
      let left = leases.isEmpty ? arguments.idle - (monotonicSeconds() - idleSince) : .max
      guard left > 0 else { return }
      let watched = [listener.number, removal?.number ?? -1] + leases.map(\.number)
      var entries = watched.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      // What is deleted where it lies, rather than renamed first, tells nobody for as long as it is held open here.
      _ = poll(&entries, nfds_t(entries.count), Int32(min(left, leases.isEmpty ? 2 : 60)) * 1000)
      if entries[1].revents != 0, let removal { drain(removal) }
      if !leases.isEmpty { idleSince = monotonicSeconds() }
      let before = leases.count
      // Nothing is ever said on a lease: what comes is its end.
      leases = zip(leases, entries.dropFirst(2)).filter { $1.revents == 0 }.map(\.0)
      if leases.count != before { write(leases: leases.count, to: lock) }
      guard entries[0].revents != 0, held.directory.isThere else { continue }
      while let socket = UnixSocket.accept(listener.number) {
        guard UnixSocket.peerUserID(socket.number) == getuid(), leases.count < mostLeases else { continue }
        leases.append(socket)
        // Before the answer, so that whoever has it is counted.
        write(leases: leases.count, to: lock)
        if (try? UnixSocket.send(held.memory, with: held.digest, over: socket)) == nil { leases.removeLast() }
      }
    }
  }

  /// Takes what it says off, so that it wakes this process once.
  private static func drain(_ watch: FileDescriptor) {
    var said = [UInt8](repeating: 0, count: 4096)
    while read(watch.number, &said, said.count) > 0 {}
  }

  private static func openFiles() -> Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: min(UInt64(limit.rlim_cur), 65_536))
  }

  /// Readable once the directory is renamed; nil where the system has no watch left.
  private static func watchRemoval(of directory: String) -> FileDescriptor? {
    let number = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
    guard number >= 0 else { return nil }
    let watch = FileDescriptor(number)
    return inotify_add_watch(number, directory, UInt32(IN_MOVE_SELF)) >= 0 ? watch : nil
  }

  /// For `template ls`; always of the same length, so that no reader sees a half.
  private static func write(leases: Int, to lock: PassingLock) {
    func padded(_ number: Int) -> String { String(repeating: " ", count: max(0, 10 - "\(number)".count)) + "\(number)" }
    let text = Array("\(padded(Int(getpid()))) \(padded(leases))\n".utf8)
    _ = pwrite(lock.descriptor.number, text, text.count, 0)
  }

  private static func monotonicSeconds() -> Int64 { Int64(Timeline.now() / 1_000_000_000) }
}
