#define _GNU_SOURCE
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#define IGNITE_P_PIDFD 3

static unsigned long kept_flags(const char *path);

const char *ignite_launch_step_name(int step) {
  switch (step) {
    case IGNITE_STEP_PIPE: return "make a pipe";
    case IGNITE_STEP_FORK: return "fork";
    case IGNITE_STEP_PIDFD: return "open a pidfd";
    case IGNITE_STEP_SIGNALS: return "reset the signals";
    case IGNITE_STEP_SESSION: return "start a session";
    case IGNITE_STEP_CGROUP: return "join the cgroup";
    case IGNITE_STEP_LIMIT: return "set the resource limit";
    case IGNITE_STEP_NAMESPACE: return "make a mount namespace";
    case IGNITE_STEP_PRIVATE: return "make the mounts private";
    case IGNITE_STEP_SOURCE: return "open";
    case IGNITE_STEP_ROOT: return "mount the new root";
    case IGNITE_STEP_MAKE: return "make in the new root";
    case IGNITE_STEP_TARGET: return "find in the new root";
    case IGNITE_STEP_MOUNT: return "mount in the new root";
    case IGNITE_STEP_READ_ONLY: return "restrict the mount of";
    case IGNITE_STEP_PIVOT: return "change to the new root";
    case IGNITE_STEP_DESCRIPTOR: return "place the descriptor";
    case IGNITE_STEP_CLOSE: return "close the other descriptors";
    case IGNITE_STEP_IDENTITY: return "change to the user";
    case IGNITE_STEP_CAPABILITIES: return "drop the capabilities";
    case IGNITE_STEP_DIRECTORY: return "change to the directory";
    case IGNITE_STEP_EXECUTE: return "execute";
    default: return "start";
  }
}

int ignite_own_mounts(void) {
  if (unshare(CLONE_NEWNS) < 0) return -1;
  return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

int ignite_mount_read_only(const char *path) {
  const struct { uint64_t set, clear, propagation, user_namespace; } attributes = {.set = 1};  // MOUNT_ATTR_RDONLY
  const unsigned recursive = 0x8000;                                                          // AT_RECURSIVE
  if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) return -1;
  if (syscall(SYS_mount_setattr, AT_FDCWD, path, recursive, &attributes, sizeof attributes) == 0) return 0;
  // An older kernel restricts one mount only: what is mounted in it is left out.
  if (errno != ENOSYS || umount2(path, MNT_DETACH) < 0 || mount(path, path, NULL, MS_BIND, NULL) < 0) return -1;
  return mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | kept_flags(path), NULL);
}

