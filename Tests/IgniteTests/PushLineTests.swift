import IgniteOCI
import Synchronization
import Testing

@testable import ignite

@Suite struct PushLineTests {
  private func lines(_ events: [RegistryPush.Progress]) -> [String] {
    let lines = Mutex<[String]>([])
    let sink = PushLines { line in lines.withLock { $0.append(line) } }
    for event in events { sink.take(event) }
    return lines.withLock { $0 }
  }

  @Test func aLargeBlobIsToldByTenths() {
    let blob = Descriptor(mediaType: MediaType.ociLayer, digest: .sha256(of: [1]), size: 100 << 20)
    var events = (1...200).map { RegistryPush.Progress.sending(blob, done: $0 << 19) }
    // What is sent once more is not told once more.
    events += [.sending(blob, done: 1 << 20), .blob(blob, .sent)]
    let found = lines(events)
    #expect(found.count == 10)
    #expect(found.first == "\(blob.digest.short) 100MiB … 10 %")
    #expect(found.suffix(2) == ["\(blob.digest.short) 100MiB … 90 %", "\(blob.digest.short) 100MiB … sent"])
  }

  @Test func aSmallOneHasALineOfItsOwn() {
    let blob = Descriptor(mediaType: MediaType.ociLayer, digest: .sha256(of: [2]), size: 2048)
    let none = Descriptor(mediaType: MediaType.ociLayer, digest: .sha256(of: []), size: 0)
    let found = lines([
      .sending(blob, done: 1024), .sending(blob, done: 2048), .blob(blob, .mounted), .sending(none, done: 0),
      .blob(none, .present), .manifest(blob.digest),
    ])
    #expect(
      found == [
        "\(blob.digest.short) 2KiB … taken from another repository", "\(none.digest.short) 0B … already there",
        "manifest \(blob.digest.short) … sent",
      ])
  }
}
