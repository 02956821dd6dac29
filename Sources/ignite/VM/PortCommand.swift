internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

struct PortCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "port", abstract: "Print where a running VM's ports are published.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "A name or UID.", completion: .runningVMs)
  var vm: String

  @Argument(help: ArgumentHelp("Only this port of the VM.", valueName: "port[/tcp|udp]"))
  var port: String?

  func run() async throws {
    let vm = try await global.engine().vm(vm)
    let ports = vm.status.phase.isActive ? vm.spec.network.ports : []
    guard let port else {
      for port in ports { Output.line("\(port.vm)/\(port.transport) -> \(port.place)") }
      return
    }
    let parts = port.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count <= 2, let number = UInt16(parts[0]), number > 0 else {
      throw EngineError(.invalidArgument, "\"\(port)\" is no port", advice: "write it as 80, 80/tcp or 53/udp")
    }
    let transport = parts.count == 2 ? parts[1].lowercased() : "tcp"
    let found = ports.filter { $0.vm == number && $0.transport == transport }
    guard !found.isEmpty else {
      throw EngineError(
        .notFound, "no public port \"\(number)/\(transport)\" is published for \(vm.metadata.name)",
        advice: "list those that are: ignite port \(vm.metadata.name)")
    }
    for port in found { Output.line(port.place) }
  }
}

extension VMSpec.Port {
  fileprivate var transport: String { `protocol`.lowercased() }
  fileprivate var place: String { "\(address):\(host)" }
}
