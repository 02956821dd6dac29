import FoundationEssentials
import Glibc
import Testing

/// Limits by cgroup v2, whatever this host has: in a VM, whose hierarchy is v2 alone, Ignite runs with the driver that does nothing.
@Suite(
  .timeLimit(.minutes(10)), .enabled(if: Ignite.isRoot, "cgroups are root's, and so are the VM's host directories"))
struct LimitsByV2 {
  /// What is run in the VM: `sh SCRIPT DATA PROGRAM IMAGE`. It prints `NAME=VALUE` lines.
  private static let script = """
    mkdir -p /lib /sbin /run
    mount --bind /usr/lib /lib
    mount --bind /usr/sbin /sbin
    ln -s usr/lib64 /lib64
    /usr/bin/cp -a --sparse=always "$1" /data
    export IGNITE_DATA_DIR=/data IGNITE_RUN_DIR=/run/ignite IGNITE_TEMPLATES=manual IGNITE_DRIVER=does-nothing HOME=/root
    ignite() { $as "$program" "$@" 2>/tmp/errors || { echo "failed=$*: $(cat /tmp/errors)"; exit 1; }; }
    show() { what=$1; shift; for file; do echo "$what $file=$(tr '\\n' ';' <$cgroup/$file)"; done; }
    field() { sed -n "s/^$1 //p" $cgroup/cpu.stat; }
    program=$2 image=$3 as=
    disk=$(cat /sys/block/vda/dev)
    echo "disk=$disk"
    echo "hierarchy=$(grep -c ' - cgroup2 ' /proc/self/mountinfo) $(grep -c ' - cgroup ' /proc/self/mountinfo)"

    uid=$(ignite run -d --name one --cpus 0.5 -c 512 --blkio-weight 500 --device-read-bps /dev/vda:1mb \\
      --device-write-iops /dev/vda:50 "$image" sleep 3600) || { echo "$uid"; exit 1; }
    cgroup=/sys/fs/cgroup/ignite/$uid
    show run cpu.max cpu.weight io.max io.weight
    for pid in $(cat $cgroup/cgroup.procs); do echo "member=$(tr '\\0' ' ' </proc/$pid/cmdline)"; done
    echo "processes=$(grep -l '^ignite-spaw[n]' /proc/[0-9]*/cmdline | wc -l)"

    # Two programs that want more than they may have.
    begun=$(/usr/bin/date +%s%3N)
    sh -c "echo 0 >$cgroup/cgroup.procs; exec /usr/bin/dd if=/dev/vda of=/dev/null iflag=direct bs=256k count=16 status=none"
    echo "milliseconds=$(($(/usr/bin/date +%s%3N) - begun))"
    echo "read=$(sed -n "s/^$disk rbytes=\\([0-9]*\\) .*/\\1/p" $cgroup/io.stat)"
    ignite update --cpus 0.05 --cpu-shares 0 --blkio-weight 0 --device-write-iops /dev/vda:0 one >/tmp/said
    show update cpu.max cpu.weight io.max io.weight
    before=$(field nr_throttled)
    sh -c "echo 0 >$cgroup/cgroup.procs; while :; do :; done" & busy=$!
    until [ $(field nr_throttled) -ge $((before + 10)) ]; do sleep 0.1; done
    echo throttled=10
    kill -9 $busy
    wait

    ignite rm -f one >/tmp/said
    [ -e $cgroup ] || echo removed=one
    spec="image: {oci: $image}, process: {args: [sleep, '3600']}"
    head="apiVersion: ignite.weave.works/v1beta1\\nkind: VM\\nmetadata: {name: two}"
    manifest() { printf "$head\\nspec: {$spec$1}\\n" >/tmp/two.yaml; ignite apply -y -f /tmp/two.yaml >/tmp/said; }
    manifest ", limits: {cpuMillis: 1000, ioWeight: 200, devices: [{path: /dev/vda, writeBytes: 2Mi}]}"
    cgroup=$(find /sys/fs/cgroup/ignite -mindepth 1 -type d)
    show apply cpu.max io.max io.weight
    manifest ""
    show again cpu.max io.max io.weight

    # An ordinary user, to whom a cgroup is delegated; then one whose cgroup has processes of its own.
    delegate() { mkdir -p $1; chown 1000 $1 $1/cgroup.procs $1/cgroup.subtree_control; echo $$ >$2/cgroup.procs; }
    /usr/bin/cp -a --sparse=always "$1" /own
    mkdir /run/own
    chown -R 1000 /own /run/own
    export IGNITE_DATA_DIR=/own IGNITE_RUN_DIR=/run/own/run HOME=/run/own
    as="/usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups"
    mkdir -p /sys/fs/cgroup/user/shell
    chown 1000 /sys/fs/cgroup/user/shell /sys/fs/cgroup/user/shell/cgroup.procs
    delegate /sys/fs/cgroup/user /sys/fs/cgroup/user/shell
    cgroup=/sys/fs/cgroup/user/ignite/$(ignite run -d --cpus 0.5 --device-read-bps /dev/vda:1mb "$image" sleep 3600)
    show user cpu.max io.max
    echo "user members=$(wc -l <$cgroup/cgroup.procs)"
    delegate /sys/fs/cgroup/full /sys/fs/cgroup/full
    (ignite run -d --cpus 0.5 "$image" sleep 3600)
    echo end=
    """

