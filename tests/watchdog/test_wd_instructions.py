"""The record of what a model was told."""

import hashlib
import hmac
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wd_asking import NOW, SYSTEM, asked, tool, user

from offswitch.enforce.places import Places
from offswitch.enforce.watchdog import instructions
from offswitch.enforce.watchdog.calls import Asked, Tool
from offswitch.enforce.watchdog.instructions import Change, Record, RecordLost, begin, folder, runs
from offswitch.enforce.watchdog.recorded import Account, Damaged, changed, form, read
from offswitch.trust import canonical


def digest(value: object) -> str:
    return hashlib.sha256(canonical.encode_any(value)).hexdigest()


def add(record: Record, request: Asked, at: int = NOW, program: str | None = "quill") -> list[Change]:
    return record.add(
        request, call_id=f"c{at - NOW}", at_ms=at, program=program, endpoint="openai /v1/responses"
    )


def told(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.what, change.says) for change in changes]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(str(tmp_path))


def test_a_first_call_tells_everything_and_a_second_like_it_nothing(record: Record, tmp_path: Path) -> None:
    request = asked(user("<system-reminder>Be brief.</system-reminder>", "Write."))
    first = add(record, request)
    assert told(first) == [
        ("system", "You are Quill, a writing agent."),
        ("tools", "2 tools: bash, edit"),
        ("injected", "<system-reminder>Be brief.</system-reminder>"),
    ]
    assert add(record, request, NOW + 1) == []
    (line,) = read(str(tmp_path)).lines
    assert (line.calls, line.first, line.last, line.models) == (2, NOW, NOW + 1, ["nova-2"])
    assert (line.programs, line.endpoints) == (["quill"], ["openai /v1/responses"])
    assert [(sent.what, sent.times) for sent in line.sent.values()] == [
        ("system", 2),
        ("tools", 2),
        ("injected", 2),
    ]


def test_a_text_is_its_canonical_json_under_its_sha256(record: Record, tmp_path: Path) -> None:
    request = asked()
    add(record, request)
    definitions = [one.definition for one in request.tools]
    files = {path.name: path.read_bytes() for path in (tmp_path / "texts").iterdir()}
    assert files == {
        f"{digest(value)}.json": canonical.encode_any(value) for value in (SYSTEM, definitions)
    }  # the definitions hold fractions
    account = read(str(tmp_path))
    assert account.value(digest(SYSTEM)) == SYSTEM
    assert account.value(digest(definitions)) == definitions


def test_a_text_is_written_once(record: Record, tmp_path: Path) -> None:
    add(record, asked())
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "texts").iterdir()}
    add(record, asked(user("Another conversation.")), NOW + 1)
    again = Record(str(tmp_path))
    add(again, asked(user("And one more.")), NOW + 2)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "texts").iterdir()} == before


