/// What is served at which path.
struct Endpoints: Sendable {
  let board: HealthBoard
  /// What stands against reading the VMs' records; nil where nothing does.
  let storeFailure: @Sendable () async -> String?
  let metrics: @Sendable () async -> String

  /// Paths by which requests are counted.
  static let paths = ["/livez", "/readyz", "/healthz", "/metrics"]

  func respond(to request: Request) async -> Response {
    guard Self.paths.contains(request.path) else {
      return .failure(404, reason: "NotFound", "nothing is served at \(request.path.prefix(256))")
    }
    guard ["GET", "HEAD"].contains(request.method) else {
      var response = Response.failure(
        405, reason: "MethodNotAllowed", "\(request.path) takes GET, and not \(request.method.prefix(32))")
      response.headers = [("Allow", "GET, HEAD")]
      return response
    }
    switch request.path {
    case "/livez": return answer("livez", [ping], request, failing: 500)
    case "/readyz": return answer("readyz", [ping, await store] + board.readiness(), request, failing: 503)
    case "/healthz": return answer("healthz", [ping, await store] + board.health(), request, failing: 500)
    default:
      return Response(status: 200, contentType: PrometheusText.contentType, body: await metrics())
    }
  }

  /// That an answer comes is the answer.
  private var ping: HealthBoard.Check { HealthBoard.Check(name: "ping", failure: nil) }
  private var store: HealthBoard.Check { get async { .init(name: "store", failure: await storeFailure()) } }

  /// As Kubernetes' API server answers: `ok`, or a line a check where one failed or `?verbose` asks for it.
  private func answer(
    _ name: String, _ checks: [HealthBoard.Check], _ request: Request, failing status: Int
  ) -> Response {
    let isWell = checks.allSatisfy { $0.failure == nil }
    if isWell, request.query["verbose"] == nil { return .text(200, "ok") }
    let lines = checks.map { check in
      check.failure.map { "[-]\(check.name) failed: \(Self.oneLine($0))\n" } ?? "[+]\(check.name) ok\n"
    }
    return .text(isWell ? 200 : status, lines.joined() + "\(name) check \(isWell ? "passed" : "failed")\n")
  }

  private static func oneLine(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
  }
}
