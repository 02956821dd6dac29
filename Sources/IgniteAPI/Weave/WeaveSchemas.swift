internal import IgniteSystem

/// What manifests of Weave Ignite's versions may say (pkg/apis/ignite/v1alpha2, v1alpha3 and v1alpha4, types.go).
///
/// The specs are the same in all three. Of what became of it, v1alpha2 knew no runtime's name and no network plugin.
enum WeaveSchema {
  static let metadata = Shape.record([
    field("name", .text), field("uid", .text), field("created", .text), field("labels", .map),
    field("annotations", .map),
  ])

  static let image = Shape.record([field("oci", reference, required: true)])

  static let vm = Shape.record([
    field("image", image, required: true), field("sandbox", image),
    field("kernel", .record([field("oci", reference), field("cmdLine", .text)])), field("cpus", .whole(0...32)),
    field("memory", size), field("diskSize", size), field("network", .record([field("ports", .list(port))])),
    field(
      "storage",
      .record([
        field(
          "volumes",
          .list(
            .record([
              field("name", .text, required: true),
              field("blockDevice", .record([field("path", .text, required: true)]), required: true),
            ]))),
        field(
          "volumeMounts",
          .list(.record([field("name", .text, required: true), field("mountPath", .text, required: true)]))),
      ])),
    field(
      "copyFiles",
      .list(.record([field("hostPath", .text, required: true), field("vmPath", .text, required: true)]))),
    field("ssh", key),
  ])

  static let imageStatus = Shape.record([field("ociSource", source)])

  static let kernelStatus = Shape.record([field("version", .text), field("ociSource", source)])

  static func vmStatus(_ version: WeaveVersion) -> Shape {
    let common = [
      field("running", .flag), field("startTime", .text), field("image", source), field("kernel", source),
    ]
    if version == .v1alpha2 {
      return .record(common + [field("runtime", .record([field("id", .text)])), field("ipAddresses", .list(.text))])
    }
    return .record(
      common + [
        field("runtime", .record([field("id", .text), field("name", .text)])),
        field("network", .record([field("plugin", .text), field("ipAddresses", .list(.text))])),
        field("idPrefix", .text),
      ])
  }

  private static let port = Shape.record([
    field("hostPort", .whole(1...65_535), required: true), field("vmPort", .whole(1...65_535), required: true),
    field("bindAddress", .text), field("protocol", .word(["tcp", "udp"])),
  ])

  /// Where an image came from, as the status has it.
  private static let source = Shape.record([field("id", .text), field("size", size)])

  private static let reference = Shape.custom("an image's reference, as weaveworks/ignite-ubuntu:20.04") { text in
    WeaveReference.canonical(text).map(JSONValue.string)
  }

  private static let size = Shape.custom("a size, as 512MB or 4GB") { text in
    ByteQuantity(weave: text).map { .string($0.description) }
  }

  /// `true`, or a path; everything else asked for nothing.
  private static let key = Shape.custom("true, or the path of a public key") { text in
    switch text.lowercased() {
    case "true", "yes", "on": true
    case "false", "no", "off", "": false
    default: .string(text)
    }
  }

  private static func field(_ name: String, _ shape: Shape, required: Bool = false) -> Field {
    Field(name, shape, required: required, "")
  }
}

extension ByteQuantity {
  /// Weave Ignite's spelling (c2h5oh/datasize), and docker's: binary, whatever it is. `Mb` and its kin are bits, and none.
  init?(weave text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }
    let isBits = unit.utf8.count == 2 && unit.hasSuffix("b") && unit.first?.isUppercase == true
    guard !isBits, let count = UInt64(digits) else { return nil }
    let names = ["k": "kilo", "m": "mega", "g": "giga", "t": "tera", "p": "peta", "e": "exa"]
    let word = unit.lowercased()
    var shift: UInt64 = 0
    if !["", "b", "byte", "bytes"].contains(word) {
      guard let first = word.first.map(String.init), let name = names[first],
        let power = ["k", "m", "g", "t", "p", "e"].firstIndex(of: first),
        [first, first + "b", first + "i", first + "ib", name, name + "byte", name + "bytes"].contains(word)
      else { return nil }
      shift = UInt64(power + 1) * 10
    }
    guard count <= UInt64.max >> shift else { return nil }
    self.init(bytes: count << shift)
  }
}
