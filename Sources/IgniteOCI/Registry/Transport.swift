internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem
internal import NIOSSL

/// How one server is spoken to: what is trusted, who this machine is to it, by which proxy.
struct Transport: Sendable {
  /// nil for the client's own.
  var tls: TLSConfiguration?
  var proxy: Proxy?
}

/// The transports of a client, made when a server is first spoken to: files are read once.
actor Transports {
  private struct Key: Hashable {
    let origin: String
    let registry: String
  }

  private let configuration: RegistryClient.Configuration
  private let environment: ProxyEnvironment
  private var made: [Key: Transport] = [:]

  init(_ configuration: RegistryClient.Configuration) {
    self.configuration = configuration
    environment = ProxyEnvironment(configuration.environment)
  }

  /// - Parameter registry: for whose sake the server is spoken to. Its authorities are trusted there too: a registry
  ///   and its token server have one owner; its proxy serves there too. Its client certificate goes to the registry alone.
  func transport(for url: URL, of registry: RegistryEndpoint) async throws(OCIError) -> Transport {
    let key = Key(origin: url.origin, registry: registry.base.origin)
    if let transport = made[key] { return transport }
    var transport = Transport()
    // What a registry leads to is reached as it is, unless something is said of it by name.
    let own = configuration.registries.settings(for: url.serverNames)
    let led = url.hostName.map(isLoopback) == true ? nil : registry.base.serverNames
    switch own?.proxy ?? led.flatMap({ configuration.registries.settings(for: $0)?.proxy }) {
    case "none": break
    case let proxy?: transport.proxy = try Proxy(proxy)
    case nil: transport.proxy = try environment.proxy(for: url)
    }
    if url.scheme?.lowercased() == "https" {
      let configuration = configuration
      let names = (server: url.serverNames, registry: registry.base.serverNames)
      transport.tls = try await ThreadExecutor.run(name: "ignite-certs") { () throws(OCIError) in
        try Self.security(server: names.server, registry: names.registry, configuration)
      }
    }
    made[key] = transport
    return transport
  }

  private static func security(
    server: [String], registry: [String], _ configuration: RegistryClient.Configuration
  ) throws(OCIError) -> TLSConfiguration? {
    let own = try Certificates(names: server, configuration)
    let led = server == registry ? own : try Certificates(names: registry, configuration)
    let insecure = configuration.registries.settings(for: server)?.insecure == true
    var authorities = own.authorities
    if server != registry { authorities += led.authorities }
    guard insecure || !authorities.isEmpty || own.identity != nil else { return nil }
    var tls = configuration.tls
    if !authorities.isEmpty { tls.additionalTrustRoots = [.certificates(authorities)] }
    if let identity = own.identity {
      tls.certificateChain = identity.chain.map { .certificate($0) }
      tls.privateKey = .privateKey(identity.key)
    }
    if insecure { tls.certificateVerification = .none }
    return tls
  }
}

/// What the configuration and the folders of certificates hold for a server.
private struct Certificates {
  var authorities: [NIOSSLCertificate] = []
  var identity: (chain: [NIOSSLCertificate], key: NIOSSLPrivateKey)?

  /// The configuration's files; else `HOST/*.crt`, and `HOST/NAME.cert` with `HOST/NAME.key`, as Docker and Podman
  /// have them (certs.d).
  init(names: [String], _ configuration: RegistryClient.Configuration) throws(OCIError) {
    let settings = configuration.registries.settings(for: names)
    if let file = settings?.ca { authorities += try Self.certificates(file) }
    if let certificate = settings?.clientCertificate, let key = settings?.clientKey {
      identity = (try Self.certificates(certificate), try Self.key(key))
    }
    for folder in configuration.certificateFolders {
      for name in names {
        let path = "\(folder)/\(name)"
        for file in try Self.files(in: path) {
          if file.hasSuffix(".crt") { authorities += try Self.certificates("\(path)/\(file)") }
          if file.hasSuffix(".cert"), identity == nil {
            let key = "\(path)/\(file.dropLast(5)).key"
            identity = (try Self.certificates("\(path)/\(file)"), try Self.key(key))
          }
        }
      }
    }
  }

  private static func files(in folder: String) throws(OCIError) -> [String] {
    guard let directory = opendir(folder) else {
      // What root keeps to itself is for root's own pulls.
      if [ENOENT, ENOTDIR, EACCES].contains(errno) { return [] }
      throw OCIError(
        .fileSystem, "cannot list the certificates in \(folder): \(SystemError.text(of: errno))",
        advice: "make them readable, or name them in the configuration")
    }
    defer { closedir(directory) }
    var names: [String] = []
    while names.count < 256, let entry = readdir(directory) {
      names.append(
        withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names.sorted()
  }

  private static func certificates(_ file: String) throws(OCIError) -> [NIOSSLCertificate] {
    let bytes = try SmallFile.read(file, "the certificate")
    guard let found = try? NIOSSLCertificate.fromPEMBytes(bytes), !found.isEmpty else {
      throw OCIError(.invalidDocument, "\(file) holds no certificate", advice: "it has to be a PEM file")
    }
    return found
  }

  private static func key(_ file: String) throws(OCIError) -> NIOSSLPrivateKey {
    let bytes = try SmallFile.read(file, "the client key")
    guard let key = try? NIOSSLPrivateKey(bytes: bytes, format: .pem) else {
      throw OCIError(
        .invalidDocument, "\(file) holds no private key", advice: "it has to be a PEM file without a passphrase")
    }
    return key
  }
}

/// Files of a megabyte at most, read whole.
enum SmallFile {
  static let limit = 1 << 20

  static func read(_ path: String, _ what: String) throws(OCIError) -> [UInt8] {
    func failed(_ why: String) -> OCIError {
      OCIError(.fileSystem, "cannot read \(what) \(path): \(why)", advice: "check the file and its mode")
    }
    do throws(SystemError) {
      let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 64 << 10)
      while true {
        let count = try retrying("read \(path)") { Glibc.read(file.number, &buffer, buffer.count) }
        if count == 0 { return bytes }
        bytes += buffer[..<count]
        if bytes.count > limit { break }
      }
    } catch {
      throw failed(SystemError.text(of: error.code))
    }
    throw failed("it has more than \(limit) bytes")
  }
}
