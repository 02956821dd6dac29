internal import Glibc
internal import IgniteSystem
internal import Synchronization

/// A wish to stop that also wakes a thread which waits for a pipe or a socket.
final class StreamInterruption: Sendable {
  private let wake: (read: FileDescriptor, write: FileDescriptor)

  init() throws(ImageError) {
    do throws(SystemError) {
      wake = try FileDescriptor.pipe()
    } catch {
      throw ImageError(.io, error.message, cause: error)
    }
  }

  /// The pipe's other end reads as ended from here on.
  func interrupt() { wake.write.close() }

  func check() throws(ImageError) {
    var descriptor = pollfd(fd: wake.read.number, events: Int16(POLLIN), revents: 0)
    if poll(&descriptor, 1, 0) > 0 { throw .cancelled }
  }

  /// Waits until something can be done with a descriptor.
  func wait(_ number: Int32, _ events: Int32) throws(ImageError) {
    while true {
      var descriptors = [
        pollfd(fd: wake.read.number, events: Int16(POLLIN), revents: 0),
        pollfd(fd: number, events: Int16(events), revents: 0),
      ]
      let count = poll(&descriptors, 2, -1)
      if descriptors[0].revents != 0 { throw .cancelled }
      if count > 0 { return }
      if count < 0, errno != EINTR { throw .system("wait for", "the stream") }
    }
  }
}

extension StreamInterruption {
  /// Runs a blocking closure on a thread of its own; a cancellation of the task interrupts it.
  func run<Value: Sendable>(
    _ body: @escaping @Sendable () throws(ImageError) -> Value
  ) async throws(ImageError) -> Value {
    let result: Result<Value, ImageError> = await withTaskCancellationHandler {
      do throws(ImageError) {
        return .success(try await ThreadExecutor.run(name: "ignite-archive", body))
      } catch {
        return .failure(error)
      }
    } onCancel: {
      self.interrupt()
    }
    return try result.get()
  }
}

/// A pipe, a socket or a terminal as a stream; waiting for it ends with an interruption.
final class DescriptorByteSource: ByteSource {
  private let descriptor: FileDescriptor
  private let name: String
  private let interruption: StreamInterruption

  init(_ descriptor: FileDescriptor, name: String, _ interruption: StreamInterruption) {
    self.descriptor = descriptor
    self.name = name
    self.interruption = interruption
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    if buffer.isEmpty { return 0 }
    while true {
      try interruption.wait(descriptor.number, POLLIN)
      let count = Glibc.read(descriptor.number, buffer.baseAddress, buffer.count)
      if count >= 0 { return count }
      if errno != EINTR, errno != EAGAIN { throw .system("read", name) }
    }
  }
}