int ignite_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int ignite_pidfd_signal(int pidfd, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

uint64_t ignite_start_time(pid_t pid) {
  char path[32], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t count = read(file, line, sizeof line - 1);
  close(file);
  if (count <= 0) return 0;
  line[count] = 0;
  // The second field is the program's name in parentheses and may itself hold any byte.
  char *field = strrchr(line, ')');
  for (int number = 2; field && number < 22; number++) {
    field = strchr(field, ' ');
    if (field) field++;
  }
  return field ? strtoull(field, NULL, 10) : 0;
}

int ignite_pidfd_reap(int pidfd, int *code, int *signalled) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  int result;
  do {
    result = waitid((idtype_t)IGNITE_P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -1;
  if (info.si_pid == 0) return 0;
  *code = info.si_status;
  *signalled = info.si_code != CLD_EXITED;
  return 1;
}

// Below: the child, between fork and exec. Plain system calls only: the C library's setresuid and friends speak to the
// threads of the parent, which do not exist here.

struct report {
  int32_t step, index, error;
};

static void fail(int pipe, int step, int index) {
  struct report report = {step, index, errno};
  ssize_t ignored = write(pipe, &report, sizeof report);
  (void)ignored;
  _exit(127);
}

static void reset_signals(int pipe) {
  // By the plain call, because the C library refuses its own two (32 and 33), which may have come ignored. All zero is
  // the kernel's struct sigaction for SIG_DFL; KILL and STOP are refused and cannot be ignored either.
  static const unsigned long defaults[8];
  for (int number = 1; number < 65; number++) syscall(SYS_rt_sigaction, number, defaults, NULL, 8);
  sigset_t none;
  sigemptyset(&none);
  if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) fail(pipe, IGNITE_STEP_SIGNALS, 0);
}

// "/proc/self/fd/N", written without the C library's formatting.
static void descriptor_path(char path[32], int descriptor) {
  static const char prefix[] = "/proc/self/fd/";
  memcpy(path, prefix, sizeof prefix - 1);
  char digits[12];
  int count = 0;
  do {
    digits[count++] = (char)('0' + descriptor % 10);
    descriptor /= 10;
  } while (descriptor > 0);
  char *end = path + sizeof prefix - 1;
  while (count > 0) *end++ = digits[--count];
  *end = 0;
}

// The flags of the mount that `path` is on, which a bind remount would otherwise clear.
static unsigned long kept_flags(const char *path) {
  struct statfs info;
  if (statfs(path, &info) < 0) return 0;
  unsigned long flags = 0;
  if (info.f_flags & 1) flags |= MS_RDONLY;
  if (info.f_flags & 2) flags |= MS_NOSUID;
  if (info.f_flags & 4) flags |= MS_NODEV;
  if (info.f_flags & 8) flags |= MS_NOEXEC;
  if (info.f_flags & 1024) flags |= MS_NOATIME;
  if (info.f_flags & 2048) flags |= MS_NODIRATIME;
  if (info.f_flags & 4096) flags |= MS_RELATIME;
  return flags;
}

// Opens a place in the new root. A bind mounted directory may belong to the confined user, so no link is followed and
// nothing outside is reached.
static int open_target(int root, const char *target) {
  struct open_how how;
  memset(&how, 0, sizeof how);
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return (int)syscall(SYS_openat2, root, target, &how, sizeof how);
}

static void make_root(int pipe, const struct ignite_launch *launch) {
  if (unshare(CLONE_NEWNS) < 0) fail(pipe, IGNITE_STEP_NAMESPACE, 0);
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) fail(pipe, IGNITE_STEP_PRIVATE, 0);

  // The sources are opened before the new root hides a part of the old one.
  int sources[launch->mount_count + 1];
  for (uint32_t i = 0; i < launch->mount_count; i++) {
    const struct ignite_mount *entry = &launch->mounts[i];
    sources[i] = -1;
    if (entry->kind != IGNITE_MOUNT_BIND) continue;
    sources[i] = open(entry->source, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (sources[i] < 0) fail(pipe, IGNITE_STEP_SOURCE, (int)i);
  }
  // One of the old root's proc stays open: its path is how a descriptor is named as a mount's source.
  int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (proc < 0) fail(pipe, IGNITE_STEP_ROOT, 0);
  if (mount("ignite", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, launch->root_options) < 0)
    fail(pipe, IGNITE_STEP_ROOT, 0);
  int root = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0 || fchdir(root) < 0) fail(pipe, IGNITE_STEP_ROOT, 0);

  for (uint32_t i = 0; i < launch->mount_count; i++) {
    const struct ignite_mount *entry = &launch->mounts[i];
    int result = 0;
    switch (entry->kind) {
      case IGNITE_MOUNT_DIRECTORY:
        result = mkdirat(root, entry->target, entry->mode);
        if (result < 0 && errno == EEXIST) result = 0;
        break;
      case IGNITE_MOUNT_FILE:
        result = openat(root, entry->target, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, entry->mode);
        if (result >= 0) close(result);
        break;
      case IGNITE_MOUNT_SYMLINK:
        result = symlinkat(entry->source, root, entry->target);
        break;
      default:
        break;
    }
    if (result < 0) fail(pipe, IGNITE_STEP_MAKE, (int)i);
  }

  for (uint32_t i = 0; i < launch->mount_count; i++) {
    const struct ignite_mount *entry = &launch->mounts[i];
    if (entry->kind < IGNITE_MOUNT_BIND) continue;
    int target = open_target(root, entry->target);
    if (target < 0) fail(pipe, IGNITE_STEP_TARGET, (int)i);
    char source_path[32], target_path[32];
    descriptor_path(target_path, target);
    switch (entry->kind) {
      case IGNITE_MOUNT_BIND: {
        descriptor_path(source_path, sources[i]);
        unsigned long kept = kept_flags(source_path);
        if (mount(source_path, target_path, NULL, MS_BIND, NULL) < 0) fail(pipe, IGNITE_STEP_MOUNT, (int)i);
        close(target);
        close(sources[i]);
        // Flags of a bind mount take effect only by a remount, which acts on what lies on top of the path now.
        target = open_target(root, entry->target);
        if (target < 0) fail(pipe, IGNITE_STEP_TARGET, (int)i);
        descriptor_path(target_path, target);
        if (mount(NULL, target_path, NULL, MS_REMOUNT | MS_BIND | kept | (unsigned long)entry->flags, NULL) < 0)
          fail(pipe, IGNITE_STEP_READ_ONLY, (int)i);
        break;
      }
      case IGNITE_MOUNT_PROC:
        if (mount("proc", target_path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=invisible,subset=pid") < 0)
          fail(pipe, IGNITE_STEP_MOUNT, (int)i);
        break;
      case IGNITE_MOUNT_TMPFS:
        if (mount("ignite", target_path, "tmpfs", (unsigned long)entry->flags, entry->source) < 0)
          fail(pipe, IGNITE_STEP_MOUNT, (int)i);
        break;
    }
    close(target);
  }

  // pivot_root(".", ".") stacks the old root on the new one (pivot_root(2), "Notes"); then it is let go.
  if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
    fail(pipe, IGNITE_STEP_PIVOT, 0);
  if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
    fail(pipe, IGNITE_STEP_PIVOT, 0);
  close(proc);
  close(root);
}

static void place_descriptors(int *pipe, const struct ignite_launch *launch) {
  int first_free = 3;
  for (uint32_t i = 0; i < launch->descriptors; i++)
    if (launch->places[i] >= first_free) first_free = launch->places[i] + 1;
  // Above all places first, so that no place still holds another's source.
  int moved = fcntl(*pipe, F_DUPFD_CLOEXEC, first_free);
  if (moved < 0) fail(*pipe, IGNITE_STEP_DESCRIPTOR, 0);
  *pipe = moved;
  int copies[launch->descriptors + 1];
  for (uint32_t i = 0; i < launch->descriptors; i++) {
    copies[i] = fcntl(launch->sources[i], F_DUPFD_CLOEXEC, first_free);
    if (copies[i] < 0) fail(*pipe, IGNITE_STEP_DESCRIPTOR, (int)i);
  }
  for (int number = 0; number < first_free; number++) close(number);
  for (uint32_t i = 0; i < launch->descriptors; i++)
    if (dup2(copies[i], launch->places[i]) < 0) fail(*pipe, IGNITE_STEP_DESCRIPTOR, (int)i);
  if ((moved == first_free || syscall(SYS_close_range, (unsigned)first_free, (unsigned)moved - 1, 0) == 0) &&
      syscall(SYS_close_range, (unsigned)moved + 1, ~0u, 0) == 0)
    return;
  // Before Linux 5.9: one by one.
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) fail(*pipe, IGNITE_STEP_CLOSE, 0);
  for (int number = first_free; number < (int)limit.rlim_cur; number++)
    if (number != moved) close(number);
}

static void drop_capabilities(int pipe, const struct ignite_launch *launch) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail(pipe, IGNITE_STEP_CAPABILITIES, 0);
  // Without CAP_SETPCAP the bounding set stays as it is; then no_new_privs alone bars the way to it.
  for (int capability = 0; capability < 64; capability++)
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      if (errno == EINVAL || errno == EPERM) break;
      fail(pipe, IGNITE_STEP_CAPABILITIES, capability);
    }
  // Older kernels know no ambient set.
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (launch->isolated) {
    if (syscall(SYS_setgroups, launch->group_count, launch->groups) < 0 || syscall(SYS_setresgid, launch->gid, launch->gid, launch->gid) < 0 ||
        syscall(SYS_setresuid, launch->uid, launch->uid, launch->uid) < 0)
      fail(pipe, IGNITE_STEP_IDENTITY, 0);
  }
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  memset(data, 0, sizeof data);
  if (syscall(SYS_capset, &header, data) < 0) fail(pipe, IGNITE_STEP_CAPABILITIES, 0);
}

