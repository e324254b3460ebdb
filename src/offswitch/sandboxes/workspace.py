"""The workspace as an agent gets it: with owners of its own, and without a hold on what the host obeys there.

When root starts an agent, the agent is a host user that owns nothing. The workspace is then mounted for it with its
owners mapped (``mount_setattr(2)``, ``MOUNT_ATTR_IDMAP``): what the disk's owner owns is the agent's inside, what the
agent makes is the disk owner's on the disk, and nothing on the disk changes hands.
"""

import errno
import os
import signal
import stat
from collections.abc import Sequence

from offswitch.sandboxes import kernel
from offswitch.sandboxes.errors import SandboxUnavailable

Owner = tuple[int, int]
"""uid and gid."""

_MOST_CONFIG = 1 << 20
_MOST_SUBMODULES = 256


def idmapped(path: str, disk: Owner, shown: Owner, *, read_only: bool = False) -> int:
    """A mount of ``path``, attached nowhere yet, whose files show other owners than on disk.

    Mounts below ``path`` are not part of it: what is seen there is what lies under them. Files that belong to others
    than ``disk`` show as owned by nobody, and who is neither of ``shown`` can make no file in it (EOVERFLOW).
    Needs root.

    Args:
        path: A directory or file, none of whose parts is a symbolic link.
        disk: uid and gid of the owner on disk.
        shown: uid and gid that this owner has in the mount, as numbers of the host.
        read_only: Whether nothing can be written through it.

    Returns:
        A file descriptor for ``attach``, closed on exec. The mount goes away with it if it is never attached.

    Raises:
        OSError: ELOOP for a symbolic link; EINVAL where the file system knows no such mounts; others as
            ``open_tree(2)`` and ``mount_setattr(2)``.
    """
    return idmapped_all(path, [(disk, shown)], read_only=read_only)


def idmapped_all(path: str, owners: "Sequence[tuple[Owner, Owner]]", *, read_only: bool = False) -> int:
    """A mount as ``idmapped`` makes it, for several owners.

    Args:
        path: A directory or file, none of whose parts is a symbolic link.
        owners: uid and gid on disk, and what these show as.
        read_only: Whether nothing can be written through it.

    Returns:
        A file descriptor for ``attach``.

    Raises:
        OSError: As ``idmapped``.
    """
    place = kernel.open_straight(path, os.O_PATH)
    try:
        users = _user_namespace(owners)
        try:
            mount = kernel.clone_mount(place)
            try:
                kernel.map_mount(mount, users, read_only=read_only)
            except BaseException:
                os.close(mount)
                raise
            return mount
        finally:
            os.close(users)
    finally:
        os.close(place)


def _user_namespace(owners: "Sequence[tuple[Owner, Owner]]") -> int:
    """An open user namespace that maps these owners; the process that it took is gone again."""
    parent = os.getpid()
    told, tell = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            try:
                kernel.die_with(parent)
                kernel.leave_user_namespace()
                os.write(tell, b"\0")
                while True:
                    signal.pause()
            except OSError as error:
                os.write(tell, bytes([error.errno or errno.EPERM]))
            finally:
                os._exit(1)
        try:
            os.close(tell)
            tell = -1
            answer = os.read(told, 1)
            if answer != b"\0":
                number = answer[0] if answer else errno.ECHILD
                raise OSError(number, os.strerror(number))
            for which, name in enumerate(("uid_map", "gid_map")):
                lines = [f"{disk[which]} {shown[which]} 1\n" for disk, shown in owners]
                with open(f"/proc/{child}/{name}", "w") as text:
                    text.write("".join(lines))
            return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    finally:
        os.close(told)
        if tell >= 0:
            os.close(tell)


def attach(mount: int, target: str) -> None:
    """Attach a mount from ``idmapped`` in this process's mount namespace, and close its file descriptor.

    Args:
        mount: The file descriptor.
        target: An existing directory (for a file: an existing file), none of whose parts is a symbolic link.

    Raises:
        OSError: ELOOP for a symbolic link; others as ``move_mount(2)``.
    """
    try:
        place = kernel.open_straight(target, os.O_PATH)
        try:
            kernel.attach_mount(mount, place)
        finally:
            os.close(place)
    finally:
        os.close(mount)


