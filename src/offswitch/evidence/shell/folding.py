"""Strings of Perl, JavaScript, Ruby and PHP that are put together or decoded, replaced by what they become.

As in `scripts`, these are patterns and no parsers: only what is spelt out in the text is folded.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable

_ROUNDS = 12
_MOST = 50_000
_TEXT = r"""(?:"(?:[^"\\\n$#]|\\.){0,8000}"|'(?:[^'\\\n]|\\.){0,8000}')"""
_DECODED = re.compile(
    rf"""
    \bBuffer\.from\(\s*(?P<buffer>{_TEXT})\s*,\s*["'](?P<coding>base64|base64url|hex)["']\s*\)
        (?:\s*\.toString\(\s*(?:["'][\w-]*["'])?\s*\))?
    | \b(?:atob|decode_base64|base64_decode|Base64\.(?:strict_|urlsafe_)?decode64)\s*\(?\s*(?P<base64>{_TEXT})\s*\)?
    | \bhex2bin\s*\(\s*(?P<hex>{_TEXT})\s*\)
    | \bpack\s*\(?\s*["']H\*["']\s*,\s*(?P<perl>{_TEXT})\s*\)?
    | \[\s*(?P<ruby>{_TEXT})\s*\]\.pack\s*\(?\s*["']H\*["']\s*\)?
    | (?P<unpacked>{_TEXT})\.unpack(?:1\s*\(?\s*["']m0?["']\s*\)?|\s*\(\s*["']m0?["']\s*\)(?:\[0\]|\.first))
    """,
    re.X,
)
_CODES = re.compile(
    r"\bString\.fromCharCode\(\s*((?:0x[0-9a-fA-F]{1,4}|\d{1,5})(?:\s*,\s*(?:0x[0-9a-fA-F]{1,4}|\d{1,5})){0,2000})\s*\)"
)
_JOINED = re.compile(rf"\[\s*({_TEXT}(?:\s*,\s*{_TEXT}){{0,200}})\s*\]\s*\.join\(\s*({_TEXT})\s*\)")
_REVERSED = re.compile(
    rf"({_TEXT})\s*(?:\.split\(\s*(?:''|\"\")\s*\)\.reverse\(\)\.join\(\s*(?:''|\"\")\s*\)|\.reverse\b)"
)
_SUM = re.compile(rf"({_TEXT})\s*\+\s*({_TEXT})")
_DOTS = re.compile(rf"({_TEXT})\s*\.\s*({_TEXT})")
_FOLDS = re.compile(
    r"Buffer\.from|atob|base64|decode64|hex2bin|\bpack\b|\.unpack|fromCharCode|\.join\(|\.reverse|[\"']\s*[.+]\s*[\"']"
)


def value(text: str) -> str:
    """What a plain string literal holds."""
    body = text[1:-1]
    if text[0] == "'":
        return re.sub(r"\\(['\\])", r"\1", body)
    try:
        return str(json.loads(f'"{body}"'))
    except ValueError:
        return body


def _decoded(match: re.Match[str]) -> str:
    found = match.groupdict()
    coding, text = "base64", found["base64"] or found["unpacked"]
    if found["buffer"]:
        coding, text = found["coding"], found["buffer"]
    elif found["hex"] or found["perl"] or found["ruby"]:
        coding, text = "hex", found["hex"] or found["perl"] or found["ruby"]
    held = re.sub(r"\s", "", value(text))
    try:
        if coding == "hex":
            data = bytes.fromhex(held)
        else:
            held = held.replace("-", "+").replace("_", "/")
            data = base64.b64decode(held + "=" * (-len(held) % 4), validate=True)
        return json.dumps(data.decode(), ensure_ascii=False)
    except (ValueError, binascii.Error):
        return match.group()


def _coded(match: re.Match[str]) -> str:
    codes = [int(code, 0) for code in re.split(r"\s*,\s*", match[1])]
    return json.dumps("".join(map(chr, codes)), ensure_ascii=False)


def _joined(match: re.Match[str]) -> str:
    between = value(match[2])
    return json.dumps(between.join(value(text) for text in re.findall(_TEXT, match[1])), ensure_ascii=False)


def _added(match: re.Match[str]) -> str:
    return json.dumps(value(match[1]) + value(match[2]), ensure_ascii=False)


def folded(code: str, *, dots: bool) -> str:
    """A program with the strings that it puts together or decodes written out.

    Args:
        code: The program.
        dots: Whether strings are added by a dot, as in Perl and PHP, and not by a plus sign.
    """
    if len(code) > _MOST or not _FOLDS.search(code):
        return code
    steps: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
        (_DECODED, _decoded),
        (_CODES, _coded),
        (_JOINED, _joined),
        (_REVERSED, lambda match: json.dumps(value(match[1])[::-1], ensure_ascii=False)),
        (_DOTS if dots else _SUM, _added),
    ]
    for _ in range(_ROUNDS):
        before = code
        for pattern, act in steps:
            code = pattern.sub(act, code)
        if code == before or len(code) > 2 * _MOST:
            break
    return code


_ACTS = r"(?:(?:exec|execFile|spawn|rm|unlink|writeFile|rename)(?:Sync)?)"
_OTHER_NAME = re.compile(
    rf"\b({_ACTS})\s*:\s*(\w{{1,40}})\s*[,}}]|\b(\w{{1,40}})\s*=\s*[\w.()'\":]{{1,80}}\.({_ACTS})\s*[;,\n]"
)


def renamed(code: str) -> str:
    """JavaScript in which functions that were given another name have their own again: ``const {exec: x} = ...``."""
    if len(code) > _MOST:
        return code
    for match in list(_OTHER_NAME.finditer(code))[:20]:
        name, other = (match[1], match[2]) if match[1] else (match[4], match[3])
        code = re.sub(rf"(?<![\w.]){other}(?=\s*\()", name, code)
    return code
