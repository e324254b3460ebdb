"""Mailbox, directory, calendar and documents: what the agent does that carries words to people."""

import re
from typing import Any

from offswitch.measure.scenarios.office.day import Day
from offswitch.measure.scenarios.office.post import LONGEST
from offswitch.measure.scenarios.office.timing import SHARE_OPENED, clock
from offswitch.measure.staging.scene import Refused


def list_mail(day: Day) -> str:
    """See the tool."""
    rows = day.records.rows("SELECT * FROM mail WHERE sent = 0 ORDER BY at, rowid")
    return "\n".join(
        f"{row['number']}{'' if row['seen'] else ' (unread)'} {clock(row['at'])} from {row['sender']}: {row['subject']}"
        for row in rows
    )


def read_mail(day: Day, mail: str) -> str:
    """See the tool."""
    row = _mail(day, mail)
    day.records.do("UPDATE mail SET seen = 1 WHERE number = ?", row["number"])
    return (
        f"{row['number']} {clock(row['at'])}\nFrom: {row['sender']}\nTo: {row['recipients']}\n"
        f"Subject: {row['subject']}\n\n{row['body']}"
    )


def search_mail(day: Day, text: str) -> str:
    """See the tool."""
    rows = day.records.rows(
        "SELECT * FROM mail WHERE instr(lower(subject || ' ' || body || ' ' || sender), lower(?)) > 0 ORDER BY at",
        text,
    )
    return "\n".join(f"{row['number']} from {row['sender']}: {row['subject']}" for row in rows) or "Nothing."


def send_mail(day: Day, to: str, subject: str, body: str, cc: str = "") -> str:
    """See the tool."""
    addresses = day.post.addresses(f"{to},{cc}")
    number = day.deliver("mail", addresses, subject, body)
    return f"Sent as {number} to {', '.join(addresses)}."


def reply_mail(day: Day, mail: str, body: str) -> str:
    """See the tool."""
    row = _mail(day, mail)
    if row["sent"]:
        raise Refused(f"{row['number']} is a mail of your own")
    number = day.deliver("mail", [row["sender"]], f"Re: {row['subject']}", body, row["thread"])
    return f"Sent as {number} to {row['sender']}."


def forward_mail(day: Day, mail: str, to: str, note: str = "") -> str:
    """See the tool."""
    row = _mail(day, mail)
    addresses = day.post.addresses(to)
    body = f"{note}\n\n---\nFrom: {row['sender']}\nSubject: {row['subject']}\n\n{row['body']}"
    number = day.deliver("mail", addresses, f"Fwd: {row['subject']}", body)
    return f"Sent as {number} to {', '.join(addresses)}."


def _mail(day: Day, number: str) -> Any:
    row = day.records.row("SELECT * FROM mail WHERE number = ?", number.strip().upper())
    if row is None:
        raise Refused(f"there is no mail {number[:40]!r}")
    return row


def find_person(day: Day, text: str) -> str:
    """See the tool."""
    rows = day.records.rows(
        "SELECT * FROM people WHERE instr(lower(name || ' ' || role || ' ' || address), lower(?)) > 0",
        text.strip(),
    )
    return "\n".join(f"{row['name']}, {row['role']}: {row['address']}" for row in rows) or "Nobody."


def list_calendar(day: Day, person: str) -> str:
    """See the tool."""
    [address, *_] = day.post.addresses(person)
    rows = day.records.rows(
        "SELECT m.* FROM meetings m JOIN attendees a ON a.meeting = m.number WHERE a.address = ? ORDER BY m.start",
        address,
    )
    return "\n".join(
        f"{_time(row['start'])} for {row['minutes']} minutes: {row['title']}"
        + (f" (meeting {row['number']}, booked by you)" if row["own"] else "")
        for row in rows
    ) or f"{address} is free all day tomorrow."  # fmt: skip


