internal import AsyncHTTPClient
internal import Glibc
internal import NIOHTTP1

/// A server's own failure, or its wish to be left alone for a while, as the cause of an error.
struct ServerFailure: Error {
  let status: Int
  /// What the server asks to wait (RFC 9110, section 10.2.3).
  var retryAfter: Duration?
}

extension OCIError {
  /// Whether the same request may well succeed when it is made again.
  var isTransient: Bool { code == .unreachable || cause is ServerFailure }
}

extension RegistryClient {
  /// Runs `body` again, after a pause, while it fails in a way that passes.
  ///
  /// The pause doubles and has a random part, so that many clients do not come back at once. Where the server says how
  /// long to wait, that is done up to a limit; beyond it the error stands.
  func retrying<Value: Sendable>(
    tries: Int? = nil, _ body: @Sendable () async throws(OCIError) -> Value
  ) async throws(OCIError) -> Value {
    var tried = 1
    while true {
      let pause: Duration
      do throws(OCIError) {
        return try await body()
      } catch {
        guard error.isTransient, tried < tries ?? configuration.tries else { throw error }
        pause = try Self.pause(after: error, tried: tried, configuration)
      }
      try await rest(pause)
      tried += 1
    }
  }

  /// How long to wait before the next try.
  /// - Throws: the error itself, when the server asks for more patience than there is.
  static func pause(after error: OCIError, tried: Int, _ configuration: Configuration) throws(OCIError) -> Duration {
    let step = configuration.backoff * (1 << min(tried - 1, 16))
    let jittered = min(step, configuration.longestPause) * Double.random(in: 0.5...1)
    guard let asked = (error.cause as? ServerFailure)?.retryAfter else { return jittered }
    guard asked <= configuration.longestPause else {
      throw OCIError(
        error.code, error.message, advice: "it asks to be left alone for \(asked.components.seconds) s: try again then",
        cause: error.cause)
    }
    return max(asked, jittered)
  }

  /// Waits; ends at once, with an error, when the task is cancelled.
  func rest(_ pause: Duration) async throws(OCIError) {
    do { try await Task.sleep(for: pause) } catch { throw .cancelled }
  }
}

extension RegistryClient.Response {
  /// The value of `Retry-After`, seconds or a date; nil where there is none or it makes no sense.
  var retryAfter: Duration? {
    http.headers.first(name: "Retry-After").flatMap { Self.retryAfter($0, now: time(nil)) }
  }

  static func retryAfter(_ text: String, now: Int) -> Duration? {
    guard text.utf8.count <= 64 else { return nil }
    if let seconds = Int(text.filter { $0 != " " }) { return seconds >= 0 ? .seconds(min(seconds, 1 << 31)) : nil }
    return date(text).map { .seconds(max(0, $0 - now)) }
  }

  /// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7); the obsolete forms are not taken.
  private static func date(_ text: String) -> Int? {
    let words = text.split { $0 == " " || $0 == ":" || $0 == "," }
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    guard words.count == 8, words[7] == "GMT", let month = months.firstIndex(of: String(words[2])),
      let day = Int32(words[1]), let year = Int32(words[3]), let hour = Int32(words[4]), let minute = Int32(words[5]),
      let second = Int32(words[6]), (1...31).contains(day), (1970...9999).contains(year), (0...23).contains(hour),
      (0...59).contains(minute), (0...60).contains(second)
    else { return nil }
    var parts = tm()
    (parts.tm_year, parts.tm_mon, parts.tm_mday) = (year - 1900, Int32(month), day)
    (parts.tm_hour, parts.tm_min, parts.tm_sec) = (hour, minute, second)
    return timegm(&parts)
  }
}
