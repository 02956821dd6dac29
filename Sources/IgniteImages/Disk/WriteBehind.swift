internal import CExt2fs

/// Has the system write a growing file to stable storage while it grows: the disk works beside the processor, and the sync
/// at the end finds little to do. A hint only: an error shows at that sync.
struct WriteBehind {
  private static let step: Int64 = 8 << 20
  private var begun: Int64 = 0

  /// - Parameter end: how far the file has been written, in bytes.
  mutating func advance(to end: Int64, of descriptor: Int32) {
    guard end - begun >= Self.step else { return }
    _ = ignite_begin_writing(descriptor, begun, end - begun)
    begun = end
  }
}