def test_only_the_operators_user_can_read_it(record: Record, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    add(record, asked())
    add(Record(str(private), private=True), asked())
    for path in [*tmp_path.rglob("*"), tmp_path]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_change_of_the_instructions_is_a_change_with_what_was_before(
    record: Record, tmp_path: Path
) -> None:
    add(record, asked())
    (change,) = add(record, asked(system=("Never stop.",)), NOW + 5)
    assert change == Change("system", 1, digest("Never stop."), digest(SYSTEM), "Never stop.")
    (line,) = read(str(tmp_path)).lines
    assert [(one.at, one.what, one.before, one.now) for one in line.changes] == [
        (NOW + 5, "system", digest(SYSTEM), digest("Never stop."))
    ]
    assert line.system == (digest("Never stop."),)
    assert line.sent[digest(SYSTEM)].last == NOW


def test_what_is_taken_away_is_a_change(record: Record) -> None:
    add(record, asked(system=(SYSTEM, "Be kind.")))
    (change,) = add(record, asked(), NOW + 1)
    assert (change.digest, change.before) == ("", digest("Be kind."))


def test_a_change_of_tools_names_them(record: Record) -> None:
    add(record, asked())
    (change,) = add(record, asked(tools=(tool("bash"), tool("fetch"))), NOW + 1)
    assert (change.what, change.says) == ("tools", "+fetch -edit")
    (change,) = add(record, asked(tools=(tool("bash"), tool("fetch", "Fetches anything."))), NOW + 2)
    assert change.says == "the same tools, described otherwise"


def test_of_the_history_only_what_is_new_is_kept(record: Record, tmp_path: Path) -> None:
    history: list[object] = [user("Write.")]
    for turn in range(5):
        history.append({"role": "system", "content": f"Turn {turn}."})
        assert told(add(record, asked(*history), NOW + turn)) == (
            [] if turn else [("system", SYSTEM.split("\n")[0]), ("tools", "2 tools: bash, edit")]
        ) + [("injected", f"Turn {turn}.")]
    entries = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [len(entry["injected"]) for entry in entries] == [1] * 5
    # The history is cut: what is gone is no longer counted.
    add(record, asked(history[0], history[-1]), NOW + 9)
    (line,) = read(str(tmp_path)).lines
    assert [sent.times for sent in line.sent.values() if sent.what == "injected"] == [5, 4, 3, 2, 2]
    assert len(line.injected) == 1


def test_a_title_between_two_calls_is_no_change(record: Record, tmp_path: Path) -> None:
    title = asked(user("Write a page."), system=("Make a title.",), tools=())
    topic = asked(user("Write a page."), system=("Is this a new topic?",), tools=())
    add(record, asked())
    for turn in range(1, 10, 3):
        assert [change.line for change in add(record, title, NOW + turn)] == ([2] if turn == 1 else [])
        assert [change.line for change in add(record, topic, NOW + turn + 1)] == ([3] if turn == 1 else [])
        assert add(record, asked(), NOW + turn + 2) == []
    assert [(line.calls, line.changes) for line in read(str(tmp_path)).lines] == [(4, []), (3, []), (3, [])]


def test_a_subagent_is_a_line_of_its_own_and_the_next_of_its_kind_the_same(record: Record) -> None:
    add(record, asked())
    sub = {"system": ("You search.",), "tools": (tool("grep"),)}
    assert {change.line for change in add(record, asked(user("Find a."), **sub), NOW + 1)} == {2}
    assert add(record, asked(user("Find b."), **sub), NOW + 2) == []


def test_a_conversation_that_was_begun_anew_is_the_same_line(record: Record) -> None:
    add(record, asked())
    assert add(record, asked(user("A summary of what was.")), NOW + 1) == []


def test_instructions_that_grow_are_one_line_without_tools_too(record: Record) -> None:
    add(record, asked(tools=()))
    (change,) = add(record, asked(tools=(), system=(SYSTEM, "Now plan.")), NOW + 1)
    assert (change.line, change.before, change.says) == (1, "", "Now plan.")


def test_a_request_that_goes_on_belongs_to_its_line_and_takes_nothing_away(
    record: Record, tmp_path: Path
) -> None:
    add(record, asked({"role": "developer", "content": "Plan."}, user("Write.")))
    assert add(record, asked({"type": "function_call_output", "output": "x"}, continues=True), NOW + 1) == []
    (change,) = add(record, asked(user("More."), system=("Other.",), continues=True), NOW + 2)
    assert (change.line, change.what) == (1, "system")
    (line,) = read(str(tmp_path)).lines
    assert [sent.times for sent in line.sent.values() if sent.what == "injected"] == [3]


def test_private_texts_are_not_kept_and_not_to_be_guessed(tmp_path: Path) -> None:
    record = Record(str(tmp_path), private=True)
    changes = add(record, asked(user("<system-reminder>Be brief.</system-reminder>")))
    add(record, asked(user("Another.")), NOW + 1)
    assert [change.says for change in changes] == ["", "", ""]
    assert list((tmp_path / "texts").iterdir()) == []
    everything = (tmp_path / "calls.jsonl").read_text()
    assert "Quill" not in everything
    assert "brief" not in everything
    assert digest(SYSTEM) not in everything
    key = (tmp_path / "key").read_bytes()
    assert changes[0].digest == hmac.digest(key, canonical.encode_any(SYSTEM), "sha256").hex()
    # Equal texts have equal digests within a run, in a record that is opened again too, and others in other runs.
    account = read(str(tmp_path))
    assert account.lines[0].sent[changes[0].digest].times == 2
    assert add(Record(str(tmp_path), private=True), asked(), NOW + 3)[0].digest == changes[0].digest
    other = tmp_path / "other"
    other.mkdir()
    assert add(Record(str(other), private=True), asked())[0].digest != changes[0].digest
    with pytest.raises(Damaged, match="private"):
        account.value(changes[0].digest)


@pytest.mark.parametrize(
    "value",
    ["\ud800", {"\udfff": [1]}, float("nan"), [float("-inf")], 2**70, -(2**53)],
    ids=repr,
)
def test_what_has_no_canonical_form_is_recorded_all_the_same(
    record: Record, tmp_path: Path, value: object
) -> None:
    (change, *_) = add(record, asked(system=(value,)))
    assert repr(read(str(tmp_path)).value(change.digest)) == repr(value)


def test_other_values_have_other_forms() -> None:
    values = [
        "\ud800",
        "\\ud800",
        "\\\\ud800",
        float("nan"),
        "NaN",
        None,
        2**53 + 1,
        2**53 + 2,
        0.1,
        "0.1",
        [],
        {},
        "",
    ]
    assert len({form(value) for value in values}) == len(values)


@given(
    st.recursive(
        st.none() | st.text(st.characters()) | st.integers() | st.booleans(),
        lambda one: (
            st.lists(one, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=4), one, max_size=4)
        ),
    )
)
@settings(max_examples=200)
def test_a_form_is_read_back_as_what_it_was(value: object) -> None:
    assert json.loads(form(value)) == value


