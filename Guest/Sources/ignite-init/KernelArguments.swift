/// What the kernel's command line says to this program; `ignite.run` is for measurements without a host.
struct KernelArguments {
  /// `ignite.run=PATH`: run this program in the assembled root, then power off.
  var run: Bytes = []
  /// `ignite.arg=…`, repeated.
  var arguments: [Bytes] = []
  /// `ignite.modules=vdc`: the modules' disk.
  var modulesDevice: Bytes = []

  static func read() -> KernelArguments {
    var result = KernelArguments()
    guard let line = File.read("/proc/cmdline", limit: 8192) else { return result }
    for word in line.split(whereSeparator: { $0 == 32 || $0 == 10 }) {
      if let value = value(of: "ignite.run=", in: word) { result.run = value }
      if let value = value(of: "ignite.arg=", in: word) { result.arguments.append(value) }
      if let value = value(of: "ignite.modules=", in: word) { result.modulesDevice = value }
    }
    return result
  }

  private static func value(of name: StaticString, in word: Bytes.SubSequence) -> Bytes? {
    name.withUTF8Buffer { prefix in
      word.starts(with: prefix) ? Bytes(word.dropFirst(prefix.count)) : nil
    }
  }
}
