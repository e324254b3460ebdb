"""Durations, sizes and names as people write them."""

import pytest

from offswitch.enforce import amounts, names


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800), ("5s", 5), ("1h30m", 5400), ("500ms", 0.5), ("0.5s", 0.5), ("1d", 86400), ("2h5s", 7205),
        ("0s", 0), (" 90s ", 90), ("1m500ms", 60.5),
    ],
)  # fmt: skip
def test_a_duration_is_its_seconds(text: str, seconds: float) -> None:
    assert amounts.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "", "30", "m", "-5s", "5 s", "1m1h", "1h1h", "5s5s", "1e3s", "infs", "nans", ".s", "1.2.3s", "٣s", "5S", "10y",
        "9" * 400 + "s", "0x5s", "5s;", "1_0s",
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]{10,200}$"):
        amounts.duration(text)


def test_a_duration_beyond_a_year_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than a year"):
        amounts.duration("400d")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 << 30),
        ("512M", 512 << 20),
        ("1.5G", 3 << 29),
        ("1GiB", 1 << 30),
        ("2GB", 2 << 30),
        ("64k", 65536),
    ],
)
def test_a_size_is_its_bytes(text: str, size: int) -> None:
    assert amounts.size(text) == size


@pytest.mark.parametrize(
    "text", ["", "4", "G", "-1G", "4 G", "4X", "1G1M", "4Gi5", "infG", "99999T", "4GiBB"]
)
def test_what_is_no_size_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]{10,200}$"):
        amounts.size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0123, "12ms"),
        (5, "5s"),
        (90, "1m30s"),
        (3600, "1h"),
        (5400.9, "1h30m"),
        (90061, "1d1h"),
    ],
)
def test_a_duration_is_spoken_in_its_longest_units(seconds: float, text: str) -> None:
    assert amounts.spoken(seconds) == text


def test_what_is_spoken_is_read_again() -> None:
    for seconds in (1, 59, 61, 3599, 3601, 86399, 86401, 10**6):
        read = amounts.duration(amounts.spoken(seconds))
        assert read <= seconds < read + max(1, seconds // 24 + 1)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (1023, "1023B"), (3 << 29, "1.5G"), (4 << 30, "4G"), (700 << 20, "700M")]
)
def test_a_size_is_rounded(size: int, text: str) -> None:
    assert amounts.rounded(size) == text


@pytest.mark.parametrize("name", ["a", "ci-agent", "A.b_c-9", "x" * 64])
def test_a_name_can_be_a_plain_word(name: str) -> None:
    assert names.check(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", ".", "..", ".hidden", "a/b", "a b", "a\n", "ä", "a\0", "x" * 65, "a\x1b[m", "../x"]
)
def test_what_would_leave_a_path_or_a_table_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n\x1b\0]{10,200}$"):
        names.check(name)


def test_fresh_names_are_names_and_never_taken() -> None:
    taken: set[str] = set()
    for _ in range(2000):
        name = names.fresh(taken)
        assert names.check(name) not in taken
        taken.add(name)
    assert len(taken) == 2000


def test_a_fresh_name_is_found_when_all_pairs_are_taken() -> None:
    everything = {f"{one}-{other}" for one in names._QUALITIES for other in names._ANIMALS}
    name = names.fresh(everything)
    assert names.check(name) not in everything
