/// How much a source may have. Each is checked before what it bounds is read into memory.
public struct SourceLimits: Sendable, Hashable, Codable {
  /// Names below the source's paths, read or not.
  public var entries = 100_000
  /// Files that are read.
  public var files = 10_000
  /// Bytes of one file.
  public var fileBytes = 4 << 20
  /// Bytes of all files together.
  public var totalBytes = 64 << 20
  /// Bytes of the one pack that git may write for a fetch.
  public var fetchBytes = 1 << 30

  public init() {}

  /// What is ahead of a file's being read.
  struct Count {
    let limits: SourceLimits
    let place: String
    private(set) var files = 0
    private(set) var bytes = 0

    init(_ limits: SourceLimits, place: String) {
      self.limits = limits
      self.place = place
    }

    /// - Parameter size: nil for a file that the server kept back because it is larger than the limit.
    mutating func add(_ path: String, size: Int?) throws(SourceError) {
      let advice = "name a path of the source that has only manifests, or raise its limits"
      guard let size, size <= limits.fileBytes else {
        let told = size.map { "\($0) bytes" } ?? "more bytes"
        throw SourceError(
          .tooLarge, "\(place): \(Words.clean(path)) has \(told), and a file may have \(limits.fileBytes)",
          advice: advice)
      }
      files += 1
      bytes += size
      guard files <= limits.files else {
        throw SourceError(.tooLarge, "\(place) has more than \(limits.files) files to read", advice: advice)
      }
      guard bytes <= limits.totalBytes else {
        throw SourceError(.tooLarge, "\(place): its files have more than \(limits.totalBytes) bytes", advice: advice)
      }
    }

    func checkEntries(_ entries: Int) throws(SourceError) {
      guard entries > limits.entries else { return }
      throw SourceError(
        .tooLarge, "\(place) has more than \(limits.entries) names", advice: "name a path of the source that has fewer")
    }
  }
}
