internal import ArgumentParser
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

struct DescribeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "describe",
    abstract: "Tell of objects what they are, how far they are, and what has happened to them.",
    discussion: "For people; programs read get -o json. They are named as vm/web app/shop, or by a kind: vm web db.")

  @OptionGroup var global: GlobalOptions

  @Option(
    name: [.customShort("l"), .customLong("selector")],
    help: ArgumentHelp(
      "Those of a kind with these labels: app=shop,tier!=db,env in (a,b),!old.", valueName: "selector"))
  var selector: String?

  @Argument(
    help: "Objects, as vm/web; or a kind, and names behind it; a kind alone is all of it.",
    completion: .list(KindSchema.all.flatMap(\.names)))
  var objects: [String]

  func run() async throws {
    let selector = try selector.map(ObjectNames.selector)
    let controller = Controller(engine: try await global.engine())
    let found: [ObjectDescription]
    if objects.count == 1, let kind = objects.first, !kind.contains("/") {
      found = try await ObjectDescription.all(try ObjectNames.schema(kind).kind, controller)
        .filter { selector?.suits($0.metadata.labels ?? [:]) ?? true }
    } else {
      if selector != nil { throw ValidationError("-l chooses among a kind's objects; name the kind alone") }
      found = try await Self.named(try ObjectNames.titles(objects), controller)
    }
    let events = try await controller.events()
    for (index, object) in found.enumerated() {
      // As kubectl parts them.
      if index > 0 { Output.line("\n") }
      FileHandleOutput.standardOutput.write(try await object.text(events))
    }
  }

  private static func named(_ titles: [String], _ controller: Controller) async throws -> [ObjectDescription] {
    var byTitle: [String: ObjectDescription] = [:]
    for kind in Set(titles.compactMap { $0.split(separator: "/").first.map(String.init) }) {
      for object in try await ObjectDescription.all(kind, controller) { byTitle[object.title] = object }
    }
    return try titles.map { title in
      guard let object = byTitle[title] else {
        throw ObjectNames.absent(title)
      }
      return object
    }
  }
}
