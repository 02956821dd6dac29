import Foundation
import IgniteSystem
import Testing

@testable import IgniteImages

/// Debian's own cloud kernel, judged by Debian's tools and by QEMU.
@Suite struct KernelDebianTests {
  @Test func theFilesAreWhole() async throws {
    let imported = try await RealKernel.imported.value
    let kernel = imported.kernel
    #expect(kernel.name == "debian/\(kernel.package):\(kernel.packageVersion)")
    #expect(kernel.package == "linux-image-\(kernel.version)")
    #expect(kernel.facts.hasACPI && kernel.facts.hasSMP && kernel.facts.hasOverlay && !kernel.facts.virtioBuiltIn)
    #expect(kernel.moduleCount > 1000)
    let disk = try #require(imported.store.modulesDisk(of: kernel))
    try run("e2fsck", "-fn", disk)
    try run("cmp", "-n", "4", imported.store.vmlinux(of: kernel), "/bin/ls")
    let listing = try run(
      "sh", "-c", "cpio -t --quiet < \(try imported.store.initrd(for: kernel, initPath: imported.program))")
    #expect(listing.split(separator: "\n").last == "init")
    #expect(kernel.initrdModules.first == "00-virtio_ring.ko")
  }

  @Test func theIndexesAreThoseOfDepmod() async throws {
    let imported = try await RealKernel.imported.value
    let version = imported.kernel.version
    let disk = try #require(imported.store.modulesDisk(of: imported.kernel))
    let scratch = try Scratch()
    let ours = scratch("ours/lib/modules/\(version)")
    let theirs = scratch("theirs/lib/modules/\(version)")
    try FileManager.default.createDirectory(atPath: ours, withIntermediateDirectories: true)
    try run("debugfs", "-R", "rdump / \(ours)", disk)
    try run("dpkg-deb", "-x", try await RealKernel.package(), scratch("theirs"))
    try run("depmod", "-b", scratch("theirs"), version)
    try run("diff", "-r", "\(ours)/kernel", "\(theirs)/kernel")

    for name in [
      "modules.alias", "modules.alias.bin", "modules.symbols.bin", "modules.softdep", "modules.devname",
      "modules.builtin.bin", "modules.builtin.alias.bin", "modules.order", "modules.builtin",
    ] {
      try run("cmp", "\(ours)/\(name)", "\(theirs)/\(name)")
    }
    // The order of symbols, and of modules that do not need each other, is depmod's hash table's.
    func lines(_ file: String) throws -> [[Substring]] {
      try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").map { $0.split(separator: " ") }
    }
    let symbols = try (lines("\(ours)/modules.symbols"), lines("\(theirs)/modules.symbols"))
    #expect(Set(symbols.0) == Set(symbols.1) && symbols.0.count == symbols.1.count)
    let dependencies = try (lines("\(ours)/modules.dep"), lines("\(theirs)/modules.dep"))
    #expect(dependencies.0.map(\.first) == dependencies.1.map(\.first))
    #expect(dependencies.0.map(Set.init) == dependencies.1.map(Set.init))
    // Read from the right, a line never loads a module before what it needs.
    let needed = Dictionary(
      uniqueKeysWithValues: dependencies.0.map { (String($0[0].dropLast()), Set($0.dropFirst())) })
    for line in dependencies.0 {
      for (place, path) in line.enumerated().dropFirst() {
        #expect(needed[String(path)]?.isSubset(of: line[(place + 1)...]) == true, "\(line)")
      }
    }

    for name in [
      "virtio_net", "overlay", "xfs", "fs-btrfs", "pci:v00001AF4d00001000sv0sd0bc0sc0i0", "symbol:virtio_add_status",
      "ext4",
    ] {
      func show(_ root: String) throws -> [String] {
        try run("modprobe", "-d", scratch(root), "-S", version, "--show-depends", name)
          .replacingOccurrences(of: scratch(root), with: "").split(separator: "\n").map(String.init)
      }
      #expect(try show("ours") == show("theirs"), "\(name)")
    }
  }

