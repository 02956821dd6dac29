internal import Glibc

/// Builds a read-only ext4 file system in a sparse file, from layers or from single calls; without root, without a mount
/// and without unpacking anything on the host.
///
/// Names and inodes stay in memory; data goes to the file as it comes, block behind block; directories, inodes and
/// bitmaps follow at `finish`. The same calls give the same bytes: the UUID follows from `identity`, and no time but the
/// entries' own is written. Everything blocks. An instance is used by one thread at a time.
public final class BaseDiskBuilder {
  /// How a disk is made.
  public struct Options: Sendable {
    /// The file system's label, at most 16 bytes.
    public var label = "ignite-base"
    /// The UUID follows from this text; a chain ID for the disk of an image.
    public var identity: String
    /// What archives may hold.
    public var limits = TarLimits()
    /// The most files and directories of the disk.
    public var maximumInodes: UInt32 = 5_000_000
    /// The most bytes of the disk, replaced files included.
    public var maximumBytes: UInt64 = 1 << 40
    /// The least size of the finished file system in bytes, with inodes to match; 0 leaves no free space. Free space is
    /// a hole in the file.
    public var minimumBytes: UInt64 = 0
    /// Whether the file ends with a hole up to the next of `DiskSize`'s sizes.
    public var roundsFileSize = false
    /// Whether the system is to begin with writing to stable storage while the disk is made, so that `finish(sync: true)`
    /// has little to wait for.
    public var writesBehind = false

    public init(identity: String) { self.identity = identity }
  }

  /// Where the file is.
  public let path: String
  let options: Options
  let descriptor: OwnedDescriptor
  let writer: BlockWriter
  let channel: Ext2Channel
  var tree: DiskTree
  var layer: UInt32 = 1

  /// Files of more than one extent; freed slots are used again.
  var extentLists: [ExtentList] = []
  var freeExtentLists: [UInt32] = []
  var linkTargets: [[UInt8]] = []
  var attributeSets = AttributeSets()
  /// Blocks of files that are gone; those from `punched` on still take space on the host.
  var freedExtents: [Extent] = []
  var punched = 0
  /// Components that were walked behind symbolic links, against archives that make each name a maze.
  var linkSteps = 0
  var statistics = DiskStatistics()
  /// Bytes of symbolic links' targets in memory.
  var linkBytes = 0
  private var finished = false
  private var broken = false

  struct ExtentList {
    var extents: [Extent]
    /// The extent tree's own blocks.
    var treeBlocks: [UInt32]
    var root: [UInt8]
  }

  /// Makes the file; it is removed again unless `finish` succeeds.
  ///
  /// - Parameters:
  ///   - path: the file to make; the caller renames it to its place when it is finished.
  ///   - options: label, identity and limits.
  /// - Throws: `alreadyExists`, `noSpace` or `io`.
  public init(path: String, options: Options) throws(ImageError) {
    let number = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
    if number < 0 { throw .system("create", path) }
    self.path = path
    self.options = options
    descriptor = OwnedDescriptor(number)
    do throws(ImageError) { channel = try Ext2Channel(path: path) } catch {
      unlink(path)
      throw error
    }
    writer = BlockWriter(
      descriptor, path: path, at: Ext4.firstDataBlock,
      maximumBlocks: min(Ext4.maximumBlocks, options.maximumBytes / UInt64(Ext4.blockSize)),
      writesBehind: options.writesBehind)
    tree = DiskTree(maximumNodes: options.maximumInodes)
    tree[Ext4.rootInode].links = 1
  }

  deinit { if !finished { unlink(path) } }

  // MARK: - Single files

  /// Makes a directory, or gives an existing one these attributes; missing parents are made with mode 0755.
  public func addDirectory(_ path: String, _ attributes: FileAttributes) throws(ImageError) {
    var entry = TarEntry(path: Array(path.utf8), kind: .directory, attributes: attributes)
    entry.size = 0
    try add(entry)
  }

  /// Makes a file of all that a source gives; whatever had the name is replaced.
  public func addFile(_ path: String, _ attributes: FileAttributes, data: any ByteSource) throws(ImageError) {
    let entry = TarEntry(path: Array(path.utf8), kind: .file, attributes: attributes)
    try checkOpen()
    try guarded { () throws(ImageError) in
      try makeFile(entry, at: DiskPath(entry.path)) { writer throws(ImageError) in
        while try writer.append(1 << 20, data.read) == 1 << 20 {}
        return writer.position
      }
    }
  }

