import ArgumentParser
import IgniteEngine
import Testing

@testable import ignite

@Suite struct DockerCommandLines {
  @Test func theImagesOwnFlagsAreLeftAlone() throws {
    #expect(
      try DockerFlags.checked(["run", "--rm", "-e", "A=1", "--name=x", "img", "ls", "-l", "-v", "--privileged"])
        == ["run", "--rm", "-e", "A=1", "--name=x", "--", "img", "ls", "-l", "-v", "--privileged"])
    #expect(
      try DockerFlags.checked(["exec", "-it", "vm", "sh", "-c", "x"]) == ["exec", "-it", "--", "vm", "sh", "-c", "x"])
    #expect(try DockerFlags.checked(["ps", "-a"]) == ["ps", "-a"])
    #expect(try DockerFlags.checked(["run", "--", "img"]) == ["run", "--", "img"])
  }

  @Test(arguments: ["--privileged", "--read-only", "--volumes-from=a", "--network", "--network-alias=x", "--gpus"])
  func whatWeLackIsNamed(flag: String) {
    let error = #expect(throws: EngineError.self) { try DockerFlags.checked(["run", flag, "img"]) }
    #expect(error?.message.contains(flag.split(separator: "=")[0]) == true)
  }

  @Test func aCommandLineIsUnderstood() async throws {
    let parsed = try await Ignite.asyncParseAsRoot(
      try DockerFlags.checked([
        "run", "-dit", "-p", "80:80", "-p", "81:81", "-m", "256m", "img:1", "sh", "-c", "echo -n x",
      ]))
    let run = try #require(parsed as? RunCommand)
    #expect(run.detach && run.process.interactive && run.process.tty)
    #expect(run.image == "img:1")
    #expect(run.command == ["sh", "-c", "echo -n x"])
    #expect(run.create.ports == ["80:80", "81:81"])
  }
}
