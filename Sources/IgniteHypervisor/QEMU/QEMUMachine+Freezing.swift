internal import Glibc
internal import IgniteSystem

/// Freezing and thawing: what QEMU calls a migration, of all but the memory.
extension QEMUMachine {
  /// A state that is larger is none of a microVM.
  private static let maximumState = 64 << 20

  /// Waits until the machine has the state that a frozen one left, read from the process's descriptor `place`.
  func load(state place: Int32) async throws(HypervisorError) {
    Timeline.mark("hypervisor")
    try await ignoreSharedMemory()
    _ = try await control.execute("migrate-incoming", arguments: .object(["uri": .string("fd:\(place)")]))
    // It loads at once, and answers nothing meanwhile; a state that it cannot load ends it.
    while try await control.execute("query-status", timeout: .seconds(60))["status"]?.string == "inmigrate" {
      try? await Task.sleep(for: .milliseconds(1))
    }
  }

  func freeze(through path: String, user: UInt32?) async throws(HypervisorError) -> [UInt8] {
    unlink(path)
    defer { unlink(path) }
    let listener: FileDescriptor
    do throws(SystemError) {
      listener = try UnixSocket.listen(path, backlog: 1)
      if let user, lchown(path, user, user) != 0 { throw SystemError("give \(path) to user \(user)") }
    } catch {
      throw HypervisorError(error)
    }
    try await ignoreSharedMemory()
    try await pause()
    async let received = ThreadExecutor.run { Self.receiveState(listener) }
    do throws(HypervisorError) {
      _ = try await control.execute("migrate", arguments: .object(["uri": .string("unix:\(path)")]))
    } catch {
      // Whoever waits for QEMU's connection gets one.
      _ = try? UnixSocket.connect(path)
      _ = await received
      throw error
    }
    let state = try await received.get()
    var progress = try await control.execute("query-migrate")
    while ["setup", "active", "device"].contains(progress["status"]?.string ?? "") {
      try? await Task.sleep(for: .milliseconds(1))
      progress = try await control.execute("query-migrate")
    }
    guard progress["status"]?.string == "completed" else {
      let reason = progress["error-desc"]?.string ?? "no reason given"
      throw HypervisorError(.protocolError, "QEMU could not save the machine's state: \(reason)")
    }
    return state
  }

  /// Memory that is in a file is left there: what is saved and loaded is the rest.
  private func ignoreSharedMemory() async throws(HypervisorError) {
    let capability: JSONValue = .object(["capability": .string("x-ignore-shared"), "state": .bool(true)])
    _ = try await control.execute(
      "migrate-set-capabilities", arguments: .object(["capabilities": .array([capability])]))
  }

  /// Takes one connection, and all that comes on it. Blocking, for 30 seconds without a byte at most.
  private static func receiveState(_ listener: FileDescriptor) -> Result<[UInt8], HypervisorError> {
    do throws(SystemError) {
      try wait(for: listener)
      guard let socket = UnixSocket.accept(listener.number) else { throw SystemError("accept QEMU's state") }
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        try wait(for: socket)
        let count = read(socket.number, &buffer, buffer.count)
        if count < 0, errno == EINTR || errno == EAGAIN { continue }
        if count < 0 { throw SystemError("read QEMU's state") }
        if count == 0 { return .success(bytes) }
        bytes += buffer[0..<count]
        guard bytes.count <= maximumState else {
          return .failure(
            HypervisorError(.protocolError, "QEMU's state of the machine is over \(maximumState >> 20) MiB"))
        }
      }
    } catch {
      return .failure(HypervisorError(error))
    }
  }

  private static func wait(for descriptor: FileDescriptor) throws(SystemError) {
    var entry = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
    let count = try retrying("wait for QEMU's state") { Int(poll(&entry, 1, 30_000)) }
    if count == 0 { throw SystemError("wait for QEMU's state", code: ETIMEDOUT) }
  }
}
