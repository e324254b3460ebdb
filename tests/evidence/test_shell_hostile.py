"""Whatever text comes, the account comes back, and soon."""

import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offswitch.evidence import shell
from offswitch.evidence.shell import account

from .test_shell_effects import CASES, FILES, LISTING, PYTHON

SECONDS = 20.0


@pytest.fixture(autouse=True)
def _let_errors_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "strict", True)


def follow(command: str) -> None:
    start = time.process_time()
    found = account(command, cwd="/home/agent/work", home="/home/agent", files=FILES, listing=LISTING)
    assert time.process_time() - start < SECONDS
    for effect in found.effects:
        assert "\0" not in effect.target
        assert "*" not in effect.target or not effect.certain or "*" in command


relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))
_WORDS = """
    if then elif else fi for in do done while until case esac function select time coproc eval exec exit rm mv cp sed
    -i python3 -c bash sh xargs find trap kill export alias cd x y a.sh '' "" ;; ;& [[ ]]
"""
pieces = st.sampled_from(
    [
        *" \t\n;&|<>(){}[]$`'\"\\#!*?~=:,+-%^@/.",
        *("$(", "${", "$((", "))", "<<E\n", "\nE\n", "<<<", ">>", "&&", "||", "&>"),
        *_WORDS.split(),
        *(
            "x=1",
            "f()",
            "{ :; }",
            "2>&1",
            "\x00",
            "\x04",
            "\udcff",
            "é",
            "\U0001f600",
            "${x%%*}",
            "{a,b}",
            "{1..9}",
        ),
    ]
)


@relaxed
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    follow(text)


@relaxed
@given(st.lists(pieces, max_size=40), st.booleans())
def test_any_mixture_of_shell(parts: list[str], spaced: bool) -> None:
    follow((" " if spaced else "").join(parts))


commands = st.sampled_from([command for command, _ in CASES] + [f"python3 -c '{code}'" for code, _ in PYTHON])


@relaxed
@given(commands, commands, st.randoms(use_true_random=False))
def test_mutated_commands(first: str, second: str, chance: random.Random) -> None:
    text = list(first + chance.choice(["; ", " && ", "\n", " | ", ""]) + second)
    for _ in range(chance.randint(0, 4)):
        place = chance.randrange(len(text))
        match chance.randrange(3):
            case 0:
                del text[place : place + chance.randint(1, 5)]
            case 1:
                text.insert(place, chance.choice(list("'\"`$(){}|;&<>\n\\#")))
            case _:
                text[place:place] = text[chance.randrange(len(text)) :][:20]
        if not text:
            break
    follow("".join(text))


