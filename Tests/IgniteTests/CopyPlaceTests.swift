import Testing

@testable import ignite

/// `VM:PATH`, as docker takes it apart.
@Suite struct CopyPlaces {
  @Test(arguments: [
    ("web:/etc/hosts", "web", "/etc/hosts"), ("web:hosts", "web", "hosts"), ("web:", "web", ""),
    ("web:/a:b", "web", "/a:b"), ("/a:b", nil, "/a:b"), ("./a:b", nil, "./a:b"), ("../a:b", nil, "../a:b"),
    ("plain", nil, "plain"), ("-", nil, "-"),
  ])
  func aVMsNameEndsAtTheColon(argument: String, vm: String?, path: String) {
    let place = CopyPlace(argument)
    #expect(place.vm == vm)
    #expect(place.path == path)
  }
}
