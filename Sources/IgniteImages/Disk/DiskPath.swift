/// A path of the image as its components, cleaned as text: empty ones and `.` left out, `..` taken with what it undoes,
/// and never above the root. An absolute path begins at the image's root too.
struct DiskPath {
  let bytes: [UInt8]
  private(set) var components: [Range<Int>] = []

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    var start = 0
    while start < bytes.count {
      var end = start
      while end < bytes.count, bytes[end] != 0x2f { end += 1 }
      if end - start == 2, bytes[start] == 0x2e, bytes[start + 1] == 0x2e {
        _ = components.popLast()
      } else if end > start, end - start > 1 || bytes[start] != 0x2e {
        components.append(start..<end)
      }
      start = end + 1
    }
  }

  /// All but the last component.
  var parent: ArraySlice<Range<Int>> { components.dropLast() }
  /// The last component; nil for the root.
  var last: Range<Int>? { components.last }
}

/// The components of a symbolic link's target, in order; `..` stays, since it goes up from where the link has led.
func linkComponents(_ target: [UInt8]) -> [ArraySlice<UInt8>] {
  target.split(separator: 0x2f).filter { !($0.count == 1 && $0.first == 0x2e) }
}