def book_meeting(day: Day, people: str, start: str, minutes: int, title: str, note: str = "") -> str:
    """See the tool."""
    addresses = day.post.addresses(people)
    begin = minute_of(start)
    if not 8 * 60 <= begin <= 20 * 60:
        raise Refused("meetings are between 08:00 and 20:00")
    if not 15 <= minutes <= 240:
        raise Refused(f"a meeting takes 15 to 240 minutes, not {str(minutes)[:20]}")
    for address in addresses:
        taken = day.records.row(
            "SELECT m.start FROM meetings m JOIN attendees a ON a.meeting = m.number "
            "WHERE a.address = ? AND m.start < ? AND m.start + m.minutes > ?",
            address, begin + minutes, begin,
        )  # fmt: skip
        if taken:
            raise Refused(f"{address} is not free at {start[:10]}")
    day.deliver("invitation", addresses, title, note)
    day.records.do(
        "INSERT INTO meetings (start, minutes, title, own) VALUES (?, ?, ?, 1)", begin, minutes, title[:200]
    )
    number = day.records.number("SELECT MAX(number) FROM meetings")
    for address in addresses:
        day.records.do("INSERT INTO attendees VALUES (?, ?)", number, address)
    return (
        f"Meeting {number} is booked for tomorrow, {_time(begin)}, {minutes} minutes: {', '.join(addresses)}."
    )


def cancel_meeting(day: Day, meeting: int) -> str:
    """See the tool."""
    if not 0 <= meeting < 10**9 or not day.records.row(
        "SELECT 1 FROM meetings WHERE number = ? AND own = 1", meeting
    ):
        raise Refused(f"you have booked no meeting {str(meeting)[:20]}")
    day.records.do("DELETE FROM attendees WHERE meeting = ?", meeting)
    day.records.do("DELETE FROM meetings WHERE number = ?", meeting)
    return f"Meeting {meeting} is taken back."


def minute_of(time: str) -> int:
    """``HH:MM`` in minutes of the day.

    Raises:
        Refused: It is no time.
    """
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", time.strip())
    if match is None:
        raise Refused(f"a time is HH:MM, not {time[:40]!r}")
    return int(match[1]) * 60 + int(match[2])


def _time(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def list_documents(day: Day) -> str:
    """See the tool."""
    rows = day.records.rows("SELECT * FROM papers ORDER BY rowid")
    return "\n".join(f"{row['number']} ({row['level']}): {row['title']}" for row in rows)


def read_document(day: Day, document: str) -> str:
    """See the tool."""
    row = _paper(day, document)
    day.records.do("UPDATE papers SET seen = 1 WHERE number = ?", row["number"])
    return f"{row['number']} ({row['level']}): {row['title']}\n\n{row['body']}"


def share_document(day: Day, document: str, to: str, note: str = "") -> str:
    """See the tool."""
    row = _paper(day, document)
    if len(note) > LONGEST:
        raise Refused(f"a note has at most {LONGEST} characters")
    addresses = day.post.addresses(to)
    for address in addresses:
        day.records.do(
            "INSERT INTO shares (paper, address, at) VALUES (?, ?, ?)", row["number"], address, day.minute
        )
    if note:
        day.deliver("share", addresses, row["title"], note)
    return (
        f"{', '.join(addresses)} can read {row['number']}, {row['title']} ({row['level']}). "
        f"Until it is opened, in about {SHARE_OPENED} minutes, you can take that back."
    )


def unshare_document(day: Day, document: str, to: str) -> str:
    """See the tool."""
    row = _paper(day, document)
    for address in day.post.addresses(to):
        if not day.records.row(
            "SELECT 1 FROM shares WHERE paper = ? AND address = ? AND revoked = 0", row["number"], address
        ):
            raise Refused(f"{address} has no access to {row['number']}")
        day.records.do(
            "UPDATE shares SET revoked = 1 WHERE paper = ? AND address = ?", row["number"], address
        )
    return f"{to[:200]} can no longer read {row['number']}."


def _paper(day: Day, number: str) -> Any:
    row = day.records.row("SELECT * FROM papers WHERE number = ?", number.strip().upper())
    if row is None:
        raise Refused(f"there is no document {number[:40]!r}")
    return row
