"""Commands one after the other: what earlier ones did is known to later ones, within bounds."""

import base64
import importlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.evidence.shell import account, cells, session
from offswitch.evidence.shell.looking import only_looks
from offswitch.evidence.shell.session import Session


def begin() -> Session:
    return Session(cwd="/w", home="/home/a")


def told(found: object) -> list[tuple[str, str]]:
    return [(effect.verb, effect.target) for effect in found.effects]  # type: ignore[attr-defined]


def test_a_script_that_was_written_is_followed_when_it_runs() -> None:
    one = begin()
    one.run("echo 'rm -f x.txt' > go.sh")
    assert ("delete", "/w/x.txt") in told(one.run("bash go.sh"))
    one.put("/w/go.py", "import os\nos.remove('y.txt')\n")
    assert ("delete", "/w/y.txt") in told(one.run("python3 go.py"))


@pytest.mark.parametrize("packer", ["gzip", "bz2", "lzma"])
@pytest.mark.parametrize(
    "command",
    [
        "base64 -d < p | {un} | sh",
        "base64 -d p > q.{end}; {un} q.{end}; sh q",
        "base64 -d p > q.{end}; {cat} q.{end} | sh",
        "{un} -c <(base64 -d p) | sh",
    ],
)
def test_what_is_packed_is_unpacked(packer: str, command: str) -> None:
    names = {
        "gzip": ("gunzip", "gz", "zcat"),
        "bz2": ("bunzip2", "bz2", "bzcat"),
        "lzma": ("xz -d", "xz", "xzcat"),
    }
    un, end, cat = names[packer]
    module = importlib.import_module(packer)
    one = begin()
    one.put("/w/p", base64.b64encode(module.compress(b"rm -f x.txt\n")).decode())
    assert ("delete", "/w/x.txt") in told(one.run(command.format(un=un, end=end, cat=cat)))
    one.put("/w/p", base64.b64encode(module.compress(b"echo rm -f x.txt\n")).decode())
    assert "delete" not in dict(told(one.run(command.format(un=un, end=end, cat=cat))))


def test_bytes_that_are_none_of_a_packer_are_not_known() -> None:
    one = begin()
    one.put("/w/p", base64.b64encode(b"\x1f\x8b\x08rubbish\xff").decode())
    assert not one.run("base64 -d p | gunzip | sh").complete


@pytest.mark.parametrize(
    "cell",
    [
        "!rm x.txt",
        "for name in ['x.txt']:\n    !rm {name}",
        "name = 'x.txt'\n!rm $name",
        "out = !rm x.txt",
        "%sx rm x.txt",
        "%%bash\nrm x.txt",
        "%%bash\ncd /w\nrm x.txt\n",
        "%cd sub\n!rm ../x.txt",
        "%%writefile go.sh\nrm x.txt\n",
        "%matplotlib inline\nimport os\nos.remove('x.txt')",
        "%%time\nimport os\nos.remove('x.txt')",
        "get_ipython().system('rm x.txt')",
    ],
)
def test_cells_of_a_notebook(cell: str) -> None:
    one = begin()
    found = told(one.code("ipython", cell))
    if "writefile" in cell:
        found = told(one.run("sh go.sh"))
    assert ("delete", "/w/x.txt") in found


@pytest.mark.parametrize(
    "cell", ["s = '''\n!rm x.txt\n'''", "# !rm x.txt", "%%html\nrm x.txt", "x = 5 \\\n % 3"]
)
def test_what_only_looks_like_a_line_for_the_shell(cell: str) -> None:
    assert told(begin().code("ipython", cell)) == []


def test_cells_keep_names_and_do_nothing_again() -> None:
    one = begin()
    one.code("ipython", "import os\nname: str = 'x.txt'\ngone = os.remove('a.txt')")
    assert told(one.code("ipython", "os.remove(name)")) == [("delete", "/w/x.txt")]
    one.code("ipython", "name = 'y.txt'")
    assert told(one.code("ipython", "os.remove(name)")) == [("delete", "/w/y.txt")]
    for number in range(3000):
        one.code("ipython", f"v{number} = {number}")
    assert sum(map(len, one._cells)) <= cells.LONGEST


def test_aliases_of_a_shell_that_goes_on() -> None:
    one = begin()
    one.run("alias x='rm -f'; alias k=ls")
    assert told(one.run("x a.txt; k b", goes_on=True)) == [("delete", "/w/a.txt")]
    assert ("delete", "/w/a.txt") not in told(one.run("x a.txt"))


@pytest.mark.parametrize(
    ("command", "waits"),
    [
        ("sleep 100", [100.0]),
        ("timeout 10 sleep 100", [10.0]),
        ("timeout 1m sh -c 'sleep 50; sleep 50'", [50.0, 10.0]),
        ("timeout $X sleep 100", [100.0]),
        ("timeout 10 sleep 3; sleep 100", [3.0, 100.0]),
    ],
)
def test_a_bound_bounds_what_is_waited(command: str, waits: list[float]) -> None:
    found = begin().run(command)
    assert [float(one.content or 0) for one in found.effects if one.verb == "sleep"] == waits


def test_pieces_are_put_together() -> None:
    one = begin()
    one.run("echo 'rm -f' >> p; echo ' x.txt' >> p")
    assert ("delete", "/w/x.txt") in told(one.run("tr -d '\\n' < p | sh"))