  @Test func itBootsAndFindsItsDevices() async throws {
    let imported = try await RealKernel.imported.value
    let initrd = try imported.store.initrd(for: imported.kernel, initPath: imported.program)
    let disk = try #require(imported.store.modulesDisk(of: imported.kernel))
    // Told, because a busy host makes the kernel's own calibration fail; the rate need not be exact here.
    let rate = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8).split(separator: "\n")
      .first { $0.hasPrefix("cpu MHz") }?.split(separator: ":").last.flatMap { Double($0.drop { $0 == " " }) }
    let clock = rate.map { " tsc=reliable clocksource=tsc tsc_early_khz=\(Int($0 * 1000)) lpj=\(Int($0 * 2000))" } ?? ""
    let outcome = try await ChildProcess([
      "timeout", "--signal=KILL", "120", "qemu-system-x86_64", "-M", "microvm,acpi=on,rtc=on,pit=on,pic=on",
      "-global", "virtio-mmio.force-legacy=false", "-cpu", "max", "-accel", "tcg", "-m", "256", "-nodefaults",
      "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
      "-kernel", imported.store.vmlinux(of: imported.kernel), "-initrd", initrd,
      "-append",
      "console=ttyS0 nokaslr mitigations=off no_timer_check cryptomgr.notests audit=0 quiet panic=-1 reboot=t"
        + clock,
      "-drive", "id=d0,file=\(disk),format=raw,if=none,readonly=on", "-device", "virtio-blk-device,drive=d0",
      "-device", "virtio-serial-device", "-chardev", "null,id=c0", "-device",
      "virtserialport,nr=1,name=agent.0,chardev=c0",
      "-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-device,netdev=n0",
    ]).run()
    let lines = Set(outcome.text.split(whereSeparator: \.isNewline).map(String.init))
    let wanted = [
      "release=\(imported.kernel.version)", "loaded=\(imported.kernel.initrdModules.count)", "disk=1", "mounted=1",
      "index=1", "port=1", "network=1",
    ]
    #expect(lines.isSuperset(of: wanted), "\(outcome.text)\(outcome.errorText)")
  }

  @Test func aptNamesWhatItDoesNotKnow() async throws {
    let unknown = await #expect(throws: ImageError.self) {
      try await AptDownloader().resolve("linux-image-no-such-thing")
    }
    #expect(unknown?.code == .notFound)
    #expect(unknown?.message == "apt does not know the package linux-image-no-such-thing")
    let scratch = try Scratch()
    var apt = AptDownloader()
    apt.options = ["-o", "Dir::State::lists=\(scratch.path)", "-o", "Dir::Cache=\(scratch.path)"]
    let empty = await #expect(throws: ImageError.self) { try await apt.resolve("linux-image-cloud-amd64") }
    #expect(empty?.message.contains("package lists are empty") == true)
    #expect(empty?.advice == "run `apt-get update`")
  }
}

@Suite struct KernelChildProcessTests {
  @Test func keepsBothOutputsAndTheStatus() async throws {
    let outcome = try await ChildProcess(
      ["sh", "-c", "pwd; echo $MARK; echo err >&2; exit 3"], environment: ["MARK": "here"], workingDirectory: "/usr"
    ).run()
    #expect(outcome.text == "/usr\nhere\n")
    #expect(outcome.errorText == "err\n")
    #expect(outcome.end == .exited(3))
    #expect(!outcome.succeeded && !outcome.truncated)
    #expect(try await ChildProcess(["sh", "-c", "kill -9 $$"]).run().end == .signalled(9))
  }

  @Test func boundsItsOutput() async throws {
    let outcome = try await ChildProcess(["head", "-c", "3000000", "/dev/zero"], outputLimit: 1000).run()
    #expect(outcome.standardOutput.count == 1000)
    #expect(outcome.truncated && outcome.succeeded)
  }

  @Test func givesNoDescriptorAway() async throws {
    let outcome = try await ChildProcess(["ls", "/proc/self/fd"]).run()
    // The fourth is ls's own, of the directory.
    #expect(outcome.text == "0\n1\n2\n3\n")
  }

  @Test func namesAMissingProgram() async throws {
    let error = await #expect(throws: SystemError.self) { try await ChildProcess(["/no/such/program"]).run() }
    #expect(error?.message == "start /no/such/program: No such file or directory")
  }

  @Test(.timeLimit(.minutes(1))) func cancellationEndsTheGroup() async throws {
    let scratch = try Scratch()
    let task = Task { [path = scratch.path] in
      try await ChildProcess([
        "sh", "-c", "sleep 1000 & echo $$ $! > \(path)/pids.new; mv \(path)/pids.new \(path)/pids; wait",
      ]).run()
    }
    while !FileManager.default.fileExists(atPath: scratch("pids")) { await Task.yield() }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    for pid in try String(contentsOfFile: scratch("pids"), encoding: .utf8).split(whereSeparator: \.isWhitespace) {
      // Gone, or dead and waiting for init to reap it. An exit closes the pipes a moment before that.
      while let status = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
        !status.contains(") Z"), !status.contains(") X")
      {
        await Task.yield()
      }
    }
  }
}
