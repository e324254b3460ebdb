"""Everything below a directory of a sandbox, seen from outside."""

import os

from offswitch.sandboxes.bubblewrap import BubblewrapSandbox


async def _sh(sandbox: BubblewrapSandbox, command: str) -> None:
    assert (await sandbox.exec(["bash", "-c", command], cwd="/home/agent")).success


async def test_everything_below_a_directory_is_seen_and_no_link_is_followed(
    sandbox: BubblewrapSandbox,
) -> None:
    await _sh(
        sandbox,
        "mkdir -p a/.b; printf '\\377x' > a/.b/odd; ln -s /etc/passwd a/link; mkfifo a/pipe; "
        "ln -s /etc a/etc; head -c 2000000 /dev/zero > a/big; ln -s .. a/up",
    )
    found = await sandbox.tree(["/home/agent/a", "/none"])
    assert found is not None
    assert {path.removeprefix("/home/agent/a/"): item.kind for path, item in found.items()} == {
        ".b": "directory", ".b/odd": "file", "link": "symlink", "pipe": "other", "etc": "symlink", "big": "file",
        "up": "symlink",
    }  # fmt: skip
    assert found["/home/agent/a/.b/odd"].data == b"\xffx"
    assert found["/home/agent/a/link"].link == "/etc/passwd"
    assert found["/home/agent/a/big"].size == 2_000_000
    assert len(found["/home/agent/a/big"].data or b"") == 1 << 20


async def test_a_file_that_may_not_be_read_is_seen_all_the_same(sandbox: BubblewrapSandbox) -> None:
    await _sh(sandbox, "mkdir x; echo secret > x/f; chmod 000 x/f")
    found = await sandbox.tree(["/home/agent/x"])
    assert found is not None
    item = found["/home/agent/x/f"]
    assert (item.kind, item.mode, item.size) == ("file", 0, 7)
    if os.geteuid() == 0:
        assert item.data == b"secret\n"


async def test_a_place_that_is_a_link_shows_nothing_of_where_it_leads(sandbox: BubblewrapSandbox) -> None:
    await _sh(sandbox, "ln -s /etc out; mkdir -p d/e; chmod 000 d")
    assert await sandbox.tree(["/home/agent/out"]) == {}
    await sandbox.tree(["/home/agent/d"])
