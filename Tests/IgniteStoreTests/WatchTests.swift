import FoundationEssentials
import GRDB
import IgniteAPI
import IgniteSystem
import Testing

@testable import IgniteStore

@Suite struct Watching {
  private func object(_ name: String, _ number: Int, kind: String = "VM") -> StoredObject {
    StoredObject(
      kind: kind, namespace: "default", name: name, uid: String(0x1000_0000_0000_0000 + number, radix: 16),
      created: Date(timeIntervalSince1970: 1000), labels: ["n": "\(number % 3)"],
      spec: Data("{\"size\":\(number)}".utf8),
      status: Data("{\"phase\":\"x\"}".utf8))
  }

  @Test func changesAreToldOnceAndInOrder() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      let begin = try await store.revision()
      #expect(try await store.changes(kind: nil, after: begin).isEmpty)
      let one = try await store.create(object("one", 1))
      var two = try await store.create(object("two", 2))
      try await store.create(object("other", 3, kind: "Volume"))
      var changes = try await store.changes(kind: "VM", after: begin)
      #expect(changes.map(\.kind) == [.added, .added, .bookmark])
      #expect(changes.compactMap(\.object?.name) == ["one", "two"])
      let told = try #require(changes.last).resourceVersion
      #expect(try await store.revision() == told)
      two.status = Data("{}".utf8)
      two = try await store.update(two)
      two.status = Data("{\"phase\":\"y\"}".utf8)
      two = try await store.update(two)
      try await store.delete(uid: one.uid)
      // Nobody who watched from there has heard of it.
      let brief = try await store.create(object("brief", 4))
      try await store.delete(uid: brief.uid)
      changes = try await store.changes(kind: nil, after: told)
      #expect(changes.map(\.kind) == [.modified, .deleted, .bookmark])
      #expect(changes[0].object == two)
      #expect(changes[1].object?.name == "one")
      // Whoever comes late hears of what is there by now, each once.
      let all = try await store.changes(kind: nil, after: begin).dropLast()
      #expect(all.map { "\($0.kind) \($0.object?.name ?? "")" } == ["added other", "added two"])
    }
  }

  @Test func anotherProcessWakesTheWatcher() async throws {
    try await withDirectory { path in
      let watcher = ObjectWatcher(try await ObjectStore.open(root: path), kind: "VM")
      let other = try await ObjectStore.open(root: path)
      var version = try await other.revision()
      for number in 0..<20 {
        let from = version
        async let waiting = watcher.next(after: from)
        try await other.create(object("vm-\(number)", number))
        let changes = try await waiting
        #expect(changes.compactMap(\.object?.name) == ["vm-\(number)"])
        version = try #require(changes.last).resourceVersion
      }
      let last = version
      let task = Task { try await watcher.next(after: last) }
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
    }
  }

  @Test func whatIsForgottenHasExpired() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      let kept = try await store.create(object("kept", 0))
      // As many removals as are remembered, and one more.
      let queue = try DatabaseQueue(path: path + "/ignite.db")
      try await queue.write { db in
        for number in 1...ObjectStore.mostTombstones {
          try db.execute(
            sql: """
              INSERT INTO tombstones SELECT \(kept.resourceVersion) + ?, 0, kind, namespace, name, uid, generation,
                created, labels, annotations, spec, status, owners, finalizers, deleted FROM objects
              """, arguments: [number])
        }
        try db.execute(sql: "UPDATE revision SET value = value + ?", arguments: [ObjectStore.mostTombstones])
      }
      #expect(try await store.changes(kind: nil, after: kept.resourceVersion).count == ObjectStore.mostTombstones + 1)
      let last = try await store.create(object("last", 1))
      try await store.delete(uid: last.uid)
      let error = await #expect(throws: StoreError.self) {
        try await store.changes(kind: nil, after: kept.resourceVersion)
      }
      #expect(error?.code == .expired && error?.advice?.contains("anew") == true)
      #expect(try await store.changes(kind: nil, after: kept.resourceVersion + 1).isEmpty == false)
      // A version that this store never had.
      await #expect(throws: StoreError.self) { try await store.changes(kind: nil, after: 1 << 40) }
    }
  }

  @Test func listsComeInPages() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      for number in 0..<25 { try await store.create(object("vm-\(number)", number)) }
      var request = ListRequest(kind: "VM")
      request.limit = 4
      request.suits = { $0["n"] != "0" }
      var names: [String] = []
      var pages = 0
      repeat {
        let page = try await store.list(request)
        names += page.items.map(\.name)
        request.continuation = page.continuation
        pages += 1
      } while request.continuation != nil
      #expect(names == (0..<25).filter { $0 % 3 != 0 }.map { "vm-\($0)" })
      #expect(pages == 4)
      request = ListRequest(kind: "VM")
      request.fields = [.init(path: "spec.size", value: "7")]
      #expect(try await store.list(request).items.map(\.name) == ["vm-7"])
      request.fields = [.init(path: "status.phase", value: "x", isNot: true)]
      #expect(try await store.list(request).items.isEmpty)
      // The same of whole lists and of columns.
      let fields = [
        FieldSelector.Requirement(path: "spec.size", value: "7"), .init(path: "status.none", value: ""),
        .init(path: "metadata.name", value: "vm-8", isNot: true),
      ]
      #expect(try await store.list(kind: "VM", fields: fields).map(\.name) == ["vm-7"])
      let columns = try await store.columns(kind: "VM", spec: ["$.size"], status: ["$.phase"], fields: fields)
      #expect(columns.map(\.name) == ["vm-7"] && columns[0].values == ["7", "x"])
      for path in ["spec", "spec.a'b", "metadata.labels", "", "spec..size"] {
        request.fields = [.init(path: path, value: "")]
        let wrong = request
        let error = await #expect(throws: StoreError.self) { try await store.list(wrong) }
        #expect(error?.code == .invalid, "\(path)")
      }
      request.fields = []
      request.continuation = "nonsense"
      let wrong = request
      await #expect(throws: StoreError.self) { try await store.list(wrong) }
    }
  }

  @Test func whatIsDeclaredHasAVersionOfItsOwn() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      var vm = try await store.create(object("web", 1))
      let made = try #require(try await store.versions(kind: "VM", namespace: "default", name: "web"))
      #expect(made == .init(uid: vm.uid, current: vm.resourceVersion, declared: vm.resourceVersion))
      vm.status = Data("{\"phase\":\"y\"}".utf8)
      vm.finalizers = ["x"]
      vm = try await store.update(vm)
      let found = try #require(try await store.versions(kind: "VM", namespace: "default", name: "web"))
      #expect(found.current == vm.resourceVersion && found.declared == made.declared)
      for change: (inout StoredObject) -> Void in [
        { $0.labels["a"] = "b" }, { $0.annotations["a"] = "b" }, { $0.spec = Data("{}".utf8) },
        { $0.owners = [ObjectReference(kind: "App", name: "shop", uid: "1")] }, { $0.name = "db" },
      ] {
        change(&vm)
        vm = try await store.update(vm)
        let now = try #require(try await store.versions(kind: "VM", namespace: "default", name: vm.name))
        #expect(now.declared == vm.resourceVersion && now.current == vm.resourceVersion)
      }
      #expect(try await store.versions(kind: "VM", namespace: "default", name: "web") == nil)
    }
  }

  @Test func ownersFinalizersAndTheirEnd() async throws {
    try await withDirectory { path in
      let store = try await ObjectStore.open(root: path)
      var app = object("shop", 1, kind: "App")
      app.finalizers = ["objects"]
      app = try await store.create(app)
      var vm = object("web", 2)
      vm.owners = [ObjectReference(kind: "App", name: "shop", uid: app.uid)]
      vm = try await store.create(vm)
      #expect(try await store.get(kind: "VM", namespace: "default", name: "web") == vm)
      #expect(try await store.dependents(of: app.uid) == [vm])
      #expect(try await store.orphans().isEmpty)
      // None belongs to itself, over another one neither.
      app.owners = [ObjectReference(kind: "VM", name: "web", uid: vm.uid)]
      let cycle = app
      let error = await #expect(throws: StoreError.self) { try await store.update(cycle) }
      #expect(error?.code == .invalid)
      app.owners = []
      // Marked, it stays until the finalizer is taken away.
      app = try #require(try await store.markDeleted(uid: app.uid, at: Date(timeIntervalSince1970: 5)))
      #expect(app.deleted == Date(timeIntervalSince1970: 5))
      #expect(try await store.markDeleted(uid: app.uid, at: Date(timeIntervalSince1970: 9)) == app)
      let before = try await store.revision()
      app.finalizers = []
      try await store.update(app)
      #expect(try await store.get(kind: "App", namespace: "default", name: "shop") == nil)
      #expect(try await store.changes(kind: nil, after: before).map(\.kind) == [.deleted, .bookmark])
      #expect(try await store.orphans() == [vm])
      // Without one it goes at once.
      #expect(try await store.markDeleted(uid: vm.uid, at: Date()) == nil)
      #expect(try await store.list(kind: "VM").isEmpty)
    }
  }

  /// Databases of the version before this one, as two released programs left them.
  @Test(arguments: ["first", "life"]) func earlierVersionsAreBroughtOn(_ name: String) async throws {
    try await withDirectory { path in
      let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
      let sql = try String(contentsOfFile: "\(root)/Tests/Fixtures/upgrades/\(name)/database.sql", encoding: .utf8)
      let queue = try DatabaseQueue(path: path + "/ignite.db")
      try await queue.writeWithoutTransaction { db in try db.execute(sql: sql) }
      try queue.close()
      let store = try await ObjectStore.open(root: path)
      let revision = try await store.revision()
      for kind in ["VM", "Image", "Kernel"] {
        for object in try await store.list(kind: kind) {
          #expect(object.owners.isEmpty && object.finalizers.isEmpty && object.deleted == nil)
        }
      }
      #expect(try await store.changes(kind: nil, after: revision).isEmpty)
      await #expect(throws: StoreError.self) { try await store.changes(kind: nil, after: 0) }
      try await store.create(object("later", 1))
      #expect(try await store.changes(kind: nil, after: revision).map(\.kind) == [.added, .bookmark])
    }
  }
}
