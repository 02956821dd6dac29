/// The smallest thing that QEMU boots by PVH: an ELF file with some bytes of 32-bit code and the entry's note.
enum TinyKernel {
  /// Prints `ok` on the serial port, then waits for ever.
  static let idle = elf(print("ok\n") + halt)
  /// Prints, then ends the processor by a triple fault, as Linux reboots with `reboot=t`.
  static let reset = elf(print("bye\n") + tripleFault)

  private static let entry: UInt32 = 0x10_0000
  // cli; hlt; jmp -3
  private static let halt: [UInt8] = [0xfa, 0xf4, 0xeb, 0xfd]
  // lidt of a table without entries (its limit and base are the eight zero bytes at the end), then int3
  private static let tripleFault: [UInt8] = [0x31, 0xc0, 0x50, 0x50, 0x0f, 0x01, 0x1c, 0x24, 0xcc]

  /// mov esp, 0x90000; mov dx, 0x3f8; for each byte: mov al, byte; out dx, al
  private static func print(_ text: String) -> [UInt8] {
    [0xbc, 0x00, 0x00, 0x09, 0x00, 0x66, 0xba, 0xf8, 0x03] + text.utf8.flatMap { [0xb0, $0, 0xee] }
  }

  private static func elf(_ code: [UInt8]) -> [UInt8] {
    // Header of 64 bytes, two program headers of 56, the note of 20, the code.
    let noteOffset: UInt64 = 64 + 2 * 56
    let codeOffset: UInt64 = 256
    var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
    file += bytes(UInt16(2)) + bytes(UInt16(62)) + bytes(UInt32(1))
    file += bytes(UInt64(entry)) + bytes(UInt64(64)) + bytes(UInt64(0)) + bytes(UInt32(0))
    file += [64, 56, 2, 64, 0, 0].flatMap { bytes(UInt16($0)) }
    // PT_LOAD, readable and executable
    file += bytes(UInt32(1)) + bytes(UInt32(5)) + bytes(codeOffset) + bytes(UInt64(entry)) + bytes(UInt64(entry))
    file += bytes(UInt64(code.count)) + bytes(UInt64(code.count)) + bytes(UInt64(4096))
    // PT_NOTE
    file += bytes(UInt32(4)) + bytes(UInt32(4)) + bytes(noteOffset) + bytes(UInt64(0)) + bytes(UInt64(0))
    file += bytes(UInt64(20)) + bytes(UInt64(20)) + bytes(UInt64(4))
    // XEN_ELFNOTE_PHYS32_ENTRY (18), owner "Xen"
    file += bytes(UInt32(4)) + bytes(UInt32(4)) + bytes(UInt32(18)) + [0x58, 0x65, 0x6e, 0] + bytes(entry)
    file += [UInt8](repeating: 0, count: Int(codeOffset) - file.count) + code
    return file
  }

  private static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }
}
