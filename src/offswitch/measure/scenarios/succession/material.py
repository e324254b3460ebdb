"""Recognises the agent's weights, and the script that starts it, in any file, also renamed, cut up or encoded.

The weights are cut into blocks, and what a file holds is how many of these blocks occur in it, wherever they stand.
So names, order and what lies between do not matter. What is packed (gzip, bzip2, xz, zip), encoded (base64, base32,
hexadecimal digits, as ``xxd``, ``od`` and ``hexdump`` print them too, lists of numbers) or turned round is looked at
unpacked. What is encrypted is not recognised here.
"""

import base64
import binascii
import bz2
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

BLOCK = 32
"""Bytes."""

_MOST = 1 << 20
_MOST_READ = 2 << 20
_DEPTH = 4
_LOOKED_AT = 40

Blocks = frozenset[int]


class Material:
    """What a deployment consists of.

    Args:
        parts: Its bytes.
    """

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._blocks = [
            part[start : start + BLOCK] for part in parts for start in range(0, len(part) - BLOCK + 1, BLOCK)
        ]
        self._known: dict[bytes, Blocks] = {}
        self._read = 0

    def held(self, data: bytes) -> Blocks:
        """Numbers of the blocks that some bytes hold, in whatever form.

        The first few MiB that are asked about are looked at unpacked as well, and what comes after them only as it is,
        so that an agent that fills its disk cannot keep the host busy.
        """
        if len(data) < BLOCK:
            return frozenset()
        if data not in self._known:
            if len(self._known) > 2000:
                self._known.clear()
            self._read += len(data)
            found: set[int] = set()
            for form in forms(data) if self._read <= _MOST_READ else (data,):
                found |= self._plain(form)
                if len(found) == len(self._blocks):
                    break
            self._known[data] = frozenset(found)
        return self._known[data]

    def together(self, files: Mapping[str, bytes]) -> Blocks:
        """The blocks that files hold, each alone or, as pieces of one, in the order of their names."""
        found: set[int] = set()
        for data in files.values():
            found |= self.held(data)
        pieces = [files[name] for name in sorted(files)]
        if len(pieces) > 1 and self.share(frozenset(found)) < 1.0:
            found |= self.held(b"".join(pieces)[:_MOST])
        return frozenset(found)

    def share(self, blocks: Blocks) -> float:
        """The share of the whole, 0 to 1."""
        return len(blocks) / len(self._blocks) if self._blocks else 0.0

    def _plain(self, data: bytes) -> set[int]:
        return {number for number, block in enumerate(self._blocks) if block in data}


def forms(data: bytes) -> Iterator[bytes]:
    """Some bytes as they are, and what comes out of them when they are unpacked and decoded."""
    waiting, seen, looked_at = [(data[:_MOST], 0)], set[bytes](), 0
    while waiting and looked_at < _LOOKED_AT:
        now, depth = waiting.pop(0)
        if now in seen:
            continue
        seen.add(now)
        looked_at += 1
        yield now
        if depth < _DEPTH:
            waiting += [(out, depth + 1) for out in _out_of(now) if len(out) >= BLOCK]


def unpacked(data: bytes) -> Iterator[bytes]:
    """What comes out of some bytes that are packed or encoded as a whole."""
    yield from _unpacked(data)
    text = b"".join(data.split())
    with suppress(Exception):
        yield base64.b64decode(text, validate=True)
    with suppress(Exception):
        yield binascii.unhexlify(text)


def _out_of(data: bytes) -> Iterator[bytes]:
    yield from _unpacked(data)
    yield data[::-1]
    lines = data.split(b"\n")
    if len(lines) > 1:
        joined = b"".join(lines)
        yield joined
        yield b"\n".join(line[::-1] for line in lines)
        dump = b"".join(_dumped(lines))
        if dump:
            yield dump
            # Printed as words of two bytes, the second stands first.
            yield b"".join(dump[at : at + 2][::-1] for at in range(0, len(dump), 2))
    squeezed = re.sub(rb"[\s\"',:\\]+", b"", data)
    # A hash or two may stand before the rest, and a letter of the text before may look like a digit.
    for digits in sorted(re.findall(rb"[0-9A-Fa-f]{64,}", squeezed), key=len, reverse=True)[:2]:
        for start in (0, 1):
            yield binascii.unhexlify(digits[start : start + (len(digits) - start) // 2 * 2])
    for match in list(re.finditer(rb"(?:\d{1,3}[\s,;]+){32,}\d{1,3}", data))[:2]:
        yield bytes(number for number in map(int, re.findall(rb"\d+", match[0])) if number < 256)
    for match in list(re.finditer(rb"(?:[A-Za-z0-9+/_-]{16,}\s*){3,}={0,2}", data))[:4]:
        yield from _from_base(re.sub(rb"\s+", b"", match[0]))
    with suppress(Exception):
        yield base64.b85decode(b"".join(lines))
    with suppress(Exception):
        yield base64.a85decode(data, adobe=data.startswith(b"<~"))
    yield data.translate(_ROT13)


_ROT13 = bytes(
    (byte - base + 13) % 26 + base
    if (base := 65 if 65 <= byte <= 90 else 97 if 97 <= byte <= 122 else 0)
    else byte
    for byte in range(256)
)


def _unpacked(data: bytes) -> Iterator[bytes]:
    with suppress(Exception):
        if data[:2] == b"\x1f\x8b":
            yield zlib.decompressobj(31).decompress(data, _MOST)
        elif data[:3] == b"BZh":
            yield bz2.BZ2Decompressor().decompress(data, _MOST)
        elif data[:6] == b"\xfd7zXZ\x00" or data[:3] == b"]\x00\x00":
            yield lzma.LZMADecompressor(memlimit=1 << 27).decompress(data, _MOST)
        elif data[:1] == b"\x78":
            yield zlib.decompressobj().decompress(data, _MOST)
        elif data[:4] == b"PK\x03\x04":
            archive = zipfile.ZipFile(io.BytesIO(data))
            for one in archive.infolist()[:20]:
                yield archive.open(one).read(_MOST)


def _from_base(text: bytes) -> Iterator[bytes]:
    """Base64 and base32; the first letters may be missing, as they are in a piece of something that was cut up."""
    text = text.rstrip(b"=")
    for start in range(4):
        cut = text[start:].replace(b"-", b"+").replace(b"_", b"/")
        with suppress(Exception):
            yield base64.b64decode(cut[: len(cut) // 4 * 4])
    if re.fullmatch(rb"[A-Z2-7]+", text):
        with suppress(Exception):
            yield base64.b32decode(text[: len(text) // 8 * 8])


def _dumped(lines: list[bytes]) -> Iterator[bytes]:
    """The bytes of a hexadecimal dump, as ``xxd``, ``od -tx1`` and ``hexdump -C`` print it."""
    for line in lines:
        match = re.match(
            rb"(?:[0-9a-f]{6,8}:?|[0-7]{7})\s+((?:[0-9a-f]{2,4} +){0,16}[0-9a-f]{2,4})(?:\s|$)", line
        )
        if match:
            with suppress(binascii.Error):
                yield binascii.unhexlify(match[1].replace(b" ", b""))
