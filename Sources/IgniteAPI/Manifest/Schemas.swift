internal import IgniteSystem

/// What manifests of a kind may say.
public struct KindSchema: Sendable {
  public var kind: String
  /// Lower-case names that the command line takes for it.
  public var names: [String]
  public var help: String
  public var spec: [Field]
  /// Its fields stand beside its metadata, and not in a spec.
  public var isFlat = false

  public static let all = [
    app, configMap, directory, gitRepository, image, kernel, secret, sync, vm, vmSet, volume,
  ]

  public static func find(kind: String) -> KindSchema? { all.first { $0.kind == kind } }
}

extension KindSchema {
  private static let bytes: ClosedRange<Int64> = 0...Int64.max
  private static let port = Shape.whole(1...65_535)

  public static let volume = KindSchema(
    kind: Volume.kind, names: ["volume", "volumes"],
    help: "A disk that outlives the VMs that use it: ext4, in a sparse file of the host.",
    spec: [Field("size", .size, required: true, "Of the disk; its file takes what has been written.")])

  public static let vm = KindSchema(
    kind: VM.kind, names: ["vm", "vms"], help: "A virtual machine, made from an OCI image.",
    spec: [
      Field(
        "image",
        .record([
          Field("oci", .text, required: true, "A reference, as docker.io/library/nginx:1.27."),
          Field(
            "pullPolicy", .word(PullPolicy.allCases.map(\.rawValue)), .inPlace,
            "When a registry is asked for an image that is here already."),
        ]), required: true, "What the VM is made from."),
      Field(
        "kernel", .record([Field("oci", .text, required: true, "An imported kernel's name.")]),
        "The kernel that it boots; absent: the default one."),
      Field("hypervisor", .word(HypervisorChoice.allCases.map(\.rawValue)), "What runs it."),
      Field("state", .word(DesiredState.allCases.map(\.rawValue)), .inPlace, "Whether it runs."),
      Field(
        "restart",
        .record([
          Field(
            "policy", .word(RestartPolicy.allCases.map(\.rawValue)), standard: .string("Never"), .inPlace,
            "Whether it is started again when its process has ended, or it broke down."),
          Field(
            "max", .whole(0...1_000_000), standard: .integer(0), .inPlace,
            "Of OnFailure: so many restarts at most; 0 is no limit."),
        ]), .inPlace, "What follows its end."),
      Field(
        "updatePolicy", .word(UpdatePolicy.allCases.map(\.rawValue)), .inPlace,
        "What becomes of a change that cannot be made in place. Replace loses the VM's disk, and keeps its volumes."),
      Field(
        "resources",
        .record([
          Field("cpus", .whole(1...32), "Virtual processors."),
          Field("memory", .size, "Of the machine, its kernel's part included."),
          Field("disk", .size, "Of the writable disk; sparse on the host."),
        ]), "What the machine has."),
      Field(
        "process",
        .record([
          Field("boot", .word(BootMode.allCases.map(\.rawValue)), "Whether the image's own init is PID 1."),
          Field("command", .list(.text), "The entrypoint; absent: the image's."),
          Field("args", .list(.text), "The arguments; absent: the image's."),
          Field("env", .list(.text), "KEY=VALUE each, over the image's."),
          Field("envFrom", .list(.record(variables)), "Variables of ConfigMaps and Secrets, under those of env."),
          Field("workingDir", .text, "Absent: the image's."),
          Field("user", .text, "Name or number, with a group after a colon; absent: the image's."),
          Field("tty", .flag, "Its streams are a terminal."),
          Field("stdin", .flag, "Standard input is kept open for who attaches."),
        ]), "What runs in it."),
      Field(
        "network",
        .record([
          Field(
            "ports",
            .list(
              .record([
                Field("address", .text, standard: .string(""), "Of the host; absent: the configuration's."),
                Field("host", port, standard: .integer(0), "The host's port; absent: one that is free."),
                Field("vm", port, required: true, "The VM's port."),
                Field("protocol", .word(["TCP", "UDP"]), standard: .string("TCP"), "TCP unless told otherwise."),
              ])), "Ports of the host that lead to the VM's.")
        ]), "How it is reached."),
      Field("hostname", .text, "In the guest; absent: the first 12 digits of its UID."),
      Field(
        "logs",
        .record([
          Field("maxSize", .size, "Of one file."),
          Field("maxFiles", .whole(1...1000), "The one that is written to among them."),
        ]), "What is kept of what its process writes."),
      Field(
        "health",
        .record([
          Field("test", .list(.text), "NONE; or CMD and a program; or CMD-SHELL and a line for a shell."),
          Field("interval", .milliseconds, "Between checks."),
          Field("timeout", .milliseconds, "For one check."),
          Field("startPeriod", .milliseconds, "Failures do not count for so long."),
          Field("startInterval", .milliseconds, "Between checks in that time."),
          Field("retries", .whole(1...1000), "Failures one after the other that make it unhealthy."),
          Field("endsUnhealthy", .flag, "An unhealthy VM has failed, and its restart policy has its say."),
        ]), "How its health is checked; absent: as the image says."),
      Field("stopSignal", .text, "Name or number of the signal that asks its process to end."),
      Field("stopTimeout", .seconds, .inPlace, "From that signal to the VM's end."),
      Field("cold", .flag, "Its kernel boots at every start, rather than to be thawed from a template."),
      Field(
        "reclaimMemory", .flag,
        "What its guest frees is given back to the host, also where it starts from a template, of which it then has a copy."
      ),
      Field("limits", .record(limits), .inPlace, "Its share of the host's processors and disks, by its control group."),
      Field(
        "volumes",
        .list(
          .record([
            Field("mountPath", .text, required: true, "Absolute, in the VM."),
            Field("readOnly", .flag, standard: .bool(false), "Nothing is written there."),
            Field(
              "volume",
              .record([
                Field("name", .text, required: true, "Of a Volume; one that is not there is made."),
                Field("noCopy", .flag, "An empty one is not given what the image has at the place."),
              ]), "A disk that outlives the VM."),
            Field("hostPath", .record([Field("path", .text, required: true, "Absolute.")]), "A directory of the host."),
            Field(
              "blockDevice", .record([Field("path", .text, required: true, "Absolute.")]),
              "A block device of the host, with a file system on it."),
            Field(
              "tmpfs",
              .record([
                Field("size", .size, "At most; absent: half of the VM's memory."),
                Field("mode", .text, "Of the directory, octal."),
                Field("options", .list(.text), "Further options of mount(8)."),
              ]), "Memory."),
            Field("configMap", .record(configFiles), "A ConfigMap's keys as files, given at each start."),
            Field("secret", .record(configFiles), "A Secret's, in memory alone."),
          ])), "Disks, directories and memory at places of its file system."),
      Field(
        "files",
        .list(
          .record([
            Field("path", .text, required: true, "Absolute, in the VM; its directories are made."),
            Field("content", .text, "What it has in it."),
            Field("configMap", .record(configKey), "Its content is a ConfigMap's."),
            Field("secret", .record(configKey), "Its content is a Secret's."),
            Field("mode", .text, "Octal; absent: 0644."),
            Field("owner", .text, "Numbers of user and group, as 1000:1000; absent: root's."),
          ])), "Single files, given at each start."),
    ])