def supported(path: str) -> str | None:
    """Whether ``path`` can be mounted with other owners, found out by doing it.

    Returns:
        None if it can, else one line that says why not and what to do.
    """
    instead = (
        "put it on another file system (ext4, xfs, btrfs, tmpfs), or start offswitch as an ordinary user"
    )
    try:
        found = os.stat(path, follow_symlinks=False)
        os.close(idmapped(path, (found.st_uid, found.st_gid), (found.st_uid, found.st_gid)))
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return "this kernel has no id-mapped mounts (Linux 5.12 or later has): start offswitch as an ordinary user"
        if error.errno == errno.EINVAL:
            return f"the file system of {path} has no id-mapped mounts: {instead}"
        if error.errno == errno.EPERM and os.geteuid() == 0:
            return f"{path} is mounted with other owners already, or root is confined here: {instead}"
        if error.errno == errno.ELOOP:
            return f"{path} leads through a symbolic link: name the workspace by its real path"
        if error.errno == errno.ENOSPC:
            return "no user namespace is left: raise /proc/sys/user/max_user_namespaces"
        return f"{path} cannot be mounted with other owners: {error.strerror}"
    return None


def protected(workspace: str) -> list[tuple[str, bool]]:
    """The parts of a workspace that git on the host executes or obeys on its own, as mounts to be made over it.

    ``.git/hooks``, ``.git/config``, the same of each submodule, and the folder of hooks or the included files that a
    config names inside the workspace, become read-only. A read-only mount alone protects nothing: the agent would
    rename its parent, ``mv .git x``, and copy it back without the mount. A mount point cannot be renamed or removed
    (EBUSY) in the namespace that has it, so every directory on the way becomes one too, writable, a plain mount of
    itself. An empty ``.git/hooks`` is made where it is missing, for what is not there cannot be mounted over.

    What this cannot hold: a repository that the agent makes where there was none, a new ``.git/commondir``, and a
    config that git on the host replaces while the agent runs (the kernel then takes the mount off it).

    Args:
        workspace: Its real path. Nothing of the agent may be running.

    Returns:
        Path below the workspace, and whether it stays writable; parents come before what is in them.

    Raises:
        SandboxUnavailable: A symbolic link is in such a place. It may be an agent's work and is never followed; with
            it in place the part could not be protected.
        OSError: The workspace cannot be read.
    """
    root = kernel.open_straight(workspace, os.O_PATH | os.O_DIRECTORY)
    try:
        return _Protected(root, workspace).parts()
    finally:
        os.close(root)


