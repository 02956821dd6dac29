#define _GNU_SOURCE
#include "CGuest.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

static int reap(int *code, int *ending_signal, int options) {
  int status;
  pid_t process = waitpid(-1, &status, options);
  if (process <= 0) return process;
  *code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  *ending_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return process;
}

int guest_reap(int *code, int *ending_signal) { return reap(code, ending_signal, WNOHANG); }
int guest_wait(int *code, int *ending_signal) { return reap(code, ending_signal, 0); }

int guest_kill(int process, int number) { return kill(process, number); }

void guest_limit_files(uint64_t soft, uint64_t hard) {
  struct rlimit files = {.rlim_cur = soft, .rlim_max = hard};
  syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, NULL);
}

int guest_fork(void) { return fork(); }

int guest_be_worker(int input, int output, int errors, const char *name) {
  int streams[3] = {input, output, errors};
  for (int index = 0; index < 3; index++) {
    if (dup2(streams[index], index) < 0) return -1;
  }
  if (syscall(SYS_close_range, 3, ~0U, 0) != 0) return -1;
  sigset_t none;
  sigemptyset(&none);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  return prctl(PR_SET_NAME, name, 0, 0, 0);
}

void guest_exit(int code) { _exit(code); }

int guest_run_first(void) {
  struct sched_param lowest = {.sched_priority = 1};
  return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest);
}

int guest_become(const char *path, char *const *arguments, char *const *environment) {
  sigset_t none;
  sigemptyset(&none);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  return execve(path, arguments, environment);
}

void guest_mark_name(char letter) {
  if (program_invocation_name[0]) program_invocation_name[0] = letter;
}

// The child shares the parent's memory until exec, and the parent waits (as in posix_spawn): no page tables are copied,
// and what went wrong is written straight into the request. So the child calls nothing that locks or allocates, and
// makes its identity's calls itself, since the C library's would reach for the parent's threads.

static int make_directories(const char *path) {
  char part[4096];
  size_t length = strlen(path);
  if (length >= sizeof part) { errno = ENAMETOOLONG; return -1; }
  for (size_t at = 1; at <= length; at++) {
    if (path[at] != '/' && path[at] != 0) continue;
    memcpy(part, path, at);
    part[at] = 0;
    if (mkdir(part, 0755) != 0 && errno != EEXIST) return -1;
  }
  return 0;
}

static int enter_directory(const struct guest_spawn *request) {
  if (chdir(request->directory) == 0) return 0;
  if (errno != ENOENT || !request->make_directory) return -1;
  return make_directories(request->directory) == 0 ? chdir(request->directory) : -1;
}

static int take_identity(const struct guest_spawn *request) {
  // Programs open /dev/stdout and its kin anew: their own pipe or terminal must be theirs.
  for (int index = 0; index < 3; index++) {
    struct stat status;
    if (request->user == 0 || fstat(index, &status) != 0) continue;
    if (S_ISFIFO(status.st_mode) || request->terminal) (void)!fchown(index, request->user, (gid_t)-1);
  }
  if (syscall(SYS_setgroups, request->group_count, request->groups) != 0) return -1;
  if (syscall(SYS_setresgid, request->group, request->group, request->group) != 0) return -1;
  return (int)syscall(SYS_setresuid, request->user, request->user, request->user);
}

static void execute(struct guest_spawn *request, const char *path, size_t length) {
  if (length >= sizeof request->path) { request->error = ENAMETOOLONG; return; }
  if (path != request->path) memcpy(request->path, path, length);
  request->path[length] = 0;
  // A success leaves this behind for the parent.
  request->error = 0;
  execve(request->path, request->arguments, request->environment);
  request->error = errno;
}

// The first regular file that may be executed, in the order of the search path.
static void search(struct guest_spawn *request) {
  const char *name = request->arguments[0], *part = request->search_path;
  size_t name_length = strlen(name);
  request->step = guest_step_search;
  request->error = ENOENT;
  for (;;) {
    size_t length = strcspn(part, ":"), at = length;
    if (name_length > 0 && length + name_length + 3 < sizeof request->path) {
      char *path = request->path;
      struct stat status;
      memcpy(path, part, length);
      if (length == 0) path[at++] = '.';
      path[at++] = '/';
      memcpy(path + at, name, name_length + 1);
      if (stat(path, &status) == 0 && S_ISREG(status.st_mode)
          && syscall(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS) == 0) {
        request->step = guest_step_exec;
        execute(request, path, at + name_length);
        return;
      }
    }
    if (part[length] == 0) return;
    part += length + 1;
  }
}

static int child(void *argument) {
  struct guest_spawn *request = argument;
  sigset_t none;
  signal(SIGPIPE, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  for (int index = 0; index < 3; index++) {
    if (dup2(request->descriptors[index], index) < 0) goto failed;
  }
  if (request->terminal) ioctl(0, TIOCSCTTY, 0);
  umask(022);
  guest_limit_files(request->soft_files, request->hard_files);
  if (request->reset_oom) {
    int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score >= 0) { (void)!write(score, "0", 1); close(score); }
  }
  request->step = guest_step_directory;
  if (enter_directory(request) != 0) goto failed;
  request->step = guest_step_identity;
  if (take_identity(request) != 0) goto failed;
  request->step = guest_step_exec;
  if (request->search_path) search(request);
  else execute(request, request->arguments[0], strlen(request->arguments[0]));
  _exit(127);
failed:
  request->error = errno;
  _exit(127);
}

int guest_spawn(struct guest_spawn *request) {
  static _Alignas(16) char stack[65536];
  request->error = 0;
  request->step = 0;
  int process = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, request);
  if (process < 0) { request->error = errno; return -1; }
  if (request->error == 0) return process;
  waitpid(process, NULL, 0);
  return -1;
}

const char *guest_spawn_path(const struct guest_spawn *request) { return request->path; }
