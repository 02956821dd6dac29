public import IgniteOCI
internal import IgniteSystem

/// Brings kernels into the store.
public enum KernelImporter {
  /// Opens the source of a kernel's image; what it takes in for that goes to the store.
  public typealias ImageOpener =
    @Sendable (_ reference: ImageSourceReference, _ store: ContentStore) async throws -> any ImageSource

  /// Makes a kernel's files from a Debian package, an image or a file: the ELF `vmlinux`, `modules.ext4`, and an initrd of `ignite-init` and
  /// the needed modules.
  ///
  /// What is in the store already is not made again, and not downloaded again; a new name is noted. A failure or a
  /// cancellation leaves nothing, and two imports at once make one kernel.
  ///
  /// - Parameters:
  ///   - source: what it is made from.
  ///   - name: the reference that people call the kernel by; nil for `debian/PACKAGE:VERSION`, the image's own name, or
  ///     `localhost/kernel:VERSION`.
  ///   - initPath: `ignite-init`, for the initrd; nil leaves the initrd to `KernelStore.initrd(for:initPath:)`.
  ///   - dataRoot: the data root.
  ///   - openImage: opens an image's source.
  ///   - progress: is told how far it is, on any thread.
  /// - Throws: `ImageError`, with the code `cancelled` when the task was cancelled.
  public static func importKernel(
    source: KernelSource, name: String? = nil, initPath: String?, dataRoot: String,
    openImage: @escaping ImageOpener,
    progress: @escaping @Sendable (KernelImportProgress) -> Void = { _ in }
  ) async throws(ImageError) -> ImportedKernel {
    if let name { try check(name: name) }
    let job = KernelImportJob(
      source: source, name: name, initPath: initPath, store: KernelStore(root: dataRoot), openImage: openImage,
      progress: progress, cancellation: Cancellation())
    do {
      return try await withTaskCancellationHandler {
        try await job.run()
      } onCancel: {
        job.cancellation.cancel()
      }
    } catch let error as ImageError {
      throw error
    } catch is CancellationError {
      throw ImageError(.cancelled, "interrupted")
    } catch let error as any UserFacingError {
      throw ImageError(.io, error.message, advice: error.advice, cause: error)
    } catch {
      throw ImageError(.io, "the kernel cannot be imported", cause: error)
    }
  }

  /// - Throws: `invalidReference` for a name that is no reference with a tag.
  static func check(name: String) throws(ImageError) {
    do throws(OCIError) {
      _ = try Reference(name)
    } catch {
      throw ImageError(.invalidReference, error.message, advice: error.advice, cause: error)
    }
  }

  /// `debian/PACKAGE:VERSION`, with what a tag cannot hold replaced.
  static func defaultName(package: String, version: String) -> String {
    let repository = package.map { $0 == "+" ? "-" : $0 }
    return "debian/\(String(repository)):\(tag(version))"
  }

  /// A version as a tag can have it.
  static func tag(_ version: String) -> String {
    let tag = version.map { character in
      character.isASCII && (character.isLetter || character.isNumber || "._-".contains(character)) ? character : "_"
    }
    return String(tag.prefix(128))
  }
}
