internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// Fetches Debian packages with apt, which verifies them against the archive's signatures, and installs nothing.
struct AptDownloader {
  /// What apt knows of a package's candidate.
  struct Candidate: Sendable {
    var name: String
    var version: String
    /// The package file's size in bytes.
    var size: UInt64
    /// The package file's sha256 in hex.
    var sha256: String?
  }

  private static let sizeLimit: UInt64 = 1 << 30
  /// Metapackages that lead to metapackages: linux-image-amd64 needs one step.
  private static let depthLimit = 4

  /// The options before every command; tests point apt at other package lists with them.
  var options: [String] = []

  /// Follows metapackages through their Depends to the package that holds a kernel.
  ///
  /// - Throws: `notFound` for a package that apt does not know, `unsupported` where there is no apt, `limitExceeded`.
  func resolve(_ package: String) async throws -> Candidate {
    var name = package
    for _ in 0..<Self.depthLimit {
      let fields = try await show(name)
      let next = ControlFile.packages(fields["Depends"] ?? "").first {
        $0.hasPrefix("linux-image-") && $0 != name && KernelSource.isPackageName($0)
      }
      if let next {
        name = next
        continue
      }
      guard let version = fields["Version"], let size = fields["Size"].flatMap({ UInt64($0) }) else {
        throw ImageError(
          .notFound, "apt knows \(name) as installed only and cannot download it", advice: "run `apt-get update`")
      }
      guard size <= Self.sizeLimit else {
        throw ImageError(.limitExceeded, "the package \(name) has \(size) bytes, more than a kernel's")
      }
      return Candidate(name: name, version: version, size: size, sha256: fields["SHA256"])
    }
    throw ImageError(.unsupported, "the package \(package) leads through too many packages to a kernel")
  }

  /// Downloads a package file into a directory and returns its path.
  func download(_ candidate: Candidate, into directory: String) async throws -> String {
    // apt would fetch as its user _apt, who cannot write here. The directory is ours alone, so it need not.
    let sandbox = geteuid() == 0 ? ["-o", "APT::Sandbox::User=root"] : []
    let arguments = ["apt-get", "-qq"] + sandbox + options + ["download", "\(candidate.name)=\(candidate.version)"]
    let outcome = try await run(arguments, in: directory)
    guard outcome.succeeded else {
      throw ImageError(
        .io, "apt cannot download \(candidate.name) \(candidate.version): \(Self.reason(outcome))",
        advice: "run `apt-get update` and try again")
    }
    let files = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    guard let file = files.first(where: { $0.hasSuffix(".deb") }) else {
      throw ImageError(.io, "apt said that it downloaded \(candidate.name), and left no file")
    }
    return "\(directory)/\(file)"
  }

  private func show(_ name: String) async throws -> [String: String] {
    let outcome = try await run(["apt-cache"] + options + ["show", "--no-all-versions", name], in: nil)
    let fields = ControlFile.fields(outcome.text)
    if outcome.succeeded, fields["Package"] == name { return fields }
    guard try await hasPackageLists() else {
      throw ImageError(
        .notFound, "apt does not know the package \(name): its package lists are empty", advice: "run `apt-get update`")
    }
    throw ImageError(
      .notFound, "apt does not know the package \(name)",
      advice: "check its name with `apt-cache search linux-image`, or run `apt-get update`")
  }

  /// Whether apt has any list beside that of the installed packages: lines such as ` 500 http://…`.
  private func hasPackageLists() async throws -> Bool {
    let outcome = try await run(["apt-cache"] + options + ["policy"], in: nil)
    return outcome.text.split(separator: "\n").contains { line in
      let words = line.split(separator: " ")
      return words.count >= 2 && Int(words[0]) != nil && !words[1].hasSuffix("/dpkg/status")
    }
  }

  private func run(_ arguments: [String], in directory: String?) async throws -> ChildProcess.Outcome {
    let process = ChildProcess(arguments, environment: ["LC_ALL": "C"], workingDirectory: directory)
    do {
      return try await process.run()
    } catch let error as SystemError where error.code == ENOENT {
      throw ImageError(
        .unsupported, "there is no \(arguments[0]) on this machine", advice: "import a Debian kernel package file",
        cause: error)
    }
  }

  /// apt's first error, without its letter.
  private static func reason(_ outcome: ChildProcess.Outcome) -> String {
    let line = outcome.errorText.split(separator: "\n").first { $0.hasPrefix("E: ") }
    return line.map { displayName($0.dropFirst(3).utf8) } ?? "it ended without a reason"
  }
}
