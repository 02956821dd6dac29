public import IgniteOCI

/// What an import is doing. Events of one layer come in order, those of different layers interleave.
public enum ImportProgress: Sendable, Hashable {
  /// The source is asked for the manifest of this name.
  case resolving(String)
  /// An archive that comes as a stream is read to its end first: bytes so far.
  case reading(String, done: Int64)
  /// The manifest is known; its layers, lowest first. Layer numbers below are positions in this list.
  case resolved(layers: [Descriptor])
  /// A layer's transfer: bytes that are here, of how many.
  case layer(Int, digest: Digest, done: Int64, total: Int64)
  /// A layer is whole and has the right digest; `reused` when the store held it already.
  case fetched(Int, digest: Digest, reused: Bool)
  /// A layer's files are on the disk.
  case applied(Int, digest: Digest)
  /// The base disk was made before, so no layer is needed.
  case reusedDisk
  /// Another import makes the same disk; waiting for it.
  case waiting
  /// The image is imported.
  case done(ImportedImage)
}
