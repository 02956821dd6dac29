internal import Glibc

/// A file descriptor that closes itself.
final class OwnedDescriptor {
  let number: Int32
  init(_ number: Int32) { self.number = number }
  deinit { close(number) }
}

/// The system's words for an errno value: `No such file or directory`.
func systemMessage(_ number: Int32) -> String {
  String(cString: strerror(number))
}

extension ImageError {
  /// The failure of a system call on a file; call it before anything else can change `errno`.
  static func system(_ what: String, _ path: String, errno number: Int32 = errno) -> ImageError {
    let code: Code
    switch number {
    case ENOENT: code = .notFound
    case EEXIST: code = .alreadyExists
    case ENOSPC, EDQUOT, EFBIG: code = .noSpace
    default: code = .io
    }
    let advice = number == ENOSPC || number == EDQUOT ? "free some space on the host's file system" : nil
    return ImageError(code, "cannot \(what) \(path): \(systemMessage(number))", advice: advice)
  }
}
