import Glibc
import IgniteSystem
import Synchronization
import Testing

@testable import IgniteSupervisor

@Suite struct GreetingTests {
  /// As the supervisor of a VM that is started again: it is gone between a command's connection and its greeting.
  @Test func whoHasGoneBeforeTheGreetingIsAnError() async throws {
    signal(SIGPIPE, SIG_IGN)
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let (ours, theirs) = try UnixSocket.pair()
    theirs.close()
    let told = Mutex(0)
    let code = await withCheckedContinuation { continuation in
      loop.submit {
        do throws(SystemError) {
          _ = try FrameConnection(loop: loop, descriptor: ours, role: .client(session: 7)) { _ in
            told.withLock { $0 += 1 }
          }
          continuation.resume(returning: Int32(0))
        } catch {
          continuation.resume(returning: error.code)
        }
      }
    }
    #expect(code == ECONNRESET)
    #expect(told.withLock(\.self) == 0)
  }
}