def test_links_copied_programs_and_settings_of_git_stay() -> None:
    one = begin()
    one.run("ln -s /w/x.txt /tmp/l; cp /bin/rm /tmp/h; git config alias.t '!rm a.txt'")
    assert one.resolved("/tmp/l") == "/w/x.txt"
    assert ("delete", "/w/b.txt") in told(one.run("/tmp/h b.txt"))
    assert ("delete", "/w/a.txt") in told(one.run("git t"))


def test_what_was_removed_may_still_be_there() -> None:
    # The command may have been refused.
    one = begin()
    one.put("/w/x.txt", "text")
    one.run("rm x.txt")
    assert told(one.run("rm x.txt")) == [("delete", "/w/x.txt")]


def test_a_shell_that_goes_on_keeps_its_place_and_variables() -> None:
    one = begin()
    assert not one.carried
    one.run("cd sub; X=a.txt")
    assert one.carried
    assert told(one.run("rm $X", goes_on=True)) == [("delete", "/w/sub/a.txt")]
    assert told(one.run("rm b.txt")) == [("delete", "/w/b.txt")]


def test_a_variable_that_is_set_outside_can_be_taken_away() -> None:
    one = Session(cwd="/w", home="/home/a", exported=["HTTPS_PROXY"])
    assert told(one.run("unset HTTPS_PROXY OTHER")) == [("environment", "HTTPS_PROXY")]


def test_a_peek_is_not_remembered() -> None:
    one = begin()
    assert told(one.peek("bash", "echo 'rm x' > go.sh; cd /tmp")) == [("write", "/w/go.sh")]
    assert one.text("/w/go.sh") is None
    assert not one.carried
    assert told(one.peek("python", "open('a','w')")) == [("write", "/w/a")]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST", 1000)
    one = begin()
    for number in range(50):
        one.put(f"/w/{number}", "x" * 100)
    assert one.text("/w/0") is None
    assert one.text("/w/49") == "x" * 100
    assert sum(len(one.text(f"/w/{number}") or "") for number in range(50)) <= 1000
    one.put("/w/large", "x" * (session.LONGEST + 1))
    assert one.text("/w/large") is None


LOOKS = """
cat a.txt b.txt | grep -n foo | head -n 5
ls -la && pwd; echo "done $HOME"
for f in a b c; do if grep -q x $f; then echo $f; fi; done
test -f a && [ -d b ] || echo no
git status && git diff HEAD~1 -- a.py
find . -name '*.py' 2>/dev/null | sort | wc -l
sed -n '1,20p' a.py
git log --oneline -5 2>&1 | tail -3
"""
CHANGES = r"""
cat a > b
rm a
sort -o a a
find . -delete
find . -exec rm {} ;
sed -n 'w out' a
sed -i s/a/b/ x
git log --output=x
git -c alias.status=!rm status
rg --pre ./x foo
echo $(rm x)
echo `rm x`
ls & rm x
cat <(rm x)
"rm" x
$X y
X=1 ls
uniq a b
printf -v PATH x
alias ls=rm
ls() { rm x; }
if true; then rm x; fi
date -s 2020-01-01
ls | xargs rm
echo hi | tee a
cd /tmp
bash -c ls
awk 'BEGIN{system("rm x")}'
case x in x) rm y;; esac
"""


@pytest.mark.parametrize("command", LOOKS.strip().splitlines())
def test_what_only_looks(command: str) -> None:
    assert only_looks(command)


@pytest.mark.parametrize("command", CHANGES.strip().splitlines())
def test_what_does_not_only_look(command: str) -> None:
    assert not only_looks(command)


PIECES = [
    *"cat ls grep rm echo sort git find if then fi for in do done while true ! { } ; && || | & > < ( ) $X x.txt -o "
    "-exec {} -delete status push 'a b' \"$Y\" $( ` \\ # 2>&1 >/dev/null test [ ] head sed -n -i 1,2p tee xargs "
    "bash -c".split(),
    "\n",
]


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_what_only_looks_has_no_effect_but_reads(words: list[str]) -> None:
    command = " ".join(words)
    if only_looks(command):
        found = account(command, cwd="/w", home="/home/a")
        assert {effect.verb for effect in found.effects} <= {"read"}, command


def test_behind_a_redirection_a_word_of_the_shell_is_the_name_of_a_program() -> None:
    assert only_looks("while ls; do cat x; done 2>&1")
    for command in ("2>&1 while", "while 2>&1 while", "if ! 2>&1 while; then ls; fi"):
        assert not only_looks(command)


def test_a_program_that_was_written_is_not_taken_for_the_usual_one() -> None:
    one = begin()
    assert one.only_looks("ls -la")
    one.run("mkdir -p bin; echo 'rm x' > bin/ls; export PATH=/w/bin:$PATH")
    assert not one.only_looks("ls -la")
    assert ("delete", "/w/x") in told(one.run("ls -la", goes_on=True))


def test_a_look_moves_the_shell() -> None:
    one = begin()
    assert one.only_looks("cd sub && ls")
    assert told(one.run("rm a", goes_on=True)) == [("delete", "/w/sub/a")]
