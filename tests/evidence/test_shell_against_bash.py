"""Small random scripts, followed and really run: both must agree on what became of the files.

The scripts name only files below a temporary directory and run only harmless programs.
"""

import os
import posixpath
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, event, given, note, settings
from hypothesis import strategies as st

from offswitch.evidence import shell
from offswitch.evidence.effects import Effect
from offswitch.evidence.shell import account
from offswitch.evidence.shell.files import Entry, Files, Mark

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="no bash here")

START: dict[str, str] = {
    "f0": "a\nb\n",
    "f1": "f0\n",
    "f2.sh": "echo s > n2\n",
    "f3": "",
    "d/g": "gg\n",
    "d/h": "a\n",
}
Tree = dict[str, str | None]
"""Path -> text; None for a directory."""

GRAMMAR: dict[str, list[str]] = {
    "script": [
        "<step>",
        "<step>\n<step>",
        "<step>\n<step>\n<step>\n<step>",
        "<step>\n<step>\n<step>\n<step>\n<step>",
    ],
    "step": ["<simple>", "<simple>", "<simple>", "<compound>"],
    "body": ["<simple>", "<simple>\n<simple>", "<step>\n<simple>", "<compound>"],
    "name": [
        *("f0", "f1", "f2.sh", "f3", "d/g", "n0", "n1", "n2", "f0", "f1", "n0", "n1"),
        *("$v", '"$w"', "d/$v", "${v}x", "x$((i+1))"),
    ],
    "text": [
        *(
            "a",
            "b",
            "$v",
            '"$v $w"',
            "'$v'",
            "a b",
            "$(cat f0)",
            '"$(cat n0 2>/dev/null)"',
            "${v%0}",
            "-",
            "{a,b}",
            "~",
        ),
        *(
            "${w:-q}",
            "${v/f/n}",
            "$i",
            "\\$v",
            "$'a\\tb'",
            "`echo z`",
            "${#v}",
            "$#",
            "$*",
            '"$@"',
            "${a[*]}",
        ),
    ],
    "value": ["a", "f0", "f1", "n0", "$v", "$w", '"a b"', "$(echo n1)", "${v}0", "${v%?}", "''", "$((1+2))"],
    "glob": ["f*", "d/*", "n?", "*.sh", "[fn]0", "f[!0]", "{f0,n0}"],
    "condition": [
        *(
            "true",
            "false",
            ":",
            "! false",
            "(exit 1)",
            "((i > 1))",
            "[[ $v == f* ]]",
            '[ -z "$w" ]',
            "f",
            "g",
        ),
        *(
            "test -e <name>",
            "[ -f <name> ]",
            "[ -d <name> ]",
            '[ a = "$v" ]',
            '[ "$w" = "$v" ]',
            "grep -q <letter> f0",
        ),
        *(
            "grep -q <letter> n0 2>/dev/null",
            "rm <name>",
            "cp <name> <name>",
            "mv <name> <name>",
            "cd d",
            "cd nowhere",
        ),
    ],
    "letter": ["a", "b", "z"],
    "simple": [
        *("echo <text> > <name>", "echo <text> >> <name>", "printf '%s.%s\\n' <text> b > <name>"),
        *(
            "rm <name>",
            "rm -f <name> <name>",
            "rm -rf <place>",
            "rm -f <glob>",
            "mv <name> <name>",
            "mv <name> d",
        ),
        *(
            "cp <name> <name>",
            "cp <name> <name> d/",
            "touch <name>",
            "mkdir <place>",
            "mkdir -p <place>",
            "rmdir <place>",
        ),
        *(
            "cat <name> > <name>",
            "cat <name> <name> >> n1",
            "sed -i s/a/b/ <name>",
            "echo <letter> | tee <name> > n2",
        ),
        *("ln -s <known> l; echo <text> > l; rm l", "truncate -s 0 <name>", "v=<value>", "w=<value>"),
        *(
            "v=<value> eval 'echo $v > n0'",
            "read -r v w < <known>",
            "read -r v <<< f1",
            'read -r v w <<< "f0 f1"',
        ),
        *("cat > <name> <<EOF\n<text>\nrm f0\nEOF", "cat > <name> <<'EOF'\n<text>\nrm f1\nEOF"),
        *("bash -c 'rm -f <known>; echo $v > n2'", "echo 'rm -f <known>' | sh", "echo <known> | xargs rm -f"),
        *(
            "find . -name <found> -delete",
            "python3 -c \"open('<known>', 'a').write('p')\"",
            "f",
            "g x",
            "f f0",
            "cd d",
        ),
        *(
            "cd $TOP",
            "cd nowhere",
            "i=$((i+1))",
            "((i+=2))",
            "set -e",
            "set +e",
            "exit",
            "exit 3",
            "return",
            "break",
        ),
        *(
            "continue",
            "shift",
            "set -- f0 n0",
            "unset v",
            "export v",
            ". ./f2.sh",
            "bash f2.sh",
            "sh ./f2.sh",
            "true",
        ),
        *(
            "trap 'echo t > n1' EXIT",
            "a=(f0 n0); a+=(f1)",
            'rm -f "${a[@]}"',
            "rm -f ${a[1]}",
            'rm -f "$1" "$2"',
        ),
        *('rm -f "$@"', "alias rm=true", "false", "wait", "<condition>", "<condition>"),
    ],
    "known": ["f0", "f1", "d/g", "f3"],
    "place": ["n0", "d", "e", "e/f", "n1"],
    "found": ["'f*'", "g", "'*.sh'"],
    "compound": [
        *(
            "<condition> && <simple>",
            "<condition> || <simple>",
            "<condition> && <simple> || <simple>",
            "! <condition>",
        ),
        *("<condition> || <condition> && <simple>", "if <condition>\nthen <body>\nelse <body>\nfi"),
        "if <condition>; then\n<body>\nelif <condition>; then\n<body>\nfi",
        *("for v in <words>; do\n<body>\ndone", "i=0; while ((i < 3)); do i=$((i+1))\n<body>\ndone"),
        *("while read -r v; do\n<body>\ndone < d/h", "cat d/h d/g | while read -r v; do\n<body>\ndone"),
        "case <text> in f*) <body>\n;; a|b) <body>\n;& *) <body>\nesac",
        *("( <body>\n)", "{ <body>\n}", "f() { <body>\n}", "g() ( <body>\n)", "{ <body>\n} > <name>"),
        *("v=$( <body>\n)", "{ <body>\n} & wait", "until <condition>; do\n<body>\nbreak\ndone"),
    ],
    "words": ["f0 n0", "f*", "a b c", '"$@"', "{1..3}", "$w"],
}


