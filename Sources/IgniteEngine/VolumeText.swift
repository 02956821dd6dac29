internal import FoundationEssentials
public import IgniteAPI

/// Docker's spellings of what a VM has mounted: `-v`, `--mount` and `--tmpfs`.
///
/// Whether a path of the host is a directory or a block device is looked at when the VM is made.
public enum VolumeText {
  /// `[SOURCE:]PATH[:OPTIONS]` of `-v`. A source with a slash is a path of the host; without one a volume is new, and the
  /// VM's own.
  public static func volume(_ text: String) throws -> VolumeMount {
    func refuse(_ reason: String) -> EngineError {
      EngineError(.invalidArgument, "-v \(text): \(reason)", advice: "write -v NAME:/path or -v /host/dir:/path[:ro]")
    }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard (1...3).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else {
      throw refuse("it is not [SOURCE:]PATH[:OPTIONS]")
    }
    var mount = VolumeMount(mountPath: try path(parts.count == 1 ? parts[0] : parts[1], in: "-v \(text)"))
    var noCopy = false
    for option in parts.count == 3 ? parts[2].split(separator: ",").map(String.init) : [] {
      switch option {
      case "ro", "readonly": mount.readOnly = true
      case "rw": mount.readOnly = false
      case "nocopy": noCopy = true
      // SELinux's labels and hints of other systems say nothing to a VM.
      case "z", "Z", "cached", "delegated", "consistent", "default", "rprivate", "private": break
      default: throw refuse("there is no option \(option)")
      }
    }
    if parts.count == 1 {
      mount.volume = VolumeMount.Named(name: "")
    } else if parts[0].contains("/") || parts[0] == "." || parts[0] == ".." || parts[0] == "~" {
      guard !noCopy else { throw refuse("nocopy is for volumes") }
      mount.hostPath = VolumeMount.Path(path: try hostPath(parts[0], in: "-v \(text)"))
    } else {
      mount.volume = VolumeMount.Named(name: parts[0], noCopy: noCopy ? true : nil)
    }
    return mount
  }

  /// `PATH[:OPTIONS]` of `--tmpfs`.
  public static func temporary(_ text: String) throws -> VolumeMount {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    var mount = VolumeMount(mountPath: try path(parts[0], in: "--tmpfs \(text)"))
    var memory = VolumeMount.Temporary()
    var options: [String] = []
    for option in parts.count == 2 ? parts[1].split(separator: ",").map(String.init) : [] {
      let pair = option.split(separator: "=", maxSplits: 1).map(String.init)
      switch (pair[0], pair.count) {
      case ("size", 2): memory.size = try size(pair[1], in: "--tmpfs \(text)")
      case ("mode", 2): memory.mode = try mode(pair[1], in: "--tmpfs \(text)")
      case ("ro", 1): mount.readOnly = true
      case ("rw", 1): mount.readOnly = false
      case ("uid", 2), ("gid", 2), ("nr_inodes", 2):
        guard pair[1].utf8.allSatisfy({ (48...57).contains($0) }), pair[1].utf8.count < 10 else { fallthrough }
        options.append(option)
      case ("exec", 1), ("noexec", 1), ("suid", 1), ("nosuid", 1), ("dev", 1), ("nodev", 1): options.append(option)
      default:
        throw EngineError(
          .invalidArgument, "--tmpfs \(text): there is no option \(option)",
          advice: "there are size, mode, uid, gid, nr_inodes, ro, exec, suid and dev")
      }
    }
    if !options.isEmpty { memory.options = options }
    mount.tmpfs = memory
    return mount
  }

