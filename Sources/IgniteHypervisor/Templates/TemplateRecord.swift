public import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// What `template.json` says of a template.
public struct TemplateRecord: Codable, Sendable, Equatable {
  public var identity: TemplateIdentity
  public var created: Date
  /// SHA-256 of the memory's data with its places, and of the devices' state.
  var memoryDigest: String
  var stateDigest: String
  var stateBytes: Int

  public var key: TemplateKey { identity.key }

  private static let maximumBytes = 256 << 10
  /// A machine's devices take some 60 KB.
  private static let maximumStateBytes = 64 << 20

  /// Reads it from a template's directory.
  /// - Throws: `damaged` for a record that is torn, of another format, or of another template.
  static func read(_ directory: String, key: TemplateKey) throws(HypervisorError) -> TemplateRecord {
    let path = directory + "/template.json"
    let bytes: [UInt8]
    do throws(SystemError) {
      bytes = try SmallFile.read(path, limit: maximumBytes)
    } catch {
      throw .damaged("its record cannot be read: \(error.message)")
    }
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .iso8601
    guard let record = try? decoder.decode(TemplateRecord.self, from: Data(bytes)) else {
      throw .damaged("its record makes no sense")
    }
    guard record.identity.format == TemplateIdentity.currentFormat else {
      throw .damaged(
        "it is of format \(record.identity.format), and this program knows \(TemplateIdentity.currentFormat)")
    }
    guard record.identity.key == key else { throw .damaged("its record is another template's") }
    // It is ours alone, so what would not be written so was not: no field twice, unknown, or in other words.
    guard record.isSound, (try? record.encoded()) == bytes else {
      throw .damaged("its record is not as it was written")
    }
    return record
  }

  private var isSound: Bool {
    (0...Self.maximumStateBytes).contains(stateBytes) && [memoryDigest, stateDigest].allSatisfy(TemplateDigest.isOne)
      && identity.cpus > 0 && (1...UInt64(Int64.max)).contains(identity.memoryBytes)
  }

  private func encoded() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.dateEncodingStrategy = .iso8601
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return Array(try encoder.encode(self))
  }

  func write(to directory: String) throws(HypervisorError) {
    guard isSound, let bytes = try? encoded() else { throw .damaged("its record cannot be written") }
    do throws(SystemError) {
      try SmallFile.write(bytes, to: directory + "/template.json")
    } catch {
      throw HypervisorError(error)
    }
  }
}

/// A template as lists show it.
public struct ListedTemplate: Sendable {
  public var record: TemplateRecord
  public var lastUsed: Date
  /// What it takes on the host's disk.
  public var bytes: UInt64
  /// The process that holds its memory for clones, as root.
  public var keeper: Int32?
  /// How many hold on to that memory: VMs that run, and those that are being started.
  public var clones: Int
}

extension HypervisorError {
  /// A template that must not be used.
  static func damaged(_ reason: String) -> HypervisorError { HypervisorError(.damaged, reason) }
}

/// Files that are read and written whole.
enum SmallFile {
  /// - Throws: EFBIG for a file that is larger than `limit`.
  static func read(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = try retrying("read \(path)") { Glibc.read(file.number, &buffer, buffer.count) }
      if count == 0 { return bytes }
      bytes += buffer[0..<count]
      if bytes.count > limit { throw SystemError("read \(path)", code: EFBIG) }
    }
  }

  /// Makes the file, on stable storage when it returns.
  static func write(_ bytes: [UInt8], to path: String) throws(SystemError) {
    let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
    var done = 0
    while done < bytes.count {
      done += try retrying("write \(path)") {
        bytes.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress.map { $0 + done }, $0.count - done) }
      }
    }
    try retrying("write \(path)") { Int(fsync(file.number)) }
  }
}
