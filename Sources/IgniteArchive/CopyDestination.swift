internal import CIgniteArchive

/// Where a copy goes, by docker's rules (docs.docker.com, `docker cp`); the same in the guest and on the host.
public struct CopyDestination: Sendable {
  public enum State: Equatable, Sendable { case absent, directory, file }

  /// Clean, and with symbolic links at its end followed.
  public let path: [UInt8]
  public let state: State
  private let assertsDirectory: Bool

  /// Looks at what is at an absolute path.
  ///
  /// - Throws: for what is neither a directory nor a regular file, and for what cannot be looked at.
  public init(path asked: [UInt8]) throws(ArchiveError) {
    assertsDirectory = ArchivePath.assertsDirectory(asked)
    var path = ArchivePath.clean(asked)
    for _ in 0..<10 {
      guard
        let reference = try OpenFile.takeIfThere(
          path.withCString { archive_open_path(archive_current_directory, $0, 0, archive_resolve_freely) }, path)
      else {
        self.path = path
        state = .absent
        return
      }
      switch try FileStatus.of(reference.number, path).kind {
      case .directory:
        self.path = path
        state = .directory
        return
      case .file:
        guard !assertsDirectory else { throw ArchiveError(path, Int(archive_not_a_directory)) }
        self.path = path
        state = .file
        return
      case .symbolicLink:
        var code = 0
        let target = bytes(of: ArchiveLimits.pathBytes, code: &code) {
          archive_link_target(reference.number, "", $0, $1)
        }
        guard let target, !target.isEmpty else { throw ArchiveError(path, code) }
        path = ArchivePath.clean(
          target.first == 47 ? target : ArchivePath.join(ArchivePath.split(path).directory, target))
      default:
        throw ArchiveError("destination \"" + printable(path) + "\" must be a directory or a regular file")
      }
    }
    throw ArchiveError(printable(asked) + ": too many levels of symbolic links")
  }

  /// The directory in which the copy is made, and its name there; an empty name: a directory's contents go into it.
  ///
  /// - Parameters:
  ///   - name: the source's name; empty where its contents are meant.
  ///   - isDirectory: what the source is.
  public func target(name: [UInt8], isDirectory: Bool) throws(ArchiveError) -> (directory: [UInt8], name: [UInt8]) {
    switch state {
    case .directory: return (path, name)
    case .file:
      if isDirectory { throw ArchiveError("cannot copy a directory over the file " + printable(path)) }
      return ArchivePath.split(path)
    case .absent:
      if !isDirectory, assertsDirectory { throw ArchiveError("no such directory: " + printable(path)) }
      return ArchivePath.split(path)
    }
  }
}
