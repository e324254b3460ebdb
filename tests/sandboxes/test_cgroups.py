"""Control groups: where they are made on hosts that are not this one."""

from pathlib import Path

import pytest

from offswitch.sandboxes import cgroups
from offswitch.sandboxes.cgroups import Cgroups, Group

V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 24 0:28 / /sys/fs/cgroup/pids rw shared:3 master:2 - cgroup cgroup rw,pids\n"
    "33 24 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
)


def test_v1_hierarchies_are_found_by_their_controllers() -> None:
    found = cgroups._hierarchies(V1, "4:memory:/agents\n8:pids:/\n2:cpu,cpuacct:/x\n")
    assert [(one.version, set(one.controllers), one.own) for one in found] == [
        (1, {"memory"}, "/sys/fs/cgroup/memory/agents"),
        (1, {"pids"}, "/sys/fs/cgroup/pids"),
    ]


def test_a_mount_of_a_part_of_a_hierarchy() -> None:
    part = V1.replace("0:27 / ", "0:27 /docker/abc ")
    found = cgroups._hierarchies(part, "4:memory:/docker/abc/inner\n")
    assert [one.own for one in found] == ["/sys/fs/cgroup/memory/inner"]
    assert cgroups._hierarchies(part, "4:memory:/elsewhere\n") == []


class Host:
    """A directory that looks like a cgroup v2 mount; the kernel's part is played by ``write``."""

    def __init__(self, top: Path, own: str, busy: set[str]) -> None:
        self.top = top
        self.busy = busy
        place = top
        for part in ["", *own.strip("/").split("/")]:
            place = place / part
            self.make(place)

    def make(self, place: Path) -> None:
        place.mkdir()
        for name, text in {
            "cgroup.controllers": "cpu memory pids",
            "cgroup.subtree_control": "",
            "cgroup.procs": "",
            "cgroup.kill": "",
            "pids.max": "max",
            "memory.max": "max",
            "memory.swap.max": "max",
        }.items():
            (place / name).write_text(text)

    def write(self, path: str, value: str) -> bool:
        place = Path(path)
        if place.name == "cgroup.subtree_control":
            if str(place.parent) in self.busy:
                return False
            value = value.replace("+", "")
        if not place.exists():
            return False
        place.write_text(value)
        return True


def test_on_pure_v2_the_groups_stand_beside_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "cgroup"
    host = Host(top, "/user.slice/session-1.scope", {f"{top}/user.slice/session-1.scope"})
    texts = {
        "/proc/self/mountinfo": V2.replace("/sys/fs/cgroup", str(top)),
        "/proc/self/cgroup": "0::/user.slice/session-1.scope\n",
    }
    read = cgroups._read
    monkeypatch.setattr(cgroups, "_read", lambda path: texts[path] if path in texts else read(path))
    monkeypatch.setattr(cgroups, "_write", host.write)
    monkeypatch.setattr(cgroups, "_make", lambda path: host.make(Path(path)))
    groups = Cgroups()
    assert groups.bounds == {"memory": "cgroup v2", "pids": "cgroup v2"}
    [session] = (top / "user.slice").glob("offswitch-*")
    assert (session / "cgroup.subtree_control").read_text() == "memory pids"
    group = groups.open()
    assert isinstance(group, Group)
    group.bound(100_000_000, 50)
    assert (session / "1" / "memory.max").read_text() == "100000000"
    assert (session / "1" / "memory.swap.max").read_text() == "0"
    assert (session / "1" / "pids.max").read_text() == str(50 + cgroups.HEADROOM)
    group.enter()
    assert (session / "1" / "cgroup.procs").read_text() == "0"
    group.kill()
    assert (session / "1" / "pids.max").read_text() == "max"
    assert (session / "1" / "cgroup.kill").read_text() == "1"


def test_without_the_right_to_make_groups_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups.os, "access", lambda path, mode: False)
    groups = Cgroups()
    assert groups.bounds == {}
    assert groups.open() is None
    groups.close()


@pytest.mark.parametrize(
    "name", ["offswitch", "offswitch-1-2", "offswitch-a-b-c", "other-1-2-3", "offswitch-1-2-3"]
)
def test_what_is_not_surely_stale_is_left(name: str) -> None:
    # The last is of another PID namespace, whose processes cannot be seen from here.
    assert not cgroups._stale(name)


def test_groups_of_a_process_that_is_gone_are_stale() -> None:
    own = cgroups._session()
    assert not cgroups._stale(own)
    prefix, space, clock, pid, started = own.split("-")
    assert cgroups._stale(f"{prefix}-{space}-{clock}-{pid}-{int(started) + 1}")
    assert cgroups._stale(f"{prefix}-{space}-{clock}-{2**22 + 1}-{started}")
    # In another PID or time namespace the same numbers mean other processes and other times.
    assert not cgroups._stale(f"{prefix}-{int(space) + 1}-{clock}-{2**22 + 1}-{started}")
    assert not cgroups._stale(f"{prefix}-{space}-{int(clock) + 1}-{2**22 + 1}-{started}")
