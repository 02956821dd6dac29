internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

extension ImageImporter {
  /// Makes the base disk, unless it is there.
  func makeDisk(
    _ disk: String, _ resolved: ResolvedImage, _ config: ImageConfig, from source: any ImageSource,
    _ progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws(ImageError) {
    guard let lock = try await lockDisk(disk, progress) else {
      progress(.reusedDisk)
      return
    }
    defer { lock.release() }
    let target = "\(store.disks)/\(disk)"
    let partial = "\(target.dropLast(5)).partial"
    // The lock is ours, so what lies there is left over.
    unlink(partial)
    do throws(ImageError) {
      try await build(partial, resolved, config, from: source, progress)
      CrashPoint.pass(.importDisk)
      try await blocking { () throws(ImageError) in
        if rename(partial, target) != 0 { throw .system("make", target) }
        if store.syncs { try syncDirectory(store.disks) }
      }
    } catch {
      unlink(partial)
      throw error
    }
  }

  /// Waits for the right to make the disk; nil once it is there.
  private func lockDisk(
    _ disk: String, _ progress: @Sendable (ImportProgress) -> Void
  ) async throws(ImageError) -> NamedLock? {
    var waits = 0
    while true {
      let lock = try await blocking { () throws(ImageError) -> NamedLock?? in
        try makeDirectory(store.disks)
        if store.hasDisk(disk) { return .some(nil) }
        guard let lock = try NamedLock.tryTake("\(store.disks)/\(disk.dropLast(5)).lock") else { return nil }
        // Between the look and the lock another may have finished.
        guard store.hasDisk(disk) else { return lock }
        lock.release()
        return .some(nil)
      }
      if let lock { return lock }
      if waits == 0 { progress(.waiting) }
      waits += 1
      // flock(2) can be waited for only by blocking a thread that nothing can interrupt.
      do { try await Task.sleep(for: .milliseconds(50)) } catch { throw .cancelled }
    }
  }

  private enum Outcome: Sendable {
    case fetched(ImageError?)
    case built(ImageError?)
  }

  /// Fetches the layers and applies them while they arrive.
  private func build(
    _ partial: String, _ resolved: ResolvedImage, _ config: ImageConfig, from source: any ImageSource,
    _ progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws(ImageError) {
    let layers = resolved.manifest.layers
    let chainID = ChainID.of(config.diffIDs)
    // The same layer twice in an image is fetched once.
    var byDigest: [Digest: IngestingBlob] = [:]
    var blobs: [IngestingBlob] = []
    var unique: [(position: Int, blob: IngestingBlob)] = []
    for (position, layer) in layers.enumerated() {
      if let blob = byDigest[layer.digest] {
        guard blob.descriptor.size == layer.size else {
          throw ImageError(.corrupt, "\(source.name): its manifest gives layer \(layer.digest.short) two sizes")
        }
        blobs.append(blob)
        continue
      }
      let blob = IngestingBlob(layer)
      byDigest[layer.digest] = blob
      blobs.append(blob)
      unique.append((position, blob))
    }
    let assembly = DiskAssembly(image: source.name, blobs: blobs, diffIDs: config.diffIDs, limits: limits) { position in
      progress(.applied(position, digest: layers[position].digest))
    }
    let transfers = unique
    let all = blobs

    let failure: ImageError? = await withTaskCancellationHandler {
      await withTaskGroup(of: Outcome.self) { group in
        group.addTask {
          .fetched(await fetch(transfers, from: source, progress))
        }
        group.addTask {
          do throws(ImageError) {
            try await blocking { () throws(ImageError) in
              var sink = try self.sink(partial, chainID.description)
              try assembly.run(into: &sink)
            }
            return .built(nil)
          } catch {
            return .built(error)
          }
        }
        var fetching: ImageError?
        var building: ImageError?
        for await outcome in group {
          switch outcome {
          case .fetched(let error): fetching = error
          case .built(let error): building = error
          }
          guard fetching != nil || building != nil else { continue }
          // One has failed, so the other has nothing left to work for.
          for blob in all { blob.end(.failure(.cancelled)) }
          group.cancelAll()
        }
        // A transfer that was only given up says nothing of why.
        if let fetching, fetching.code != .cancelled { return fetching }
        return building ?? fetching
      }
    } onCancel: {
      // Wakes the builder's thread, which waits for bytes.
      for blob in all { blob.end(.failure(.cancelled)) }
    }
    if let failure { throw failure }
    if Task.isCancelled { throw .cancelled }
  }

  /// Transfers the layers, a bounded number at once, the lowest first; returns the first failure.
  func fetch(
    _ blobs: [(position: Int, blob: IngestingBlob)], from source: any ImageSource,
    _ progress: @escaping @Sendable (ImportProgress) -> Void
  ) async -> ImageError? {
    await withTaskGroup(of: ImageError?.self) { group in
      var waiting = blobs[...]
      func startNext() {
        guard let (position, blob) = waiting.popFirst() else { return }
        group.addTask { await self.transfer(blob, position, from: source, progress) }
      }
      for _ in 0..<Self.transfers { startNext() }
      var failure: ImageError?
      for await error in group {
        if let error {
          if failure == nil { failure = error }
          group.cancelAll()
          waiting = []
          // Those that never began must not be waited for.
          for (_, blob) in blobs { blob.end(.failure(error)) }
        } else {
          startNext()
        }
      }
      return failure
    }
  }

  private func transfer(
    _ blob: IngestingBlob, _ position: Int, from source: any ImageSource,
    _ progress: @escaping @Sendable (ImportProgress) -> Void
  ) async -> ImageError? {
    let descriptor = blob.descriptor
    let subject = Self.layerSubject(position, descriptor, of: source.name)
    let steps = ProgressSteps(total: descriptor.size)
    do throws(ImageError) {
      let reused = try await BlobIngest.run(blob, from: source, to: store, subject: subject) { done in
        guard steps.isWorthTelling(done) else { return }
        progress(.layer(position, digest: descriptor.digest, done: done, total: descriptor.size))
      }
      progress(.fetched(position, digest: descriptor.digest, reused: reused))
      return nil
    } catch {
      return error
    }
  }
}

extension ContentStore {
  func hasDisk(_ name: String) -> Bool {
    var status = stat()
    return lstat("\(disks)/\(name)", &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  /// A base disk's size as a guest sees it, and what it takes on the host.
  func diskSize(_ name: String) throws(ImageError) -> (size: Int64, usage: Int64) {
    let path = "\(disks)/\(name)"
    var status = stat()
    guard lstat(path, &status) == 0 else { throw .system("read", path) }
    return (Int64(status.st_size), Int64(status.st_blocks) * 512)
  }
}
