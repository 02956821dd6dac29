/// Files of a kernel's tree as a tar stream in ustar, names of more than 100 bytes in GNU's way: the same files give the
/// same bytes, wherever they come from.
final class KernelTarSource: ByteSource {
  private let tree: KernelTree
  private var names: ArraySlice<String>
  /// What is to be given out next, and the file whose content follows.
  private var pending: [UInt8] = []
  private var given = 0
  private var file: FileByteSource?
  private var fileSize: UInt64 = 0
  private var left: UInt64 = 0
  private var ended = false

  /// - Parameter names: of the tree's nodes, in the order of the stream.
  init(_ tree: KernelTree, _ names: [String]) {
    self.tree = tree
    self.names = names[...]
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    if buffer.isEmpty { return 0 }
    while true {
      if given < pending.count {
        let count = min(buffer.count, pending.count - given)
        buffer.copyBytes(from: pending[given..<given + count])
        given += count
        return count
      }
      if let file {
        if left > 0 {
          let wanted = Int(min(UInt64(buffer.count), left))
          let count = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
          guard count > 0 else { throw ImageError(.io, "a file of the kernel became shorter while it was read") }
          left -= UInt64(count)
          return count
        }
        self.file = nil
        put([UInt8](repeating: 0, count: Int((512 - fileSize % 512) % 512)))
      } else if let name = names.popFirst() {
        try begin(name)
      } else if ended {
        return 0
      } else {
        ended = true
        put([UInt8](repeating: 0, count: 1024))
      }
    }
  }

  private func put(_ bytes: [UInt8]) {
    pending = bytes
    given = 0
  }

  private func begin(_ name: String) throws(ImageError) {
    switch tree.nodes[name] {
    case .file(let path, let size):
      let source = try FileByteSource(path: path)
      guard source.remaining == Int64(size) else {
        throw ImageError(.io, "\(path) has changed while it was read", advice: "try again")
      }
      put(Self.header(name, type: "0", size: size, mode: 0o644, link: ""))
      file = source
      fileSize = size
      left = size
    case .link(let target): put(Self.header(name, type: "2", size: 0, mode: 0o777, link: target))
    case nil: put([])
    }
  }

  private static func header(_ name: String, type: Character, size: UInt64, mode: UInt64, link: String) -> [UInt8] {
    func block(_ name: String, _ type: Character, _ size: UInt64, _ mode: UInt64, _ link: String) -> [UInt8] {
      TarStreamWriter.header(name: name, size: size, type: type.asciiValue ?? 0, mode: mode, link: link)
    }
    var bytes: [UInt8] = []
    for (text, kind) in [(name, "L"), (link, "K")] as [(String, Character)] where text.utf8.count > 100 {
      let data = Array(text.utf8) + [0]
      bytes += block("././@LongLink", kind, UInt64(data.count), 0o644, "")
      bytes += data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
    }
    return bytes + block(name, type, size, mode, link)
  }
}
