import Glibc
import IgniteSystem
import Testing

@Suite struct LaunchTests {
  let scratch = LaunchScratch()

  /// Runs a shell line and returns its standard output and how it ended.
  private func run(
    _ script: String, isolation: Isolation? = nil, descriptors: [LaunchRequest.Descriptor] = [],
    edit: (inout LaunchRequest) -> Void = { _ in }
  ) async throws -> (output: String, status: ProcessEnd) {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let output = "\(scratch.path)/output"
    let file = try FileDescriptor.open(output, O_WRONLY | O_CREAT | O_TRUNC)
    var request = LaunchRequest(
      executable: "/bin/sh", arguments: ["sh", "-c", script], environment: ["PATH": "/usr/bin:/bin"],
      standardOutput: file.number, standardError: file.number, descriptors: descriptors, isolation: isolation)
    edit(&request)
    let process = try launch(request)
    let status = await process.exited(on: loop)
    return (try scratch.read(output), status)
  }

  private func isolation(_ further: [Isolation.Mount] = []) -> Isolation {
    let programs = ["/bin/sh", "/bin/cat", "/bin/ls", "/bin/sleep", "/usr/bin/touch", "/usr/bin/id"]
    return Isolation(uid: 61_234, gid: 61_235, mounts: Isolation.system(programs: programs) + further)
  }

  @Test func theExitStatusComesBack() async throws {
    #expect(try await run("exit 7").status == .exited(7))
    #expect(try await run("kill -TERM $$").status == .signalled(SIGTERM))
    #expect(ProcessEnd.signalled(9).shellStatus == 137)
  }

  @Test func theProgramGetsWhatIsNamedAndNothingElse() async throws {
    let secret = try FileDescriptor.open("/etc/hostname", O_RDONLY)
    let leaked = fcntl(secret.number, F_DUPFD, 20)  // not close-on-exec
    defer { close(leaked) }
    let (output, status) = try await run(
      "echo $ONE; ls -1 /proc/self/fd | sort -n; umask; ulimit -c; pwd",
      descriptors: [.init(source: secret.number, place: 9)]
    ) {
      $0.environment["ONE"] = "1 2"
      $0.workingDirectory = "/usr"
    }
    #expect(status == .exited(0))
    // 3 is the directory that ls has open.
    #expect(output == "1 2\n0\n1\n2\n3\n9\n0077\n0\n/usr\n")
  }

  @Test func swappedDescriptorsArriveAtTheirPlaces() async throws {
    let (one, two) = (try scratch.file("one", "1"), try scratch.file("two", "2"))
    let descriptors = [LaunchRequest.Descriptor](
      [.init(source: one.number, place: two.number), .init(source: two.number, place: one.number)])
    let (output, _) = try await run("cat /dev/fd/\(two.number) /dev/fd/\(one.number)", descriptors: descriptors)
    #expect(output == "12")
  }

  @Test func signalsStartAtTheirDefaults() async throws {
    signal(SIGPIPE, SIG_IGN)
    let (output, _) = try await run("cat /proc/self/status")
    let status = fields(output)
    #expect(status["SigBlk"] == "0000000000000000")
    #expect(status["SigIgn"] == "0000000000000000")
    #expect(status["NoNewPrivs"] == "1")
    #expect(status["CapEff"] == "0000000000000000")
    #expect(status["CapBnd"] == "0000000000000000")
  }