  /// `type=volume,source=NAME,target=PATH,…` of `--mount`: fields of one line of CSV.
  public static func mount(_ text: String) throws -> VolumeMount {
    func refuse(_ reason: String) -> EngineError {
      EngineError(
        .invalidArgument, "--mount \(text): \(reason)",
        advice: "write --mount type=volume,source=NAME,target=/path (types: volume, bind, block, tmpfs)")
    }
    var type = "volume"
    var source: String?
    var target: String?
    var mount = VolumeMount(mountPath: "/")
    var memory = VolumeMount.Temporary()
    var noCopy = false
    for field in try fields(text, refuse) {
      let pair = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let value = pair.count == 2 ? pair[1] : ""
      func flag() throws -> Bool {
        switch value.lowercased() {
        case "", "1", "true": return true
        case "0", "false": return false
        default: throw refuse("\(pair[0]) is true or false")
        }
      }
      switch pair[0].lowercased() {
      case "type": type = value.lowercased()
      case "source", "src": source = value
      case "target", "destination", "dst": target = value
      case "readonly", "ro": mount.readOnly = try flag()
      case "volume-nocopy": noCopy = try flag()
      case "tmpfs-size": memory.size = try size(value, in: "--mount \(text)")
      case "tmpfs-mode": memory.mode = try mode(value, in: "--mount \(text)")
      case "volume-driver" where value == "local": break
      case "bind-propagation" where ["rprivate", "private", ""].contains(value): break
      case "consistency": break
      default: throw refuse("there is no field \(field)")
      }
    }
    guard let target else { throw refuse("it has no target") }
    mount.mountPath = try path(target, in: "--mount \(text)")
    if noCopy && type != "volume" { throw refuse("volume-nocopy is for volumes") }
    switch type {
    case "volume": mount.volume = VolumeMount.Named(name: source ?? "", noCopy: noCopy ? true : nil)
    case "bind", "block":
      guard let source, !source.isEmpty else { throw refuse("it has no source") }
      let place = VolumeMount.Path(path: try hostPath(source, in: "--mount \(text)"))
      if type == "bind" { mount.hostPath = place } else { mount.blockDevice = place }
    case "tmpfs":
      guard source == nil else { throw refuse("a tmpfs has no source") }
      mount.tmpfs = memory
    default: throw refuse("there is no type \(type)")
    }
    return mount
  }

  /// The fields of one line of CSV (RFC 4180): commas within quotes are a field's own.
  private static func fields(_ text: String, _ refuse: (String) -> EngineError) throws -> [String] {
    var fields = [""]
    var isQuoted = false
    for character in text {
      switch character {
      case "\"": isQuoted.toggle()
      case "," where !isQuoted: fields.append("")
      default: fields[fields.count - 1].append(character)
      }
    }
    guard !isQuoted else { throw refuse("a quote is not closed") }
    guard fields.allSatisfy({ !$0.isEmpty }) else { throw refuse("a field is empty") }
    return fields
  }

  /// A place in the VM, without `.`, `..` and doubled slashes.
  static func path(_ text: String, in place: String) throws -> String {
    func refuse(_ reason: String) -> EngineError {
      EngineError(.invalidArgument, "\(place): \(reason)", advice: "give an absolute path in the VM, as /data")
    }
    guard text.hasPrefix("/") else { throw refuse("\"\(text)\" is no absolute path") }
    guard text.utf8.count < 4096, !text.utf8.contains(where: { $0 < 32 || $0 == 127 }) else {
      throw refuse("the path is too long, or has control characters")
    }
    var parts: [Substring] = []
    for part in text.split(separator: "/") where part != "." {
      if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    guard !parts.isEmpty else { throw refuse("nothing can be mounted at /") }
    guard !["proc", "sys", "dev"].contains(parts[0]) || parts.count > 1 else {
      throw refuse("/\(parts[0]) is the kernel's own")
    }
    return "/" + parts.joined(separator: "/")
  }

  private static func hostPath(_ text: String, in place: String) throws -> String {
    guard text.utf8.count < 4096, !text.utf8.contains(where: { $0 < 32 || $0 == 127 }) else {
      throw EngineError(.invalidArgument, "\(place): the host's path is too long, or has control characters")
    }
    if text.hasPrefix("/") { return text }
    if text == "~" || text.hasPrefix("~/") {
      return (ProcessInfo.processInfo.environment["HOME"] ?? "/") + text.dropFirst()
    }
    return FileManager.default.currentDirectoryPath + "/" + text
  }

  private static func size(_ text: String, in place: String) throws -> ByteQuantity {
    guard let size = ByteQuantity(commandLine: text), size.bytes >= 4096, size.bytes <= 1 << 44 else {
      throw EngineError(.invalidArgument, "\(place): \"\(text)\" is no size", advice: "write it as 64m or 1g")
    }
    return size
  }

  private static func mode(_ text: String, in place: String) throws -> String {
    guard (1...5).contains(text.utf8.count), let mode = UInt32(text, radix: 8), mode <= 0o7777 else {
      throw EngineError(.invalidArgument, "\(place): \"\(text)\" is no mode", advice: "write it in octal, as 1777")
    }
    return String(mode, radix: 8)
  }
}
