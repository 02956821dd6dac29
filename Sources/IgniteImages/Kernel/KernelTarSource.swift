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
    var bytes: [UInt8] = []
    for (text, kind) in [(name, "L"), (link, "K")] as [(String, Character)] where text.utf8.count > 100 {
      let data = Array(text.utf8) + [0]
      bytes += block("././@LongLink", type: kind, size: UInt64(data.count), mode: 0o644, link: "")
      bytes += data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
    }
    return bytes + block(name, type: type, size: size, mode: mode, link: link)
  }

  private static func block(_ name: String, type: Character, size: UInt64, mode: UInt64, link: String) -> [UInt8] {
    var block = [UInt8](repeating: 0, count: 512)
    func put(_ bytes: some Collection<UInt8>, _ offset: Int) {
      block.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }
    func octal(_ value: UInt64, _ offset: Int, _ digits: Int) {
      let text = String(value, radix: 8)
      put(Array((String(repeating: "0", count: max(0, digits - text.utf8.count)) + text).utf8), offset)
    }
    put(name.utf8.prefix(100), 0)
    octal(mode, 100, 7)
    octal(0, 108, 7)
    octal(0, 116, 7)
    octal(size, 124, 11)
    octal(0, 136, 11)
    put([type.asciiValue ?? 0x30], 156)
    put(link.utf8.prefix(100), 157)
    put(Array("ustar  \0".utf8), 257)
    for index in 148..<156 { block[index] = 0x20 }
    octal(block.reduce(0) { $0 + UInt64($1) }, 148, 6)
    block[154] = 0
    return block
  }
}
