import Foundation
import Glibc
import IgniteOCI
import Testing

@testable import IgniteImages

@Suite struct StoreProgressTests {
  let scratch: TestDirectory
  let descriptors = (0..<2).map {
    Descriptor(mediaType: MediaType.ociLayerGzip, digest: .sha256(of: [UInt8($0)]), size: 28_100_000 * Int64($0 + 1))
  }

  init() throws { scratch = try TestDirectory() }

  /// Everything a renderer writes for some events.
  private func rendered(terminal: Bool, colours: Bool = false, _ events: [ImportProgress]) async throws -> String {
    let path = scratch.file("out")
    let output = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    defer { close(output) }
    let renderer = ImportProgressRenderer(output: output, terminal: terminal, colours: colours)
    await renderer.start()
    for event in events { renderer.report(event) }
    await renderer.finish()
    return try String(contentsOfFile: path, encoding: .utf8)
  }

  private var events: [ImportProgress] {
    [
      .resolving("a\u{1b}[2J"), .resolved(layers: descriptors),
      .layer(0, digest: descriptors[0].digest, done: 14_050_000, total: 28_100_000),
      .fetched(0, digest: descriptors[0].digest, reused: false),
      .fetched(1, digest: descriptors[1].digest, reused: true),
      .applied(0, digest: descriptors[0].digest), .applied(1, digest: descriptors[1].digest),
    ]
  }

  @Test func plainLines() async throws {
    let text = try await rendered(terminal: false, events)
    #expect(
      text == """
        resolving a?[2J
        layer 1/2 \(descriptors[0].digest.short) 28.1 MB … done
        layer 2/2 \(descriptors[1].digest.short) 56.2 MB … already here

        """)
  }

  @Test func terminal() async throws {
    let text = try await rendered(terminal: true, events)
    #expect(text.contains("\u{1b}[3A"))
    #expect(text.contains("layer 1/2 \(descriptors[0].digest.short)  28.1 MB  done\n"))
    #expect(!text.contains("\u{1b}[32m"))
    #expect(!text.contains("a\u{1b}[2J"))
    #expect(try await rendered(terminal: true, colours: true, events).contains("\u{1b}[32mlayer 2/2"))
  }

  @Test func linesFitTheTerminal() {
    var lines = LayerLines()
    for event in events.prefix(3) { _ = lines.take(event) }
    let drawn = lines.lines(width: 20, height: 10, colours: false)
    #expect(drawn.count == 3)
    #expect(drawn.allSatisfy { $0.count <= 20 })
    #expect(lines.lines(width: 80, height: 10, colours: false)[1].hasSuffix("14.1 MB / 28.1 MB  50 %"))
    // More layers than rows: one line for all.
    #expect(lines.lines(width: 80, height: 2, colours: false).last == "layers 0/2  14.1 MB / 84.3 MB")
    #expect(lines.lines(width: 0, height: 0, colours: false).allSatisfy { $0.isEmpty })
  }

  /// Positions that no layer has are ignored.
  @Test func strayEvents() {
    var lines = LayerLines()
    #expect(lines.take(.layer(5, digest: descriptors[0].digest, done: 1, total: 2)) == nil)
    #expect(lines.take(.applied(-1, digest: descriptors[0].digest)) == nil)
    #expect(lines.take(.fetched(0, digest: descriptors[0].digest, reused: false)) == nil)
  }

  @Test(arguments: [
    (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (28_100_000, "28.1 MB"),
    (-5, "0 B"), (Int64.max, "9.2 EB"),
  ])
  func byteCounts(_ bytes: Int64, _ text: String) { #expect(byteCount(bytes) == text) }

  @Test func progressIsThinnedOut() {
    let steps = ProgressSteps(total: 100 << 20)
    let told = stride(from: Int64(0), through: 100 << 20, by: 1 << 14).filter { steps.isWorthTelling($0) }
    #expect(told.count <= 102)
    #expect(told.last == 100 << 20)
  }
}
