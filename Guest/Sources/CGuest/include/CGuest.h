// What ignite-init asks of the kernel and of the C library, as far as Swift cannot import it itself: variadic
// functions, macros, system calls without a wrapper. Functions that can fail return -1 and set errno, as in C.
#ifndef IGNITE_CGUEST_H
#define IGNITE_CGUEST_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

int guest_errno(void);
// A constant text of the C library; never NULL.
const char *guest_error_text(int error);

// Files. Every descriptor is close-on-exec.
int guest_open(const char *path, int flags, unsigned mode);
int guest_is_open(int descriptor);
// For descriptors 0 to 2: not close-on-exec.
int guest_open_console(void);
int guest_set_nonblocking(int descriptor);
// The st_mode of a path, symbolic links followed or not; 0 where it cannot be read.
unsigned guest_mode(const char *path, int follow);
int guest_mkdir(const char *path, unsigned mode);
// Ticks of the clock that /proc counts processors' time in, a second.
long guest_ticks(void);
int guest_copy_owner(const char *from, const char *to);
long guest_finit_module(int descriptor);
// Extended attributes with an empty value, of a directory.
int guest_has_attribute(const char *path, const char *name);
int guest_set_attribute(const char *path, const char *name);
int guest_remove_attribute(const char *path, const char *name);
// Whether nothing but `lost+found` is in a directory, and what makes it so, on its own file system.
int guest_is_empty_directory(const char *path);
int guest_empty_directory(const char *path);
// Writes what is in an overlay's upper directory beside its lower one: a letter and an absolute path each, with a zero
// behind it. A added, C changed, D deleted; c a directory of which at most the contents have changed.
int guest_write_changes(const char *upper, int lower, int output);
// Writes the file system that a directory is on to its disk.
int guest_sync_directory(const char *path);
// The names in a directory, one after another with a terminating zero each; the bytes used, or -1.
long guest_list_directory(const char *path, char *buffer, size_t size);

// Time in nanoseconds.
uint64_t guest_monotonic(void);
// In seconds since 1970.
uint64_t guest_wall_clock(void);
int guest_set_wall_clock(uint64_t nanoseconds);
void guest_sleep(uint64_t nanoseconds);

// random(4): credits the bytes in full, and reseeds the generator.
int guest_add_entropy(const uint8_t *bytes, size_t count);

// Mounts and the end.
int guest_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options);
// A directory as a mount that is nowhere yet, by its descriptor, and its place: open_tree(2), move_mount(2).
int guest_detached_mount(const char *directory);
int guest_attach_mount(int descriptor, const char *target);
// Makes the current directory's mount read-only, or detaches it.
int guest_remount_here_read_only(void);
// Whether a path's mount or file system is read-only.
int guest_is_read_only(const char *path);
// move_mount(2): whether the kernel has it (Linux 5.2), a mount by its path, and its move to another.
int guest_can_move_mounts(void);
int guest_open_mount(const char *path);
int guest_move_mount(int mount, const char *target);
// Makes the current directory the root of this process, in place of the initial root.
int guest_switch_root(void);
void guest_restart(void);
void guest_power_off(void);

// epoll(7), edge-triggered, with a number for each descriptor.
struct guest_event {
  uint64_t token;
  uint32_t events;
};
extern const uint32_t guest_event_input, guest_event_output, guest_event_hangup, guest_event_urgent;
int guest_epoll_create(void);
int guest_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token);
int guest_epoll_wait(int epoll, struct guest_event *events, int capacity, int milliseconds);
// Blocks the signals that the loop takes from a descriptor, ignores SIGPIPE, and makes that descriptor.
int guest_child_signals(void);
// Empties a descriptor of signals.
void guest_drain_signals(int descriptor);

// Processes.
// The next child that has ended: its pid, its exit status in *code or the signal that ended it in *signal; 0 when there
// is none, -1 when there are no children.
int guest_reap(int *code, int *signal);
// The same, awaited.
int guest_wait(int *code, int *signal);
int guest_kill(int process, int signal);

struct guest_spawn {
  char *const *arguments;
  char *const *environment;
  // Where a program without a slash is searched; NULL: arguments[0] is the path.
  const char *search_path;
  // Where the process starts, and whether it is made when it is absent.
  const char *directory;
  int make_directory;
  // Standard input, output and errors.
  int descriptors[3];
  // The descriptors are one terminal, which becomes the controlling one.
  int terminal;
  uint32_t user, group;
  const uint32_t *groups;
  size_t group_count;
  // The file descriptors that the process may open: soft and hard.
  uint64_t soft_files, hard_files;
  // Whether the agent's protection from the kernel's memory killer is taken back.
  int reset_oom;

  // What went wrong: the errno, the step, and the path of an exec.
  int error;
  int step;
  char path[4096];
};
enum { guest_step_directory = 1, guest_step_identity = 2, guest_step_search = 3, guest_step_exec = 4 };
// Starts a process; its pid, or -1 with the reason in the structure. Returns when exec has been done or has failed.
int guest_spawn(struct guest_spawn *request);
const char *guest_spawn_path(const struct guest_spawn *request);
// The number of files that this process may open.
void guest_limit_files(uint64_t soft, uint64_t hard);
// Becomes another program, for machine mode.
int guest_become(const char *path, char *const *arguments, char *const *environment);
int guest_fork(void);
// For a child of guest_fork that works on instead of becoming another program: its standard streams, no other descriptor
// of the parent's, signals as ever, and a session and name of its own. The name has at most 15 bytes.
int guest_be_worker(int input, int output, int errors, const char *name);
_Noreturn void guest_exit(int code);
// Runs before all others whenever there is something to do; what is started from here does not.
int guest_run_first(void);
// Writes a first letter into the program's own argv[0].
void guest_mark_name(char letter);

// Pipes and terminals.
int guest_pipe(int ends[2]);
// A pseudo-terminal; both ends close-on-exec.
int guest_open_terminal(int *master, int *slave, uint16_t columns, uint16_t rows);
int guest_resize_terminal(int master, uint16_t columns, uint16_t rows);

// rtnetlink(7).
int guest_netlink_open(void);
long guest_netlink_send(int socket, const uint8_t *bytes, size_t count);
long guest_netlink_receive(int socket, uint8_t *bytes, size_t capacity);

#endif
