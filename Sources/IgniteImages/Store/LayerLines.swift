internal import IgniteOCI

/// What is to be shown of an import: a state a layer.
struct LayerLines {
  private enum Phase { case waiting, fetching, fetched, applied }

  private struct Line {
    var digest: Digest
    var total: Int64
    var done: Int64 = 0
    var phase = Phase.waiting
    var reused = false
  }

  private var status = ""
  private var layers: [Line] = []
  private var finished = false

  /// Takes an event in; returns the line that a log should have for it, nil where none is due.
  mutating func take(_ event: ImportProgress) -> String? {
    switch event {
    case .resolving(let name):
      status = "resolving \(ImageImporter.printable(name))"
      return status
    case .reading(let name, let done):
      status = "reading \(ImageImporter.printable(name))" + (done > 0 ? "  \(byteCount(done))" : "")
      return done > 0 ? nil : status
    case .resolved(let descriptors):
      layers = descriptors.map { Line(digest: $0.digest, total: $0.size) }
      return nil
    case .layer(let position, _, let done, _):
      guard layers.indices.contains(position) else { return nil }
      if layers[position].phase == .waiting { layers[position].phase = .fetching }
      layers[position].done = done
      return nil
    case .fetched(let position, let digest, let reused):
      // A layer that the image has twice is transferred once.
      for index in layers.indices where layers[index].digest == digest {
        layers[index].done = layers[index].total
        layers[index].reused = reused
        if layers[index].phase != .applied { layers[index].phase = .fetched }
      }
      guard layers.indices.contains(position) else { return nil }
      return "\(title(position)) \(byteCount(layers[position].total)) … \(reused ? "already here" : "done")"
    case .applied(let position, _):
      guard layers.indices.contains(position) else { return nil }
      layers[position].phase = .applied
      layers[position].done = layers[position].total
      return nil
    case .reusedDisk:
      for index in layers.indices { layers[index].phase = .applied }
      for index in layers.indices { layers[index].reused = true }
      return "the base disk is already here"
    case .waiting:
      status = "waiting for another import of the same layers"
      return status
    case .done(let image):
      finished = true
      status =
        "imported \(ImageImporter.printable(image.name)) (\(image.manifestDigest.short), \(byteCount(image.size)))"
      return status
    }
  }

  /// The lines for a terminal, none longer than `width` columns; fewer than `height` of them.
  func lines(width: Int, height: Int, colours: Bool) -> [String] {
    var result: [String] = []
    if layers.count + 1 > height {
      let applied = layers.filter { $0.phase == .applied }.count
      let done = layers.reduce(Int64(0)) { $0 &+ $1.done }
      let total = layers.reduce(Int64(0)) { $0 &+ $1.total }
      result.append(cut("layers \(applied)/\(layers.count)  \(byteCount(done)) / \(byteCount(total))", width))
    } else {
      for position in layers.indices { result.append(line(position, width, colours)) }
    }
    result.insert(cut(status, width), at: finished ? result.count : 0)
    return result
  }

  private func line(_ position: Int, _ width: Int, _ colours: Bool) -> String {
    let layer = layers[position]
    let size = byteCount(layer.total)
    let state: String
    switch layer.phase {
    case .waiting: state = "\(size)  waiting"
    case .fetching:
      let percent = layer.total > 0 ? Int(Double(layer.done) / Double(layer.total) * 100) : 100
      state = "\(byteCount(layer.done)) / \(size)  \(percent) %"
    case .fetched: state = "\(size)  \(layer.reused ? "already here" : "fetched")"
    case .applied: state = "\(size)  done"
    }
    let text = cut("\(title(position))  \(state)", width)
    return colours && layer.phase == .applied ? "\u{1b}[32m\(text)\u{1b}[0m" : text
  }

  private func title(_ position: Int) -> String {
    "layer \(position + 1)/\(layers.count) \(layers[position].digest.short)"
  }

  private func cut(_ text: String, _ width: Int) -> String { width > 0 ? String(text.prefix(width)) : "" }
}

/// Bytes for people, in decimal units with one digit: `28.1 MB`.
func byteCount(_ bytes: Int64) -> String {
  var value = Double(max(bytes, 0))
  var unit = 0
  let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
  while value >= 999.95, unit < units.count - 1 {
    value /= 1000
    unit += 1
  }
  if unit == 0 { return "\(Int(value)) B" }
  let tenths = Int((value * 10).rounded())
  return "\(tenths / 10).\(tenths % 10) \(units[unit])"
}
