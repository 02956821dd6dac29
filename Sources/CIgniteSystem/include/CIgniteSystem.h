#pragma once
// Small C pieces that Swift cannot express: headers that Glibc's module leaves out, macros, fork-side code.

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>

#include "child.h"
#include "hardware.h"
#include "launch.h"

/// Starts a detached thread named `name`; returns 0 or an errno value.
int ignite_thread_start(const char *name, void (*body)(void *), void *argument);

/// pipe2, accept4 and SO_PEERCRED, which glibc shows to GNU sources only; all close-on-exec.
int ignite_pipe(int ends[2]);
int ignite_accept(int listener);
int ignite_peer_uid(int socket, unsigned *uid);

/// Passes a descriptor over a Unix socket (SCM_RIGHTS), with one message of at least a byte.
int ignite_send_descriptor(int socket, int descriptor, const void *bytes, size_t count);
int ignite_receive_descriptor(int socket, void *bytes, size_t capacity, size_t *received);

/// memfd_create(2), close-on-exec; and its seals: nobody can change size, content or seals any more.
int ignite_memory_file(const char *name);
int ignite_seal(int descriptor);
int ignite_is_sealed(int descriptor);

/// Blocks signals in this thread and those it starts; a descriptor that blocked signals are read from.
int ignite_block_signals(const int *numbers, int count);
int ignite_signal_descriptor(const int *numbers, int count);
