// swift-tools-version: 6.1
import PackageDescription

// Versions are pinned exactly: Package.resolved is not kept in git.
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// A library of the product. Each may import only those listed before it.
func library(_ name: String, _ dependencies: [Target.Dependency] = [], _ linker: [LinkerSetting] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings, linkerSettings: linker)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
  name: "ignite",
  products: [.executable(name: "ignite", targets: ["ignite"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
    .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
    .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
    .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
  ],
  targets: [
    // C: Debian's libraries, linked from their archives so that the program carries them.
    .systemLibrary(name: "CExt2fs", providers: [.apt(["libext2fs-dev"])]),
    .systemLibrary(name: "CISAL", providers: [.apt(["libisal-dev"])]),
    .systemLibrary(name: "CLZ4", providers: [.apt(["liblz4-dev"])]),
    .systemLibrary(name: "CLZMA", providers: [.apt(["liblzma-dev"])]),
    .systemLibrary(name: "CZstd", providers: [.apt(["libzstd-dev"])]),
    .target(name: "CIgniteSystem"),
    .target(name: "CIgniteArchive"),

    library("IgniteSystem", ["CIgniteSystem"]),
    library("IgniteAPI", ["IgniteSystem", .product(name: "Yams", package: "Yams")]),
    library("IgniteWire"),
    library("IgniteArchive", ["CIgniteArchive"]),
    library(
      "IgniteOCI",
      [
        "IgniteSystem",
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    library(
      "IgniteImages", ["CIgniteSystem", "IgniteSystem", "IgniteOCI", "CExt2fs", "CISAL", "CLZ4", "CLZMA", "CZstd"],
      [":libext2fs.a", ":libcom_err.a", ":liblz4.a", ":liblzma.a", ":libzstd.a"].map { .linkedLibrary($0) } + [
        .linkedLibrary("isal")
      ]
    ),
    library("IgniteHypervisor", ["IgniteSystem", "IgniteWire", .product(name: "Crypto", package: "swift-crypto")]),
    library("IgniteNetwork", ["IgniteSystem"]),
    library("IgniteStore", ["IgniteSystem", "IgniteAPI", .product(name: "GRDB", package: "GRDB.swift")]),
    library("IgniteSupervisor", ["CIgniteSystem", "IgniteSystem", "IgniteWire", "IgniteHypervisor", "IgniteNetwork"]),
    library(
      "IgniteEngine",
      [
        "IgniteSystem", "IgniteAPI", "IgniteWire", "IgniteArchive", "IgniteOCI", "IgniteImages", "IgniteHypervisor",
        "IgniteNetwork", "IgniteStore", "IgniteSupervisor", .product(name: "Yams", package: "Yams"),
      ]),
    library(
      "IgniteSources", ["IgniteSystem", .product(name: "Crypto", package: "swift-crypto")]),
    library(
      "IgniteControl", ["IgniteSystem", "IgniteAPI", "IgniteEngine", "IgniteImages", "IgniteStore", "IgniteSources"]),
    library(
      "IgniteServer",
      [
        "IgniteSystem", "IgniteAPI", "IgniteEngine", "IgniteControl",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Logging", package: "swift-log"),
      ]),
    .executableTarget(
      name: "ignite",
      dependencies: [
        "CIgniteSystem", "IgniteSystem", "IgniteWire", "IgniteAPI", "IgniteOCI", "IgniteImages", "IgniteHypervisor",
        "IgniteNetwork", "IgniteEngine", "IgniteControl", "IgniteSupervisor", "IgniteServer",
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: settings),

    tests("IgniteSystemTests", ["IgniteSystem", "CIgniteSystem"]),
    tests("IgniteAPITests", ["IgniteAPI"]),
    tests("IgniteWireTests", ["IgniteWire"]),
    tests("IgniteArchiveTests", ["IgniteArchive"]),
    tests(
      "IgniteOCITests",
      [
        "IgniteOCI", "IgniteSystem", .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    tests("IgniteImagesTests", ["IgniteImages", "IgniteOCI", "IgniteSystem", "CIgniteSystem", "CExt2fs"]),
    tests("IgniteHypervisorTests", ["IgniteHypervisor", "IgniteSystem"]),
    tests("IgniteNetworkTests", ["IgniteNetwork", "IgniteSystem"]),
    tests("IgniteSupervisorTests", ["IgniteSupervisor", "IgniteHypervisor", "IgniteSystem", "IgniteWire"]),
    tests(
      "IgniteStoreTests", ["IgniteStore", "IgniteAPI", "IgniteSystem", .product(name: "GRDB", package: "GRDB.swift")]),
    tests(
      "IgniteEngineTests",
      ["IgniteEngine", "IgniteAPI", "IgniteOCI", "IgniteImages", "IgniteSystem", "IgniteSupervisor", "IgniteWire"]),
    tests("IgniteSourcesTests", ["IgniteSources", "IgniteSystem"]),
    tests("IgniteControlTests", ["IgniteControl", "IgniteEngine", "IgniteAPI", "IgniteSystem"]),
    tests(
      "IgniteServerTests",
      [
        "IgniteServer", "IgniteSystem", "IgniteEngine", .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
      ]),
    tests(
      "IgniteTests",
      ["ignite", "IgniteEngine", "IgniteOCI", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
    tests("EndToEnd", ["IgniteSystem", "CIgniteSystem", "IgniteWire", "IgniteAPI", "IgniteStore"]),
  ]
)
