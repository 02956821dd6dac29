import Testing

/// What a VM has written over its image.
@Suite(.timeLimit(.minutes(5))) struct Differences {
  @Test func filesAddedChangedAndDeleted() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one", "-v", "data:/data/deep")
      #expect(try await ignite.succeed("diff", "one") == "")
      let script = """
        mkdir -p /new/dir && echo x > /new/dir/f && ln -s f /new/dir/link && touch /data/deep/not-seen
        echo more >> /srv/plain && rm /etc/group && chmod 700 /root && touch /tmp/t && rm /tmp/t
        rm -r /home/alice && mkdir /home/alice && printf a > "/new/$(printf 'x\\ty')"
        """
      try await ignite.succeed("exec", "one", "sh", "-c", script)
      let expected = """
        A /data
        C /etc
        D /etc/group
        C /home
        C /home/alice
        A /new
        A /new/dir
        A /new/dir/f
        A /new/dir/link
        A /new/x?y
        C /root
        C /srv
        C /srv/plain
        """
      let seen = try await ignite.succeed("diff", "one")
      // The volume's own place, and a directory that was made anew with the same owner and mode, may be left out.
      let optional: Set<String> = ["A /data", "C /home", "C /home/alice"]
      func certain(_ text: String) -> [String] {
        text.split(separator: "\n").map(String.init).filter { !optional.contains($0) }
      }
      #expect(certain(seen) == certain(expected), "\(seen)")
      #expect(!seen.contains("not-seen"))
      #expect(try await ignite.succeed("diff", "--format", "json", "one").contains("\"path\" : \"/srv/plain\""))
      try await ignite.succeed("stop", "-t", "1", "one")
      let stopped = try await ignite("diff", "one")
      #expect(stopped.status == 1 && stopped.errorText.contains("start it: ignite start one"), "\(stopped.errorText)")
    }
  }
}
