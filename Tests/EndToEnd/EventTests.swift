import FoundationEssentials
import Glibc
import Testing

/// What happens, as `events` tells it: at once to who follows, and later to who looks back.
@Suite(.timeLimit(.minutes(10))) struct Events {
  private struct Line: Decodable {
    var time: String
    var type: String
    var action: String
    var id: String
    var attributes: [String: String]
  }

  private func past(_ ignite: Ignite, _ options: String...) async throws -> [Line] {
    let result = try await ignite(["events", "--format", "json", "--since", "1h", "--until", "0s"] + options)
    #expect(result.status == 0, "\(result.errorText)")
    return try result.text.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
  }

  @Test func aLifeIsTold() async throws {
    try await Ignite.with { ignite in
      let follower = try ignite.start("events", "--since", "1m", "--filter", "vm=one")
      let uid = try await ignite.sleeper(
        "--name", "one", "--health-cmd", "true", "--health-interval", "100ms", "--restart", "always")
      while try await ignite.vm("one").status.health != "healthy" { try Task.checkCancellation() }
      try await ignite.succeed("pause", "one")
      try await ignite.succeed("unpause", "one")
      kill(try #require(try await ignite.vm("one").hypervisor), SIGKILL)
      while try await ignite.vm("one").status.restarts != 1 { try Task.checkCancellation() }
      while try await ignite.vm("one").phase != "Running" { try Task.checkCancellation() }
      try await ignite.succeed("update", "--label", "a=b", "one")
      try await ignite.succeed("stop", "-t", "0", "one")
      try await ignite.succeed("rm", "one")
      let live = try await follower.readOutput(until: "destroy \(uid) (image=\(Ignite.image), name=one)\n")
      try follower.signal(SIGTERM)
      _ = await follower.ended()
      let lines = live.split(separator: "\n").map(String.init)
      let actions = lines.map { line -> String in
        let rest = String(line.split(separator: " ", maxSplits: 2)[2].prefix { $0 != "(" })
        return rest.replacing(uid, with: "").filter { $0 != " " }
      }
      let expected = [
        "create", "start", "health_status:starting", "health_status:healthy", "pause", "unpause", "restart", "start",
        "health_status:starting", "update", "die", "destroy",
      ]
      // A second health check may come before the stop.
      let well = "health_status:healthy"
      #expect(actions.contains(well) && actions.filter { $0 != well } == expected.filter { $0 != well }, "\(live)")

      // Who looks back finds the same, with the VM long gone.
      let later = try await past(ignite, "--filter", "vm=\(uid.prefix(8))")
      let all = later.map { $0.action.filter { $0 != " " } }.filter { $0 != well }
      #expect(all == expected.filter { $0 != well }, "\(later)")
      #expect(later.last { $0.action == "die" }?.attributes["exitCode"] == "137")
      #expect(later.map(\.time) == later.map(\.time).sorted() && later.allSatisfy { $0.id == uid && $0.type == "vm" })
    }
  }

  @Test func imagesAndFilters() async throws {
    try await Ignite.with { ignite in
      #expect(try await ignite("run", "--name", "one", Ignite.image, "sh", "-c", "exit 4").status == 4)
      try await ignite.succeed("image", "tag", Ignite.image, "localhost/other:latest")
      try await ignite.succeed("image", "rm", "localhost/other:latest")
      // The seed's own events come before.
      let images = try await past(ignite, "--filter", "type=image")
      #expect(images.last?.action == "untag" && images.last?.id == "localhost/other:latest")
      #expect(images.allSatisfy { $0.type == "image" })
      try await ignite.succeed("rename", "one", "two")
      let renamed = try await past(ignite, "--filter", "event=rename")
      #expect(renamed.map { $0.attributes["oldName"] } == ["one"])
      try await ignite.succeed("rename", "two", "one")
      let died = try await past(ignite, "--filter", "event=die", "--filter", "vm=one")
      #expect(died.map { $0.attributes["exitCode"] } == ["4"] && died.first?.attributes["name"] == "one")
      let ours = try await past(ignite, "--filter", "image=\(Ignite.image)", "--filter", "vm=one")
      #expect(Set(ours.map(\.action)) == ["create", "start", "die", "rename"])
      let table = try await ignite.succeed("events", "--since", "1h", "--until", "0s", "--filter", "event=create")
      #expect(table.contains(" vm create ") && table.contains("name=one"))
      for options in [["--filter", "colour=red"], ["--since", "soon"]] {
        let refused = try await ignite(["events"] + options)
        #expect(refused.status == 1, "\(refused.errorText)")
      }
      try await ignite.expectEveryByteAccountedFor()
    }
  }
}
