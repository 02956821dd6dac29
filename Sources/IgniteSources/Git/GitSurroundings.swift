internal import IgniteSystem

/// All that git is told beside its arguments: an environment made from nothing. Secrets are in it or in private files, never on a
/// command line.
struct GitSurroundings: Sendable {
  let environment: [String: String]

  /// Writes the credentials' files into the workspace. Blocking.
  init(_ url: GitURL, _ credentials: GitCredentials, program: GitProgram, workspace: GitWorkspace) throws(SystemError) {
    var settings = Self.settings
    settings.append(("protocol.\(url.transport.rawValue).allow", "always"))
    var environment = Self.fixed
    environment["HOME"] = workspace.home
    environment["XDG_CONFIG_HOME"] = workspace.home
    environment["TMPDIR"] = workspace.scratch
    environment["GIT_DIR"] = workspace.repository
    // Passed on to what git starts, where the settings are not.
    environment["GIT_ALLOW_PROTOCOL"] = url.transport.rawValue

    switch url.transport {
    case .https, .http:
      if let authorization = credentials.authorization {
        settings.append(("http.extraHeader", "Authorization: \(authorization)"))
      }
      if let authorities = credentials.caFile {
        let path = workspace.path + "/authorities.pem"
        try workspace.write(path, authorities)
        settings.append(("http.sslCAInfo", path))
      }
    case .ssh:
      let path = workspace.path + "/ssh-config"
      try workspace.write(path, Array(try Self.sshConfiguration(credentials, workspace, &environment).utf8))
      environment["GIT_SSH_COMMAND"] = "\(Self.quoted(program.ssh ?? "ssh")) -F \(Self.quoted(path))"
      environment["GIT_SSH_VARIANT"] = "ssh"
    case .file: break
    }
    environment["GIT_CONFIG_COUNT"] = String(settings.count)
    for (index, setting) in settings.enumerated() {
      environment["GIT_CONFIG_KEY_\(index)"] = setting.0
      environment["GIT_CONFIG_VALUE_\(index)"] = setting.1
    }
    self.environment = environment
  }

  private static let fixed = [
    "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC",
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_PROTOCOL_FROM_USER": "0",
  ]

  /// git-config(1), as of every fetch.
  private static let settings: [(String, String)] = [
    ("protocol.allow", "never"), ("protocol.version", "2"),
    // No program but git's own and ssh.
    ("core.hooksPath", "/dev/null"), ("core.fsmonitor", "false"), ("core.askPass", ""), ("core.pager", "cat"),
    ("core.attributesFile", "/dev/null"), ("core.excludesFile", "/dev/null"), ("credential.helper", ""),
    ("credential.interactive", "false"), ("gc.auto", "0"), ("maintenance.auto", "false"),
    ("submodule.recurse", "false"), ("fetch.recurseSubmodules", "false"), ("fetch.writeCommitGraph", "false"),
    // What comes is checked, and is one pack, so that the limit on a file's size bounds it.
    ("fetch.fsckObjects", "true"), ("transfer.fsckObjects", "true"), ("fetch.unpackLimit", "1"),
    ("fetch.fsck.hasDot", "error"), ("fetch.fsck.hasDotdot", "error"), ("fetch.fsck.hasDotgit", "error"),
    ("fetch.fsck.fullPathname", "error"), ("transfer.bundleURI", "false"), ("fetch.showForcedUpdates", "false"),
    // Memory: large blobs are streamed, packs are mapped in pieces.
    ("core.bigFileThreshold", "1m"), ("core.packedGitWindowSize", "16m"), ("core.packedGitLimit", "256m"),
    ("core.deltaBaseCacheLimit", "32m"), ("pack.threads", "1"),
    // Credentials go to the server that was named, and to no other.
    ("http.followRedirects", "false"), ("http.sslVerify", "true"), ("http.saveCookies", "false"),
    ("http.lowSpeedLimit", "1"), ("http.lowSpeedTime", "60"),
  ]

  /// ssh_config(5): a key, the known hosts, and nothing of this user's or this machine's.
  private static func sshConfiguration(
    _ credentials: GitCredentials, _ workspace: GitWorkspace, _ environment: inout [String: String]
  ) throws(SystemError) -> String {
    let (known, identity) = (workspace.path + "/known-hosts", workspace.path + "/identity")
    try workspace.write(known, credentials.knownHosts ?? [])
    // OpenSSH wants the last line of a key to be a whole one.
    var key = credentials.identity ?? []
    if key.last != 0x0a { key.append(0x0a) }
    try workspace.write(identity, key)
    var batch = "yes"
    if let passphrase = credentials.identityPassphrase {
      // In batch mode ssh asks for no passphrase. Nothing else is asked for: passwords are off, hosts' keys strict.
      let (file, script) = (workspace.path + "/passphrase", workspace.path + "/passphrase-reader")
      try workspace.write(file, Array(passphrase.utf8))
      try workspace.write(script, Array("#!/bin/sh\nexec cat \(quoted(file))\n".utf8), mode: 0o700)
      environment["SSH_ASKPASS"] = script
      environment["SSH_ASKPASS_REQUIRE"] = "force"
      batch = "no"
    }
    return """
      Host *
        User git
        BatchMode \(batch)
        IdentityFile \(configured(identity))
        IdentitiesOnly yes
        IdentityAgent none
        PreferredAuthentications publickey
        PubkeyAuthentication yes
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        NumberOfPasswordPrompts 1
        StrictHostKeyChecking yes
        UserKnownHostsFile \(configured(known))
        GlobalKnownHostsFile /dev/null
        UpdateHostKeys no
        VerifyHostKeyDNS no
        CheckHostIP no
        ProxyCommand none
        ProxyJump none
        PermitLocalCommand no
        ForwardAgent no
        ForwardX11 no
        ClearAllForwardings yes
        ControlMaster no
        ControlPath none
        AddKeysToAgent no
        CanonicalizeHostname no
        EscapeChar none
        ConnectTimeout 30
        ServerAliveInterval 15
        ServerAliveCountMax 3
        LogLevel ERROR

      """
  }

  /// For ssh_config(5), where `%` starts a token.
  private static func configured(_ path: String) -> String {
    "\"" + path.map { ["%": "%%", "\"": "\\\"", "\\": "\\\\"][$0] ?? String($0) }.joined() + "\""
  }

  /// For sh: git has it read GIT_SSH_COMMAND.
  static func quoted(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }
}
