/// A digest that is fed piece by piece, such as SHA-256; lets this code do without a cryptography library of its own.
public protocol StreamingDigest {
  /// Takes the next bytes of the stream.
  mutating func update(bufferPointer: UnsafeRawBufferPointer)
  /// The digest of all bytes so far; called once, at the end.
  mutating func finish() -> [UInt8]
}
