internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

/// One object in an editor.
struct EditSession: Sendable {
  private let title: String
  private let engine: Engine
  /// As `get` prints it, without its status.
  private let original: String
  private let before: Manifest
  /// What tells whether somebody else has changed it meanwhile.
  private let version: JSONValue
  /// What was applied last; not shown, and none of the editor's business.
  private let lastApplied: String?

  /// - Throws: EngineError for what is not there, and for what belongs to another object.
  init(_ title: String, _ engine: Engine) async throws {
    self.title = title
    self.engine = engine
    var object = try await Self.object(title, engine)
    if let owner = try await Self.root(of: object, engine) {
      throw EngineError(
        .invalidArgument, "\(title) belongs to \(owner.kind)/\(owner.name)",
        advice: "edit it there: ignite edit \(owner.kind.lowercased())/\(owner.name)")
    }
    version = Self.version(of: object)
    lastApplied = object["metadata"]?["annotations"]?[Controller.lastAppliedKey]?.string
    object["status"] = nil
    if var metadata = object["metadata"], var annotations = metadata["annotations"] {
      annotations[Controller.lastAppliedKey] = nil
      metadata["annotations"] = annotations.fields.isEmpty ? nil : annotations
      object["metadata"] = metadata
    }
    original = try ManifestWriter.yaml([object])
    before = try Self.manifest(original)
  }

  func run() async throws {
    let file = try await ThreadExecutor.run { () throws in try EditedFile() }
    do {
      try await edit(file)
    } catch {
      CommandLineTool.say("what was edited is kept in \(file.path)")
      throw error
    }
    await ThreadExecutor.run { file.remove() }
  }

  private func edit(_ file: EditedFile) async throws {
    var (shown, last) = (EditedFile.head + original, original)
    while true {
      let text = try await file.edited(shown)
      if text.allSatisfy(\.isWhitespace) { return CommandLineTool.say("nothing was changed") }
      if text == original, last == original {
        guard Terminal.isTerminal(0) else {
          throw EngineError(.invalidArgument, "nothing was changed, and there is no terminal to edit it at")
        }
        return CommandLineTool.say("nothing was changed")
      }
      guard text != last else {
        throw EngineError(.invalidArgument, "nothing was changed that mends what was wrong")
      }
      if text == original { return CommandLineTool.say("nothing was changed") }
      do {
        let (manifest, plan, controller) = try await plan(text)
        return try await PlanRun.run(plan, [manifest], controller, agreed: true, exactly: true)
      } catch let error as ManifestError {
        (shown, last) = (EditedFile.head(with: error.description) + text, text)
      }
    }
  }

  /// - Throws: ManifestError for what can be mended in the editor.
  private func plan(_ text: String) async throws -> (Manifest, ObjectPlan, Controller) {
    var manifest = try Self.manifest(text)
    guard manifest.title == title else {
      throw ManifestError(
        "\(manifest.place): it has become \(manifest.title)", advice: "an object's kind and name cannot be changed")
    }
    for warning in manifest.warnings { CommandLineTool.say("warning: \(warning)") }
    guard Self.version(of: try await Self.object(title, engine)) == version else {
      throw EngineError(.wrongState, "\(title) was changed by others meanwhile", advice: "edit it anew")
    }
    // That was looked at just now, and by what was shown of it.
    manifest.resourceVersion = nil
    manifest.annotations[Controller.lastAppliedKey] = lastApplied
    let controller = Controller(engine: engine, edited: [title: before])
    return (manifest, try await controller.plan([manifest]), controller)
  }

  /// Lines are counted as the file has them when it is opened again.
  private static func manifest(_ text: String) throws(ManifestError) -> Manifest {
    let above = String(repeating: "\n", count: EditedFile.head(with: "").split(separator: "\n").count)
    let found = try ManifestReader.read(above + text, file: "the edited object")
    guard found.count == 1, let manifest = found.first else {
      throw ManifestError("there are \(found.count) objects", advice: "edit one at a time")
    }
    return manifest
  }

  private static func object(_ title: String, _ engine: Engine) async throws -> JSONValue {
    guard let (kind, name) = ObjectReference.parts(ofTitle: title), let schema = KindSchema.find(kind: kind),
      let row = try await ObjectRows(controller: Controller(engine: engine), schema: schema).read()
        .first(where: { $0.name == name })
    else { throw ObjectNames.absent(title) }
    return row.manifest
  }

  private static func version(of object: JSONValue) -> JSONValue {
    var rest = object
    (rest["metadata"], rest["status"]) = (nil, nil)
    let metadata = object["metadata"]
    return .array([metadata?["uid"] ?? .null, metadata?["labels"] ?? .null, rest])
  }

  /// The outermost of what the object belongs to; nil of one that belongs to nothing that is there.
  private static func root(of object: JSONValue, _ engine: Engine) async throws -> ObjectReference? {
    var found: ObjectReference?
    var next = object["metadata"]?["ownerReferences"]?.items.first.flatMap { reference -> ObjectReference? in
      guard let kind = reference["kind"]?.string, let name = reference["name"]?.string,
        let uid = reference["uid"]?.string
      else { return nil }
      return ObjectReference(kind: kind, name: name, uid: uid)
    }
    while let reference = next, let owner = try await engine.declared(kind: reference.kind, name: reference.name),
      owner.metadata.uid == reference.uid
    {
      found = reference
      next = owner.metadata.ownerReferences?.first
    }
    return found
  }
}
