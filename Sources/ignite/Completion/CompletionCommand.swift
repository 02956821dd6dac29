internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages

struct CompletionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "completion",
    abstract: "Print a shell's completion script, which knows VMs, images and kernels by name.",
    discussion: """
      bash: source <(ignite completion bash)
      zsh:  ignite completion zsh > a folder of $fpath, as _ignite
      fish: ignite completion fish > ~/.config/fish/completions/ignite.fish
      """)

  @Argument(help: "bash, zsh or fish.", completion: .list(["bash", "zsh", "fish"]))
  var shell: String

  func run() throws {
    guard let shell = CompletionShell(rawValue: shell) else {
      throw EngineError(
        .invalidArgument, "there is no completion for the shell \"\(shell)\"", advice: "write bash, zsh or fish")
    }
    var script = Ignite.completionScript(for: shell)
    if shell == .bash { script += Self.wholeWords }
    // Of the cursor's place in a word fish 3 tells at a terminal only; a word's part ahead of it always.
    script.replace("(__ignite_tokens -tC)", with: #"(string length -- "$(__ignite_tokens -tc)")"#)
    Output.line(script)
  }

  /// bash breaks words at colons, which images' names have; ignite is asked with the words as they stand on the line.
  private static let wholeWords = #"""


    _ignite_whole_words() {
        local rest="${COMP_LINE}" word
        local -a words=()
        local -i index cword=0
        for index in "${!COMP_WORDS[@]}"; do
            word="${COMP_WORDS[index]}"
            if [[ "${#words[@]}" -gt 0 && -n "${word}" && "${rest}" == "${word}"*                 && ("${word}" == :* || "${words[-1]}" == *:) ]]; then
                words[-1]+="${word}"
            else
                rest="${rest#"${rest%%[![:blank:]]*}"}"
                words+=("${word}")
            fi
            rest="${rest#"${word}"}"
            [[ "${index}" -eq "${COMP_CWORD}" ]] && cword=$((${#words[@]} - 1))
        done
        local -a COMP_WORDS=("${words[@]}")
        local -i COMP_CWORD="${cword}"
        local current="${words[cword]}"
        _ignite "${1}" "${current}" "${words[cword > 0 ? cword - 1 : 0]}"
        # What stands ahead of the last colon is on the line already.
        if [[ "${current}" == *:* && "${COMP_WORDBREAKS}" == *:* ]]; then
            COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
        fi
    }
    complete -o filenames -F _ignite_whole_words ignite
    """#
}

/// Names that are asked for at the moment of completion; where there is no state yet, or it cannot be read, none.
extension CompletionKind {
  static let images = live { engine in
    try await engine.imageRecords().map { ImageNames.familiar($0.image.name) }
  }
  static let volumes = live { engine in try await engine.volumes().map(\.volume.metadata.name) }
  static let templates = live { engine in try await engine.templateSummaries().map { String($0.key.prefix(12)) } }
  static let kernels = live { engine in try await engine.kernelRecords().map(\.kernel.name) }
  static let vms = vms { _ in true }
  static let runningVMs = vms { $0.isActive }
  static let unpausedVMs = vms { $0 == .running }
  static let pausedVMs = vms { $0 == .paused }
  static let stoppedVMs = vms { !$0.isActive }

  private static func vms(_ suits: @escaping @Sendable (VMPhase) -> Bool) -> CompletionKind {
    live { engine in try await engine.vms().filter { suits($0.status.phase) }.map(\.metadata.name) }
  }

  private static func live(_ names: @escaping @Sendable (Engine) async throws -> [String]) -> CompletionKind {
    .custom { words, _, prefix in
      guard let engine = try? await engine(words), let names = try? await names(engine) else { return [] }
      let suitable = names.filter { $0.hasPrefix(prefix) }
      // zsh takes a description behind a colon.
      guard CompletionShell.requesting == .zsh else { return suitable }
      return suitable.map { $0.replacing(":", with: "\\:") }
    }
  }

  /// The state that the command line being completed means.
  private static func engine(_ words: [String]) async throws -> Engine? {
    func value(_ flag: String) -> String? {
      for (index, word) in words.enumerated() {
        if word == flag, index + 1 < words.count { return words[index + 1] }
        if word.hasPrefix(flag + "=") { return String(word.dropFirst(flag.count + 1)) }
      }
      return nil
    }
    let environment = ProcessInfo.processInfo.environment
    let paths = try Paths(
      dataFlag: value("--data-dir"), runFlag: value("--run-dir"), environment: environment)
    // A look for names makes nothing.
    guard FileManager.default.fileExists(atPath: paths.data + "/ignite.db") else { return nil }
    return try await Engine.open(
      paths: paths, configuration: EngineConfiguration.load(environment: environment), environment: environment)
  }
}
