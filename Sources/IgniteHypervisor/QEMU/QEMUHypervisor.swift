internal import Glibc
public import IgniteSystem
internal import Synchronization

/// QEMU's microvm machine for x86-64.
public final class QEMUHypervisor: Hypervisor {
  public let name = "QEMU"
  /// The program that is started.
  public let program: String
  private let loop: EventLoop

  /// The oldest QEMU with what the driver asks for: `-netdev stream` came with 7.2.
  public static let minimumVersion = (major: 7, minor: 2)

  /// The least memory of a machine, in bytes.
  ///
  /// Found by trying, with Debian's 6.1 cloud kernel and an initrd of 2.5 MB: at 64 MiB and below the kernel panics
  /// while it unpacks, at 80 MiB it runs with 3 MiB free, at 96 MiB 20 MiB are left for processes.
  public static let minimumMemory: UInt64 = 96 << 20

  /// - Parameters:
  ///   - program: QEMU's path; nil looks for it where systems keep it.
  ///   - loop: where control channels are served; nil makes one.
  /// - Throws: `notInstalled` where there is no QEMU.
  public init(program: String? = nil, loop: EventLoop? = nil) throws(HypervisorError) {
    guard let found = program ?? Self.find() else {
      throw HypervisorError(
        .notInstalled, "QEMU is not installed (no qemu-system-x86_64 in \(Self.directories.joined(separator: ", ")))",
        advice: "install qemu-system-x86")
    }
    self.program = found
    do throws(SystemError) {
      if let loop { self.loop = loop } else { self.loop = try EventLoop(name: "ignite-qemu") }
    } catch {
      throw HypervisorError(error)
    }
  }

  private static let directories = ["/usr/bin", "/usr/local/bin", "/usr/libexec"]

  /// QEMU's path on this host; nil without one.
  public static func find() -> String? {
    directories.map { "\($0)/qemu-system-x86_64" }.first { access($0, X_OK) == 0 }
  }

  /// Programs and directories that QEMU needs in a root of its own.
  public static func mounts(program: String, kvm: Bool) -> [Isolation.Mount] {
    Isolation.system(programs: [program], kvm: kvm)
  }

