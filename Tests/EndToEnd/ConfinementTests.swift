import FoundationEssentials
import IgniteSystem
import Testing

/// What a VM that root started may do on the host.
@Suite(.timeLimit(.minutes(5))) struct Confinement {
  @Test func everyProcessIsTheVMsUserWithoutRights() async throws {
    try #require(Ignite.isRoot, "the end-to-end suites are run as root")
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let vm = try await ignite.vm("one")
      let user = try #require(vm.status.userID)
      #expect(user != 0)
      let supervisor = try #require(vm.supervisor)
      let processes = try [supervisor] + children(of: supervisor)
      let names = try processes.map { try text("/proc/\($0)/comm").trimmingSuffix() }
      #expect(names.contains { $0.hasPrefix("qemu-system") })
      #expect(names.contains { $0.hasPrefix("passt") })
      for (process, name) in zip(processes, names) {
        let status = try text("/proc/\(process)/status")
        func field(_ key: String) -> String? {
          status.split(separator: "\n").first { $0.hasPrefix(key + ":") }.map {
            $0.dropFirst(key.count + 1).split(separator: "\t").first.map(String.init) ?? ""
          }
        }
        #expect(field("Uid") == String(user), "\(name)")
        #expect(field("Gid") == String(user), "\(name)")
        #expect(field("CapEff") == "0000000000000000", "\(name)")
        #expect(field("NoNewPrivs") == "1", "\(name)")
        #expect(!FileManager.default.fileExists(atPath: "/proc/\(process)/root/etc/shadow"), "\(name)")
        #expect(!FileManager.default.fileExists(atPath: "/proc/\(process)/root/root"), "\(name)")
      }
    }
  }

  @Test func theCgroupGoesWithTheVM() async throws {
    try #require(Ignite.isRoot, "the end-to-end suites are run as root")
    try await Ignite.with { ignite in
      let uid = try await ignite.sleeper("--name", "one")
      let hierarchy = try #require(Cgroup.hierarchy(), "the suites are run where cgroup v2 is mounted")
      #expect(FileManager.default.fileExists(atPath: "\(hierarchy)/ignite/\(uid)"))
      _ = try await ignite.succeed("rm", "-f", "one")
      #expect(!FileManager.default.fileExists(atPath: "\(hierarchy)/ignite/\(uid)"))
    }
  }

  @Test func twoVMsAreTwoUsers() async throws {
    try #require(Ignite.isRoot, "the end-to-end suites are run as root")
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      _ = try await ignite.sleeper("--name", "two")
      let first = try await ignite.vm("one").status.userID
      let second = try await ignite.vm("two").status.userID
      #expect(first != nil && first != second)
    }
  }

  private func text(_ path: String) throws -> String {
    String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
  }

  private func children(of parent: Int32) throws -> [Int32] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }.filter { process in
      guard let stat = FileManager.default.contents(atPath: "/proc/\(process)/stat") else { return false }
      let fields = String(decoding: stat, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
      return fields.count > 1 && fields[1] == String(parent)
    }
  }
}
