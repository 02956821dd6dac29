import Foundation
import IgniteSystem
import Testing

@testable import IgniteOCI

/// Small texts from registries, users and the environment, damaged at random: what is taken is of the right form, and
/// nothing traps.
///
/// FUZZ_SECONDS says how long (default 10), FUZZ_SEED where the random numbers start; a failure names its seed.
@Suite struct RegistryHeaderFuzz {
  private static let samples = [
    #"Bearer realm="https://auth.test/token",service="reg",scope="repository:a/b:pull,push" , Basic realm=x"#,
    "Sun, 06 Nov 1994 08:49:37 GMT", "3600", "http://user:p%40ss@proxy.test:3128/", "[fd00::1]:443", "10.0.0.0/8",
    "https://mirror.test:5000/prefix/more", "https://index.docker.io/v1/", "registry.test:5000/team/app:tag@sha256:00",
    #"{"auths":{"a.test/b":{"auth":"YTpi"},"https://c.test/v1/":{"identitytoken":"x"}},"credHelpers":{"d":"e"}}"#,
  ]

  private func mutated(_ random: inout SplitMix) -> String {
    var bytes = Array(Self.samples[random.below(Self.samples.count)].utf8)
    for _ in 0...random.below(6) {
      let position = random.below(bytes.count)
      switch random.below(4) {
      case 0: bytes.insert(UInt8(random.below(256)), at: position)
      case 1 where !bytes.isEmpty: bytes.remove(at: position)
      case 2 where !bytes.isEmpty: bytes[position] = Array(#""\=,:/@[]%{}* "#.utf8)[random.below(14)]
      default: bytes += bytes.suffix(random.below(20))
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func damagedTextsAreTakenOrRefused() {
    let environment = ProcessInfo.processInfo.environment
    let seconds = environment["FUZZ_SECONDS"].flatMap(Double.init) ?? 10
    let first = environment["FUZZ_SEED"].flatMap(UInt64.init) ?? UInt64(Date().timeIntervalSince1970)
    let end = ContinuousClock.now + .seconds(seconds)
    var seed = first
    var taken = 0
    repeat {
      for _ in 0..<100 {
        var random = SplitMix(seed: seed)
        let text = mutated(&random)
        if let challenge = BearerChallenge([text]) {
          taken += 1
          #expect(challenge.realm.utf8.count <= text.utf8.count, "FUZZ_SEED=\(seed)")
        }
        if let wait = RegistryClient.Response.retryAfter(text, now: 784_111_777) {
          taken += 1
          #expect(wait >= .zero, "FUZZ_SEED=\(seed)")
        }
        if let proxy = try? Proxy(text) {
          taken += 1
          #expect((1...65535).contains(proxy.port) && !proxy.host.isEmpty, "FUZZ_SEED=\(seed)")
        }
        if let mirror = try? RegistryEndpoint.mirror(text, of: "r.test") {
          taken += 1
          #expect(mirror.base.path.hasPrefix("/v2/") || mirror.base.path == "/v2", "FUZZ_SEED=\(seed)")
          #expect(mirror.base.user == nil && mirror.base.query == nil, "FUZZ_SEED=\(seed)")
        }
        _ = ProxyEnvironment.matches(text, host: "10.1.2.3", port: 443)
        _ = ProxyEnvironment.matches(text, host: "registry.test", port: 443)
        if let (registry, key) = try? RegistryClient.loginKey(text) {
          taken += 1
          #expect(key.hasPrefix(registry) && !registry.contains("/"), "FUZZ_SEED=\(seed)")
        }
        if let document = try? decodeDocument(JSONValue.self, Array(text.utf8), "x"),
          let credential = try? CredentialFile.credential(in: document, host: "a.test", repository: "b")
        {
          taken += 1
          #expect(credential.isUsable, "FUZZ_SEED=\(seed)")
        }
        seed &+= 1
      }
    } while ContinuousClock.now < end
    print("fuzz: seeds \(first) to \(seed &- 1), \(taken) taken")
    #expect(taken > 0)
  }
}
