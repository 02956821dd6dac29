/// Operating system, architecture and variant, in Go's names (OCI image specification, image-index.md, platform).
public struct Platform: Sendable, Hashable {
  public var os: String
  public var architecture: String
  public var variant: String?
  public var osVersion: String?

  public init(os: String, architecture: String, variant: String? = nil, osVersion: String? = nil) {
    self.os = os
    self.architecture = architecture
    self.variant = variant
    self.osVersion = osVersion
  }

  /// Reads `os/architecture[/variant]`.
  public init(_ text: String) throws(OCIError) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let valid = parts.allSatisfy { part in
      !part.isEmpty
        && part.utf8.allSatisfy {
          ($0 | 0x20) >= 97 && ($0 | 0x20) <= 122 || $0 >= 48 && $0 <= 57 || $0 == 46 || $0 == 95
        }
    }
    guard (2...3).contains(parts.count), valid else {
      throw OCIError(
        .invalidReference, "'\(OCIError.quoted(text))' is no platform",
        advice: "spell it os/architecture[/variant], as in linux/amd64 or linux/arm/v7")
    }
    self.init(
      os: String(parts[0]), architecture: String(parts[1]), variant: parts.count == 3 ? String(parts[2]) : nil)
  }

  /// What this machine runs: Linux on its own architecture, at the architecture's base level.
  public static var host: Platform {
    #if arch(arm64)
      Platform(os: "linux", architecture: "arm64")
    #else
      Platform(os: "linux", architecture: "amd64")
    #endif
  }
}

extension Platform: Codable {
  private enum CodingKeys: String, CodingKey {
    case os, architecture, variant
    case osVersion = "os.version"
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    os = try container.decodeIfPresent(String.self, forKey: .os) ?? ""
    architecture = try container.decodeIfPresent(String.self, forKey: .architecture) ?? ""
    variant = try container.decodeIfPresent(String.self, forKey: .variant)
    osVersion = try container.decodeIfPresent(String.self, forKey: .osVersion)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(os, forKey: .os)
    try container.encode(architecture, forKey: .architecture)
    try container.encodeIfPresent(variant, forKey: .variant)
    try container.encodeIfPresent(osVersion, forKey: .osVersion)
  }
}

extension Platform: CustomStringConvertible {
  /// `os/architecture[/variant]`.
  public var description: String {
    let base = "\(os)/\(architecture)"
    guard let variant, !variant.isEmpty else { return base }
    return "\(base)/\(variant)"
  }
}

extension Platform {
  /// The platform in one spelling: aliases of architectures resolved, a base level's variant left out.
  var normalized: Platform {
    var result = self
    result.os = os.lowercased()
    result.architecture = architecture.lowercased()
    result.variant = variant.flatMap { $0.isEmpty ? nil : $0.lowercased() }
    switch result.architecture {
    case "x86_64", "x86-64": result.architecture = "amd64"
    case "aarch64": result.architecture = "arm64"
    case "armhf": (result.architecture, result.variant) = ("arm", result.variant ?? "v7")
    case "armel": (result.architecture, result.variant) = ("arm", result.variant ?? "v6")
    default: break
    }
    if let variant = result.variant, !variant.hasPrefix("v"), variant.allSatisfy(\.isNumber) {
      result.variant = "v" + variant
    }
    if result.variant == result.baseVariant { result.variant = nil }
    return result
  }

  /// The variant that an absent one means.
  private var baseVariant: String? {
    switch architecture {
    case "amd64": "v1"
    case "arm64": "v8"
    case "arm": "v7"
    default: nil
    }
  }

  /// The level of a variant as a number, 0 for one that has none.
  private var level: Int {
    guard let variant = variant ?? baseVariant else { return 0 }
    return Int(variant.drop { !$0.isNumber }.prefix { $0.isNumber }) ?? 0
  }

  /// How well an image for `self` serves a machine of `wanted`: larger is better, nil is not at all.
  ///
  /// A variant asked for takes the highest level that is not above it. Without one the base level is taken, then the
  /// highest below it, then the lowest above it, as a virtual machine's CPU is not bound to the base level.
  func suitability(for wanted: Platform) -> Int? {
    let image = normalized
    let machine = wanted.normalized
    guard image.os == machine.os, image.architecture == machine.architecture else { return nil }
    if image.variant == machine.variant { return 1 << 20 }
    let (have, want) = (image.level, machine.level)
    guard have > 0, want > 0, have <= 1000, want <= 1000 else { return nil }
    if have <= want { return (1 << 10) + have }
    return wanted.variant == nil ? 1000 - have : nil
  }

  /// Whether an image whose configuration says `self` runs on `wanted`; an image that says nothing does.
  public func suits(_ wanted: Platform) -> Bool {
    os.isEmpty || architecture.isEmpty || suitability(for: wanted) != nil
  }
}
