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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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

# All further calls up to the last known, but those that no kernel of today has. For a container's profile, which knows
# names alone and no ranges of numbers.
_ORDINARY = (
    "read write close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask "
    "rt_sigreturn pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise "
    "shmget shmat shmctl dup dup2 pause nanosleep getitimer alarm setitimer getpid sendfile connect accept "
    "sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername setsockopt getsockopt fork "
    "vfork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock "
    "fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir link unlink symlink "
    "readlink chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo times ptrace getuid getgid "
    "setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups "
    "setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset rt_sigpending "
    "rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime personality ustat statfs fstatfs sysfs "
    "getpriority setpriority sched_setparam sched_getparam sched_setscheduler sched_getscheduler "
    "sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock munlock mlockall munlockall "
    "modify_ldt prctl arch_prctl setrlimit sync sethostname setdomainname gettid readahead setxattr lsetxattr "
    "fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr "
    "fremovexattr tkill time futex sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy "
    "io_getevents io_submit io_cancel get_thread_area epoll_create remap_file_pages getdents64 "
    "set_tid_address restart_syscall semtimedop fadvise64 timer_create timer_settime timer_gettime "
    "timer_getoverrun timer_delete clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl "
    "tgkill utimes mbind set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify "
    "mq_getsetattr waitid ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch migrate_pages "
    "mkdirat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat faccessat pselect6 "
    "ppoll set_robust_list get_robust_list splice tee sync_file_range vmsplice move_pages utimensat "
    "epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 "
    "eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo recvmmsg fanotify_init "
    "fanotify_mark prlimit64 name_to_handle_at syncfs sendmmsg getcpu process_vm_readv process_vm_writev kcmp "
    "sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create execveat membarrier mlock2 "
    "copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq "
    "pidfd_send_signal pidfd_open close_range pidfd_getfd faccessat2 process_madvise epoll_pwait2 "
    "landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease "
    "futex_waitv set_mempolicy_home_node cachestat map_shadow_stack futex_wake futex_wait futex_requeue "
    "statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat "
    "listxattrat removexattrat"
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


def profile(machine: str | None = None) -> "dict[str, Any]":
    """The same rules for a container, as the engines read them from a file (``seccomp.json``, the OCI's runtime-spec).

    It lists what is allowed: what the runtime's libseccomp does not know by name, as an older one fchmodat2, is
    absent then, where a list of what is refused would have let it through. The two differ in that open and
    openat are absent, and not refused, where they would create with a set-id bit, and that a call by another
    architecture's numbers kills its process.

    Args:
        machine: As for ``program``.

    Returns:
        The profile, to be written as JSON.

    Raises:
        ValueError: As ``program``.
    """
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        raise ValueError(f"there is no system call filter for {machine}: use x86_64 or aarch64")

    def rule(
        names: list[str], answer: int = 0, argument: int = 0, mask: int = 0, value: int = 0
    ) -> "dict[str, Any]":
        """``answer`` to these calls, 0 to allow them, where the argument, under the mask, has this value."""
        test = {"index": argument, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
        refusal = {"errnoRet": answer} if answer else {}
        action = "SCMP_ACT_ERRNO" if answer else "SCMP_ACT_ALLOW"
        return {"names": names, "action": action, "args": [test] if mask else [], **refusal}

    def without(names: list[str], bits: int, argument: int) -> "list[dict[str, Any]]":
        single = [1 << n for n in range(32) if bits >> n & 1]
        return [rule(names, 0, argument, bits)] + [
            rule(names, errno.EPERM, argument, bit, bit) for bit in single
        ]

    def among(
        names: list[str], values: tuple[int, ...], argument: int, then: int, otherwise: int
    ) -> "list[dict[str, Any]]":
        return [rule(names, then, argument, 0xFFFFFFFF, value) for value in values] + [
            rule(names, otherwise, argument, mask, value) for mask, value in _others(values)
        ]

    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": ["SCMP_ARCH_" + machine.upper()],
        "syscalls": [
            rule(_ORDINARY),
            rule(_REFUSED, errno.EPERM),
            rule(["openat"], 0, 2, _CREATES),
            rule(["openat"], 0, 3, _SET_ID),
            rule(["open"], 0, 1, _CREATES),
            rule(["open"], 0, 2, _SET_ID),
            *among(["ioctl"], (_TIOCSTI, _TIOCLINUX), 1, errno.EPERM, 0),
            *among(["socket", "socketpair"], _FAMILIES, 0, 0, errno.EAFNOSUPPORT),
            *without(["clone"], _NEW_NAMESPACE, 0),
            *without(["unshare"], _NEW_NAMESPACE | _NEW_TIME_NAMESPACE, 0),
            *without(["chmod", "fchmod", "creat", "mknod"], _SET_ID, 1),
            *without(["fchmodat", "fchmodat2", "mknodat"], _SET_ID, 2),
        ],
    }


def known(machine: str | None = None) -> bool:
    """Whether there is a filter for a machine, as ``os.uname`` names it; by default this one."""
    return (machine or os.uname().machine) in _MACHINES


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


def _others(values: tuple[int, ...], mask: int = 0, prefix: int = 0) -> list[tuple[int, int]]:
    """Masks and values that every number of 32 bits meets exactly one of, but these values, which meet none."""
    if not values:
        return [(mask, prefix)]
    if mask == 0xFFFFFFFF:
        return []
    bit = 0x80000000 >> mask.bit_count()
    return [
        found
        for side in (0, bit)
        for found in _others(tuple(one for one in values if one & bit == side), mask | bit, prefix | side)
    ]
