import FoundationEssentials
import Glibc
import IgniteSystem
import IgniteWire
import Testing

/// What earlier versions left and said, kept by `scripts/upgrade-fixture`, as this one takes it up.
@Suite(.timeLimit(.minutes(5))) struct Upgrades {
  private struct Fixture: Decodable {
    struct VM: Decodable {
      var phase: String
      var uid: String
      var exitCode: Int32?
      var image: String
    }
    var vms: [String: VM]
    /// Pieces of what `exec VM echo hi` sent, in hexadecimal.
    var exec: [String]
    var volumes: [String]?
  }

  private static let folder = Ignite.root + "/Tests/Fixtures/upgrades"
  static let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()

  private func fixture(_ name: String) throws -> Fixture {
    let data = try #require(FileManager.default.contents(atPath: "\(Self.folder)/\(name)/fixture.json"))
    return try JSONDecoder().decode(Fixture.self, from: data)
  }

  @Test func thereAreSome() { #expect(Self.names.count >= 2) }

  @Test(arguments: names) func aDataDirectoryOfAnEarlierVersionGoesOn(_ name: String) async throws {
    let fixture = try fixture(name)
    try await Ignite.with { ignite in
      // The ordinary user may not read the checkout.
      let copy = "\(ignite.folder)/fixture"
      try await Ignite.run(["cp", "-r", "\(Self.folder)/\(name)", copy])
      try await Ignite.run(["chmod", "-R", "a+rX", copy])
      let script = """
        set -e; cd \(ignite.data); rm -f ignite.db*; sqlite3 ignite.db < \(copy)/database.sql
        cp -r \(copy)/data/. .
        """
      try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", script])
      let vms = try await ignite.vms()
      #expect(Set(vms.map(\.name)) == Set(fixture.vms.keys))
      for vm in vms {
        let old = try #require(fixture.vms[vm.name])
        #expect(vm.uid == old.uid)
        // What ran has no process any more.
        #expect(vm.phase == (["Created", "Stopped"].contains(old.phase) ? old.phase : "Failed"), "\(vm.name)")
        if let status = old.exitCode { #expect(vm.exitCode == status, "\(vm.name)") }
      }
      #expect(
        try await ignite.succeed("ps", "-aq", "--filter", "label=tier=web")
          == fixture.vms["created"]?.uid.prefix(12).description)
      #expect(try await ignite.succeed("inspect", "created").contains("200Mi"))
      #expect(try await ignite.succeed("logs", "ended") == "out")
      #expect(try await ignite.succeed("image", "ls").contains("busybox"))
      #expect(try await ignite.succeed("kernel", "ls").contains("linux-image"))
      #expect(try await ignite.succeed("events", "--since", "2020-01-01", "--until", "0s").contains("ended"))
      for volume in fixture.volumes ?? [] { #expect(try await ignite.succeed("volume", "ls").contains(volume)) }
      // It is changed, and a VM is made beside those.
      try await ignite.succeed("rename", "stopped", "other")
      try await ignite.succeed("update", "--restart", "always", "other")
      try await ignite.succeed("kernel", "import", Seed.kernel(in: ignite.folder))
      let layout = try await TestImage.layout()
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", Ignite.image)
      #expect(try await ignite.succeed("run", "--rm", Ignite.image, "echo", "hi") == "hi")
      for vm in try await ignite.vms() { try await ignite.succeed("rm", vm.name) }
      try await ignite.succeed("volume", "prune", "-af")
      try await ignite.succeed("gc")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      #expect(try ignite.names(in: "vms").isEmpty && ignite.names(in: "plans").isEmpty)
    }
  }

  /// What an earlier `exec` sent gets its answers from this version's supervisor.
  @Test(arguments: names) func anEarlierCommandIsAnswered(_ name: String) async throws {
    let pieces = try fixture(name).exec.map(Self.bytes)
    try #require(pieces.count >= 2)
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let uid = try await ignite.vm("one").uid
      let path = "\(ignite.folder)/run/vms/\(uid.prefix(12))/spawn.sock"
      let socket = try UnixSocket.connect(path)
      _ = fcntl(socket.number, F_SETFL, fcntl(socket.number, F_GETFL) & ~O_NONBLOCK)
      let frames = try await ThreadExecutor.run { () throws -> [Frame] in try Self.converse(socket, pieces) }
      let response = try #require(frames.first { $0.type == .response })
      #expect(try Response(decoding: response.payload).code == 0)
      let output = frames.filter { $0.type == .data && $0.channel == .standardOutput }.flatMap(\.payload)
      #expect(String(decoding: output, as: UTF8.self) == "hi\n")
      let end = try #require(frames.last { $0.type == .exit })
      #expect(try ExitStatus(decoding: end.payload).shellStatus == 0)
    }
  }

  /// Sends the pieces but the last, waits for the end, and sends that one. Blocking.
  private static func converse(_ socket: FileDescriptor, _ pieces: [[UInt8]]) throws -> [Frame] {
    func say(_ bytes: [UInt8]) throws {
      guard send(socket.number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
        throw SystemError("send")
      }
    }
    for piece in pieces.dropLast() { try say(piece) }
    var decoder = FrameDecoder()
    var frames: [Frame] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while frames.last?.type != .exit {
      let count = read(socket.number, &buffer, buffer.count)
      guard count > 0 else { throw SystemError("read from the supervisor") }
      decoder.append(Array(buffer.prefix(count)))
      while let event = decoder.next() {
        if case .frame(let frame) = event { frames.append(frame) }
      }
    }
    try say(pieces.last ?? [])
    return frames
  }

  private static func bytes(_ text: String) throws -> [UInt8] {
    let digits = Array(text.utf8)
    return try stride(from: 0, to: digits.count - 1, by: 2).map {
      try #require(UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16))
    }
  }
}
