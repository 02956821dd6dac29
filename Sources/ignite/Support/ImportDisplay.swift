internal import IgniteImages

/// Runs an import with its progress on standard error.
func withImportProgress<Result: Sendable>(
  _ body: @Sendable (@escaping @Sendable (ImportProgress) -> Void) async throws -> Result
) async throws -> Result {
  let renderer = ImportProgressRenderer()
  await renderer.start()
  do {
    let result = try await body { renderer.report($0) }
    await renderer.finish()
    return result
  } catch {
    await renderer.finish()
    throw error
  }
}
