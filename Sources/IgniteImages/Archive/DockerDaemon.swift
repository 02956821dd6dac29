internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// The Docker daemon's API on a Unix socket (Docker Engine API), as far as `docker save` uses it. Podman's service speaks
/// it too.
struct DockerDaemon {
  private static let defaultSocket = "/var/run/docker.sock"
  private static let errorLimit = 64 << 10

  private let path: String

  /// - Throws: `unsupported` where `DOCKER_HOST` names anything but a Unix socket.
  init(environment: [String: String]) throws(ImageError) {
    guard let host = environment["DOCKER_HOST"], !host.isEmpty else {
      path = Self.defaultSocket
      return
    }
    guard host.hasPrefix("unix://"), host.count > 7 else {
      throw ImageError(
        .unsupported, "DOCKER_HOST is \(displayName(host.utf8)), and only Unix sockets are supported",
        advice: "set it to unix://PATH, or pipe: docker save NAME | ignite image import -")
    }
    path = String(host.dropFirst(7))
  }

  /// An image as a stream: the archive that `docker save` writes.
  func save(_ image: String, _ interruption: StreamInterruption) throws(ImageError) -> any ByteSource {
    let socket = try connect()
    // A digest is kept as it is: the daemon knows images by the short form of their names.
    let name = Digest(image) != nil ? image : ((try? Reference(image))?.familiar ?? image)
    try send(
      "GET /images/\(Self.escaped(name))/get HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n", socket,
      interruption)
    let response = try HTTPResponse(
      DescriptorByteSource(socket, name: "what the Docker daemon sends", interruption))
    guard response.status == 200 else {
      let words = Self.message(try response.body.readAll(limit: Self.errorLimit))
      if response.status == 404 {
        throw ImageError(
          .notFound, "the Docker daemon at \(path) has no such image", advice: "fetch it: docker pull \(name)")
      }
      throw ImageError(.io, "the Docker daemon at \(path) refuses: \(words) (status \(response.status))")
    }
    return response.body
  }

  private func connect() throws(ImageError) -> FileDescriptor {
    do throws(SystemError) {
      return try UnixSocket.connect(path)
    } catch {
      let advice =
        switch error.code {
        case EACCES: "run this as root, or as a member of the group docker"
        case ENOENT, ECONNREFUSED: "is dockerd running? DOCKER_HOST=unix://PATH names another socket"
        default: error.advice
        }
      throw ImageError(
        error.code == ENOENT ? .notFound : .io,
        "cannot reach the Docker daemon at \(path): \(systemMessage(error.code))",
        advice: advice, cause: error)
    }
  }

  private func send(
    _ text: String, _ socket: FileDescriptor, _ interruption: StreamInterruption
  ) throws(ImageError) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      try interruption.wait(socket.number, POLLOUT)
      let count = rest.withUnsafeBytes {
        Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count < 0 {
        if errno == EINTR || errno == EAGAIN { continue }
        throw .system("write to", path)
      }
      rest = rest.dropFirst(count)
    }
  }

  /// A path's component as a URL has it; the slashes of a name are the API's own.
  private static func escaped(_ name: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    for byte in name.utf8 {
      let isPlain =
        (byte >= 97 && byte <= 122) || (byte >= 65 && byte <= 90) || (byte >= 48 && byte <= 57)
        || "/:@._-".utf8.contains(byte)
      if isPlain { bytes.append(byte) } else { bytes += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The reason in an answer's `{"message": …}`.
  private static func message(_ bytes: [UInt8]) -> String {
    struct Answer: Decodable { var message: String }
    let answer = try? decodeDocument(Answer.self, bytes, "the answer")
    return displayName(answer.map { Array($0.message.utf8) } ?? bytes)
  }
}
