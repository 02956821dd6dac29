import Foundation
import Synchronization
import Testing

@testable import IgniteOCI

/// What passes is tried again, in measure; what does not is said.
@Suite struct RobustnessTests {
  private func resolve(
    _ configuration: RegistryClient.Configuration = .fast,
    _ answer: @escaping @Sendable (_ number: Int, FakeServer.Connection) -> Void
  ) async throws -> (error: OCIError?, requests: Int) {
    let count = Mutex(0)
    let server = try FakeServer { _, connection in
      let number = count.withLock { count in
        count += 1
        return count
      }
      answer(number, connection)
    }
    defer { server.stop() }
    let source = RegistrySource(
      try Reference("\(server.authority)/app:1"), client: RegistryClient(configuration: configuration))
    do {
      _ = try await source.resolve(platform: .host)
      return (nil, server.requests.count)
    } catch { return (error, server.requests.count) }
  }

  @Test func tooManyRequestsAreMadeAgain() async throws {
    let manifest = try HostileRegistryTests.manifest()
    let (error, requests) = try await resolve { number, connection in
      if number < 3 { return connection.answer(429, ["Retry-After": "0"]) }
      connection.answer(200, ["Content-Type": MediaType.ociManifest], manifest)
    }
    #expect(error == nil)
    #expect(requests == 3)
    let (refused, tries) = try await resolve { _, connection in
      connection.answer(429, [:], #"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#)
    }
    #expect(refused?.code == .denied)
    #expect(refused?.message.contains("slow down") == true)
    #expect(tries == 3)
  }

  /// A server that wants more patience than there is gets none.
  @Test(arguments: ["3600", "Fri, 31 Dec 9999 23:59:59 GMT"])
  func patienceHasAnEnd(_ value: String) async throws {
    let (error, requests) = try await resolve { _, connection in connection.answer(503, ["Retry-After": value]) }
    #expect(error?.code == .badResponse)
    #expect(error?.advice?.contains("left alone for") == true)
    #expect(requests == 1)
  }

  @Test(
    arguments: [
      ("0", 0), (" 7 ", 7), ("99999999999", 1 << 31), ("-1", nil), ("soon", nil), ("", nil),
      ("Sun, 06 Nov 1994 08:49:37 GMT", 0), ("Sun, 06 Nov 1994 08:50:37 GMT", 60), ("Sun, 06 Nov 1994 08:50:37", nil),
      ("Sun, 40 Nov 1994 08:50:37 GMT", nil), ("Sunday, 06-Nov-94 08:49:37 GMT", nil),
    ] as [(String, Int?)])
  func waitsAsTold(text: String, seconds: Int?) {
    let wanted: Duration? = seconds.map { .seconds($0) }
    #expect(RegistryClient.Response.retryAfter(text, now: 784_111_777) == wanted)
  }

  @Test func pausesGrowAndVary() throws {
    var configuration = RegistryClient.Configuration.fast
    configuration.backoff = .milliseconds(100)
    configuration.longestPause = .seconds(10)
    let error = OCIError(.unreachable, "x")
    let pauses = try (1...40).map { try RegistryClient.pause(after: error, tried: $0, configuration) }
    #expect(pauses[0] >= .milliseconds(50) && pauses[0] <= .milliseconds(100))
    #expect(pauses[3] >= .milliseconds(400) && pauses[3] <= .milliseconds(800))
    #expect(pauses.allSatisfy { $0 <= .seconds(10) })
    #expect(Set(pauses).count > 20)
    let told = OCIError(.badResponse, "x", cause: ServerFailure(status: 503, retryAfter: .seconds(3)))
    #expect(try RegistryClient.pause(after: told, tried: 1, configuration) == .seconds(3))
  }

  @Test func theMeterCountsOnlyWaiting() {
    var meter = RateMeter(minimum: 1000, window: .seconds(10))
    let enough = (0..<5).map { _ in meter.isFastEnough(2000, after: .seconds(2)) }
    #expect(enough == [true, true, true, true, true])
    let trickle = (0..<10).map { _ in meter.isFastEnough(999, after: .seconds(1)) }
    #expect(trickle == [true, true, true, true, true, true, true, true, true, false])
    var unlimited = RateMeter(minimum: 0, window: .seconds(1))
    let patient = unlimited.isFastEnough(0, after: .seconds(100))
    #expect(patient)
  }

  /// A server that sends a byte now and then is given up, though it is never silent for long.
  @Test func tricklesAreGivenUp() async throws {
    var configuration = RegistryClient.Configuration.fast
    configuration.rateWindow = .milliseconds(200)
    configuration.minimumRate = 1 << 20
    let server = try FakeServer { _, connection in
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(HostileRegistryTests.blob.count)\r\n\r\n")
      // The socket's own time-out paces the bytes; the client hangs up in the end.
      for byte in HostileRegistryTests.blob.prefix(5000) {
        connection.send([byte])
        if connection.isGone(after: 20) { return }
      }
    }
    defer { server.stop() }
    let source = RegistrySource(
      try Reference("\(server.authority)/app:1"), client: RegistryClient(configuration: configuration))
    let error = await #expect(throws: OCIError.self) { try await source.open(HostileRegistryTests.descriptor).all() }
    #expect(error?.code == .timedOut)
    #expect(error?.message.contains("less than 1048576 bytes a second") == true, "\(error?.message ?? "")")
    // Another connection might have been better; a third is not tried.
    #expect(server.requests.count == 2)
  }

  /// Bytes between the failures do not make them forgotten when they are few.
  @Test func aByteIsNoHeadway() async throws {
    let server = try FakeServer { request, connection in
      let start = request.headers["range"].flatMap { Int($0.dropFirst(6).dropLast()) } ?? 0
      let size = HostileRegistryTests.blob.count
      connection.send("HTTP/1.1 \(start == 0 ? 200 : 206) X\r\nContent-Range: bytes \(start)-\(size - 1)/\(size)\r\n")
      connection.send("Content-Length: \(size - start)\r\n\r\n")
      connection.send(Array(HostileRegistryTests.blob[start...start + 9]))
      connection.hangUp()
    }
    defer { server.stop() }
    let source = RegistrySource(
      try Reference("\(server.authority)/app:1"), client: RegistryClient(configuration: .fast))
    let error = await #expect(throws: OCIError.self) { try await source.open(HostileRegistryTests.descriptor).all() }
    #expect(error?.code == .unreachable)
    #expect((2...3).contains(server.requests.count))
  }

  @Test func aPartThatNobodyAskedFor() async throws {
    let server = try FakeServer { _, connection in
      connection.answer(206, ["Content-Range": "bytes 0-9/10"], Array(HostileRegistryTests.blob.prefix(10)))
    }
    defer { server.stop() }
    let source = RegistrySource(
      try Reference("\(server.authority)/app:1"), client: RegistryClient(configuration: .fast))
    let error = await #expect(throws: OCIError.self) { try await source.open(HostileRegistryTests.descriptor) }
    #expect(error?.code == .badResponse)
  }

  /// The digest of a tag by HEAD alone.
  @Test func aDigestIsAskedForByHead() async throws {
    let digest = Digest.sha256(of: [1])
    let server = try FakeServer { request, connection in
      if request.target.hasSuffix("/3") { return connection.send("HTTP/1.1 405 X\r\nContent-Length: 0\r\n\r\n") }
      connection.send(
        "HTTP/1.1 200 OK\r\nDocker-Content-Digest: \(request.target.hasSuffix("/1") ? "\(digest)" : "nonsense")\r\n"
          + "Content-Length: 99\r\n\r\n")
    }
    defer { server.stop() }
    let client = RegistryClient(configuration: .fast)
    #expect(try await RegistrySource(Reference("\(server.authority)/app:1"), client: client).currentDigest() == digest)
    #expect(try await RegistrySource(Reference("\(server.authority)/app:2"), client: client).currentDigest() == nil)
    #expect(try await RegistrySource(Reference("\(server.authority)/app:3"), client: client).currentDigest() == nil)
    #expect(
      try await RegistrySource(Reference("\(server.authority)/app:2@\(digest)"), client: client).currentDigest()
        == digest)
    #expect(server.requests.map(\.method) == ["HEAD", "HEAD", "HEAD"])
  }
}
