internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

/// `-f` of the commands that take manifests.
struct ManifestFiles: ParsableArguments {
  @Option(
    name: [.customShort("f"), .customLong("filename")], parsing: .singleValue,
    help: ArgumentHelp(
      "A manifest, a directory of them (.yaml, .yml, .json), or - for standard input; several times.",
      valueName: "file"), completion: .file())
  var files: [String] = []

  /// All manifests, in the order of their files, with what they warn of on standard error.
  func readTelling() async throws -> [Manifest] {
    let manifests = try await read()
    var told: Set<String> = []
    for warning in manifests.flatMap(\.warnings) where told.insert(warning).inserted {
      CommandLineTool.say("warning: \(warning)")
    }
    return manifests
  }

  /// All manifests, in the order of their files.
  func read() async throws -> [Manifest] {
    guard !files.isEmpty else { throw ValidationError("no manifest was given; name one with -f") }
    let files = files
    return try await ThreadExecutor.run { () throws -> [Manifest] in
      var manifests: [Manifest] = []
      for file in try files.flatMap(Self.expanded) {
        manifests += try ManifestReader.read(try Self.text(file), file: file == "-" ? "standard input" : file)
        guard manifests.count <= ManifestLimits.documents else {
          throw EngineError(
            .invalidArgument, "more than \(ManifestLimits.documents) objects", advice: "apply them in parts")
        }
      }
      guard !manifests.isEmpty else {
        throw EngineError(.invalidArgument, "there is no object in \(files.joined(separator: ", "))")
      }
      return manifests
    }
  }

  private static func expanded(_ file: String) throws -> [String] {
    var info = stat()
    guard file != "-" else { return [file] }
    guard stat(file, &info) == 0 else { throw SystemError("read \(file)") }
    guard info.st_mode & S_IFMT == S_IFDIR else { return [file] }
    let names = try FileManager.default.contentsOfDirectory(atPath: file).filter { name in
      !name.hasPrefix(".") && [".yaml", ".yml", ".json"].contains { name.hasSuffix($0) }
    }
    guard !names.isEmpty else {
      throw EngineError(.notFound, "the directory \(file) has no manifest (.yaml, .yml, .json)")
    }
    return names.sorted().map { file.hasSuffix("/") ? file + $0 : "\(file)/\($0)" }
  }

  /// Blocking.
  static func text(_ file: String, limit: Int = ManifestLimits.fileBytes) throws -> String {
    let descriptor = file == "-" ? FileDescriptor(dup(0)) : try FileDescriptor.open(file, O_RDONLY)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while bytes.count <= limit {
      let count = try retrying("read \(file)") { Glibc.read(descriptor.number, &buffer, buffer.count) }
      if count == 0 { break }
      bytes += buffer.prefix(count)
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw EngineError(.invalidArgument, "\(file) is not text in UTF-8")
    }
    return text
  }
}
