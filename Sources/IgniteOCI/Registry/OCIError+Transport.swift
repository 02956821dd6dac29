internal import AsyncHTTPClient
internal import Glibc
internal import IgniteSystem
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

extension OCIError {
  /// What a failure of the HTTP client means.
  ///
  /// - Parameters:
  ///   - server: `host:port`.
  ///   - proxy: the proxy's `host:port`, where one is asked.
  ///   - silence: the longest silence that was allowed.
  init(transport error: any Error, server: String, proxy: String? = nil, silence: Duration) {
    if error is CancellationError || Task.isCancelled {
      self = .cancelled
      return
    }
    // Whose fault a failed connection is: with a proxy between, nobody else is connected to.
    let peer = proxy.map { "the proxy \($0)" } ?? "the registry at \(server)"
    switch error {
    case let error as OCIError:
      self = error
    case let error as HTTPClientError where error == .proxyAuthenticationRequired:
      self = OCIError(
        .denied, "\(peer) wants credentials for \(server), or refuses those that it got",
        advice: "write them into the proxy's URL: http://USER:PASSWORD@HOST:PORT", cause: error)
    case let error as HTTPClientError where error == .invalidProxyResponse:
      self = OCIError(
        .denied, "\(peer) makes no connection to \(server)",
        advice: "check the proxy's rules and log, or except the host by NO_PROXY", cause: error)
    case let error as HTTPClientError where error == .httpProxyHandshakeTimeout:
      self = OCIError(
        .timedOut, "\(peer) does not answer", advice: "check the proxy, or except \(server) by NO_PROXY", cause: error)
    case let error as NIOSSLError:
      self = .tls(error, server)
    case is NIOSSLExtraError, is BoringSSLError:
      self = .tls(error, server)
    case let error as HTTPClientError where error == .tlsHandshakeTimeout:
      self = OCIError(
        .tls, "cannot make a secure connection to \(server): it does not answer",
        advice: "check that it speaks HTTPS on that port", cause: error)
    case let error as HTTPClientError
    where error == .readTimeout || error == .writeTimeout || error == .deadlineExceeded:
      self = OCIError(
        .timedOut, "\(server) has been silent for \(silence.components.seconds) s", advice: "try again", cause: error)
    case let error as HTTPClientError where error == .cancelled:
      self = .cancelled
    case let error as HTTPClientError where error == .connectTimeout || error == .getConnectionFromPoolTimeout:
      self = .unreachable(peer, "it does not answer", error)
    case let error as HTTPClientError where error == .remoteConnectionClosed || error == .uncleanShutdown:
      self = OCIError(
        .unreachable, "\(server) closed the connection", advice: "try again; if it stays so, look at its log",
        cause: error)
    case let error as NIOConnectionError:
      self = .unreachable(peer, Self.reason(error), error)
    case let error as IOError:
      self = .unreachable(peer, SystemError.text(of: error.errnoCode).lowercased(), error)
    case let error as ChannelError:
      if case .connectTimeout = error {
        self = .unreachable(peer, "it does not answer", error)
      } else {
        self = OCIError(.unreachable, "the connection to \(server) was lost", advice: "try again", cause: error)
      }
    default:
      // What remains is the HTTP parser's: an end in the middle, or no HTTP at all.
      self = OCIError(
        .unreachable, "the connection to \(server) broke: it ended early or does not speak HTTP",
        advice: "check that a registry listens there", cause: error)
    }
  }

  private static func unreachable(_ peer: String, _ why: String, _ cause: any Error) -> OCIError {
    OCIError(
      .unreachable, "cannot reach \(peer): \(why)",
      advice: "is it running? check the name and the network", cause: cause)
  }

  private static func reason(_ error: NIOConnectionError) -> String {
    for failure in error.connectionErrors {
      if let failure = failure.error as? IOError { return SystemError.text(of: failure.errnoCode).lowercased() }
    }
    if error.connectionErrors.isEmpty, error.dnsAError != nil || error.dnsAAAAError != nil {
      return "its name cannot be resolved"
    }
    return "it does not answer"
  }

  private static func tls(_ error: any Error, _ server: String) -> OCIError {
    let text = String(describing: error)
    let why: String
    var advice: String?
    if text.contains("CERTIFICATE_VERIFY_FAILED") {
      why = "its certificate is signed by no authority that this machine trusts"
      advice = "name the authority's certificate in the configuration (registries, ca)"
    } else if error is NIOSSLExtraError {
      why = "its certificate is for another name"
      advice = "check the registry's name"
    } else if text.contains("CERTIFICATE_REQUIRED") || text.contains("BAD_CERTIFICATE")
      || text.contains("HANDSHAKE_FAILURE") || text.contains("UNKNOWN_CA")
    {
      why = "it wants a client certificate, and takes none of ours"
      advice = "give clientCertificate and clientKey of it in the configuration (registries)"
    } else if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") {
      why = "it does not speak HTTPS on that port"
      advice = "check the port; plain HTTP elsewhere than on this machine wants insecure: true in the configuration"
    } else if text.contains("failedToLoadCertificate") || text.contains("noCertificateToLoad") {
      why = "the trusted certificates cannot be read"
      advice = "check SSL_CERT_FILE and the package ca-certificates"
    } else {
      why = "the handshake failed"
    }
    return OCIError(.tls, "cannot make a secure connection to \(server): \(why)", advice: advice, cause: error)
  }
}
