"""Linux calls that Python 3.11 has no function for, as thin as they can be.

The keeper and its wardens run with nothing but the standard library, so this module imports little.
"""

import ctypes
import fcntl
import os
import signal
import struct
from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 8, 32, 4096

_NS_GET_PARENT = 0xB702
_FS_IOC_GETFLAGS = 0x80086601

_SYS_OPENAT2 = 437
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}.get(os.uname().machine)
_KEYCTL_JOIN_SESSION_KEYRING = 1

_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _syscall(number: int, *arguments: object) -> int:
    return _checked(int(_libc.syscall(ctypes.c_long(number), *arguments)))


def _prctl(option: int, argument: int = 0) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` ends; end at once if it already has.

    The kernel forgets this whenever the process changes its user or gains capabilities, so it is asked for again
    after each such step.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def close_to_tracers() -> None:
    """Let no process without the host's privileges trace this one or look through its ``/proc`` entries."""
    _prctl(_PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def rename(name: str) -> None:
    """Set this process's name, and blank its command line, which shows where the host keeps its files."""
    buffer = ctypes.create_string_buffer(name.encode())
    _checked(_libc.prctl(_PR_SET_NAME, buffer, 0, 0, 0))
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)


def give_up_privileges() -> None:
    """Drop every capability, now and over any later program, set-uid or not."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            break
    header = struct.pack("=Ii", 0x20080522, 0)
    _checked(_libc.capset(header, struct.pack("=6I", *[0] * 6)))


def leave_keyrings() -> None:
    """Start a session keyring of one's own: the host's keys are not for the sandbox."""
    if _SYS_KEYCTL is not None:
        _syscall(_SYS_KEYCTL, ctypes.c_long(_KEYCTL_JOIN_SESSION_KEYRING), None)


def landlock_version() -> int:
    """Version of the kernel's Landlock, 0 without it."""
    try:
        return _syscall(_SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def guard_outer_processes() -> bool:
    """Keep this process and its descendants from tracing, or reaching into, any process outside this family.

    A Landlock domain may trace only itself and what is below it. The rules proper allow everything: the one right
    that has to be named (REFER) is granted everywhere, for it is denied to every domain that does not speak of it.

    Returns:
        Whether the kernel does this (Landlock 2 or later).
    """
    if landlock_version() < 2:
        return False
    refer = 1 << 13
    attributes = struct.pack("=Q", refer)
    ruleset = _syscall(_SYS_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(8), ctypes.c_uint32(0))
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", refer, root)
        _syscall(_SYS_LANDLOCK_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))
        _syscall(_SYS_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(root)
        os.close(ruleset)
    return True


def enter_namespace(namespace: int) -> None:
    """Enter the namespace that an open ``/proc/PID/ns/...`` file stands for."""
    _checked(_libc.setns(namespace, 0))


def parent_namespace(namespace: int) -> int:
    """The user namespace around a user namespace, as a new file descriptor."""
    return fcntl.ioctl(namespace, _NS_GET_PARENT)


def _mount(kind: bytes | None, target: str, flags: int, options: str | None) -> None:
    data = None if options is None else options.encode()
    _checked(_libc.mount(kind, os.fsencode(target), kind, ctypes.c_ulong(flags), data))


def mount_tmpfs(target: str, options: str) -> None:
    """Mount a fresh tmpfs."""
    _mount(b"tmpfs", target, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, options)


def change_tmpfs(target: str, options: str) -> None:
    """Change the bounds of a mounted tmpfs."""
    _mount(None, target, _MS_REMOUNT | _MS_NOSUID | _MS_NODEV, options)


def make_read_only(target: str) -> None:
    """Make one mount read-only."""
    _mount(None, target, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)


def open_inside(root: int, path: str, flags: int) -> int:
    """Open ``path`` as a process whose root directory is ``root`` would, whatever its symbolic links say.

    Neither ``..`` nor an absolute link leaves ``root``, and the magic links of ``/proc`` are not followed.

    Returns:
        A new file descriptor, closed on exec.

    Raises:
        OSError: As ``open`` would.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    return _syscall(_SYS_OPENAT2, ctypes.c_int(root), os.fsencode(path), how, ctypes.c_size_t(len(how)))


_INODE_FLAGS: Sequence[tuple[int, str]] = ((0x10, "i"), (0x20, "a"))


def inode_attributes(file: int) -> str:
    """Inode flags that keep a file from being changed, as ``lsattr`` letters; "" where the file system has none."""
    try:
        answer = fcntl.ioctl(file, _FS_IOC_GETFLAGS, struct.pack("=Q", 0))
    except OSError:
        return ""
    flags = struct.unpack("=Q", answer)[0]
    return "".join(letter for bit, letter in _INODE_FLAGS if flags & bit)