static void child(int pipe, const struct ignite_launch *launch) {
  reset_signals(pipe);
  for (uint32_t i = 0; i < launch->cgroup_count; i++)
    if (write(launch->cgroups[i], "0", 1) != 1) fail(pipe, IGNITE_STEP_CGROUP, (int)i);
  // Soon, because a copy of another's socket keeps its port busy and its connection open.
  place_descriptors(&pipe, launch);
  // The parent says go once it has read this process's start time, which a program can hide after exec.
  char go;
  ssize_t count;
  do {
    count = read(pipe, &go, 1);
  } while (count < 0 && errno == EINTR);
  if (count != 1) _exit(127);
  if (launch->new_session && setsid() < 0) fail(pipe, IGNITE_STEP_SESSION, 0);
  umask(0);
  if (launch->isolated) make_root(pipe, launch);
  umask(0077);
  for (uint32_t i = 0; i < launch->limit_count; i++) {
    struct rlimit limit = {launch->limits[i].soft, launch->limits[i].hard};
    if (setrlimit((__rlimit_resource_t)launch->limits[i].resource, &limit) < 0) fail(pipe, IGNITE_STEP_LIMIT, (int)i);
  }
  if (!launch->keeps_rights) drop_capabilities(pipe, launch);
  if (launch->working_directory && chdir(launch->working_directory) < 0) fail(pipe, IGNITE_STEP_DIRECTORY, 0);
  execve(launch->executable, launch->arguments, launch->environment);
  fail(pipe, IGNITE_STEP_EXECUTE, 0);
}

