internal import ArgumentParser
internal import IgniteEngine

struct LoginCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "login", abstract: "Store a user's password for a registry, once the registry has taken it.",
    discussion: """
      Credentials are kept where Docker and Podman keep them (REGISTRY_AUTH_FILE, DOCKER_CONFIG, ~/.docker/config.json), \
      or with the credential helper that is configured there.
      """)

  @OptionGroup var global: GlobalOptions

  @Option(name: [.customShort("u"), .customLong("username")], help: "The user; asked for when it is absent.")
  var user: String?

  @Flag(name: .customLong("password-stdin"), help: "Read the password from standard input.")
  var readsPassword = false

  @Argument(help: "The registry, HOST or HOST:PORT; Docker Hub when it is absent.")
  var host: String = "docker.io"

  func run() async throws {
    let (registry, place) = try await Interrupts.run { _ in
      let engine = try await global.engine()
      let (user, password) = try await credentials()
      return try await engine.login(host, user: user, password: password)
    }
    CommandLineTool.say("logged in to \(registry); the password is kept in \(place)")
  }

  private func credentials() async throws -> (user: String, password: String) {
    if readsPassword {
      guard let user else {
        throw EngineError(.invalidArgument, "--password-stdin wants a user", advice: "add -u USER")
      }
      return (user, try await InputReader(0).run { try $0.text(all: true) })
    }
    let hint = "without a terminal write: ignite login -u USER --password-stdin \(host) < FILE"
    guard let terminal = TerminalPrompt() else {
      throw EngineError(.invalidArgument, "there is no terminal to ask for the password", advice: hint)
    }
    let name: String
    if let user { name = user } else { name = try await terminal.ask("User name for \(host): ", hidden: false) }
    return (name, try await terminal.ask("Password of \(name) for \(host): ", hidden: true))
  }
}

struct LogoutCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logout", abstract: "Forget the credentials for a registry.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "The registry, HOST or HOST:PORT; Docker Hub when it is absent.")
  var host: String = "docker.io"

  func run() async throws {
    let places = try await global.engine().logout(host)
    CommandLineTool.say("the credentials for \(host) are taken out of \(places.joined(separator: ", "))")
  }
}
