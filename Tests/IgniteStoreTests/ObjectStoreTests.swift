import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

@testable import IgniteStore

/// A directory of a test's own.
func withDirectory(_ body: (String) async throws -> Void) async throws {
  let path = FileManager.default.temporaryDirectory.path + "/store-\(UInt32.random(in: .min ... .max))"
  #expect(mkdir(path, 0o700) == 0)
  do {
    try await body(path)
  } catch {
    try FileTree.remove(path)
    throw error
  }
  try FileTree.remove(path)
}

private func object(_ name: String, uid: String) -> StoredObject {
  StoredObject(
    kind: "VM", namespace: "default", name: name, uid: uid, created: Date(timeIntervalSince1970: 1000),
    labels: ["a": "b"], spec: Data("{}".utf8), status: Data("{\"phase\":\"x\"}".utf8))
}

@Suite struct Objects {
  @Test func whatIsWrittenIsRead() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      let made = try await store.create(object("web", uid: "00000000000000aa"))
      #expect(made.resourceVersion > 0)
      // Another process' view.
      let other = try await ObjectStore.open(root: path)
      #expect(try await other.get(kind: "VM", namespace: "default", name: "web") == made)
      #expect(try await other.find(kind: "VM", uidPrefix: "0000000000").map(\.name) == ["web"])
      #expect(try await other.find(kind: "VM", uidPrefix: "' OR 1=1").isEmpty)
      #expect(try await other.list(kind: "Image").isEmpty)
    }
  }

  @Test func aNameIsTakenOnce() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      try await store.create(object("web", uid: "00000000000000aa"))
      let error = await #expect(throws: StoreError.self) {
        try await store.create(object("web", uid: "00000000000000bb"))
      }
      #expect(error?.code == .alreadyExists)
    }
  }

  @Test func theSecondWriterLoses() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      let made = try await store.create(object("web", uid: "00000000000000aa"))
      var first = made
      first.status = Data("{\"phase\":\"y\"}".utf8)
      let written = try await store.update(first)
      #expect(written.generation == 1)
      var second = made
      second.spec = Data("{\"a\":1}".utf8)
      let error = await #expect(throws: StoreError.self) { try await store.update(second) }
      #expect(error?.code == .conflict)
      second.resourceVersion = written.resourceVersion
      #expect(try await store.update(second).generation == 2)
      #expect(try await store.delete(uid: made.uid))
      #expect(try await !store.delete(uid: made.uid))
      let gone = await #expect(throws: StoreError.self) { try await store.update(second) }
      #expect(gone?.code == .notFound)
    }
  }

  @Test func manyWritersAtOnce() async throws {
    try await withDirectory { path in
      let stores = try await withThrowingTaskGroup(of: ObjectStore.self) { group in
        for _ in 0..<8 { group.addTask { try await ObjectStore.open(root: path) } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for (index, store) in stores.enumerated() {
          group.addTask {
            for number in 0..<12 {
              let uid = String(index * 100 + number + 0x1000_0000, radix: 16)
              try await store.create(object("vm-\(index)-\(number)", uid: uid))
            }
          }
        }
        try await group.waitForAll()
      }
      let all = try await stores[0].list(kind: "VM")
      #expect(all.count == 96)
      #expect(Set(all.map(\.resourceVersion)).count == 96)
    }
  }

  @Test func numbersAreGivenOnceAndTakenBack() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      #expect(try await store.allocate(pool: "users", owner: "a", range: 10...12) == 10)
      #expect(try await store.allocate(pool: "users", owner: "b", range: 10...12) == 11)
      #expect(try await store.allocate(pool: "users", owner: "a", range: 10...12) == 10)
      #expect(try await store.allocate(pool: "users", owner: "c", range: 10...12) == 12)
      await #expect(throws: StoreError.self) { try await store.allocate(pool: "users", owner: "d", range: 10...12) }
      try await store.delete(uid: "b")
      #expect(try await store.allocate(pool: "users", owner: "d", range: 10...12) == 11)
    }
  }

  @Test func settingsStay() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      #expect(try await store.setting("k") == nil)
      try await store.setSetting("k", "v")
      try await store.setSetting("k", "w")
      #expect(try await ObjectStore.open(root: path).setting("k") == "w")
      try await store.setSetting("k", nil)
      #expect(try await store.setting("k") == nil)
    }
  }

  @Test func aCommitTouchesTheRevisionFile() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      try await store.setSetting("k", "v")
      #expect(FileManager.default.fileExists(atPath: path + "/ignite.db.rev"))
    }
  }

  @Test func aNewerOrDamagedDatabaseIsRefused() async throws {
    try await withDirectory { path in
      try Data("this is no database, however long it may go on".utf8).write(to: URL(filePath: path + "/ignite.db"))
      let error = await #expect(throws: StoreError.self) { try await ObjectStore.open(root: path) }
      #expect(error?.code == .damaged)
      #expect(error?.message.contains(path) == true)
    }
  }
}
