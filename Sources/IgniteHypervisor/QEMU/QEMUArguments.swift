/// QEMU's command line for a machine.
struct QEMUArguments {
  /// Numbers of the descriptors in QEMU's process.
  enum Place {
    static let control: Int32 = 3
    static let agent: Int32 = 4
    static let console: Int32 = 5
    static let network: Int32 = 6
    static let memory: Int32 = 7
    static let state: Int32 = 8
  }

  var configuration: MachineConfiguration
  var network: Network
  var memory = Memory.own

  /// Where the machine's memory is.
  enum Memory: Equatable {
    /// QEMU's own.
    case own
    /// The descriptor at `Place.memory`, which is written to: the machine is to be frozen.
    case shared
    /// The descriptor at `Place.memory`, of which the machine has a copy, page by page as it writes; its devices' state
    /// comes by `Place.state`. A machine that reclaims memory has the file for itself.
    case thawed
  }

  enum Network: Equatable {
    case none
    /// A card that is connected to nothing: under every other kind of network its state loads.
    case neutral
    case stream
    case user(restricted: Bool, ports: [PortForward])
  }

  init(_ configuration: MachineConfiguration, _ attachment: NetworkAttachment, memory: Memory = .own) {
    self.configuration = configuration
    self.memory = memory
    network =
      switch attachment {
      case .none: .none
      case .neutral: .neutral
      case .stream: .stream
      case .user(let restricted, let ports): .user(restricted: restricted, ports: ports)
      }
  }

  /// All of argv after the program's name.
  /// - Throws: `invalidConfiguration` for what no machine can be made of.
  func build() throws(HypervisorError) -> [String] {
    try check()
    return machine + startedKernel + channels + drives + shares + networkCard + helpers
  }

  /// KVM's arguments have been read against QEMU's documentation, and not run: no machine that builds this has KVM.
  private var isKVM: Bool { configuration.accelerator == .kvm }

  private var machine: [String] {
    [
      // The guest finds its devices through ACPI, which Debian's kernel needs; without the RTC or the PIT its clock
      // calibration waits for seconds or for ever.
      "-machine", "microvm,acpi=on,rtc=on,pit=on,pic=on" + (memoryBackend.isEmpty ? "" : ",memory-backend=memory"),
      "-accel", isKVM ? "kvm" : "tcg,thread=multi",
      // Modern virtio: legacy devices cannot do what balloon and virtio-fs need.
      "-global", "virtio-mmio.force-legacy=false",
      // Told that string moves are fast, the guest copies by them, which emulation does a byte at a time.
      "-cpu", isKVM ? "host" : "max,-erms,-fsrm",
      "-smp", String(configuration.cpus),
      "-m", "\(configuration.memoryBytes >> 20)M",
      "-nodefaults", "-no-user-config", "-display", "none",
      // A reboot ends the machine; whether it starts again is the restart policy's business. It starts halted and is
      // let go once its control channel is connected.
      "-no-reboot", "-S",
    ] + (configuration.sandbox ? ["-sandbox", Self.sandbox] : []) + memoryBackend
  }

  /// `share=off` maps the memory privately. QEMU 7.2 opens even that for writing, so what protects a template from its
  /// clones is the seal of its memory, not this.
  private var memoryBackend: [String] {
    func object(share: String) -> [String] {
      [
        "-object",
        "memory-backend-file,id=memory,size=\(configuration.memoryBytes >> 20)M,mem-path=/proc/self/fd/\(Place.memory),"
          + "share=\(share)",
      ]
    }
    return switch memory {
    case .own where configuration.shares?.isEmpty == false:
      // A share's daemon reads and writes the guest's buffers where they are.
      ["-object", "memory-backend-memfd,id=memory,size=\(configuration.memoryBytes >> 20)M,share=on"]
    case .own: []
    case .shared: object(share: "on")
    case .thawed: object(share: configuration.reclaimsMemory == true ? "on" : "off") + ["-incoming", "defer"]
    }
  }

