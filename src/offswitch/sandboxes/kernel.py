"""Linux calls that Python 3.11 has no function for, as thin as they can be.

The keeper and its wardens run with nothing but the standard library, so this module imports little.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Sequence

from offswitch.sandboxes.plain import signal

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 8, 32, 4096

_NS_GET_PARENT = 0xB702
_FS_IOC_GETFLAGS = 0x80086601

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_OPENAT2, _SYS_MOUNT_SETATTR = 428, 429, 437, 442
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}.get(os.uname().machine)
_KEYCTL_JOIN_SESSION_KEYRING = 1

_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH, _RESOLVE_IN_ROOT = 0x02, 0x04, 0x08, 0x10

_CLONE_NEWUSER = 0x10000000
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV, _MOUNT_ATTR_IDMAP = 1, 2, 4, 0x100000
_MS_PRIVATE = 1 << 18


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


def filter_calls(program: bytes) -> None:
    """Have a classic BPF program judge every system call of this process and its descendants, for good.

    The process gains no privileges from set-uid programs from then on, or the kernel would refuse this.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    instructions = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(instructions))
    mode_filter = ctypes.c_ulong(2)
    _checked(_libc.prctl(_PR_SET_SECCOMP, mode_filter, described, 0, 0))


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


def open_straight(path: str, flags: int, within: int | None = None) -> int:
    """Open ``path`` if no part of it is a symbolic link.

    Args:
        path: The path.
        flags: As for ``open``.
        within: An open directory that ``path`` is relative to and must not leave.

    Returns:
        A new file descriptor, closed on exec.

    Raises:
        OSError: As ``open`` would; ELOOP if a part is a symbolic link, EXDEV if it leads out of ``within``.
    """
    resolve = _RESOLVE_NO_SYMLINKS if within is None else _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    start = _AT_FDCWD if within is None else within
    return _syscall(_SYS_OPENAT2, ctypes.c_int(start), os.fsencode(path), how, ctypes.c_size_t(len(how)))


def leave_user_namespace() -> None:
    """Enter a new user namespace, which maps no user yet."""
    _checked(_libc.unshare(_CLONE_NEWUSER))


def clone_mount(place: int) -> int:
    """A mount of what an open directory or file stands for, attached nowhere, without the mounts below it.

    Returns:
        A file descriptor, closed on exec; the mount goes away with it unless ``attach_mount`` was called.
    """
    flags = _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC
    return _syscall(_SYS_OPEN_TREE, ctypes.c_int(place), b"", ctypes.c_uint(flags))


def map_mount(mount: int, users: int, *, read_only: bool) -> None:
    """Show a mount's files with the owners that a user namespace maps them to (``mount_setattr(2)``).

    Its set-uid files and devices are without effect, and no later mount of the host comes in through it.

    Args:
        mount: From ``clone_mount``, not yet attached.
        users: An open ``/proc/PID/ns/user``.
        read_only: Whether nothing can be written through it.
    """
    attributes = _MOUNT_ATTR_IDMAP | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV
    attributes |= _MOUNT_ATTR_RDONLY if read_only else 0
    change = struct.pack("=QQQQ", attributes, 0, _MS_PRIVATE, users)
    _syscall(
        _SYS_MOUNT_SETATTR, ctypes.c_int(mount), b"", ctypes.c_uint(_AT_EMPTY_PATH), change,
        ctypes.c_size_t(len(change)),
    )  # fmt: skip


def attach_mount(mount: int, place: int) -> None:
    """Attach a mount from ``clone_mount`` to an open directory or file of this process's mount namespace."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _syscall(_SYS_MOVE_MOUNT, ctypes.c_int(mount), b"", ctypes.c_int(place), b"", ctypes.c_uint(flags))


_INODE_FLAGS: Sequence[tuple[int, str]] = ((0x10, "i"), (0x20, "a"))


def inode_attributes(file: int) -> str:
    """Inode flags that keep a file from being changed, as ``lsattr`` letters; "" where the file system has none."""
    try:
        answer = fcntl.ioctl(file, _FS_IOC_GETFLAGS, struct.pack("=Q", 0))
    except OSError:
        return ""
    flags = struct.unpack("=Q", answer)[0]
    return "".join(letter for bit, letter in _INODE_FLAGS if flags & bit)


def set_window(terminal: int, size: bytes) -> None:
    """Set a terminal's window size: rows, columns and two sizes in pixels, each two bytes (``ioctl_tty(2)``)."""
    fcntl.ioctl(terminal, 0x5414, size)
