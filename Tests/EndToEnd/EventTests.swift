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
      let live = try await follower.readOutput(until: "destroy \(uid) (image=\(Ignite.image), name=one, request=")
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
      // Without a grace it is killed, unless its stop signal was quicker.
      #expect(["137", "143"].contains(later.last { $0.action == "die" }?.attributes["exitCode"]))
      #expect(later.map(\.time) == later.map(\.time).sorted() && later.allSatisfy { $0.id == uid && $0.type == "vm" })
    }
  }

  @Test func whatACommandBringsAboutBearsItsID() async throws {
    try await Ignite.with { ignite in
      func run(_ id: String, _ words: String...) async throws {
        let result = try await ignite.command(words, extra: ["IGNITE_REQUEST_ID": id]).run()
        #expect(result.status == 0, "\(result.errorText)")
      }
      func told(_ id: String) async throws -> [String] {
        try await past(ignite, "--filter", "request=\(id)").map(\.action)
      }
      let ids = (1...6).map { String(repeating: "\($0)", count: 15) + "a" }
      try await run(ids[0], "run", "-d", "--name", "one", "--restart", "always", Ignite.image, "sleep", "3600")
      let uid = try await ignite.vm("one").uid
      func journal() throws -> [JournalLine] {
        try String(contentsOfFile: "\(ignite.data)/vms/\(uid)/journal", encoding: .utf8).split(separator: "\n").map {
          try JSONDecoder().decode(JournalLine.self, from: Data($0.utf8))
        }
      }
      #expect(try await told(ids[0]) == ["create", "start"])
      #expect(try journal().map(\.event) == ["starting", "booted", "running"])
      #expect(try journal().allSatisfy { $0.request == ids[0] })
      try await run(ids[1], "pause", "one")
      try await run(ids[2], "unpause", "one")
      try await run(ids[3], "update", "--label", "a=b", "one")
      #expect(try journal().suffix(2).map(\.request) == [ids[1], ids[2]])
      // A restart by the VM's policy is the start's.
      kill(try #require(try await ignite.vm("one").hypervisor), SIGKILL)
      while try await ignite.vm("one").status.restarts != 1 { try Task.checkCancellation() }
      while try await ignite.vm("one").phase != "Running" { try Task.checkCancellation() }
      try await run(ids[4], "stop", "-t", "0", "one")
      #expect(try journal().last == JournalLine(event: "exited", request: ids[4]))
      try await run(ids[5], "rm", "one")
      // What the journal told is the same once it is gone.
      for (index, actions) in [
        ["create", "start", "restart", "start"], ["pause"], ["unpause"], ["update"], ["die"], ["destroy"],
      ].enumerated() { #expect(try await told(ids[index]) == actions, "\(ids[index])") }

      // What is none is not taken over, and each command has one of its own.
      for id in ["", "1", String(repeating: "A", count: 16), String(repeating: "1", count: 17)] {
        try await run(id, "volume", "create", "v\(id.count)\(id.prefix(1).lowercased())")
      }
      let made = try await past(ignite, "--filter", "event=create").filter { $0.type == "volume" }
        .map { $0.attributes["request"] ?? "" }
      #expect(Set(made).count == 4 && made.allSatisfy { $0.count == 16 && UInt64($0, radix: 16) != nil }, "\(made)")
      let refused = try await ignite("events", "--filter", "request=1")
      #expect(refused.status == 1 && refused.errorText.contains("16 digits"), "\(refused.errorText)")
    }
  }

  private struct JournalLine: Decodable, Equatable {
    var event: String
    var request: String?
  }

  @Test func whatTheDaemonDoesBearsTheIDInItsLog() async throws {
    try await Ignite.with { ignite in
      let alone = """
        apiVersion: ignite.weave.works/v1beta1
        kind: VM
        metadata: {name: alone}
        spec: {image: {oci: \(Ignite.image)}, resources: {memory: 128MiB}, process: {args: [sleep, "3600"]}}
        """
      let id = "0123456789abcdef"
      let applied = try await ignite.command(
        ["apply", "-y", "-f", "-"], input: Array(alone.utf8), extra: ["IGNITE_REQUEST_ID": id]
      ).run()
      #expect(applied.status == 0, "\(applied.errorText)")
      #expect(try await past(ignite, "--filter", "request=\(id)").map(\.action) == ["create", "start"])
      try await DaemonProcess.with(ignite, "--log-format", "json") { daemon in
        kill(try #require(try await ignite.vm("alone").hypervisor), SIGKILL)
        try await daemon.logged("an object was not as it is declared")
        let lines = daemon.log.split(separator: "\n").filter { $0.contains("an object was not as it is declared") }
        let line = try JSONDecoder().decode([String: String].self, from: Data(try #require(lines.first).utf8))
        let work = try #require(line["request"], "\(line)")
        #expect(line["object"] == "VM/alone" && work != id && work.count == 16, "\(line)")
        #expect(try await past(ignite, "--filter", "request=\(work)").map(\.action) == ["drift", "start"])
        let uid = try await ignite.vm("alone").uid
        let journal = try String(contentsOfFile: "\(ignite.data)/vms/\(uid)/journal", encoding: .utf8)
        let starts = try journal.split(separator: "\n").map {
          try JSONDecoder().decode(JournalLine.self, from: Data($0.utf8))
        }.filter { $0.event == "starting" }
        #expect(starts.map(\.request) == [id, work])
      }
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
