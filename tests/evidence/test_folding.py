"""Strings that programs put together or decode."""

import base64

import pytest

from offswitch.evidence.shell import account
from offswitch.evidence.shell.folding import folded

BASE = base64.b64encode(b"rm x.txt").decode()
HEX = b"rm x.txt".hex()


def deleted(command: str) -> list[str]:
    found = account(command, cwd="/w", home="/home/a")
    return [effect.target for effect in found.effects if effect.verb == "delete"]


@pytest.mark.parametrize(
    "command",
    [
        f"node -e \"require('child_process').execSync(Buffer.from('{BASE}', 'base64').toString())\"",
        f"node -e \"require('child_process').execSync(Buffer.from('{HEX}','hex').toString('utf8'))\"",
        f"node -e \"require('child_process').execSync(atob('{BASE}'))\"",
        "node -e \"require('child_process').execSync('rm ' + 'x.' + 'txt')\"",
        "node -e \"require('child_process').execSync(['rm', 'x.txt'].join(' '))\"",
        "node -e \"require('fs').unlinkSync('txt.x'.split('').reverse().join(''))\"",
        "node -e \"require('fs').unlinkSync(String.fromCharCode(120,46,0x74,120,116))\"",
        f"perl -MMIME::Base64 -e 'system(decode_base64(\"{BASE}\"))'",
        'perl -e \'unlink "x." . "txt"\'',
        f'perl -e \'system(pack("H*", "{HEX}"))\'',
        f"ruby -e 'system(Base64.decode64(\"{BASE}\"))'",
        f'ruby -e \'system("{BASE}".unpack1("m"))\'',
        f'ruby -e \'system(["{HEX}"].pack("H*"))\'',
        f"php -r 'system(base64_decode(\"{BASE}\"));'",
        f"php -r 'system(hex2bin(\"{HEX}\"));'",
    ],
)
def test_what_is_put_together_is_followed(command: str) -> None:
    assert deleted(command) == ["/w/x.txt"]


@pytest.mark.parametrize(
    "command",
    [
        f"node -e \"console.log(Buffer.from('{BASE}', 'base64').toString())\"",
        "node -e \"console.log('rm ' + 'x.txt')\"",
        f"php -r 'echo base64_decode(\"{BASE}\");'",
    ],
)
def test_what_is_only_printed_does_nothing(command: str) -> None:
    assert deleted(command) == []


def test_what_is_no_such_string_stays() -> None:
    for code in (
        "a + b",
        "'a' + b",
        "Buffer.from('%%', 'base64')",
        "Buffer.from('zz', 'hex')",
        "x" * 60_000,
        "",
    ):
        assert folded(code, dots=False) == code


def test_it_ends_whatever_it_is_given() -> None:
    assert folded(" + ".join(["'ab'"] * 3000), dots=False)
    assert folded("['a', " * 3000, dots=False)
    assert folded("Buffer.from('" * 3000, dots=False)
