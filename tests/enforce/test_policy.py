"""The policy file: read exactly or refused with its line; and the plan that is made of it."""

import copy
import json
import os
import stat
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from offswitch.enforce import planning, policy, policy_change
from offswitch.enforce.places import Places

SCHEMA = json.loads((Path(policy.__file__).parent / "schemas/policy-v1.json").read_text())
KEY = "ed25519:" + "A" * 43
OTHER = "ed25519:" + "B" * 42 + "A"

FULL = f"""\
version: 1
network:
  hosts: [api.openai.com, "*.example.org", "localhost:8080", "10.0.0.1:80", "[2001:db8::1]:443"]
read: [/opt/models, ~/data]
environment:
  OPENAI_MODEL: o3
  EMPTY: ""
pass: [OPENAI_API_KEY]
limits: {{memory: 4G, pids: 512, lease: 30m, lease_max: 1h30m}}
keys:
  trusted: ["{KEY}", "{OTHER}"]
  needed: {{reset: 2, policy: 2}}
interrupt: "\\x03/exit\\n"
"""


def refused(text: str | bytes) -> str:
    """The line with which a policy is refused."""
    with pytest.raises(policy.PolicyError) as caught:
        policy.parse(text.encode() if isinstance(text, str) else text)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("policy.yaml:")
    return line


def test_every_field_is_read() -> None:
    rules = policy.parse(FULL.encode())
    assert rules["network"]["hosts"][0] == "api.openai.com"
    assert rules["read"] == ["/opt/models", os.path.expanduser("~/data")]
    assert rules["environment"] == {"OPENAI_MODEL": "o3", "EMPTY": ""}
    assert rules["pass"] == ["OPENAI_API_KEY"]
    assert rules["limits"] == {"memory": 4 << 30, "pids": 512, "lease": 1800, "lease_max": 5400}
    assert rules["keys"] == {
        "trusted": [KEY, OTHER],
        "needed": {"reset": 2, "release": 1, "renew": 1, "policy": 2},
    }
    assert rules["interrupt"] == "\x03/exit\n"


def test_what_is_not_stated_stays_shut() -> None:
    assert policy.parse(b"version: 1") == policy.default()
    assert policy.default()["network"]["hosts"] == []


def test_the_digest_tells_policies_apart_and_not_their_spelling() -> None:
    one = policy.parse(b"version: 1\npass: [A, B]")
    assert policy.digest(one) == policy.digest(policy.parse(b"{pass: ['A', B], version: 1}  # the same"))
    assert policy.digest(one) != policy.digest(policy.parse(b"version: 1\npass: [B, A]"))


