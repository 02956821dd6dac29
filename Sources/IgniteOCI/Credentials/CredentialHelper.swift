internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// A program that keeps credentials: `docker-credential-NAME`, which takes `get`, `store` or `erase` as its argument and
/// a request on its standard input (docker-credential-helpers, README).
struct CredentialHelper: Sendable {
  let name: String
  let environment: [String: String]
  let timeout: Duration

  private struct Answer: Codable {
    var ServerURL: String
    var Username: String
    var Secret: String
  }

  /// The credential of a server; nil where the helper has none.
  func get(_ server: String) async throws(OCIError) -> RegistryCredential? {
    let outcome = try await run("get", Array(server.utf8), server)
    guard outcome.succeeded else {
      // The one failure that is none, told by its words.
      if outcome.text.contains("credentials not found") { return nil }
      throw failure("get", server, outcome)
    }
    guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(outcome.standardOutput)), !outcome.truncated
    else {
      throw OCIError(.denied, "\(program) answers what is no credential for \(OCIError.quoted(server))")
    }
    if answer.Username.isEmpty && answer.Secret.isEmpty { return nil }
    let credential: RegistryCredential =
      answer.Username == "<token>"
      ? .identityToken(answer.Secret) : .password(user: answer.Username, password: answer.Secret)
    guard credential.isUsable else {
      throw OCIError(.denied, "\(program) gives a credential for \(OCIError.quoted(server)) that cannot be sent")
    }
    return credential
  }

  func store(_ server: String, user: String, secret: String) async throws(OCIError) {
    guard let request = try? JSONEncoder().encode(Answer(ServerURL: server, Username: user, Secret: secret)) else {
      throw OCIError(.denied, "the credential cannot be given to \(program)")
    }
    let outcome = try await run("store", Array(request), server)
    guard outcome.succeeded else { throw failure("store", server, outcome) }
  }

  /// - Returns: whether there was something to erase.
  func erase(_ server: String) async throws(OCIError) -> Bool {
    guard try await get(server) != nil else { return false }
    let outcome = try await run("erase", Array(server.utf8), server)
    guard outcome.succeeded else { throw failure("erase", server, outcome) }
    return true
  }

  private var program: String { "docker-credential-\(OCIError.quoted(name, limit: 60))" }

  private func failure(_ action: String, _ server: String, _ outcome: ChildProcess.Outcome) -> OCIError {
    let said = outcome.text.isEmpty ? outcome.errorText : outcome.text
    let line = said.split(whereSeparator: \.isNewline).first.map { ": \(OCIError.quoted($0, limit: 200))" } ?? ""
    return OCIError(
      .denied, "\(program) \(action) fails for \(OCIError.quoted(server))\(line)",
      advice: "try it by hand, or take it out of credsStore or credHelpers")
  }

  private func run(_ action: String, _ input: [UInt8], _ server: String) async throws(OCIError) -> ChildProcess.Outcome
  {
    var child = ChildProcess([try path(server), action], environment: environment, outputLimit: 64 << 10)
    child.input = input
    let (program, timeout) = (child, timeout)
    do {
      return try await withThrowingTaskGroup(of: ChildProcess.Outcome?.self) { group in
        group.addTask { try await program.run() }
        group.addTask {
          try await Task.sleep(for: timeout)
          return nil
        }
        defer { group.cancelAll() }
        guard let outcome = try await group.next() ?? nil else {
          throw OCIError(
            .timedOut, "\(self.program) \(action) has not ended within \(timeout.components.seconds) s",
            advice: "try it by hand: it may want a terminal or an unlocked key ring")
        }
        return outcome
      }
    } catch let error as OCIError {
      throw error
    } catch is CancellationError {
      throw .cancelled
    } catch {
      throw OCIError(.denied, "\(self.program) cannot be run: \(error)", cause: error)
    }
  }

  /// The program, found along PATH.
  private func path(_ server: String) throws(OCIError) -> String {
    let letters = name.utf8.allSatisfy {
      ($0 | 0x20) >= 97 && ($0 | 0x20) <= 122 || $0 >= 48 && $0 <= 57 || "._-".utf8.contains($0)
    }
    guard !name.isEmpty, name.utf8.count <= 100, letters else {
      throw OCIError(.denied, "'\(OCIError.quoted(name))' is no name of a credential helper")
    }
    for folder in (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") {
      let path = "\(folder)/docker-credential-\(name)"
      if folder.hasPrefix("/"), access(path, X_OK) == 0 { return path }
    }
    throw OCIError(
      .denied, "the credential helper \(program) for \(OCIError.quoted(server)) is not in PATH",
      advice: "install it, or take it out of credsStore or credHelpers")
  }
}
