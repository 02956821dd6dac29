import Foundation
import Testing

@testable import IgniteImages

/// An init is found on a disk, wherever links lead to it.
@Suite struct DiskProbes {
  @Test func linksAreFollowedWithinTheDisk() async throws {
    let scratch = try TestDirectory()
    let script = """
      set -eu; cd "$1"; mkdir -p tree/usr/sbin tree/usr/lib/systemd tree/etc tree/dir
      printf x > tree/usr/lib/systemd/systemd; chmod 755 tree/usr/lib/systemd/systemd
      ln -s usr/sbin tree/sbin; ln -s usr/lib tree/lib; ln -s /lib/systemd/systemd tree/usr/sbin/init
      printf x > tree/etc/plain; ln -s /no/such tree/gone; ln -s loop tree/loop; ln -s ../../../../../bin/sh tree/out
      mke2fs -q -t ext4 -d tree disk.ext4 8M
      """
    try await tool(["bash", "-c", script, "probe", scratch.path])
    let disk = scratch.file("disk.ext4")
    func first(_ paths: String...) throws -> String? { try BaseDiskProbe.firstProgram(of: paths, on: disk) }
    #expect(try first("/sbin/init", "/lib/systemd/systemd") == "/sbin/init")
    #expect(try first("/no/init", "/lib/systemd/systemd") == "/lib/systemd/systemd")
    for path in ["/etc/plain", "/gone", "/loop", "/out", "/dir", "/no/such"] {
      #expect(try first(path) == nil, "\(path)")
    }
    #expect(throws: ImageError.self) { try BaseDiskProbe.firstProgram(of: ["/x"], on: scratch.file("tree/etc/plain")) }
  }
}