static int refuse(struct ignite_launch_result *result, int step) {
  result->step = step;
  result->error = errno;
  return -1;
}

static void reap(pid_t pid) {
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
  }
}

int ignite_launch(const struct ignite_launch *launch, struct ignite_launch_result *result) {
  memset(result, 0, sizeof *result);
  result->pidfd = -1;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return refuse(result, IGNITE_STEP_PIPE);

  // No handler of ours may run in the child before it has reset them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    child(ends[1], launch);
  }
  int saved = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    errno = saved;
    return refuse(result, IGNITE_STEP_FORK);
  }
  // The child is not reaped yet, so its number cannot be another's.
  int pidfd = ignite_pidfd_open(pid);
  saved = errno;
  result->start_time = ignite_start_time(pid);
  send(ends[0], "", 1, MSG_NOSIGNAL);
  struct report report;
  ssize_t count;
  do {
    count = read(ends[0], &report, sizeof report);
  } while (count < 0 && errno == EINTR);
  close(ends[0]);
  if (count == sizeof report) {
    reap(pid);
    if (pidfd >= 0) close(pidfd);
    result->step = report.step;
    result->index = report.index;
    result->error = report.error;
    return -1;
  }
  if (pidfd < 0) {
    kill(pid, SIGKILL);
    reap(pid);
    errno = saved;
    return refuse(result, IGNITE_STEP_PIDFD);
  }
  result->pid = pid;
  result->pidfd = pidfd;
  return 0;
}
