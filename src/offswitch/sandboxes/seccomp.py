"""What an agent may not ask of the kernel: a seccomp filter (``seccomp(2)``, classic BPF).

The sandbox's namespaces and the agent's lack of capabilities hold without it. It takes away what would make a later
hole in the kernel reachable, and what they cannot see: a set-uid bit on a file that on the disk is the workspace
owner's. A filter sees registers, not memory, so calls that pass what matters by a pointer (clone3, openat2) are
answered with ENOSYS, as by an older kernel, and libraries fall back to those that pass it plainly.

Not needed here: ``setxattr`` of ``security.capability``, for that wants CAP_SETFCAP, which an agent never has;
``mkdir``, whose set-id bits the kernel drops; ptrace, process_vm_* and pidfd_*, which debuggers use and which Landlock
and the PID namespace keep inside.
"""

import errno
import os
import struct

from offswitch.sandboxes import kernel

# Numbers on x86_64 and aarch64, from the kernel's syscall_64.tbl and asm-generic/unistd.h; None: there is no such call.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "open": (2, None), "ioctl": (16, 29), "socket": (41, 198), "socketpair": (53, 199), "clone": (56, 220),
    "creat": (85, None), "chmod": (90, None), "fchmod": (91, 52), "syslog": (103, 116), "mknod": (133, None),
    "uselib": (134, None), "vhangup": (153, 58), "pivot_root": (155, 41), "adjtimex": (159, 171), "chroot": (161, 51),
    "acct": (163, 89), "settimeofday": (164, 170), "mount": (165, 40), "umount2": (166, 39), "swapon": (167, 224),
    "swapoff": (168, 225), "reboot": (169, 142), "iopl": (172, None), "ioperm": (173, None),
    "init_module": (175, 105), "delete_module": (176, 106), "quotactl": (179, 60), "lookup_dcookie": (212, 18),
    "clock_settime": (227, 112), "kexec_load": (246, 104), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "openat": (257, 56), "mknodat": (259, 33), "fchmodat": (268, 53), "unshare": (272, 97),
    "perf_event_open": (298, 241), "open_by_handle_at": (304, 265), "clock_adjtime": (305, 266), "setns": (308, 268),
    "finit_module": (313, 273), "kexec_file_load": (320, 294), "bpf": (321, 280), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "clone3": (435, 435), "openat2": (437, 437),
    "mount_setattr": (442, 442), "quotactl_fd": (443, 443), "fchmodat2": (452, 452),
}  # fmt: skip

_LAST_KNOWN = 466
"""removexattrat, of Linux 6.13. What came later, and x86's x32 (from 2^30), is answered as if it were not there."""

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column above, and AUDIT_ARCH (linux/audit.h)."""

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _RETURN, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT = 0x20, 0x06, 0x15, 0x25, 0x45
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data

_SET_ID = 0o6000
_CREATES = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE: only with one of them does open look at its mode
_NEW_NAMESPACE = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NEW_TIME_NAMESPACE = 0x80  # in clone's flags this bit is part of a signal's number
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK

_ABSENT = (
    (
        "io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key clone3 openat2"  # have fallbacks
    ).split()
)
_REFUSED = (
    "setns mount umount2 move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr pivot_root chroot "
    "open_by_handle_at bpf perf_event_open userfaultfd kexec_load kexec_file_load init_module finit_module "
    "delete_module reboot swapon swapoff acct quotactl quotactl_fd syslog lookup_dcookie uselib vhangup iopl ioperm "
    "settimeofday clock_settime adjtimex clock_adjtime"
).split()


def program(machine: str | None = None) -> bytes:
    """The filter, as ``bwrap --seccomp`` reads it.

    Set-id bits are refused on directories too, where set-gid would do no harm: the filter cannot see which it is.

    Args:
        machine: ``x86_64`` or ``aarch64``; this one's unless stated.

    Returns:
        An array of ``struct sock_filter``.

    Raises:
        ValueError: There is no filter for this machine.
    """
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        raise ValueError(f"there is no system call filter for {machine}: use x86_64 or aarch64")
    column, architecture = _MACHINES[machine]

    def rule(names: list[str], body: bytes) -> bytes:
        """``body`` for these calls; it must return. For others the program goes on."""
        numbers = [number for name in names if (number := _CALLS[name][column]) is not None]
        length = len(body) // 8
        code = b""
        for left, number in zip(range(len(numbers) - 1, -1, -1), numbers, strict=True):
            code += _instruction(_JUMP_EQUAL, number, left, 0 if left else length)
        return code + body if numbers else b""

    refused = _return(_ERRNO | errno.EPERM)
    absent = _return(_ERRNO | errno.ENOSYS)
    allowed = _return(_ALLOW)

    def without(bits: int, argument: int) -> bytes:
        """Refused if the argument has any of these bits."""
        return _load(argument) + _instruction(_JUMP_ANY_BIT, bits, 0, 1) + refused + allowed

    def opening(flags: int, mode: int) -> bytes:
        rest = without(_SET_ID, mode)
        return _load(flags) + _instruction(_JUMP_ANY_BIT, _CREATES, 0, len(rest) // 8 - 1) + rest

    return b"".join([
        # The i386 calls of an x86_64 kernel have other numbers.
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, architecture, 1, 0),
        absent,
        _instruction(_LOAD, _NUMBER),
        _instruction(_JUMP_GREATER, _LAST_KNOWN, 0, 1),
        absent,
        rule(["openat"], opening(2, 3)),
        rule(["open"], opening(1, 2)),
        rule(["ioctl"], _load(1) + _any_of((_TIOCSTI, _TIOCLINUX), refused, allowed)),
        rule(["socket", "socketpair"], _load(0) + _any_of(_FAMILIES, allowed, _return(_ERRNO | errno.EAFNOSUPPORT))),
        rule(["clone"], without(_NEW_NAMESPACE, 0)),
        rule(["unshare"], without(_NEW_NAMESPACE | _NEW_TIME_NAMESPACE, 0)),
        rule(["chmod", "fchmod", "creat", "mknod"], without(_SET_ID, 1)),
        rule(["fchmodat", "fchmodat2", "mknodat"], without(_SET_ID, 2)),
        rule(_ABSENT, absent),
        rule(_REFUSED, refused),
        allowed,
    ])  # fmt: skip


def apply() -> None:
    """Put this process and its descendants under the filter, for good; set-uid programs lose their effect too.

    Raises:
        OSError: The kernel has no seccomp.
        ValueError: There is no filter for this machine.
    """
    kernel.filter_calls(program())


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _return(value: int) -> bytes:
    return _instruction(_RETURN, value)


def _load(argument: int) -> bytes:
    """The lower half of an argument: all that the kernel looks at in the arguments that are judged here."""
    return _instruction(_LOAD, 16 + 8 * argument)


def _any_of(values: tuple[int, ...], then: bytes, otherwise: bytes) -> bytes:
    """``then`` if what was loaded is one of the values; both must be one instruction that returns."""
    last = len(values) - 1
    tests = [
        _instruction(_JUMP_EQUAL, value, last - i, 0 if i < last else 1) for i, value in enumerate(values)
    ]
    return b"".join(tests) + then + otherwise
