import FoundationEssentials
import IgniteSystem
import Testing

@testable import IgniteHypervisor

@Suite struct QEMUArgumentsTests {
  private var configuration: MachineConfiguration {
    MachineConfiguration(
      kernelPath: "/k/vmlinux", initrdPath: "/k/initrd", kernelArguments: ["ignite.x=1"], cpus: 2,
      memoryBytes: 512 << 20,
      drives: [
        .init(id: "base", path: "/d/a,b.ext4", readOnly: true), .init(id: "disk", path: "/v/disk", readOnly: false),
      ],
      macAddress: "52:54:00:12:34:56", agentSocketPath: "/r/a", controlSocketPath: "/r/q", consoleSocketPath: "/r/c",
      timestampCounterKilohertz: 2_500_000)
  }

  @Test func anEmulatedMachine() throws {
    let arguments = try QEMUArguments(configuration, .none).build()
    #expect(
      arguments == [
        "-machine", "microvm,acpi=on,rtc=on,pit=on,pic=on", "-accel", "tcg,thread=multi",
        "-global", "virtio-mmio.force-legacy=false", "-cpu", "max,-erms,-fsrm", "-smp", "2", "-m", "512M",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-kernel", "/k/vmlinux", "-initrd", "/k/initrd", "-append",
        "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests audit=0 no_timer_check nokaslr mitigations=off "
          + "tsc=reliable clocksource=tsc tsc_early_khz=2500000 lpj=5000000 noreplace-smp "
          + "lapic_timer_khz=1000000 ignite.x=1",
        "-chardev", "socket,id=control,fd=3,server=on,wait=off", "-mon", "chardev=control,mode=control",
        "-chardev", "socket,id=console,fd=5,server=on,wait=off", "-serial", "chardev:console",
        "-device", "virtio-serial-device,max_ports=2", "-chardev", "socket,id=agent,fd=4,server=on,wait=off",
        "-device", "virtserialport,chardev=agent,name=ignite.agent",
        "-blockdev",
        "driver=raw,node-name=drive0,read-only=on,cache.direct=off,file.driver=file,file.aio=threads,"
          + "file.filename=/d/a,,b.ext4",
        "-device", "virtio-blk-device,drive=drive0,serial=base",
        "-blockdev",
        "driver=raw,node-name=drive1,read-only=off,discard=unmap,cache.direct=off,file.driver=file,file.aio=threads,"
          + "file.filename=/v/disk",
        "-device", "virtio-blk-device,drive=drive1,serial=disk",
        "-device", "virtio-rng-device", "-device", "virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on",
      ])
  }

  /// One that is to be frozen, and what is thawed from it: the same machine, but for what its state has or does not need.
  @Test func frozenAndThawed() throws {
    let frozen = try QEMUArguments(configuration, .neutral, memory: .shared).build()
    let thawed = try QEMUArguments(configuration, .user(restricted: true, ports: []), memory: .thawed).build()
    func backend(share: String) -> String {
      "memory-backend-file,id=memory,size=512M,mem-path=/proc/self/fd/7,share=\(share)"
    }
    #expect(frozen[1] == "microvm,acpi=on,rtc=on,pit=on,pic=on,memory-backend=memory" && thawed[1] == frozen[1])
    #expect(frozen.contains(backend(share: "on")) && frozen.contains("hubport,id=net0,hubid=0"))
    #expect(frozen.contains("-kernel") && !frozen.contains("-incoming"))
    #expect(thawed.contains(backend(share: "off")) && !thawed.contains("-kernel"))
    #expect(thawed.suffix(from: try #require(thawed.firstIndex(of: "-incoming"))).prefix(2) == ["-incoming", "defer"])
    // A guest must not have pages taken out of the memory that it shares.
    for arguments in [frozen, thawed] {
      #expect(arguments.last == "virtio-balloon-device,free-page-reporting=off,deflate-on-oom=on")
    }
  }

  @Test func whatMayDifferIsNoPartOfAFrozenMachine() throws {
    let hypervisor = try QEMUHypervisor(program: "/bin/true")
    let one = try hypervisor.frozenArguments(configuration, hasNetwork: true)
    var other = configuration
    (other.kernelPath, other.initrdPath, other.macAddress) = ("/x/vmlinux", "/x/initrd", "52:00:00:00:00:01")
    (other.agentSocketPath, other.controlSocketPath, other.consoleSocketPath) = ("/x/a", "/x/q", "/x/c")
    for index in other.drives.indices { other.drives[index].path = "/x/\(index)" }
    #expect(try hypervisor.frozenArguments(other, hasNetwork: true) == one)
    #expect(!one.contains { $0.contains("/k/") || $0.contains("/d/") || $0.contains("52:54") })
    let edits: [(inout MachineConfiguration) -> Void] = [
      { $0.cpus = 1 }, { $0.memoryBytes = 256 << 20 }, { $0.kernelArguments = [] }, { $0.drives.removeLast() },
      { $0.accelerator = .kvm }, { $0.timestampCounterKilohertz = 1_000_000 }, { $0.initrdPath = nil },
      { $0.drives[0].readOnly = false }, { $0.drives[0].id = "x" },
    ]
    for (index, edit) in edits.enumerated() {
      var changed = configuration
      edit(&changed)
      #expect(try hypervisor.frozenArguments(changed, hasNetwork: true) != one, "edit \(index)")
    }
    #expect(try hypervisor.frozenArguments(configuration, hasNetwork: false) != one)
  }

  @Test func underKVMTheGuestsClockIsLeftAlone() throws {
    var configuration = configuration
    configuration.accelerator = .kvm
    let arguments = try QEMUArguments(configuration, .none).build().joined(separator: " ")
    #expect(arguments.contains("-accel kvm ") && arguments.contains("-cpu host "))
    #expect(!arguments.contains("tsc") && !arguments.contains("mitigations"))
  }

  @Test func networks() throws {
    let ports = [
      PortForward(hostPort: 8080, guestPort: 80),
      PortForward(isUDP: true, hostAddress: "127.0.0.1", hostPort: 53, guestPort: 5353),
    ]
    let (one, _) = try UnixSocket.pair()
    func netdev(_ attachment: NetworkAttachment) throws -> [String] {
      let arguments = try QEMUArguments(configuration, attachment).build()
      let place = try #require(arguments.firstIndex(of: "-netdev"))
      return Array(arguments[place..<place + 4])
    }
    #expect(
      try netdev(.stream(one)) == [
        "-netdev", "stream,id=net0,server=off,addr.type=fd,addr.str=6", "-device",
        "virtio-net-device,netdev=net0,mac=52:54:00:12:34:56",
      ])
    #expect(
      try netdev(.user(restricted: true, ports: ports))[1]
        == "user,id=net0,restrict=on,ipv6=off,hostfwd=tcp::8080-:80,hostfwd=udp:127.0.0.1:53-:5353")
  }

  @Test func whatNoMachineCanBeMadeOfIsRefused() {
    func refusal(_ edit: (inout MachineConfiguration) -> Void, _ network: NetworkAttachment = .none) -> String {
      var configuration = configuration
      edit(&configuration)
      let error = #expect(throws: HypervisorError.self) { try QEMUArguments(configuration, network).build() }
      return error?.description ?? ""
    }
    #expect(refusal { $0.cpus = 0 } == "a machine of 0 CPUs; choose 1 to 255")
    #expect(refusal { $0.memoryBytes = 4 << 20 }.hasPrefix("4 MiB of memory do not boot"))
    #expect(refusal { $0.memoryBytes = .max }.contains("more than a machine can have"))
    #expect(refusal { $0.macAddress = "52:54:00:12:34:56,mq=on" }.contains("MAC"))
    #expect(refusal { $0.drives[0].id = "a,b=c" }.contains("a,b=c"))
    #expect(refusal { $0.drives = Array(repeating: $0.drives[0], count: 21) }.contains("places for 20"))
    #expect(refusal { $0.kernelArguments = [String(repeating: "a", count: 2048)] }.contains("arguments"))
    #expect(refusal { $0.kernelArguments = ["a\nb"] }.contains("control"))
    let evil = PortForward(hostAddress: "1.2.3.4,x", hostPort: 1, guestPort: 1)
    #expect(refusal({ _ in }, .user(restricted: true, ports: [evil])).contains("cannot publish"))
  }

  @Test func theConfigurationOutlivesASupervisor() throws {
    let data = try JSONEncoder().encode(configuration)
    #expect(try JSONDecoder().decode(MachineConfiguration.self, from: data) == configuration)
  }

  @Test func versions() {
    #expect(QEMUHypervisor.version(in: "QEMU emulator version 7.2.22 (Debian 1:7.2)")?.text == "7.2.22")
    #expect(QEMUHypervisor.version(in: "QEMU emulator version") == nil)
    #expect(QEMUHypervisor.version(in: "version x.y") == nil)
  }
}
