internal import ArgumentParser
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

struct EditCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "edit", abstract: "Change an object in an editor: edit vm/web.",
    discussion: """
      The object is opened as get -o yaml prints it, by IGNITE_EDITOR, VISUAL, EDITOR or vi, and what was changed is applied once the \
      editor ends: to edit is to agree. What is wrong is told at the top of the file, which is opened again. A field that is taken out goes \
      back to its default. The status is 1 where something differs that cannot be changed in place.
      """)

  @OptionGroup var global: GlobalOptions

  @Argument(help: "An object, as vm/web; or a kind and a name.", completion: .list(KindSchema.all.flatMap(\.names)))
  var object: [String]

  func run() async throws {
    let titles = try ObjectNames.titles(object)
    guard titles.count == 1, let title = titles.first else {
      throw ValidationError("one object is edited at a time: edit vm/web")
    }
    try await Interrupts.run { _ in
      let session = try await EditSession(title, try await global.engine())
      try await session.run()
    }
  }
}
