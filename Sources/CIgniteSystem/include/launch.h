#pragma once
// Starting a confined process. Everything that needs memory or names is prepared by the caller, because the child of a
// threaded process may call only async-signal-safe functions between fork and exec.

#include <stdint.h>
#include <sys/types.h>

/// What is made in the new root, in this order: all directories, files and links first, then the mounts.
enum ignite_mount_kind {
  IGNITE_MOUNT_DIRECTORY = 0,  ///< mkdir `target` with `mode`
  IGNITE_MOUNT_FILE = 1,       ///< an empty file at `target`: the place of a bind mount
  IGNITE_MOUNT_SYMLINK = 2,    ///< a symbolic link at `target` to `source`
  IGNITE_MOUNT_BIND = 3,       ///< bind `source` to `target` with `flags` (MS_RDONLY, MS_NOSUID, ...)
  IGNITE_MOUNT_PROC = 4,       ///< proc at `target`, of the caller's own processes only
  IGNITE_MOUNT_TMPFS = 5,      ///< tmpfs at `target`, options in `source`
};

struct ignite_mount {
  int32_t kind;
  uint32_t mode;
  uint64_t flags;
  const char *source;
  /// Relative to the new root, without a leading slash and without symbolic links.
  const char *target;
};

struct ignite_limit {
  int32_t resource;
  uint64_t soft, hard;
};

struct ignite_launch {
  const char *executable;
  char *const *arguments;
  char *const *environment;
  const char *working_directory;
  /// Descriptor `sources[i]` is `places[i]` in the child; every other one is closed.
  const int *sources, *places;
  uint32_t descriptors;
  /// Open for writing on `cgroup.procs` of a cgroup of each hierarchy.
  const int *cgroups;
  uint32_t cgroup_count;
  int new_session;
  /// Not confined: the caller's capabilities are kept, and set-user-id programs take effect.
  int keeps_rights;
  const struct ignite_limit *limits;
  uint32_t limit_count;

  /// With `isolated`: a mount namespace with a root of its own, and then `uid` and `gid`.
  int isolated;
  uint32_t uid, gid;
  const uint32_t *groups;
  uint32_t group_count;
  /// The options of the new root's tmpfs.
  const char *root_options;
  const struct ignite_mount *mounts;
  uint32_t mount_count;
};

/// The step at which a launch failed; `ignite_launch_step_name` says it in words.
enum ignite_launch_step {
  IGNITE_STEP_NONE = 0,
  IGNITE_STEP_PIPE,
  IGNITE_STEP_FORK,
  IGNITE_STEP_PIDFD,
  IGNITE_STEP_SIGNALS,
  IGNITE_STEP_SESSION,
  IGNITE_STEP_CGROUP,
  IGNITE_STEP_LIMIT,         ///< index: of the limit
  IGNITE_STEP_NAMESPACE,
  IGNITE_STEP_PRIVATE,
  IGNITE_STEP_SOURCE,        ///< index: of the mount
  IGNITE_STEP_ROOT,
  IGNITE_STEP_MAKE,          ///< index: of the mount
  IGNITE_STEP_TARGET,        ///< index: of the mount
  IGNITE_STEP_MOUNT,         ///< index: of the mount
  IGNITE_STEP_READ_ONLY,     ///< index: of the mount
  IGNITE_STEP_PIVOT,
  IGNITE_STEP_DESCRIPTOR,    ///< index: of the descriptor
  IGNITE_STEP_CLOSE,
  IGNITE_STEP_IDENTITY,
  IGNITE_STEP_CAPABILITIES,
  IGNITE_STEP_DIRECTORY,
  IGNITE_STEP_EXECUTE,
};

struct ignite_launch_result {
  pid_t pid;
  int pidfd;
  uint64_t start_time;
  /// An `ignite_launch_step`; IGNITE_STEP_NONE after success.
  int32_t step;
  int32_t index;
  int32_t error;
};

/// Starts a process; blocks until it has executed its program or has failed and is reaped.
/// Returns 0, or -1 with `step`, `index` and `error` set.
int ignite_launch(const struct ignite_launch *launch, struct ignite_launch_result *result);

/// What a step does, as words that follow "cannot".
const char *ignite_launch_step_name(int step);

/// Gives the calling thread, and what it starts, a mount namespace of its own. Returns 0, or -1 and errno.
int ignite_own_mounts(void);
/// In such a namespace: makes a directory read-only, with all that is mounted in it where the kernel can (Linux 5.12).
int ignite_mount_read_only(const char *path);

/// pidfd_open(2): a close-on-exec descriptor of a process, or -1 and errno.
int ignite_pidfd_open(pid_t pid);
/// pidfd_send_signal(2): 0, or -1 and errno.
int ignite_pidfd_signal(int pidfd, int signal);
/// Field 22 of /proc/PID/stat: clock ticks from the host's start to the process's; 0 where it cannot be read.
uint64_t ignite_start_time(pid_t pid);
/// waitid(P_PIDFD, WEXITED | WNOHANG): 1 and the two values when the child has ended, 0 when it runs, -1 and errno.
/// `code` is the exit status or the signal, `signalled` tells which.
int ignite_pidfd_reap(int pidfd, int *code, int *signalled);