  public func start(
    _ configuration: MachineConfiguration, network: NetworkAttachment, confinement: MachineConfinement,
    whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine {
    try await run(configuration, network: network, confinement: confinement, whenListening: whenListening)
  }

  public func startFreezable(
    _ configuration: MachineConfiguration, memory: FileDescriptor, confinement: MachineConfinement,
    whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine {
    try await run(
      configuration, network: .neutral, confinement: confinement, memory: .shared,
      descriptors: [.init(source: memory.number, place: QEMUArguments.Place.memory)], whenListening: whenListening)
  }

  public func thaw(
    _ frozen: FrozenMachine, _ configuration: MachineConfiguration, network: NetworkAttachment,
    confinement: MachineConfinement, whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine {
    let shared = frozen.memory
    let memory: FileDescriptor
    if configuration.reclaimsMemory == true {
      do throws(SystemError) {
        memory = try await ThreadExecutor.run { () throws(SystemError) in try TemplateMemory.duplicate(shared) }
      } catch {
        throw HypervisorError(error)
      }
    } else {
      memory = shared
    }
    return try await run(
      configuration, network: network, confinement: confinement, memory: .thawed,
      descriptors: [
        .init(source: memory.number, place: QEMUArguments.Place.memory),
        .init(source: frozen.state.number, place: QEMUArguments.Place.state),
      ], whenListening: whenListening)
  }

  /// Starts the process, has its channels connected to, and lets the machine go: it was halted until then, so that
  /// nothing that it does goes unseen.
  private func run(
    _ configuration: MachineConfiguration, network: NetworkAttachment, confinement: MachineConfinement,
    memory: QEMUArguments.Memory = .own, descriptors: [LaunchRequest.Descriptor] = [],
    whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine {
    let begun = try await begin(
      configuration, network: network, confinement: confinement, memory: memory, descriptors: descriptors)
    await whenListening()
    return try await bring(begun, configuration) { machine throws(HypervisorError) in
      if memory == .thawed { try await machine.load(state: QEMUArguments.Place.state) }
      try await machine.resume()
    }
  }

  public func frozenArguments(
    _ configuration: MachineConfiguration, hasNetwork: Bool
  ) throws(HypervisorError) -> [String] {
    var neutral = configuration
    neutral.kernelPath = "kernel"
    neutral.initrdPath = configuration.initrdPath.map { _ in "initrd" }
    for index in neutral.drives.indices {
      neutral.drives[index].path = "drive"
      neutral.drives[index].descriptor = nil
      neutral.drives[index].blockDevice = nil
    }
    neutral.agentSocketPath = "agent"
    neutral.controlSocketPath = "control"
    neutral.consoleSocketPath = "console"
    neutral.macAddress = nil
    return try QEMUArguments(neutral, hasNetwork ? .neutral : .none, memory: .shared).build()
  }

  /// Starts the process, its machine halted.
  private func begin(
    _ configuration: MachineConfiguration, network: NetworkAttachment, confinement: MachineConfinement,
    memory: QEMUArguments.Memory, descriptors: [LaunchRequest.Descriptor]
  ) async throws(HypervisorError) -> (QEMUMachine, FileDescriptor) {
    var configuration = configuration
    if configuration.timestampCounterKilohertz == nil, configuration.accelerator == .tcg {
      configuration.timestampCounterKilohertz = await ThreadExecutor.run { TimestampCounter.measure() }
    }
    let arguments = try QEMUArguments(configuration, network, memory: memory).build()
    let sockets = Self.sockets(of: configuration)
    let drives = configuration.drives.compactMap(\.descriptor).map {
      LaunchRequest.Descriptor(source: $0, place: $0)
    }
    do throws(SystemError) {
      let launched = try await launch(
        arguments, sockets: sockets, network: network, descriptors: descriptors + drives, confinement: confinement)
      return (
        QEMUMachine(loop: loop, configuration: configuration, process: .child(launched.process)), launched.errors
      )
    } catch {
      for (path, _) in sockets { unlink(path) }
      throw HypervisorError(error)
    }
  }

  /// Connects to the process and takes `steps`; whatever fails ends it.
  private func bring(
    _ begun: (machine: QEMUMachine, errors: FileDescriptor), _ configuration: MachineConfiguration,
    _ steps: (QEMUMachine) async throws(HypervisorError) -> Void
  ) async throws(HypervisorError) -> any Machine {
    let machine = begun.machine
    do throws(HypervisorError) {
      try await machine.begin(errors: begun.errors)
      try await steps(machine)
      return machine
    } catch {
      try? machine.kill()
      let end = await machine.ended()
      for (path, _) in Self.sockets(of: configuration) { unlink(path) }
      throw Self.startFailure(error, end: end, configuration: configuration)
    }
  }

  private static func sockets(of configuration: MachineConfiguration) -> [(String, Int32)] {
    [
      (configuration.controlSocketPath, QEMUArguments.Place.control),
      (configuration.agentSocketPath, QEMUArguments.Place.agent),
      (configuration.consoleSocketPath, QEMUArguments.Place.console),
    ]
  }

  public func adopt(
    _ identity: ProcessIdentity, configuration: MachineConfiguration
  ) async throws(HypervisorError) -> (any Machine)? {
    let handle: ProcessHandle?
    do throws(SystemError) {
      handle = try ProcessHandle.open(identity)
    } catch {
      throw HypervisorError(error)
    }
    guard let handle else { return nil }
    let machine = QEMUMachine(loop: loop, configuration: configuration, process: .other(handle))
    try await machine.begin(errors: nil)
    return machine
  }

  private struct Launched: Sendable {
    var process: LaunchedProcess
    var errors: FileDescriptor
  }

  private func launch(
    _ arguments: [String], sockets: [(String, Int32)], network: NetworkAttachment,
    descriptors others: [LaunchRequest.Descriptor], confinement: MachineConfinement
  ) async throws(SystemError) -> Launched {
    let program = program
    return try await ThreadExecutor.run { () throws(SystemError) -> Launched in
      // Bound before QEMU is there, so that a connection cannot come early; QEMU inherits the listening ends.
      var listeners: [FileDescriptor] = []
      var descriptors = others
      for (path, place) in sockets {
        unlink(path)
        let listener = try UnixSocket.listen(path, backlog: 4)
        listeners.append(listener)
        descriptors.append(.init(source: listener.number, place: place))
      }
      if case .stream(let socket) = network {
        descriptors.append(.init(source: socket.number, place: QEMUArguments.Place.network))
      }
      let errors = try FileDescriptor.pipe()
      let process = try IgniteSystem.launch(
        LaunchRequest(
          executable: program, arguments: ["qemu-system-x86_64"] + arguments, environment: ["PATH": "/usr/bin:/bin"],
          standardOutput: errors.write.number, standardError: errors.write.number, descriptors: descriptors,
          workingDirectory: "/", isolation: confinement.isolation, cgroup: confinement.cgroup,
          limits: confinement.limits))
      // Our copies close here: QEMU's death then ends a connection that it never took.
      withExtendedLifetime(listeners) {}
      return Launched(process: process, errors: errors.read)
    }
  }

  /// Why QEMU did not come up, from its own last words.
  static func startFailure(
    _ error: HypervisorError, end: MachineEnd, configuration: MachineConfiguration
  ) -> HypervisorError {
    let lines = end.diagnosis.split(separator: "\n").filter { !$0.contains("warning:") }
    // Hints follow the error, on lines without the program's name.
    guard let line = lines.last(where: { $0.hasPrefix("qemu") }) ?? lines.last else {
      if error.code == .timeout { return error }
      return HypervisorError(
        .startFailed, "QEMU ended before its machine ran\(end.explanation)",
        advice: "run 'ignite doctor'", cause: error)
    }
    var words = String(line)
    for prefix in ["qemu-system-x86_64: ", "/usr/bin/qemu-system-x86_64: "] where words.hasPrefix(prefix) {
      words.removeFirst(prefix.count)
    }
    var advice: String?
    if words.contains("lock"), words.contains("Failed to get") {
      advice = "stop the other machine that uses this disk"
    } else if words.contains("memory") && words.contains("annot") {
      advice = "give the VM less memory, or free some on the host"
    } else if words.contains("kernel") || words.contains("PVH") || words.contains("ELF") {
      advice = "import a kernel with 'ignite kernel import'"
    } else if words.contains("KVM") || words.contains("kvm") {
      advice = "use --accel tcg, or run 'ignite doctor'"
    }
    return HypervisorError(.startFailed, "QEMU could not start the machine: \(words)", advice: advice, cause: error)
  }

  // MARK: Version

  public func version() throws(HypervisorError) -> String {
    try checkedVersion(in: try Self.output(of: program, ["--version"]))
  }

  /// The version in what `--version` printed, if it is new enough.
  func checkedVersion(in output: String) throws(HypervisorError) -> String {
    guard let version = Self.version(in: output) else {
      throw HypervisorError(.startFailed, "\(program) --version says nothing that is a version")
    }
    guard (version.major, version.minor) >= Self.minimumVersion else {
      throw HypervisorError(
        .tooOld, "QEMU \(version.text) is too old; \(Self.minimumVersion.major).\(Self.minimumVersion.minor) is needed",
        advice: "install a newer qemu-system-x86")
    }
    return version.text
  }

  /// `QEMU emulator version 7.2.22 (Debian …)`.
  static func version(in output: String) -> (major: Int, minor: Int, text: String)? {
    let words = output.split(whereSeparator: \.isWhitespace)
    guard let place = words.firstIndex(of: "version"), place + 1 < words.count else { return nil }
    let parts = words[place + 1].split(separator: ".")
    guard parts.count >= 2, let major = Int(parts[0]), let minor = Int(parts[1]) else { return nil }
    return (major, minor, String(words[place + 1]))
  }

  /// What a program prints; blocking, at most 64 KiB and 10 seconds.
  static func output(of program: String, _ arguments: [String]) throws(HypervisorError) -> String {
    do throws(SystemError) {
      let pipe = try FileDescriptor.pipe()
      let process = try IgniteSystem.launch(
        LaunchRequest(
          executable: program, arguments: [program] + arguments, environment: ["PATH": "/usr/bin:/bin"],
          standardOutput: pipe.write.number, standardError: pipe.write.number))
      pipe.write.close()
      defer { _ = process.reap() }
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 4096)
      let deadline = ContinuousClock.now + .seconds(10)
      while bytes.count < 65_536, ContinuousClock.now < deadline {
        var entry = pollfd(fd: pipe.read.number, events: Int16(POLLIN), revents: 0)
        if poll(&entry, 1, 100) <= 0 { continue }
        let count = try retrying("read from \(program)") { read(pipe.read.number, &buffer, buffer.count) }
        if count == 0 { break }
        bytes += buffer[0..<count]
      }
      try process.kill()
      return String(decoding: bytes, as: UTF8.self)
    } catch {
      throw HypervisorError(error)
    }
  }
}
