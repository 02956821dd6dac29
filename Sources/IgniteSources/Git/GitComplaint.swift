/// What git, ssh and the server said, made an error. git tells failures apart in its words only (in the C locale).
struct GitComplaint {
  /// What was asked for, as `https://… at branch main`.
  let subject: String
  let url: GitURL
  let secrets: [String]

  private struct Reading {
    var words: [String]
    var code: SourceError.Code
    var advice: String?
  }

  /// The first that fits.
  private static let readings = [
    Reading(
      words: [
        "IDENTIFICATION HAS CHANGED", "Host key verification failed", "host key is known", "no matching host key type",
      ],
      code: .hostKey,
      advice: "if the server's key was changed on purpose, give its new line as known hosts (ssh-keyscan prints it)"),
    Reading(
      words: ["incorrect passphrase", "invalid format", "error in libcrypto", "bad permissions"], code: .authentication,
      advice: "check the identity and its passphrase: ssh-keygen -y -f FILE reads a good one"),
    Reading(
      words: ["Permission denied (", "Too many authentication failures", "no mutual signature"], code: .authentication,
      advice: "check that the server knows the deploy key"),
    Reading(
      words: [
        "Authentication failed", "could not read Username", "could not read Password", "returned error: 401",
        "returned error: 403", "Access denied",
      ], code: .authentication, advice: "check the source's user and password, or its token"),
    Reading(
      words: ["dubious ownership", "Permission denied"], code: .authentication,
      advice: "a repository on this machine is read only where it belongs to the user that ignite runs as"),
    Reading(
      words: [
        "SSL certificate", "certificate verification failed", "server certificate", "certificate has expired",
        "self-signed",
        "error setting certificate", "certificate subject name",
      ], code: .certificate, advice: "give the authority's certificate as the source's CA file"),
    Reading(
      words: ["returned error: 30", "from redirection", "redirect"], code: .badURL,
      advice: "give the address that it redirects to; redirects are not followed, so that credentials go nowhere else"),
    Reading(
      words: ["dumb http"], code: .failed,
      advice: "have the repository served by git http-backend, or by another server of the smart protocol"),
    Reading(words: ["transport '", "strange hostname", "strange pathname", "is blocked"], code: .badURL),
    Reading(
      words: ["couldn't find remote ref", "not our ref", "unadvertised object", "no such remote ref"], code: .notFound,
      advice: "check the source's reference"),
    Reading(
      words: [
        "does not appear to be a git repository", "returned error: 404", "not found", "does not exist", "No such file",
      ],
      code: .notFound, advice: "check the URL, and that the credentials may see the repository"),
    Reading(
      words: ["No space left", "quota exceeded", "Read-only file system"], code: .fileSystem, advice: "make room"),
    Reading(words: ["File too large", "Out of memory", "unable to allocate", "exceeds maximum"], code: .tooLarge),
    Reading(
      words: [
        "Could not resolve", "Failed to connect", "Connection refused", "Connection timed out", "Connection reset",
        "Connection closed", "No route to host", "Network is unreachable", "Operation too slow", "Operation timed out",
        "Couldn't connect", "returned error: 5", "returned error: 429", "Empty reply", "kex_exchange_identification",
        "early EOF", "hung up unexpectedly", "unexpected disconnect", "RPC failed", "gnutls_handshake", "SSL_connect",
        "transfer closed",
      ], code: .unreachable, advice: "check the address, and whether the server runs"),
    Reading(
      words: [
        "fsck error", "bad object", "index-pack", "corrupt", "inflate", "unresolved deltas",
        "missing necessary objects",
        "did not send all", "bad line length", "protocol error", "not valid: is this a git repository",
        "invalid server response",
        "bad pack", "hash mismatch",
      ], code: .corrupt, advice: "check the repository: git fsck --full"),
  ]

  func error(_ words: String, otherwise: SourceError.Code = .failed) -> SourceError {
    // ssh ends its lines with both, which is one Character.
    let lines = words.split(whereSeparator: \.isNewline).map { String($0) }
    let reading = Self.readings.first { reading in
      reading.words.contains { word in lines.contains { $0.contains(word) } }
    }
    // The lines that led to the reading say most; otherwise the last that git calls an error.
    let telling = lines.filter { line in reading?.words.contains { line.contains($0) } ?? false }.prefix(2)
    let last = lines.last { $0.hasPrefix("fatal:") || $0.hasPrefix("error:") } ?? lines.last ?? "it said nothing"
    let quoted = telling.isEmpty ? [last] : Array(telling)
    let said = Words.clean(quoted.joined(separator: " / "), hiding: secrets)
    return SourceError(reading?.code ?? otherwise, "\(subject): \(said)", advice: reading?.advice)
  }
}
