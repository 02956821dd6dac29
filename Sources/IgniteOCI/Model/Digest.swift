internal import Crypto

/// The name of content by its hash, `sha256:<64 hex digits>` (OCI image specification, descriptor.md, Digests).
///
/// Content is verified with sha256 only; sha512 is a valid form that is carried, and refused when content is opened.
public struct Digest: Sendable, Hashable {
  /// The registered algorithms.
  public enum Algorithm: String, Sendable, Hashable {
    case sha256
    case sha512

    /// How many hex digits the encoded hash has.
    var hexCount: Int { self == .sha256 ? 64 : 128 }
  }

  public let algorithm: Algorithm
  /// The hash in lower-case hex digits.
  public let hex: String

  /// Reads `algorithm:hex`; upper-case digits, other algorithms and other lengths are refused.
  public init(parsing text: some StringProtocol) throws(OCIError) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, let algorithm = Algorithm(rawValue: String(parts[0])) else {
      throw OCIError(
        .invalidReference, "'\(OCIError.quoted(text))' is no digest: it must start with sha256: or sha512:")
    }
    let hex = parts[1].utf8
    guard hex.count == algorithm.hexCount,
      hex.allSatisfy({
        ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) || ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f"))
      })
    else {
      throw OCIError(
        .invalidReference,
        "'\(OCIError.quoted(text, limit: 160))' is no digest: \(algorithm.rawValue): wants \(algorithm.hexCount) lower-case hex digits"
      )
    }
    self.algorithm = algorithm
    self.hex = String(parts[1])
  }

  init(sha256Hex hex: String) {
    algorithm = .sha256
    self.hex = hex
  }

  /// The sha256 of `bytes`.
  public static func sha256(of bytes: some Sequence<UInt8>) -> Digest {
    var hasher = DigestHasher()
    let contiguous: Void? = bytes.withContiguousStorageIfAvailable { hasher.update(UnsafeRawBufferPointer($0)) }
    if contiguous == nil { Array(bytes).withUnsafeBytes { hasher.update($0) } }
    return hasher.finalize()
  }

  /// The first twelve hex digits, for people: `sha256:12ab34cd56ef`.
  public var short: String { "\(algorithm.rawValue):\(hex.prefix(12))" }
}

extension Digest: CustomStringConvertible, LosslessStringConvertible {
  /// `algorithm:hex`.
  public var description: String { "\(algorithm.rawValue):\(hex)" }

  public init?(_ description: String) {
    guard let digest = try? Digest(parsing: description) else { return nil }
    self = digest
  }
}

extension Digest: Codable {
  public init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    self = try Digest(parsing: text)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

/// A running sha256.
public struct DigestHasher: Sendable {
  private var hash = SHA256()

  public init() {}

  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    hash.update(bufferPointer: bytes)
  }

  /// The digest of all that was fed so far; the hasher can be fed on.
  public func finalize() -> Digest {
    let digits: [UInt8] = Array("0123456789abcdef".utf8)
    var hex: [UInt8] = []
    hex.reserveCapacity(64)
    for byte in hash.finalize() {
      hex.append(digits[Int(byte >> 4)])
      hex.append(digits[Int(byte & 15)])
    }
    return Digest(sha256Hex: String(decoding: hex, as: UTF8.self))
  }
}
