import Testing

@testable import IgniteHypervisor

@Suite struct TemplateIdentityTests {
  /// Must not change without a new format: every template on every host would be made anew.
  @Test func theKeyIsWhatItWas() {
    #expect(TemplateScratch.identity().key.hex == "b232ceb874f69484b235fb5876055fc1")
  }

  static let changes: [@Sendable (inout TemplateIdentity) -> Void] = [
    { $0.format += 1 }, { $0.hypervisor = "Other" }, { $0.version += "1" }, { $0.programSize += 1 },
    { $0.programTime += 1 }, { $0.kernel += "0" }, { $0.initrd += "0" }, { $0.arguments.append("") },
    { $0.arguments[0] += "x" }, { $0.arguments.swapAt(0, 1) }, { $0.processor = "x" }, { $0.cpus += 1 },
    { $0.memoryBytes += 1 },
  ]

  @Test(arguments: changes.indices) func everyFieldIsPartOfTheKey(index: Int) {
    var identity = TemplateScratch.identity()
    Self.changes[index](&identity)
    #expect(identity.key != TemplateScratch.identity().key)
  }

  @Test func theKernelsNameIsNot() {
    var identity = TemplateScratch.identity()
    identity.kernelName = "another"
    #expect(identity.key == TemplateScratch.identity().key)
  }

  /// Fields that run together are not the same.
  @Test func fieldsEndWhereTheyEnd() {
    var one = TemplateScratch.identity()
    var other = one
    one.arguments = ["ab", "c"]
    other.arguments = ["a", "bc"]
    #expect(one.key != other.key)
    one = other
    one.version += other.kernel
    one.kernel = ""
    #expect(one.key != other.key)
  }

  @Test(arguments: [
    "", "0", String(repeating: "g", count: 32), String(repeating: "A", count: 32),
    String(repeating: "0", count: 33), "../" + String(repeating: "0", count: 29),
    String(repeating: "0", count: 31) + "/",
  ])
  func whatIsNoKeyIsRefused(text: String) {
    #expect(TemplateKey(text) == nil)
  }
}
