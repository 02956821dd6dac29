/// A request, as far as anything here depends on it. What it carries is not kept.
struct Request: Sendable, Equatable {
  var method: String
  var path: String
  var query: [String: String]

  /// - Parameter target: a request's target in origin form: `/path?name=value&name`.
  init(method: String, target: String) {
    self.method = method
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = parts.first.map(String.init) ?? ""
    query = [:]
    for pair in parts.dropFirst().first?.split(separator: "&").prefix(64) ?? [] {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      query[sides[0]] = sides.count > 1 ? sides[1] : ""
    }
  }
}

struct Response: Sendable, Equatable {
  var status: Int
  var contentType = "text/plain; charset=utf-8"
  var headers: [(name: String, value: String)] = []
  var body: String

  static func text(_ status: Int, _ body: String) -> Response { Response(status: status, body: body) }

  /// A failure in the form of Kubernetes' API: an object of the kind `Status`.
  static func failure(_ status: Int, reason: String, _ message: String) -> Response {
    let body = """
      {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":\(LogText.quoted(message)),\
      "reason":\(LogText.quoted(reason)),"code":\(status)}

      """
    return Response(status: status, contentType: "application/json", body: body)
  }

  static func == (one: Response, other: Response) -> Bool {
    one.status == other.status && one.contentType == other.contentType && one.body == other.body
      && one.headers.elementsEqual(other.headers, by: ==)
  }
}
