internal import IgniteSystem
internal import IgniteWire

/// The id of a command in what it asks a supervisor: one more field of the message, which older supervisors pass over.
extension RequestID {
  private static let tag: UInt16 = 5

  /// The message with the task's id.
  static func signed(_ payload: [UInt8]) -> [UInt8] {
    guard let current else { return payload }
    var writer = MessageWriter()
    writer.put(tag, number: current.number)
    return payload + writer.bytes
  }

  /// Of who asks; nil where he does not say.
  init?(asking payload: [UInt8]) throws(MessageError) {
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      guard field.tag == Self.tag else { continue }
      self.init(number: try field.number())
      return
    }
    return nil
  }
}
