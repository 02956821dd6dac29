internal import FoundationEssentials
public import IgniteSystem

/// Texts by key, for VMs: as files, and as variables.
public enum ConfigMap {
  public static let kind = "ConfigMap"
}

/// The same of what is not to be shown.
public enum Secret {
  public static let kind = "Secret"
}

/// What a VM takes of a ConfigMap or a Secret: `data` and `binaryData`, as bytes.
public struct ConfigData: Sendable, Equatable {
  /// Of all keys and values of one object, as Kubernetes has it.
  public static let mostBytes = 1 << 20

  public var values: [String: [UInt8]]

  /// - Parameter spec: of a ConfigMap or a Secret, as `KindSchema.normalized` leaves it.
  public init(kind: String, spec: JSONValue) {
    let texts = spec["data"]?.texts ?? [:]
    var values: [String: [UInt8]] = [:]
    for (key, text) in texts { values[key] = kind == Secret.kind ? Self.bytes(text) : Array(text.utf8) }
    for (key, text) in spec["binaryData"]?.texts ?? [:] { values[key] = Self.bytes(text) }
    self.values = values
  }

  /// Whether a program's variable can have the name.
  public static func isVariable(_ name: String) -> Bool {
    guard let first = name.utf8.first, !(48...57).contains(first) else { return false }
    return name.utf8.allSatisfy {
      (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || $0 == 95
    }
  }

  private static func bytes(_ base64: String) -> [UInt8] { Data(base64Encoded: base64).map { Array($0) } ?? [] }

  /// Why the key cannot be one; nil of one that can (Kubernetes' rule, so that each may be a file's name).
  static func problem(with key: String) -> String? {
    guard !key.isEmpty, key.utf8.count <= 253 else { return "a key has 1 to 253 characters" }
    let isGood = key.utf8.allSatisfy {
      (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || [45, 46, 95].contains($0)
    }
    guard isGood else { return "a key is made of letters, digits, '-', '_' and '.'" }
    return key == "." || key == ".." ? "no file can have that name" : nil
  }
}

extension KindSchema {
  /// Kinds whose whole spec is their last manifest's.
  public static let wholeKinds = composedKinds + configKinds + HostKind.all + gitOpsKinds

  /// What holds data for VMs.
  public static let configKinds = [ConfigMap.kind, Secret.kind]

  public static let configMap = KindSchema(
    kind: ConfigMap.kind, names: ["configmap", "configmaps", "cm"],
    help:
      "Texts and files by key, which VMs have as files or as variables. Kubernetes' form, also with apiVersion: v1.",
    spec: [
      Field("data", .map, .inPlace, "Text by key."),
      Field("binaryData", .binaryMap, .inPlace, "Base64 by key, of what is no text."),
      Field("immutable", .flag, .inPlace, "It is not changed any more; only deleted."),
    ], isFlat: true)

  public static let secret = KindSchema(
    kind: Secret.kind, names: ["secret", "secrets"],
    help:
      "The same of what plans, differences and descriptions do not show. It lies in the data directory as it is, for its user alone.",
    spec: [
      Field("data", .binaryMap, .inPlace, "Base64 by key."),
      Field("stringData", .map, .inPlace, "Text by key, which becomes base64 in data."),
      Field("type", .text, .inPlace, "As Kubernetes has it; Ignite does not look at it."),
      Field("immutable", .flag, .inPlace, "It is not changed any more; only deleted."),
    ], isFlat: true)

  /// The spec as it is kept, once all its fields are right: what is said in two ways is said in one.
  /// - Returns: nil and what is wrong, at which field.
  func normalized(_ spec: JSONValue) -> (spec: JSONValue?, field: String, problem: String) {
    guard isFlat else { return (spec, "", "") }
    var spec = spec
    if let texts = spec["stringData"]?.texts {
      var data = spec["data"]?.fields ?? [:]
      for (key, text) in texts { data[key] = .string(Data(text.utf8).base64EncodedString()) }
      spec["data"] = .object(data)
      spec["stringData"] = nil
    }
    var bytes = 0
    for field in ["data", "binaryData"] {
      for (key, text) in spec[field]?.texts ?? [:] {
        if let problem = ConfigData.problem(with: key) { return (nil, "\(field).\(key)", problem) }
        bytes +=
          key.utf8.count
          + (self.kind == Secret.kind || field == "binaryData" ? text.utf8.count / 4 * 3 : text.utf8.count)
      }
    }
    if let twice = (spec["data"]?.fields ?? [:]).keys.first(where: { spec["binaryData"]?[$0] != nil }) {
      return (nil, "binaryData.\(twice)", "it stands in data, too")
    }
    guard bytes <= ConfigData.mostBytes else {
      return (nil, "data", "it has \(bytes >> 10) KiB, and an object \(ConfigData.mostBytes >> 10) KiB at most")
    }
    return (spec, "", "")
  }
}
