internal import Glibc
internal import IgniteEngine
internal import IgniteSystem

/// What one daemon a run directory holds, with its number in the file.
enum InstanceLock {
  /// - Throws: EngineError where another daemon holds it. Blocking, for no longer than opening a file.
  static func take(_ path: String) throws -> PassingLock {
    guard let lock = try PassingLock.take(path) else {
      let pid = (try? readSmallFile(path, limit: 32))?.split(separator: "\n").first.flatMap { Int32($0) }
      throw EngineError(
        .wrongState, "another ignited\(pid.map { ", process \($0)," } ?? "") serves this run directory (\(path))",
        advice: "end it first, or give --data-dir and --run-dir of its own")
    }
    let text = Array("\(getpid())\n".utf8)
    _ = ftruncate(lock.descriptor.number, 0)
    _ = pwrite(lock.descriptor.number, text, text.count, 0)
    return lock
  }
}
