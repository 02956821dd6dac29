internal import Glibc
public import IgniteAPI
internal import IgniteArchive
internal import IgniteSupervisor
internal import IgniteSystem
internal import IgniteWire

/// How files are copied.
public struct CopyOptions: Sendable {
  /// Owners, set-ID bits, attributes and devices too, as far as the caller may.
  public var keepsOwners: Bool
  /// A symbolic link as the source is followed.
  public var followsLink: Bool

  public init(keepsOwners: Bool, followsLink: Bool) {
    self.keepsOwners = keepsOwners
    self.followsLink = followsLink
  }
}

/// What became of a copy.
public struct CopyResult: Sendable {
  /// Bytes of archive that went from one side to the other.
  public var bytes: UInt64
  /// Lines about files that were left out.
  public var complaints: [String]
}

extension Engine {
  /// Copies from a VM into a path of the host.
  public func copy(
    from vm: VM, path: String, to destination: String, options: CopyOptions
  ) async throws -> CopyResult {
    let source = Array(path.utf8)
    let policy = UnpackPolicy(
      owner: options.keepsOwners && getuid() == 0 ? .kept : .own, keepsSetID: options.keepsOwners && getuid() == 0,
      makesDevices: options.keepsOwners && getuid() == 0, keepsAllAttributes: options.keepsOwners && getuid() == 0,
      guardsLinks: true)
    let target = try Self.destination(destination)
    let pipe = try FileDescriptor.pipe()
    return try await transfer(
      vm, CopyOutRequest(path: source, followsLink: options.followsLink).encoded(), input: nil, output: pipe.write
    ) { result in
      // What this end leaves unread has no use for the other.
      defer { pipe.read.close() }
      let unpacking = HostUnpacking(source: source, destination: target, policy: policy)
      result.bytes = try unpacking.run(pipe.read)
      result.complaints = unpacking.complaints
    }
  }

  /// Copies from a VM to a descriptor, as a tar archive.
  public func copy(from vm: VM, path: String, toArchive descriptor: Int32, options: CopyOptions) async throws
    -> CopyResult
  {
    let request = CopyOutRequest(path: Array(path.utf8), followsLink: options.followsLink)
    return try await transfer(vm, request.encoded(), input: nil, output: FileDescriptor(dup(descriptor))) { _ in }
  }

  /// Copies a path of the host into a VM.
  public func copy(
    _ source: String, into vm: VM, path: String, options: CopyOptions
  ) async throws -> CopyResult {
    let packing = try HostPacking(source: source, followsLink: options.followsLink)
    var request = CopyInRequest(path: Array(path.utf8))
    request.name = packing.name
    request.isDirectory = packing.isDirectory
    request.keepsOwners = options.keepsOwners
    let pipe = try FileDescriptor.pipe()
    return try await transfer(vm, request.encoded(), input: pipe.read, output: nil) { result in
      defer { pipe.write.close() }
      result.bytes = try packing.run(pipe.write)
      result.complaints = packing.complaints
    }
  }

  /// Unpacks a tar archive, read from a descriptor, into a directory of a VM.
  public func copy(archive descriptor: Int32, into vm: VM, path: String, options: CopyOptions) async throws
    -> CopyResult
  {
    var request = CopyInRequest(path: Array(path.utf8))
    request.isArchive = true
    request.keepsOwners = options.keepsOwners
    let source = FileDescriptor(dup(descriptor))
    let pipe = try FileDescriptor.pipe()
    return try await transfer(vm, request.encoded(), input: pipe.read, output: nil) { result in
      defer { pipe.write.close() }
      result.bytes = try ArchiveRewriting.run(from: source, to: pipe.write)
    }
  }

  private static func destination(_ path: String) throws -> CopyDestination {
    do throws(ArchiveError) {
      return try CopyDestination(path: HostPath.absolute(path))
    } catch {
      throw EngineError(copying: error)
    }
  }

  /// Joins the guest's side of a copy with this one: `body`, on a thread of its own.
  ///
  /// Where both fail one failed because the other had gone. That is the one that could not write to it, or got no more of it.
  private func transfer(
    _ vm: VM, _ request: [UInt8], input: FileDescriptor?, output: FileDescriptor?,
    _ body: @escaping @Sendable (inout CopyResult) throws -> Void
  ) async throws -> CopyResult {
    let loop = try EventLoop(name: "ignite-client")
    defer { loop.stop() }
    let client = try await client(of: vm, loop: loop)
    let errors = try FileDescriptor.pipe()
    let null = try FileDescriptor.open("/dev/null", O_WRONLY)
    let session = try await client.work(
      request,
      ProcessStreams(
        input: input?.number, output: output?.number ?? null.number, errors: errors.write.number))
    CrashPoint.pass(.copyAsked)
    async let said = ThreadExecutor.run { Complaints.read(errors.read) }
    async let here = ThreadExecutor.run { () -> Result<CopyResult, any Error> in
      var result = CopyResult(bytes: 0, complaints: [])
      do {
        try body(&result)
        return .success(result)
      } catch {
        // Nobody needs the rest.
        if !Self.isOfTheOther(error) { session.leave() }
        return .failure(error)
      }
    }
    let ended = await Result.awaiting { try await session.ended() }
    // The ends of what this side reads, and of what it writes that nobody takes any more.
    output?.close()
    input?.close()
    errors.write.close()
    let lines = await said
    let outcome = await here
    await client.close()
    if input != nil, case .failure(let error) = outcome, !Self.isOfTheOther(error) { throw Self.told(error) }
    let status: Int32
    do {
      status = try ended.get(vm)
    } catch let error as CancellationError {
      // This side took leave of the other, and has its reason.
      if case .failure(let own) = outcome { throw Self.told(own) }
      throw error
    }
    guard status <= 1 else {
      throw EngineError(.unavailable, "the VM \"\(vm.metadata.name)\": \(lines.last ?? "the copy broke off")")
    }
    var result = try outcome.mapError(Self.told).get()
    result.complaints += lines.map { "the VM \"\(vm.metadata.name)\": \($0)" }
    return result
  }
}

extension Engine {
  /// The other side takes no more.
  private static func isOfTheOther(_ error: any Error) -> Bool { (error as? ArchiveError)?.breaksArchive == true }

  private static func told(_ error: any Error) -> any Error {
    guard let error = error as? ArchiveError else { return error }
    return EngineError(copying: error)
  }
}

extension Result where Failure == any Error {
  static func awaiting(_ body: () async throws -> Success) async -> Self {
    do { return .success(try await body()) } catch { return .failure(error) }
  }

  /// The result of work in a VM, which may have been started by a program older than this one.
  func get(_ vm: VM) throws -> Success {
    do {
      return try get()
    } catch let error as SupervisorError where error.message.contains("does not know") {
      throw EngineError(
        .unavailable, "the VM \"\(vm.metadata.name)\" was started by an older ignite, which cannot do this",
        advice: "start it anew: ignite restart \(vm.metadata.name)", cause: error)
    }
  }
}

/// Lines that a guest says about files.
enum Complaints {
  private static let limit = 1 << 16

  /// Reads to the end; what is beyond the limit is dropped, and control characters are not for this terminal. Blocking.
  static func read(_ pipe: FileDescriptor) -> [String] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = Glibc.read(pipe.number, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { break }
      if bytes.count < limit { bytes += buffer.prefix(count) }
    }
    return bytes.split(separator: 10).map { printable(Array($0)) }
  }
}
