# Sourced by the scripts beside it. Sets the root of the work tree as the current directory, finds the Swift toolchain.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT" || exit 1

# The toolchain stands last: a swift that the user has chosen by PATH is preferred.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/swift/usr/bin"
export LC_ALL=C.UTF-8

# Where what costs a download is kept between runs.
export IGNITE_CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The folder to hide so that a program runs without the toolchain, e.g. /opt/swift.
toolchain() {
  local swift
  swift=$(readlink -f "$(command -v swift)") || return 1
  printf '%s\n' "${swift%/usr/bin/*}"
}

# Runs as root: directly, or through sudo, asking for a password on a terminal only.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    if [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
  else
    die "this needs root, and there is no sudo: $*"
  fi
}

can_be_root() { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }
