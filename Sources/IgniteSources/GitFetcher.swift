internal import IgniteSystem

/// Reads git repositories, by git itself. Nothing is kept between two fetches: each has a bare repository of its own, which goes with it.
public actor GitFetcher {
  public enum Outcome: Sendable {
    /// The source is at the revision that is known; nothing was fetched.
    case unchanged
    case fetched(Artifact)
  }

  private let directory: String
  private let searched: [String]
  private var program: GitProgram?

  /// - Parameter directory: for work in progress, 0700; made when it is needed. Several fetchers, and processes, may share it.
  public init(directory: String) { self.init(directory: directory, searched: GitProgram.searched) }

  init(directory: String, searched: [String]) {
    self.directory = directory
    self.searched = searched
  }

  /// Asks where the reference stands, and fetches and reads what it leads to, unless that is what is `known`.
  ///
  /// - Parameter known: the last good artifact of this source.
  /// - Throws: SourceError; the artifact that is known is as good as before then.
  public func fetch(_ source: GitSource, known: ArtifactHeader? = nil) async throws(SourceError) -> Outcome {
    let url = try GitURL(source.url)
    let target = try source.reference.target()
    let paths = try SourcePaths.normalized(source.paths)
    try source.credentials.check(for: url)
    let program = try await findProgram()
    if url.transport == .ssh, program.ssh == nil {
      throw SourceError(.noGit, "\(url): there is no ssh", advice: "install it: apt-get install openssh-client")
    }
    let (directory, credentials) = (directory, source.credentials)
    let prepared: (GitWorkspace, GitSurroundings)
    do throws(SystemError) {
      prepared = try await ThreadExecutor.run { () throws(SystemError) -> (GitWorkspace, GitSurroundings) in
        let workspace = try GitWorkspace.make(in: directory)
        do throws(SystemError) {
          return (workspace, try GitSurroundings(url, credentials, program: program, workspace: workspace))
        } catch {
          workspace.remove()
          throw error
        }
      }
    } catch {
      throw SourceError(error)
    }
    let fetch = GitFetch(
      source: source, url: url, target: target, paths: paths, program: program, workspace: prepared.0,
      surroundings: prepared.1, deadline: .now + max(source.timeout, .milliseconds(1)))
    let result: Result<Outcome, SourceError>
    do throws(SourceError) {
      result = .success(try await fetch.run(known: known))
    } catch {
      result = .failure(error)
    }
    await ThreadExecutor.run { prepared.0.remove() }
    return try result.get()
  }

  private func findProgram() async throws(SourceError) -> GitProgram {
    if let program { return program }
    let found = try await GitProgram.find(in: searched)
    program = found
    return found
  }
}
