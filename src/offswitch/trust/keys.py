"""Ed25519 keys (RFC 8032) and the files that they lie in.

The PEM file is read here by its fixed prefix (RFC 8410, section 7): an Ed25519 key in PKCS #8 is 16 known bytes and
the 32 of the key, and the library's reader of all key formats would cost a supervisor 3 MiB.
"""

import binascii
import contextlib
import os
import stat

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_SCHEME = "ed25519:"
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
_BEGIN = b"-----BEGIN PRIVATE KEY-----"
_END = b"-----END PRIVATE KEY-----"


class Unusable(Exception):
    """A key file that cannot be used; the message is one line that says what to do."""


class PublicKey:
    """A key that signatures are checked with.

    Attributes:
        id: ``ed25519:`` and the unpadded base64url of the raw 32 bytes, so that an id is also the key.
    """

    __slots__ = ("_key", "id")

    def __init__(self, raw: bytes) -> None:
        """
        Args:
            raw: The 32 bytes of RFC 8032, 5.1.5.

        Raises:
            ValueError: They are not 32.
        """
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        encoded = binascii.b2a_base64(raw, newline=False).rstrip(b"=").decode()
        self.id = _SCHEME + encoded.replace("+", "-").replace("/", "_")

    @classmethod
    def parse(cls, id: str) -> "PublicKey":
        """The key that an id names.

        Raises:
            ValueError: It is not the id of an Ed25519 key, in one line.
        """
        wrong = ValueError(
            f"{id[:80]!r} is not a key: it has to be {_SCHEME} and 43 letters, as `PublicKey.id` gives"
        )
        if not id.startswith(_SCHEME) or len(id) != len(_SCHEME) + 43:
            raise wrong
        encoded = id[len(_SCHEME) :].replace("-", "+").replace("_", "/")
        try:
            key = cls(binascii.a2b_base64(encoded + "=", strict_mode=True))
        except ValueError:
            raise wrong from None
        if key.id != id:  # `+` for `-`, or stray bits in the last letter: one key has one id
            raise wrong
        return key

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature over the message is this key's."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def __repr__(self) -> str:
        return f"PublicKey.parse({self.id!r})"


class PrivateKey:
    """A key that signs.

    Attributes:
        public: What checks its signatures.
        id: The id of `public`.
    """

    __slots__ = ("_key", "id", "public")

    def __init__(self, raw: bytes) -> None:
        """
        Args:
            raw: 32 secret random bytes (RFC 8032, 5.1.5).

        Raises:
            ValueError: They are not 32.
        """
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes_raw())
        self.id = self.public.id

    def raw(self) -> bytes:
        """The 32 bytes of the key, for another process of the same host."""
        return self._key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The signature over a message, 64 bytes."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<the private key of {self.id}>"


def load(path: str) -> PrivateKey:
    """Read a private key.

    Args:
        path: A PEM file of PKCS #8 without a password, as `load_or_make` and ``openssl genpkey -algorithm ed25519``
            write it.

    Raises:
        FileNotFoundError: There is none.
        Unusable: It cannot be read, is not ours alone, or is no such key.
    """
    try:
        # Of a named pipe the opening would wait for a writer.
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.islink(path):
            raise Unusable(f"{path} is a symbolic link: put the key itself there") from None
        raise Unusable(f"{path} cannot be read: {error.strerror}; make it readable to its owner") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise Unusable(f"{path} is not a file: put the key itself there")
        if found.st_uid != os.geteuid():
            raise Unusable(f"{path} belongs to user {found.st_uid}: use a key of your own")
        if found.st_mode & 0o077:
            raise Unusable(
                f"{path} is open to others: run `chmod 600 {path}`, or make a new key if they may have read it"
            )
        content = os.read(file, 4096)
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}; put the key back from a copy") from None
    finally:
        os.close(file)
    return PrivateKey(_from_pem(path, content))


def load_or_make(path: str) -> PrivateKey:
    """Read a private key, made first if there is none: mode 0600, on disk before this returns.

    Of two processes that make it at once, both get the key that one of them made.

    Args:
        path: The PEM file; its folder exists.

    Raises:
        Unusable: It cannot be made, or what `load` says.
    """
    try:
        return load(path)
    except FileNotFoundError:
        pass
    try:
        _make(path)
        return load(path)
    except OSError as error:
        raise Unusable(
            f"{path} cannot be made: {error.strerror}; make its folder one that you can write to"
        ) from None


def _make(path: str) -> None:
    folder = os.path.dirname(path) or "."
    written = f"{path}.{os.urandom(8).hex()}"
    file = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as out:
            os.fchmod(file, 0o600)  # whatever the umask is
            out.write(_to_pem(os.urandom(32)))
            out.flush()
            os.fsync(file)
        with contextlib.suppress(FileExistsError):
            os.link(written, path)  # unlike a rename, it never replaces the key of another process
    finally:
        os.unlink(written)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _to_pem(raw: bytes) -> bytes:
    return _BEGIN + b"\n" + binascii.b2a_base64(_PKCS8 + raw) + _END + b"\n"


def _from_pem(path: str, content: bytes) -> bytes:
    lines = content.split()
    body = b"".join(lines[3:-3])
    if b" ".join(lines[:3]) == _BEGIN and b" ".join(lines[-3:]) == _END:
        try:
            der = binascii.a2b_base64(body, strict_mode=True)
        except ValueError:
            der = b""
        if len(der) == 48 and der.startswith(_PKCS8):
            return der[16:]
    raise Unusable(
        f"{path} is not an Ed25519 private key in PEM without a password: "
        f"make one with `openssl genpkey -algorithm ed25519 -out {path}`"
    )