  @Test func theyHoldAndGo() async throws {
    try await Ignite.with { ignite in
      // A data directory for the one within.
      let inner = ignite.folder + "/inner"
      try await Ignite.run(["mkdir", inner])
      let host = Ignite(folder: inner)
      try await host.succeed("kernel", "import", try await Seed.kernel(in: inner))
      try await host.succeed("image", "import", "oci:\(try await TestImage.layout()):test", "--name", Ignite.image)
      try await Ignite.run(["rm", inner + "/kernel.deb"])
      try Self.script.write(toFile: inner + "/script", atomically: false, encoding: .utf8)

      var options = ["run", "--rm", "--cpus", "2", "-m", "1g", "-v", "\(inner):/inner:ro"]
      for path in try await directories() { options += ["-v", "\(path):\(path):ro"] }
      if let libexec = host.libexec { options += ["-e", "IGNITE_LIBEXEC=\(libexec)"] }
      let result = try await ignite(
        options + [Ignite.image, "sh", "/inner/script", "/inner/data", Ignite.program, Ignite.image])
      let said = "\(result.text)\(result.errorText)"
      try #require(result.status == 0, "\(said)")
      let lines = result.text.split(separator: "\n")
      func value(_ name: String) -> String? {
        lines.first { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.utf8.count + 1)) }
      }

      let disk = try #require(value("disk"))
      #expect(value("hierarchy") == "1 0")
      #expect(value("run cpu.max") == "50000 100000;" && value("run cpu.weight") == "20;", "\(said)")
      #expect(value("run io.max") == "\(disk) rbps=1048576 wbps=max riops=max wiops=50;", "\(said)")
      #expect(value("run io.weight") == "default 4950;", "\(said)")
      // Supervisor and stand-in, and no process of the VM's is elsewhere.
      let members = lines.filter { $0.hasPrefix("member=") }
      #expect(
        members.count == 2 && members.count { $0.hasPrefix("member=ignite-spawn --does-nothing ") } == 1, "\(said)")
      #expect(value("processes") == "2", "\(said)")

      // 4 MiB at 1 MiB a second; the kernel lets some through at once.
      #expect(try #require(value("milliseconds").flatMap { Int($0) }) >= 2500, "\(said)")
      #expect(try #require(value("read").flatMap { Int($0) }) >= 4 << 20, "\(said)")
      #expect(value("update cpu.max") == "5000 100000;" && value("update cpu.weight") == "100;", "\(said)")
      #expect(value("update io.max") == "\(disk) rbps=1048576 wbps=max riops=max wiops=max;", "\(said)")
      #expect(value("update io.weight") == "default 100;" && value("throttled") == "10", "\(said)")
      #expect(value("removed") == "one", "\(said)")

      // What a manifest no longer says is lifted.
      #expect(value("apply cpu.max") == "100000 100000;" && value("apply io.weight") == "default 1920;", "\(said)")
      #expect(value("apply io.max") == "\(disk) rbps=max wbps=2097152 riops=max wiops=max;", "\(said)")
      #expect(value("again cpu.max") == "max 100000;" && value("again io.weight") == "default 100;", "\(said)")
      #expect(value("again io.max") == "", "\(said)")

      #expect(value("user cpu.max") == "50000 100000;" && value("user members") == "2", "\(said)")
      #expect(value("user io.max") == "\(disk) rbps=1048576 wbps=max riops=max wiops=max;", "\(said)")
      let refusal = "/sys/fs/cgroup/full has processes of its own, which belong in a cgroup below it"
      #expect(value("failed")?.hasPrefix("run -d --cpus 0.5 ") == true && result.text.contains(refusal), "\(said)")
      #expect(lines.last == "end=", "\(said)")
    }
  }

  /// The directories of the host that the program needs: the C library and tools, its own, its guest's, and those of its libraries.
  private func directories() async throws -> [String] {
    let libraries = try await Ignite.run(["ldd", Ignite.program]).text.split(separator: "\n")
      .compactMap { $0.split(separator: " ").first { $0.hasPrefix("/") } }
    func parent(_ path: some StringProtocol) -> String {
      path.split(separator: "/").dropLast().map { "/" + $0 }.joined()
    }
    let wanted =
      [parent(parent(Ignite.program)), Ignite(folder: "/").libexec].compactMap(\.self) + libraries.map { parent($0) }
    var paths = ["/usr"]
    for path in Set(wanted).sorted(by: { $0.utf8.count < $1.utf8.count })
    where !["/lib/", "/lib64/"].contains(where: { "\(path)/".hasPrefix($0) }) {
      if !paths.contains(where: { "\(path)/".hasPrefix($0 + "/") }) { paths.append(path) }
    }
    return paths
  }
}
