#define _GNU_SOURCE
#include "CGuest.h"

#include <dirent.h>
#include <errno.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

int guest_errno(void) { return errno; }

const char *guest_error_text(int error) {
  // Not strerror: that brings locales and their files.
  const char *text = strerrordesc_np(error);
  return text ? text : "unknown error";
}

int guest_open(const char *path, int flags, unsigned mode) { return open(path, flags | O_CLOEXEC, mode); }

int guest_is_open(int descriptor) { return fcntl(descriptor, F_GETFD) >= 0; }
int guest_open_console(void) { return open("/dev/console", O_RDWR | O_NOCTTY); }

int guest_set_nonblocking(int descriptor) {
  int flags = fcntl(descriptor, F_GETFL);
  return flags < 0 ? -1 : fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

unsigned guest_mode(const char *path, int follow) {
  struct stat status;
  if ((follow ? stat(path, &status) : lstat(path, &status)) != 0) return 0;
  return status.st_mode;
}

long guest_ticks(void) { return sysconf(_SC_CLK_TCK); }

int guest_copy_owner(const char *from, const char *to) {
  struct stat status;
  if (stat(from, &status) != 0 || chown(to, status.st_uid, status.st_gid) != 0) return -1;
  return chmod(to, status.st_mode & 07777);
}

int guest_mkdir(const char *path, unsigned mode) { return mkdir(path, mode); }

long guest_finit_module(int descriptor) { return syscall(SYS_finit_module, descriptor, "", 0); }

long guest_list_directory(const char *path, char *buffer, size_t size) {
  int descriptor = guest_open(path, O_RDONLY | O_DIRECTORY, 0);
  if (descriptor < 0) return -1;
  size_t used = 0;
  _Alignas(8) char entries[4096];
  long got;
  while ((got = syscall(SYS_getdents64, descriptor, entries, sizeof entries)) > 0) {
    for (long at = 0; at < got;) {
      struct dirent64 *entry = (struct dirent64 *)(entries + at);
      size_t length = strlen(entry->d_name) + 1;
      if (entry->d_name[0] != '.' && length <= size - used) {
        memcpy(buffer + used, entry->d_name, length);
        used += length;
      }
      at += entry->d_reclen;
    }
  }
  close(descriptor);
  return got < 0 ? -1 : (long)used;
}

int guest_has_attribute(const char *path, const char *name) { return getxattr(path, name, NULL, 0) >= 0; }
int guest_set_attribute(const char *path, const char *name) { return setxattr(path, name, "", 0, 0); }
int guest_remove_attribute(const char *path, const char *name) { return removexattr(path, name); }

static int is_own_entry(const char *name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0;
}

// Whether a directory has entries of others, or, emptying it, 0 once it has none. Takes the descriptor over.
static int walk_directory(int directory, int empties) {
  _Alignas(8) char entries[1024];
  int result = 0, removed = 0;
  long got;
  while (result == 0 && (got = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0) {
    for (long at = 0; result == 0 && at < got;) {
      struct dirent64 *entry = (struct dirent64 *)(entries + at);
      at += entry->d_reclen;
      if (is_own_entry(entry->d_name)) continue;
      if (!empties) result = 1;
      removed = 1;
      if (!empties || unlinkat(directory, entry->d_name, 0) == 0) continue;
      int inner = openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      result = inner < 0 || walk_directory(inner, 1) != 0 ? -1 : unlinkat(directory, entry->d_name, AT_REMOVEDIR);
    }
    // What is removed moves the place of what is left.
    if (removed) lseek(directory, 0, SEEK_SET);
    removed = 0;
  }
  close(directory);
  return result;
}

int guest_is_empty_directory(const char *path) {
  int directory = guest_open(path, O_RDONLY | O_DIRECTORY, 0);
  return directory >= 0 && walk_directory(directory, 0) == 0;
}

int guest_empty_directory(const char *path) {
  int directory = guest_open(path, O_RDONLY | O_DIRECTORY, 0);
  return directory < 0 ? -1 : walk_directory(directory, 1);
}

struct changes {
  int lower, output, failed;
  size_t used;
  char path[4096], buffer[8192];
};

static void flush_changes(struct changes *changes) {
  for (size_t at = 0; at < changes->used;) {
    ssize_t count = write(changes->output, changes->buffer + at, changes->used - at);
    if (count < 0 && errno != EINTR) { changes->failed = 1; break; }
    if (count > 0) at += (size_t)count;
  }
  changes->used = 0;
}

static void note_change(struct changes *changes, char letter) {
  size_t length = strlen(changes->path) + 1;
  if (changes->used + length + 1 > sizeof changes->buffer) flush_changes(changes);
  changes->buffer[changes->used] = letter;
  memcpy(changes->buffer + changes->used + 1, changes->path, length);
  changes->used += length + 1;
}

// Takes the directory over; its path ends at `length`. What is in it is new where the image has nothing there.
static void walk_changes(struct changes *changes, int directory, size_t length, int is_new) {
  _Alignas(8) char entries[2048];
  long got;
  while (!changes->failed && (got = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0) {
    for (long at = 0; at < got;) {
      struct dirent64 *entry = (struct dirent64 *)(entries + at);
      at += entry->d_reclen;
      const char *name = entry->d_name;
      size_t size = strlen(name);
      struct stat status, before;
      if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || length + size + 2 > sizeof changes->path) continue;
      if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
      changes->path[length] = '/';
      memcpy(changes->path + length + 1, name, size + 1);
      int was_there = !is_new && fstatat(changes->lower, changes->path + 1, &before, AT_SYMLINK_NOFOLLOW) == 0;
      if (S_ISCHR(status.st_mode) && status.st_rdev == 0) {
        if (was_there) note_change(changes, 'D');
      } else if (S_ISDIR(status.st_mode)) {
        int inner = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int same = was_there && before.st_mode == status.st_mode && before.st_uid == status.st_uid
                   && before.st_gid == status.st_gid;
        note_change(changes, !was_there ? 'A' : same ? 'c' : 'C');
        if (inner >= 0) walk_changes(changes, inner, length + 1 + size, !was_there || !S_ISDIR(before.st_mode));
      } else {
        note_change(changes, was_there ? 'C' : 'A');
      }
      changes->path[length] = 0;
    }
  }
  close(directory);
}

int guest_write_changes(const char *upper, int lower, int output) {
  static struct changes changes;
  changes.lower = lower;
  changes.output = output;
  int directory = guest_open(upper, O_RDONLY | O_DIRECTORY, 0);
  if (directory < 0) return -1;
  walk_changes(&changes, directory, 0, 0);
  flush_changes(&changes);
  return changes.failed ? -1 : 0;
}

int guest_sync_directory(const char *path) {
  int descriptor = guest_open(path, O_RDONLY | O_DIRECTORY, 0);
  if (descriptor < 0) return -1;
  int result = syncfs(descriptor);
  int error = errno;
  close(descriptor);
  errno = error;
  return result;
}

uint64_t guest_monotonic(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t guest_wall_clock(void) { return (uint64_t)time(NULL); }

int guest_set_wall_clock(uint64_t nanoseconds) {
  struct timespec now = {.tv_sec = (time_t)(nanoseconds / 1000000000u), .tv_nsec = (long)(nanoseconds % 1000000000u)};
  return clock_settime(CLOCK_REALTIME, &now);
}

void guest_sleep(uint64_t nanoseconds) {
  struct timespec left = {.tv_sec = (time_t)(nanoseconds / 1000000000u), .tv_nsec = (long)(nanoseconds % 1000000000u)};
  nanosleep(&left, NULL);
}

int guest_add_entropy(const uint8_t *bytes, size_t count) {
  union {
    struct rand_pool_info info;
    uint8_t space[sizeof(struct rand_pool_info) + 512];
  } pool;
  if (count > 512) count = 512;
  pool.info.entropy_count = (int)count * 8;
  pool.info.buf_size = (int)count;
  memcpy(pool.info.buf, bytes, count);
  int device = guest_open("/dev/urandom", O_RDWR, 0);
  if (device < 0) return -1;
  int result = ioctl(device, RNDADDENTROPY, &pool.info);
  if (result == 0) result = ioctl(device, RNDRESEEDCRNG);
  explicit_bzero(&pool, sizeof pool);
  int error = errno;
  close(device);
  errno = error;
  return result;
}

int guest_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options) {
  return mount(source, target, type, flags, options);
}

int guest_detached_mount(const char *directory) {
  return (int)syscall(SYS_open_tree, AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

int guest_attach_mount(int descriptor, const char *target) {
  return (int)syscall(SYS_move_mount, descriptor, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
}

int guest_remount_here_read_only(void) { return mount(NULL, ".", NULL, MS_REMOUNT | MS_RDONLY, NULL); }

int guest_is_read_only(const char *path) {
  struct statvfs system;
  return statvfs(path, &system) == 0 && (system.f_flag & ST_RDONLY) != 0;
}

int guest_can_move_mounts(void) {
  // Without arguments that make sense, for its error alone.
  return syscall(SYS_move_mount, -1, "", -1, "", 0) < 0 && errno != ENOSYS;
}

int guest_open_mount(const char *path) { return open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

int guest_move_mount(int mount, const char *target) {
  const unsigned empty_path = 4;  // MOVE_MOUNT_F_EMPTY_PATH
  return (int)syscall(SYS_move_mount, mount, "", AT_FDCWD, target, empty_path);
}

int guest_switch_root(void) {
  if (mount(".", "/", NULL, MS_MOVE, NULL) != 0) return -1;
  if (chroot(".") != 0) return -1;
  return chdir("/");
}

void guest_restart(void) { reboot(RB_AUTOBOOT); }
void guest_power_off(void) { reboot(RB_POWER_OFF); }
