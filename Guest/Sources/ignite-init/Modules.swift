import CGuest

/// The kernel's modules that are needed before the root is there.
enum Modules {
  /// Inserts `/modules/<name>` for each line of /modules.list, in its order, and removes the files: the initrd's memory
  /// is the VM's.
  static func load() {
    guard let list = File.read("/modules.list") else { return }
    for line in list.split(separator: 10) {
      let path = "/modules/" + String(decoding: line, as: UTF8.self)
      insert(path)
      unlink(path)
    }
  }

  static func insert(_ path: String) {
    let descriptor = guest_open(path, O_RDONLY, 0)
    if descriptor < 0 || guest_finit_module(descriptor) != 0, guest_errno() != EEXIST {
      Console.log("module " + path + ": " + errorText(guest_errno()))
    }
    if descriptor >= 0 { close(descriptor) }
  }
}
