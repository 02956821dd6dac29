#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "CIgniteSystem.h"

struct start {
  void (*body)(void *);
  void *argument;
  char name[16];
};

static void *run(void *opaque) {
  struct start start = *(struct start *)opaque;
  free(opaque);
  // Signals are for the thread that asked for them (signalfd), never for a helper.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  pthread_setname_np(pthread_self(), start.name);
  start.body(start.argument);
  return NULL;
}

int ignite_thread_start(const char *name, void (*body)(void *), void *argument) {
  struct start *start = calloc(1, sizeof *start);
  if (!start) return 12;
  start->body = body;
  start->argument = argument;
  strncpy(start->name, name, sizeof start->name - 1);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  int failure = pthread_create(&thread, &attributes, run, start);
  pthread_attr_destroy(&attributes);
  if (failure) free(start);
  return failure;
}
