#pragma once
// posix_spawn's GNU additions, which glibc shows to GNU sources only.

#include <spawn.h>

/// Adds to a child's preparation: close all descriptors from 3 on, and go to `directory` unless it is NULL.
/// Returns 0 or an errno value.
int ignite_spawn_prepare(posix_spawn_file_actions_t *actions, const char *directory);
