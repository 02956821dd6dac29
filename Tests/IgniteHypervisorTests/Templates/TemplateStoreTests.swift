import Glibc
import IgniteSystem
import Testing

@testable import IgniteHypervisor

/// Keepers are the program itself, built beside the tests; they end with the scratch folder.
@Suite(.timeLimit(.minutes(5))) struct TemplateStoreTests {
  private func open(
    _ store: TemplateStore, _ identity: TemplateIdentity = TemplateScratch.identity()
  ) throws -> (template: OpenedTemplate?, reasons: [String]) {
    var reasons: [String] = []
    let template = try store.open(identity, keeper: TemplateScratch.program) { reasons.append($0) }
    return (template, reasons)
  }

  @Test func whatIsSavedIsOpened() throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    #expect(try open(store).template == nil)
    let record = try TemplateScratch.make(store)
    let opened = try #require(try open(scratch.store()).template)
    #expect(opened.key == record.key)
    #expect(try TemplateScratch.byte(of: opened.memory) == 7)
    #expect(try TemplateScratch.byte(of: opened.memory, at: 1 << 20) == 0)
    #expect(try TemplateScratch.byte(of: opened.memory, at: Int(TemplateScratch.memoryBytes) - 1) == 7)
    var state = [UInt8](repeating: 0, count: 100)
    #expect(read(opened.state.number, &state, state.count) == TemplateScratch.state.count)
    #expect(state.starts(with: TemplateScratch.state))
    #expect(scratch.names == [record.key.hex])
  }

  @Test func filesArePrivateAndHolesStayHoles() throws {
    let scratch = TemplateScratch()
    let folder = "\(scratch.templates)/\(try TemplateScratch.make(scratch.store()).key.hex)"
    var info = stat()
    for path in [scratch.templates, folder] {
      #expect(stat(path, &info) == 0 && info.st_mode & 0o7777 == 0o700, "\(path)")
    }
    for name in ["template.json", "state", "used", "ram"] {
      #expect(stat("\(folder)/\(name)", &info) == 0 && info.st_mode & 0o7777 == 0o600, "\(name)")
    }
    #expect(UInt64(info.st_size) == TemplateScratch.memoryBytes && info.st_blocks * 512 < 1 << 20)
  }

  // MARK: Damage

  enum Damage: String, CaseIterable, Sendable {
    case memoryFlipped, memoryFlippedInAHole, memoryCut, memoryLonger, memoryMissing, memoryLink, memoryPipe
    case stateFlipped, stateCut, stateLonger, stateMissing, stateEmpty
    case recordCut, recordMissing, recordEmpty, recordHuge, recordOfAnother, recordLarger, recordPlus, recordFormat
    case nothing, noDirectory

    /// Does it to the template in `folder`.
    func act(_ folder: String, other: String) throws {
      let memory = folder + "/ram"
      let record = folder + "/template.json"
      func rewrite(_ from: String, _ to: String) throws {
        let text = String(decoding: try SmallFile.read(record, limit: 1 << 20), as: UTF8.self)
        #expect(text.contains(from))
        unlink(record)
        try SmallFile.write(Array(text.replacing(from, with: to, maxReplacements: 1).utf8), to: record)
      }
      switch self {
      case .memoryFlipped: try TemplateScratch.flip(memory, at: 100)
      case .memoryFlippedInAHole: try TemplateScratch.flip(memory, at: 1 << 20)
      case .memoryCut: truncate(memory, off_t(TemplateScratch.memoryBytes) - 4096)
      case .memoryLonger: truncate(memory, off_t(TemplateScratch.memoryBytes) + 4096)
      case .memoryMissing: unlink(memory)
      case .memoryLink:
        rename(memory, memory + "2")
        symlink(memory + "2", memory)
      case .memoryPipe:
        unlink(memory)
        mkfifo(memory, 0o600)
      case .stateFlipped: try TemplateScratch.flip(folder + "/state", at: 3)
      case .stateCut: truncate(folder + "/state", 5)
      case .stateLonger: truncate(folder + "/state", 1 << 40)
      case .stateMissing: unlink(folder + "/state")
      case .stateEmpty: truncate(folder + "/state", 0)
      case .recordCut: truncate(record, 200)
      case .recordMissing: unlink(record)
      case .recordEmpty: truncate(record, 0)
      case .recordHuge: truncate(record, 1 << 40)
      case .recordOfAnother:
        unlink(record)
        try SmallFile.write(try SmallFile.read(other + "/template.json", limit: 1 << 20), to: record)
      case .recordLarger: try rewrite("\"memoryBytes\" : 16777216", "\"memoryBytes\" : 16777217")
      case .recordPlus: try rewrite("{", "{\"more\" : 1,")
      case .recordFormat: try rewrite("\"format\" : 1", "\"format\" : 2")
      case .nothing:
        try FileTree.remove(folder)
        mkdir(folder, 0o700)
      case .noDirectory:
        try FileTree.remove(folder)
        try SmallFile.write([1], to: folder)
      }
    }
  }

  /// A damaged template is taken away with one reason, never used, and can be made again.
  @Test(arguments: Damage.allCases) func damageIsFound(_ damage: Damage) throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    let other = try TemplateScratch.make(store, TemplateScratch.identity(2))
    let record = try TemplateScratch.make(store)
    try damage.act("\(scratch.templates)/\(record.key.hex)", other: "\(scratch.templates)/\(other.key.hex)")

    let (template, reasons) = try open(store)
    #expect(template == nil)
    #expect(reasons.count == 1 && reasons.allSatisfy { !$0.isEmpty && !$0.contains("\n") }, "\(reasons)")
    #expect(scratch.names == [other.key.hex])
    let again = try open(store)
    #expect(again.template == nil && again.reasons.isEmpty)
    try TemplateScratch.make(store, byte: 9)
    #expect(try TemplateScratch.byte(of: #require(try open(store).template).memory) == 9)
  }

  /// A list names it, and making it anew replaces it.
  @Test func damagedRecordsAreListedAndReplaced() throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    let key = try TemplateScratch.make(store).key
    truncate("\(scratch.templates)/\(key.hex)/template.json", 10)
    #expect(try store.list().damaged == [key])
    #expect(try store.list().templates.isEmpty)
    try TemplateScratch.make(store)
    #expect(try store.list().damaged.isEmpty)
    #expect(try store.list().templates.map(\.record.key) == [key])
  }

  // MARK: Removal and limits

  @Test func removal() throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    let record = try TemplateScratch.make(store)
    let opened = try #require(try open(store).template)
    #expect(try store.drop(record.key))
    #expect(try store.drop(record.key) == false)
    #expect(scratch.names.isEmpty)
    // Whoever has it goes on with it.
    #expect(try TemplateScratch.byte(of: opened.memory) == 7)
  }

  @Test func theLeastRecentlyUsedMakeRoom() throws {
    let scratch = TemplateScratch()
    let one = try TemplateScratch.make(scratch.store(), TemplateScratch.identity(1), pages: 64)
    let size = scratch.store().usage(one.key)
    let store = scratch.store(maximumBytes: size * 3 + size / 2)
    var keys = [one.key]
    for number in 2...3 {
      keys.append(try TemplateScratch.make(store, TemplateScratch.identity(number), pages: 64).key)
    }
    // Used an hour, two hours and no time ago.
    for (key, age) in zip(keys, [3600, 7200]) {
      let times = Array(repeating: timespec(tv_sec: time(nil) - age, tv_nsec: 0), count: 2)
      utimensat(AT_FDCWD, "\(scratch.templates)/\(key.hex)/used", times, 0)
    }
    #expect(try store.list().templates.map(\.record.key) == [keys[1], keys[0], keys[2]])
    // The oldest becomes the newest by its use.
    #expect(try open(store, TemplateScratch.identity(2)).template != nil)
    let fourth = try TemplateScratch.make(store, TemplateScratch.identity(4), pages: 64)
    #expect(Set(scratch.names) == Set([keys[1], keys[2], fourth.key].map(\.hex)))
    // A smaller limit than before: all but the one just made.
    let fifth = try TemplateScratch.make(
      scratch.store(maximumBytes: size + size / 2), TemplateScratch.identity(5), pages: 64)
    #expect(scratch.names == [fifth.key.hex])
  }

  @Test func oneThatIsLargerThanAllMayBeIsNotKept() throws {
    let scratch = TemplateScratch()
    let kept = try TemplateScratch.make(scratch.store())
    let error = #expect(throws: HypervisorError.self) {
      try TemplateScratch.make(scratch.store(maximumBytes: 65_536), TemplateScratch.identity(2), pages: 64)
    }
    #expect(error?.code == .limitExceeded && error?.advice == "raise templates.maxBytes")
    #expect(scratch.names == [kept.key.hex])
  }
}
