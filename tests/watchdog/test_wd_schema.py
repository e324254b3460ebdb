"""The JSON schema refuses what the reader refuses, but for what it cannot say; these are named."""

import jsonschema
import pytest
import yaml
from test_wd_rules import SCHEMA, test_a_bad_section_is_refused_with_its_line

READ_ONLY = {
    "mode: stop\nmode: deny": "a field that is stated twice is gone when YAML is read",
    "decide_within: 2h": "how long a duration is, is no pattern",
    "stall: {sleep: 0s}": "how long a duration is, is no pattern",
    "budgets: {money: 5}": "a field that needs another one",
}
"""Bad sections that only the reader refuses, and why."""

[_MARK] = test_a_bad_section_is_refused_with_its_line.pytestmark
BAD = [text for text, _ in _MARK.args[1]]
del test_a_bad_section_is_refused_with_its_line


@pytest.mark.parametrize("text", BAD)
def test_a_bad_section_is_refused_by_the_schema_too(text: str) -> None:
    good = jsonschema.Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(text))
    assert good == (text in READ_ONLY), READ_ONLY.get(text, "the schema takes it")


def test_what_only_the_reader_refuses_is_among_them() -> None:
    assert READ_ONLY.keys() <= {*BAD}
    assert len(BAD) > 4 * len(READ_ONLY)
