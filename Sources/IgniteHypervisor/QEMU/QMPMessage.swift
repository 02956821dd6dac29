internal import FoundationEssentials
internal import IgniteSystem

/// What QEMU says over its monitor protocol: one JSON object a line (QEMU's interop/qmp-spec, section 2).
enum QMPMessage: Equatable {
  case greeting(version: String)
  case answer(id: Int64, JSONValue)
  case refusal(id: Int64?, kind: String, description: String)
  case event(name: String, data: JSONValue?)

  /// Reads one line.
  init(line: [UInt8]) throws(HypervisorError) {
    guard let value = try? JSONValue.parse(line), case .object(let members) = value
    else { throw HypervisorError(.protocolError, "QEMU's monitor sent something that is no JSON object") }
    if let greeting = members["QMP"] {
      let version = greeting["version"]?["qemu"]
      let parts = ["major", "minor", "micro"].map { version?[$0]?.integer ?? 0 }
      self = .greeting(version: parts.map(String.init).joined(separator: "."))
    } else if let result = members["return"], let id = members["id"]?.integer {
      self = .answer(id: id, result)
    } else if let error = members["error"] {
      self = .refusal(
        id: members["id"]?.integer, kind: error["class"]?.string ?? "GenericError",
        description: error["desc"]?.string ?? "no reason given")
    } else if let name = members["event"]?.string {
      self = .event(name: name, data: members["data"])
    } else {
      throw HypervisorError(.protocolError, "QEMU's monitor sent an object that is no greeting, answer or event")
    }
  }

  /// A command as its line.
  static func command(_ name: String, arguments: JSONValue?, id: Int64) -> [UInt8] {
    var members: [String: JSONValue] = ["execute": .string(name), "id": .integer(id)]
    if let arguments { members["arguments"] = arguments }
    guard let data = try? JSONEncoder().encode(JSONValue.object(members)) else { return [] }
    return Array(data) + [10]
  }
}

/// Cuts a byte stream into lines, none longer than a limit.
struct QMPLineReader {
  /// Enough for the largest answer in use; a hypervisor that a guest has taken over must not fill our memory.
  static let maximumLine = 1 << 20

  private var pending: [UInt8] = []

  /// - Returns: the lines that are whole now, without their ends; empty ones are dropped.
  mutating func append(_ bytes: [UInt8]) throws(HypervisorError) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    var rest = bytes[...]
    while let end = rest.firstIndex(of: 10) {
      try check(pending.count + (end - rest.startIndex))
      pending.append(contentsOf: rest[..<end])
      if pending.last == 13 { pending.removeLast() }
      if !pending.isEmpty { lines.append(pending) }
      pending = []
      rest = rest[(end + 1)...]
    }
    try check(pending.count + rest.count)
    pending.append(contentsOf: rest)
    return lines
  }

  private func check(_ length: Int) throws(HypervisorError) {
    guard length <= Self.maximumLine else {
      throw HypervisorError(.protocolError, "QEMU's monitor sent a line of more than \(Self.maximumLine) bytes")
    }
  }
}
