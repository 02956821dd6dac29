#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "CIgniteSystem.h"

int ignite_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int ignite_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int ignite_send_descriptor(int socket, int descriptor, const void *bytes, size_t count) {
  struct iovec part = {(void *)bytes, count};
  union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  if (sent == (ssize_t)count) return 0;
  if (sent >= 0) errno = EMSGSIZE;
  return -1;
}

int ignite_receive_descriptor(int socket, void *bytes, size_t capacity, size_t *received) {
  struct iovec part = {bytes, capacity};
  union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (count < 0) return -1;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (count == 0 || !header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS
      || header->cmsg_len != CMSG_LEN(sizeof(int))) {
    errno = EPROTO;
    return -1;
  }
  int descriptor;
  memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  *received = (size_t)count;
  return descriptor;
}

#define IGNITE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

int ignite_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }

int ignite_seal(int descriptor) {
  return fcntl(descriptor, F_ADD_SEALS, IGNITE_SEALS);
}

int ignite_is_sealed(int descriptor) { return fcntl(descriptor, F_GET_SEALS) == (IGNITE_SEALS); }

int ignite_peer_uid(int socket, unsigned *uid) {
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -1;
  *uid = credentials.uid;
  return 0;
}