# Each with the line that is named, and a word that the message has to have.
WRONG = [
    ("", 1, "version: 1"),
    ("# nothing\n", 1, "version: 1"),
    ("network: {hosts: [a.org]}\n", 1, "version"),
    ("version: 2\n", 1, "version 2"),
    ("version: '1'\n", 1, "whole number"),
    ("version: true\n", 1, "whole number"),
    ("version: 1.0\n", 1, "whole number"),
    ("version: 01\n", 1, "plain digits"),
    ("- version: 1\n", 1, "mapping"),
    ("version: 1\nnetwrok: {}\n", 2, "did you mean network?"),
    ("version: 1\nlimits:\n  memroy: 4G\n", 3, "did you mean memory?"),
    ("version: 1\nlimits:\n  colour: red\n", 3, "lease_max"),
    ("version: 1\nread: [/a]\npass: [A]\nread: [/b]\n", 4, "twice"),
    ("version: 1\nenvironment: {A: x, A: y}\n", 2, "twice"),
    ("version: 1\nenvironment:\n  DEBUG: 1\n", 3, "quotes"),
    ("version: 1\nenvironment:\n  FLAG: yes\n", 3, "quotes"),
    ("version: 1\nenvironment:\n  on: 'x'\n", 3, "quotes"),
    ("version: 1\nenvironment:\n  NOTHING:\n", 3, "text"),
    ("version: 1\nenvironment:\n  A-B: 'x'\n", 3, "name"),
    ('version: 1\nenvironment:\n  A: "x\\0y"\n', 3, "NUL"),
    ("version: 1\nenvironment: [A]\n", 2, "mapping"),
    ("version: 1\nread: /opt\n", 2, "list"),
    ("version: 1\nread: [opt]\n", 2, "absolute"),
    ("version: 1\nread: [~other/x]\n", 2, "absolute"),
    ("version: 1\nread: [/a, /a]\n", 2, "twice"),
    ("version: 1\nread: [[/a]]\n", 2, "text"),
    ("version: 1\npass: [A=1]\n", 2, "variable"),
    ("version: 1\npass: [on]\n", 2, "quotes"),
    ("version: 1\nnetwork: [a.org]\n", 2, "mapping"),
    ("version: 1\nnetwork:\n", 2, "mapping"),
    ("version: 1\nnetwork: {hosts: ['http://a.org']}\n", 2, "host"),
    ("version: 1\nnetwork: {hosts: ['*']}\n", 2, "host"),
    ("version: 1\nnetwork: {hosts: ['*.*.org']}\n", 2, "host"),
    ("version: 1\nnetwork: {hosts: ['A.org']}\n", 2, "lower case"),
    ("version: 1\nnetwork: {hosts: ['a.org:0']}\n", 2, "host"),
    ("version: 1\nnetwork: {hosts: ['a.org:99999']}\n", 2, "host"),
    ("version: 1\nnetwork: {hosts: ['127.1']}\n", 2, "host"),
    ("version: 1\nlimits: {memory: 4096}\n", 2, "unit"),
    ("version: 1\nlimits: {memory: lots}\n", 2, "unit"),
    ("version: 1\nlimits: {memory: 0G}\n", 2, "0"),
    ("version: 1\nlimits: {memory: 9999999T}\n", 2, "more than any"),
    ("version: 1\nlimits: {pids: 0}\n", 2, "from 1"),
    ("version: 1\nlimits: {pids: '5'}\n", 2, "whole number"),
    ("version: 1\nlimits: {pids: 1_0}\n", 2, "plain digits"),
    ("version: 1\nlimits: {lease: 1:30}\n", 2, "30m"),
    ("version: 1\nlimits: {lease: 30}\n", 2, "30m"),
    ("version: 1\nlimits: {lease: 0s}\n", 2, "0"),
    ("version: 1\nlimits:\n  lease: 2h\n  lease_max: 1h\n", 3, "lease_max"),
    ("version: 1\nkeys: {trusted: ['abc']}\n", 2, "ed25519:"),
    (f"version: 1\nkeys: {{trusted: ['{KEY}', '{KEY}']}}\n", 2, "twice"),
    (f"version: 1\nkeys:\n  trusted: ['{KEY}']\n  needed: {{reset: 2}}\n", 4, "nobody could"),
    ("version: 1\nkeys: {needed: {reset: 2}}\n", 2, "nobody could"),
    ("version: 1\nkeys: {needed: {stop: 2}}\n", 2, "stop"),
    ("version: 1\nkeys: {needed: {reset: 0}}\n", 2, "from 1"),
    ("version: 1\ninterrupt: no\n", 2, "quotes"),
    ("version: 1\ninterrupt: [a]\n", 2, "text"),
    ("version: 1\nread:\n\t- /a\n", 3, "tab"),
    ("version: 1\nread: [/a\n", 3, ""),
    ("version: 1\n---\nversion: 1\n", 2, "document"),
    ("version: 1\nread: &a [/a]\npass: *a\n", 3, "alias"),
    ("version: 1\n<<: {read: [/]}\n", 2, "<<"),
    ("version: 1\nread: !!python/object/apply:os.system [ls]\n", 2, "tag"),
    ("version: 1\nenvironment: {A: !!binary aGk=}\n", 2, "tag"),
    ("version: 1\n? [a]\n: b\n", 2, "plain text"),
    ("version: 1\nread: " + "[" * 50 + "\n", 2, "nested"),
    ("version: 1\nenvironment: {A: \"\\ud800\"}\n", 2, ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "word"), WRONG)