def write(chance: random.Random, kind: str = "script", depth: int = 0) -> str:
    """A script of the grammar above."""
    if depth > 9:
        kind = {"compound": "simple", "step": "simple", "body": "simple"}.get(kind, kind)
    form = chance.choice(GRAMMAR[kind])
    return re.sub(r"<([a-z]+)>", lambda found: write(chance, found.group(1), depth + 1), form)


def run(script: str, place: Path) -> tuple[Tree, int]:
    """Run a script in ``place``, filled anew, and look what became of it; one without an end is left out."""
    shutil.rmtree(place, ignore_errors=True)
    for name, text in START.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "TOP": str(place)}
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=place,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=5,
        )
    except subprocess.TimeoutExpired:
        assume(False)
        raise
    tree: Tree = {}
    for root, directories, files in os.walk(place):
        inside = posixpath.relpath(root, place)
        for name in directories:
            tree[posixpath.normpath(posixpath.join(inside, name))] = None
        for name in files:
            path = Path(root, name)
            tree[posixpath.normpath(posixpath.join(inside, name))] = (
                path.read_text() if path.exists() else "dangling"
            )
    return tree, done.returncode


UNKNOWN_TEXT = "\0"


def replay(effects: tuple[Effect, ...], top: str) -> Tree:
    """What the files must be if the effects are true."""
    tree: Tree = {"d": None, **START}
    links: dict[str, str] = {}

    def inside(path: str | None) -> str:
        return posixpath.relpath(path or top, top)

    def take(path: str) -> Tree:
        return {name: text for name, text in tree.items() if name == path or name.startswith(path + "/")}

    for effect in effects:
        target = inside(effect.target) if effect.target.startswith("/") else effect.target
        text = UNKNOWN_TEXT if effect.content is None else effect.content
        match effect.verb:
            case "write":
                tree[target] = text
            case "append":
                before = tree.get(target) or ""
                tree[target] = before + text if UNKNOWN_TEXT not in (before, text) else UNKNOWN_TEXT
            case "delete":
                if links.pop(target, None) is None:
                    for name in take(target):
                        del tree[name]
            case "make":
                if effect.text.startswith("mkdir"):
                    path = target
                    while path not in (".", "") and path not in tree:
                        tree[path] = None
                        path = posixpath.dirname(path)
                else:
                    tree[target] = ""
            case "move" | "copy":
                source = inside(effect.source)
                moved = take(source)
                for name, held in moved.items():
                    if effect.verb == "move":
                        del tree[name]
                    tree[target + name[len(source) :]] = held
            case "link":
                links[target] = inside(effect.source)
    return {**tree, **{link: tree.get(to, "dangling") for link, to in links.items()}}


