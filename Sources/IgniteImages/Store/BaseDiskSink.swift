/// The base disk builder as an import uses it.
struct BaseDiskSink: LayerSink {
  /// Part of a base disk's name: to be raised whenever the builder makes other bytes of the same layers.
  static let version = "1"

  private let builder: BaseDiskBuilder

  /// - Parameter identity: the disk's chain ID, from which its UUID follows.
  init(path: String, identity: String) throws(ImageError) {
    builder = try BaseDiskBuilder(path: path, options: BaseDiskBuilder.Options(identity: identity))
  }

  func apply(_ tar: any ByteSource) throws(ImageError) { try builder.apply(tar) }

  func finish() throws(ImageError) { try builder.finish(sync: true) }
}

extension ImageImporter {
  /// - Parameter root: the data root: documents and layers go below its `content`, base disks below its `disks`.
  public init(root: String) {
    self.init(store: ContentStore(root: root), builder: BaseDiskSink.version) { path, identity throws(ImageError) in
      try BaseDiskSink(path: path, identity: identity)
    }
  }
}
