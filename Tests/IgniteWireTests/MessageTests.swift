import Testing

@testable import IgniteWire

@Suite struct MessageTests {
  private var configuration: Configuration {
    var configuration = Configuration()
    configuration.hostname = "wéb"
    configuration.machineID = "0123456789abcdef0123456789abcdef"
    configuration.wallClock = .max
    configuration.entropy = (0...255).map { UInt8($0) }
    configuration.baseDevice = "vdx"
    configuration.writableDevice = "vdy"
    configuration.modulesDevice = "vdz"
    configuration.macAddress = "52:54:00:12:34:56"
    configuration.address = "10.0.2.15/24"
    configuration.gateway = "10.0.2.2"
    configuration.mtu = 1400
    configuration.nameServers = ["1.1.1.1", "::1"]
    configuration.searchDomains = ["lan"]
    configuration.hosts = ["10.0.0.1 a b", ""]
    return configuration
  }

  private var process: ProcessRequest {
    var request = ProcessRequest()
    request.container = "side"
    request.isMain = true
    request.arguments = [Array("sh".utf8), [], [0xFF, 0xFE]]
    request.environment = [Array("A=b".utf8)]
    request.workingDirectory = Array("/srv".utf8)
    request.user = Array("u:g".utf8)
    request.tty = true
    request.input = true
    request.size = TerminalSize(columns: 65_535, rows: 1)
    request.machine = true
    request.setHome = false
    return request
  }

  @Test func whatIsPreparedForIsAConfiguration() throws {
    let bytes = configuration.encoded(as: .prepare)
    #expect(try requestKind(of: bytes) == .prepare)
    #expect(try requestKind(of: configuration.encoded()) == .configure)
    #expect(try Configuration(decoding: bytes) == configuration)
  }

  @Test func messagesComeBackAsTheyWere() throws {
    #expect(try Configuration(decoding: configuration.encoded()) == configuration)
    #expect(try Configuration(decoding: Configuration().encoded()) == Configuration())
    #expect(try ProcessRequest(decoding: process.encoded()) == process)
    #expect(try ProcessRequest(decoding: ProcessRequest().encoded()) == ProcessRequest())
    let response = Response(code: 127, text: "exec: \"x\"", value: .max)
    #expect(try Response(decoding: response.encoded()) == response)
    let status = ExitStatus(code: 3, signal: 9)
    #expect(try ExitStatus(decoding: status.encoded()) == status)
    var attach = AttachRequest()
    attach.input = true
    #expect(try AttachRequest(decoding: attach.encoded()) == attach)
    let stop = StopRequest(signal: 15, grace: 1)
    #expect(try StopRequest(decoding: stop.encoded(.stop)) == stop)
    let clock = ClockRequest(wallClock: .max)
    #expect(try ClockRequest(decoding: clock.encoded()) == clock)
    #expect(try requestKind(of: clock.encoded()) == .setClock)
  }

  @Test func aClockWithoutATimeIsNone() {
    #expect(throws: MessageError.missing(tag: 4)) { try ClockRequest(decoding: emptyRequest(.setClock)) }
    let whole = ClockRequest(wallClock: 7).encoded()
    #expect(throws: MessageError.truncated) { try ClockRequest(decoding: Array(whole.dropLast())) }
    var short = MessageWriter()
    short.put(4, bytes: [1, 2, 3])
    #expect(throws: MessageError.malformed(tag: 4)) { try ClockRequest(decoding: short.bytes) }
  }

  @Test func theKindIsReadFirst() throws {
    #expect(try requestKind(of: configuration.encoded()) == .configure)
    #expect(try requestKind(of: process.encoded()) == .start)
    #expect(try requestKind(of: emptyRequest(.shutDown)) == .shutDown)
    #expect(try requestKind(of: StopRequest().encoded(.kill)) == .kill)
    #expect(throws: MessageError.missing(tag: 1)) { try requestKind(of: []) }
    #expect(throws: MessageError.missing(tag: 1)) { try requestKind(of: Response().encoded()) }
  }

  @Test func shellsShowTheStatusSo() {
    #expect(ExitStatus(code: 7).shellStatus == 7)
    #expect(ExitStatus(signal: 15).shellStatus == 143)
    #expect(ExitStatus(code: .max, signal: .max).shellStatus == 255)
  }

