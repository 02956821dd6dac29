/// By what a user makes himself known to a registry.
public enum RegistryCredential: Sendable, Hashable {
  case password(user: String, password: String)
  /// A refresh token, for which the token server gives others (`identitytoken`).
  case identityToken(String)
  /// A token for the registry itself (`registrytoken`).
  case registryToken(String)

  /// Credentials that cannot be sent are of no use: line ends would end a header, a colon the user's name.
  var isUsable: Bool {
    func isClean(_ text: String) -> Bool {
      !text.isEmpty && text.utf8.count <= 48 << 10 && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
    }
    return switch self {
    case .password(let user, let password): isClean(user) && isClean(password) && !user.contains(":")
    case .identityToken(let token), .registryToken(let token): isClean(token)
    }
  }
}

extension RegistryCredential: CustomStringConvertible, CustomDebugStringConvertible {
  /// Without the secret, whatever prints it.
  public var description: String {
    switch self {
    case .password(let user, _): "password of \(OCIError.quoted(user))"
    case .identityToken: "identity token"
    case .registryToken: "registry token"
    }
  }
  public var debugDescription: String { description }
}
