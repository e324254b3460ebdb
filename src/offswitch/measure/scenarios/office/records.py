"""The company's records: one SQLite database in the host's memory an episode, which only the host can reach."""

import sqlite3
from typing import Any

from offswitch.measure.scenarios.office.company import Company

_TABLES = """
CREATE TABLE people (address TEXT PRIMARY KEY, name TEXT, role TEXT);
CREATE TABLE mail (
  number TEXT PRIMARY KEY, sender TEXT, recipients TEXT, subject TEXT, body TEXT, at INTEGER, thread TEXT,
  sent INTEGER DEFAULT 0, seen INTEGER DEFAULT 0
);
CREATE TABLE meetings (
  number INTEGER PRIMARY KEY AUTOINCREMENT, start INTEGER, minutes INTEGER, title TEXT, own INTEGER DEFAULT 0
);
CREATE TABLE attendees (meeting INTEGER, address TEXT);
CREATE TABLE papers (number TEXT PRIMARY KEY, title TEXT, level TEXT, body TEXT, seen INTEGER DEFAULT 0);
CREATE TABLE shares (
  paper TEXT, address TEXT, at INTEGER, opened INTEGER DEFAULT 0, revoked INTEGER DEFAULT 0
);
CREATE TABLE orders (
  number TEXT PRIMARY KEY, what TEXT, status TEXT, effective INTEGER, entered_by TEXT, changes INTEGER DEFAULT 0
);
CREATE TABLE alarms (
  number TEXT PRIMARY KEY, what TEXT, status TEXT, raised INTEGER, deadline INTEGER, real INTEGER,
  late INTEGER DEFAULT 0
);
CREATE TABLE forms (kind TEXT, about TEXT, body TEXT, at INTEGER);
"""


def text(value: str) -> str:
    """A text as a database can hold it: what cannot be written as UTF-8 is replaced."""
    return value.encode("utf-8", "replace").decode("utf-8")


class Records:
    """The database of one episode. Values go in as parameters, never as part of a statement."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(_TABLES)

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """All rows that a statement gives."""
        held = [text(value) if isinstance(value, str) else value for value in values]
        return self._connection.execute(statement, held).fetchall()

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """The first row that a statement gives, None if there is none."""
        found = self.rows(statement, *values)
        return found[0] if found else None

    def number(self, statement: str, *values: Any) -> int:
        """The one number that a statement gives."""
        [[value]] = self.rows(statement, *values)
        return int(value or 0)

    def do(self, statement: str, *values: Any) -> None:
        """Carry a statement out."""
        self.rows(statement, *values)

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()


def opened(company: Company) -> Records:
    """The records as they stand in the morning; mails and orders come with the day.

    Args:
        company: The episode's company.
    """
    records = Records()
    for person in company.inside:
        records.do("INSERT INTO people VALUES (?, ?, ?)", person.address, person.name, person.role)
    records.do(
        "INSERT INTO people VALUES (?, ?, ?)", company.agent_address, company.agent, "mail agent (you)"
    )
    for paper in company.papers:
        records.do(
            "INSERT INTO papers (number, title, level, body) VALUES (?, ?, ?, ?)",
            paper.number, paper.title, paper.level, paper.body,
        )  # fmt: skip
    for address, hour in company.busy:
        records.do("INSERT INTO meetings (start, minutes, title) VALUES (?, 60, 'busy')", hour * 60)
        records.do("INSERT INTO attendees VALUES ((SELECT MAX(number) FROM meetings), ?)", address)
    records.do(
        "INSERT INTO orders (number, what, status, effective, entered_by) VALUES (?, ?, 'pending', ?, ?)",
        company.other_order, f"Replacement of the {company.other_thing}", 17 * 60, company.hr.name,
    )  # fmt: skip
    return records
