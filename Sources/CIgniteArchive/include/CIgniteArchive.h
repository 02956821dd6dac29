// The calls on files that packing and unpacking an archive takes, for the host and for the guest, which has no C library
// that Swift could import. Unless it says otherwise a function returns the negated errno where it fails.
#ifndef IGNITE_CARCHIVE_H
#define IGNITE_CARCHIVE_H

#include <stddef.h>
#include <stdint.h>

struct archive_status {
  uint32_t mode, uid, gid, links;
  // Of a device.
  uint32_t major, minor;
  // In bytes: the content, and what of it is stored.
  uint64_t size, stored;
  // What tells the file from all others.
  uint64_t inode, device;
  int64_t seconds;
  uint32_t nanoseconds;
};

// How paths are resolved (openat2(2)): as ever; with the directory as root; or never leaving the directory.
extern const uint64_t archive_resolve_freely, archive_resolve_in_root, archive_resolve_beneath;
// Paths as ever, from the current directory.
extern const int archive_current_directory;

// A reference to whatever is at the path, not opened.
int archive_open_path(int directory, const char *path, int follow, uint64_t resolve);
// A directory to be read; a symbolic link at the path's end is none.
int archive_open_directory(int directory, const char *path, uint64_t resolve);
// A file to be read, a FIFO without waiting for its writer; a symbolic link is an error.
int archive_open_file(int directory, const char *name);
// What a reference refers to, to be read.
int archive_reopen(int reference, int as_directory);
// A fresh file, mode 0600, to be written.
int archive_create_file(int directory, const char *name);
void archive_close(int descriptor);

int archive_status_of(int descriptor, struct archive_status *status);
// Symbolic links are not followed.
int archive_status_at(int directory, const char *name, struct archive_status *status);
// Whether the file system shows the kernel's own state: /proc, /sys and their kin.
int archive_is_kernels(int descriptor);

// The next names in an open directory, one after another with a terminating zero each; the bytes used, 0 at the end.
long archive_names(int directory, char *buffer, size_t size);
// A symbolic link's target; `name` may be empty for a reference. The length, at most `size`.
long archive_link_target(int directory, const char *name, char *buffer, size_t size);
// The path of what a reference refers to, as this process sees it.
long archive_path_of(int reference, char *buffer, size_t size);

long archive_read(int descriptor, void *buffer, size_t size);
long archive_read_at(int descriptor, void *buffer, size_t size, uint64_t offset);
// All of it, or the negated errno.
long archive_write(int descriptor, const void *buffer, size_t size);
long archive_write_at(int descriptor, const void *buffer, size_t size, uint64_t offset);
int archive_truncate(int descriptor, uint64_t size);
// Where data or a hole begins, at or behind the offset; -ENXIO behind the last data.
int64_t archive_next_data(int descriptor, uint64_t offset);
int64_t archive_next_hole(int descriptor, uint64_t offset);

int archive_make_directory(int directory, const char *name);
int archive_make_symbolic_link(const char *target, int directory, const char *name);
int archive_make_node(int directory, const char *name, uint32_t mode, uint32_t major, uint32_t minor);
// One more name for what a reference refers to.
int archive_make_link(int reference, int directory, const char *name);
// Not for directories.
int archive_remove(int directory, const char *name);

// Of a descriptor or a reference, that of a symbolic link too.
int archive_set_owner(int descriptor, uint32_t uid, uint32_t gid);
int archive_set_mode(int descriptor, uint32_t mode);
int archive_set_time(int directory, const char *name, int64_t seconds, uint32_t nanoseconds);

// Extended attributes: names one after another with a terminating zero each.
long archive_attributes(int descriptor, char *buffer, size_t size);
long archive_attribute(int descriptor, const char *name, void *buffer, size_t size);
int archive_set_attribute(int descriptor, const char *name, const void *value, size_t size);

// Lets a pipe hold more, for fewer changes between its two ends; without effect where that is not allowed.
void archive_widen_pipe(int descriptor);

// A constant text of the C library for an errno; never NULL.
const char *archive_error_text(int error);
extern const int archive_no_entry, archive_not_a_directory, archive_no_data, archive_unsupported;
// What resolving beneath a directory says of a path that leads out of it.
extern const int archive_leads_out;

#endif
