#define _GNU_SOURCE
#include "child.h"

int ignite_spawn_prepare(posix_spawn_file_actions_t *actions, const char *directory) {
  int failure = posix_spawn_file_actions_addclosefrom_np(actions, 3);
  if (failure || !directory) return failure;
  return posix_spawn_file_actions_addchdir_np(actions, directory);
}
