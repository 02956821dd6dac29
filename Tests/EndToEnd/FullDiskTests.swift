import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// A file system without room: a small tmpfs in a mount namespace of its own, which takes root to mount.
@Suite(.timeLimit(.minutes(5)), .enabled(if: Ignite.isRoot, "root is needed to mount a small file system"))
struct FullDisks {
  /// Runs a script with a tmpfs of that size at `$data`, where the program under test, `$ignite`, keeps its state.
  private func run(_ ignite: Ignite, size: String, _ script: String) async throws -> Program.Result {
    var program = ignite.command([])
    let all = """
      set -u
      ignite=$1 data=$2
      mkdir -p "$data"
      mount -t tmpfs -o size=\(size),mode=700 tmpfs "$data"
      \(script)
      """
    program.arguments =
      ["unshare", "-m", "bash", "-c", all, "full-disk", Ignite.program, ignite.data].withAbsoluteFirst()
    return try await program.run()
  }

  private func used(_ text: String) -> [Int64] { text.matches(of: /used=(\d+)/).compactMap { Int64($0.1) } }

  /// Known sizes are compared with what is free, and nothing is fetched.
  @Test func layersThatCannotFitAreNotFetched() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await BuiltImage.layout(in: ignite.folder, "head -c 8000000 /dev/urandom > tree/large")
      let result = try await run(
        ignite, size: "4m", "$ignite image import oci:\(layout):test; echo status=$?; ls $data/content/blobs/sha256")
      #expect(result.text.contains("status=1"))
      #expect(result.text.split(separator: "\n").count <= 3, "\(result.text)")
      for word in [ignite.data, "MB at least", "free", "--data-dir"] {
        #expect(result.errorText.contains(word), "\(result.errorText)")
      }
    }
  }

  /// What fills up on the way is told with the file system and the bytes, and all of it is given back.
  @Test func aDiskThatDoesNotFitIsGivenBack() async throws {
    try await Ignite.withEmpty { ignite in
      // Packed a hundredth of what it is unpacked.
      let layout = try await BuiltImage.layout(
        in: ignite.folder, "yes 'a line that is written again and again' | head -c 60000000 > tree/large")
      let result = try await run(
        ignite, size: "24m",
        """
        $ignite image ls >/dev/null
        echo used=$(du -s --block-size=1 $data | cut -f1)
        $ignite image import oci:\(layout):test; echo status=$?
        echo used=$(du -s --block-size=1 $data | cut -f1)
        ls -A $data/content/ingest $data/disks $data/content/blobs/sha256 | grep -v : | grep . && echo left
        $ignite image ls -q
        """)
      #expect(result.text.contains("status=1"), "\(result.text)")
      #expect(!result.text.contains("left"), "\(result.text)")
      for word in ["the file system \(ignite.data) is full", "were free", "are needed", "No space left on device"] {
        #expect(result.errorText.contains(word), "\(result.errorText)")
      }
      let used = used(result.text)
      try #require(used.count == 2)
      // The database may have grown by a page or two.
      #expect(used[1] - used[0] < 1 << 20, "\(used)")
    }
  }

  /// Where not a byte is left, what is there can still be listed and removed.
  @Test func aFullDiskIsEmptied() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      let result = try await run(
        ignite, size: "24m",
        """
        $ignite image import oci:\(layout):test --name one >/dev/null
        head -c 1G /dev/zero > $data/filler 2>/dev/null
        echo free=$(stat -f -c %a $data)
        $ignite image ls --format '{{.Name}}' && $ignite system df >/dev/null && $ignite image prune -a -f
        echo status=$? left=$(ls $data/disks $data/content/blobs/sha256 | grep -v : | grep -c .)
        """)
      #expect(result.text.contains("free=0\none:latest\n"), "\(result.text) \(result.errorText)")
      #expect(result.text.contains("status=0 left=0"), "\(result.text) \(result.errorText)")
    }
  }

  @Test func aVMWithoutRoomLeavesNothing() async throws {
    try await Ignite.with { ignite in
      // The seed's data moves into the small file system.
      try await Ignite.run(["mv", ignite.data, ignite.folder + "/seed"])
      let result = try await run(
        ignite, size: "600m",
        """
        cp -a \(ignite.folder)/seed/. $data
        $ignite image ls >/dev/null
        head -c 1G /dev/zero > $data/filler 2>/dev/null
        truncate -s -300K $data/filler
        $ignite create --name one -s 1t \(Ignite.image); echo status=$?
        rm $data/filler
        $ignite ps -a -q
        ls -A $data/vms $data/plans | grep -v : | grep . && echo left
        """)
      #expect(result.text.contains("status=1"), "\(result.text)")
      #expect(result.text.replacing("status=1\n", with: "") == "", "\(result.text)")
      #expect(result.errorText.contains("the file system \(ignite.data) is full"), "\(result.errorText)")
      try await Ignite.run(["mv", ignite.folder + "/seed", ignite.folder + "/moved"])
    }
  }
}
