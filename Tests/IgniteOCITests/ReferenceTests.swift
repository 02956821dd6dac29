import Foundation
import IgniteOCI
import Testing

@Suite struct ReferenceTests {
  static let hex = String(repeating: "0123456789abcdef", count: 4)

  @Test(arguments: [
    ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
    ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
    ("weaveworks/ignite-ubuntu", "docker.io/weaveworks/ignite-ubuntu:latest", "weaveworks/ignite-ubuntu:latest"),
    ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
    ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
    ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
    ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
    ("localhost:5000/a/b:tag", "localhost:5000/a/b:tag", "localhost:5000/a/b:tag"),
    ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest"),
    ("[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000/a:b"),
    ("Host/a", "Host/a:latest", "Host/a:latest"),
    ("x/a__b.c-d---e/f_g", "docker.io/x/a__b.c-d---e/f_g:latest", "x/a__b.c-d---e/f_g:latest"),
    ("x:_", "docker.io/library/x:_", "x:_"),
    ("app:5000", "docker.io/library/app:5000", "app:5000"),
    ("host.io/n@sha256:\(hex)", "host.io/n@sha256:\(hex)", "host.io/n@sha256:\(hex)"),
    ("n:1@sha256:\(hex)", "docker.io/library/n:1@sha256:\(hex)", "n:1@sha256:\(hex)"),
    ("n@sha512:\(hex)\(hex)", "docker.io/library/n@sha512:\(hex)\(hex)", "n@sha512:\(hex)\(hex)"),
  ])
  func valid(_ text: String, canonical: String, familiar: String) throws {
    let reference = try Reference(text)
    #expect(reference.description == canonical)
    #expect(reference.familiar == familiar)
    #expect(try Reference(canonical) == reference)
    #expect(try Reference(familiar) == reference)
  }

  @Test(arguments: [
    ("", "is empty"), ("A", "lower case"), ("a/", "empty component"), ("/a", "empty component"),
    ("a//b", "empty component"),
    ("a:", "tag after ':' is empty"), ("a:-b", "must start with"), ("a:b c", "may have letters"),
    ("a:\(String(repeating: "t", count: 129))", "longer than 128"), ("-a", "start and end"), ("a-", "start and end"),
    ("a..b", "between its parts"), ("a___b", "between its parts"), ("a.-b", "between its parts"), ("a b", "may have"),
    ("https://host/a", "scheme"), ("host:/a", "port"), ("host:0/a", "port"), ("host:65536/a", "port"),
    ("host:1x/a", "port"),
    ("ho_st.io/a", "no host name"), ("-host.io/a", "no host name"), (".host/a", "empty part"), ("[::1/a", "closing"),
    ("[::g]:5000/a", "IPv6"), ("a@sha256:12", "64 lower-case"), ("a@md5:12", "must start with"), ("a@", "no digest"),
    ("a@sha256:\(hex.uppercased())", "lower-case"),
    ("host.io/\(String(repeating: "a", count: 250))", "longer than 255"),
    (hex, "no name"), ("nämé", "may have"), ("a\u{0}b", "may have"), (String(repeating: "a", count: 2000), "1024"),
  ])
  func invalid(_ text: String, because: String) {
    let error = #expect(throws: OCIError.self) { try Reference(text) }
    #expect(error?.code == .invalidReference)
    #expect(error?.message.contains(because) == true, "\(error?.message ?? "")")
    #expect(error?.message.contains("\n") == false)
  }

  @Test func longestAllowed() throws {
    let name = String(repeating: "a", count: 255 - "host.io/".count)
    #expect(try Reference("host.io/\(name):\(String(repeating: "t", count: 128))").repository == name)
  }

