internal import IgniteHypervisor
internal import IgniteSystem
internal import IgniteWire

/// The console: for messages of every VM, and the main streams of one that boots as a machine.
extension Supervisor {
  /// Pieces of console that may wait for a client; one that does not read is let go, for the machine does not wait.
  private static let maximumWaiting = 256

  func connectConsole() throws {
    let socket = try UnixSocket.connect(plan.machine.consoleSocketPath)
    guard plan.process.machine else {
      try console?.connect(socket, loop: loop) { _ in }
      return
    }
    try console?.connect(socket, loop: loop) { [weak self] event in
      self?.assumeIsolated { $0.handleConsole(event) }
    }
  }

  private func handleConsole(_ event: Console.Event) {
    switch event {
    case .output(let bytes):
      log.append(bytes, stream: "stdout")
      let chunk = OutputChunk(channel: .standardOutput, bytes: bytes, isConsole: true)
      for id in clients.keys where clients[id]?.attached != nil {
        if !deliver(chunk, to: id), clients[id]?.attached?.waiting.count ?? 0 > Self.maximumWaiting { drop(id) }
      }
    case .written(let count):
      main.inputCredit += count
      for client in clients.values {
        if let attached = client.attached, attached.input {
          client.connection.send(.credit(stream: attached.stream, channel: .standardInput, bytes: count))
        }
      }
    case .ended: consoleEnded()
    }
  }

  /// Input is typed at the console. Its end ends nothing, and a serial line knows neither signals nor sizes.
  func passToConsole(_ frame: Frame) {
    if frame.type == .data { console?.type(frame.payload) }
  }

  /// The console's last words, for a message; empty where there are none.
  func consoleTail() -> String {
    guard let tail = console?.tail(), !tail.isEmpty else { return "" }
    return "; the console's last line: \(tail)"
  }
}
