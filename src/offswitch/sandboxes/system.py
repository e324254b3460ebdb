"""What every machine of an agent has in common: the host's system, read-only, and an init."""

import os

USER = "agent"
UID = 1000

TERMINATED = 99
"""Exit status of the init when it is sent SIGTERM: how the machine is shut down from inside."""

# The init is bash that waits in a builtin, so that it has no child that the agent could kill. A signal
# that has no trap would end it if bash has a handler for it, so all but TERM are ignored; KILL and STOP from
# inside never reach the init of a PID namespace. bash reaps whatever orphans become its children. Its input is
# a socket (which cannot be opened through /proc/1/fd) that its warden holds: end of file means that nobody is
# left outside. dash does not serve here: its `read` ends whenever an orphan does.
_INIT = f"""#!/bin/bash
trap 'exit {TERMINATED}' TERM
trap '' HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM STKFLT CONT TSTP TTIN TTOU \\
  URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS
echo up
exec >/dev/null 2>&1
while read -r _; do :; done
exit 98
"""
INIT = "/etc/rc"
INIT_COMMAND = ("/bin/bash", INIT)

SHARED_MEMORY = 16 * 1024 * 1024

# Only what programs cannot do without. The host's users, its name, its resolver and its mounts stay outside.
_SYSTEM_FILES = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl/certs", "/etc/localtime")


def system() -> list[str | bytes]:
    """Arguments for ``bwrap`` that show the host's programs, and nothing else of the host."""
    mounts: list[str | bytes] = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = "/" + name
        if os.path.islink(path):
            mounts += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            mounts += ["--ro-bind", path, path]
    for path in _SYSTEM_FILES:
        if os.path.islink(path):
            mounts += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            mounts += ["--ro-bind", path, path]
    # bubblewrap's /dev is a tmpfs without a bound, so it is made read-only, with a bounded one for /dev/shm.
    return [
        *mounts, "--proc", "/proc", "--dev", "/dev",
        "--perms", "1777", "--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev",
    ]  # fmt: skip


def put(path: str, content: str, mode: int) -> list[str | bytes]:
    """Arguments for ``bwrap`` that put a file of its own there."""
    return ["--perms", f"{mode:04o}", "--file", content.encode("utf-8", "surrogateescape"), path]


def users(hostname: str, home: str) -> list[str | bytes]:
    """Arguments for ``bwrap`` that name the machine and its one user."""
    return [
        *put("/etc/passwd", f"{USER}:x:{UID}:{UID}:{USER}:{home}:/bin/bash\n", 0o444),
        *put("/etc/group", f"{USER}:x:{UID}:\n", 0o444),
        *put("/etc/hosts", f"127.0.0.1 localhost {hostname}\n", 0o444),
        *put("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n", 0o444),
        *put("/etc/hostname", hostname + "\n", 0o444),
        *put(INIT, _INIT, 0o555),
        "--dir", "/run",
    ]  # fmt: skip
