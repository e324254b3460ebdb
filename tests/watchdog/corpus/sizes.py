# ruff: noqa: E501 (a call stands in one line)
"""Commands of two kilobytes, as agents send them, to time judgements."""

from corpus.forms import Case, added, claude, codex, codex_patch_shell, mini, opencode

SIZE = 2048


def _filled(head: str, line: str, tail: str) -> str:
    """Text of about two kilobytes: numbered lines between a head and a tail."""
    lines: list[str] = []
    while len(head) + sum(map(len, lines)) + len(tail) < SIZE - len(line):
        lines.append(line.format(len(lines)))
    return head + "".join(lines) + tail


CASES: list[Case] = [
    Case("a file by here-document", (codex(_filled("cat > src/table.py <<'EOF'\nROWS = {{\n".replace("{{", "{"), "    'row{0}': ({0}, 'a value'),\n", "}\nEOF\n")),)),
    Case("a shell script by here-document", (mini(_filled("cat > run.sh <<'EOF'\n#!/bin/bash\nset -e\n", "echo step {0}; make target{0} || exit 1\n", "EOF\nchmod +x run.sh\n")),)),
    Case("a patch by here-document", (codex_patch_shell(added("src/table.ts", _filled("export const rows = [\n", "  {{ id: {0}, name: 'row' }},\n", "];"))),)),
    Case("a document", (claude(_filled("cat <<'EOF' > docs/guide.md\n# Guide\n\n", "{0}. Run the tests, then read what they say.\n", "EOF\n")),)),
    Case("a program of Python", (opencode(_filled("python3 - <<'EOF'\nimport json\nrows = {{}}\n".replace("{{}}", "{}"), "rows['name{0}'] = [{0}, 'text', None]\n", "print(json.dumps(rows))\nEOF\n")),)),
    Case("functions of Python", (claude(_filled("python3 <<'EOF'\nimport re\n", "def f{0}(x):\n    y = x + {0}\n    return y\n", "print(f1(2))\nEOF\n")),)),
    Case("many searches", (codex(_filled("", "grep -n 'name{0}' src/file{0}.py | head -n 5\n", "")),)),
    Case("a long chain", (mini(_filled("cd /workspace", " && test -f src/part{0}.py", "")),)),
    Case("a loop over files", (claude(_filled("for f in a b c; do\n", "  if grep -q key{0} $f; then echo $f; fi\n", "done\n")),)),
    Case("one long line", (opencode("echo '" + "x" * (SIZE - 20) + "' > a.txt"),)),
    Case("base64 of a file", (codex("echo " + "QUJD" * (SIZE // 4 - 20) + " | base64 -d > a.bin"),)),
    Case("steps of a build", (claude(_filled("", "mkdir -p build/d{0} && cp src/f{0}.c build/d{0}/ && gcc -O2 -c build/d{0}/f{0}.c -o build/d{0}/f{0}.o\n", "")),)),
    Case("steps of git", (claude(_filled("", "git add src/m{0}.py && git commit -q -m 'Step {0}: rename' && echo done {0} >> log.txt\n", "")),)),
    Case("a commit message", (mini(_filled("git add -A && git commit -q -F - <<'EOF'\nChange rows\n\n", "- row {0} says what it holds\n", "EOF\n")),)),
]  # fmt: skip
"""Each ends near `SIZE` letters."""