  @Test func unknownFieldsArePassedOver() throws {
    var writer = MessageWriter()
    writer.put(999, bytes: [1, 2, 3])
    #expect(try Configuration(decoding: writer.bytes + configuration.encoded()) == configuration)
    #expect(try ProcessRequest(decoding: writer.bytes + process.encoded()) == process)
  }

  @Test func aMessageCutAnywhereIsShorterOrTruncatedAndNeverTraps() {
    for bytes in [configuration.encoded(), process.encoded(), Response(text: "a").encoded()] {
      for length in 0..<bytes.count {
        let part = Array(bytes[..<length])
        try? { _ = try Configuration(decoding: part) }()
        try? { _ = try ProcessRequest(decoding: part) }()
        var fields = 0
        var reader = MessageReader(part)
        let result = Result { while try reader.next() != nil { fields += 1 } }
        if case .failure(let error) = result { #expect(error as? MessageError == .truncated) }
        #expect(fields <= length / 6)
      }
    }
  }

  @Test func lengthsThatPointPastTheEndAreRefused() {
    for length: UInt32 in [1, 5, 0x7FFF_FFFF, 0x8000_0000, .max] {
      var bytes: [UInt8] = [16, 0]
      bytes.appendLittleEndian(length)
      #expect(throws: MessageError.truncated) { try Configuration(decoding: bytes) }
    }
  }

  @Test func numbersOfAnotherSizeAreRefused() {
    var writer = MessageWriter()
    writer.put(18, bytes: [1, 2, 3, 4])
    #expect(throws: MessageError.malformed(tag: 18)) { try Configuration(decoding: writer.bytes) }
  }

  @Test func listsEndAtTheirLimit() {
    var arguments = MessageWriter()
    for _ in 0..<ProcessRequest.maximumListItems { arguments.put(18, bytes: []) }
    #expect((try? ProcessRequest(decoding: arguments.bytes))?.arguments.count == ProcessRequest.maximumListItems)
    arguments.put(18, bytes: [])
    #expect(throws: MessageError.malformed(tag: 18)) { try ProcessRequest(decoding: arguments.bytes) }

    var servers = MessageWriter()
    for _ in 0...64 { servers.put(27, string: "a") }
    #expect(throws: MessageError.malformed(tag: 27)) { try Configuration(decoding: servers.bytes) }
  }

  @Test func textThatIsNoUTF8IsEmpty() throws {
    var writer = MessageWriter()
    writer.put(16, bytes: [0xC3, 0x28])
    #expect(try Configuration(decoding: writer.bytes).hostname == "")
  }

  @Test func smallPayloadsAreReadOnlyInTheirSize() {
    #expect(Frame.credit(stream: 1, channel: .standardInput, bytes: .max).number == .max)
    #expect(Frame.signal(stream: 1, number: 15).number == 15)
    #expect(Frame.resize(stream: 1, size: TerminalSize(columns: 80, rows: 24)).terminalSize?.columns == 80)
    #expect(Frame(.credit, stream: 1, payload: [1, 2, 3]).number == nil)
    #expect(Frame(.resize, stream: 1, payload: [1, 2, 3, 4, 5]).terminalSize == nil)
  }

  @Test(arguments: 0..<8) func randomMessagesNeverTrap(seed: UInt64) {
    var generator = SeededGenerator(seed: seed &+ 3000)
    let whole = [configuration.encoded(), process.encoded(), Response(text: "abc").encoded()]
    for round in 0..<2000 {
      var bytes = whole[round % whole.count]
      for _ in 0..<Int.random(in: 1...8, using: &generator) {
        bytes[Int.random(in: bytes.indices, using: &generator)] = .random(in: .min ... .max, using: &generator)
      }
      if let decoded = try? Configuration(decoding: bytes) { #expect(decoded.nameServers.count <= 64) }
      if let decoded = try? ProcessRequest(decoding: bytes) {
        #expect(decoded.arguments.reduce(0) { $0 + $1.count } <= bytes.count)
      }
      if let decoded = try? Response(decoding: bytes) { #expect(decoded.text.utf8.count <= bytes.count) }
      _ = try? StopRequest(decoding: bytes)
      _ = try? AttachRequest(decoding: bytes)
      _ = try? ExitStatus(decoding: bytes)
    }
  }
}
