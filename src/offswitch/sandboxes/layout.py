"""The machine that an agent sees: its file system as arguments for bubblewrap."""

import os
import posixpath

from offswitch.sandboxes.config import HOME, BubblewrapConfig

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


def environment(config: BubblewrapConfig) -> dict[str, str]:
    """Environment variables of every command; none comes from the host."""
    return {
        "PATH": config.path,
        "HOME": HOME,
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        **config.environment,
    }


def arguments(config: BubblewrapConfig) -> list[str | bytes]:
    """Arguments for ``bwrap``.

    Returns:
        The arguments, where bytes stand for the number of an open file that holds them.
    """
    return [
        "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup",
        "--disable-userns", "--uid", str(UID), "--gid", str(UID), "--hostname", config.hostname,
        "--die-with-parent", "--as-pid-1", "--new-session", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin",
        "--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/var",
        *_system(),
        *_users(config.hostname),
        *_writable(config),
        *_files(config),
        "--chdir", "/", "--remount-ro", "/",
        "--", *INIT_COMMAND,
    ]  # fmt: skip


def _system() -> list[str | bytes]:
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


def _put(path: str, content: str, mode: int) -> list[str | bytes]:
    return ["--perms", f"{mode:04o}", "--file", content.encode("utf-8", "surrogateescape"), path]


def _users(hostname: str) -> list[str | bytes]:
    return [
        *_put("/etc/passwd", f"{USER}:x:{UID}:{UID}:{USER}:{HOME}:/bin/bash\n", 0o444),
        *_put("/etc/group", f"{USER}:x:{UID}:\n", 0o444),
        *_put("/etc/hosts", f"127.0.0.1 localhost {hostname}\n", 0o444),
        *_put("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n", 0o444),
        *_put("/etc/hostname", hostname + "\n", 0o444),
        *_put(INIT, _INIT, 0o555),
        "--dir", "/run",
    ]  # fmt: skip


def _writable(config: BubblewrapConfig) -> list[str | bytes]:
    mounts: list[str | bytes] = []
    for place in config.writable():
        mode, size = ("1777", config.tmp) if place == "/tmp" else ("0755", config.disk)
        mounts += ["--perms", mode, "--size", str(size), "--tmpfs", place]
    return [*mounts, "--symlink", "../tmp", "/var/tmp"]


def _files(config: BubblewrapConfig) -> list[str | bytes]:
    put: list[str | bytes] = []
    for path, file in {**config.files, **config.programs}.items():
        program = path in config.programs and "mode" not in file.model_fields_set
        put += _put(path, file.content, 0o755 if program else file.mode)
    return put


def tmpfs_mounts(config: BubblewrapConfig) -> list[str]:
    """Every temporary file system that the agent can write to."""
    return [posixpath.normpath(place) for place in [*config.writable(), "/dev/shm"]]
