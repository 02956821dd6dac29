import Glibc
import Testing

@testable import IgniteSystem

@Suite struct LaunchCgroupTests {
  @Test func theHierarchyIsFoundWhereverItIsMounted() {
    let hybrid = """
      31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 master:1 - cgroup2 cgroup2 rw
      """
    #expect(Cgroup.hierarchy(mountinfo: hybrid) == "/sys/fs/cgroup/unified")
    #expect(
      Cgroup.hierarchy(mountinfo: "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate") == "/sys/fs/cgroup")
    #expect(Cgroup.hierarchy(mountinfo: "x - cgroup2\n- cgroup2\n\n") == nil)
  }

  @Test func whatIsDelegatedIsTheTopmostOfTheUsersOwn() {
    let user = "/cg/user.slice/user-1000.slice/user@1000.service"
    func delegated(_ own: String) -> String? {
      Cgroup.delegated(below: "/cg", own: own) { $0 == user || $0.hasPrefix(user + "/") }
    }
    #expect(delegated("1:cpu:/\n0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n") == user)
    #expect(delegated("0::/user.slice/user-1000.slice/session-3.scope\n") == nil)
    #expect(delegated("0::/\n") == nil && delegated("") == nil && delegated("1:cpu:/user.slice") == nil)
    #expect(Cgroup.delegated(below: "/cg", own: "0::/../../x") { _ in true } == nil)
  }

  @Test func aNameCannotLeaveItsPlace() {
    for name in ["", "..", "a/b", "a b", "ä", String(repeating: "a", count: 65)] {
      #expect(Cgroup.create(name).cgroup == nil)
    }
  }

  @Test func itsProcessesEndTogether() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let group = try #require(Cgroup.create("test-\(getpid())-\(UInt32.random(in: 0 ... .max))").cgroup)
    defer { try? group.remove() }
    let isolation = Isolation(uid: 61_236, gid: 61_236, mounts: Isolation.system(programs: ["/bin/sh", "/bin/sleep"]))
    let process = try launch(
      LaunchRequest(
        executable: "/bin/sh", arguments: ["sh", "-c", "/bin/sleep 1000 & wait"], isolation: isolation, cgroup: group))
    #expect(try group.members().contains(process.pid))
    try group.kill()
    #expect(await process.exited(on: loop) == .signalled(SIGKILL))
    // The grandchild is init's to reap; until then it may still be counted.
    while true {
      do {
        try group.remove()
        break
      } catch {
        try #require(error.code == EBUSY)
        await Task.yield()
      }
    }
    #expect(access(group.path, F_OK) != 0)
    try group.remove()
  }

  @Test func thePlanMakesOuterMountsFirst() {
    let isolation = Isolation(
      uid: 1, gid: 1,
      mounts: [
        .bind(source: "/etc", target: "/a/b/c", []), .bind(source: "/usr", target: "/a", .writable), .processes,
        .symbolicLink("/lib", to: "usr/lib"), .bind(source: "/dev/null", target: "//dev/../dev/./null", .devices),
      ])
    let plan = isolation.mountPlan()
    #expect(
      plan.map { "\($0.kind) \($0.target)" } == [
        "directory a", "directory a/b", "directory a/b/c", "directory proc", "symbolicLink lib", "directory dev",
        "directory dev/dev", "file dev/dev/null", "bind a", "processes proc", "bind a/b/c", "bind dev/dev/null",
      ])
  }
}
