#pragma once
#include <et/com_err.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

// The managers are globals, which Swift 6 does not let through.
static inline io_manager ignite_unix_io_manager(void) { return unix_io_manager; }

// A channel to a file that is opened now and laid out later: unix_io waits in its open for all that the file has dirty to
// be on stable storage, which is nothing as long as it is empty.
static inline errcode_t ignite_open_channel(const char *path, io_channel *channel) {
  return unix_io_manager->open(path, IO_FLAG_RW, channel);
}

static inline void ignite_close_channel(io_channel channel) { io_channel_close(channel); }

// Within a function, since Swift leaves a header's own variables out.
static inline io_channel *ignite_channel_at_hand(void) {
  static _Thread_local io_channel channel;
  return &channel;
}

static inline errcode_t ignite_take_channel(const char *name, int flags, io_channel *channel) {
  (void)name, (void)flags;
  *channel = *ignite_channel_at_hand();
  *ignite_channel_at_hand() = 0;
  return 0;
}

// ext2fs_initialize over a channel that is open. `*taken` says whether the channel now belongs to the file system, or went
// with it in a failure.
static inline errcode_t ignite_initialize(
    const char *name, struct ext2_super_block *parameters, io_channel channel, ext2_filsys *made, int *taken) {
  struct struct_io_manager manager = *unix_io_manager;
  manager.open = ignite_take_channel;
  *ignite_channel_at_hand() = channel;
  errcode_t failure = ext2fs_initialize(name, EXT2_FLAG_64BITS, parameters, &manager, made);
  *taken = *ignite_channel_at_hand() == 0;
  *ignite_channel_at_hand() = 0;
  return failure;
}

// Writes a file system and closes it without waiting for stable storage. ext2fs_close2 drops the errors of the last
// writes, those from the channel's cache; here they are returned. The file system is gone in any case.
static inline errcode_t ignite_ext2fs_close(ext2_filsys fs) {
  io_channel io = fs->io;
  errcode_t failure = ext2fs_flush2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
  io->refcount++;
  ext2fs_free(fs);
  errcode_t closed = io->manager->close(io);
  return failure ? failure : closed;
}

// Calls on the image files that glibc declares for _GNU_SOURCE only.
#include <sys/syscall.h>
#include <unistd.h>
#include <sys/ioctl.h>

// Gives a range of a file back to the host; returns 0, or -1 with errno set.
static inline int ignite_punch_hole(int fd, long long offset, long long length) {
  return (int)syscall(SYS_fallocate, fd, 0x02 | 0x01 /* PUNCH_HOLE | KEEP_SIZE */, offset, length);
}

// Makes a file share all of another's blocks; returns 0, or -1 with errno set.
static inline int ignite_clone_file(int to, int from) { return ioctl(to, 0x40049409 /* FICLONE */, from); }

// Begins to write a range of a file to stable storage, without waiting; returns 0, or -1 with errno set.
static inline int ignite_begin_writing(int fd, long long offset, long long length) {
  return (int)syscall(SYS_sync_file_range, fd, offset, length, 2 /* SYNC_FILE_RANGE_WRITE */);
}
