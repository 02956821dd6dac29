internal import Crypto
internal import FoundationEssentials

/// All that has to be equal for a frozen machine to thaw as another.
public struct TemplateIdentity: Codable, Sendable, Equatable {
  /// Raised whenever what is frozen, or how it is kept, changes.
  public static let currentFormat = 1

  public var format = TemplateIdentity.currentFormat
  /// `QEMU`.
  public var hypervisor: String
  /// The whole first line of the program's `--version`.
  public var version: String
  /// The program's file: bytes, and nanoseconds since 1970 of its last change.
  public var programSize: Int64
  public var programTime: Int64
  /// The imported kernel's digest, `sha256:…`.
  public var kernel: String
  /// For lists only; no part of the key.
  public var kernelName: String
  /// The initrd's file name, which tells its content.
  public var initrd: String
  /// The hypervisor's arguments without what may differ from VM to VM, and the drives' sizes.
  public var arguments: [String]
  /// Under KVM the processor's model and microcode; empty under emulation.
  public var processor: String
  public var cpus: Int
  public var memoryBytes: UInt64

  public init(
    hypervisor: String, version: String, programSize: Int64, programTime: Int64, kernel: String, kernelName: String,
    initrd: String, arguments: [String], processor: String, cpus: Int, memoryBytes: UInt64
  ) {
    self.hypervisor = hypervisor
    self.version = version
    self.programSize = programSize
    self.programTime = programTime
    self.kernel = kernel
    self.kernelName = kernelName
    self.initrd = initrd
    self.arguments = arguments
    self.processor = processor
    self.cpus = cpus
    self.memoryBytes = memoryBytes
  }

  /// SHA-256 over the fields, each with its length in front, so that no two lists of fields are one text.
  public var key: TemplateKey {
    var hash = SHA256()
    let fields =
      [
        String(format), hypervisor, version, String(programSize), String(programTime), kernel, initrd, processor,
        String(cpus), String(memoryBytes), String(arguments.count),
      ] + arguments
    for field in fields {
      hash.update(data: Array("\(field.utf8.count):".utf8))
      hash.update(data: Array(field.utf8))
    }
    return TemplateKey(digest: TemplateDigest.hex(hash.finalize()))
  }
}

/// A template's name: 32 hexadecimal digits, the first half of its identity's digest.
public struct TemplateKey: Hashable, Sendable, CustomStringConvertible {
  public let hex: String

  init(digest: String) { hex = String(digest.prefix(32)) }

  /// nil for what is no key.
  public init?(_ text: String) {
    guard text.utf8.count == 32, text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
      return nil
    }
    hex = text
  }

  public var description: String { hex }
  /// As lists show it, and as its files in the run directory are called.
  public var short: String { String(hex.prefix(12)) }
}

/// SHA-256 in hexadecimal digits.
enum TemplateDigest {
  static func hex(_ digest: SHA256.Digest) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  static func of(_ bytes: [UInt8]) -> String { hex(SHA256.hash(data: bytes)) }

  static func isOne(_ text: String) -> Bool {
    text.utf8.count == 64 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  }
}
