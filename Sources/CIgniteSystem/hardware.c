#define _GNU_SOURCE
#include "hardware.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <x86intrin.h>
uint64_t ignite_timestamp_counter(void) {
  unsigned cpu;
  // rdtscp waits for what was before it, so that a reading between two clock readings lies between them.
  return __rdtscp(&cpu);
}
#else
uint64_t ignite_timestamp_counter(void) { return 0; }
#endif

int ignite_kvm_probe(const char *path, int *created) {
  *created = 0;
  int kvm = open(path, O_RDWR | O_CLOEXEC);
  if (kvm < 0) return -1;
  int version = ioctl(kvm, KVM_GET_API_VERSION, 0);
  int saved = errno;
  if (version >= 0) {
    int machine = ioctl(kvm, KVM_CREATE_VM, 0);
    if (machine >= 0) {
      *created = 1;
      close(machine);
    }
  }
  close(kvm);
  errno = saved;
  return version;
}
