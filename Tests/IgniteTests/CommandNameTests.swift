import Testing

@testable import ignite

@Suite struct CommandNameTests {
  @Test(arguments: [
    (["rnu", "alpine"], "ignite run"), (["vloume", "ls"], "ignite volume"), (["volume", "lss"], "ignite volume ls"),
    (["images"], "ignite image ls"), (["xyzzy"], "ignite --help"), (["image", "xyzzy"], "ignite image --help"),
  ])
  func whatNamesNoCommandIsNamedWithWhatMayBeMeant(_ words: [String], _ hint: String) {
    let error = #expect(throws: NoSuchCommand.self) { try CommandNames.check(words) }
    #expect(error?.advice?.contains("`\(hint)`") == true, "\(error?.advice ?? "")")
  }

  @Test(arguments: [
    ["run", "rnu"], ["image", "ls"], ["ps"], ["ls"], ["help", "run"], ["image"], [], ["--version"],
    ["image", "--help"],
  ])
  func whatNamesOneIsPassedOn(_ words: [String]) throws { try CommandNames.check(words) }
}