  private static let sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

  private var kernel: [String] {
    var arguments = ["-kernel", configuration.kernelPath]
    if let initrd = configuration.initrdPath { arguments += ["-initrd", initrd] }
    return arguments + ["-append", commandLine]
  }

  /// What a thawed machine needs not: its kernel is in its memory.
  private var startedKernel: [String] { memory == .thawed ? [] : kernel }

  /// The kernel's command line: console, clock, reboot, then the caller's own.
  var commandLine: String {
    var words = ["console=ttyS0", "quiet", "panic=-1", "reboot=t", "cryptomgr.notests", "audit=0", "no_timer_check"]
    if !isKVM, let rate = configuration.timestampCounterKilohertz {
      // Under emulation the guest's counter is the host's, read by rdtsc. Told its rate, the kernel need not calibrate
      // against an emulated timer, which is slow and wrong. Mitigations guard nothing in an emulated processor.
      words += [
        "nokaslr", "mitigations=off", "tsc=reliable", "clocksource=tsc", "tsc_early_khz=\(rate)", "lpj=\(rate &* 2)",
        // Locks are cheap here, and rewriting 10,000 of them for one processor takes a tenth of a boot.
        "noreplace-smp",
        // The local APIC's timer counts nanoseconds. Ignite's own kernel takes that from here, others measure it.
        "lapic_timer_khz=1000000",
      ]
    }
    // KVM gives the guest kvm-clock, which needs no telling.
    return (words + configuration.kernelArguments).joined(separator: " ")
  }

  /// Sockets that are bound, listened on and inherited: a connection is taken whenever it comes, also from a later
  /// supervisor, and output is dropped while nobody is connected.
  private var channels: [String] {
    func socket(_ id: String, _ place: Int32) -> [String] {
      ["-chardev", "socket,id=\(id),fd=\(place),server=on,wait=off"]
    }
    return socket("control", Place.control) + ["-mon", "chardev=control,mode=control"]
      + socket("console", Place.console) + ["-serial", "chardev:console"]
      + ["-device", "virtio-serial-device,max_ports=2"] + socket("agent", Place.agent)
      + ["-device", "virtserialport,chardev=agent,name=\(MachineConfiguration.agentPortName)"]
  }

  /// The host's page cache serves all machines that share a base disk, so caching stays on; flushes of the guest reach
  /// the host's disk (`cache.no-flush=off`). `aio=threads` works on every file system and under the sandbox. QEMU locks
  /// a writable image against a second machine; read-only ones are shared.
  private var drives: [String] {
    configuration.drives.enumerated().flatMap { index, drive in
      let node = "drive\(index)"
      let access = drive.readOnly ? "read-only=on" : "read-only=off,discard=unmap"
      let inherited = drive.descriptor.map { ["-add-fd", "fd=\($0),set=\($0)"] } ?? []
      let path = drive.descriptor.map { "/dev/fdset/\($0)" } ?? Self.escaped(drive.path)
      return inherited + [
        "-blockdev",
        "driver=raw,node-name=\(node),\(access),cache.direct=off,"
          + "file.driver=\(drive.isBlockDevice ? "host_device" : "file"),file.aio=threads,file.filename=\(path)",
        "-device", "virtio-blk-device,drive=\(node),serial=\(drive.id)",
      ]
    }
  }

  private var shares: [String] {
    (configuration.shares ?? []).flatMap { share in
      [
        "-chardev", "socket,id=\(share.tag),path=\(Self.escaped(share.socketPath))",
        "-device", "vhost-user-fs-device,chardev=\(share.tag),tag=\(share.tag),queue-size=128",
      ]
    }
  }