  /// Whatever comes in, the parser gives an error or a reference whose canonical form reads as itself.
  @Test func fuzz() async throws {
    var generator = SplitMix(seed: 20_240_501)
    let pieces = [
      "a", "Z", "0", ".", "_", "-", ":", "/", "@", "sha256:", Self.hex, "localhost", "docker.io", "[", "]", "::1", " ",
      "é", "\u{0}",
      "library", "5000", "+", "latest",
    ]
    var valid = 0
    for round in 0..<20_000 {
      // Tests that wait for a server share these threads.
      if round.isMultiple(of: 100) { await Task.yield() }
      let text = (0..<Int.random(in: 1...8, using: &generator)).map { _ in pieces.randomElement(using: &generator) ?? ""
      }.joined()
      guard let reference = try? Reference(text) else { continue }
      valid += 1
      let same = try [reference.description, reference.familiar].allSatisfy { try Reference($0) == reference }
      if !same || reference.name.utf8.count > 255 { Issue.record("\(text) reads as \(reference)") }
    }
    #expect(valid > 500)
  }

  @Test func sources() throws {
    #expect(try ImageSourceReference("oci:dir") == .layout(path: "dir", tag: nil))
    #expect(try ImageSourceReference("oci:/a/b:v1") == .layout(path: "/a/b", tag: "v1"))
    #expect(try ImageSourceReference("oci:d:host.io/a:v1") == .layout(path: "d", tag: "host.io/a:v1"))
    #expect(try ImageSourceReference("nginx") == .registry(Reference("nginx")))
    #expect(try ImageSourceReference("docker:dind") == .registry(Reference("docker:dind")))
    #expect(try ImageSourceReference("oci") == .registry(Reference("oci")))
    #expect(try ImageSourceReference("oci-archive:f.tar") == .archive(.oci, path: "f.tar", image: nil))
    #expect(try ImageSourceReference("oci-archive:f.tar:v1") == .archive(.oci, path: "f.tar", image: "v1"))
    #expect(try ImageSourceReference("docker-archive:/f:a/b:1") == .archive(.docker, path: "/f", image: "a/b:1"))
    #expect(try ImageSourceReference("docker-archive:f:@2") == .archive(.docker, path: "f", image: "@2"))
    #expect(try ImageSourceReference("docker-daemon:nginx:1") == .dockerDaemon(image: "nginx:1"))
    #expect(try ImageSourceReference("-") == .standardInput)
    for text in ["-", "docker-archive:/f:a/b:1", "oci-archive:f:v1", "docker-daemon:nginx:1"] where text != "-" {
      #expect(try ImageSourceReference(text).description == text)
    }
    for text in ["containers-storage:nginx", "dir:/a"] {
      let error = #expect(throws: OCIError.self) { try ImageSourceReference(text) }
      #expect(error?.code == .unsupported)
      #expect(error?.advice?.contains("skopeo copy") == true)
    }
    for text in [
      "oci:", "oci::tag", "oci:dir:", "docker://nginx", "oci-archive:", "docker-archive::x", "docker-archive:f:",
      "docker-archive:f:@x", "docker-archive:f:@-1", "docker-archive:f:NOT A NAME", "docker-daemon:",
      "docker-daemon:A B",
      "--",
    ] {
      #expect(throws: OCIError.self) { try ImageSourceReference(text) }
    }
  }

  @Test(arguments: [
    ("oci:/srv/My Images/Web_App:v1", "localhost/web-app:v1"), ("oci:.", "localhost/image:latest"),
    ("oci:../x/", "localhost/x:latest"), ("oci:d:host.io/a/b:v1", "host.io/a/b:v1"),
    ("oci:d:we+ird", "localhost/d:latest"), ("oci-archive:/x/My App.tar.gz:v1", "localhost/my-app:v1"),
    ("docker-archive:a.tar", "localhost/a:latest"), ("docker-archive:a.tar:nginx:1", "docker.io/library/nginx:1"),
    ("docker-daemon:nginx:1", "docker.io/library/nginx:1"),
  ])
  func defaultNames(_ source: String, name: String) throws {
    #expect(try ImageSourceReference(source).defaultName().description == name)
  }

  @Test func codable() throws {
    let reference = try Reference("localhost:5000/a:b")
    let data = try JSONEncoder().encode([reference])
    #expect(
      String(decoding: data, as: UTF8.self).replacingOccurrences(of: "\\/", with: "/") == #"["localhost:5000/a:b"]"#)
    #expect(try JSONDecoder().decode([Reference].self, from: data) == [reference])
  }
}
