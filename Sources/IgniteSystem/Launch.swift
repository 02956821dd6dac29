internal import CIgniteSystem
internal import Glibc

/// Starts a program; returns once it runs. Blocking, for the few milliseconds that this takes.
///
/// The process is a child of the caller, who learns its end from `LaunchedProcess.exited()`.
/// - Throws: SystemError that names the program, the step and what the step was done on; no process is left then.
public func launch(_ request: LaunchRequest) throws(SystemError) -> LaunchedProcess {
  let name = request.executable.split(separator: "/").last.map(String.init) ?? request.executable
  let places = request.descriptors.map(\.place)
  guard Set(places).count == places.count, places.allSatisfy({ $0 >= 3 && $0 < 1024 }) else {
    throw SystemError("start \(name): descriptor places \(places)", code: EINVAL)
  }
  let null = try FileDescriptor.open("/dev/null", O_RDWR)
  let standard = [request.standardInput, request.standardOutput, request.standardError].map { $0 ?? null.number }
  let sources = standard + request.descriptors.map(\.source)
  let procs = try request.cgroup.map { group throws(SystemError) in try group.openMembers() } ?? []
  let groupNumbers = procs.map(\.number)
  defer { withExtendedLifetime(procs) {} }
  let mounts = request.isolation?.mountPlan() ?? []
  let groups = request.isolation?.deviceGroups() ?? []
  let limits = request.limits.map { ignite_limit(resource: $0.resource, soft: $0.soft, hard: $0.hard) }

  let strings = CStrings()
  let environment = request.environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
  let rawMounts = mounts.map { mount in
    ignite_mount(
      kind: Int32(mount.kind.rawValue), mode: mount.mode, flags: mount.flags,
      source: strings.add(mount.source), target: strings.add(mount.target))
  }
  var result = ignite_launch_result()
  let status = strings.withArray(request.arguments) { arguments in
    strings.withArray(environment) { environment in
      sources.withUnsafeBufferPointer { sources in
        ([0, 1, 2] + places).withUnsafeBufferPointer { places in
          limits.withUnsafeBufferPointer { limits in
            groups.withUnsafeBufferPointer { groups in
              rawMounts.withUnsafeBufferPointer { rawMounts in
                groupNumbers.withUnsafeBufferPointer { groupNumbers in
                  var launch = ignite_launch()
                  launch.executable = strings.add(request.executable)
                  launch.arguments = arguments
                  launch.environment = environment
                  launch.working_directory = request.workingDirectory.map { strings.add($0) } ?? nil
                  launch.sources = sources.baseAddress
                  launch.places = places.baseAddress
                  launch.descriptors = UInt32(sources.count)
                  launch.cgroups = groupNumbers.baseAddress
                  launch.cgroup_count = UInt32(groupNumbers.count)
                  launch.new_session = request.newSession ? 1 : 0
                  launch.keeps_rights = request.keepsRights ? 1 : 0
                  launch.limits = limits.baseAddress
                  launch.limit_count = UInt32(limits.count)
                  if let isolation = request.isolation {
                    launch.isolated = 1
                    launch.uid = isolation.uid
                    launch.gid = isolation.gid
                    launch.groups = groups.baseAddress
                    launch.group_count = UInt32(groups.count)
                    launch.root_options = strings.add("size=\(isolation.rootSize),nr_inodes=4096,mode=0755")
                    launch.mounts = rawMounts.baseAddress
                    launch.mount_count = UInt32(rawMounts.count)
                  }
                  return ignite_launch(&launch, &result)
                }
              }
            }
          }
        }
      }
    }
  }
  guard status == 0 else { throw launchError(name: name, request: request, mounts: mounts, result: result) }
  return LaunchedProcess(
    identity: ProcessIdentity(pid: result.pid, startTime: result.start_time), pidfd: FileDescriptor(result.pidfd))
}

/// A failed step as words: which program, which step, on what, and the system's reason.
private func launchError(
  name: String, request: LaunchRequest, mounts: [Isolation.PlannedMount], result: ignite_launch_result
) -> SystemError {
  let step = ignite_launch_step(rawValue: UInt32(bitPattern: result.step))
  let index = Int(result.index)
  let mount = mounts.indices.contains(index) ? mounts[index] : nil
  var advice: String?
  let subject: String
  switch step {
  case IGNITE_STEP_EXECUTE:
    subject = " \(request.executable)"
    if result.error == ENOENT { advice = "check that \(request.executable) is installed" }
  case IGNITE_STEP_DIRECTORY: subject = " \(request.workingDirectory ?? "/")"
  case IGNITE_STEP_CGROUP: subject = " \(request.cgroup?.path ?? "")"
  case IGNITE_STEP_SOURCE: subject = " \(mount?.source ?? "")"
  case IGNITE_STEP_MAKE, IGNITE_STEP_TARGET, IGNITE_STEP_MOUNT, IGNITE_STEP_READ_ONLY:
    subject = " /\(mount?.target ?? "")"
    if mount?.kind == .processes { advice = "isolation as root needs Linux 5.8 or later" }
  case IGNITE_STEP_NAMESPACE where result.error == EPERM:
    subject = ""
    advice = "isolation needs root's rights (CAP_SYS_ADMIN)"
  case IGNITE_STEP_IDENTITY:
    subject = request.isolation.map { " \($0.uid):\($0.gid)" } ?? ""
  case IGNITE_STEP_DESCRIPTOR:
    let places = [0, 1, 2] + request.descriptors.map(\.place)
    subject = places.indices.contains(index) ? " \(places[index])" : ""
  default: subject = ""
  }
  let words = String(cString: ignite_launch_step_name(result.step))
  return SystemError("start \(name): cannot \(words)\(subject)", code: result.error, advice: advice)
}

/// C strings that live as long as this object.
private final class CStrings {
  private var owned: [UnsafeMutablePointer<CChar>] = []

  deinit { owned.forEach { free($0) } }

  func add(_ string: String) -> UnsafePointer<CChar>? {
    guard let copy = strdup(string) else { return nil }
    owned.append(copy)
    return UnsafePointer(copy)
  }

  /// Calls `body` with a NULL-terminated array.
  func withArray<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>?) -> Result
  ) -> Result {
    let pointers: [UnsafeMutablePointer<CChar>?] =
      strings.map { add($0).map { UnsafeMutablePointer(mutating: $0) } } + [nil]
    return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
  }
}
