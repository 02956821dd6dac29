#pragma once
// The host's hardware as Swift cannot ask it: an instruction, and ioctl(2) with its variable arguments.

#include <stdint.h>

/// The time-stamp counter; 0 on a machine without one.
uint64_t ignite_timestamp_counter(void);

/// Opens `path` (/dev/kvm), asks its version and makes an empty virtual machine, which is closed again.
/// Returns KVM's API version, or -1 and errno; `*created` tells whether the machine could be made.
int ignite_kvm_probe(const char *path, int *created);
