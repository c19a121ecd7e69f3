#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = ["cryptography>=42"]
# ///
"""Keep secrets, hand them out, and find the ones that were left in code: one module to copy, run or embed.

Contents, bottom-up; each room uses only the rooms above it:

    Errors                  what can go wrong, each with a next step
    Names                   what a secret may be called and hold
    Durable files           atomic writes and locks
    Generators              new values from a word such as token:32
    Stores                  the four methods; Memory
    Dotenv                  .env files, read and rewritten
    Environment             variables, NAME_FILE, credentials, .env
    Age format              seal and unseal
    Sealed files            the .paissive folder
    Vault                   HashiCorp Vault and OpenBao
    Manager                 get_secret and its three sisters
    References and config   secret:NAME, SecretConfig
    Rotation                pending, current, previous
    Import and export       .env, JSON, shell, Docker
    Masking                 values taken out of a stream
    Processes               commands with secrets in their environment
    Log redaction           values taken out of log records
    Rules                   what secrets look like
    Judgement               whether an assigned value is a secret
    Scan                    matches in a stream of bytes
    Git                     what a repository lists, stages and remembers
    Files                   which files of a tree are read
    Audit                   findings, baselines, silence
    Reports                 text, JSON, SARIF
    Commands                the command line
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol, Union

if TYPE_CHECKING:
    import argparse
    from typing import Literal

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = [
    "BadName",
    "BadValue",
    "Denied",
    "Identity",
    "MemoryStore",
    "NotFound",
    "Passphrase",
    "Recipient",
    "SecretConfig",
    "SecretsBackend",
    "SecretsError",
    "SecretsManager",
    "Store",
    "delete_secret",
    "get_secret",
    "list_secrets",
    "resolve_text",
    "seal",
    "set_secret",
    "unseal",
]
__version__ = "1.0.0"


# === Errors =================================================================================================
# Every error is one line on what happened and a hint: the next step. None ever holds a value. Each subclasses
# the built-in that a caller would catch; only `main` turns them into exit codes.


class SecretsError(Exception):
    """Base of all errors here: `message` says what happened, `hint` what to do next."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class NotFound(SecretsError, KeyError):
    """The store was reached and holds no such secret."""

    exit_code = 1


class BadName(SecretsError, ValueError):
    """No secret can be called that."""


class BadValue(SecretsError, ValueError):
    """The value, or a setting, can't be taken as it is."""


class Denied(SecretsError, PermissionError):
    """The store was reached and refused."""


class Unsafe(SecretsError, PermissionError):
    """A file or folder that others could have tampered with."""


class Locked(SecretsError):
    """The store can't be opened: no password, identity or login at hand."""


class WrongKey(SecretsError, ValueError):
    """None of the keys opens this."""


class Tampered(SecretsError, ValueError):
    """Bytes that are not what was written."""


class Unavailable(SecretsError, OSError):
    """The store can't be reached or can't work now."""


class Conflict(SecretsError, RuntimeError):
    """Another writer was there first, or is there now."""


# === Names ==================================================================================================
# A name is one to 255 bytes of printable Unicode, with '/' between folders. Stores may be stricter.

_BINARY_HINT = "encode binary values, with base64 for instance"
_NAME_MAX = 255  # bytes of UTF-8, what a file name may have on common file systems


def check_name(name: str) -> str:
    """Return `name`, or raise BadName saying what is wrong with it."""
    problem = _name_problem(name)
    if problem:
        hint = "use letters, digits, '_', '-', '.', and '/' between folders"
        raise BadName(f"bad name {_show(name)}: {problem}", hint=hint)
    return name


def _name_problem(name: str) -> str:
    if not name:
        return "it is empty"
    if not name.isprintable():
        return "it has a control character"
    if len(name.encode("utf-8", "surrogatepass")) > _NAME_MAX:
        return f"it is longer than {_NAME_MAX} bytes"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "an empty, '.' or '..' part"
    if "\\" in name:
        return "it has a backslash"
    return "it begins or ends with a space" if name != name.strip() else ""


def _show(name: object) -> str:
    """A name as it may stand in a message: quoted, escaped and short."""
    text = ascii(name)
    return text if len(text) <= 80 else text[:77] + "..."


def check_value(value: str) -> str:
    """Return `value`, or raise BadValue: text without NUL that UTF-8 can hold."""
    if not isinstance(value, str):
        raise BadValue(f"a secret is text, not {type(value).__name__}")
    if "\0" in value:
        raise BadValue("the value has a NUL character", hint=_BINARY_HINT)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadValue("the value is not valid Unicode", hint=_BINARY_HINT) from None
    return value


def variable_name(name: str) -> str:
    """The environment variable of a secret: `db/password` is DB_PASSWORD; a valid one stays as it is."""
    if name.isidentifier() and name.isascii():
        return name
    mapped = "".join(c if c.isalnum() and c.isascii() else "_" for c in name).upper()
    return "_" + mapped if mapped[:1].isdigit() else mapped


# === Durable files ==========================================================================================
# A write is a new file in the same folder, synced, then renamed over the old one: whoever is killed leaves
# the old file or the new one.


def write_atomically(path: str, data: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Replace the file at `path` by `data`, durably; after an OSError the old one is as it was."""
    import secrets

    temporary = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with open(fd, "wb") as file:
            if hasattr(os, "fchown") and owner not in (None, (os.geteuid(), os.getegid())):
                os.fchown(fd, *owner)
            if hasattr(os, "fchmod"):
                os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        _remove_quietly(temporary)
        raise
    sync_folder(os.path.dirname(path))


def rewrite(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write atomically where `path` leads, through symlinks; mode and owner stay, a new file gets `mode`."""
    target = os.path.realpath(path)
    try:
        before = os.stat(target)
    except FileNotFoundError:
        return write_atomically(target, data, mode)
    write_atomically(target, data, before.st_mode & 0o7777, (before.st_uid, before.st_gid))


class exclusive:
    """`with exclusive(path):` lets one holder in at a time, over threads and processes (not on Windows).

    `path` is a folder, or a lock file that is made and removed. Without `wait` a second holder gets Conflict.
    """

    def __init__(self, path: str, *, wait: bool = True) -> None:
        self._path = path
        self._wait = wait
        self._fd = -1

    def __enter__(self) -> None:
        while os.name != "nt" and not self._taken():
            pass

    def _taken(self) -> bool:
        """Take the lock; false if the holder before us removed the very file that we waited for."""
        import fcntl

        self._folder = os.path.isdir(self._path)
        flags = os.O_RDONLY if self._folder else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | (0 if self._wait else fcntl.LOCK_NB))
            if self._folder or os.path.samestat(os.stat(self._path), os.fstat(self._fd)):
                return True
        except BlockingIOError:
            os.close(self._fd)
            raise Conflict("another process holds the lock", hint="try again when it is done") from None
        except FileNotFoundError:
            pass
        os.close(self._fd)
        return False

    def __exit__(self, *error: object) -> None:
        if self._fd >= 0:
            if not self._folder:
                _remove_quietly(self._path)
            os.close(self._fd)


