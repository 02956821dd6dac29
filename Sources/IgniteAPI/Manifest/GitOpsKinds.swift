internal import IgniteSystem

/// Where manifests come from, and what brings about what they say. Fields are named as Flux names them where they mean the same
/// (https://fluxcd.io/flux/components/source/gitrepositories, …/kustomize/kustomizations).
public enum GitOps {
  public static let repository = "GitRepository"
  public static let directory = "Directory"
  public static let sync = "Sync"
  public static let sources = [repository, directory]

  /// An object with it is not pruned: `disabled`.
  public static let pruneKeys = ["ignite.weave.works/prune", "kustomize.toolkit.fluxcd.io/prune"]
  /// The revision that may remove more than half of a sync's inventory.
  public static let massDeletionKey = "ignite.weave.works/allow-mass-deletion"
  /// A moment; another one asks for a look at once.
  public static let requestKey = "ignite.weave.works/requested-at"
}

/// What becomes of what somebody changed by hand.
public enum DriftPolicy: String, Sendable, CaseIterable {
  /// It is brought back.
  case correct = "Correct"
  /// It is told, and stays.
  case report = "Report"
}

extension KindSchema {
  /// What keeps objects as a source has them.
  public static let gitOpsKinds = GitOps.sources + [GitOps.sync]

  public static let gitRepository = KindSchema(
    kind: GitOps.repository, names: ["gitrepository", "gitrepositories", "gitrepo"],
    help: "A git repository that is looked at again and again, and never written to.",
    spec: [
      Field("url", .text, required: true, .inPlace, "https://, ssh:// or file://; http:// to this machine alone."),
      Field(
        "ref",
        .record([
          Field("branch", .text, .inPlace, "Absent: the repository's own."),
          Field("tag", .text, .inPlace, "Instead of a branch."),
          Field("semver", .text, .inPlace, "The highest tag in a range, as \">=1.0 <2.0\"; instead of a tag."),
          Field("commit", .text, .inPlace, "40 hex digits; instead of all others."),
        ]), .inPlace, "What of it; the most specific counts."),
      Field("interval", .milliseconds, standard: .integer(60_000), .inPlace, "From look to look."),
      Field("timeout", .milliseconds, standard: .integer(60_000), .inPlace, "For one look."),
      Field(
        "secretRef", .record([Field("name", .text, required: true, .inPlace, "Of a Secret.")]), .inPlace,
        "Its keys: identity and known_hosts of ssh; username and password, or bearerToken, and ca.crt of https."),
      Field("suspend", .flag, standard: .bool(false), .inPlace, "It is not looked at."),
    ])

  public static let directory = KindSchema(
    kind: GitOps.directory, names: ["directory", "directories"],
    help: "A directory of this machine whose manifests are read as they change.",
    spec: [
      Field("path", .text, required: true, .inPlace, "Absolute."),
      Field("interval", .milliseconds, standard: .integer(60_000), .inPlace, "From look to look, besides each change."),
      Field("suspend", .flag, standard: .bool(false), .inPlace, "It is not looked at."),
    ])

  public static let sync = KindSchema(
    kind: GitOps.sync, names: ["sync", "syncs"],
    help: "Brings about what the manifests of a source say, and keeps it so.",
    spec: [
      Field(
        "sourceRef",
        .record([
          Field("kind", .word(GitOps.sources), required: true, .inPlace, "Of the source."),
          Field("name", .text, required: true, .inPlace, "Of the source."),
        ]), required: true, .inPlace, "Where the manifests come from."),
      Field("path", .text, standard: .string("./"), .inPlace, "Of a directory in it, with all below."),
      Field("prune", .flag, standard: .bool(true), .inPlace, "What is not in it any more is deleted."),
      Field(
        "interval", .milliseconds, standard: .integer(600_000), .inPlace, "From look to look, besides each revision."),
      Field(
        "retryInterval", .milliseconds, .inPlace,
        "After each failure; absent: two seconds, then twice as long each time, a minute at most."),
      Field("timeout", .milliseconds, standard: .integer(300_000), .inPlace, "For one roll-out."),
      Field("wait", .flag, standard: .bool(true), .inPlace, "It is Ready once all its objects are."),
      Field(
        "healthChecks",
        .list(
          .record([
            Field("kind", .text, required: true, .inPlace, "Of an object."),
            Field("name", .text, required: true, .inPlace, "Of an object."),
          ])), .inPlace, "Instead of all, these are to be ready."),
      Field(
        "dependsOn", .list(.record([Field("name", .text, required: true, .inPlace, "Of a Sync.")])), .inPlace,
        "Others that have to be Ready before it."),
      Field(
        "force", .flag, standard: .bool(false), .inPlace, "What cannot be changed in place is replaced, with its disk."),
      Field("suspend", .flag, standard: .bool(false), .inPlace, "Nothing is done."),
      Field("targetNamespace", .word(["default"]), .inPlace, "There is no other."),
      Field(
        "commonMetadata",
        .record([
          Field("labels", .map, .inPlace, "Over those of each object."),
          Field("annotations", .map, .inPlace, "Over those of each object."),
        ]), .inPlace, "What all objects have."),
      Field(
        "postBuild",
        .record([
          Field("substitute", .map, .inPlace, "Values of ${NAME} in the manifests."),
          Field(
            "substituteFrom",
            .list(
              .record([
                Field("kind", .word(configKinds), required: true, .inPlace, "ConfigMap or Secret."),
                Field("name", .text, required: true, .inPlace, "Of the object."),
                Field("optional", .flag, standard: .bool(false), .inPlace, "One that is not there is none."),
              ])), .inPlace, "More of them; the last one counts, and substitute before all."),
        ]), .inPlace, "What is put in before the manifests are read."),
      Field(
        "driftPolicy", .word(DriftPolicy.allCases.map(\.rawValue)), standard: .string(DriftPolicy.correct.rawValue),
        .inPlace,
        "What becomes of what somebody changed by hand."),
    ])
}
