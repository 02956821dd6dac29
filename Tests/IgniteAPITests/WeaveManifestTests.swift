import Foundation
import IgniteSystem
import Testing

@testable import IgniteAPI

/// Manifests of Weave Ignite: Tests/Fixtures/weave, and what becomes of each.
@Suite struct WeaveManifests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/weave").path

  /// All samples, for what is damaged at random.
  static func samples() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map(text)
  }

  private static func text(_ name: String) throws -> String {
    try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
  }

  private static func manifest(_ text: String) throws -> Manifest {
    try #require(try ManifestReader.read(text, file: "vm.yaml").first)
  }

  private static let full = """
    {"image": {"oci": "docker.io/weaveworks/ignite-ubuntu:20.04"},
     "kernel": {"oci": "docker.io/weaveworks/ignite-kernel:5.10.51"},
     "resources": {"cpus": 2, "memory": "800MiB", "disk": "3GiB"}, "process": {"boot": "Machine"},
     "network": {"ports": [{"address": "127.0.0.1", "host": 6443, "vm": 443, "protocol": "UDP"}, {"host": 8080, "vm": 80}]},
     "volumes": [{"mountPath": "/var/log", "blockDevice": {"path": "/dev/sdc"}},
                 {"mountPath": "/data", "blockDevice": {"path": "/dev/sdb1"}}], "state": "Running"}
    """

  @Test(arguments: [
    (
      "v1alpha2.yaml", full,
      [":15: spec.sandbox:", ":44: spec.ssh:", ":11: metadata.annotations.", ":46: status.running:"]
    ),
    (
      "v1alpha3.yaml", full,
      [":15: spec.sandbox:", ":44: spec.ssh:", ":11: metadata.annotations.", ":46: status.running:"]
    ),
    (
      "v1alpha4.yaml", full,
      [":15: spec.sandbox:", ":44: spec.ssh:", ":11: metadata.annotations.", ":46: status.running:"]
    ),
    (
      "inspected.json",
      """
      {"image": {"oci": "docker.io/weaveworks/ignite-alpine:latest"},
       "kernel": {"oci": "docker.io/weaveworks/ignite-kernel:5.10.51"},
       "resources": {"cpus": 1, "memory": "512MiB", "disk": "4GiB"}, "process": {"boot": "Machine"}, "state": "Stopped"}
      """, [":13: spec.sandbox:", ":32: status.running: it is taken for spec.state: Stopped"]
    ),
    (
      "documented.yaml",
      """
      {"image": {"oci": "docker.io/weaveworks/ignite-ubuntu:latest"},
       "resources": {"cpus": 2, "memory": "800MiB", "disk": "3GiB"}, "process": {"boot": "Machine"}, "state": "Stopped"}
      """, [":2: status.running: it is not there"]
    ),
    (
      "lossless.yaml",
      """
      {"image": {"oci": "docker.io/weaveworks/ignite-ubuntu:20.04"}, "kernel": {"oci": "ghcr.io/example/kernel:6.1"},
       "resources": {"cpus": 2, "memory": "800MiB", "disk": "3GiB"}, "process": {"boot": "Machine"},
       "network": {"ports": [{"address": "127.0.0.1", "host": 6443, "vm": 443, "protocol": "UDP"}, {"host": 8080, "vm": 80}]},
       "volumes": [{"mountPath": "/data", "blockDevice": {"path": "/dev/sdb1"}}], "state": "Running"}
      """, [":20: status.running: it is taken for spec.state: Running"]
    ),
  ])
  func isConverted(_ file: String, _ spec: String, _ warnings: [String]) throws {
    let manifest = try Self.manifest(Self.text(file))
    #expect(manifest.kind == VM.kind)
    #expect(try manifest.given == JSONValue.parse(Array(spec.utf8)))
    #expect(manifest.warnings.count == warnings.count, "\(manifest.warnings)")
    for (warning, start) in zip(manifest.warnings, warnings) {
      #expect(warning.hasPrefix("vm.yaml\(start)"), "\(warning)")
    }
    // The defaults were the same.
    let whole: VMSpec = try manifest.spec(over: VMSpec(image: VMSpec.Image(oci: "")))
    #expect(whole.process.boot == .machine)
  }

  @Test func labelsAndAnnotationsStay() throws {
    let manifest = try Self.manifest(Self.text("v1alpha4.yaml"))
    #expect(manifest.title == "VM/my-vm" && manifest.labels == ["app": "shop"])
    #expect(manifest.annotations == ["example.org/team": "blue"])
  }

  @Test func imagesAndKernelsAreObjects() throws {
    for version in WeaveVersion.allCases {
      let texts = try ["image.yaml", "kernel.yaml"].map {
        try Self.text($0).replacingOccurrences(of: "v1alpha4", with: version.rawValue)
      }
      let (image, kernel) = (try Self.manifest(texts[0]), try Self.manifest(texts[1]))
      #expect(image.title == "Image/docker.io/weaveworks/ignite-ubuntu:20.04")
      #expect(image.given["oci"]?.string?.contains("weaveworks/ignite-ubuntu:20.04") == true)
      #expect(kernel.title == "Kernel/weaveworks/ignite-kernel:5.10.51")
      #expect(kernel.given["oci"]?.string?.contains("weaveworks/ignite-kernel:5.10.51") == true)
    }
  }

  @Test(
    arguments: [
      (
        "copy-files.yaml", ":6: spec.copyFiles: files are not copied",
        "ignite cp /etc/kubernetes/admin.conf web:/root/.kube"
      ),
      ("ssh-key.yaml", ":6: spec.ssh: a public key is not put into a VM", "ignite exec -it web sh"),
      ("kernel-arguments.yaml", ":6: spec.kernel.cmdLine: the kernel's arguments are Ignite's own", "leave it out"),
      ("unmounted.yaml", ":8: spec.storage.volumes[0]: no volumeMount names it", "mount it"),
      ("interface.yaml", ":6: metadata.annotations.ignite.weave.works/interface/eth1: a VM has one", "leave it out"),
      ("nameless.yaml", ":3: metadata.name: it is missing", "give the VM a name"),
      ("pool.yaml", ":2: kind: a Pool described", "leave the document out"),
      ("configuration.yaml", ":2: kind: a Configuration of v1alpha4 has no equivalent", "/etc/ignite/config.yaml"),
    ])
  func isRefusedInEachVersion(_ file: String, _ message: String, _ advice: String) throws {
    for version in WeaveVersion.allCases {
      let isNew = file == "configuration.yaml" && version == .v1alpha2
      let text = try Self.text(file).replacingOccurrences(of: "v1alpha4", with: version.rawValue)
      let error = #expect(throws: ManifestError.self) { try Self.manifest(text) }
      let expected =
        isNew
        ? ":2: kind: \"Configuration\" is not known in v1alpha2"
        : message.replacingOccurrences(of: "v1alpha4", with: version.rawValue)
      #expect(error?.message.hasPrefix("vm.yaml" + expected) == true, "\(error?.message ?? "")")
      #expect(error?.advice?.contains(isNew ? "VM, Image, Kernel, Pool" : advice) == true, "\(error?.advice ?? "")")
    }
  }

  @Test(
    arguments: [
      ("v1alpha4", "spec: {image: {oci: x}, memoy: 1GB}", "spec.memoy: there is no such field", "memory"),
      ("v1alpha2", "spec: {image: {ociClaim: {ref: x}}}", "spec.image.ociClaim: there is no such field", "oci"),
      (
        "v1alpha2", "spec: {image: {oci: x}, network: {mode: cni}}", "spec.network.mode: there is no such field",
        "ports"
      ),
      ("v1alpha4", "spec: {image: {oci: x}, state: Running}", "spec.state: there is no such field", nil),
      ("v1alpha2", "spec: {image: {oci: x}}\nstatus: {network: {}}", "status.network: there is no such field", nil),
      (
        "v1alpha2", "spec: {image: {oci: x}}\nstatus: {runtime: {name: docker}}", "status.runtime.name: there is no",
        "id"
      ),
      (
        "v1alpha3", "spec: {image: {oci: x}}\nstatus: {ipAddresses: []}", "status.ipAddresses: there is no such field",
        nil
      ),
      ("v1alpha4", "spec: {image: {oci: x}}\nstaus: {}", "staus: there is no such field", "status"),
      ("v1alpha4", "spec: {image: {oci: X}}", "spec.image.oci: it is not an image's reference", nil),
      ("v1alpha4", "spec: {image: {}}", "spec.image: it is missing", nil),
      ("v1alpha4", "spec: {}", "spec: it is missing", nil),
      ("v1alpha4", "spec: {image: {oci: x}, memory: 1.5GB}", "spec.memory: it is not a size, as 512MB", nil),
      ("v1alpha4", "spec: {image: {oci: x}, memory: 512Mb}", "spec.memory: it is not a size", nil),
      ("v1alpha4", "spec: {image: {oci: x}, memory: 99999999999EB}", "spec.memory: it is not a size", nil),
      ("v1alpha4", "spec: {image: {oci: x}, cpus: 33}", "spec.cpus: it is not a whole number from 0 to 32", nil),
      ("v1alpha4", "spec: {image: {oci: x}, ssh: {generate: true}}", "spec.ssh: it is not true, or the path", nil),
      (
        "v1alpha4", "spec: {image: {oci: x}, network: {ports: [{hostPort: 1, vmPort: 2, protocol: TCP}]}}",
        "spec.network.ports[0].protocol: \"TCP\" is not one of tcp, udp", nil
      ),
      (
        "v1alpha4", "spec: {image: {oci: x}, network: {ports: [{vmPort: 2}]}}",
        "spec.network.ports[0].hostPort: it is missing", nil
      ),
      (
        "v1alpha4", "spec: {image: {oci: x}, storage: {volumes: [{name: a}]}}",
        "spec.storage.volumes[0].blockDevice: it is missing", nil
      ),
      (
        "v1alpha4",
        "spec: {image: {oci: x}, storage: {volumes: [{name: data, blockDevice: {path: /a}}], volumeMounts: [{name: dat, mountPath: /a}]}}",
        "spec.storage.volumeMounts[0].name: no volume is named \"dat\"", "data"
      ),
      (
        "v1alpha4", "spec: {image: {oci: x}, storage: {volumes: [{name: data, blockDevice: {path: a}}]}}",
        "spec.storage.volumes[0].blockDevice.path: it is no absolute path", nil
      ),
      ("v1alpha1", "spec: {image: {oci: x}}", "apiVersion: \"ignite.weave.works/v1alpha1\" is not known", "v1beta1"),
    ] as [(String, String, String, String?)])
  func whatIsWrongIsNamed(_ version: String, _ text: String, _ problem: String, _ hint: String?) {
    let text = "apiVersion: ignite.weave.works/\(version)\nkind: VM\nmetadata: {name: web}\n" + text
    let error = #expect(throws: ManifestError.self) { try Self.manifest(text) }
    #expect(error?.message.contains(problem) == true, "\(error?.message ?? "")")
    if let hint { #expect(error?.advice?.contains(hint) == true, "\(error?.advice ?? "")") }
  }

  @Test(arguments: [
    ("512MB", "512MiB"), ("512MiB", "512MiB"), ("512 mb", "512MiB"), ("1g", "1GiB"), ("1 gigabyte", "1GiB"),
    ("50332KB", "50332KiB"), ("1024", "1KiB"), ("0B", "0"), ("3 bytes", "3"), ("1PB", "1024TiB"), ("1kilo", "1KiB"),
  ])
  func sizesAreBinary(_ text: String, _ size: String) { #expect(ByteQuantity(weave: text)?.description == size) }

  @Test(arguments: ["", "B", "-1MB", "1Kb", "1Gb", "1.5GB", "1XB", "1megab", "16EB", "1_000"])
  func whatIsNoSizeIsNone(_ text: String) { #expect(ByteQuantity(weave: text) == nil) }

  @Test(arguments: [
    ("ubuntu", "docker.io/library/ubuntu:latest"), ("weaveworks/a:1", "docker.io/weaveworks/a:1"),
    ("localhost:5000/a/b", "localhost:5000/a/b:latest"), ("index.docker.io/a", "docker.io/library/a:latest"),
    ("ghcr.io/a/b-c_d:V1.0", "ghcr.io/a/b-c_d:V1.0"), ("A", nil), ("a:", nil), ("a/", nil), ("/a", nil), ("a b", nil),
    ("oci:/tmp/x", nil), ("a:b/x", nil), ("-a.b/x", nil), ("a@sha256:12", nil), ("", nil), ("../a", nil),
  ])
  func referencesAreDockers(_ text: String, _ canonical: String?) {
    #expect(WeaveReference.canonical(text) == canonical)
    if let canonical { #expect(WeaveReference.canonical(WeaveReference.familiar(canonical)) == canonical) }
  }

  // MARK: Back again

  @Test(arguments: [
    "v1alpha2.yaml", "v1alpha3.yaml", "v1alpha4.yaml", "inspected.json", "documented.yaml", "lossless.yaml",
  ])
  func comesBack(_ file: String) throws {
    let manifest = try Self.manifest(Self.text(file))
    for version in WeaveVersion.allCases {
      let text = try ManifestWriter.yaml([try manifest.weaveDocument(version)])
      let again = try Self.manifest(text)
      #expect(again.given == manifest.given, "\(text)")
      #expect(
        again.labels == manifest.labels && again.annotations == manifest.annotations && again.name == manifest.name)
      #expect(again.warnings.count == 1, "the state's alone: \(again.warnings)")
    }
  }

  @Test func nothingIsLostOfWhatBothCanSay() throws {
    let document = try Self.manifest(Self.text("lossless.yaml")).weaveDocument(.v1alpha4)
    let expected = """
      {"apiVersion": "ignite.weave.works/v1alpha4", "kind": "VM",
       "metadata": {"name": "web", "labels": {"app": "shop"}, "annotations": {"example.org/team": "blue"}},
       "spec": {"image": {"oci": "weaveworks/ignite-ubuntu:20.04"}, "kernel": {"oci": "ghcr.io/example/kernel:6.1"},
        "cpus": 2, "memory": "800MB", "diskSize": "3GB",
        "network": {"ports": [{"hostPort": 6443, "vmPort": 443, "bindAddress": "127.0.0.1", "protocol": "udp"},
                              {"hostPort": 8080, "vmPort": 80}]},
        "storage": {"volumes": [{"name": "volume0", "blockDevice": {"path": "/dev/sdb1"}}],
                    "volumeMounts": [{"name": "volume0", "mountPath": "/data"}]}},
       "status": {"running": true}}
      """
    #expect(try document == JSONValue.parse(Array(expected.utf8)))
  }

  @Test(arguments: [
    ("restart: {policy: Always}", "spec.restart.policy: v1alpha4 has no such field"),
    ("process: {boot: Machine, env: [A=1]}", "spec.process.env: v1alpha4 has no such field"),
    ("process: {boot: Process}", "spec.process.boot: in v1alpha4 a VM boots the image's own init"),
    ("state: Paused", "spec.state: in v1alpha4 a VM runs, or does not"),
    ("network: {ports: [{vm: 80}]}", "spec.network.ports[0].host: in v1alpha4 no port is chosen"),
    ("volumes: [{mountPath: /a, volume: {name: a}}]", "spec.volumes[0]: in v1alpha4 volumes are block devices"),
    ("volumes: [{mountPath: /a, readOnly: true, blockDevice: {path: /b}}]", "spec.volumes[0]: in v1alpha4 volumes are"),
  ])
  func whatTheOldOneCannotSayIsNamed(_ field: String, _ message: String) throws {
    let machine = field.hasPrefix("process") ? "" : "  process: {boot: Machine}\n"
    let manifest = try Self.manifest(
      "apiVersion: ignite.weave.works/v1beta1\nkind: VM\nmetadata: {name: web}\nspec:\n  image: {oci: x}\n\(machine)  \(field)"
    )
    let error = #expect(throws: ManifestError.self) { try manifest.weaveDocument(.v1alpha4) }
    #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
  }
}
