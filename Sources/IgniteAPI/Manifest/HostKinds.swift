/// Images and kernels as objects: the same that `image import` and `kernel import` bring.
public enum HostKind {
  public static let image = "Image"
  public static let kernel = "Kernel"
  /// They belong to the host, and their names are references.
  public static let all = [image, kernel]

  /// An image's name as it is kept: `docker.io/library/nginx:latest` for `nginx` (the rule of docker's references).
  public static func canonical(_ name: String) -> String {
    var name = name
    let parts = name.split(separator: "/", maxSplits: 1)
    let isHost = parts.count == 2 && (parts[0].contains(".") || parts[0].contains(":") || parts[0] == "localhost")
    if !isHost { name = parts.count == 2 ? "docker.io/\(name)" : "docker.io/library/\(name)" }
    let hasTag = name.split(separator: "/").last?.contains(":") ?? false
    return hasTag || name.contains("@") ? name : name + ":latest"
  }

  /// Why an image or a kernel cannot have the name; nil where it can.
  static func problem(with name: String) -> String? {
    guard !name.isEmpty, canonical(name).utf8.count <= 255 else { return "a name has 1 to 255 characters" }
    let isGood = name.utf8.allSatisfy {
      (65...90).contains($0) || (97...122).contains($0) || (47...58).contains($0) || [45, 46, 95].contains($0)
    }
    guard isGood, name.utf8.first != 45, !name.hasPrefix("/"), !name.hasSuffix("/") else {
      return "it is no name of an image, as nginx:1.27"
    }
    return nil
  }
}

extension KindSchema {
  public static let image = KindSchema(
    kind: HostKind.image, names: ["image", "images"],
    help: "An image that VMs are made from, imported under the object's name.",
    spec: [
      Field(
        "oci", .text, required: true, .inPlace,
        "Where it comes from: a reference of a registry, oci:DIR, oci-archive:FILE or docker-archive:FILE."),
      Field("platform", .text, .inPlace, "As linux/amd64; absent: this machine's."),
      Field("keepBlobs", .flag, .inPlace, "Its layers are kept beside its disk; absent: as the configuration says."),
    ])

  public static let kernel = KindSchema(
    kind: HostKind.kernel, names: ["kernel", "kernels"],
    help: "A kernel that VMs boot, imported under the object's name.",
    spec: [
      Field(
        "oci", .text, required: true, .inPlace,
        "Where it comes from: a reference of an image with a kernel in it, apt:PACKAGE, a .deb, or a file."),
      Field("modules", .text, .inPlace, "The directory of a kernel file's modules."),
      Field("default", .flag, .inPlace, "VMs that name no kernel get it."),
    ])
}
