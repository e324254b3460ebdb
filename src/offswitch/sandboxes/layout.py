"""The machine that an agent sees: its file system as arguments for bubblewrap."""

import posixpath

from offswitch.sandboxes.config import HOME, BubblewrapConfig
from offswitch.sandboxes.system import INIT_COMMAND, UID, USER, put, system, users


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
        *system(),
        *users(config.hostname, HOME),
        *_writable(config),
        *_files(config),
        "--chdir", "/", "--remount-ro", "/",
        "--", *INIT_COMMAND,
    ]  # fmt: skip


def _writable(config: BubblewrapConfig) -> list[str | bytes]:
    mounts: list[str | bytes] = []
    for place in config.writable():
        mode, size = ("1777", config.tmp) if place == "/tmp" else ("0755", config.disk)
        mounts += ["--perms", mode, "--size", str(size), "--tmpfs", place]
    return [*mounts, "--symlink", "../tmp", "/var/tmp"]


def _files(config: BubblewrapConfig) -> list[str | bytes]:
    given: list[str | bytes] = []
    for path, file in {**config.files, **config.programs}.items():
        program = path in config.programs and "mode" not in file.model_fields_set
        given += put(path, file.content, 0o755 if program else file.mode)
    return given


def tmpfs_mounts(config: BubblewrapConfig) -> list[str]:
    """Every temporary file system that the agent can write to."""
    return [posixpath.normpath(place) for place in [*config.writable(), "/dev/shm"]]
