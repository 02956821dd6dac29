import Foundation
import IgniteOCI
import Synchronization
import Testing

/// Registries that stall, lie and hang up.
@Suite struct HostileRegistryTests {
  static let blob = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
  static let descriptor = Descriptor(
    mediaType: MediaType.ociLayer, digest: .sha256(of: blob), size: Int64(blob.count))

  static func manifest() throws -> [UInt8] {
    let config = Descriptor(mediaType: MediaType.ociConfig, digest: .sha256(of: []), size: 0)
    return [UInt8](try JSONEncoder().encode(Manifest(config: config, layers: [descriptor])))
  }

  private func source(_ server: FakeServer, _ configuration: RegistryClient.Configuration = .fast) throws
    -> RegistrySource
  {
    RegistrySource(try Reference("\(server.authority)/app:1"), client: RegistryClient(configuration: configuration))
  }

  private func resolveFailure(
    _ configuration: RegistryClient.Configuration = .fast,
    _ handler: @escaping @Sendable (FakeServer.Request, FakeServer.Connection) -> Void
  ) async throws -> (error: OCIError?, requests: Int) {
    let server = try FakeServer(handler)
    defer { server.stop() }
    let source = try source(server, configuration)
    do {
      _ = try await source.resolve(platform: .host)
      return (nil, server.requests.count)
    } catch {
      return (error, server.requests.count)
    }
  }

  private func blobFailure(
    _ configuration: RegistryClient.Configuration = .fast,
    _ handler: @escaping @Sendable (FakeServer.Request, FakeServer.Connection) -> Void
  ) async throws -> OCIError? {
    let server = try FakeServer(handler)
    defer { server.stop() }
    let source = try source(server, configuration)
    do {
      _ = try await source.open(Self.descriptor).all()
      return nil
    } catch { return error }
  }

  @Test func stallsBeforeTheAnswer() async throws {
    let (error, requests) = try await resolveFailure(.impatient) { _, connection in connection.stall() }
    #expect(error?.code == .timedOut)
    // Not tried again: who waits a minute will not wait three.
    #expect(requests <= 1)
  }

