/// How far one word is from another, for "did you mean".
public enum EditDistance {
  /// A letter more, less, another, or two exchanged (Damerau and Levenshtein's, restricted); of the first 40 bytes.
  public static func between(_ one: String, _ other: String) -> Int {
    let (a, b) = (Array(one.utf8.prefix(40)), Array(other.utf8.prefix(40)))
    var rows = [Array(0...b.count)]
    for i in 0..<a.count {
      var row = [i + 1]
      for j in 0..<b.count {
        var least = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
        row.append(least)
      }
      rows.append(row)
    }
    return rows[a.count][b.count]
  }

  /// The name that is near enough to be meant; nil where none is.
  public static func nearest(to word: String, in names: [String]) -> String? {
    names.map { (name: $0, distance: between(word, $0)) }
      .filter { $0.distance <= max(1, min(word.count, $0.name.count) / 3) }
      .min { $0.distance < $1.distance }?.name
  }
}
