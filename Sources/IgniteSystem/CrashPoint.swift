internal import Glibc

/// The steps between which an operation can be cut short, for tests: `IGNITE_CRASH_AT=<step>` ends the program by SIGKILL
/// where it comes to that step.
///
/// What is left then is what a power cut or an out-of-memory killer leaves; the next command, or `ignite gc`, has to
/// finish it or take it back.
public enum CrashPoint: String, CaseIterable, Sendable {
  // Making a VM.
  case createRemembered = "create.remembered"
  case createDirectories = "create.directories"
  case createDisk = "create.disk"
  // Starting it.
  case startPlanned = "start.planned"
  case startRemembered = "start.remembered"
  case startLaunched = "start.launched"
  // Its supervisor.
  case supervisorListening = "supervisor.listening"
  case supervisorNetwork = "supervisor.network"
  case supervisorMachine = "supervisor.machine"
  case supervisorBooted = "supervisor.booted"
  case supervisorRunning = "supervisor.running"
  case supervisorExited = "supervisor.exited"
  case supervisorDown = "supervisor.down"
  // Removing it.
  case removeRemembered = "remove.remembered"
  case removeEnded = "remove.ended"
  case removeFiles = "remove.files"
  case removeForgotten = "remove.forgotten"
  // Making and removing a volume.
  case volumeFile = "volume.file"
  case volumeForgotten = "volume.forgotten"
  // Making the volumes of a new VM.
  case createVolumes = "create.volumes"
  // Changing a VM that runs.
  case stopRemembered = "stop.remembered"
  case stopAsked = "stop.asked"
  case supervisorStopping = "supervisor.stopping"
  case pauseRemembered = "pause.remembered"
  case supervisorPaused = "supervisor.paused"
  case updateRemembered = "update.remembered"
  // Processes and copies in it.
  case execAsked = "exec.asked"
  case copyAsked = "copy.asked"
  case supervisorAsked = "supervisor.asked"
  // Importing and removing an image.
  case importDocuments = "import.documents"
  case importDisk = "import.disk"
  case importPlaced = "import.placed"
  case importRecorded = "import.recorded"
  case imageForgotten = "image.forgotten"
  // Importing and removing a kernel.
  case kernelPlaced = "kernel.placed"
  case kernelRecorded = "kernel.recorded"
  case kernelForgotten = "kernel.forgotten"
  // Making a template.
  case templateFrozen = "template.frozen"

  /// The variable's name.
  public static let variable = "IGNITE_CRASH_AT"

  private static let wanted: CrashPoint? = getenv(variable).flatMap { CrashPoint(rawValue: String(cString: $0)) }

  /// What a program that is started for an operation has to be told, too.
  public static var environment: [String: String] { wanted.map { [variable: $0.rawValue] } ?? [:] }

  /// Ends the program here, where that was asked for.
  public static func pass(_ point: CrashPoint) {
    guard wanted == point else { return }
    kill(getpid(), SIGKILL)
    while true { pause() }
  }
}
