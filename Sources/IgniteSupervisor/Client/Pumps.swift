internal import Glibc
internal import IgniteSystem
internal import IgniteWire

/// Reads a blocking descriptor on a thread of its own, when asked.
final class InputPump: Sendable {
  private let worker = ThreadExecutor(name: "ignite-stdin")
  private let descriptor: Int32

  init(descriptor: Int32) { self.descriptor = descriptor }

  /// Reads once; an empty result is the end of the file, or an error, which ends the input too.
  func read(_ completion: @escaping @Sendable ([UInt8]) -> Void) {
    let descriptor = descriptor
    worker.submit {
      var bytes = [UInt8](repeating: 0, count: Wire.maximumPayload)
      while true {
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        if count < 0 && errno == EINTR { continue }
        if count < 0 && errno == EAGAIN {
          // Somebody else made the shared file non-blocking; wait as a blocking read would.
          var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
          _ = poll(&entry, 1, -1)
          continue
        }
        return completion(count > 0 ? Array(bytes.prefix(count)) : [])
      }
    }
  }
}

/// Writes to a blocking descriptor on a thread of its own, in order.
final class OutputPump: Sendable {
  private let worker: ThreadExecutor
  private let descriptor: Int32

  init(descriptor: Int32, name: String) {
    self.descriptor = descriptor
    worker = ThreadExecutor(name: name)
  }

  /// What cannot be written (the reader has gone) is dropped, so that the process is not held up for ever.
  func write(_ bytes: [UInt8], _ completion: @escaping @Sendable () -> Void) {
    let descriptor = descriptor
    worker.submit {
      var offset = 0
      while offset < bytes.count {
        let count = bytes.withUnsafeBytes {
          Glibc.write(descriptor, $0.baseAddress?.advanced(by: offset), $0.count - offset)
        }
        if count > 0 {
          offset += count
        } else if errno == EAGAIN {
          var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          _ = poll(&entry, 1, -1)
        } else if errno != EINTR {
          break
        }
      }
      completion()
    }
  }

  /// Runs `completion` after all that was given before has been written.
  func afterAll(_ completion: @escaping @Sendable () -> Void) { worker.submit(completion) }
}
