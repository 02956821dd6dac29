/// All modules of one kernel and how they depend on each other.
struct ModuleTree: Sendable {
  /// The most modules that a kernel may have; Debian's largest has some 4,500.
  static let moduleLimit = 50_000
  /// The most bytes that the modules may say of themselves in all.
  static let informationLimit = 64 << 20

  /// In the order of `modules.order`, those that it does not list at the end, by path.
  let modules: [KernelModule]
  /// The modules that are part of the kernel itself, from `modules.builtin`.
  let builtin: [String]
  private let indices: [String: Int]
  private let builtinNames: Set<String>

  /// - Parameters:
  ///   - modules: in any order; of several with one name the one that `modules.order` lists first counts.
  ///   - order: the lines of `modules.order`.
  ///   - builtin: the lines of `modules.builtin`.
  init(_ modules: [KernelModule], order: [Substring], builtin: [Substring]) {
    let places = Dictionary(order.enumerated().map { (unpackedPath($1), $0) }, uniquingKeysWith: { first, _ in first })
    self.modules =
      modules
      .map { (place: places[unpackedPath($0.path[...])] ?? Int.max, module: $0) }
      .sorted { ($0.place, $0.module.path) < ($1.place, $1.module.path) }
      .map(\.module)
    indices = Dictionary(
      self.modules.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
    var names: Set<String> = []
    self.builtin = builtin.compactMap { KernelModule.name(ofFile: $0) }.filter { names.insert($0).inserted }
    builtinNames = names
  }

  func isBuiltin(_ name: String) -> Bool { builtinNames.contains(name) }

  /// The module of that name; nil where there is none, or where it is built in.
  subscript(name: String) -> KernelModule? { indices[name].map { modules[$0] } }

  /// The modules that must be loaded for `names`, themselves included, each after those that it needs. What is built in
  /// is left out.
  ///
  /// - Throws: `corrupt` where modules need each other in a circle, or need one that is not there.
  func loadOrder(for names: [String]) throws(ImageError) -> [KernelModule] {
    var order: [KernelModule] = []
    var states = [Visit](repeating: .unseen, count: modules.count)
    for name in names { try visit(name, neededBy: nil, strict: true, &states, &order) }
    return order
  }

  private enum Visit { case unseen, underWay, done }

  /// Depth first, with a stack of its own: a chain of hostile modules must not overflow the thread's.
  private func visit(
    _ name: String, neededBy: String?, strict: Bool, _ states: inout [Visit], _ order: inout [KernelModule]
  ) throws(ImageError) {
    guard let first = try index(of: name, neededBy: neededBy, strict: strict), states[first] == .unseen else { return }
    states[first] = .underWay
    var stack = [(module: first, next: 0)]
    while let top = stack.last {
      let module = modules[top.module]
      guard top.next < module.dependencies.count else {
        states[top.module] = .done
        order.append(module)
        stack.removeLast()
        continue
      }
      stack[stack.count - 1].next += 1
      let dependency = module.dependencies[top.next]
      guard let index = try index(of: dependency, neededBy: module.name, strict: strict) else { continue }
      switch states[index] {
      case .done: continue
      case .underWay:
        throw ImageError(
          .corrupt, "the modules \(displayName(module.name.utf8)) and \(displayName(dependency.utf8)) need each other")
      case .unseen:
        states[index] = .underWay
        stack.append((index, 0))
      }
    }
  }

  private func index(of name: String, neededBy: String?, strict: Bool) throws(ImageError) -> Int? {
    if let index = indices[name] { return index }
    if !strict || isBuiltin(name) { return nil }
    let needed = neededBy.map { ", which \(displayName($0.utf8)) needs" } ?? ""
    throw ImageError(.corrupt, "the package lacks the module \(displayName(name.utf8))\(needed)")
  }

  /// What each module needs, directly and through others, the last to be loaded first, as `modules.dep` has it. A
  /// dependency that is not in the package is left out, as depmod does.
  ///
  /// - Throws: `corrupt` for modules that need each other in a circle, `limitExceeded` for absurdly many dependencies.
  func closures() throws(ImageError) -> [[Int]] {
    var states = [Visit](repeating: .unseen, count: modules.count)
    var order: [KernelModule] = []
    for module in modules { try visit(module.name, neededBy: nil, strict: false, &states, &order) }
    var rank = [Int](repeating: 0, count: modules.count)
    for (place, module) in order.enumerated() { if let index = indices[module.name] { rank[index] = place } }

    // In load order all that a module needs has its closure already.
    var closures = [[Int]](repeating: [], count: modules.count)
    var total = 0
    for module in order {
      guard let index = indices[module.name] else { continue }
      var needed: Set<Int> = []
      for name in module.dependencies {
        guard let dependency = indices[name] else { continue }
        needed.insert(dependency)
        needed.formUnion(closures[dependency])
      }
      total += needed.count
      guard total <= 4_000_000 else { throw ImageError(.limitExceeded, "the modules have too many dependencies") }
      closures[index] = needed.sorted { rank[$0] > rank[$1] }
    }
    return closures
  }
}

/// `modules.order` always says `.ko`, whatever the modules are packed with.
private func unpackedPath(_ path: Substring) -> String {
  for suffix in [".xz", ".gz", ".zst"] where path.hasSuffix(".ko" + suffix) {
    return String(path.dropLast(suffix.count))
  }
  return String(path)
}
