#define _GNU_SOURCE
#include "CIgniteArchive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

const uint64_t archive_resolve_freely = 0;
const uint64_t archive_resolve_in_root = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
const uint64_t archive_resolve_beneath = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
const int archive_current_directory = AT_FDCWD;
const int archive_no_entry = -ENOENT, archive_not_a_directory = -ENOTDIR, archive_no_data = -ENXIO,
          archive_unsupported = -EOPNOTSUPP, archive_leads_out = -EXDEV;

#define CHECKED(call) ((call) < 0 ? -errno : 0)

static int open_resolved(int directory, const char *path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
  // EAGAIN: something on the path was renamed while it was walked.
  for (int attempt = 0; attempt < 64; attempt++) {
    int descriptor = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (descriptor >= 0) return descriptor;
    if (errno != EAGAIN && errno != EINTR) return -errno;
  }
  return -EAGAIN;
}

int archive_open_path(int directory, const char *path, int follow, uint64_t resolve) {
  return open_resolved(directory, path, O_PATH | (follow ? 0 : O_NOFOLLOW), resolve);
}

int archive_open_directory(int directory, const char *path, uint64_t resolve) {
  return open_resolved(directory, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve);
}

static const int reading = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

int archive_open_file(int directory, const char *name) {
  int descriptor = openat(directory, name, reading | O_NOFOLLOW);
  return descriptor < 0 ? -errno : descriptor;
}

// The name in /proc by which what a descriptor refers to can be used in calls that take paths only.
static void name_of(int descriptor, char name[32]) { snprintf(name, 32, "/proc/self/fd/%d", descriptor); }

int archive_reopen(int reference, int as_directory) {
  char name[32];
  name_of(reference, name);
  int descriptor = open(name, reading | (as_directory ? O_DIRECTORY : 0));
  return descriptor < 0 ? -errno : descriptor;
}

int archive_create_file(int directory, const char *name) {
  int descriptor = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  return descriptor < 0 ? -errno : descriptor;
}

void archive_close(int descriptor) { close(descriptor); }

static int describe(const struct stat *from, struct archive_status *to) {
  to->mode = from->st_mode;
  to->uid = from->st_uid;
  to->gid = from->st_gid;
  to->links = (uint32_t)from->st_nlink;
  to->major = major(from->st_rdev);
  to->minor = minor(from->st_rdev);
  to->size = (uint64_t)from->st_size;
  to->stored = (uint64_t)from->st_blocks * 512;
  to->inode = from->st_ino;
  to->device = from->st_dev;
  to->seconds = from->st_mtim.tv_sec;
  to->nanoseconds = (uint32_t)from->st_mtim.tv_nsec;
  return 0;
}

int archive_status_of(int descriptor, struct archive_status *status) {
  struct stat found;
  return fstat(descriptor, &found) < 0 ? -errno : describe(&found, status);
}

int archive_status_at(int directory, const char *name, struct archive_status *status) {
  struct stat found;
  return fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : describe(&found, status);
}

int archive_is_kernels(int descriptor) {
  struct statfs system;
  if (fstatfs(descriptor, &system) < 0) return 0;
  switch ((uint32_t)system.f_type) {
    case 0x9FA0: /* proc */ case 0x62656572: /* sysfs */ case 0x27E0EB: case 0x63677270: /* control groups */
    case 0x1CD1: /* devpts */ case 0x64626720: /* debugfs */ case 0x74726163: /* tracefs */ case 0x73636673: /* securityfs */
    case 0xCAFE4A11: /* bpf */ case 0x6165676C: /* pstore */ case 0x19800202: /* mqueue */ case 0xDE5E81E4: /* efivarfs */
    case 0x62656570: /* configfs */ case 0x42494E4D: /* binfmt_misc */
      return 1;
    default: return 0;
  }
}

long archive_names(int directory, char *buffer, size_t size) {
  _Alignas(8) char entries[16384];
  // A name takes less room than its entry.
  long got = syscall(SYS_getdents64, directory, entries, size < sizeof entries ? size : sizeof entries);
  if (got < 0) return -errno;
  size_t used = 0;
  for (long at = 0; at < got;) {
    struct dirent64 *entry = (struct dirent64 *)(entries + at);
    at += entry->d_reclen;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    size_t length = strlen(entry->d_name) + 1;
    memcpy(buffer + used, entry->d_name, length);
    used += length;
  }
  // Only `.` and `..` in this batch: there may be more behind it.
  return used == 0 && got > 0 ? archive_names(directory, buffer, size) : (long)used;
}

