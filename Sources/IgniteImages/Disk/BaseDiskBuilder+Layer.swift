/// Applying layers: OCI image specification, "Image Layer Filesystem Changeset".
extension BaseDiskBuilder {
  /// How a layer is applied.
  public struct LayerOptions {
    /// Looks at each entry before it is applied and may change it, its path above all; false leaves it out.
    public var filter: ((inout TarEntry) throws(ImageError) -> Bool)?
    /// Is told the number of unpacked bytes read so far, about once a megabyte and at the end; may throw to stop, `cancelled` say.
    public var progress: ((UInt64) throws(ImageError) -> Void)?
    /// Whether names beginning with `.wh.` hide what lower layers hold; false for archives that are no layers.
    public var whiteouts = true

    public init() {}
  }

  private static let whiteout = Array(".wh.".utf8)
  private static let opaque = Array(".wh..wh..opq".utf8)
  private static let marks = Array(".wh..wh.".utf8)

  /// Applies a layer over what is there.
  ///
  /// The source is read up to the archive's end, not the stream's: who checks a digest drains the rest.
  ///
  /// - Parameters:
  ///   - source: the unpacked archive; see `Compression.unpacked`.
  ///   - options: filter, progress and the meaning of whiteouts.
  /// - Throws: what is wrong with the archive, with the entry's name; the disk is of no use then.
  public func apply(_ source: any ByteSource, options: LayerOptions = LayerOptions()) throws(ImageError) {
    try checkOpen()
    let began = monotonicSeconds()
    layer += 1
    try guarded { () throws(ImageError) in
      let reader = TarReader(counted(source, options.progress), limits: self.options.limits)
      while var entry = try reader.next() {
        statistics.entries += 1
        if let filter = options.filter, try !filter(&entry) { continue }
        if try !applyWhiteout(entry, options) { try add(entry, data: reader) }
      }
      try options.progress?(reader.bytesRead)
      try punchFreed()
    }
    statistics.applySeconds += monotonicSeconds() - began
  }

  /// Tells the progress of reading, about once a megabyte.
  private func counted(
    _ source: any ByteSource, _ progress: ((UInt64) throws(ImageError) -> Void)?
  ) -> any ByteSource {
    guard let progress else { return source }
    var count: UInt64 = 0
    var told: UInt64 = 0
    return ClosureByteSource { buffer throws(ImageError) in
      let got = try source.read(into: buffer)
      count += UInt64(got)
      if count - told >= 1 << 20 {
        told = count
        try progress(count)
      }
      return got
    }
  }

  /// Applies an entry that is a whiteout; false where it is none.
  private func applyWhiteout(_ entry: TarEntry, _ options: LayerOptions) throws(ImageError) -> Bool {
    guard options.whiteouts else { return false }
    let path = DiskPath(entry.path)
    guard let last = path.last, path.bytes[last].starts(with: Self.whiteout) else { return false }
    statistics.whiteouts += 1
    let name = path.bytes[last]
    if name.starts(with: Self.marks), !name.elementsEqual(Self.opaque) {
      // Marks of aufs, such as its links' directory, which are no part of the image.
      return true
    }
    let hidden = name.dropFirst(Self.whiteout.count)
    guard !hidden.isEmpty, !hidden.elementsEqual([0x2e]), !hidden.elementsEqual([0x2e, 0x2e]) else {
      throw ImageError(.corrupt, "\(entry.displayPath): the whiteout names no file")
    }
    guard let parent = try resolve(path, .giveUp) else { return true }
    if name.elementsEqual(Self.opaque) {
      hideContent(parent)
      return true
    }
    let found = lookup(parent, hidden)
    if found != 0 { hide(found) }
    return true
  }
}