  @Test func anIsolatedProgramHasNoRightsAndARootOfItsOwn() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let input = try FileDescriptor.pipe()
    let output = try FileDescriptor.pipe()
    let process = try launch(
      LaunchRequest(
        executable: "/bin/sh", arguments: ["sh", "-c", "echo ready; read line"], standardInput: input.read.number,
        standardOutput: output.write.number, newSession: true, isolation: isolation(),
        limits: [.noCore, .openFiles(64)]))
    defer { try? process.kill() }
    // Once it speaks it has let go of what its start opened.
    var byte: UInt8 = 0
    try retrying("read") { read(output.read.number, &byte, 1) }
    let proc = "/proc/\(process.pid)"
    let status = fields(try scratch.read("\(proc)/status"))
    #expect(status["Uid"] == "61234\t61234\t61234\t61234")
    #expect(status["Gid"] == "61235\t61235\t61235\t61235")
    #expect(status["Groups"]?.split(separator: " ").isEmpty == true)
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] { #expect(status[set] == "0000000000000000") }
    #expect(status["NoNewPrivs"] == "1")
    #expect(access("\(proc)/root/etc/shadow", F_OK) != 0)
    #expect(try scratch.list("\(proc)/root/etc") == ["ld.so.cache"])
    #expect(try scratch.list("\(proc)/root").allSatisfy { $0 != "home" && $0 != "root" && $0 != "var" })
    #expect(try scratch.list("\(proc)/fd") == ["0", "1", "2"])
    #expect(try scratch.read("\(proc)/limits").contains("Max open files            64                   64"))
    #expect(getsid(process.pid) == process.pid)
    try process.kill()
    #expect(await process.exited(on: loop) == .signalled(SIGKILL))
  }

  @Test func aDevicesGroupComesWithIt() async throws {
    let device = "\(scratch.path)/device"
    try retrying("mknod") { Int(mknod(device, S_IFCHR | 0o660, 1 << 8 | 3)) }
    chown(device, 0, 61_777)
    chmod(device, 0o660)
    let mounts: [Isolation.Mount] = [.bind(source: device, target: "/dev/own", [.devices, .writable])]
    let (output, status) = try await run("id -G; echo x > /dev/own", isolation: isolation(mounts))
    #expect(output == "61235 61777\n")
    #expect(status == .exited(0))
  }

  @Test func readOnlyMeansReadOnly() async throws {
    let shared = try scratch.directory("shared")
    let own = try scratch.directory("own")
    chmod(shared, 0o777)
    chmod(own, 0o777)
    let mounts: [Isolation.Mount] = [
      .bind(source: shared, target: "/data/shared", []), .bind(source: own, target: "/data/own", .writable),
      .temporary("/scratch", size: 65_536, mode: 0o700),
    ]
    let (output, _) = try await run(
      """
      touch /data/shared/a || echo shared
      touch /data/own/b && echo own
      touch /c || echo root
      touch /data/d || echo data
      touch /usr/lib/e || echo lib
      touch /scratch/f && echo scratch
      cat < /dev/null && echo null > /dev/null && echo devices
      ls -1 /proc | while read name; do [ "$name" != 1 ] || echo "init is seen"; done
      ls /proc/sys
      """, isolation: isolation(mounts))
    let lines = output.split(separator: "\n").filter { !$0.contains("annot") }
    #expect(lines == ["shared", "own", "root", "data", "lib", "scratch", "devices"])
    #expect(try scratch.list(own) == ["b"])
    #expect(try scratch.list(shared) == [])
  }

  @Test func aBindMountIsNotReachedThroughALinkOfTheConfinedUser() async throws {
    let own = try scratch.directory("own")
    symlink("/", "\(own)/way-out")
    let mounts: [Isolation.Mount] = [
      .bind(source: own, target: "/data", .writable), .bind(source: "/usr/share", target: "/data/way-out/etc", []),
    ]
    let error = #expect(throws: SystemError.self) {
      _ = try launch(
        LaunchRequest(executable: "/bin/sleep", arguments: ["sleep", "1000"], isolation: isolation(mounts)))
    }
    #expect(error?.code == ELOOP)
    #expect(error?.message.contains("/data/way-out/etc") == true)
  }

  @Test func aFailedStepSaysWhichOnWhatAndWhy() throws {
    func failure(_ edit: (inout LaunchRequest) -> Void) throws -> SystemError {
      var request = LaunchRequest(executable: "/bin/sleep", arguments: ["sleep", "1000"])
      edit(&request)
      return try #require(throws: SystemError.self) { try launch(request) }
    }
    #expect(
      try failure { $0.executable = "/no/such" }.description
        == "start such: cannot execute /no/such: No such file or directory; check that /no/such is installed")
    #expect(
      try failure { $0.workingDirectory = "/no/where" }.message
        == "start sleep: cannot change to the directory /no/where: No such file or directory")
    #expect(
      try failure { $0.descriptors = [.init(source: 999, place: 5)] }.message
        == "start sleep: cannot place the descriptor 5: Bad file descriptor")
    #expect(
      try failure { $0.limits = [.init(resource: 9999, soft: 0, hard: 0)] }.message
        == "start sleep: cannot set the resource limit: Invalid argument")
    #expect(
      try failure { $0.isolation = isolation([.bind(source: "/no/source", target: "/x", [])]) }.message
        == "start sleep: cannot open /no/source: No such file or directory")
    #expect(
      try failure {
        $0.isolation = isolation([])
        $0.executable = "/bin/cat-that-is-not-there"
      }.code == ENOENT)
    #expect(try failure { $0.descriptors = [.init(source: 1, place: 1)] }.code == EINVAL)
  }

  @Test func aProcessIsKnownByItsStartTime() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let process = try launch(LaunchRequest(executable: "/bin/sleep", arguments: ["sleep", "1000"]))
    #expect(process.identity.startTime > 0)
    let handle = try #require(try ProcessHandle.open(process.identity))
    var other = process.identity
    other.startTime += 1
    #expect(try ProcessHandle.open(other) == nil)
    #expect(handle.isAlive)
    #expect(process.reap() == nil)
    async let first = process.exited(on: loop)
    async let second = process.exited(on: loop)
    async let third: Void = handle.ended(on: loop)
    try handle.kill(SIGTERM)
    #expect(await first == .signalled(SIGTERM))
    #expect(await second == .signalled(SIGTERM))
    await third
    #expect(!handle.isAlive)
    #expect(try ProcessHandle.open(process.identity) == nil)
    try handle.kill()
  }

  private func fields(_ status: String) -> [String: String] {
    var fields: [String: String] = [:]
    for line in status.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2 { fields[String(parts[0])] = String(parts[1].drop { $0 == "\t" }) }
    }
    return fields
  }
}
