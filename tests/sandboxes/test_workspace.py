"""The workspace of an agent: whose files are whose, and what the host obeys there stays the host's."""

import errno
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offswitch.sandboxes import identity, kernel, seccomp, wire, workspace
from offswitch.sandboxes.errors import SandboxUnavailable

Mounts = list[tuple[int, str]]  # from workspace.idmapped, and where to attach it
OWNER = 4321  # the workspace's owner on disk


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path, whose parents an ordinary user cannot pass.
    made = Path(tempfile.mkdtemp(prefix="workspace-", dir="/var/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def uid() -> Iterator[int]:
    uid, holder = identity.claim()
    yield uid
    holder.close()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes id-mapped mounts")


@pytest.fixture
def repository(folder: Path) -> Path:
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    command = ["git", "-c", "safe.directory=*", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def give(folder: Path, owner: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner, owner, follow_symlinks=False)


def mapped(folder: Path, uid: int) -> Mounts:
    """What a cell does: the workspace at /workspace, then each protected part of it."""
    disk, shown = owner(folder), (uid, uid)
    mounts = mapped_unprotected(folder, uid)
    for part, writable in workspace.protected(str(folder)):
        mount = workspace.idmapped(f"{folder}/{part}", disk, shown, read_only=not writable)
        mounts.append((mount, f"/workspace/{part}"))
    return mounts


def mapped_unprotected(folder: Path, uid: int) -> Mounts:
    return [(workspace.idmapped(str(folder), owner(folder), (uid, uid)), "/workspace")]


def bound(folder: Path, uid: int) -> Mounts:
    """Without the mapping: an ordinary bind mount."""
    return [(kernel.clone_mount(os.open(folder, os.O_PATH)), "/workspace")]


def protected_without_parents(folder: Path, uid: int) -> Mounts:
    writable = [f"/workspace/{part}" for part, writable in workspace.protected(str(folder)) if writable]
    return [(mount, target) for mount, target in mapped(folder, uid) if target not in writable]


def owner(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_uid, found.st_gid


def agent(
    folder: Path, uid: int, make: Callable[[Path, int], Mounts], script: str, filtered: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a script as a claimed user in bubblewrap, with the workspace attached from outside before it begins."""
    everything = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)  # BPF_RET, SECCOMP_RET_ALLOW
    filtering = wire.in_memory(seccomp.program() if filtered else everything, inheritable=True)
    info, say_info = os.pipe()
    wait, go = os.pipe()
    ready, say_ready = os.pipe()
    command = [
        "bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--disable-userns", "--die-with-parent",
        "--uid", "1000", "--gid", "1000", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
        "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev",
        "--tmpfs", "/tmp", "--dir", "/workspace", "--remount-ro", "/",
        "--info-fd", str(say_info), "--seccomp", str(filtering), "--",
        "/bin/bash", "-c", f"echo >&{say_ready}; read _ <&{wait}; cd /workspace; exec /bin/sh -c \"$0\"", script,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, pass_fds=(say_info, wait, say_ready, filtering), user=uid, group=uid, extra_groups=[],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/",
        env={"HOME": "/tmp", "PATH": "/usr/bin", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
             "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"},
    )  # fmt: skip
    os.close(say_info)
    os.close(wait)
    os.close(say_ready)
    os.close(filtering)
    try:
        with os.fdopen(info, "rb") as text:
            pid = json.loads(text.read())["child-pid"]
        assert os.read(ready, 1)  # the pid is told before the file system is put together
        mounts = make(folder, uid)
        helper = os.fork()
        if helper == 0:
            code = 1
            try:
                kernel.enter_namespace(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY))
                for mount, target in mounts:
                    workspace.attach(mount, target)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(helper, 0)[1] == 0
        for mount, _ in mounts:
            os.close(mount)
        os.write(go, b"\n")
    finally:
        os.close(go)
        os.close(ready)
        output, _ = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, output)


@needs_root
def test_the_agent_owns_the_workspace_inside_and_the_disk_owner_outside(folder: Path, uid: int) -> None:
    (folder / "old").write_text("old\n")
    give(folder, OWNER)
    folder.chmod(0o700)
    ended = agent(
        folder, uid, mapped, "echo new >new && echo more >>old && mkdir sub && stat -c %u . new old"
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["1000"] * 3)
    for name in (".", "new", "old", "sub"):
        found = (folder / name).stat()
        assert (found.st_uid, found.st_gid) == (OWNER, OWNER)
    assert (folder / "old").read_text() == "old\nmore\n"


@needs_root
def test_without_the_mapping_the_agent_can_write_nothing(folder: Path, uid: int) -> None:
    give(folder, OWNER)
    folder.chmod(0o755)
    assert agent(folder, uid, bound, "echo new >new").returncode != 0
    assert not (folder / "new").exists()


@needs_root
def test_a_workspace_of_roots_can_be_worked_in(folder: Path, uid: int) -> None:
    folder.chmod(0o700)
    assert agent(folder, uid, mapped, "echo new >new").returncode == 0
    assert (folder / "new").stat().st_uid == 0


@needs_root
def test_files_of_others_stay_closed_to_the_agent(folder: Path, uid: int) -> None:
    (folder / "secret").write_text("secret")
    give(folder, OWNER)
    os.chown(folder / "secret", 5555, 5555)
    (folder / "secret").chmod(0o600)
    ended = agent(folder, uid, mapped, "cat secret; chmod 777 secret; chown 1000 secret")
    assert ended.returncode != 0
    assert "secret\n" not in ended.stdout
    assert (folder / "secret").stat().st_uid == 5555


@needs_root
def test_a_set_uid_program_has_no_effect_in_the_workspace(folder: Path, uid: int) -> None:
    shutil.copy("/usr/bin/id", folder / "id")
    (folder / "id").chmod(0o4755)
    assert "65534" not in agent(folder, uid, mapped, "./id -u").stdout
    assert agent(folder, uid, mapped, "./id -u").stdout.strip() == "1000"


@needs_root
def test_no_set_uid_program_of_the_disk_owners_can_be_made(folder: Path, uid: int) -> None:
    script = "cp /usr/bin/id made; chmod 4755 made; chmod 2755 made; chmod 755 made"
    # The filter is the control: without it root gets a set-uid program that an agent wrote.
    assert agent(folder, uid, mapped, script.replace("; chmod 2755 made; chmod 755 made", "")).returncode == 0
    assert ((folder / "made").stat().st_uid, (folder / "made").stat().st_mode & 0o6000) == (0, 0o4000)
    (folder / "made").unlink()
    ended = agent(folder, uid, mapped, script, filtered=True)
    assert (ended.returncode, ended.stdout.count("not permitted")) == (0, 2)
    assert ((folder / "made").stat().st_uid, (folder / "made").stat().st_mode & 0o7777) == (0, 0o755)


@needs_root
def test_a_mount_can_be_read_only(folder: Path, uid: int) -> None:
    def read_only(folder: Path, uid: int) -> Mounts:
        return [(workspace.idmapped(str(folder), owner(folder), (uid, uid), read_only=True), "/workspace")]

    assert "Read-only" in agent(folder, uid, read_only, "echo new >new").stdout
    assert not (folder / "new").exists()


@needs_root
def test_git_works_and_its_hooks_and_config_cannot_be_reached(repository: Path, uid: int) -> None:
    before = (repository / ".git/config").read_bytes()
    assert agent(repository, uid, mapped, "echo a >a && git add a && git commit -qm second").returncode == 0
    assert "second" in git(repository, "log", "--oneline")
    for attack in ATTACKS:
        ended = agent(repository, uid, mapped, attack)
        assert ended.returncode != 0, attack
    assert (repository / ".git/config").read_bytes() == before
    assert not (repository / ".git/hooks/post-commit").exists()
    assert {path.stat().st_uid for path in repository.rglob("*")} == {repository.stat().st_uid}


HOOK = "printf '#!/bin/sh\\ntouch /tmp/never\\n' >.git/hooks/post-commit"
ATTACKS = (
    HOOK,
    "git config core.fsmonitor /workspace/evil",
    "echo '[core] fsmonitor = evil' >>.git/config",
    "rm -f .git/config && echo x >.git/config",
    "mv .git x",
    "rmdir .git/hooks || rm -rf .git/hooks && mkdir .git/hooks",
    "mkdir evil; mv -T --exchange .git evil 2>/dev/null || mv -T evil .git",
    "ln .git/config other && echo x >other",
    "umount .git/hooks",
    "chmod 777 .git/hooks",
)


@needs_root
@pytest.mark.parametrize("attack", [a for a in ATTACKS if "umount" not in a and "exchange" not in a])
def test_without_the_protection_each_attack_works(repository: Path, uid: int, attack: str) -> None:
    assert agent(repository, uid, mapped_unprotected, attack).returncode == 0


@needs_root
def test_without_the_parents_as_mount_points_a_rename_takes_the_protection_away(
    repository: Path, uid: int
) -> None:
    script = "mv .git x && mkdir .git && cp -r x/HEAD x/objects x/refs .git && mkdir .git/hooks && " + HOOK
    assert agent(repository, uid, protected_without_parents, script).returncode == 0
    assert (repository / ".git/hooks/post-commit").exists()


@needs_root
def test_moving_the_repository_away_finds_it_busy(repository: Path, uid: int) -> None:
    script = 'python3 -c \'import os\ntry: os.rename(".git", "x")\nexcept OSError as e: print(e.errno)\''
    assert agent(repository, uid, mapped, script).stdout.strip() == str(errno.EBUSY)
    assert agent(repository, uid, mapped_unprotected, script).stdout.strip() == ""


def test_missing_hooks_are_made_so_that_the_agent_cannot(repository: Path) -> None:
    shutil.rmtree(repository / ".git/hooks")
    assert (".git/hooks", False) in workspace.protected(str(repository))
    assert (repository / ".git/hooks").stat().st_uid == (repository / ".git").stat().st_uid


def test_a_workspace_without_a_repository_has_nothing_to_protect(folder: Path) -> None:
    assert workspace.protected(str(folder)) == []


def test_a_worktree_keeps_the_file_that_names_its_repository(repository: Path, folder: Path) -> None:
    tree = Path(tempfile.mkdtemp(prefix="workspace-", dir="/var/tmp"))
    try:
        git(repository, "worktree", "add", "-q", str(tree / "tree"))
        assert workspace.protected(str(tree / "tree")) == [(".git", False)]
    finally:
        shutil.rmtree(tree)


def test_a_repository_kept_apart_inside_the_workspace_is_protected_too(folder: Path) -> None:
    (folder / "deep").mkdir()
    git(folder, "init", "-q", "--separate-git-dir", str(folder / "deep/real"))
    assert workspace.protected(str(folder)) == [
        (".git", False), ("deep", True), ("deep/real", True), ("deep/real/config", False), ("deep/real/hooks", False),
    ]  # fmt: skip


def test_submodules_are_protected_with_all_their_parents(repository: Path) -> None:
    other = Path(tempfile.mkdtemp(prefix="workspace-", dir="/var/tmp"))
    try:
        git(other, "init", "-q")
        git(other, "commit", "-q", "--allow-empty", "-m", "first")
        git(repository, "submodule", "add", "-q", str(other), "libs/inner")
    finally:
        shutil.rmtree(other)
    parts = dict(workspace.protected(str(repository)))
    inner = ".git/modules/libs/inner"
    assert [parts[f"{inner}/{name}"] for name in ("config", "hooks")] == [False, False]
    assert [parts[p] for p in (inner, ".git/modules/libs", ".git/modules", "libs", "libs/inner")] == [
        True
    ] * 5
    assert parts["libs/inner/.git"] is False
    paths = list(parts)
    assert all(paths.index(os.path.dirname(p)) < paths.index(p) for p in paths if "/" in p)


def test_hooks_and_files_that_a_config_names_in_the_workspace_are_protected(repository: Path) -> None:
    (repository / ".husky/_").mkdir(parents=True)
    (repository / "shared.cfg").touch()
    git(repository, "config", "core.hooksPath", ".husky/_")
    git(repository, "config", "include.path", "../shared.cfg")
    parts = dict(workspace.protected(str(repository)))
    assert (parts[".husky"], parts["shared.cfg"]) == (False, False)


@pytest.mark.parametrize("place", [".git", ".git/hooks", ".git/config", ".git/modules"])
def test_a_symbolic_link_in_such_a_place_is_refused_and_not_followed(repository: Path, place: str) -> None:
    target = repository / "elsewhere"
    if (repository / place).exists():
        (repository / place).rename(target)
    (repository / place).symlink_to(target)
    with pytest.raises(SandboxUnavailable, match=r"symbolic link.*put the real"):
        workspace.protected(str(repository))


@needs_root
def test_a_link_is_neither_mounted_nor_mounted_on(folder: Path) -> None:
    (folder / "link").symlink_to(folder)
    with pytest.raises(OSError, match="symbolic links"):
        workspace.idmapped(str(folder / "link"), (0, 0), (1, 1))
    mount = workspace.idmapped(str(folder), (0, 0), (1, 1))
    with pytest.raises(OSError, match="symbolic links"):
        workspace.attach(mount, str(folder / "link"))
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(mount)


@needs_root
def test_what_cannot_be_mapped_says_why(folder: Path) -> None:
    assert workspace.supported(str(folder)) is None
    assert "has no id-mapped mounts" in str(workspace.supported("/proc"))
    (folder / "link").symlink_to(folder)
    assert "real path" in str(workspace.supported(str(folder / "link")))
    assert "No such file" in str(workspace.supported(str(folder / "absent")))


@needs_root
def test_nothing_is_left_of_making_a_mount(folder: Path, mounted: Callable[[], list[str]]) -> None:
    def children() -> str:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text()

    before, files, born = mounted(), sorted(os.listdir("/proc/self/fd")), children()
    for _ in range(20):
        os.close(workspace.idmapped(str(folder), (0, 0), (1, 1)))
    assert workspace.supported("/proc") is not None
    assert (mounted(), sorted(os.listdir("/proc/self/fd"))) == (before, files)
    assert children() == born
