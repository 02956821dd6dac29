internal import IgniteAPI

/// `${NAME}` in manifests, as Flux' postBuild puts values in (github.com/fluxcd/pkg/envsubst): `${NAME}`, `${NAME:-otherwise}`,
/// `${NAME:=otherwise}`; `$${NAME}` is `${NAME}` as it stands. What has no value and no otherwise is an error.
struct Substitution: Sendable {
  /// Of a text after it, in bytes: values may stand in it many times.
  private static let mostBytes = ManifestLimits.fileBytes

  var values: [String: String]

  /// - Parameter file: as messages name it.
  func applied(to text: String, file: String) throws(ManifestError) -> String {
    var result: [UInt8] = []
    var rest = Array(text.utf8)[...]
    var line = 1
    while let byte = rest.popFirst() {
      if byte == 0x0A { line += 1 }
      guard byte == 0x24 else {
        result.append(byte)
        continue
      }
      if rest.starts(with: "${".utf8) {
        result += "${".utf8
        rest = rest.dropFirst(2)
      } else if rest.first == 0x7B {
        guard let end = rest.firstIndex(of: 0x7D), end - rest.startIndex <= 1024 else {
          throw ManifestError("\(file):\(line): \"${\" has no end", advice: "write $${ for one that is meant")
        }
        result += try value(rest[rest.startIndex + 1..<end], "\(file):\(line)")
        rest = rest[(end + 1)...]
      } else {
        result.append(byte)
      }
      guard result.count <= Self.mostBytes else {
        throw ManifestError("\(file) has more than \(Self.mostBytes >> 20) MiB once values are put in")
      }
    }
    return String(decoding: result, as: UTF8.self)
  }

  private func value(_ bytes: ArraySlice<UInt8>, _ place: String) throws(ManifestError) -> [UInt8] {
    let text = String(decoding: bytes, as: UTF8.self)
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let name = parts[0]
    guard ConfigData.isVariable(name) else {
      throw ManifestError(
        "\(place): \"${\(text.prefix(60))}\" names no value", advice: "write ${NAME}, or $${ for one that is meant")
    }
    if let value = values[name], !value.isEmpty || parts.count == 1 { return Array(value.utf8) }
    guard parts.count == 2 else {
      throw ManifestError(
        "\(place): ${\(name)} has no value", advice: "give one in postBuild.substitute, or write ${\(name):=otherwise}")
    }
    guard let first = parts[1].first, first == "-" || first == "=" else {
      throw ManifestError(
        "\(place): \"${\(text.prefix(60))}\" is not possible", advice: "known are ${NAME}, ${NAME:-…} and ${NAME:=…}")
    }
    return Array(parts[1].dropFirst().utf8)
  }
}