def test_a_wrong_policy_is_refused_with_its_line(text: str, line: int, word: str) -> None:
    said = refused(text)
    assert said.startswith(f"policy.yaml:{line}: "), said
    assert word in said, said


def test_what_is_not_text_is_refused_with_its_line() -> None:
    assert refused(b"version: 1\nread: [\xff]\n").startswith("policy.yaml:2: this is not UTF-8")
    assert refused("version: 1\n\nread: [a\x00b]\n").startswith("policy.yaml:3: the character U+0000")
    assert refused("version: 1\n".encode("utf-16")).startswith("policy.yaml:1: ")
    assert policy.parse(b"\xef\xbb\xbfversion: 1\n") == policy.default()


def test_no_text_grows_or_hangs_when_it_is_read() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
    )
    assert "alias" in refused(bomb)
    assert "nested" in refused("[" * 100_000)
    assert "nested" in refused("{a: " * 100_000)
    assert "MiB" in refused(b"#" * ((1 << 20) + 1))
    assert "KiB" in refused(
        "version: 1\nenvironment:\n" + "".join(f"  A{i}: '{'x' * 15000}'\n" for i in range(5))
    )


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(policy.PolicyError, match="cannot be read"):
            policy.load(str(path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(policy.PolicyError):
        policy.load(str(tmp_path / "pipe"))


# Schema and reader agree. Only the reader compares fields with each other and knows YAML's spelling.
BEYOND_THE_SCHEMA = (
    "twice", "nobody could", "lease is longer", "plain digits", "tag", "alias", "document", "more than any", "is 0,",
    "99999", "127.1", "<<", "surrogate",
)  # fmt: skip


def by_schema(text: str) -> bool:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(data))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("text", "line", "word"), WRONG)
def test_the_schema_refuses_what_the_reader_refuses(text: str, line: int, word: str) -> None:
    del line, word
    said = refused(text)
    assert not by_schema(text) or any(part in said for part in BEYOND_THE_SCHEMA), said


@pytest.mark.parametrize(
    "text", [FULL, "version: 1", "version: 1\nkeys: {}\nlimits: {}\nnetwork: {}\nread: []"]
)
def test_the_schema_takes_what_the_reader_takes(text: str) -> None:
    policy.parse(text.encode())
    assert by_schema(text)


def test_schema_and_reader_know_the_same_fields() -> None:
    def shape(node: Any) -> Any:
        return {key: shape(value) for key, value in node.items()} if isinstance(node, dict) else None

    def known(node: Any) -> Any:
        if "properties" not in node:
            return None
        return {key: known(value) for key, value in node["properties"].items()}

    expected = shape(policy.default()) | {"environment": None}
    assert known(SCHEMA) == expected


# What a new policy loosens


def changed(**fields: Any) -> dict[str, Any]:
    rules = copy.deepcopy(policy.parse(FULL.encode()))
    for path, value in fields.items():
        first, _, second = path.partition("__")
        if second:
            rules[first][second] = value
        else:
            rules[first] = value
    return rules


