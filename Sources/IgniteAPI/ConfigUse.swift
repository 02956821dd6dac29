internal import IgniteSystem

/// A single file that a VM is given at each start: of `content`, or of a key of a ConfigMap or a Secret.
public struct GivenFile: Codable, Equatable, Sendable {
  public struct Key: Codable, Equatable, Sendable {
    public var name: String
    public var key: String
    /// One that is not there gives no file, and is no error.
    public var optional: Bool?

    public init(name: String, key: String, optional: Bool? = nil) {
      self.name = name
      self.key = key
      self.optional = optional
    }
  }

  /// Absolute, in the VM.
  public var path: String
  public var content: String?
  public var configMap: Key?
  public var secret: Key?
  /// Octal; nil is 0644.
  public var mode: String?
  /// Numbers of user and group, `1000:1000`; nil is root's.
  public var owner: String?

  public init(path: String) { self.path = path }
}

/// The keys of a ConfigMap or a Secret as files of a directory, which is the VM's memory.
public struct ConfigFiles: Codable, Equatable, Sendable {
  public struct Item: Codable, Equatable, Sendable {
    public var key: String
    /// Of its file, relative to the directory.
    public var path: String

    public init(key: String, path: String) {
      self.key = key
      self.path = path
    }
  }

  public var name: String
  /// These keys alone; nil is all, each as a file of its name.
  public var items: [Item]?
  /// Of the files, octal; nil is 0644.
  public var mode: String?
  /// Numbers of user and group, `1000:1000`; nil is root's.
  public var owner: String?
  /// One that is not there is an empty directory, and no error.
  public var optional: Bool?

  public init(name: String) { self.name = name }
}

/// Variables of a ConfigMap or a Secret.
public struct ConfigVariables: Codable, Equatable, Sendable {
  public struct Source: Codable, Equatable, Sendable {
    public var name: String
    /// One that is not there gives none, and is no error.
    public var optional: Bool?

    public init(name: String, optional: Bool? = nil) {
      self.name = name
      self.optional = optional
    }
  }

  public var configMap: Source?
  public var secret: Source?
  /// Before each name.
  public var prefix: String?
  /// These alone: keys by the variable's name; nil is all whose key can be one.
  public var variables: [String: String]?

  public init() {}
}

extension Manifest {
  /// Titles of the ConfigMaps and Secrets that a VM's manifest names.
  public var configTitles: [String] {
    let process = given["process"]?["envFrom"]?.items ?? []
    var titles: Set<String> = []
    for use in (given["files"]?.items ?? []) + (given["volumes"]?.items ?? []) + process {
      for (field, kind) in [("configMap", ConfigMap.kind), ("secret", Secret.kind)] {
        if let name = use[field]?["name"]?.string { titles.insert("\(kind)/\(name)") }
      }
    }
    return titles.sorted()
  }
}
