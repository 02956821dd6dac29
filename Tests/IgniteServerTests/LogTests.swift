import Foundation
import Glibc
import IgniteSystem
import Logging
import Testing

@testable import IgniteServer

@Suite(.timeLimit(.minutes(1))) struct Logs {
  private static let time = Date(timeIntervalSince1970: 1_700_000_000.25)

  private static func line(
    _ message: String, _ metadata: Logger.Metadata = [:], format: LogStyle.Format = .logfmt, journal: Bool = false
  ) -> String {
    StructuredLogHandler.line(
      .warning, message, "daemon", metadata, style: LogStyle(format: format, isForJournal: journal), at: time)
  }

  @Test func logfmt() {
    #expect(
      Self.line("no luck", ["object": "vm/web", "id": "12", "a b": ""])
        == #"time=2023-11-14T22:13:20.250Z level=warning msg="no luck" component=daemon a_b="" id=12 object=vm/web"#)
    #expect(Self.line("well", journal: true) == "<4>level=warning msg=well component=daemon")
  }

  @Test func json() throws {
    let line = Self.line("no \"luck\"", ["id": "1\n2"], format: .json)
    let object = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
    #expect(
      object == [
        "time": "2023-11-14T22:13:20.250Z", "level": "warning", "msg": "no \"luck\"", "component": "daemon",
        "id": "1\n2",
      ])
    #expect(!line.contains("\n"))
  }

  /// A guest cannot end a line, forge a field, drive a terminal or turn the direction of writing.
  @Test(arguments: ["a\nlevel=error", "a\u{1b}[2J", "a\"b=c", "a\u{202e}b", "a\u{2028}b", "a\u{85}b", "a\0b", "a\\"])
  func wordsOfOthersAreEscaped(_ words: String) throws {
    for format in LogStyle.Format.allCases {
      let line = Self.line("m", ["said": "\(words)"], format: format)
      #expect(line.unicodeScalars.allSatisfy { $0.value >= 0x20 && ![0x202e, 0x2028, 0x85].contains($0.value) })
    }
    let line = Self.line("m", ["said": "\(words)"])
    let value = try #require(line.firstRange(of: "said=")).upperBound
    #expect(try JSONDecoder().decode(String.self, from: Data(line[value...].utf8)) == words)
  }

  @Test func longWordsAreCut() {
    #expect(Self.line("m", ["said": "\(String(repeating: "ü", count: 1 << 20))"]).utf8.count < 20_000)
  }

  @Test func levelsAndOrder() async throws {
    let lines = Lines()
    let sink = lines.sink()
    var log = Logger(label: "one") {
      StructuredLogHandler(
        component: $0, style: LogStyle(format: .logfmt, isForJournal: true), level: .info, sink: sink)
    }
    log[metadataKey: "id"] = "7"
    log.debug("not this")
    log.info("first")
    log.error("second", metadata: ["id": "8"])
    await sink.flush(within: .seconds(60))
    #expect(
      lines.all == [
        "<6>level=info msg=first component=one id=7\n", "<3>level=error msg=second component=one id=8\n",
      ])
  }

  @Test func theJournalIsToldByItsStream() throws {
    let (end, _) = try IgniteSystem.FileDescriptor.pipe()
    var status = stat()
    #expect(fstat(end.number, &status) == 0)
    let stream = "\(status.st_dev):\(status.st_ino)"
    #expect(LogStyle.isJournal(end.number, environment: ["JOURNAL_STREAM": stream]))
    #expect(!LogStyle.isJournal(end.number, environment: ["JOURNAL_STREAM": stream + "1"]))
    #expect(!LogStyle.isJournal(end.number, environment: [:]))
  }

  /// Nobody reads: who logs goes on, and the end comes.
  @Test func aReaderThatDoesNotReadHoldsUpNobody() async throws {
    // The sink writes on a thread of its own, which is what has to block.
    let gate = DispatchSemaphore(value: 0)
    let sink = LogSink { _ in gate.wait() }
    for number in 0..<10_000 { sink.write("\(number)") }
    await sink.flush(within: .milliseconds(20))
    for _ in 0..<10_000 { gate.signal() }
    await sink.flush(within: .seconds(60))
  }
}