BOMBS = {
    "nested substitution": "$(" * 5000 + "rm x" + ")" * 5000,
    "nested groups": "{ " * 3000 + "rm x" + "; }" * 3000,
    "nested subshells": "( " * 3000 + "rm x" + " )" * 3000,
    "nested ifs": "if true; then " * 2000 + "rm x" + "; fi" * 2000,
    "nested quotes": '"$(echo ' * 300 + "x" + ')"' * 300,
    "nested backticks": "`" * 9999,
    "nested braces": "echo " + "{a," * 3000 + "b" + "}" * 3000,
    "nested parameters": "echo " + "${x:-" * 3000 + "y" + "}" * 3000,
    "brace expansion": "echo {1..9999999}{1..9999999}",
    "brace products": "rm " + "{a,b,c,d}" * 30,
    "doubling": "x=ab; " + "x=$x$x; " * 60 + "echo $x > f",
    "doubling in a loop": "x=ab; while true; do x=$x$x; done",
    "doubling a file": "echo a > f; while true; do cat f f > g; mv g f; done",
    "recursion": "f() { f; f; }; f",
    "fork bomb": ":(){ :|:& };:",
    "self-running script": "echo 'bash /tmp/s; bash /tmp/s' > /tmp/s; bash /tmp/s",
    "eval chain": "x='eval $x'; eval $x",
    "eval quine": 'x=\'eval "$x"; eval "$x"\'; eval "$x"',
    "long list": "true && " * 20000 + "rm x",
    "long pipe": "cat | " * 5000 + "cat",
    "many commands": "rm x;" * 200_000,
    "a megabyte of a": "a" * 1_000_000,
    "a megabyte of spaces": " " * 1_000_000,
    "a megabyte of quotes": "'" * 1_000_001,
    "a megabyte of dollars": "$" * 1_000_000,
    "a megabyte of parentheses": "(" * 1_000_000,
    "a megabyte of heredocs": "cat <<E " * 100_000,
    "a megabyte of words": "echo " + "x " * 500_000,
    "a megabyte of unclosed": 'echo "' + "$(x " * 250_000,
    "a megabyte of hashes": "# x\n" * 250_000,
    "a megabyte of here-string": "cat <<< '" + "a" * 1_000_000 + "' > x",
    "a megabyte of pipes": "|" * 1_000_000,
    "a megabyte of less": "<" * 1_000_000,
    "a megabyte of base64": "echo " + "QUFB" * 250_000 + " | base64 -d | sh",
    "catastrophic glob": "rm " + "*a" * 60 + "b",
    "catastrophic case": "case " + "a" * 5000 + " in " + "*a" * 200 + "b) rm x;; esac",
    "catastrophic trim": "x=" + "a" * 5000 + "; echo ${x##*" + "a*" * 50 + "b}",
    "catastrophic replace": "x=" + "a" * 290 + "; echo ${x//*a*a*a*a*b/}",
    "catastrophic regex": "[[ " + "a" * 5000 + " =~ (a+)+$b ]]",
    "catastrophic sed": "sed 's/\\(a*\\)*b/x/' <<< " + "a" * 5000,
    "sed of many": "sed -i '" + "s/a/b/;" * 500 + "' x",
    "awk of many": "awk '" + "print > " * 5000 + "' x",
    "perl of many": "perl -e '" + "open(open(" * 5000 + "'",
    "perl of quotes": "perl -e '" + 'unlink "' * 5000 + "'",
    "node of many": "node -e '" + 'writeFileSync("a\\\\' * 3000 + "'",
    "python nesting": "python3 -c '" + "(" * 5000 + ")" * 5000 + "'",
    "python unary": "python3 -c 'x=" + "-" * 50_000 + "1'",
    "python sum": "python3 -c 'x=" + "1+" * 20_000 + "1'",
    "python attributes": "python3 -c 'x=a" + ".b" * 20_000 + "'",
    "python repetition": "python3 -c 'x=\"a\"*10**9; y=[0]*10**9; z=10**10**10'",
    "python format": 'python3 -c \'x="{:>9999999999}".format(1); y="%999999999d" % 1; z=f"{1:>999999999}"\'',
    "python shift": "python3 -c 'x=1<<(1<<60)'",
    "python loop": "python3 -c 'x=[1]\nwhile True:\n    x+=x'",
    "python recursion": "python3 -c 'def f(): f(); f()\nf()'",
    "python waits": f"python3 -c 'import threading, time; time.sleep(1{'0' * 400}); x.wait(1{'0' * 400})'",
    "python zip bomb": "python3 -c 'import zlib,base64;exec(zlib.decompress(base64.b64decode(\"eJw=\")*99))'",
    "python exec chain": "python3 -c 's=\"exec(s);exec(s)\";exec(s)'",
    "python replace": 'python3 -c \'s="a"*1000000;s=s.replace("a",s)\'',
    "python join": "python3 -c 's=\"a\"*100000;s=s.join([s]*1000)'",
    "python range": "python3 -c '[[[0 for a in range(1999)] for b in range(1999)] for c in range(1999)]'",
    "xargs": "seq 1 2000 | xargs -n1 seq 1 2000 | xargs -n1 rm",
    "arithmetic": "echo $((" + "(" * 900 + "1" + ")" * 900 + ")) $((9**99**99)) $((1<<9999999))",
    "arithmetic chain": "echo $((" + "1+" * 900 + "1))",
    "test": "[ " + "! " * 5000 + "x ]; [[ " + "! " * 5000 + "x ]]; [ " + "x -a " * 5000 + "x ]",
    "aliases": "shopt -s expand_aliases\nalias a='b b' b='a a'\na",
    "process substitution": "cat " + "<(cat " * 300 + ")" * 300,
    "nul": "rm \0x; r\0m y",
    "surrogates": "rm \udcff\udc80; echo \ud800 | base64 > x",
    "printf": "printf '%99999999d' 1; printf '%*d' 9999999 1; printf '%s' " + "x " * 5000,
    "parents": "rm " + "../" * 100_000 + "x",
    "links": "ln -s a b; ln -s b a; echo > a; ln -s c c; echo > c",
    "traps": "trap 'trap \"rm x\" EXIT; exit' EXIT",
    "trap loop": "f() { trap f EXIT; exit; }; f",
    "deep find": "find / " + "-exec find / " * 200 + "-delete " + "\\; " * 200,
    "variables": "".join(f"v{i}=$v{i - 1}x; " for i in range(1, 5000)) + "echo $v4999 > x",
    "case of many": "case x in " + "y) rm x;; " * 5000 + "esac",
    "unknown branches": "if a; then b; fi; " * 2000,
    "unknown nesting": "if a; then " * 40 + "rm x" + "; fi" * 40,
    "unknown loops": "while a; do " * 25 + "x=$(b)$x" + "; done" * 25,
    "known loops": "for a in {1..60}; do " * 25 + "rm x" + "; done" * 25,
    "functions": "".join(f"f{i}() {{ f{i - 1}; f{i - 1}; }}; " for i in range(1, 40)) + "f39",
    "expansion in expansion": "x='$x'; for i in {1..50}; do x=$(eval echo $x$x); done",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    follow(BOMBS[name])


def test_a_bug_in_here_is_not_the_agents_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from offswitch.evidence.shell.registry import PROGRAMS

    def broken(_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(shell, "strict", False)
    monkeypatch.setitem(PROGRAMS, "chmod", broken)
    found = account("rm x; chmod 0 y; rm z", cwd="/", home="/")
    assert [effect.target for effect in found.effects] == ["/x"]
    assert not found.complete
