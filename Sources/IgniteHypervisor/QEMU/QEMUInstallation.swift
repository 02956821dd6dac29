internal import FoundationEssentials
internal import Glibc
public import IgniteSystem

extension QEMUHypervisor {
  /// The program as it is installed: its file, and what it says of its version.
  public struct Installation: Codable, Sendable, Equatable {
    public var program: String
    /// The first line of `--version`.
    public var version: String
    /// The file's size in bytes and its time of change in nanoseconds.
    public var size: Int64
    public var time: Int64
    /// The file's device and inode.
    var device: UInt64
    var inode: UInt64
  }

  /// Blocking. Asked for its version the program takes some 30 ms, so that is remembered in the cache file for as long
  /// as the program's file is the same.
  public func installation(cache path: String) throws(HypervisorError) -> Installation {
    var info = stat()
    guard stat(program, &info) == 0 else { throw HypervisorError(SystemError("look at \(program)")) }
    var found = Installation(
      program: program, version: "", size: Int64(info.st_size),
      time: Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec), device: UInt64(info.st_dev),
      inode: UInt64(info.st_ino))
    if let data = HostHardware.text(of: path, limit: 4096)?.data(using: .utf8),
      let cached = try? JSONDecoder().decode(Installation.self, from: data)
    {
      found.version = cached.version
      if cached == found, !found.version.isEmpty { return found }
    }
    let said = try Self.output(of: program, ["--version"])
    _ = try checkedVersion(in: said)
    found.version = said.split(separator: "\n").first.map(String.init) ?? ""
    if let data = try? JSONEncoder().encode(found) { HostCache.write(Array(data), to: path) }
    return found
  }
}

extension HostHardware {
  /// The processor's model and its microcode, of which a machine under KVM has a part.
  public static var processorIdentity: String {
    ["vendor_id", "cpu family", "model", "stepping", "microcode", "flags"]
      .map { processorField($0) ?? "" }.joined(separator: "|")
  }
}