class _Protected:
    """The search for what is to be protected; all of it through one open directory, so that no link leads astray."""

    def __init__(self, root: int, workspace: str) -> None:
        self._root = root
        self._workspace = workspace
        self._found: dict[str, bool] = {}

    def parts(self) -> list[tuple[str, bool]]:
        self._repository(".git", "")
        return sorted(self._found.items())

    def _kind(self, path: str) -> int | None:
        """Type bits of what lies there, None if nothing does."""
        try:
            file = kernel.open_straight(path, os.O_PATH, self._root)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            if error.errno in (errno.ELOOP, errno.EXDEV):
                raise SandboxUnavailable(
                    f"{self._workspace}/{path} is or leads through a symbolic link, so it cannot be kept from the"
                    " agent: put the real file or folder there, or name another workspace"
                ) from None
            raise
        try:
            return stat.S_IFMT(os.fstat(file).st_mode)
        finally:
            os.close(file)

    def _read(self, path: str) -> str:
        file = kernel.open_straight(path, os.O_RDONLY | os.O_NONBLOCK, self._root)
        try:
            return os.read(file, _MOST_CONFIG).decode("utf-8", "surrogateescape")
        finally:
            os.close(file)

    def _names(self, path: str) -> list[str]:
        folder = kernel.open_straight(path, os.O_RDONLY | os.O_DIRECTORY, self._root)
        try:
            return sorted(os.listdir(folder))
        finally:
            os.close(folder)

    def _protect(self, path: str, writable: bool = False) -> None:
        """Mount over a path, and over every directory on the way to it."""
        above = os.path.dirname(path)
        if above:
            self._protect(above, True)
        self._found[path] = self._found.get(path, True) and writable

    def _repository(self, path: str, tree: str) -> None:
        """A ``.git``: a directory, or a file that names one. ``tree`` is the folder that is checked out."""
        kind = self._kind(path)
        if kind == stat.S_IFDIR:
            self._directory(path, tree)
        elif kind == stat.S_IFREG:
            self._protect(path)
            word, _, named = self._read(path).partition(":")
            named = named.strip()
            inside = self._inside(named, tree) if word == "gitdir" and named else None
            if inside and self._kind(inside) == stat.S_IFDIR:
                self._directory(inside, tree)

    def _directory(self, path: str, tree: str) -> None:
        if len(self._found) > 8 * _MOST_SUBMODULES:
            raise SandboxUnavailable(
                f"{self._workspace} has more than {_MOST_SUBMODULES} submodules, too many to keep from the agent:"
                " name another workspace"
            )
        if path in self._found and f"{path}/config" in self._found:
            return
        self._protect(path, True)
        if self._kind(f"{path}/config") is not None:
            self._protect(f"{path}/config")
            self._named(f"{path}/config", path, tree)
        if self._kind(f"{path}/config.worktree") is not None:
            self._protect(f"{path}/config.worktree")
        if self._kind(f"{path}/HEAD") is not None and self._kind(f"{path}/hooks") is None:
            self._make(path, "hooks")
        if self._kind(f"{path}/hooks") is not None:
            self._protect(f"{path}/hooks")
        if self._kind(f"{path}/modules") is not None:
            self._modules(f"{path}/modules")

    def _modules(self, path: str) -> None:
        """Submodules' directories: a name may have slashes, so any depth until there is a HEAD."""
        for name in self._names(path):
            below = f"{path}/{name}"
            if self._kind(below) != stat.S_IFDIR:
                continue
            if self._kind(f"{below}/HEAD") is None:
                if below.count("/") < 16:
                    self._modules(below)
                continue
            # Where it is checked out, the file .git leads here: rewritten, it would lead to a config of the agent's.
            tree = self._checked_out(below)
            self._directory(below, tree or "")
            if tree and self._kind(f"{tree}/.git") == stat.S_IFREG:
                self._protect(f"{tree}/.git")

    def _checked_out(self, path: str) -> str | None:
        for section, key, value in _settings(
            self._read(f"{path}/config") if self._kind(f"{path}/config") else ""
        ):
            if (section, key) == ("core", "worktree"):
                return self._inside(value, path)
        return None

    def _named(self, config: str, directory: str, tree: str) -> None:
        """What a config tells git to execute or to read, inside the workspace."""
        for section, key, value in _settings(self._read(config)):
            if (section, key) == ("core", "hookspath"):
                inside = self._inside(value, tree)
                if inside and os.path.basename(inside) == "_":
                    inside = os.path.dirname(inside)  # husky's: its scripts run those in the folder above
            elif key == "path" and section in ("include", "includeif"):
                inside = self._inside(value, directory)
            else:
                continue
            if inside and self._kind(inside) is not None:
                self._protect(inside)

    def _inside(self, path: str, base: str) -> str | None:
        """A path that a file of git names, as a path below the workspace; None if it lies elsewhere."""
        whole = os.path.normpath(os.path.join(self._workspace, base, path))
        within = os.path.relpath(whole, self._workspace)
        return None if within == "." or within.startswith("..") else within

    def _make(self, path: str, name: str) -> None:
        folder = kernel.open_straight(path, os.O_RDONLY | os.O_DIRECTORY, self._root)
        try:
            found = os.fstat(folder)
            os.mkdir(name, 0o755, dir_fd=folder)
            if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(name, found.st_uid, found.st_gid, dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(folder)


def _settings(config: str) -> list[tuple[str, str, str]]:
    """Section, key and value of a git config's lines, section and key in small letters (``git-config(1)``, Syntax)."""
    settings = []
    section = ""
    for line in config.replace("\\\n", "").splitlines():
        line = line.strip()
        if line.startswith("["):
            head, _, line = line[1:].partition("]")
            section = head.split(None, 1)[0].split(".", 1)[0].lower() if head.strip() else ""
            line = line.strip()
        key, equals, value = line.partition("=")
        if equals:
            settings.append((section, key.strip().lower(), value.strip().strip('"')))
    return settings
