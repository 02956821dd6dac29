import Glibc
import IgniteSystem
import Testing

@testable import IgniteHypervisor

/// The keeper is the program itself, built beside the tests.
@Suite(.timeLimit(.minutes(2))) struct TemplateKeeperTests {
  private func open(
    _ store: TemplateStore, dropped: (String) -> Void = { Issue.record("dropped: \($0)") }
  ) throws -> OpenedTemplate? {
    try store.open(TemplateScratch.identity(), keeper: TemplateScratch.program, dropped: dropped)
  }

  private func keeper(_ store: TemplateStore) throws -> (pid: Int32, leases: Int) {
    try #require(TemplateKeeper.running(TemplateScratch.identity().key, store: store))
  }

  /// Runs `body`, and ends what keeper is left.
  private func withStore(
    keepIdle: Int64 = 600, _ body: (TemplateScratch, TemplateStore) async throws -> Void
  ) async throws {
    let scratch = TemplateScratch()
    let store = scratch.store(keepIdle: keepIdle)
    defer {
      if let left = TemplateKeeper.running(TemplateScratch.identity().key, store: store) { kill(left.pid, SIGKILL) }
    }
    try await body(scratch, store)
  }

  private func end(of pid: Int32) async throws {
    let loop = try EventLoop(name: "test-keeper")
    defer { loop.stop() }
    let started = LaunchedStart.time(of: pid)
    if let handle = try ProcessHandle.open(ProcessIdentity(pid: pid, startTime: started)) {
      await handle.ended(on: loop)
    }
  }

  // MARK: The memory

  @Test func theMemoryIsSealed() async throws {
    try await withStore { scratch, store in
      try TemplateScratch.make(store)
      let opened = try #require(try open(store))
      #expect(try TemplateScratch.byte(of: opened.memory) == 7)
      #expect(try TemplateScratch.byte(of: opened.memory, at: Int(TemplateScratch.memoryBytes) - 1) == 7)
      #expect(MemoryFile.isSealed(opened.memory))
      var info = stat()
      #expect(fstat(opened.memory.number, &info) == 0)
      #expect(UInt64(info.st_size) == TemplateScratch.memoryBytes && info.st_blocks * 512 < 1 << 20)
    }
  }

  /// A clone that breaks out of its machine has this descriptor, and is another user.
  @Test(arguments: [61_240, 0]) func nobodyWritesIt(uid: Int) async throws {
    try await withStore { scratch, store in
      try TemplateScratch.make(store)
      let opened = try #require(try open(store))
      // mmap's number on x86-64 and its flags: PROT_READ|PROT_WRITE, MAP_SHARED or MAP_PRIVATE.
      let script = """
        open(my $given, "+<&=", 3) or die "given: $!";
        open(my $again, "+<", "/proc/self/fd/3") or print "reopen: $!\\n";
        for my $file ($given, $again) {
          next unless $file;
          sysseek($file, 0, 0); print "write: ", (defined(syswrite($file, "xyz")) ? "done" : $!), "\\n";
          print "cut: ", (truncate($file, 4096) ? "done" : $!), "\\n";
          print "grow: ", (truncate($file, 1 << 30) ? "done" : $!), "\\n";
          print "shared: ", (syscall(9, 0, 4096, 3, 1, fileno($file), 0) == -1 ? $! : "done"), "\\n";
          print "private: ", (syscall(9, 0, 4096, 3, 2, fileno($file), 0) == -1 ? $! : "done"), "\\n";
          sysseek($file, 0, 0); sysread($file, my $byte, 1); print "read: ", ord($byte), "\\n";
        }
        """
      let said = try perl(script, uid: uid, descriptor: opened.memory.number)
      let refused = "Operation not permitted"
      let expected = [
        "write: \(refused)", "cut: \(refused)", "grow: \(refused)", "shared: \(refused)", "private: done", "read: 7",
      ]
      #expect(said == expected + expected, "\(said)")
      #expect(try TemplateScratch.byte(of: opened.memory) == 7)
    }
  }

  /// The lines that a script prints, run as that user with a descriptor at 3.
  private func perl(_ script: String, uid: Int, descriptor: Int32) throws -> [String] {
    let output = try FileDescriptor.pipe()
    var request = LaunchRequest(
      executable: "/usr/bin/setpriv",
      arguments: [
        "setpriv", "--reuid", "\(uid)", "--regid", "\(uid)", "--clear-groups", "/usr/bin/perl", "-e", script,
      ],
      standardOutput: output.write.number, standardError: output.write.number,
      descriptors: [.init(source: descriptor, place: 3)], workingDirectory: "/")
    request.keepsRights = true
    let process = try launch(request)
    output.write.close()
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = try retrying("read") { read(output.read.number, &buffer, buffer.count) }
      if count == 0 { break }
      bytes += buffer[..<count]
    }
    withExtendedLifetime(process) {}
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  // MARK: The process

  @Test func allShareOneAndAreCounted() async throws {
    try await withStore { scratch, store in
      try TemplateScratch.make(store)
      var leases = [try #require(try open(store))]
      let first = try keeper(store)
      #expect(first.leases == 1)
      leases.append(try #require(try open(store)))
      #expect(try keeper(store) == (first.pid, 2))
      leases.removeFirst()
      leases.append(try #require(try open(store)))
      // The end of the first one may be seen after the beginning of the third.
      while try keeper(store).leases != 2 { try Task.checkCancellation() }
      #expect(try keeper(store) == (first.pid, 2))
      let listed = try #require(try store.list().templates.first)
      #expect(listed.keeper == first.pid && listed.clones == 2)
    }
  }

  @Test func itHasNoRightsAndNothingOfItsStarter() async throws {
    try await withStore { scratch, store in
      let leaked = try FileDescriptor.open("/dev/zero", O_RDONLY)
      _ = fcntl(leaked.number, F_SETFD, 0)
      try TemplateScratch.make(store)
      let opened = try #require(try open(store))
      let pid = try keeper(store).pid
      let status = String(decoding: try SmallFile.read("/proc/\(pid)/status", limit: 1 << 16), as: UTF8.self)
      for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
        #expect(status.contains(line), "\(line)")
      }
      let fields =
        String(decoding: try SmallFile.read("/proc/\(pid)/stat", limit: 4096), as: UTF8.self)
        .split(separator: ")").last?.split(separator: " ") ?? []
      // Session and terminal, fields 6 and 7.
      #expect(fields.count > 4 && fields[3] == "\(pid)" && fields[4] == "0")
      for number in 3..<64 {
        var target = [CChar](repeating: 0, count: 256)
        let count = readlink("/proc/\(pid)/fd/\(number)", &target, target.count - 1)
        let name = String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        #expect(name != "/dev/zero")
      }
      withExtendedLifetime((opened, leaked)) {}
    }
  }

  @Test func strangersGetNothing() async throws {
    try await withStore { scratch, store in
      try TemplateScratch.make(store)
      let opened = try #require(try open(store))
      let socket = store.runPath(opened.key, "sock")
      for path in [scratch.path, scratch.path + "/run", scratch.path + "/run/templates"] { chmod(path, 0o755) }
      chmod(socket, 0o777)
      let script = """
        use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un("\(socket)")) or die "connect: $!";
        print "got ", sysread($s, my $x, 100), "\\n";
        """
      #expect(try perl(script, uid: 61_240, descriptor: opened.state.number) == ["got 0"])
      let another = try #require(try open(store))
      #expect(try keeper(store).leases == 2)
      withExtendedLifetime(another) {}
    }
  }

  @Test func itEndsWhenNobodyNeedsIt() async throws {
    try await withStore(keepIdle: 1) { scratch, store in
      try TemplateScratch.make(store)
      var opened = try open(store)
      let pid = try keeper(store).pid
      opened?.lease.close()
      try await end(of: pid)
      #expect(TemplateKeeper.running(TemplateScratch.identity().key, store: store) == nil)
      // The memory outlives it, and the next one gets another.
      #expect(try TemplateScratch.byte(of: #require(opened).memory) == 7)
      opened = try open(store)
      #expect(try keeper(store).pid != pid && opened?.lease != nil)
    }
  }

  @Test func killedItIsReplaced() async throws {
    try await withStore { scratch, store in
      try TemplateScratch.make(store)
      let first = try #require(try open(store))
      let pid = try keeper(store).pid
      kill(pid, SIGKILL)
      try await end(of: pid)
      #expect(try store.list().templates.first?.keeper == nil)
      #expect(try TemplateScratch.byte(of: first.memory) == 7)
      let second = try #require(try open(store))
      #expect(try keeper(store).pid != pid && keeper(store).leases == 1)
      #expect(try TemplateScratch.byte(of: second.memory) == 7)
    }
  }

  @Test func itGoesWithItsTemplate() async throws {
    try await withStore { scratch, store in
      let key = try TemplateScratch.make(store).key
      let opened = try #require(try open(store))
      let pid = try keeper(store).pid
      #expect(try store.drop(key))
      try await end(of: pid)
      #expect(try TemplateScratch.byte(of: opened.memory) == 7)
    }
  }

  /// Made anew under the same key: state and memory that do not belong together never meet.
  @Test func theOldMemoryIsNotHandedOutForTheNew() async throws {
    try await withStore { scratch, store in
      let key = try TemplateScratch.make(store, byte: 1).key
      let old = try #require(try open(store))
      #expect(try store.drop(key))
      try TemplateScratch.make(store, byte: 2)
      let new = try #require(try open(store))
      #expect(try TemplateScratch.byte(of: old.memory) == 1)
      #expect(try TemplateScratch.byte(of: new.memory) == 2)
    }
  }

  @Test func ofManyAtOnceOneIsStarted() async throws {
    try await withStore { scratch, store in
      try TemplateScratch.make(store)
      let opened = try await withThrowingTaskGroup(of: OpenedTemplate?.self) { group in
        for _ in 0..<8 { group.addTask { try await ThreadExecutor.run { () throws in try open(store) } } }
        return try await group.reduce(into: [OpenedTemplate?]()) { $0.append($1) }
      }
      #expect(opened.allSatisfy { $0 != nil })
      #expect(try keeper(store).leases == 8)
    }
  }

  // MARK: What goes wrong

  @Test func damagedMemoryIsNotKept() async throws {
    try await withStore { scratch, store in
      let key = try TemplateScratch.make(store).key
      try TemplateScratch.flip("\(scratch.templates)/\(key.hex)/ram", at: 4095)
      var reasons: [String] = []
      #expect(try open(store) { reasons.append($0) } == nil)
      #expect(reasons == ["its memory is not what was saved"])
      #expect(scratch.names.isEmpty)
    }
  }

  @Test(arguments: ["/nonexistent/ignite", "/bin/true"]) func withoutAKeeperThereIsAReason(program: String) async throws
  {
    try await withStore { scratch, store in
      let key = try TemplateScratch.make(store).key
      let error = #expect(throws: HypervisorError.self) {
        try store.open(TemplateScratch.identity(), keeper: program) { Issue.record("dropped: \($0)") }
      }
      #expect(error?.code == .startFailed && error?.message.contains(key.short) == true)
      if program != "/bin/true" { #expect(error?.message.contains("No such file or directory") == true) }
      #expect(scratch.names == [key.hex])
    }
  }

  @Test(arguments: [
    [], ["--keep"], ["--keep", "/d", "no key", "/s", "/l", "600"], ["--keep", "a", "b", "c", "d", "e", "f"],
  ])
  func hasArguments(words: [String]) {
    #expect(TemplateKeeper.Arguments(words) == nil)
  }
}

/// When a process was started, as the system counts it.
private enum LaunchedStart {
  static func time(of pid: Int32) -> UInt64 {
    guard let bytes = try? SmallFile.read("/proc/\(pid)/stat", limit: 4096) else { return 0 }
    let fields = String(decoding: bytes, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
    return fields.count > 19 ? UInt64(fields[19]) ?? 0 : 0
  }
}
