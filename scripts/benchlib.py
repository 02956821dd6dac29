"""What the benchmarks have in common: memory that is there, and a docker daemon of their own."""

import contextlib
import glob
import os
import signal
import subprocess
import sys
import time


def touch_memory(count):
    """Has this machine's memory there for what is measured next, for all alike: see "Imports" in docs/performance.md.

    In a process of its own: a child's largest resident size begins with its parent's.
    """
    subprocess.run([sys.executable, "-c", f"b'1' * {count}"], check=True)


class DockerDaemon:
    """Of Debian's docker.io, keeps all in `folder`, leaves the host's network alone; needs root."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        self.cgroups = self.found_cgroups()
        self.address = f"unix://{folder}/docker.sock"
        self.client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        with open(os.path.join(folder, "log"), "wb") as log:
            self.daemon = subprocess.Popen(
                ["dockerd", "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
                 "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid",
                 "-H", self.address], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while subprocess.run(self.command("info"), capture_output=True).returncode != 0:
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise SystemExit("dockerd did not start:\n" + open(log.name, encoding="utf-8").read()[-2000:])
            time.sleep(0.2)

    @staticmethod
    def found_cgroups():
        return set(glob.glob("/sys/fs/cgroup/docker") + glob.glob("/sys/fs/cgroup/*/docker"))

    def command(self, *words):
        return [self.client, "-H", self.address, *words]

    def __call__(self, *words):
        subprocess.run(self.command(*words), check=True, stdout=subprocess.DEVNULL)

    def close(self):
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        for line in open("/proc/self/mountinfo", encoding="utf-8").read().splitlines()[::-1]:
            if line.split()[4].startswith(self.folder + "/"):
                subprocess.run(["umount", "-l", line.split()[4]], check=False)
        for folder in self.found_cgroups() - self.cgroups:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
