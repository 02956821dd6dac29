#define _GNU_SOURCE
#include "CGuest.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

const uint32_t guest_event_input = EPOLLIN, guest_event_output = EPOLLOUT, guest_event_hangup = EPOLLHUP | EPOLLERR,
               guest_event_urgent = EPOLLPRI;

int guest_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int guest_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token) {
  // Edge-triggered: a port without a host would else report a hang-up without end (facts of virtio_console's poll).
  struct epoll_event event = {.events = events | EPOLLET, .data.u64 = token};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

int guest_epoll_wait(int epoll, struct guest_event *events, int capacity, int milliseconds) {
  struct epoll_event got[32];
  if (capacity > 32) capacity = 32;
  int count = epoll_wait(epoll, got, capacity, milliseconds);
  for (int index = 0; index < count; index++) {
    events[index].token = got[index].data.u64;
    events[index].events = got[index].events;
  }
  return count;
}

int guest_child_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_SETMASK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void guest_drain_signals(int descriptor) {
  struct signalfd_siginfo information[8];
  while (read(descriptor, information, sizeof information) == sizeof information) {}
}

int guest_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int guest_resize_terminal(int master, uint16_t columns, uint16_t rows) {
  struct winsize size = {.ws_col = columns, .ws_row = rows};
  return ioctl(master, TIOCSWINSZ, &size);
}

int guest_open_terminal(int *master, int *slave, uint16_t columns, uint16_t rows) {
  int unlock = 0;
  *slave = -1;
  *master = guest_open("/dev/ptmx", O_RDWR | O_NOCTTY, 0);
  if (*master < 0) return -1;
  if (ioctl(*master, TIOCSPTLCK, &unlock) == 0) *slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0) {
    int error = errno;
    close(*master);
    errno = error;
    return -1;
  }
  guest_resize_terminal(*master, columns, rows);
  return 0;
}

int guest_netlink_open(void) { return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE); }

long guest_netlink_send(int socket, const uint8_t *bytes, size_t count) {
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  return sendto(socket, bytes, count, 0, (struct sockaddr *)&kernel, sizeof kernel);
}

long guest_netlink_receive(int socket, uint8_t *bytes, size_t capacity) { return recv(socket, bytes, capacity, 0); }
