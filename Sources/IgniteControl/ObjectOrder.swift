internal import IgniteAPI
internal import IgniteSystem

/// Which object comes after which.
enum ObjectOrder {
  /// Titles of what an object needs to be there before it: its owner, what it is made with, what it depends on.
  static func prerequisites(of manifest: Manifest) -> [String] {
    var titles = manifest.dependsOn + [manifest.owner, manifest.rollsAfter].compactMap(\.self)
    if manifest.kind == VM.kind {
      titles += (manifest.given["volumes"]?.items ?? []).compactMap { mount in
        mount["volume"]?["name"]?.string.map { "\(Volume.kind)/\($0)" }
      }
      titles += manifest.configTitles
      if let image = manifest.given["image"]?["oci"]?.string {
        titles.append("\(HostKind.image)/\(HostKind.canonical(image))")
      }
      if let kernel = manifest.given["kernel"]?["oci"]?.string { titles.append("\(HostKind.kernel)/\(kernel)") }
    }
    return titles
  }

  /// What others are made with, and make none of: begun with first, and gone last.
  static func isGround(_ kind: String) -> Bool {
    kind == Volume.kind || KindSchema.configKinds.contains(kind) || HostKind.all.contains(kind)
  }

  /// Each after what it needs; else as they stand, volumes, configuration, images and kernels first.
  /// - Throws: ManifestError that names a circle.
  static func sorted(_ manifests: [Manifest]) throws(ManifestError) -> [Manifest] {
    let inOrder = manifests.filter { isGround($0.kind) } + manifests.filter { !isGround($0.kind) }
    let byTitle = Dictionary(inOrder.map { ($0.title, $0) }) { first, _ in first }
    // A set is ready with the last of its VMs: who depends on it comes after them.
    let parts = Dictionary(grouping: inOrder.filter { $0.owner != nil }) { $0.owner ?? "" }
    var (sorted, done, path, onPath) = ([Manifest](), Set<String>(), [String](), Set<String>())
    /// Iterative, for chains may be long: an object is left once all that it needs is done.
    func visit(_ first: Manifest) throws(ManifestError) {
      var stack: [(manifest: Manifest, needs: [String])] = []
      func enter(_ manifest: Manifest) {
        path.append(manifest.title)
        onPath.insert(manifest.title)
        let needs = prerequisites(of: manifest) + manifest.dependsOn.flatMap { (parts[$0] ?? []).map(\.title) }
        stack.append((manifest, needs.reversed()))
      }
      enter(first)
      while var top = stack.popLast() {
        guard let need = top.needs.popLast() else {
          sorted.append(top.manifest)
          done.insert(top.manifest.title)
          onPath.remove(path.removeLast())
          continue
        }
        stack.append(top)
        guard !done.contains(need), let other = byTitle[need] else { continue }
        if onPath.contains(need), let begin = path.firstIndex(of: need) {
          throw ManifestError(
            "\(top.manifest.place): objects depend on each other in a circle: "
              + (path[begin...] + [need]).joined(separator: " -> "), advice: "leave one dependsOn out")
        }
        enter(other)
      }
    }
    for manifest in inOrder where !done.contains(manifest.title) { try visit(manifest) }
    return sorted
  }

  /// VMs before the sets and apps that they belong to; volumes last but for those.
  static func removal(_ changes: [PlannedChange]) -> [PlannedChange] {
    func rank(_ kind: String) -> Int {
      switch kind {
      case VM.kind: 0
      case VMSet.kind: 1
      case Volume.kind: 2
      case ConfigMap.kind, Secret.kind: 3
      case HostKind.image, HostKind.kernel: 5
      default: 4
      }
    }
    var seen = Set<String>()
    return changes.enumerated().sorted { (rank($0.element.kind), $0.offset) < (rank($1.element.kind), $1.offset) }
      .map(\.element).filter { seen.insert($0.title).inserted }
  }
}
