internal import Glibc
public import IgniteSystem

/// How a spare becomes a VM: whoever connects to its socket first is greeted, and owns it. The plan of the VM and the
/// pipe for the supervisor's notices follow, a descriptor each; a connection that ends before is the spare's end.
public struct SpareClaim: Sendable {
  private static let greeting = Array("spare\n".utf8)
  private static let planMessage = Array("plan\n".utf8)
  private static let noticesMessage = Array("notices\n".utf8)
  /// Between two steps of a claim, in milliseconds.
  private static let timeout: Int32 = 30_000

  private let socket: FileDescriptor

  // MARK: The command's side

  /// Asks for a spare; nil where it is gone, or another command was first. Blocking.
  /// - Parameter user: whose supervisor it has to be.
  public static func ask(_ path: String, user: UInt32) -> SpareClaim? {
    guard let socket = try? UnixSocket.connect(path), UnixSocket.peerUserID(socket.number) == user else { return nil }
    var entry = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
    var word = [UInt8](repeating: 0, count: greeting.count)
    guard poll(&entry, 1, timeout) > 0, read(socket.number, &word, word.count) == word.count, word == greeting else {
      return nil
    }
    return SpareClaim(socket: socket)
  }

  /// Makes it the VM of this plan. Blocking.
  /// - Parameters:
  ///   - plan: the plan's file, open for reading.
  ///   - notices: where the supervisor tells how far it is.
  public func make(plan: FileDescriptor, notices: FileDescriptor) throws(SystemError) {
    try UnixSocket.send(plan, with: Self.planMessage, over: socket)
    try UnixSocket.send(notices, with: Self.noticesMessage, over: socket)
  }

  /// Gives it up, which is its end.
  public func abandon() { socket.close() }

  // MARK: The spare's side

  struct Received: Sendable {
    var plan: SpawnPlan
    var notices: FileDescriptor
  }

  /// Greets who has connected, and waits for what it is to become. Blocking.
  static func receive(from socket: FileDescriptor) throws -> Received {
    let written = greeting.withUnsafeBytes { write(socket.number, $0.baseAddress, $0.count) }
    guard written == greeting.count else { throw SystemError("greet the command that wants the spare") }
    let (file, planWord) = try UnixSocket.receiveDescriptor(from: socket, limit: 64, timeout: timeout)
    let (notices, noticesWord) = try UnixSocket.receiveDescriptor(from: socket, limit: 64, timeout: timeout)
    guard planWord == planMessage, noticesWord == noticesMessage else {
      throw SupervisorError("the command that wants the spare is of another version")
    }
    return Received(plan: try SpawnPlan.read(from: file, path: "that came for the spare"), notices: notices)
  }
}