  private var networkCard: [String] {
    let netdev: String
    switch network {
    case .none: return []
    case .neutral: netdev = "hubport,id=net0,hubid=0"
    case .stream: netdev = "stream,id=net0,server=off,addr.type=fd,addr.str=\(Place.network)"
    case .user(let restricted, let ports):
      let forwards = ports.map { port in
        ",hostfwd=\(port.isUDP ? "udp" : "tcp"):\(port.hostAddress):\(port.hostPort)-:\(port.guestPort)"
      }
      netdev = "user,id=net0,restrict=\(restricted ? "on" : "off"),ipv6=off" + forwards.joined()
    }
    let mac = configuration.macAddress.map { ",mac=\($0)" } ?? ""
    return ["-netdev", netdev, "-device", "virtio-net-device,netdev=net0\(mac)"]
  }

  /// QEMU gives reported pages back by punching holes into the memory's file, however it is mapped: of a template, into the
  /// memory of all its clones. Theirs is sealed against it, so the report would be in vain, but where a clone has a copy.
  private var helpers: [String] {
    let reporting = memory == .own || configuration.reclaimsMemory == true ? "on" : "off"
    return [
      "-device", "virtio-rng-device", "-device",
      "virtio-balloon-device,free-page-reporting=\(reporting),deflate-on-oom=on",
    ]
  }

  private static func escaped(_ path: String) -> String {
    path.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
  }

  // MARK: Checks

  /// virtio-mmio places with ACPI, less those of serial, network, rng and balloon.
  static let maximumDrives = 20

  private func check() throws(HypervisorError) {
    func isID(_ text: String, _ most: Int) -> Bool {
      (1...most).contains(text.utf8.count)
        && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    }
    func refuse(_ message: String, advice: String? = nil) -> HypervisorError {
      HypervisorError(.invalidConfiguration, message, advice: advice)
    }
    guard (1...255).contains(configuration.cpus) else {
      throw refuse("a machine of \(configuration.cpus) CPUs", advice: "choose 1 to 255")
    }
    let memory = configuration.memoryBytes
    guard memory >= QEMUHypervisor.minimumMemory else {
      throw refuse(
        "\(memory >> 20) MiB of memory do not boot a Linux kernel with its initrd",
        advice: "give at least \(QEMUHypervisor.minimumMemory >> 20) MiB")
    }
    guard memory <= 1 << 44 else { throw refuse("\(memory >> 20) MiB of memory are more than a machine can have") }
    let places = configuration.drives.count + (configuration.shares?.count ?? 0)
    guard places <= Self.maximumDrives else {
      throw refuse("\(places) drives and shares; a microvm has places for \(Self.maximumDrives)")
    }
    for share in configuration.shares ?? [] where !isID(share.tag, 36) {
      throw refuse("\"\(share.tag)\" is no tag for a share")
    }
    if configuration.shares?.isEmpty == false, self.memory != .own {
      throw HypervisorError(.unsupported, "a machine with shares can be neither frozen nor thawed")
    }
    for drive in configuration.drives {
      guard isID(drive.id, 20) else { throw refuse("\"\(drive.id)\" is no id for a drive") }
      if let descriptor = drive.descriptor, !(16..<64).contains(descriptor) {
        throw refuse("\(descriptor) is no number for a drive's descriptor")
      }
    }
    if let mac = configuration.macAddress, !Self.isMAC(mac) { throw refuse("\"\(mac)\" is no MAC address") }
    if case .user(_, let ports) = network {
      for port in ports
      where !port.hostAddress.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") })
        || port.hostPort == 0 || port.guestPort == 0
      {
        throw HypervisorError(
          .unsupported, "QEMU's own network cannot publish \(port.hostAddress):\(port.hostPort)",
          advice: "give an IPv4 address, or install passt")
      }
    }
    // x86 Linux cuts its command line there (COMMAND_LINE_SIZE), silently.
    guard commandLine.utf8.count < 2048, !commandLine.utf8.contains(where: { $0 < 32 }) else {
      throw refuse("the kernel's arguments are \(commandLine.utf8.count) bytes long or hold control characters")
    }
  }

  private static func isMAC(_ text: String) -> Bool {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    return parts.count == 6 && parts.allSatisfy { $0.utf8.count == 2 && $0.allSatisfy(\.isHexDigit) }
  }
}
