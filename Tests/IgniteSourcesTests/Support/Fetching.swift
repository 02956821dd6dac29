import Foundation
import IgniteSystem
import Testing

@testable import IgniteSources

/// A fetcher with a folder of its own, and repositories beside it.
struct FetchBed: Sendable {
  let scratch: TestDirectory
  let fetcher: GitFetcher
  var work: String { scratch.file("work") }

  init() throws {
    scratch = try TestDirectory()
    fetcher = GitFetcher(directory: scratch.file("work"))
  }

  func repository(_ name: String = "r.git", objectFormat: String = "sha1") async throws -> TestRepository {
    try await TestRepository(scratch.file(name), objectFormat: objectFormat)
  }

  /// What is fetched, where something must be.
  func artifact(_ source: GitSource, known: ArtifactHeader? = nil) async throws -> Artifact {
    guard case .fetched(let artifact) = try await fetcher.fetch(source, known: known) else {
      throw TestToolFailure(description: "nothing was fetched")
    }
    return artifact
  }

  func isUnchanged(_ source: GitSource, known: ArtifactHeader) async throws -> Bool {
    if case .unchanged = try await fetcher.fetch(source, known: known) { return true }
    return false
  }

  /// The error of a fetch that must fail. Nothing may be left of it then, and no secret be in it.
  func failure(_ source: GitSource, _ place: SourceLocation = #_sourceLocation) async throws -> SourceError {
    do throws(SourceError) {
      _ = try await fetcher.fetch(source)
    } catch {
      #expect(!error.message.contains("\n") && error.message.utf8.count < 3000, sourceLocation: place)
      for secret in source.credentials.secrets {
        #expect(!error.description.contains(secret), "\(error)", sourceLocation: place)
      }
      #expect(leftovers.isEmpty, sourceLocation: place)
      return error
    }
    throw TestToolFailure(description: "the fetch of \(source.url) did not fail")
  }

  /// What is in the fetcher's folder, and the processes that were started for it.
  var leftovers: [String] {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: work)) ?? []
    return files + processes().map { "process \($0)" }
  }

  /// The processes with this fetcher's folder in their environment.
  func processes() -> [Int] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { Int($0) }.filter { pid in
      guard pid != Int(getpid()), let data = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else {
        return false
      }
      return String(decoding: data, as: UTF8.self).contains(work)
    }
  }
}

extension Artifact {
  var paths: [String] { files.map(\.path) }
  func text(_ path: String) -> String? {
    files.first { $0.path == path }.map { String(decoding: $0.bytes, as: UTF8.self) }
  }
}

/// Waits for something that other processes or threads bring about.
func eventually(_ what: String, within limit: Duration = .seconds(60), _ holds: () async throws -> Bool) async throws {
  let end = ContinuousClock.now + limit
  while try await !holds() {
    guard .now < end else { throw TestToolFailure(description: "it never came: \(what)") }
    try await Task.sleep(for: .milliseconds(20))
  }
}

/// A lock as a fetch in another process holds it.
struct HeldLock {
  private let lock: PassingLock

  init?(_ path: String) throws {
    guard let lock = try PassingLock.take(path) else { return nil }
    self.lock = lock
  }

  func release() { lock.release() }
}