def _remove_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def sync_folder(path: str) -> None:
    """Make renames and removals in the folder durable; a no-op where folders can't be opened (Windows)."""
    if os.name == "nt":
        return
    fd = os.open(path or ".", os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# === Generators =============================================================================================


# === Stores =================================================================================================
# A store is anything with these four methods: config, rotation, run and import are written against them
# alone, so a user's own class is a store too.


class Store(Protocol):
    """`get` and `delete` raise NotFound; a store that is locked or out of reach raises something else."""

    def get(self, name: str) -> str: ...
    def set(self, name: str, value: str) -> None: ...
    def delete(self, name: str) -> None: ...
    def names(self) -> Iterator[str]: ...


class MemoryStore:
    """A dict, for tests and for the life of a process."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._values)} secrets>"

    def get(self, name: str) -> str:
        try:
            return self._values[check_name(name)]
        except KeyError:
            raise no_such(name) from None

    def set(self, name: str, value: str) -> None:
        self._values[check_name(name)] = check_value(value)

    def delete(self, name: str) -> None:
        if self._values.pop(check_name(name), None) is None:
            raise no_such(name)

    def names(self) -> Iterator[str]:
        return iter(sorted(self._values))


def no_such(name: str) -> NotFound:
    """The error of every store that was asked for a name it does not hold."""
    return NotFound(f"no secret named {_show(name)}", hint="see what there is with: list")


# === Dotenv =================================================================================================


# === Environment ============================================================================================


class EnvironmentStore:
    """Variables of the process, then NAME_FILE, $CREDENTIALS_DIRECTORY and the dotenv file."""

    def __init__(self, dotenv: str | None = None) -> None:
        self.dotenv = dotenv

    def get(self, name: str) -> str:
        try:
            return os.environ[variable_name(check_name(name))]
        except KeyError:
            raise no_such(name) from None

    def set(self, name: str, value: str) -> None:
        os.environ[variable_name(check_name(name))] = check_value(value)

    def delete(self, name: str) -> None:
        if os.environ.pop(variable_name(check_name(name)), None) is None:
            raise no_such(name)

    def names(self) -> Iterator[str]:
        return iter(sorted(os.environ))


# === Age format =============================================================================================
# The age v1 format (C2SP age.md), bytes in and bytes out: X25519 and scrypt recipients, STREAM payload, no
# armor. One spelling of everything is accepted, the one that `seal` writes, so that nothing can be changed
# unnoticed. "None of the keys opens this" (WrongKey) and "these bytes are bad" (Tampered) are two things.

_AGE_VERSION = b"age-encryption.org/v1\n"
_IDENTITY, _RECIPIENT = "AGE-SECRET-KEY-", "age"  # what the two kinds of key begin with
_CHUNK = 64 * 1024  # bytes of plaintext in a chunk of the payload
_NONCE = 16  # bytes before the first chunk
_TAG = 16  # bytes that ChaCha20-Poly1305 adds
_LOG_N_MOST = 20  # 1 GiB and some seconds: the most work a stranger's file may ask of us
_STANZAS_MOST = 1000  # about 0.1 s of key exchange: likewise


def seal(plaintext: bytes, *recipients: Recipient | Passphrase) -> bytes:
    """Return an age v1 file of `plaintext` that each recipient's key opens; a Passphrase stands alone."""
    import secrets

    if not recipients:
        raise BadValue("sealing needs a recipient")
    if len(recipients) > 1 and any(isinstance(r, Passphrase) for r in recipients):
        raise BadValue("a passphrase can't be combined with other recipients")
    file_key = secrets.token_bytes(16)
    stanzas = b"".join(_write_stanza(recipient.wrap(file_key)) for recipient in recipients)
    header = _AGE_VERSION + stanzas + b"---"
    mac = _hmac(_hkdf(file_key, b"", b"header"), header)
    return header + b" " + _base64(mac) + b"\n" + _seal_payload(file_key, plaintext)


def unseal(sealed: bytes, *identities: Identity | Passphrase) -> bytes:
    """Return what was sealed; WrongKey where no identity opens it, Tampered where it isn't as written."""
    import hmac

    stanzas, signed, mac, pos = _read_header(sealed)
    if len(stanzas) > 1 and any(stanza.kind == b"scrypt" for stanza in stanzas):
        raise _tampered("a passphrase stands alone in the header")
    if len(sealed) < pos + _NONCE:
        raise _tampered("it is cut off after the header")
    file_key = _unwrap(stanzas, identities)
    if not hmac.compare_digest(mac, _hmac(_hkdf(file_key, b"", b"header"), signed)):
        raise _tampered("the header's code does not match")
    return _open_payload(file_key, sealed[pos:])


class Recipient:
    """A public key to seal to, "age1…"."""

    def __init__(self, text: str) -> None:
        self._point = _bech32_decode(_RECIPIENT, text)

    def __str__(self) -> str:
        return _bech32(_RECIPIENT, self._point)

    def __repr__(self) -> str:
        return f"Recipient({str(self)!r})"

    def wrap(self, file_key: bytes) -> _Stanza:
        """The header's stanza from which only this recipient's identity gets the file key back."""
        ephemeral = _x25519().X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        shared = _agree(ephemeral, self._point)
        if shared is None:
            raise BadValue("the recipient is not a usable public key")
        key = _hkdf(shared, share + self._point, b"age-encryption.org/v1/X25519")
        return _Stanza(b"X25519", [_base64(share)], _seal_box(key, file_key))


class Identity:
    """A private key that opens what was sealed to its recipient, "AGE-SECRET-KEY-1…"; `reveal` shows it."""

    def __init__(self, text: str) -> None:
        self._scalar = _bech32_decode(_IDENTITY, text)
        self._key = _x25519().X25519PrivateKey.from_private_bytes(self._scalar)
        self._point = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Identity:
        """A new one."""
        import secrets

        return cls(_bech32(_IDENTITY, secrets.token_bytes(32)))

    def recipient(self) -> Recipient:
        """The public half."""
        return Recipient(_bech32(_RECIPIENT, self._point))

    def reveal(self) -> str:
        """The private key as text."""
        return _bech32(_IDENTITY, self._scalar)

    def unwrap(self, stanza: _Stanza) -> bytes | None:
        """The file key, or None where the stanza is for somebody else."""
        if stanza.kind != b"X25519":
            return None
        share = _unbase64(stanza.args[0]) if len(stanza.args) == 1 else b""
        if len(share) != 32:
            raise _tampered("an X25519 stanza has one share of 32 bytes")
        shared = _agree(self._key, share)
        if shared is None:
            raise _tampered("the shared secret is all zero")
        key = _hkdf(shared, share + self._point, b"age-encryption.org/v1/X25519")
        return _open_box(key, stanza.body)


class Passphrase:
    """A passphrase, to seal and to open with; each use takes 2**log_n KiB of memory and time to match."""

    def __init__(self, text: str, log_n: int = 17) -> None:
        if not 1 <= log_n <= _LOG_N_MOST:
            raise BadValue(f"scrypt's log N is 1 to {_LOG_N_MOST}, not {log_n}")
        if not text:
            raise BadValue("the passphrase is empty")
        self._text = text.encode("utf-8", "surrogateescape")  # the very bytes of an environment variable
        self._log_n = log_n

    def wrap(self, file_key: bytes) -> _Stanza:
        """The header's stanza from which only this passphrase gets the file key back."""
        import secrets

        salt = secrets.token_bytes(16)
        body = _seal_box(self._scrypt(salt, self._log_n), file_key)
        return _Stanza(b"scrypt", [_base64(salt), str(self._log_n).encode()], body)

    def unwrap(self, stanza: _Stanza) -> bytes | None:
        """The file key, or None where another passphrase is needed."""
        if stanza.kind != b"scrypt":
            return None
        if len(stanza.args) != 2 or len(_unbase64(stanza.args[0])) != 16:
            raise _tampered("a scrypt stanza has a salt of 16 bytes and a work factor")
        log_n = _read_log_n(stanza.args[1])
        return _open_box(self._scrypt(_unbase64(stanza.args[0]), log_n), stanza.body)

    def _scrypt(self, salt: bytes, log_n: int) -> bytes:
        _x25519()  # says what is missing
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        salt = b"age-encryption.org/v1/scrypt" + salt
        return Scrypt(salt=salt, length=32, n=1 << log_n, r=8, p=1).derive(self._text)


def _read_log_n(text: bytes) -> int:
    if not (text.isdigit() and len(text) <= 2 and text[:1] != b"0"):
        raise _tampered("the work factor is not a plain number of at most two digits")
    if int(text) > _LOG_N_MOST:
        raise BadValue(f"the file asks for 2**{int(text)} units of scrypt, more than 2**{_LOG_N_MOST}")
    return int(text)


def _unwrap(stanzas: list[_Stanza], identities: tuple[Identity | Passphrase, ...]) -> bytes:
    for identity in identities:
        for stanza in stanzas:
            file_key = identity.unwrap(stanza)
            if file_key is not None:
                return file_key
    raise WrongKey("none of the keys opens this")


class _Stanza(NamedTuple):
    """One recipient's part of the header: the file key, wrapped."""

    kind: bytes
    args: list[bytes]
    body: bytes


def _write_stanza(stanza: _Stanza) -> bytes:
    # Every body ends with a short line, so one of 48 bytes, a full line, is followed by an empty one.
    body = _base64(stanza.body)
    lines = [body[i : i + 64] for i in range(0, len(body) + 1, 64)]
    return b"-> " + b" ".join([stanza.kind, *stanza.args]) + b"\n" + b"\n".join(lines) + b"\n"


def _read_header(sealed: bytes) -> tuple[list[_Stanza], bytes, bytes, int]:
    """The stanzas, the part under the header's code, that code, and where the payload begins."""
    if not sealed.startswith(_AGE_VERSION):
        raise _tampered("it does not begin like an age v1 file")
    pos, stanzas = len(_AGE_VERSION), []
    while sealed.startswith(b"-> ", pos):
        stanza, pos = _read_stanza(sealed, pos)
        stanzas.append(stanza)
        if len(stanzas) > _STANZAS_MOST:
            raise BadValue(f"the file has more than {_STANZAS_MOST} recipients")
    signed = sealed[: pos + 3]
    line, pos = _read_line(sealed, pos)
    mac = _unbase64(line[4:])
    if not stanzas or line[:4] != b"--- " or len(mac) != 32:
        raise _tampered("the header does not end as it should")
    return stanzas, signed, mac, pos


def _read_stanza(sealed: bytes, pos: int) -> tuple[_Stanza, int]:
    line, pos = _read_line(sealed, pos)
    words = line[3:].split(b" ")
    if not all(word and all(33 <= byte <= 126 for byte in word) for word in words):
        raise _tampered("a stanza has arguments of printable ASCII between single spaces")
    lines = [b"." * 64]
    while len(lines[-1]) == 64:
        line, pos = _read_line(sealed, pos)
        lines.append(line)
    text = b"".join(lines[1:])
    body = _unbase64(text)
    if len(lines[-1]) > 64 or (text and not body):
        raise _tampered("a stanza's body is not canonical base64 in lines of 64")
    return _Stanza(words[0], words[1:], body), pos


def _read_line(sealed: bytes, pos: int) -> tuple[bytes, int]:
    end = sealed.find(b"\n", pos)
    if end < 0:
        raise _tampered("the header is cut off")
    return sealed[pos:end], end + 1


def _seal_payload(file_key: bytes, plaintext: bytes) -> bytes:
    import secrets

    nonce = secrets.token_bytes(_NONCE)
    aead = _chacha(_hkdf(file_key, nonce, b"payload"))
    last = max(len(plaintext) - 1, 0) // _CHUNK  # an empty plaintext is one empty chunk, else none is empty
    return nonce + b"".join(
        aead.encrypt(_counter(i, last), plaintext[i * _CHUNK : (i + 1) * _CHUNK], None)
        for i in range(last + 1)
    )


def _open_payload(file_key: bytes, payload: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    aead = _chacha(_hkdf(file_key, payload[:_NONCE], b"payload"))
    chunks = payload[_NONCE:]
    size = _CHUNK + _TAG
    last = max(len(chunks) - 1, 0) // size
    try:
        opened = [
            aead.decrypt(_counter(i, last), chunks[i * size : (i + 1) * size], None) for i in range(last + 1)
        ]
    except InvalidTag:
        raise _tampered("the payload was changed or cut off") from None
    if last and not opened[-1]:
        raise _tampered("the last chunk is empty")
    return b"".join(opened)


def _counter(index: int, last: int) -> bytes:
    """The nonce of a chunk; its last byte says whether it is the last, so that cutting off shows."""
    return index.to_bytes(11, "big") + bytes([index == last])


def _seal_box(key: bytes, file_key: bytes) -> bytes:
    return _chacha(key).encrypt(bytes(12), file_key, None)  # a zero nonce is safe: each key is used once


def _open_box(key: bytes, box: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    if len(box) != 16 + _TAG:  # before opening: with a longer one, two keys could open one box
        raise _tampered("a wrapped key has 32 bytes")
    try:
        return _chacha(key).decrypt(bytes(12), box, None)
    except InvalidTag:
        return None


def _agree(key: X25519PrivateKey, point: bytes) -> bytes | None:
    """The shared secret, or None for a point of low order, with which it would be all zero."""
    public = _x25519().X25519PublicKey.from_public_bytes(point)
    try:
        return key.exchange(public)
    except ValueError:
        return None


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869): one block."""
    return _hmac(_hmac(salt, secret), info + b"\x01")


def _hmac(key: bytes, message: bytes) -> bytes:
    import hmac

    return hmac.digest(key, message, "sha256")


def _chacha(key: bytes) -> ChaCha20Poly1305:
    _x25519()  # says what is missing
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key)


def _x25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import x25519
    except ImportError:
        hint = f"install it: {sys.executable} -m pip install cryptography"
        raise Unavailable("sealed files need the package cryptography", hint=hint) from None
    return x25519


def _base64(data: bytes) -> bytes:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).rstrip(b"=")


def _unbase64(text: bytes) -> bytes:
    """The bytes, or b"" unless `text` is exactly how `_base64` spells them."""
    from binascii import Error, a2b_base64

    try:
        data = a2b_base64(text + b"=" * (-len(text) % 4))
    except Error:
        return b""
    return data if _base64(data) == text else b""


_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # the digits of Bech32 (BIP 173), 5 bits each


def _bech32(prefix: str, data: bytes) -> str:
    """32 bytes in Bech32, in the case of `prefix`."""
    number = int.from_bytes(data, "big") << 4  # 256 bits and 4 of padding are 52 digits
    digits = [number >> shift & 31 for shift in range(255, -1, -5)]
    digits += _bech32_check([ord(char) for char in prefix.lower()], digits)
    text = "1" + "".join(_BECH32[digit] for digit in digits)
    return prefix + (text.upper() if prefix.isupper() else text)


def _bech32_check(prefix: list[int], digits: list[int]) -> list[int]:
    state = 1
    for digit in [*(c >> 5 for c in prefix), 0, *(c & 31 for c in prefix), *digits, *[0] * 6]:
        top, state = state >> 25, (state & 0x1FFFFFF) << 5 ^ digit
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            state ^= generator if top >> bit & 1 else 0
    return [(state ^ 1) >> shift & 31 for shift in range(25, -1, -5)]


def _bech32_decode(prefix: str, text: str) -> bytes:
    """The 32 bytes of which `text` is the one spelling: that settles case, padding, length and checksum."""
    import hmac

    number = 0
    for char in text[len(prefix) + 1 :][:52]:
        number = number << 5 | max(_BECH32.find(char.lower()), 0)
    data = (number >> 4).to_bytes(32, "big")
    if not hmac.compare_digest(_bech32(prefix, data).encode(), text.encode("utf-8", "replace")):
        raise BadValue(f"not an age key of the form {prefix}1…", hint="check that it is complete")
    return data


def _tampered(what: str) -> Tampered:
    return Tampered(f"not what was sealed: {what}", hint="restore it from a copy")


# === Sealed files ===========================================================================================


# === Vault ==================================================================================================


# === Manager ================================================================================================
# A backend is named by the enum or its string, or is a store; anything else is an error, never a silent
# fall-back to another store. The stages of a rotation are secrets beside the one they belong to: read with
# `stage=`, deleted along with it, listed nowhere.


class SecretsBackend(str, enum.Enum):
    """Where secrets are kept: one of ENV, FILE, MEMORY, VAULT."""

    ENV = "env"
    FILE = "file"
    MEMORY = "memory"
    VAULT = "vault"


Backend = Union[str, Store, None]


_STAGES = {"current": "", "pending": "__PENDING", "previous": "__PREVIOUS"}


def stage_name(store: Store, name: str, stage: str) -> str:
    """What a stage of a secret is called in the store."""
    if stage not in _STAGES:
        raise BadValue(f"no stage called {_show(stage)}", hint=f"use one of {', '.join(_STAGES)}")
    return name + _STAGES[stage]


def secret_names(store: Store) -> list[str]:
    """The names of the secrets in the store, sorted, without the stages of rotations."""
    stages = tuple(suffix for suffix in _STAGES.values() if suffix)
    return sorted(name for name in store.names() if not name.endswith(stages))


def remove_secret(store: Store, name: str, stage: str = "current") -> bool:
    """Whether there was one to remove."""
    try:
        store.delete(stage_name(store, name, stage))
    except NotFound:
        return False
    return True


class SecretsManager:
    """`get_secret` and its three sisters as methods, holding its own stores."""

    def __init__(self, default_backend: Backend = None) -> None:
        self._default = default_backend
        self._stores: dict[str, Store] = {}

    def store(self, backend: Backend = None) -> Store:
        """The store of a backend: argument, else the default, else PAISSIVE_BACKEND, else env."""
        chosen = backend or self._default or os.environ.get("PAISSIVE_BACKEND") or "env"
        if not isinstance(chosen, str):
            return chosen
        if chosen not in self._stores:
            self._stores[chosen] = _open_store(chosen)
        return self._stores[chosen]

    def get_secret(
        self, name: str, default: str | None = None, *, backend: Backend = None, stage: str = "current"
    ) -> str | None:
        """The value, or `default` where there is none; a locked, denied or unreachable store raises.

        While a secret is rotated, and after, `stage` may be "pending" or "previous".
        """
        store = self.store(backend)
        try:
            return store.get(stage_name(store, name, stage))
        except NotFound:
            return default

    def set_secret(self, name: str, value: str, *, backend: Backend = None) -> None:
        """Keep `value` under `name`; what was there before is replaced."""
        self.store(backend).set(name, value)

    def delete_secret(self, name: str, *, backend: Backend = None) -> bool:
        """Whether there was one to delete."""
        store = self.store(backend)
        for stage in ("pending", "previous"):
            if len(check_name(name).encode()) <= _NAME_MAX - len(_STAGES[stage]):
                remove_secret(store, name, stage)
        return remove_secret(store, name)

    def list_secrets(self, *, backend: Backend = None) -> list[str]:
        """Names, sorted; never values."""
        return secret_names(self.store(backend))


_STORES: dict[str, Callable[[], Store]] = {"env": EnvironmentStore, "memory": MemoryStore}


def _open_store(backend: str) -> Store:
    if backend not in _STORES:
        raise BadValue(f"no backend called {_show(backend)}", hint=f"use one of {', '.join(_STORES)}")
    return _STORES[backend]()


_manager = SecretsManager()
get_secret = _manager.get_secret
set_secret = _manager.set_secret
delete_secret = _manager.delete_secret
list_secrets = _manager.list_secrets


# === References and config ==================================================================================
# `secret:NAME` stands for a secret of the store at hand, `secret://BACKEND/NAME` for one of another, and
# `${secret:NAME}` for one inside a longer text; `$${secret:` is a plain `${secret:`. A value may refer on,
# but only into its own store: who can write one store must not read another through us. Only config files
# and the environment, which are the user's own, point anywhere.

_REFERENCE = "secret:"
_INSIDE = r"\$?\$\{secret:([^{}]*)\}"
_DEEPEST = 20  # steps from reference to reference; more is a mistake
_MOST = 1000  # references that one text may lead to, or a few values could ask for endless work


class Reference(NamedTuple):
    """Where a reference points: `backend` is empty for the store at hand."""

    backend: str
    name: str

    def __str__(self) -> str:
        return _REFERENCE + (f"//{self.backend}/" if self.backend else "") + self.name


def parse_reference(text: str) -> Reference | None:
    """What `text` refers to, if it is one reference from end to end; BadName where no name is in it."""
    return _pointed(text[len(_REFERENCE) :]) if text.startswith(_REFERENCE) else None


def references_in(text: str) -> list[Reference]:
    """All that `text` refers to, as a whole or inside."""
    import re

    whole = parse_reference(text)
    inside = (m for m in re.finditer(_INSIDE, text) if not m[0].startswith("$$"))
    return [whole] if whole else [_pointed(m[1]) for m in inside]


def resolve_text(text: str, store: Store, where: str = "the text") -> str:
    """`text` with values in place of its references; `where` it stands goes into the errors, values never."""
    return _Resolver().text(text, store, ((0, where),))


def _pointed(target: str) -> Reference:
    if not target.startswith("//"):
        return Reference("", check_name(target))
    backend, _, name = target[2:].partition("/")
    return Reference(backend, check_name(name))


_Trail = tuple[tuple[int, str], ...]  # (id of the store, name) of each step so far


class _Resolver:
    """Follows references; a step that is on the trail already is a circle."""

    def __init__(self) -> None:
        self._left = _MOST

    def text(self, text: str, store: Store, trail: _Trail) -> str:
        whole = parse_reference(text)
        if whole:
            return self._value(whole, store, trail)
        return self._inside(text, store, trail) if "${secret:" in text else text

    def _inside(self, text: str, store: Store, trail: _Trail) -> str:
        import re

        def value(match: re.Match[str]) -> str:
            escaped = match[0].startswith("$$")
            return match[0][1:] if escaped else self._value(_pointed(match[1]), store, trail)

        return re.sub(_INSIDE, value, text)

    def _value(self, reference: Reference, store: Store, trail: _Trail) -> str:
        target = self._target(reference, store, trail)
        step = (id(target), reference.name)
        self._left -= 1
        if step in trail or len(trail) > _DEEPEST or self._left < 0:
            way = " -> ".join(name for _, name in (*trail, step))
            what = "go in a circle" if step in trail else "lead to too many others"
            raise BadValue(f"references {what}: {way}", hint="let one of them hold a value")
        return self.text(_referred(reference, target, trail[-1][1]), target, (*trail, step))

    def _target(self, reference: Reference, store: Store, trail: _Trail) -> Store:
        target = _manager.store(reference.backend) if reference.backend else store
        if target is not store and len(trail) > 1 and not isinstance(store, EnvironmentStore):
            problem = f"the value of {_show(trail[-1][1])} refers to another store"
            raise Denied(problem, hint=f"let the config or the environment refer to {reference} itself")
        return target


def _referred(reference: Reference, store: Store, where: str) -> str:
    try:
        return store.get(reference.name)
    except NotFound:
        problem = f"no secret named {_show(reference.name)}, which {where} refers to"
        raise NotFound(problem, hint=f"set it with: set {reference.name}") from None


class SecretConfig:
    """Settings under dotted keys, from the environment first, then from a JSON or TOML file.

    The file is `config_file`, else PAISSIVE_CONFIG_FILE, else config.json; where there is none, it counts as
    empty. The store is opened when a reference is followed, not before.
    """

    def __init__(self, config_file: str | os.PathLike[str] | None = None, backend: Backend = None) -> None:
        self.path = os.fspath(config_file or os.environ.get("PAISSIVE_CONFIG_FILE") or "config.json")
        self._backend = backend

    def __repr__(self) -> str:
        return f"<SecretConfig {self.path}>"

    def get(self, key: str, default: Any = None, *, use_secret: bool = False) -> Any:
        """The setting, or `default`; a reference comes back as text unless `use_secret` is true.

        `database.host` is looked for as variable DATABASE_HOST, then in the file and, with `use_secret`, as
        the secret `database.host`. What a variable holds is always text.
        """
        path = _key_path(key)
        found = os.environ.get(_variable(path), _ABSENT)
        if found is _ABSENT:
            found = _dig(self._tree(), path, self.path)
        if found is not _ABSENT:
            return self._rendered(found, path, use_secret)
        return self._secret(key, default) if use_secret else default

    def set(self, key: str, value: Any, *, use_secret: bool = False) -> None:
        """Write one setting; with `use_secret` the value goes to the store and a reference to the file."""
        path = _key_path(key)

        def edit(text: str) -> str:
            edited = _replaced(text, path, _REFERENCE + key if use_secret else value, self.path)
            if use_secret:
                self._store().set(key, value)
            return edited

        self._edit(edit)

    def delete(self, key: str) -> bool:
        """Remove one setting from the file; whether it was there. A secret that it refers to stays."""
        path = _key_path(key)

        def edit(text: str) -> str:
            found = _dig(_parsed_json(text, self.path), path, self.path)
            return text if found is _ABSENT else _removed(text, path, self.path)

        return self._edit(edit)

    def resolve(self) -> dict[str, Any]:
        """The whole file as a dict, with variables and secrets in their places."""
        tree: dict[str, Any] = self._rendered(self._tree(), (), True)
        return tree

    def explain(self, key: str) -> str:
        """Where the setting comes from, never what it is."""
        path = _key_path(key)
        variable = os.environ.get(_variable(path))
        if variable is not None:
            return f"environment variable {_variable(path)}" + self._onward(variable, key)
        found = _dig(self._tree(), path, self.path)
        if found is not _ABSENT:
            return self.path + self._onward(found, key)
        return f"nowhere: no variable {_variable(path)}, not in {self.path}" + self._or_secret(key)

    def _onward(self, value: Any, key: str) -> str:
        """What a value refers to, and what is wrong with that."""
        if not isinstance(value, str) or not references_in(value):
            return ""
        names = ", ".join(map(str, references_in(value)))
        try:
            resolve_text(value, self._store(), key)
        except SecretsError as error:
            return f", which refers to {names}, and that fails: {error.message}"
        return f", which refers to {names}"

    def _or_secret(self, key: str) -> str:
        try:
            self._store().get(key)
        except SecretsError as error:
            return f": {error.message}"
        return f", but there is a secret {_show(key)} (for use_secret)"

    def _store(self) -> Store:
        return _manager.store(self._backend)

    def _secret(self, key: str, default: Any) -> Any:
        try:
            value = self._store().get(key)
        except NotFound:
            return default
        return resolve_text(value, self._store(), key)

    def _rendered(self, tree: Any, path: tuple[str, ...], use_secret: bool) -> Any:
        """`tree`, which stands at `path`, with variables for leaves and, if asked, values for references."""
        if isinstance(tree, dict):
            return {key: self._rendered(value, (*path, key), use_secret) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self._rendered(value, (*path, str(n)), use_secret) for n, value in enumerate(tree)]
        leaf = os.environ.get(_variable(path), tree)
        if not use_secret or not isinstance(leaf, str):
            return leaf
        return resolve_text(leaf, self._store(), ".".join(path))

    def _tree(self) -> dict[str, Any]:
        if not self.path.endswith(".toml"):
            return _parsed_json(self._json(), self.path)
        if sys.version_info < (3, 11):
            raise BadValue(f"{self.path}: Python reads TOML from 3.11 on", hint="use JSON, or a newer Python")
        import tomllib

        try:
            return tomllib.loads((self._text() or "").lstrip("\ufeff"))
        except tomllib.TOMLDecodeError as error:
            raise BadValue(f"{self.path} is not TOML: {error}", hint="mend it by hand") from None

    def _json(self) -> str:
        """The text of the file, which is one JSON object for sure; or of an empty one."""
        if self.path.endswith(".toml"):
            raise BadValue(f"{self.path}: TOML is only read here", hint="edit it by hand, or use JSON")
        text = self._text()
        if text is None:
            return "{}\n"
        _parsed_json(text, self.path)
        return text

    def _text(self) -> str | None:
        try:
            with open(self.path, encoding="utf-8", newline="") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise BadValue(f"{self.path} is not UTF-8", hint="convert it by hand") from None
        except OSError as error:
            raise Unavailable(f"{self.path}: {error.strerror}", hint="see its permissions") from None

    def _edit(self, edit: Callable[[str], str]) -> bool:
        """Change the file's text while no other writer does; whether there was anything to write."""
        try:
            with exclusive(os.path.dirname(os.path.realpath(self.path))):
                before = self._json()
                after = edit(before)
                if after != before:
                    rewrite(self.path, after.encode())
                return after != before
        except SecretsError:
            raise
        except OSError as error:
            raise Unavailable(f"{self.path}: {error.strerror}", hint="it is as it was") from None


_ABSENT: Any = object()


def _key_path(key: str) -> tuple[str, ...]:
    """`database.host` as its parts."""
    path = tuple(check_name(key).split("."))
    if "" in path:
        raise BadName(f"bad key {_show(key)}: an empty part", hint="write keys as database.host")
    return path


def _variable(path: tuple[str, ...]) -> str:
    return variable_name("_".join(path)).upper()


def _dig(tree: Any, path: tuple[str, ...], where: str) -> Any:
    """What stands at `path`, or _ABSENT; BadValue where the path runs through something that has no parts."""
    for depth, part in enumerate(path):
        if isinstance(tree, list) and part.isdigit():
            tree = dict(enumerate(tree)).get(int(part), _ABSENT)
        elif isinstance(tree, dict):
            tree = tree.get(part, _ABSENT)
        else:
            raise _no_parts(path, depth, where)
        if tree is _ABSENT:
            break
    return tree


def _no_parts(path: tuple[str, ...], depth: int, where: str) -> BadValue:
    inner, outer = ".".join(path), ".".join(path[:depth])
    hint = "choose another key, or delete that one first"
    return BadValue(
        f"{where}: {_show(outer)} is not an object, so there is no {_show(inner)} in it", hint=hint
    )


def _parsed_json(text: str, where: str) -> dict[str, Any]:
    import json

    try:
        tree = json.loads(text.lstrip("\ufeff"), object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}: {error.msg}"
        raise BadValue(f"{where} is not JSON: {place}", hint="mend it by hand") from None
    except RecursionError:
        raise BadValue(f"{where} is nested too deeply", hint="mend it by hand") from None
    except BadValue as error:
        raise BadValue(f"{where}: {error.message}", hint="mend it by hand") from None
    if not isinstance(tree, dict):
        raise BadValue(f"{where} is not a JSON object", hint='it has to look like {"key": "value"}')
    return tree


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without the trap of two members by one name, of which parsers disagree which counts."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise BadValue(f"the key {_show(max(names, key=names.count))} is there twice")
    return dict(pairs)


class _Member(NamedTuple):
    """Where one member of an object stands in the text of a JSON file."""

    key: str
    start: int
    value: int
    end: int


def _members(text: str, at: int) -> list[_Member]:
    """The members of the object that opens at `at`; the text is known to be good JSON."""
    import json

    decode = json.JSONDecoder().raw_decode
    found, at = [], _skip(text, at + 1)
    while text[at] != "}":
        key, end = decode(text, at)
        value = _skip(text, _skip(text, end) + 1)
        _, end = decode(text, value)
        found.append(_Member(key, at, value, end))
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    return found


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n\ufeff":
        at += 1
    return at


def _replaced(text: str, path: tuple[str, ...], new: Any, where: str) -> str:
    """`text` with `new` at `path` and every other byte as it was."""
    at = _skip(text, 0)
    for depth, key in enumerate(path):
        if text[at] != "{":
            raise _no_parts(path, depth, where)
        members = _members(text, at)
        member = next((m for m in members if m.key == key), None)
        if not member:
            return _inserted(text, at, members, path[depth:], new, depth + 1)
        at = member.value
    return text[:at] + _dumped(new, text, len(path)) + text[member.end :] if member else text


def _inserted(text: str, at: int, members: list[_Member], path: tuple[str, ...], new: Any, depth: int) -> str:
    """`text` with a member more in the object that opens at `at`, laid out like its neighbours."""
    for key in reversed(path[1:]):
        new = {key: new}
    item = f"{_dumped(path[0], text, 0)}: {_dumped(new, text, depth)}"
    if members:
        gap = text[at + 1 : members[0].start]
        return f"{text[: members[-1].end]},{gap or ' '}{item}{text[members[-1].end :]}"
    inner, outer = (_line(text, depth), _line(text, depth - 1)) if "\n" in text else ("", "")
    return text[: at + 1] + inner + item + outer + text[_skip(text, at + 1) :]


def _removed(text: str, path: tuple[str, ...], where: str) -> str:
    """`text` without the member at `path`, which is there."""
    at = _skip(text, 0)
    for depth, key in enumerate(path):
        if text[at] != "{":
            raise _no_parts(path, depth, where)
        members = _members(text, at)
        n = next(n for n, member in enumerate(members) if member.key == key)
        outer, at = at, members[n].value
    if n:
        return text[: members[n - 1].end] + text[members[n].end :]
    end = members[1].start if len(members) > 1 else _skip(text, members[n].end)
    return text[: members[n].start if len(members) > 1 else outer + 1] + text[end:]


def _dumped(value: Any, text: str, depth: int) -> str:
    """`value` as JSON, indented as `text` is."""
    import json

    indent = _indent(text) if "\n" in text else None
    try:
        dumped = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
        dumped.encode()
    except (TypeError, ValueError):
        problem = f"JSON can't hold this {type(value).__name__}"
        raise BadValue(problem, hint="use text, numbers, true, false, null, lists and objects") from None
    return dumped.replace("\n", _line(text, depth))


def _line(text: str, depth: int) -> str:
    """The start of a new line at `depth`."""
    return ("\r\n" if "\r\n" in text else "\n") + _indent(text) * depth


def _indent(text: str) -> str:
    import re

    found = re.search(r"\{\r?\n([ \t]+)\"", text)
    return found[1] if found else "  "


# === Rotation ===============================================================================================


# === Import and export ======================================================================================


# === Masking ================================================================================================
# Every byte that belongs to a value, in any of its spellings, becomes part of a `***`, wherever a write ends.
# Spellings are found by the machine words at aligned places, so that a thousand values cost no more than one:
# any fifteen bytes hold an aligned word of eight, so a spelling is known by the first eight words in it.

_MASK = b"***"
_MASKABLE = 8  # characters; shorter values would blacken ordinary words
_SHOWN = 3  # bytes of what may become a value that a pause lets out, for prompts and typed characters
_WORDS: tuple[tuple[int, Literal["Q", "I"]], ...] = ((8, "Q"), (4, "I"))  # bytes, and memoryview's format
_URL_SAFE = ("", "/", "!'()*", "!$&'()*+,;=:@/?", "!#$&'()*+,/:;=?@")  # left as they are, by who encodes


class Spellings:
    """The values to be masked, in every spelling; values under 8 characters are left out."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._words: list[dict[int, set[tuple[int, bytes]]]] = [{} for _ in _WORDS]
        self._beginnings: set[bytes] = set()
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask this value too."""
        for spelling in _spellings(value) if maskable(value) else ():
            self._learn(spelling)

    def _learn(self, spelling: bytes) -> None:
        table, (size, _) = next(
            (table, word) for table, word in zip(self._words, _WORDS) if len(spelling) >= 2 * word[0] - 1
        )
        for offset in range(size):
            word = int.from_bytes(spelling[offset : offset + size], sys.byteorder)
            table.setdefault(word, set()).add((offset, spelling))
        self._beginnings.update(spelling[:length] for length in range(1, min(len(spelling), 15)))

    def find(self, data: bytes) -> tuple[list[tuple[int, int]], int]:
        """Where spellings are (start, end), overlaps joined, and where one begins that `data` cuts off."""
        found = []
        cut = len(data)
        for start, spelling in self._candidates(data):
            if data.startswith(spelling, start):
                found.append((start, start + len(spelling)))
            elif start + len(spelling) > len(data) and spelling.startswith(data[start:]):
                cut = min(cut, start)
        short = (at for at in range(max(len(data) - 14, 0), len(data)) if data[at:] in self._beginnings)
        return _joined(found), min(cut, next(short, cut))

    def _candidates(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        for table, (size, code) in zip(self._words, _WORDS):
            words = memoryview(data)[: len(data) // size * size].cast(code)
            if table.keys().isdisjoint(words):  # the whole cost of output without values
                continue
            for place, known in [
                (place * size, table[word]) for place, word in enumerate(words) if word in table
            ]:
                yield from ((place - offset, spelling) for offset, spelling in known if place >= offset)

    def mask(self, text: str) -> str:
        """The text with every value in it masked; the very same object where there is none."""
        data = text.encode("utf-8", "surrogatepass")
        if not self.find(data)[0]:
            return text
        masker = Masker(self)
        return (masker.feed(data) + masker.close()).decode("utf-8", "surrogatepass")


def maskable(value: str) -> bool:
    """Whether a value is long enough to be masked."""
    return len(value.strip()) >= _MASKABLE


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


class Masker:
    """One stream, masked piece by piece; holds back only what could still become a value."""

    def __init__(self, spellings: Spellings) -> None:
        self._spellings = spellings
        self._tail = b""  # from where a value may have begun
        self._done = 0  # leading bytes of the tail that were written already, masked or shown
        self._masked = False  # whether those end in a mask

    def feed(self, data: bytes) -> bytes:
        """What can be written of the stream so far."""
        data = self._tail + data
        return self._write(data, *self._spellings.find(data))

    def pause(self) -> bytes:
        """What may be shown when the stream has paused: a few characters, likely no value's beginning."""
        return self._write(self._tail, [], len(self._tail), 0) if len(self._tail) <= _SHOWN else b""

    def close(self) -> bytes:
        """The rest of the stream."""
        return self._write(self._tail, self._spellings.find(self._tail)[0], len(self._tail))

    def _write(self, data: bytes, spans: list[tuple[int, int]], end: int, keep: int | None = None) -> bytes:
        """Data up to `end`, masked; what comes from `keep` on stays to be looked at again."""
        written = []
        for start, stop in (span for span in spans if span[0] < end):
            if start >= self._done or not self._masked:
                written += [data[self._done : start], _MASK]
            self._done, self._masked = max(self._done, stop), True
        if self._done < end:
            written.append(data[self._done : end])
            self._done, self._masked = end, False
        keep = end if keep is None else keep
        self._tail, self._done = data[keep:], self._done - keep
        return b"".join(written)


def _spellings(value: str) -> set[bytes]:
    """Every way in which a value is looked for: itself, its lines, base64, hex, URL, JSON and repr."""
    spelled = {piece for whole in {value, value.strip()} for piece in _in_all(whole)}
    return {spelling for spelling in spelled if len(spelling) >= _MASKABLE}


def _in_all(value: str) -> Iterator[bytes]:
    raw = value.encode("utf-8", "surrogatepass")
    yield from _in_lines(value)
    yield from _in_base64(raw)
    yield from _in_hex(raw)
    for text in {*_in_urls(value), *_in_literals(value)}:
        yield text.encode("utf-8", "surrogatepass")


def _in_lines(value: str) -> Iterator[bytes]:
    """The value, as terminals show it (CRLF), and line by line, since logs put something before each line."""
    lines = value.encode("utf-8", "surrogatepass").splitlines()
    yield from (b"\n".join(lines), b"\r\n".join(lines), value.encode("utf-8", "surrogatepass"))
    for line in lines:
        line = line.strip()
        if len(line) >= _MASKABLE and not line.startswith(b"-----"):  # the armour of a key is no secret
            yield line


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """What of the value's base64 is the same beside any neighbours, at each alignment; and it alone."""
    import base64

    def both(encoded: bytes) -> Iterator[bytes]:
        yield from (encoded, encoded.translate(bytes.maketrans(b"+/", b"-_")))

    for shift, first in ((0, 0), (1, 2), (2, 3)):
        last = (shift + len(raw)) * 8 // 6
        yield from both(base64.b64encode(b"\0" * shift + raw)[first:last])
    for alone in (raw, raw + b"\n"):
        encoded = base64.b64encode(alone)
        for spelling in (encoded, *_wrapped(encoded, 64), *_wrapped(encoded, 76)):
            yield from both(spelling)


def _in_hex(raw: bytes) -> Iterator[bytes]:
    for pairs in (raw.hex(), raw.hex().upper()):
        spaced = [pairs[at : at + 2] for at in range(0, len(pairs), 2)]
        for between in ("", " ", ":", "%", "\\x"):
            yield between.join(spaced).encode()
        yield from _wrapped(pairs.encode(), 60)  # xxd -p


def _wrapped(encoded: bytes, width: int) -> list[bytes]:
    """An encoding that is broken at a width, whole and line by line."""
    lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
    return [b"\n".join(lines), b"\r\n".join(lines), *lines] if len(lines) > 1 else []


def _in_urls(value: str) -> Iterator[str]:
    import re
    from urllib.parse import quote

    for safe in _URL_SAFE:
        quoted = quote(value, safe, errors="surrogatepass")
        for text in (quoted, re.sub("%..", lambda match: match[0].lower(), quoted)):
            yield from (text, text.replace("%20", "+"))


def _in_literals(value: str) -> Iterator[str]:
    """The value between the quotes of JSON, of JSON in JSON, and of Python."""
    import json
    import re

    for ascii_only in (True, False):
        plain = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        html = re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", plain)  # as Go writes it
        for text in (plain, html, plain.replace("/", "\\/"), html.replace("/", "\\/")):
            yield from (text, re.sub(r"\\u....", lambda match: "\\u" + match[0][2:].upper(), text))
            yield json.dumps(text)[1:-1]
    yield from (repr(value)[1:-1], ascii(value)[1:-1], repr(value.encode("utf-8", "surrogatepass"))[2:-1])


# === Processes ==============================================================================================


# === Log redaction ==========================================================================================


# === Rules ==================================================================================================


class Rule(NamedTuple):
    """One kind of secret: a literal prefix to look for, the shape of the whole, and its own proofs."""

    id: str
    what: str
    prefix: str  # literal bytes, as text, that every match begins with
    shape: str  # a regular expression over bytes, anchored at the prefix, linear in time
    confidence: str  # "high", "medium" or "low"
    severity: str  # "critical", "high", "medium" or "low"
    hit: str  # an input that must match
    miss: str  # a near miss that must not


# === Judgement ==============================================================================================
# Whether a value that is given to a name is a secret. What a line says becomes features with names; their
# weights add up to a probability, and the confidences are thresholds on it. No file is ever read here.


class Judged(NamedTuple):
    """A value that looks like a secret: where it stands in the window, and how sure that is."""

    start: int
    end: int
    rule: str  # "password", "secret", "token", "key", "credential" or "uuid"
    confidence: str  # "high", "medium" or "low"


def judge(window: bytes, language: str) -> Iterator[Judged]:
    """Give every value in `window` that looks like a secret, in order of place."""
    yield from ()


def language_of(path: str) -> str:
    """Say which kind of file this is by its name: source, config, json, docs, markup or shell."""
    return "source"


# === Scan ===================================================================================================
# A stream of bytes in bounded windows, from which only places come back: what was found is masked and hashed
# here, so that no record outside of this room ever holds a value.


class Match(NamedTuple):
    """Where a secret stands, never what it is."""

    rule: Rule
    confidence: str  # may differ from the rule's: a checksum raises it
    line: int  # of its first character, from 1
    column: int  # of its first character, from 1
    end_line: int
    sample: str  # masked: at most the public prefix and two characters
    digest: str  # hex of a hash of the value, keyed, so of no use without the key
    silenced: str  # the comment on the line that allows it, or ""


def scan(read: Callable[[int], bytes], path: str, key: bytes = b"") -> Iterator[Match]:
    """Give the secrets in what `read(size)` returns until it is b"", in order; `key` is for the digests."""
    yield from ()


# === Git ====================================================================================================


# === Files ==================================================================================================


# === Audit ==================================================================================================


# === Reports ================================================================================================


# === Commands ===============================================================================================
# One function a command: its docstring is its help line, its number the exit code. The table at the end of
# the file says which arguments each takes. Results go to stdout, everything else to stderr.


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0 done, 1 not found or findings, 2 anything else."""
    try:
        args = _parser().parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except SecretsError as error:
        _warn(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    import argparse

    backend = argparse.ArgumentParser(add_help=False)
    backend.add_argument(
        "--backend", choices=list(_STORES), default=argparse.SUPPRESS, help="where secrets are kept"
    )
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="paissive_secrets.py", description=about, parents=[backend])
    parser.set_defaults(backend=None)
    groups = {"": parser.add_subparsers(metavar="COMMAND", required=True)}
    for words, (run, arguments) in _COMMANDS.items():
        group, _, word = words.rpartition(" ")
        if group not in groups:
            parent = groups[""].add_parser(group, help=f"{group} …")
            groups[group] = parent.add_subparsers(metavar="ACTION", required=True)
        line = (run.__doc__ or "").strip()
        command = groups[group].add_parser(
            word, help=line.partition("\n")[0], description=line, parents=[backend]
        )
        command.set_defaults(run=run)
        for flags, settings in arguments:
            command.add_argument(*flags, **settings)
    return parser


def _arg(*flags: str, **settings: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """One argument of a command, as argparse's add_argument takes it."""
    return flags, settings


def _warn(message: str) -> None:
    print(f"paissive_secrets: {message}", file=sys.stderr)


def cmd_get(args: argparse.Namespace) -> int:
    """Print the value of a secret."""
    store = _manager.store(args.backend)
    value = store.get(stage_name(store, args.name, args.stage))
    sys.stdout.write(value + "\n" if sys.stdout.isatty() else value)
    return 0


def cmd_list(args: argparse.Namespace) -> int:
    """List the names of secrets, never values."""
    for name in _manager.list_secrets(backend=args.backend):
        print(name)
    return 0


def cmd_config_get(args: argparse.Namespace) -> int:
    """Print a setting; with --secret, what its references stand for."""
    value = _config(args).get(args.key, _ABSENT, use_secret=args.secret)
    if value is _ABSENT:
        raise NotFound(f"no setting {_show(args.key)}", hint=f"see: config explain {args.key}")
    text = value if isinstance(value, str) else _dumped(value, "\n", 0)
    sys.stdout.write(text + "\n" if sys.stdout.isatty() or not isinstance(value, str) else text)
    return 0


def cmd_config_set(args: argparse.Namespace) -> int:
    """Write a setting; with --secret, its value to the store and a reference to the file."""
    import json

    if args.secret and args.value is not None:
        raise BadValue("a secret on the command line shows in ps", hint="leave VALUE out: it is asked for")
    value = _read_value(args.key) if args.value is None else args.value
    try:
        value = json.loads(value) if args.json else value
    except ValueError:
        raise BadValue("VALUE is not JSON", hint="leave --json out for plain text") from None
    _config(args).set(args.key, value, use_secret=args.secret)
    if _variable(_key_path(args.key)) in os.environ:
        _warn(f"note: variable {_variable(_key_path(args.key))} comes before the file")
    return 0


def cmd_config_delete(args: argparse.Namespace) -> int:
    """Remove a setting from the file; a secret that it refers to stays."""
    config = _config(args)
    if not config.delete(args.key):
        raise NotFound(f"no setting {_show(args.key)} in {config.path}")
    return 0


def cmd_config_explain(args: argparse.Namespace) -> int:
    """Say where a setting comes from, never what it is."""
    print(_config(args).explain(args.key))
    return 0


def _config(args: argparse.Namespace) -> SecretConfig:
    return SecretConfig(args.file, args.backend)


def _read_value(what: str) -> str:
    """A value asked for twice without echo or, from a pipe, all of stdin but one newline at its end."""
    import getpass

    if not sys.stdin.isatty():
        text = sys.stdin.read()
        return text[:-1] if text.endswith("\n") else text
    value = getpass.getpass(f"Value of {what}: ")
    if getpass.getpass("Again: ") != value:
        raise BadValue("the two values differ", hint="try again")
    return value


_Command = tuple[Callable[["argparse.Namespace"], int], tuple[tuple[tuple[str, ...], dict[str, Any]], ...]]
_NAME = _arg("name", metavar="NAME", help="the secret's name, such as DB_PASSWORD or app/db#password")
_STAGE = _arg("--stage", choices=list(_STAGES), default="current", help="see: rotate")
_KEY = _arg("key", metavar="KEY", help="the setting, such as database.host")
_CONFIG_FILE = _arg(
    "--file", metavar="F", help="the config file; else PAISSIVE_CONFIG_FILE, else config.json"
)

# A row a command; "config get" is an action of the group "config".
_COMMANDS: dict[str, _Command] = {
    "get": (cmd_get, (_NAME, _STAGE)),
    "list": (cmd_list, ()),
    "config get": (
        cmd_config_get,
        (_KEY, _CONFIG_FILE, _arg("--secret", action="store_true", help="follow references to their values")),
    ),
    "config set": (
        cmd_config_set,
        (
            _KEY,
            _arg("value", metavar="VALUE", nargs="?", help="else it is asked for, or read from stdin"),
            _CONFIG_FILE,
            _arg("--json", action="store_true", help="VALUE is JSON: a number, true, a list"),
            _arg("--secret", action="store_true", help="keep it in the store, and a reference in the file"),
        ),
    ),
    "config delete": (cmd_config_delete, (_KEY, _CONFIG_FILE)),
    "config explain": (cmd_config_explain, (_KEY, _CONFIG_FILE)),
}

if __name__ == "__main__":
    sys.exit(main())
