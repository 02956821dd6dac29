/// A disk that outlives the VMs that use it: ext4, in a sparse file of the host.
public struct Volume: Codable, Equatable, Sendable {
  public static let kind = "Volume"
  public var apiVersion = APIVersion.current
  public var kind = Volume.kind
  public var metadata: ObjectMeta
  public var spec: VolumeSpec
  public var status: VolumeStatus

  public init(metadata: ObjectMeta, spec: VolumeSpec, status: VolumeStatus = VolumeStatus()) {
    self.metadata = metadata
    self.spec = spec
    self.status = status
  }

  /// The label of a volume that was made for one VM without being named; it goes with `rm -v` and `--rm`.
  public static let anonymousLabel = "ignite.weave.works/anonymous"

  public var isAnonymous: Bool { metadata.labels?[Self.anonymousLabel] != nil }
}

public struct VolumeSpec: Codable, Equatable, Sendable {
  /// Of the disk; its file takes what has been written.
  public var size: ByteQuantity

  public init(size: ByteQuantity) { self.size = size }
}

public struct VolumeStatus: Codable, Equatable, Sendable {
  /// A VM that was started with the volume. It counts for as long as that VM runs.
  public struct Claim: Codable, Equatable, Sendable {
    public var vm: String
    public var readOnly: Bool

    public init(vm: String, readOnly: Bool) {
      self.vm = vm
      self.readOnly = readOnly
    }
  }

  public var claims: [Claim] = []

  public init() {}
}

/// Something that a VM has at a place of its file system; one of the sources is there.
public struct VolumeMount: Codable, Equatable, Sendable {
  public struct Named: Codable, Equatable, Sendable {
    public var name: String
    /// An empty volume stays so, where it is else given what the image has at the place (docker's `nocopy`).
    public var noCopy: Bool?
    /// It was made for this VM alone, without being named.
    public var anonymous: Bool?

    public init(name: String, noCopy: Bool? = nil, anonymous: Bool? = nil) {
      self.name = name
      self.noCopy = noCopy
      self.anonymous = anonymous
    }
  }

  public struct Path: Codable, Equatable, Sendable {
    /// Absolute, on the host.
    public var path: String

    public init(path: String) { self.path = path }
  }

  public struct Temporary: Codable, Equatable, Sendable {
    /// Bytes at most; nil is half of the VM's memory.
    public var size: ByteQuantity?
    /// Of the directory, octal; nil is 1777.
    public var mode: String?
    /// Further options of mount(8), as `noexec`; nil is docker's `nosuid,nodev,noexec`.
    public var options: [String]?

    public init() {}
  }

  /// Absolute, in the VM.
  public var mountPath: String
  public var readOnly: Bool
  public var volume: Named?
  /// A directory of the host.
  public var hostPath: Path?
  /// A block device of the host, with a file system on it.
  public var blockDevice: Path?
  public var tmpfs: Temporary?
  public var configMap: ConfigFiles?
  public var secret: ConfigFiles?

  public init(mountPath: String, readOnly: Bool = false) {
    self.mountPath = mountPath
    self.readOnly = readOnly
  }
}
