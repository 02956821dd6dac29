internal import FoundationEssentials
internal import IgniteSystem
internal import IgniteWire

/// The files that the guest is being given.
struct GivenFilesState {
  /// The agent's stream of it; nil before, and after.
  var stream: UInt32?
  var sent = 0
  var credit = Wire.initialCredit
  /// What the guest says of what it could not write.
  var complaint: [UInt8] = []
}

/// Files that the plan brings: the guest unpacks them once its mounts are there, and before its process starts.
extension Supervisor {
  private static let mostComplaint = 4096

  /// Gives the guest its files, and then starts its process.
  func giveFiles() {
    guard plan.files != nil else { return startProcess() }
    lastAgentStream += 1
    given = GivenFilesState(stream: lastAgentStream)
    var request = CopyInRequest(path: [47])
    (request.isArchive, request.keepsOwners, request.keepsDirectories) = (true, true, true)
    agent?.send(Frame(.request, stream: lastAgentStream, payload: request.encoded()))
  }

  func startProcess() {
    agent?.send(Frame(.request, stream: Self.mainStream, payload: plan.process.request().encoded()))
  }

  func handleGiving(_ frame: Frame) {
    guard let stream = given.stream else { return }
    switch frame.type {
    case .response:
      let response = try? Response(decoding: frame.payload)
      guard let response, response.code == 0 else {
        return fail("its files could not be given: \(response?.text ?? "the guest's answer makes no sense")")
      }
      sendFiles(stream)
    case .credit:
      guard let bytes = frame.number.map({ Self.granted($0, beside: given.credit) }) else { return }
      given.credit += bytes
      sendFiles(stream)
    case .data:
      let room = Self.mostComplaint - given.complaint.count
      if room > 0 { given.complaint += frame.payload.prefix(room) }
      agent?.send(.credit(stream: stream, channel: frame.channel, bytes: frame.payload.count))
    case .exit:
      agent?.send(Frame(.acknowledge, stream: stream))
      given.stream = nil
      let status = try? ExitStatus(decoding: frame.payload)
      guard status?.shellStatus == 0 else {
        let words = String(decoding: given.complaint, as: UTF8.self).split(separator: "\n").first.map(String.init)
        return fail("its files could not be written: \(words ?? "the guest does not say why")")
      }
      startProcess()
    default: break
    }
  }

  private func sendFiles(_ stream: UInt32) {
    guard let files = plan.files, given.sent <= files.count else { return }
    while given.sent < files.count {
      let count = min(files.count - given.sent, given.credit, Wire.maximumPayload)
      guard count > 0 else { return }
      let start = files.startIndex + given.sent
      agent?.send(
        Frame(.data, stream: stream, channel: .standardInput, payload: Array(files[start..<start + count])))
      given.sent += count
      given.credit -= count
    }
    // Told once.
    given.sent += 1
    agent?.send(Frame(.end, stream: stream, channel: .standardInput))
  }
}
