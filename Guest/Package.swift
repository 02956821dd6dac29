// swift-tools-version: 6.1
import PackageDescription

// A package of its own: Embedded Swift cannot share a build with the rest. IgniteWire and IgniteArchive are the
// same sources as the host's.
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableExperimentalFeature("Embedded"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .unsafeFlags(["-wmo", "-parse-as-library"]),
]

let package = Package(
  name: "ignite-guest",
  products: [.executable(name: "ignite-init", targets: ["ignite-init"])],
  targets: [
    .target(name: "CGuest", cSettings: [.unsafeFlags(["-Os", "-ffunction-sections", "-fdata-sections"])]),
    .target(name: "CIgniteArchive", cSettings: [.unsafeFlags(["-Os", "-ffunction-sections", "-fdata-sections"])]),
    .target(name: "IgniteWire", swiftSettings: settings),
    .target(name: "IgniteArchive", dependencies: ["CIgniteArchive"], swiftSettings: settings),
    .executableTarget(
      name: "ignite-init",
      dependencies: ["IgniteWire", "IgniteArchive", "CGuest"],
      swiftSettings: settings,
      linkerSettings: [
        .unsafeFlags(["-static-executable", "-Xlinker", "--gc-sections"]),
        .linkedLibrary("m"),
      ]),
  ]
)
