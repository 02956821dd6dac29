internal import AsyncHTTPClient
internal import Glibc
internal import IgniteSystem
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

/// A server's own failure, as the cause of an error.
struct ServerFailure: Error {
  let status: Int
}

extension OCIError {
  /// Whether the same request may well succeed when it is made again.
  var isTransient: Bool { code == .unreachable || cause is ServerFailure }

  /// What a failure of the HTTP client means.
  ///
  /// - Parameters:
  ///   - server: `host:port`.
  ///   - silence: the longest silence that was allowed.
  init(transport error: any Error, server: String, silence: Duration) {
    if error is CancellationError || Task.isCancelled {
      self = .cancelled
      return
    }
    switch error {
    case let error as OCIError:
      self = error
    case let error as NIOSSLError:
      self = .tls(error, server)
    case is NIOSSLExtraError, is BoringSSLError:
      self = .tls(error, server)
    case let error as HTTPClientError where error == .tlsHandshakeTimeout:
      self = OCIError(
        .tls, "cannot make a secure connection to \(server): it does not answer",
        advice: "check that it speaks HTTPS on that port", cause: error)
    case let error as HTTPClientError where error == .readTimeout || error == .deadlineExceeded:
      self = OCIError(
        .timedOut, "\(server) has been silent for \(silence.components.seconds) s", advice: "try again", cause: error)
    case let error as HTTPClientError where error == .cancelled:
      self = .cancelled
    case let error as HTTPClientError where error == .connectTimeout || error == .getConnectionFromPoolTimeout:
      self = .unreachable(server, "it does not answer", error)
    case let error as HTTPClientError where error == .remoteConnectionClosed || error == .uncleanShutdown:
      self = OCIError(
        .unreachable, "\(server) closed the connection", advice: "try again; if it stays so, look at its log",
        cause: error)
    case let error as NIOConnectionError:
      self = .unreachable(server, Self.reason(error), error)
    case let error as IOError:
      self = .unreachable(server, SystemError.text(of: error.errnoCode).lowercased(), error)
    case let error as ChannelError:
      if case .connectTimeout = error {
        self = .unreachable(server, "it does not answer", error)
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

  private static func unreachable(_ server: String, _ why: String, _ cause: any Error) -> OCIError {
    OCIError(
      .unreachable, "cannot reach the registry at \(server): \(why)",
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
      advice = "set SSL_CERT_FILE to a file with the authority's certificate"
    } else if error is NIOSSLExtraError {
      why = "its certificate is for another name"
      advice = "check the registry's name"
    } else if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") {
      why = "it does not speak HTTPS on that port"
      advice = "check the port; plain HTTP is for registries on this machine only"
    } else if text.contains("failedToLoadCertificate") || text.contains("noCertificateToLoad") {
      why = "the trusted certificates cannot be read"
      advice = "check SSL_CERT_FILE and the package ca-certificates"
    } else {
      why = "the handshake failed"
    }
    return OCIError(.tls, "cannot make a secure connection to \(server): \(why)", advice: advice, cause: error)
  }
}