  /// Makes a symbolic link; whatever had the name is replaced.
  public func addSymbolicLink(_ path: String, to target: String, _ attributes: FileAttributes) throws(ImageError) {
    var entry = TarEntry(path: Array(path.utf8), kind: .symbolicLink, attributes: attributes)
    entry.linkTarget = Array(target.utf8)
    try add(entry)
  }

  /// Makes what an entry says; a file's content comes from `data`, which is nil for an empty file.
  public func add(_ entry: TarEntry, data: TarReader? = nil) throws(ImageError) {
    try checkOpen()
    let path = DiskPath(entry.path)
    do throws(ImageError) {
      try guarded { () throws(ImageError) in try make(entry, at: path, data) }
    } catch {
      throw error.code == .io || error.code == .noSpace ? error : error.of(entry.displayPath)
    }
  }

  private func make(_ entry: TarEntry, at path: DiskPath, _ data: TarReader?) throws(ImageError) {
    switch entry.kind {
    case .directory: try makeDirectory(entry, at: path)
    case .hardLink: try makeHardLink(entry, at: path, data: data)
    case .file: try makeFile(entry, at: path, data: data)
    case .symbolicLink: try makeSymbolicLink(entry, at: path)
    case .characterDevice, .blockDevice, .fifo: try makeSpecial(entry, at: path)
    }
  }

  /// Runs a step; when it fails the disk is half made, and nothing may follow.
  func guarded(_ body: () throws(ImageError) -> Void) throws(ImageError) {
    do throws(ImageError) {
      try body()
    } catch {
      broken = true
      throw error
    }
  }

  func checkOpen() throws(ImageError) {
    if finished { throw ImageError(.io, "\(path) is finished and takes no more files") }
    if broken { throw ImageError(.io, "\(path) cannot be gone on with after a failure") }
  }

  func markFinished() { finished = true }
}

/// What a disk holds and how long its making took.
public struct DiskStatistics: Sendable, Hashable {
  /// Members of archives that were looked at, whiteouts included.
  public var entries: UInt64 = 0
  /// Whiteouts and opaque marks among them.
  public var whiteouts: UInt64 = 0
  /// Extended attributes left out, since ext4 has no name space for them.
  public var skippedAttributes: UInt64 = 0
  /// Bytes of files' content, holes included and replaced files too.
  public var contentBytes: UInt64 = 0
  /// Inodes in use.
  public var inodes: UInt64 = 0
  /// The file system's size in bytes, and what the host has allocated for it.
  public var diskBytes: UInt64 = 0
  public var allocatedBytes: UInt64 = 0
  /// Seconds spent applying layers, waiting for their data included.
  public var applySeconds = 0.0
  /// Seconds spent writing directories, inodes and bitmaps.
  public var finishSeconds = 0.0
  /// Seconds spent bringing the file to stable storage.
  public var syncSeconds = 0.0

  public init() {}
}

/// The sets of extended attributes in use; files with equal ones share a set, and its block on the disk.
struct AttributeSets {
  private static let maximumBytes = 128 << 20

  private(set) var sets: [EncodedAttributes] = []
  private var bytes = 0
  private var known: [[ExtendedAttribute]: UInt32] = [:]

  /// The set's index plus one; 0 for none.
  mutating func number(_ attributes: [ExtendedAttribute]) throws(ImageError) -> UInt32 {
    if attributes.isEmpty { return 0 }
    if let number = known[attributes] { return number }
    let encoded = try EncodedAttributes(attributes)
    bytes += attributes.reduce(256 + (encoded.block?.count ?? 0)) { $0 + $1.name.count + $1.value.count + 64 }
    guard bytes <= Self.maximumBytes else {
      throw ImageError(.limitExceeded, "the image has more than \(Self.maximumBytes >> 20) MiB of extended attributes")
    }
    sets.append(encoded)
    let number = UInt32(sets.count)
    known[attributes] = number
    return number
  }

  subscript(_ number: UInt32) -> EncodedAttributes { sets[Int(number) - 1] }
}

/// Seconds of a clock that only goes forward.
func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