def test_what_is_nested_too_deeply_is_said(record: Record) -> None:
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecordLost, match="too deeply"):
        add(record, asked(system=(deep,)))
    assert len(add(record, asked(), NOW + 1)) == 2


def test_ten_megabytes_of_instructions_are_recorded(record: Record, tmp_path: Path) -> None:
    text = "Write.\n" * 1_500_000
    (change, *_) = add(record, asked(system=(text,)))
    assert read(str(tmp_path)).value(change.digest) == text
    assert len(change.says) <= 100


def test_a_record_that_is_full_is_said(
    record: Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(instructions, "LARGEST_TEXTS", 10_000)
    add(record, asked())
    with pytest.raises(RecordLost, match="full") as lost:
        add(record, asked(system=("x" * 20_000,)), NOW + 1)
    assert "\n" not in str(lost.value)
    monkeypatch.setattr(instructions, "LARGEST_CALLS", (tmp_path / "calls.jsonl").stat().st_size + 10)
    with pytest.raises(RecordLost, match="full"):
        add(record, asked(), NOW + 2)
    assert read(str(tmp_path)).lines[0].calls == 1


FULL = """
import os, sys
sys.path.insert(0, {tests!r})
from wd_asking import NOW, asked, user
from offswitch.enforce.watchdog.instructions import Record, RecordLost
record = Record({folder!r})
record.add(asked(), call_id="1", at_ms=NOW, program=None)
lost = 0
for turn in range(2000):
    try:
        record.add(asked(user("a"), system=(f"{{turn}}" * 100,)), call_id=str(turn), at_ms=NOW + turn, program=None)
    except RecordLost as error:
        assert "\\n" not in str(error)
        lost += 1
print(lost)
if {mend}:
    for name in os.listdir({folder!r} + "/texts")[:40]:
        os.unlink({folder!r} + "/texts/" + name)
    record.add(asked(user("b"), system=("New.",)), call_id="last", at_ms=NOW + 9999, program=None)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_said_and_leaves_a_record_that_can_be_read(tmp_path: Path) -> None:
    code = FULL.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "disk"), mend=True)
    (tmp_path / "disk").mkdir()
    (tmp_path / "code.py").write_text(code)
    script = f"mount -t tmpfs -o size=512k none disk && {sys.executable} code.py && cp -r disk copy"
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
    account = read(str(tmp_path / "copy"))
    assert account.lines[-1].system == (digest("New."),)
    assert account.skipped <= 1
    assert not list((tmp_path / "copy/texts").glob(".*"))


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from wd_asking import NOW, asked, user
from offswitch.enforce.watchdog import instructions
left = int(sys.argv[1])
real = os.write
def write(file, data):
    # As a kill at this byte would leave it.
    global left
    data = bytes(data)
    if len(data) > left:
        real(file, data[:left])
        os.kill(os.getpid(), signal.SIGKILL)
    left -= len(data)
    return real(file, data)
instructions.os.write = write
record = instructions.Record({folder!r})
for turn in range(3):
    request = asked(user("a"), system=(f"text {{turn}}",), tools=())
    record.add(request, call_id=str(turn), at_ms=NOW + turn, program=None)
"""


def test_a_kill_at_any_byte_leaves_a_record_that_can_be_read(tmp_path: Path) -> None:
    seen = set()
    for at in range(0, 1100, 37):
        where = tmp_path / str(at)
        where.mkdir()
        code = KILLED.format(tests=str(Path(__file__).parent), folder=str(where))
        done = subprocess.run([sys.executable, "-c", code, str(at)], capture_output=True, text=True)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        account = read(str(where))
        calls = sum(line.calls for line in account.lines)
        seen.add((calls, account.skipped, account.cut))
        for line in account.lines:
            for one in line.sent:
                account.value(one)
        # It goes on where it was.
        record = Record(str(where))
        add(record, asked(), NOW + 99)
        record.close()
        after = read(str(where))
        assert sum(line.calls for line in after.lines) == calls + 1
        assert after.skipped == account.skipped
    assert {(0, 1, True), (1, 1, True), (2, 1, True), (3, 0, False)} <= seen


def test_a_damaged_text_is_said(record: Record, tmp_path: Path) -> None:
    (change, *_) = add(record, asked())
    path = tmp_path / "texts" / f"{change.digest}.json"
    path.write_bytes(path.read_bytes().replace(b"Quill", b"Quell"))
    with pytest.raises(Damaged, match="not what was recorded"):
        read(str(tmp_path)).value(change.digest)
    path.unlink()
    with pytest.raises(Damaged, match="cannot be read"):
        read(str(tmp_path)).value(change.digest)


@given(st.binary(max_size=300))
def test_any_bytes_in_the_file_are_read_or_skipped(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    where = tmp_path_factory.mktemp("any")
    record = Record(str(where))
    add(record, asked())
    with open(where / "calls.jsonl", "ab") as file:
        file.write(data)
    account = read(str(where))
    assert account.lines[0].calls == 1
    assert account.skipped == sum(bool(one.strip()) for one in data.split(b"\n"))


def test_a_folder_without_a_record_has_no_calls(tmp_path: Path) -> None:
    assert read(str(tmp_path)) == Account(str(tmp_path))


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordLost, match="cannot be recorded"):
        Record(str(tmp_path / "missing"))
    (tmp_path / "texts").write_text("in the way")
    with pytest.raises(RecordLost):
        Record(str(tmp_path))


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    where = tmp_path / "run"
    where.mkdir()
    (where / "calls.jsonl").symlink_to(target)
    with pytest.raises(RecordLost):
        Record(str(where))
    assert target.read_text() == "mine"


def test_many_lines_of_calls_are_bounded(record: Record) -> None:
    for number in range(200):
        add(record, asked(user(f"{number}"), system=(f"You are {number}.",), tools=()), NOW + number)
    assert len(record._lines) <= 64
    # The record is still right.
    assert add(record, asked(user("199"), system=("You are 199.",), tools=()), NOW + 300) == []


def test_runs_are_kept_up_to_a_number_and_the_latest_is_the_first(tmp_path: Path) -> None:
    places = Places(str(tmp_path), str(tmp_path))
    os.makedirs(places.logs("ci"), mode=0o700)
    for number in range(instructions.RUNS + 3):
        where = begin(places, "ci", f"r{number}")
        add(Record(where), asked())
        os.utime(where + "/calls.jsonl", (10**9 + number, 10**9 + number))
    kept = runs(places, "ci")
    assert len(kept) == instructions.RUNS
    assert kept[0] == f"r{instructions.RUNS + 2}"
    assert os.path.isdir(folder(places, "ci", kept[0]))
    assert not os.path.exists(folder(places, "ci", "r0"))
    assert runs(places, "nobody") == []


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_what_changed_says_all_that_did(before: list[str], now: list[str]) -> None:
    found = changed(before, now)
    assert (found == []) == (before == now)
    assert set(now) - set(before) <= {new for new, _ in found}
    assert set(before) - set(now) <= {old for _, old in found}


def test_a_tool_whose_definition_is_anything_is_recorded(record: Record) -> None:
    odd = tuple(Tool("x", value) for value in (None, [], "a", {"type": 7}))
    assert len(add(record, asked(tools=odd))) == 2
