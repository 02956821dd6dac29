import Glibc
import Testing

/// A database whose files are on a volume.
@Suite(.timeLimit(.minutes(10))) struct Database {
  /// What a commit was acknowledged for is there, whatever ended the VM.
  @Test func aVolumeKeepsWhatWasAcknowledged() async throws {
    try await Ignite.with { ignite in
      let script = """
        set -eu
        cd "$1"
        cp -r "$2" layout && mkdir -p tree/usr/bin && cp /usr/bin/sqlite3 tree/usr/bin/
        ldd /usr/bin/sqlite3 | grep -o '/[^ ]*' | while read -r file; do
          mkdir -p "tree$(dirname "$file")" && cp -L "$file" "tree$file"
        done
        tar -C tree --owner=0 --group=0 --numeric-owner -cf layer.tar .
        umoci --log error raw add-layer --image layout:test --tag db layer.tar
        chmod -R go+rX layout
        """
      try await Ignite.run(["bash", "-c", script, "database-image", ignite.folder, try await TestImage.layout()])
      try await ignite.succeed("image", "import", "oci:\(ignite.folder)/layout:db", "--name", "db")
      // Each row is printed once sqlite3 has committed it, by fsync.
      let insert = """
        cd /data && sqlite3 d 'PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY)' >/dev/null
        while sqlite3 d 'PRAGMA synchronous=FULL; INSERT INTO t DEFAULT VALUES; SELECT max(n) FROM t'; do :; done
        """
      var acknowledged = 0
      for (round, way) in ["hypervisor", "kill", "supervisor and hypervisor", "stop"].enumerated() {
        let name = "db\(round)"
        try await ignite.succeed("run", "-d", "--name", name, "-v", "data:/data", "db", "sh", "-c", insert)
        while Self.last(try await ignite.succeed("logs", "-n", "1", name)) < acknowledged + 5 {
          try Task.checkCancellation()
        }
        let vm = try await ignite.vm(name)
        switch way {
        case "hypervisor": kill(try #require(vm.hypervisor), SIGKILL)
        case "supervisor and hypervisor":
          kill(try #require(vm.supervisor), SIGKILL)
          kill(try #require(vm.hypervisor), SIGKILL)
        case "kill": try await ignite.succeed("kill", name)
        default: try await ignite.succeed("stop", "-t", "1", name)
        }
        try await ignite.succeed("wait", name)
        acknowledged = Self.last(try await ignite.succeed("logs", "-n", "1", name))
        try await ignite.succeed("rm", name)
        let count = try await ignite.succeed(
          "run", "--rm", "-v", "data:/data", "db", "sqlite3", "/data/d",
          "PRAGMA integrity_check; SELECT count(*) >= \(acknowledged) AND max(n) >= \(acknowledged) FROM t")
        #expect(count == "ok\n1", "\(way): \(count), \(acknowledged) were acknowledged")
      }
    }
  }

  private static func last(_ line: String) -> Int { Int(line) ?? 0 }
}