  @Test func stallsInTheBody() async throws {
    let error = try await blobFailure(.impatient) { _, connection in
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.blob.count)\r\n\r\n")
      connection.send(Array(Self.blob.prefix(1000)))
      connection.stall()
    }
    #expect(error?.code == .timedOut)
  }

  @Test func hangsUp() async throws {
    let (error, requests) = try await resolveFailure { _, connection in connection.hangUp() }
    #expect(error?.code == .unreachable)
    #expect(requests == 3)
  }

  @Test func serverFailuresAreTriedAgain() async throws {
    let (error, requests) = try await resolveFailure { _, connection in connection.answer(503) }
    #expect(error?.code == .badResponse)
    #expect(error?.message.contains("503") == true)
    #expect(requests == 3)
    let tries = Mutex(0)
    let bytes = try Self.manifest()
    let mended = try await resolveFailure { _, connection in
      let number = tries.withLock { tries in
        tries += 1
        return tries
      }
      if number == 1 {
        connection.answer(500)
      } else {
        connection.answer(200, ["Content-Type": MediaType.ociManifest], bytes)
      }
    }
    #expect(mended.error == nil)
    #expect(mended.requests == 2)
  }

  @Test(arguments: [(404, OCIError.Code.notFound), (403, .denied), (401, .denied), (418, .badResponse)])
  func statuses(_ status: Int, code: OCIError.Code) async throws {
    let (error, requests) = try await resolveFailure { _, connection in
      connection.answer(status, [:], #"{"errors":[{"code":"X","message":"the\nreason"}]}"#)
    }
    #expect(error?.code == code)
    #expect(error?.message.contains("\n") == false)
    #expect(requests == 1)
  }

  @Test func noHTTP() async throws {
    let (error, _) = try await resolveFailure { _, connection in
      connection.send("SSH-2.0-OpenSSH_9.2\r\n")
      connection.hangUp()
    }
    #expect(error?.code == .unreachable)
  }

  @Test func endlessManifest() async throws {
    let (stated, _) = try await resolveFailure { _, connection in
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
      connection.stall()
    }
    #expect(stated?.code == .limitExceeded)
    let (unstated, _) = try await resolveFailure { _, connection in
      connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
      let piece = String(repeating: " ", count: 1 << 20)
      for _ in 0..<6 { connection.send("100000\r\n\(piece)\r\n") }
      connection.stall()
    }
    #expect(unstated?.code == .limitExceeded)
  }

  @Test func contentLengthLies() async throws {
    for lie in [Self.blob.count - 1, Self.blob.count + 1] {
      let error = try await blobFailure { _, connection in
        connection.answer(200, ["Content-Length": "\(lie)"], Self.blob)
      }
      #expect(error?.code == .sizeMismatch)
    }
    let short = try await blobFailure { _, connection in
      connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n")
      connection.send(Array(Self.blob.prefix(1000)))
      connection.send("\r\n0\r\n\r\n")
    }
    #expect(short?.message == "the data ends \(Self.blob.count - 1000) bytes early")
    let long = try await blobFailure { _, connection in
      connection.send("HTTP/1.1 200 OK\r\n\r\n")
      for _ in 0..<4 { connection.send(Self.blob) }
      connection.hangUp()
    }
    #expect(long?.code == .sizeMismatch)
  }

  /// A transfer that stops is taken up where it stopped, whether the server knows ranges or not.
  @Test(arguments: [true, false])
  func resumes(ranges: Bool) async throws {
    let server = try FakeServer { request, connection in
      guard let range = request.headers["range"], let start = Int(range.dropFirst(6).dropLast()) else {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.blob.count)\r\n\r\n")
        connection.send(Array(Self.blob.prefix(130_000)))
        return connection.stall()
      }
      guard ranges else { return connection.answer(200, [:], Self.blob) }
      let part = "bytes \(start)-\(Self.blob.count - 1)/\(Self.blob.count)"
      connection.answer(206, ["Content-Range": part], Array(Self.blob[start...]))
    }
    defer { server.stop() }
    // Long enough for the first bytes on a busy machine: only a transfer that has begun is taken up after a silence.
    var configuration = RegistryClient.Configuration.fast
    configuration.idleTimeout = .seconds(10)
    #expect(try await source(server, configuration).open(Self.descriptor).all() == Self.blob)
    // On a busy machine the silence may set in before all that was sent has been read.
    let asked = server.requests.map { $0.headers["range"] }
    #expect(asked.count == 2 && asked[0] == nil)
    let start = asked.last?.flatMap { Int($0.dropFirst(6).dropLast()) }
    #expect(start.map { (1...130_000).contains($0) } == true)
  }

  /// So is one that breaks; what was on its way then may have to come again.
  @Test func survivesABrokenConnection() async throws {
    let broken = Mutex(false)
    let server = try FakeServer { request, connection in
      let first = broken.withLock { broken in
        defer { broken = true }
        return !broken
      }
      guard first else { return connection.answer(200, [:], Self.blob) }
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.blob.count)\r\n\r\n")
      connection.send(Array(Self.blob.prefix(130_000)))
      connection.hangUp()
    }
    defer { server.stop() }
    #expect(try await source(server).open(Self.descriptor).all() == Self.blob)
    #expect(server.requests.count == 2)
  }

  @Test func givesUpWithoutHeadway() async throws {
    let server = try FakeServer { request, connection in
      connection.send(
        "HTTP/1.1 \(request.headers["range"] == nil ? "200" : "206") X\r\nContent-Range: bytes 10-199999/200000\r\n")
      connection.send("Content-Length: \(request.headers["range"] == nil ? 200_000 : 199_990)\r\n\r\n")
      if request.headers["range"] == nil { connection.send(Array(Self.blob.prefix(10))) }
      connection.hangUp()
    }
    defer { server.stop() }
    let error = await #expect(throws: OCIError.self) { try await source(server).open(Self.descriptor).all() }
    #expect(error?.code == .unreachable)
    #expect(server.requests.count <= 4)
  }

  @Test func cancels() async throws {
    let (asked, asking) = AsyncStream<Void>.makeStream()
    let server = try FakeServer { _, connection in
      asking.yield()
      connection.stall()
    }
    defer { server.stop() }
    let source = try source(server)
    let task = Task { try await source.resolve(platform: .host) }
    for await _ in asked { break }
    task.cancel()
    let error = await #expect(throws: OCIError.self) { try await task.value }
    #expect(error?.code == .cancelled)
  }
}
