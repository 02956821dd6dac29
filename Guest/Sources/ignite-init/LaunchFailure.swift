import CGuest

/// Why a program could not be executed, in docker's words and with docker's statuses.
enum LaunchFailure {
  static func describe(_ spawn: UnsafeMutablePointer<guest_spawn>, program: Bytes, directory: Bytes) -> GuestError {
    let error = spawn.pointee.error
    let quoted = "\"" + text(program) + "\""
    switch Int(spawn.pointee.step) {
    case guest_step_directory:
      let what = "working directory \"" + text(directory) + "\""
      return GuestError(what, errno: error, code: error == ENOENT ? 127 : 126)
    case guest_step_identity:
      return GuestError("take the user's identity", errno: error, code: 126)
    case guest_step_search:
      return GuestError("exec: " + quoted + ": executable file not found in $PATH", code: 127)
    case guest_step_exec:
      return execution(string(guest_spawn_path(spawn)), quoted, error)
    default:
      return GuestError("start a process", errno: error)
    }
  }

  private static func execution(_ path: String, _ quoted: String, _ error: Int32) -> GuestError {
    let mode = guest_mode(path, 1)
    let kind = mode & UInt32(S_IFMT)
    if error == ENOENT {
      guard mode != 0 else { return GuestError("exec: " + quoted + ": no such file or directory", code: 127) }
      // The file is there: what runs it is not.
      guard let interpreter = Interpreter.find(path) else {
        return GuestError("exec: " + quoted, errno: error, code: 127)
      }
      return GuestError("exec: " + quoted + ": its interpreter " + interpreter + " is not in the image", code: 127)
    }
    if error == EACCES, kind == UInt32(S_IFDIR) { return GuestError("exec: " + quoted + ": is a directory", code: 126) }
    return GuestError("exec: " + quoted, errno: error, code: 126)
  }
}

/// What a file says runs it.
enum Interpreter {
  static func find(_ path: String) -> String? {
    guard let head = File.read(path, limit: 4096), head.count > 2 else { return nil }
    if head[0] == 35, head[1] == 33 { return ofScript(head) }
    if head.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]), head.count >= 64 { return ofELF(head) }
    return nil
  }

  private static func ofScript(_ head: Bytes) -> String? {
    let line = head.dropFirst(2).prefix { $0 != 10 }
    guard let word = line.split(whereSeparator: { $0 == 32 || $0 == 9 }).first else { return nil }
    return text(Bytes(word))
  }

  /// The path of PT_INTERP, where it lies in the file's first page, as linkers put it.
  private static func ofELF(_ head: Bytes) -> String? {
    guard var at = Int(exactly: read64(head, 32)) else { return nil }
    let size = Int(read16(head, 54))
    for _ in 0..<read16(head, 56) {
      guard at >= 0, at <= head.count - 56 else { return nil }
      if read32(head, at) == 3 {
        guard let offset = Int(exactly: read64(head, at + 8)), offset < head.count else { return nil }
        return text(Bytes(head[offset...].prefix { $0 != 0 }))
      }
      at += size
    }
    return nil
  }

  private static func read64(_ bytes: Bytes, _ offset: Int) -> UInt64 {
    UInt64(read32(bytes, offset)) | UInt64(read32(bytes, offset + 4)) << 32
  }
}
