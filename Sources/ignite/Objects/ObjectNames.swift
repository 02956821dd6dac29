internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

/// Objects as the command line names them.
enum ObjectNames {
  /// `vm/web`, or a kind and names behind it, as `VM/web`.
  static func titles(_ words: [String]) throws -> [String] {
    guard let first = words.first, !first.contains("/") else {
      return try words.map { word in
        let parts = word.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts[1].isEmpty else {
          throw EngineError(.invalidArgument, "\"\(word)\" names no object", advice: "write it as vm/web")
        }
        let kind = try schema(parts[0]).kind
        return "\(kind)/\(whole(parts[1], kind))"
      }
    }
    let kind = try schema(first).kind
    guard words.count > 1 else {
      throw EngineError(.invalidArgument, "no name was given", advice: "write \(first) NAME, or \(first)/NAME")
    }
    return words.dropFirst().map { "\(kind)/\(whole($0, kind))" }
  }

  /// An object's name as it is kept: of an image with registry and tag.
  static func whole(_ name: String, _ kind: String) -> String {
    kind == HostKind.image ? HostKind.canonical(name) : name
  }

  /// Of an object that is not there.
  static func absent(_ title: String) -> EngineError {
    let plural = ObjectReference.parts(ofTitle: title).flatMap { KindSchema.find(kind: $0.kind)?.names.last }
    return EngineError(.notFound, "there is no \(title)", advice: "list them: ignite get \(plural ?? "vms")")
  }

  /// `-l` of the command line.
  static func selector(_ text: String) throws -> LabelSelector {
    guard let selector = LabelSelector(text) else {
      throw EngineError(
        .invalidArgument, "the selector \"\(text)\" makes no sense", advice: "write it as app=shop,tier!=db")
    }
    return selector
  }

  /// `--field-selector` of the command line.
  /// - Parameter known: the fields by which such objects can be chosen.
  static func fields(_ text: String, of what: String, _ known: [String]) throws -> FieldSelector {
    guard let selector = FieldSelector(text) else {
      throw EngineError(
        .invalidArgument, "the field selector \"\(text)\" makes no sense",
        advice: "write it as metadata.name=web,status.phase!=Running, with \(FieldSelector.most) terms at most")
    }
    for path in selector.requirements.map(\.path) where !known.contains(path) {
      let near = EditDistance.nearest(to: path, in: known).map { "did you mean \($0)? " } ?? ""
      throw EngineError(
        .invalidArgument, "no \(what) can be chosen by the field \"\(path)\"",
        advice: "\(near)there are \(known.joined(separator: ", "))")
    }
    return selector
  }

  static func schema(_ word: String) throws -> KindSchema {
    if let schema = KindSchema.all.first(where: { $0.names.contains(word.lowercased()) }) { return schema }
    let near = EditDistance.nearest(to: word.lowercased(), in: KindSchema.all.flatMap(\.names))
    throw EngineError(
      .notFound, "no kind is named \"\(word)\"",
      advice: near.map { "did you mean \($0)?" }
        ?? "known are \(KindSchema.all.map { $0.names[0] }.joined(separator: ", "))")
  }
}
