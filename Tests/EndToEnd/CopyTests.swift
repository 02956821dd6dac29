import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Files between host and VM, by docker's rules.
@Suite(.timeLimit(.minutes(8))) struct Copy {
  private static let tree = """
    mkdir -p src/sub/empty; printf 'hello' > src/file; chmod 640 src/file; touch -d '2001-02-03 04:05:06.5' src/file
    ln -s /etc/passwd src/link; ln src/file src/second; mkfifo src/pipe; chmod 750 src/sub
    printf x > src/sub/$(printf 'n%.0s' $(seq 180)); head -c 700000 /dev/urandom > src/large
    truncate -s 50M src/sparse; printf middle | dd of=src/sparse bs=1 seek=30000000 conv=notrunc status=none
    """
  private static let listing = """
    find . -mindepth 1 -printf '%P %y %m %T@ %s %l\\n' | sed 's/^\\([^ ]* d [^ ]*\\) .*/\\1/' | sort
    """

  private func shell(_ folder: String, _ script: String) async throws -> String {
    try await Ignite.run(Ignite.wrap + ["bash", "-euc", "cd '\(folder)'; \(script)"]).text
  }

  @Test func aTreeGoesInAndComesBack() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let folder = ignite.folder
      _ = try await shell(folder, Self.tree)
      try await ignite.succeed("cp", folder + "/src", "one:/srv")
      // No file of it needs a program in the image.
      #expect(try await ignite.succeed("exec", "one", "stat", "-c", "%u %g %a", "/srv/src/file") == "0 0 640")
      #expect(
        try await ignite.succeed("exec", "one", "sh", "-c", "du -k /srv/src/sparse | cut -f1; readlink /srv/src/link")
          .hasSuffix("/etc/passwd"))
      try await ignite.succeed("cp", "one:/srv/src", folder + "/back")
      let before = try await shell(folder + "/src", Self.listing)
      #expect(try await shell(folder + "/back", Self.listing) == before)
      _ = try await shell(
        folder,
        """
        for f in file large sparse; do cmp src/$f back/$f; done; [ back/file -ef back/second ]
        [ $(du -k back/sparse | cut -f1) -lt 1000 ]; [ $(stat -c %u back/file) = $(id -u) ]
        """)
      // Sparse in the VM too.
      let used = try await ignite.succeed("exec", "one", "sh", "-c", "du -k /srv/src/sparse | cut -f1")
      #expect(try #require(Int(used)) < 1000)
    }
  }

  @Test func destinationsFollowDocker() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let folder = ignite.folder
      _ = try await shell(folder, "mkdir -p d/e; echo f > f; echo x > d/x; ln -s d dlink; ln -s f flink")
      func inside(_ script: String) async throws -> String {
        try await ignite.succeed("exec", "one", "sh", "-c", script)
      }

      // Into a directory, under another name, over a file.
      try await ignite.succeed("cp", folder + "/f", "one:/srv")
      try await ignite.succeed("cp", folder + "/f", "one:/srv/other")
      try await ignite.succeed("cp", folder + "/f", "one:/srv/plain")
      #expect(try await inside("cat /srv/f /srv/other /srv/plain") == "f\nf\nf")
      // A directory, its contents, a new name.
      try await ignite.succeed("cp", folder + "/d", "one:/srv")
      try await ignite.succeed("cp", folder + "/d/.", "one:/tmp")
      try await ignite.succeed("cp", folder + "/d", "one:/srv/new/")
      try await ignite.succeed("cp", folder + "/d/.", "one:/srv/contents")
      #expect(try await inside("cat /srv/d/x /tmp/x /srv/new/x /srv/contents/x; stat -c %a /tmp") == "x\nx\nx\nx\n1777")
      // A link is a link, unless it is followed.
      try await ignite.succeed("cp", folder + "/flink", "one:/srv")
      try await ignite.succeed("cp", "-L", folder + "/flink", "one:/srv/followed")
      try await ignite.succeed("cp", folder + "/dlink/", "one:/srv/dcopy")
      #expect(try await inside("readlink /srv/flink; cat /srv/followed /srv/dcopy/x") == "f\nf\nx")
      // And out again.
      _ = try await inside("ln -s /srv/d /srv/dlink; ln -s plain /srv/plink")
      try await ignite.succeed("cp", "one:/srv/d/.", folder + "/out")
      try await ignite.succeed("cp", "one:srv/plink", folder + "/out")
      try await ignite.succeed("cp", "-L", "one:/srv/plink", folder + "/out/name")
      try await ignite.succeed("cp", "one:/srv/dlink/", folder + "/out/sub")
      #expect(try await shell(folder + "/out", "cat x name sub/x; readlink plink") == "x\nf\nx\nplain\n")
      // The guest's own kernel's files, which have no size.
      try await ignite.succeed("cp", "one:/proc/sys/kernel/ostype", folder + "/ostype")
      #expect(try await shell(folder, "cat ostype") == "Linux\n")
      // Nothing is said of what went well; no owner of the host's goes in.
      let quiet = try await ignite("cp", folder + "/f", "one:/srv/f")
      #expect(quiet.text == "" && quiet.errorText == "")
    }
  }

  @Test func whatCannotBeIsRefused() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let folder = ignite.folder
      _ = try await shell(folder, "mkdir -p d; echo f > f")
      func refused(_ arguments: [String], _ words: String..., sourceLocation: SourceLocation = #_sourceLocation)
        async throws
      {
        let result = try await ignite(["cp"] + arguments)
        #expect(result.status == 1, "\(arguments)", sourceLocation: sourceLocation)
        #expect(
          result.errorText.split(separator: "\n").count == 1, "\(result.errorText)", sourceLocation: sourceLocation)
        for word in words {
          #expect(result.errorText.contains(word), "\(result.errorText)", sourceLocation: sourceLocation)
        }
      }
      try await refused([folder + "/f", "one:/no/such/place"], "/no/such")
      try await refused([folder + "/f", "one:/srv/new/"], "no such directory")
      try await refused([folder + "/d", "one:/srv/plain"], "directory")
      try await refused([folder + "/nothing", "one:/srv"], "nothing")
      try await refused(["one:/no/such", folder], "/no/such", "no such file")
      try await refused(["one:/srv/plain", folder + "/no/such/place"], "no such file")
      try await refused(["one:/srv", folder + "/f"], "directory")
      try await refused(["one:/a", "one:/b"], "between VMs")
      try await refused(["a", "b"], "VM:/PATH")
      try await refused(["other:/a", folder], "\"other\"")
      try await refused(["one:", folder], "empty")
      _ = try await ignite.succeed("stop", "-t", "0", "one")
      try await refused([folder + "/f", "one:/srv"], "ignite start one")
      try await refused(["one:/srv", folder], "ignite start one")
    }
  }

  @Test func archivesGoThroughStandardStreams() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let folder = ignite.folder
      _ = try await shell(folder, Self.tree)
      // GNU tar's formats, packed too; pax alone has times to the nanosecond.
      for (index, flags) in ["--format=pax -S -czf", "--format=gnu -S -cf", "--exclude=nnn* --format=ustar -cf"]
        .enumerated()
      {
        _ = try await shell(folder, "tar -C src \(flags) in\(index).tar .")
        let archive = try #require(FileManager.default.contents(atPath: "\(folder)/in\(index).tar"))
        _ = try await ignite.succeed("exec", "one", "mkdir", "/srv/in\(index)")
        let result = try await ignite(["cp", "-", "one:/srv/in\(index)"], input: Array(archive))
        #expect(result.status == 0, "\(result.errorText)")
      }
      _ = try await ignite.succeed("exec", "one", "cmp", "/srv/in0/sparse", "/srv/in1/sparse")
      let out = try await ignite("cp", "one:/srv/in0", "-")
      #expect(out.status == 0, "\(out.errorText)")
      _ = FileManager.default.createFile(atPath: folder + "/out.tar", contents: Data(out.output))
      _ = try await shell(folder, "tar -xpf out.tar; cmp in0/large src/large; cmp in0/sparse src/sparse")
      let before = try await shell(folder + "/src", Self.listing)
      #expect(try await shell(folder + "/in0", Self.listing) == before)
      let nowhere = try await ignite(["cp", "-", "one:/srv/plain"], input: Array(out.output))
      #expect(nowhere.status == 1)
      #expect(nowhere.errorText.contains("must be a directory"))
      let half = try await ignite(["cp", "-", "one:/srv"], input: Array(out.output.prefix(100_000)))
      #expect(half.status == 1)
      // One that leads out of the directory.
      _ = try await shell(folder, "tar -cPf up.tar --transform 's,^src/file,../../up,' src/file")
      let up = try #require(FileManager.default.contents(atPath: folder + "/up.tar"))
      let refused = try await ignite(["cp", "-", "one:/srv"], input: Array(up))
      #expect(refused.status == 1)
      #expect(refused.errorText.contains("leads out"))
    }
  }

  @Test func ownersStayWithA() async throws {
    guard Ignite.isRoot else { return }
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let folder = ignite.folder
      _ = try await shell(
        folder,
        "echo f > f; chown 1234:2345 f; chmod 4711 f; setfattr -n user.colour -v red f || true; mknod null c 1 3")
      try await ignite.succeed("cp", "-a", folder + "/f", "one:/srv/f")
      #expect(try await ignite.succeed("exec", "one", "stat", "-c", "%u %g %a", "/srv/f") == "1234 2345 4711")
      try await ignite.succeed("cp", "-a", "one:/srv/f", folder + "/kept")
      try await ignite.succeed("cp", "one:/srv/f", folder + "/mine")
      #expect(try await shell(folder, "stat -c '%u %g %a' kept mine") == "1234 2345 4711\n0 0 711\n")
      #expect(
        try await shell(folder, "getfattr --only-values -n user.colour f kept 2>/dev/null || true").contains("red"))
      // Devices go in, and come out only so.
      try await ignite.succeed("cp", folder + "/null", "one:/srv/null")
      let left = try await ignite("cp", "one:/srv/null", folder + "/device")
      #expect(left.status == 1)
      #expect(left.errorText.contains("device"))
      try await ignite.succeed("cp", "-a", "one:/srv/null", folder + "/device")
      #expect(try await shell(folder, "stat -c '%F %t %T' device") == "character special file 1 3\n")
    }
  }

  @Test func linksInTheVMStayInTheVM() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let folder = ignite.folder
      _ = try await shell(folder, "mkdir -p host out d/l; echo x > d/l/new; tar -C d -cf in.tar l/new")
      // /l leads to a path that the host has too: what is copied to it is the VM's.
      _ = try await ignite.succeed("exec", "one", "sh", "-c", "mkdir -p \(folder)/host; ln -s \(folder)/host /srv/l")
      let archive = try #require(FileManager.default.contents(atPath: folder + "/in.tar"))
      let through = try await ignite(["cp", "-", "one:/srv"], input: Array(archive))
      #expect(through.status == 0, "\(through.errorText)")
      #expect(try await ignite.succeed("exec", "one", "ls", "\(folder)/host") == "new")
      // A directory is not laid over the link itself.
      #expect(try await ignite("cp", folder + "/d/.", "one:/srv").status == 1)
      #expect(try await shell(folder, "ls host") == "")
      // And on the host a link of the user's own is no way out of the destination.
      _ = try await ignite.succeed("exec", "one", "sh", "-c", "mkdir -p /srv/t/l; echo x > /srv/t/l/new")
      _ = try await shell(folder, "mkdir out/t; ln -s ../../host out/t/l")
      let refused = try await ignite("cp", "one:/srv/t", folder + "/out")
      #expect(refused.status == 1)
      #expect(try await shell(folder, "ls host") == "")
    }
  }
}
