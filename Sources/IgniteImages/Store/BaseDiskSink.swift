/// The base disk builder as an import uses it.
struct BaseDiskSink: LayerSink {
  /// Part of a base disk's name: to be raised whenever the builder makes other bytes of the same layers.
  static let version = "2"

  private let builder: BaseDiskBuilder
  private let syncs: Bool

  /// - Parameters:
  ///   - identity: the disk's chain ID, from which its UUID follows.
  ///   - limits: what the image may cost.
  ///   - syncs: whether the disk is to be on stable storage when it is finished.
  init(path: String, identity: String, limits: ImportLimits, syncs: Bool) throws(ImageError) {
    var options = BaseDiskBuilder.Options(identity: identity)
    options.limits = limits.archive
    options.maximumInodes = limits.files
    options.maximumBytes = limits.diskBytes
    options.writesBehind = syncs
    options.roundsFileSize = true
    builder = try BaseDiskBuilder(path: path, options: options)
    self.syncs = syncs
  }

  func apply(_ tar: any ByteSource) throws(ImageError) { try builder.apply(tar) }

  func finish() throws(ImageError) { try builder.finish(sync: syncs) }
}

extension ImageImporter {
  /// - Parameters:
  ///   - root: the data root: documents and layers go below its `content`, base disks below its `disks`.
  ///   - limits: what an image may cost this machine.
  ///   - syncs: see `ContentStore.syncs`.
  public init(root: String, limits: ImportLimits = ImportLimits(), syncs: Bool = true) {
    self.init(store: ContentStore(root: root, syncs: syncs), builder: BaseDiskSink.version, limits: limits) {
      path, identity throws(ImageError) in
      try BaseDiskSink(path: path, identity: identity, limits: limits, syncs: syncs)
    }
  }
}
