internal import FoundationEssentials
internal import IgniteEngine

/// Docker's flags of `run` and `create` that are not ours: refused by name with the reason.
enum DockerFlags {
  /// Flags of ours that take a value, so that their values are not taken for the image.
  private static let valued: Set<String> = [
    "--name", "-e", "--env", "--env-file", "-w", "--workdir", "-u", "--user", "--entrypoint", "-p", "--publish", "-l",
    "--label", "--cpus", "-m", "--memory", "-s", "--size", "-k", "--kernel-image", "--hostname", "-h", "--pull",
    "--boot", "--platform", "--restart", "--stop-signal", "--stop-timeout",
    "--health-cmd", "--health-interval", "--health-timeout", "--health-start-period", "--health-start-interval",
    "--health-retries", "--log-opt", "--log-driver", "-v", "--volume", "--mount", "--tmpfs",
    "-c", "--cpu-shares", "--blkio-weight", "--device-read-bps", "--device-write-bps", "--device-read-iops",
    "--device-write-iops",
    "--data-dir", "--run-dir", "--accel",
  ]

  private static let lacking: [String: String] = {
    let notYet = "it is not there yet (docs/limits.md)"
    let isolation = "a VM is isolated by its machine, and its root has all rights inside and none outside"
    var flags: [String: String] = [:]
    for name in [
      "--volumes-from", "--volume-driver",
      "--network", "--net", "--network-alias", "--net-alias", "--ip", "--ip6", "--mac-address", "--dns", "--dns-option",
      "--dns-search", "--add-host", "--link", "-P", "--publish-all", "--expose", "--read-only",
      "--cidfile", "--label-file", "-a", "--attach", "--detach-keys", "--sysctl",
      "--ulimit", "--shm-size", "--group-add", "--domainname", "--memory-reservation",
      "--annotation", "--blkio-weight-device",
    ] { flags[name] = notYet }
    for name in [
      "--privileged", "--cap-add", "--cap-drop", "--security-opt", "--userns", "--pid", "--ipc", "--uts", "--cgroupns",
      "--cgroup-parent", "--isolation", "--runtime",
    ] { flags[name] = isolation }
    for name in ["--device", "--device-cgroup-rule", "--gpus"] { flags[name] = "a microVM has no devices of the host" }
    for name in [
      "--cpuset-cpus", "--cpuset-mems", "--cpu-period", "--cpu-quota", "--cpu-rt-period", "--cpu-rt-runtime",
    ] {
      flags[name] = "a VM's processors are given by --cpus"
    }
    for name in [
      "--memory-swap", "--memory-swappiness", "--kernel-memory", "--oom-kill-disable", "--oom-score-adj",
      "--pids-limit",
    ] {
      flags[name] = "a VM manages its memory and processes itself, within -m"
    }
    flags["--storage-opt"] = "the size of a VM's disk is given by --size"
    flags["--disable-content-trust"] = "there is no content trust to disable"
    return flags
  }()

  /// The arguments, with a `--` before the image's own so that its flags stay its own.
  /// - Throws: EngineError for a flag of docker's that we lack.
  static func checked(_ arguments: [String]) throws -> [String] {
    guard let command = arguments.firstIndex(where: { !$0.hasPrefix("-") }),
      ["run", "create", "exec"].contains(arguments[command])
    else { return arguments }
    var index = command + 1
    while index < arguments.count {
      let argument = arguments[index]
      if argument == "--" { return arguments }
      guard argument.hasPrefix("-"), argument.count > 1 else { break }
      let name = String(argument.prefix { $0 != "=" })
      if arguments[command] != "exec", let reason = lacking[name] {
        throw EngineError(
          .invalidArgument, "the flag \(name) of docker is not one of ignite's: \(reason)", advice: "leave it out")
      }
      index += valued.contains(name) && !argument.contains("=") ? 2 : 1
    }
    guard index < arguments.count else { return arguments }
    // IMAGE (or VM) and what follows it is no flag of ours.
    return Array(arguments[..<index]) + ["--"] + Array(arguments[index...])
  }
}
