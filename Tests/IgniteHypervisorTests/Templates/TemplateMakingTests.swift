import Glibc
import IgniteSystem
import Testing

@testable import IgniteHypervisor

@Suite struct TemplateMakingTests {
  @Test func oneMakerATemplate() throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    let identity = TemplateScratch.identity()
    let first = try #require(try store.beginMaking(identity))
    #expect(store.isTried(identity.key))
    #expect(try store.beginMaking(identity) == nil)
    #expect(try store.beginMaking(TemplateScratch.identity(2)) != nil)
    first.abandon()
    #expect(scratch.names.isEmpty && !store.isTried(identity.key))
    let second = try #require(try store.beginMaking(identity))
    _ = try second.commit(state: TemplateScratch.state)
    #expect(try store.beginMaking(identity) == nil)
    // What is over stays as it is.
    first.abandon()
    second.abandon()
    #expect(scratch.names == [identity.key.hex])
  }

  @Test func ofManyAtOnceOneMakesIt() async throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    let made = try await withThrowingTaskGroup(of: Bool.self) { group in
      for byte in UInt8(1)...12 {
        group.addTask {
          try await ThreadExecutor.run { () throws -> Bool in
            guard let making = try store.beginMaking(TemplateScratch.identity()) else { return false }
            try TemplateScratch.fill(making.memory, byte: byte)
            _ = try making.commit(state: [byte])
            return true
          }
        }
      }
      return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(made == 1)
    #expect(scratch.names == [TemplateScratch.identity().key.hex])
    // Memory and state are the same maker's.
    let opened = try store.open(TemplateScratch.identity(), keeper: TemplateScratch.program) { Issue.record("\($0)") }
    let template = try #require(opened)
    #expect(try TemplateScratch.byte(of: template.memory) == TemplateScratch.byte(of: template.state))
  }

  @Test func aMakerThatGoesAwayLeavesNothing() throws {
    let scratch = TemplateScratch()
    do {
      let making = try #require(try scratch.store().beginMaking(TemplateScratch.identity()))
      try TemplateScratch.fill(making.memory, byte: 1)
      #expect(scratch.names.contains { $0.hasPrefix(".new-") })
    }
    #expect(scratch.names.isEmpty)
  }

  /// What a killed maker and a killed removal leave goes when the next template is made; what lives stays.
  @Test func leftoversGo() throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    let living = try #require(try store.beginMaking(TemplateScratch.identity(1)))
    let dead = TemplateScratch.identity(2).key
    for name in [".new-\(dead.hex)", ".remove-\(dead.hex)-1-2"] {
      mkdir("\(scratch.templates)/\(name)", 0o700)
      try SmallFile.write([1, 2, 3], to: "\(scratch.templates)/\(name)/ram")
    }
    try SmallFile.write([], to: store.lockPath(dead))
    #expect(scratch.names.filter(TemplateStore.isOwn).count == scratch.names.count)

    let made = try TemplateScratch.make(store, TemplateScratch.identity(3))
    let mine = TemplateScratch.identity(1).key
    #expect(Set(scratch.names) == [".new-\(mine.hex)", "\(mine.hex).lock", made.key.hex])
    _ = try living.commit(state: TemplateScratch.state)
    #expect(Set(scratch.names) == [mine.hex, made.key.hex])
  }

  /// The dead one's own workspace is made anew.
  @Test func theNextMakerStartsAfresh() throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    let identity = TemplateScratch.identity()
    mkdir(scratch.templates, 0o700)
    mkdir("\(scratch.templates)/.new-\(identity.key.hex)", 0o700)
    try SmallFile.write([9], to: "\(scratch.templates)/.new-\(identity.key.hex)/state")
    try TemplateScratch.make(store, identity)
    #expect(scratch.names == [identity.key.hex])
  }

  @Test func aFailureIsNotTriedAgainAtOnce() throws {
    let scratch = TemplateScratch()
    let store = scratch.store()
    let key = TemplateScratch.identity().key
    mkdir(scratch.templates, 0o700)
    store.noteFailure(key, "the guest did not answer")
    #expect(store.isTried(key))
    // By hand it is, and a success is the end of it.
    try TemplateScratch.make(store)
    #expect(!store.isTried(key) && scratch.names == [key.hex])

    store.noteFailure(key, "again")
    let times = Array(repeating: timespec(tv_sec: time(nil) - 601, tv_nsec: 0), count: 2)
    #expect(utimensat(AT_FDCWD, store.failurePath(key), times, 0) == 0)
    #expect(!store.isTried(key))
  }

  // MARK: A full disk

  /// In a mount of its own; root alone may make one.
  @Test(.enabled(if: getuid() == 0, "root is needed to mount a small file system"), arguments: [20, 100])
  func aFullDiskIsGivenBack(pages: Int) async throws {
    let scratch = TemplateScratch()
    mkdir(scratch.templates, 0o700)
    var mount = ChildProcess(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", scratch.templates])
    #expect(try await mount.run().succeeded)
    let (error, names) = full(scratch, pages: pages)
    mount.arguments = ["umount", scratch.templates]
    #expect(try await mount.run().succeeded)
    #expect((error?.cause as? SystemError)?.code == ENOSPC)
    #expect(error?.advice?.contains("free some of the disk") == true)
    #expect(names.isEmpty)
  }

  private func full(_ scratch: TemplateScratch, pages: Int) -> (HypervisorError?, [String]) {
    let store = scratch.store()
    let error = #expect(throws: HypervisorError.self) {
      let making = try #require(try store.beginMaking(TemplateScratch.identity()))
      // With few pages it is the devices' state that does not fit.
      try TemplateScratch.fill(making.memory, byte: 1, pages: pages)
      _ = try making.commit(state: [UInt8](repeating: 1, count: 300_000))
    }
    return (error, scratch.names)
  }
}