long archive_link_target(int directory, const char *name, char *buffer, size_t size) {
  ssize_t length = readlinkat(directory, name, buffer, size);
  return length < 0 ? -errno : length;
}

long archive_path_of(int reference, char *buffer, size_t size) {
  char name[32];
  name_of(reference, name);
  return archive_link_target(AT_FDCWD, name, buffer, size);
}

#define REPEATED(call)                                  \
  do {                                                  \
    ssize_t count;                                      \
    while ((count = (call)) < 0 && errno == EINTR) {}   \
    return count < 0 ? -errno : count;                  \
  } while (0)

long archive_read(int descriptor, void *buffer, size_t size) { REPEATED(read(descriptor, buffer, size)); }

long archive_read_at(int descriptor, void *buffer, size_t size, uint64_t offset) {
  REPEATED(pread(descriptor, buffer, size, (off_t)offset));
}

long archive_write(int descriptor, const void *buffer, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t count = write(descriptor, (const char *)buffer + done, size - done);
    if (count > 0) done += (size_t)count;
    else if (count < 0 && errno != EINTR) return -errno;
  }
  return (long)size;
}

long archive_write_at(int descriptor, const void *buffer, size_t size, uint64_t offset) {
  for (size_t done = 0; done < size;) {
    ssize_t count = pwrite(descriptor, (const char *)buffer + done, size - done, (off_t)(offset + done));
    if (count > 0) done += (size_t)count;
    else if (count < 0 && errno != EINTR) return -errno;
  }
  return (long)size;
}

int archive_truncate(int descriptor, uint64_t size) { return CHECKED(ftruncate(descriptor, (off_t)size)); }

static int64_t seek(int descriptor, uint64_t offset, int whence) {
  off_t place = lseek(descriptor, (off_t)offset, whence);
  return place < 0 ? -errno : place;
}

int64_t archive_next_data(int descriptor, uint64_t offset) { return seek(descriptor, offset, SEEK_DATA); }
int64_t archive_next_hole(int descriptor, uint64_t offset) { return seek(descriptor, offset, SEEK_HOLE); }

int archive_make_directory(int directory, const char *name) { return CHECKED(mkdirat(directory, name, 0700)); }

int archive_make_symbolic_link(const char *target, int directory, const char *name) {
  return CHECKED(symlinkat(target, directory, name));
}

int archive_make_node(int directory, const char *name, uint32_t mode, uint32_t major, uint32_t minor) {
  return CHECKED(mknodat(directory, name, mode, makedev(major, minor)));
}

int archive_make_link(int reference, int directory, const char *name) {
  char source[32];
  name_of(reference, source);
  return CHECKED(linkat(AT_FDCWD, source, directory, name, AT_SYMLINK_FOLLOW));
}

int archive_remove(int directory, const char *name) { return CHECKED(unlinkat(directory, name, 0)); }

int archive_set_owner(int descriptor, uint32_t uid, uint32_t gid) {
  return CHECKED(fchownat(descriptor, "", uid, gid, AT_EMPTY_PATH));
}

int archive_set_mode(int descriptor, uint32_t mode) {
  char name[32];
  name_of(descriptor, name);
  return CHECKED(chmod(name, mode & 07777));
}

int archive_set_time(int directory, const char *name, int64_t seconds, uint32_t nanoseconds) {
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = nanoseconds}};
  return CHECKED(utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW));
}

long archive_attributes(int descriptor, char *buffer, size_t size) { REPEATED(flistxattr(descriptor, buffer, size)); }

long archive_attribute(int descriptor, const char *name, void *buffer, size_t size) {
  REPEATED(fgetxattr(descriptor, name, buffer, size));
}

int archive_set_attribute(int descriptor, const char *name, const void *value, size_t size) {
  return CHECKED(fsetxattr(descriptor, name, value, size, 0));
}

void archive_widen_pipe(int descriptor) { (void)fcntl(descriptor, F_SETPIPE_SZ, 1 << 20); }

const char *archive_error_text(int error) {
  // Not strerror: in the guest that would bring locales and their files.
  const char *text = strerrordesc_np(error < 0 ? -error : error);
  return text ? text : "unknown error";
}
