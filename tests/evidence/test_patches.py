"""Patches of ``apply_patch``: taken apart, and carried out on a text."""

from hypothesis import given
from hypothesis import strategies as st

from offswitch.evidence import patches
from offswitch.evidence.shell import account

WHOLE = """*** Begin Patch
*** Add File: docs/a.md
+# A
+
+text
*** Update File: src/a.py
*** Move to: src/b.py
@@ def f():
 def f():
-    return 1
+    return 2
+    # really
 
@@
-x = 1
+x = 2
*** Delete File: old.txt
*** End Patch"""


def test_every_section_is_read() -> None:
    patch = patches.parse("apply this:\n" + WHOLE)
    assert patch.complete
    add, update, delete = patch.changes
    assert (add.verb, add.path, add.content) == ("add", "docs/a.md", "# A\n\ntext\n")
    assert (update.verb, update.path, update.to) == ("update", "src/a.py", "src/b.py")
    assert update.removed == "    return 1\nx = 1\n"
    assert update.added == "    return 2\n    # really\nx = 2\n"
    assert (delete.verb, delete.path) == ("delete", "old.txt")


def test_an_update_is_carried_out() -> None:
    update = patches.parse(WHOLE).changes[1]
    assert update.applied("import a\ndef f():\n    return 1\n\ny = 0\nx = 1\n") == (
        "import a\ndef f():\n    return 2\n    # really\n\ny = 0\nx = 2\n"
    )
    assert update.applied("something else\n") is None


def test_what_is_no_patch_is_incomplete() -> None:
    for text in (
        "",
        "hello",
        "*** Begin Patch\nnonsense\n*** End Patch",
        "*** Begin Patch\n*** Add File: \n+x",
    ):
        assert not patches.parse(text).complete, text


def test_a_patch_without_a_frame_or_an_end_is_read_too() -> None:
    assert patches.parse("*** Delete File: a.sh").changes[0].path == "a.sh"
    assert patches.holds("*** Update File: a.sh\n@@\n-x\n")
    assert not patches.holds("a text that speaks of Update File: x")


@given(st.text(alphabet="*+- @\nBeginPatchUpdtFl:aox", max_size=300))
def test_nothing_breaks_it(text: str) -> None:
    for change in patches.parse(text).changes:
        change.applied(text)
        assert isinstance(change.removed + change.added, str)


def test_the_shell_follows_it() -> None:
    found = account(
        f"apply_patch <<'EOF'\n{WHOLE}\nEOF", cwd="/w", home="/home/a", files={"/w/src/a.py": "x = 1\n"}
    )
    told = [(effect.verb, effect.target) for effect in found.effects]
    assert told == [
        ("write", "/w/docs/a.md"),
        ("write", "/w/src/a.py"),
        ("move", "/w/src/b.py"),
        ("delete", "/w/old.txt"),
    ]
    assert found.effects[0].content == "# A\n\ntext\n"
