import Foundation
import Synchronization
import Testing

@testable import IgniteSources

/// Servers that take a connection and say nothing.
@Suite struct HangingServers {
  @Test func theTimeoutEndsEveryProcess() async throws {
    let bed = try FetchBed()
    let server = try SilentServer()
    let key = try await DeployKey(in: bed.scratch)
    var credentials = GitCredentials()
    credentials.identity = key.identity
    credentials.knownHosts = Array("[127.0.0.1]:\(server.port) ssh-ed25519 AAAA\n".utf8)
    for url in [
      "http://127.0.0.1:\(server.port)/x", "https://127.0.0.1:\(server.port)/x", "ssh://a@127.0.0.1:\(server.port)/x",
    ] {
      // `failure` looks for processes that are left.
      let error = try await bed.failure(GitSource(url: url, credentials: credentials, timeout: .milliseconds(700)))
      #expect(error.code == .timeout && error.advice?.contains("timeout") == true, "\(error)")
    }
  }

  @Test func gitEndsByItselfWhereNobodyCanEndIt() async throws {
    let bed = try FetchBed()
    let server = try SilentServer()
    let process = GitProcess(
      executable: "/usr/bin/git", arguments: ["ls-remote", "http://127.0.0.1:\(server.port)/x"], environment: [:],
      workingDirectory: "/", outputLimit: 1, fileLimit: 1, grace: .seconds(1))
    // As if the process that started it were gone: nobody kills it.
    let command = ["env", "-i", "HOME=\(bed.work)", "setsid", "--wait"] + process.command(until: .now)
    await #expect { try await tool(command) } throws: { "\($0)".contains("status 137") || "\($0)".contains("status 9") }
    try await eventually("the end of git's own helpers") { bed.processes().isEmpty }
  }

  @Test func cancellingEndsItAndSecretsAreSeenNowhere() async throws {
    let bed = try FetchBed()
    let server = try SilentServer()
    let secret = "s3cret-\(UInt64.random(in: .min ... .max))"
    var credentials = GitCredentials()
    credentials.username = "ann"
    credentials.password = secret
    let source = GitSource(url: "http://127.0.0.1:\(server.port)/x", credentials: credentials, timeout: .seconds(300))
    let encoded = Data("ann:\(secret)".utf8).base64EncodedString()
    let early = Mutex<SourceError?>(nil)
    let task = Task { () -> SourceError? in
      do throws(SourceError) {
        _ = try await bed.fetcher.fetch(source)
      } catch {
        early.withLock { $0 = error }
        return error
      }
      return nil
    }
    // git, and git-remote-http.
    try await eventually("two processes of git", within: .seconds(240)) {
      if let error = early.withLock({ $0 }) { throw error }
      return bed.processes().count >= 2
    }
    for pid in bed.processes() {
      let line =
        FileManager.default.contents(atPath: "/proc/\(pid)/cmdline").map { String(decoding: $0, as: UTF8.self) } ?? ""
      #expect(!line.contains(secret) && !line.contains(encoded), "\(line)")
      let variables =
        FileManager.default.contents(atPath: "/proc/\(pid)/environ").map { String(decoding: $0, as: UTF8.self) } ?? ""
      // What this test's own process has is not handed on.
      #expect(!variables.contains("TMPDIR=\(NSTemporaryDirectory())\0") && !variables.contains("IGNITE_"))
    }
    let folders = try FileManager.default.subpathsOfDirectory(atPath: bed.work)
    for path in folders {
      let mode = try FileManager.default.attributesOfItem(atPath: "\(bed.work)/\(path)")[.posixPermissions] as? Int ?? 0
      #expect(mode & 0o077 == 0, "\(path)")
    }
    task.cancel()
    #expect(await task.value?.code == .cancelled)
    #expect(bed.leftovers.isEmpty)
    withExtendedLifetime(server) {}
  }
}