@pytest.mark.parametrize(
    "fields",
    [
        {"network__hosts": ["api.openai.com", "*.example.org", "evil.org"]},
        {"network__hosts": ["example.org"]},
        {"network__hosts": ["*.org"]},
        {"network__hosts": ["api.openai.com:8443"]},
        {"network__hosts": ["localhost"]},
        {"read": ["/opt"]},
        {"read": ["/opt/models2"]},
        {"environment": {"OPENAI_MODEL": "o4"}},
        {"pass": ["OPENAI_API_KEY", "HOME"]},
        {"limits__memory": None},
        {"limits__memory": 5 << 30},
        {"limits__pids": 513},
        {"limits__lease_max": 5401},
        {"keys__trusted": [KEY, OTHER, "ed25519:" + "C" * 42 + "A"]},
        {"keys__trusted": [KEY]},
        {"keys__needed": {"reset": 1, "release": 1, "renew": 1, "policy": 2}},
    ],
)
def test_what_allows_more_is_looser(fields: dict[str, Any]) -> None:
    assert policy_change.looser(changed(**fields), changed())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"network__hosts": []},
        {"network__hosts": ["api.openai.com:443"]},
        {"network__hosts": ["deep.www.example.org", "*.www.example.org:443"]},
        {"read": ["/opt/models/one"]},
        {"environment": {}},
        {"pass": []},
        {"limits__memory": 1 << 30},
        {"limits__lease_max": 60},
        {"keys__needed": {"reset": 2, "release": 2, "renew": 2, "policy": 2}},
        {"interrupt": ""},
    ],
)
def test_what_allows_less_is_not_looser(fields: dict[str, Any]) -> None:
    assert policy_change.looser(changed(**fields), changed()) == []