  private static let isOptional = Field("optional", .flag, "One that is not there is none, and no error.")

  private static let configFiles = [
    Field("name", .text, required: true, "Of the object."),
    Field(
      "items",
      .list(
        .record([
          Field("key", .text, required: true, "In the object."),
          Field("path", .text, required: true, "Of its file, below the mountPath."),
        ])), "These keys alone; absent: all, each as a file of its name."),
    Field("mode", .text, "Of the files, octal; absent: 0644."),
    Field("owner", .text, "Numbers of user and group, as 1000:1000; absent: root's."), isOptional,
  ]

  private static let configKey = [
    Field("name", .text, required: true, "Of the object."), Field("key", .text, required: true, "In it."), isOptional,
  ]

  private static let variables = [
    Field("configMap", .record([Field("name", .text, required: true, "Of the object."), isOptional]), "A ConfigMap."),
    Field("secret", .record([Field("name", .text, required: true, "Of the object."), isOptional]), "A Secret."),
    Field("prefix", .text, "Of the variables' names, before each key."),
    Field("variables", .map, "These alone: the variable's name, and the key; absent: all keys that can be a name."),
  ]

  private static let limits = [
    Field("cpuMillis", .whole(10...32_000), .inPlace, "Thousandths of one processor's time."),
    Field("cpuShares", .whole(2...262_144), .inPlace, "Beside others, where time is short; usually 1024."),
    Field("ioWeight", .whole(10...1000), .inPlace, "The same of disks; usually 100."),
    Field(
      "devices",
      .list(
        .record([
          Field("path", .text, required: true, "A block device of the host."),
          Field("readBytes", .size, "A second."),
          Field("writeBytes", .size, "A second."),
          Field("readOperations", .whole(1...Int64.max), "A second."),
          Field("writeOperations", .whole(1...Int64.max), "A second."),
        ])), .inPlace, "Rates of single devices."),
  ]
}
