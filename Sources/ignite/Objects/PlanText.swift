internal import IgniteAPI
internal import IgniteControl
internal import IgniteSystem

/// A plan as Terraform shows one.
enum PlanText {
  static func lines(_ plan: ObjectPlan) -> [String] {
    var lines: [String] = []
    for change in plan.changes where change.action != .none {
      let owner = change.owner.map { " (\($0))" } ?? ""
      let reason = change.reason.map { ": \($0)" } ?? ""
      lines.append("\(sign(change.action)) \(change.title)\(owner) \(what(change.action))\(reason)")
      let width = change.changes.map(\.field.count).max() ?? 0
      for field in change.changes {
        guard let value = field.values(isNew: change.action == .create) else {
          lines.append("    \(field.field)   # \(field.unsaid)")
          continue
        }
        let name = field.field + String(repeating: " ", count: width - field.field.count)
        let forces = field.forcesReplacement && change.action != .create ? "   # forces replacement" : ""
        lines.append("    \(name) = \(value)\(forces)")
      }
    }
    if plan.isEmpty { return ["No changes: everything is as the manifests say."] }
    lines.append("")
    lines.append(summary(plan))
    return lines.map(Table.printable)
  }

  static func summary(_ plan: ObjectPlan) -> String {
    var parts = [
      "\(plan.count(.create)) to create", "\(plan.count(.update)) to change", "\(plan.count(.replace)) to replace",
      "\(plan.count(.delete)) to delete",
    ]
    if plan.count(.pending) > 0 { parts.append("\(plan.count(.pending)) pending") }
    return "Plan: " + parts.joined(separator: ", ") + "."
  }

  private static func sign(_ action: PlannedChange.Action) -> String {
    switch action {
    case .none: " "
    case .create: "+"
    case .update: "~"
    case .replace: "-/+"
    case .pending: "!"
    case .delete: "-"
    }
  }

  private static func what(_ action: PlannedChange.Action) -> String {
    switch action {
    case .none: "is as it is to be"
    case .create: "will be created"
    case .update: "will be changed in place"
    case .replace: "will be replaced, and its disk with it"
    case .pending: "differs in what cannot be changed in place; it stays as it is (updatePolicy: Replace replaces a VM)"
    case .delete: "will be deleted"
    }
  }
}