# From a policy to a plan


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(str(tmp_path / "run"), str(tmp_path / "state"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    return folder


def plan(places: Places, work: Path, *argv: str, **options: Any) -> dict[str, Any]:
    return planning.plan(places, argv or ("true",), name="x", workspace=str(work), **options)


def put(path: Path, content: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path


def test_a_plan_has_the_usual_limits(places: Places, work: Path) -> None:
    made = plan(places, work)
    assert (made["lease_s"], made["pids"], made["proxy"], made["hosts"]) == (3600, 512, None, [])
    assert 0 < made["memory"] <= 4 << 30
    assert made["lease_max_s"] == 24 * 3600
    assert not any("PROXY" in name.upper() for name in made["environment"])


def test_a_policy_bounds_what_is_asked_for(places: Places, work: Path) -> None:
    rules = policy.parse(b"version: 1\nlimits: {memory: 1G, pids: 10, lease: 5m, lease_max: 10m}")
    made = plan(places, work, policy=rules)
    assert (made["memory"], made["pids"], made["lease_s"], made["lease_max_s"]) == (1 << 30, 10, 300, 600)
    made = plan(places, work, policy=rules, memory=1 << 20, pids=5, lease=600)
    assert (made["memory"], made["pids"], made["lease_s"]) == (1 << 20, 5, 600)
    for more in ({"memory": 2 << 30}, {"pids": 11}, {"lease": 601.0}):
        with pytest.raises(planning.Refused, match="more than the policy's"):
            plan(places, work, policy=rules, **more)
    only_most = policy.parse(b"version: 1\nlimits: {lease_max: 10m}")
    assert plan(places, work, policy=only_most)["lease_s"] == 600


def test_hosts_lead_through_the_proxy(places: Places, work: Path) -> None:
    made = plan(places, work, policy=policy.parse(b"version: 1\nnetwork: {hosts: [a.org]}"))
    assert made["proxy"] == 3128
    assert made["environment"]["https_proxy"] == made["environment"]["HTTP_PROXY"] == "http://127.0.0.1:3128"
    assert made["environment"]["NO_PROXY"] == ""
    assert made["environment"]["NODE_USE_ENV_PROXY"] == "1"


def test_of_the_operators_environment_only_what_is_named_comes_in(
    places: Places, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECRET", "WANTED", "ASKED", "TERM", "LC_ALL", "BASH_ENV", "LD_PRELOAD"):
        monkeypatch.setenv(name, "v")
    monkeypatch.delenv("ABSENT", raising=False)
    rules = policy.parse(b"version: 1\npass: [WANTED, ABSENT]\nenvironment: {FIXED: f, BOTH: policy}")
    made = plan(places, work, policy=rules, passed=["ASKED"], environment={"BOTH": "asked"})["environment"]
    assert {key: made.get(key) for key in ("WANTED", "ASKED", "FIXED", "BOTH", "TERM", "LC_ALL")} == {
        "WANTED": "v", "ASKED": "v", "FIXED": "f", "BOTH": "asked", "TERM": "v", "LC_ALL": "v",
    }  # fmt: skip
    assert not {"SECRET", "ABSENT", "BASH_ENV", "LD_PRELOAD", "HOME"} & made.keys()
    with pytest.raises(planning.Refused, match="--env ABSENT"):
        plan(places, work, passed=["ABSENT"])


@pytest.mark.parametrize(
    "workspace",
    ["/", "/proc", "/proc/1", "/sys", "/dev/shm", "/nonexistent", "/etc/passwd", "/etc/ssl", "/usr"],
)
def test_a_workspace_that_is_no_place_to_work_is_refused(places: Places, work: Path, workspace: str) -> None:
    with pytest.raises(planning.Refused, match=r"^the workspace [^\n]+$"):
        plan(places, Path(workspace))


def test_a_workspace_that_holds_the_kill_path_is_refused(places: Places, work: Path, tmp_path: Path) -> None:
    os.makedirs(places.runtime)
    os.makedirs(places.lasting + "/keys")
    code = Path(planning.__file__).parents[1]
    for wrong, word in (
        (Path(places.lasting), "offswitch's own files"),
        (Path(places.lasting) / "keys", "offswitch's own files"),
        (Path(os.environ["HOME"]), "your home folder"),
        (Path(os.environ["HOME"]).parent, "your home folder"),
        (code, "offswitch itself"),
        (code.parent, "offswitch itself"),
    ):
        with pytest.raises(planning.Refused, match=word):
            plan(places, wrong)
    link = tmp_path / "link"
    link.symlink_to(places.lasting)
    with pytest.raises(planning.Refused, match="offswitch's own files"):
        plan(places, link)
    nested = Path(os.environ["HOME"]) / "project"
    nested.mkdir()
    assert plan(places, nested)["workspace"] == str(nested)


def test_folders_with_secrets_are_not_shown(places: Places, work: Path, tmp_path: Path) -> None:
    os.makedirs(places.lasting + "/keys")
    for wrong in ("/", "/proc", os.environ["HOME"], places.lasting, places.lasting + "/keys", "/nonexistent"):
        with pytest.raises(planning.Refused):
            plan(places, work, read=[wrong])
    assert plan(places, work, read=["/etc/ssl"])["read"] == [os.path.realpath("/etc/ssl")]


def test_a_policy_in_the_workspace_is_refused(places: Places, work: Path) -> None:
    path = work / "policy.yaml"
    path.write_text("version: 1")
    with pytest.raises(planning.Refused, match="the agent could change it"):
        plan(places, work, policy=policy.load(str(path)), policy_file=str(path))


def test_a_program_of_the_system_is_found(places: Places, work: Path) -> None:
    made = plan(places, work, "sh", "-c", "x")
    assert made["argv"][1:] == ["-c", "x"]
    assert os.path.basename(made["argv"][0]) == "sh"
    assert made["environment"]["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    for wrong in ("no-such-program", "./none", "/etc/passwd", "/usr", ""):
        with pytest.raises(planning.Refused):
            plan(places, work, wrong)


def test_a_program_of_the_workspace_is_found_where_the_agent_sees_it(
    places: Places, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = put(work / "tools/go")
    assert plan(places, work, str(script))["argv"] == ["/workspace/tools/go"]
    monkeypatch.chdir(work / "tools")
    assert plan(places, work, "./go")["argv"] == ["/workspace/tools/go"]
    monkeypatch.setenv("PATH", f"{work}/tools:/usr/bin:/bin")
    made = plan(places, work, "go")
    assert made["argv"] == ["/workspace/tools/go"]
    assert made["environment"]["PATH"] == ":".join(
        dict.fromkeys(["/workspace/tools", "/usr/bin", os.path.realpath("/bin"), "/usr/local/bin", "/bin"])
    )


def test_a_program_out_of_sight_is_refused_with_what_to_show(
    places: Places, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(os.environ["HOME"])
    node = home / ".nvm/versions/node/v20"
    put(node / "lib/node_modules/codex/bin/codex.js", "#!/usr/bin/env node\n")
    put(node / "bin/node", "\x7fELF")
    (node / "bin/codex").symlink_to("../lib/node_modules/codex/bin/codex.js")
    monkeypatch.setenv("PATH", f"{node}/bin:/usr/bin:/bin")
    with pytest.raises(planning.Refused, match=f"add --read {node}$"):
        plan(places, work, "codex")
    made = plan(places, work, "codex", read=[str(node)])
    assert made["argv"] == [f"{node}/bin/codex"]
    assert made["environment"]["PATH"].startswith(f"{node}/bin:")


def test_what_to_show_is_never_half_of_the_home_folder(
    places: Places, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(os.environ["HOME"])
    tool = put(home / ".local/share/pipx/venvs/mini/bin/mini")
    (home / ".local/bin").mkdir(parents=True)
    (home / ".local/bin/mini").symlink_to(tool)
    monkeypatch.setenv("PATH", f"{home}/.local/bin:/usr/bin:/bin")
    with pytest.raises(planning.Refused, match=r"add --read .*/pipx/venvs/mini$"):
        plan(places, work, "mini")
    assert plan(places, work, "mini", read=[str(tool.parents[1])])["argv"] == [str(tool)]
    put(home / "bin/own")
    monkeypatch.setenv("PATH", f"{home}/bin:/usr/bin:/bin")
    with pytest.raises(planning.Refused, match=f"add --read {home}/bin$"):
        plan(places, work, "own")


def test_a_script_without_its_interpreter_is_refused(
    places: Places, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = tmp_path / "venv"
    outer = put(tmp_path / "elsewhere/python/bin/python3.11", "\x7fELF")
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(outer)
    script = put(venv / "bin/agent", f"#!{venv}/bin/python\n")
    with pytest.raises(planning.Refused, match=f"add --read {venv}$"):
        plan(places, work, str(script))
    with pytest.raises(planning.Refused, match=f"add --read {outer.parents[1]}$"):
        plan(places, work, str(script), read=[str(venv)])
    assert plan(places, work, str(script), read=[str(venv), str(outer.parents[1])])["argv"] == [str(script)]
    lost = put(work / "lost", "#!/usr/bin/env no-such-interpreter\n")
    with pytest.raises(planning.Refused, match="not installed"):
        plan(places, work, str(lost))


def test_a_script_of_the_workspaces_own_environment_says_what_to_show(places: Places, work: Path) -> None:
    (work / "venv/bin").mkdir(parents=True)
    (work / "venv/bin/python").symlink_to("/usr/bin/env")
    script = put(work / "venv/bin/agent", f"#!{work}/venv/bin/python\n")
    with pytest.raises(planning.Refused, match=rf"/workspace.*add --read {work}/venv$"):
        plan(places, work, str(script))
    assert plan(places, work, str(script), read=[str(work / "venv")])["argv"] == [str(script)]


def test_a_link_out_of_the_workspace_is_no_way_to_a_program_out_of_sight(
    places: Places, work: Path, tmp_path: Path
) -> None:
    outside = put(tmp_path / "outside/tool")
    (work / "tool").symlink_to(outside)
    with pytest.raises(planning.Refused, match="does not show"):
        plan(places, work, str(work / "tool"))


def test_another_root_file_system_has_programs_of_its_own(places: Places, work: Path) -> None:
    made = plan(places, work, "no-such-program", sandbox="oci", options={"image": "x"})
    assert made["argv"] == ["no-such-program"]
    assert "PATH" not in made["environment"]
    script = put(work / "go")
    assert plan(places, work, str(script), sandbox="microvm")["argv"] == ["/workspace/go"]


def test_a_stated_path_is_kept(places: Places, work: Path) -> None:
    assert plan(places, work, environment={"PATH": "/usr/bin"})["environment"]["PATH"] == "/usr/bin"


def test_nothing_is_written_by_planning(places: Places, work: Path) -> None:
    plan(places, work)
    assert not os.path.exists(places.runtime)
    assert not os.path.exists(places.lasting)
    assert stat.S_ISDIR(work.stat().st_mode)
