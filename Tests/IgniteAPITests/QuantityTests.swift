import FoundationEssentials
import IgniteAPI
import Testing

@Suite struct Quantities {
  @Test(arguments: [
    ("512m", 512 << 20), ("512MB", 512 << 20), ("512MiB", 512 << 20), ("2g", 2 << 30), ("1024", 1024),
    ("4 GB", 4 << 30),
    ("0", 0), ("3K", 3072),
  ])
  func commandLineSizesAreBinary(text: String, bytes: UInt64) {
    #expect(ByteQuantity(commandLine: text)?.bytes == bytes)
  }

  @Test(arguments: ["", "m", "1.5g", "-1", "12x", "99999999999999999999", "16777216T", "1e3"])
  func whatIsNoSizeIsRefused(text: String) {
    #expect(ByteQuantity(commandLine: text) == nil)
  }

  @Test func manifestsTakeBinaryUnitsOnly() {
    #expect(ByteQuantity(manifest: "512MiB")?.bytes == 512 << 20)
    #expect(ByteQuantity(manifest: "4Gi")?.bytes == 4 << 30)
    #expect(ByteQuantity(manifest: "512MB") == nil)
    #expect(ByteQuantity(manifest: "512m") == nil)
  }

  @Test(arguments: [0, 1, 1023, 1024, 1536, 1 << 20, 512 << 20, 5 << 30, (1 << 40) + 1] as [UInt64])
  func theTextIsExact(bytes: UInt64) {
    let quantity = ByteQuantity(bytes: bytes)
    #expect(ByteQuantity(manifest: quantity.description) == quantity)
  }

  @Test func peopleSeeRoundedSizes() {
    #expect(ByteQuantity(bytes: 28 << 20).rounded == "28MiB")
    #expect(ByteQuantity(bytes: 1_500_000).rounded == "1.4MiB")
    #expect(ByteQuantity(bytes: 12).rounded == "12B")
  }
}

@Suite struct Names {
  @Test(arguments: ["web", "a", "my-vm.1", "0x"]) func namesThatDo(name: String) {
    #expect(ObjectName.problem(with: name) == nil)
  }

  @Test(arguments: ["", "Web", "-a", "a-", "a..b", "a_b", "ä", String(repeating: "a", count: 64), "a/b", "a b"])
  func namesThatDoNot(name: String) {
    #expect(ObjectName.problem(with: name) != nil)
  }

  @Test func madeUpNamesAndUIDsAreValid() {
    for _ in 0..<200 {
      #expect(ObjectName.problem(with: ObjectName.random()) == nil)
      let uid = ObjectName.makeUID()
      #expect(uid.count == 16 && uid.allSatisfy { $0.isHexDigit && !$0.isUppercase })
    }
  }
}

@Suite struct VMs {
  @Test func aVMSurvivesItsJSON() throws {
    var spec = VMSpec(image: .init(oci: "docker.io/library/nginx:1.27"))
    spec.resources.memory = .mebibytes(256)
    spec.process.args = ["a b", "ü"]
    spec.network.ports = [.init(address: "127.0.0.1", host: 8080, vm: 80, protocol: "TCP")]
    let vm = VM(metadata: ObjectMeta(name: "web"), spec: spec)
    let again = try APICoding.decoder().decode(VM.self, from: APICoding.encoder().encode(vm))
    #expect(again == vm)
  }

  @Test func aConditionsTimeMovesWithItsStatus() {
    var status = VMStatus()
    let then = Date(timeIntervalSince1970: 1)
    let now = Date(timeIntervalSince1970: 2)
    status.set(Condition(type: "Isolated", status: false, reason: "Emulated", message: "a", time: then))
    status.set(Condition(type: "Isolated", status: false, reason: "Emulated", message: "b", time: now))
    #expect(status.conditions.count == 1)
    #expect(status.conditions.first?.message == "b")
    #expect(status.conditions.first?.lastTransitionTime == then)
    status.set(Condition(type: "Isolated", status: true, reason: "Hardware", message: "c", time: now))
    #expect(status.conditions.first?.lastTransitionTime == now)
  }
}