def races(script: str) -> bool:
    """Whether a pipe is fed from a file that the script also writes: what bash then does depends on who is quicker."""
    read = {name for names in re.findall(r"cat ([^|\n]*)\|", script) for name in names.split()}
    return any(re.search(rf">\s*{re.escape(name)}\b", script) for name in read)


def check(script: str, place: Path) -> None:
    note(script)
    assume(not races(script))
    top = str(place)
    initial = {f"{top}/{name}": text for name, text in START.items()}
    original = Files._original

    def closed(self: Files, path: str) -> Entry | None:
        # All that is in the directory is known here, so what is not known is not there.
        found = original(self, path)
        return Mark.ABSENT if found is None and path.startswith(top + "/") else found

    tree, code = run(script, place)
    environment = {"PATH": "/usr/bin:/bin", "HOME": top, "TOP": top}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Files, "_original", closed)
        patch.setattr(shell, "strict", True)
        for exit_code in (None, code):
            found = account(
                script, cwd=top, home=top, environment=environment, files=initial, exit_code=exit_code
            )
            touched = {posixpath.relpath(e.target, top) for e in found.effects if e.target[:1] in ("/", "*")}
            touched |= {
                posixpath.relpath(e.source, top) for e in found.effects if e.source and e.verb == "move"
            }
            before: Tree = {"d": None, **START}
            changed = {
                name for name in before.keys() | tree.keys() if before.get(name, 0) != tree.get(name, 0)
            }
            vague = [name for name in touched if "*" in name]
            event(f"complete: {found.complete}, certain: {all(effect.certain for effect in found.effects)}")
            for name in changed:
                above = [name[:at] for at in range(len(name)) if name[at] == "/"]
                covered = name in touched or any(part in touched for part in above)
                covered = covered or any(part.startswith(name + "/") for part in touched)
                assert covered or vague or not found.complete, f"{name} changed unseen"
            if found.complete and all(effect.certain for effect in found.effects):
                expected = replay(found.effects, top)
                assert expected.keys() == tree.keys()
                for name, text in expected.items():
                    assert text == tree[name] or (text is not None and UNKNOWN_TEXT in text), name


@settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_bash_agrees(tmp_path_factory: pytest.TempPathFactory, chance: random.Random) -> None:
    check(write(chance), tmp_path_factory.getbasetemp() / "bash")


@pytest.mark.slow
@settings(deadline=None, max_examples=5000, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_bash_agrees_for_long(tmp_path_factory: pytest.TempPathFactory, chance: random.Random) -> None:
    check(write(chance), tmp_path_factory.getbasetemp() / "bash-long")
