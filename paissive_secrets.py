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
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol, Union

if TYPE_CHECKING:
    import argparse

__all__ = [
    "BadName",
    "BadValue",
    "Denied",
    "MemoryStore",
    "NotFound",
    "SecretsBackend",
    "SecretsError",
    "SecretsManager",
    "Store",
    "delete_secret",
    "get_secret",
    "list_secrets",
    "set_secret",
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


def write_atomically(
    path: str, data: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None
) -> None:
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


# === Sealed files ===========================================================================================


# === Vault ==================================================================================================


# === Manager ================================================================================================
# A backend is named by the enum or its string, or is a store; anything else is an error, never a silent
# fall-back to another store.


class SecretsBackend(str, enum.Enum):
    """Where secrets are kept: one of ENV, FILE, MEMORY, VAULT."""

    ENV = "env"
    FILE = "file"
    MEMORY = "memory"
    VAULT = "vault"


Backend = Union[str, Store, None]


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

    def get_secret(self, name: str, default: str | None = None, *, backend: Backend = None) -> str | None:
        """The value, or `default` where there is none; a locked, denied or unreachable store raises."""
        try:
            return self.store(backend).get(name)
        except NotFound:
            return default

    def set_secret(self, name: str, value: str, *, backend: Backend = None) -> None:
        """Keep `value` under `name`; what was there before is replaced."""
        self.store(backend).set(name, value)

    def delete_secret(self, name: str, *, backend: Backend = None) -> bool:
        """Whether there was one to delete."""
        try:
            self.store(backend).delete(name)
        except NotFound:
            return False
        return True

    def list_secrets(self, *, backend: Backend = None) -> list[str]:
        """Names, sorted; never values."""
        return sorted(self.store(backend).names())


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


# === Rotation ===============================================================================================


# === Import and export ======================================================================================


# === Masking ================================================================================================


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
    value = _manager.store(args.backend).get(args.name)
    sys.stdout.write(value + "\n" if sys.stdout.isatty() else value)
    return 0


def cmd_list(args: argparse.Namespace) -> int:
    """List the names of secrets, never values."""
    for name in _manager.list_secrets(backend=args.backend):
        print(name)
    return 0


_Command = tuple[Callable[["argparse.Namespace"], int], tuple[tuple[tuple[str, ...], dict[str, Any]], ...]]
_NAME = _arg("name", metavar="NAME", help="the secret's name, such as DB_PASSWORD or app/db#password")

# A row a command; "config get" is an action of the group "config".
_COMMANDS: dict[str, _Command] = {
    "get": (cmd_get, (_NAME,)),
    "list": (cmd_list, ()),
}

if __name__ == "__main__":
    sys.exit(main())
