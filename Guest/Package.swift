// swift-tools-version: 6.1
import PackageDescription

// A package of its own: Embedded Swift cannot share a build with the rest. IgniteWire is the same source as the host's.
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
    .target(name: "IgniteWire", swiftSettings: settings),
    .executableTarget(
      name: "ignite-init",
      dependencies: ["IgniteWire", "CGuest"],
      swiftSettings: settings,
      linkerSettings: [
        .unsafeFlags(["-static-executable", "-Xlinker", "--gc-sections"]),
        .linkedLibrary("m"),
      ]),
  ]
)
