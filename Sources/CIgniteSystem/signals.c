#define _GNU_SOURCE
#include <signal.h>
#include <sys/signalfd.h>

#include "CIgniteSystem.h"

static void fill(sigset_t *set, const int *numbers, int count) {
  sigemptyset(set);
  for (int index = 0; index < count; index++) sigaddset(set, numbers[index]);
}

int ignite_block_signals(const int *numbers, int count) {
  sigset_t set;
  fill(&set, numbers, count);
  return pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int ignite_signal_descriptor(const int *numbers, int count) {
  sigset_t set;
  fill(&set, numbers, count);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
