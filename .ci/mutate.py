#!/usr/bin/env python3
"""Break the module one small step at a time, and count how many of the breaks the tests notice.

    mutate.py [SECTION ...] [--sample N] [--seed N] [--jobs N] [--at-least PERCENT]

A mutant changes one operator, constant or statement inside a function of a section. It is killed if a quick
test of that section, or of a section listed with it in TESTED_BY, fails or hangs. All others survive,
including those that no test could tell from the original. --sample draws N mutants from each section; the
seed is printed, so a run can be repeated. Exit status 1: less than --at-least percent were killed. Standard
library only; run it with the Python that has the test packages.
"""

from __future__ import annotations

import argparse
import ast
import codecs
import collections
import concurrent.futures
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MODULE, TESTS = "paissive_secrets.py", "test_paissive_secrets.py"
BANNER = re.compile(r"^# === (.+?) =+$")
TESTED_BY = {  # to add a section: its name, and the sections whose tests depend on it
    "Durable files": ["Durable files", "Environment", "Sealed files"],
    "Age format": ["Age format"],
    "Sealed files": ["Sealed files"],
    "Vault logins": ["Vault logins"],
    "Rotation": ["Rotation"],
    "Masking": ["Masking"],
    "Judgement": ["Judgement"],
    "Audit": ["Audit", "Git", "Files", "Reports"],
}
SECONDS = 240  # a longer test run of the unchanged module counts as hanging
PAIRS = (  # operators to swap
    (ast.Eq, ast.NotEq),
    (ast.In, ast.NotIn),
    (ast.Is, ast.IsNot),
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Add, ast.Sub),
    (ast.BitOr, ast.BitAnd),
    (ast.LShift, ast.RShift),
    (ast.And, ast.Or),
)
SWAPS = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}


class Mutant(NamedTuple):
    section: str
    node: ast.AST
    text: str  # its replacement


def sections(lines: list[str]) -> dict[str, range]:
    """The line numbers of each section, by its banner."""
    starts = [(match[1], number) for number, line in enumerate(lines, 1) if (match := BANNER.match(line))]
    ends = [start for _, start in starts[1:]] + [len(lines) + 1]
    return {name: range(start, end) for (name, start), end in zip(starts, ends)}


def mutants(source: str, chosen: list[str]) -> Iterator[Mutant]:
    """Every mutant of the chosen sections, in the order of the source."""
    spans = sections(source.splitlines())
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            section = next((name for name in chosen if function.lineno in spans[name]), None)
            if section:
                yield from (Mutant(section, node, text) for node, text in changes(function))


def changes(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, str]]:
    """(node, replacement) for each change inside; messages, annotations and docstrings are left alone."""
    pending: collections.deque[ast.AST] = collections.deque([*function.body, *function.args.defaults])
    if ast.get_docstring(function) is not None:
        pending.popleft()
    while pending:
        node = pending.popleft()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.JoinedStr)):
            continue  # nested functions are visited on their own
        if is_hint(node):
            continue
        yield from ((node, text) for text in replacements(node))
        if isinstance(node, ast.AnnAssign):
            pending.extend([node.value] if node.value else [])
        elif not isinstance(node, ast.Raise):
            pending.extend(ast.iter_child_nodes(node))


def replacements(node: ast.AST) -> Iterator[str]:
    """The replacements for a node."""
    changed = copy.deepcopy(node)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        changed.ops = [SWAPS[type(node.ops[0])]()]
        yield f"({ast.unparse(changed)})"
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS:
        changed.op = SWAPS[type(node.op)]()
        yield f"({ast.unparse(changed)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"bool({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant):
        yield from other_constants(node.value)
    elif isinstance(node, ast.Return) and node.value is not None and not is_false(node.value):
        yield "return None"
    elif isinstance(node, (ast.Raise, ast.AugAssign, ast.Continue, ast.Break, ast.Delete)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "pass"


def is_hint(node: ast.AST) -> bool:
    """Whether it sets a hint, which is part of a message: `hint = "..."`, or `hint="..."` in a call."""
    names = [node.arg] if isinstance(node, ast.keyword) else []
    if isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    return names == ["hint"] and isinstance(node.value, ast.Constant)


def is_false(node: ast.AST) -> bool:
    """Whether it is a false constant: mypy tells those from None, but callers don't."""
    return isinstance(node, ast.Constant) and not node.value


def other_constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        yield f"({value + 1})"
    elif isinstance(value, bytes):
        yield repr(value + b"?")
    elif isinstance(value, str):
        yield repr(value + ("X" if is_encoding(value) else "?"))


def is_encoding(name: str) -> bool:
    """Whether it names an encoding, which it would still do with a "?"."""
    try:
        return bool(codecs.lookup(name))
    except (LookupError, ValueError):
        return False


def mutate(source: str, mutant: Mutant) -> str:
    """The source with one node replaced; columns of the syntax tree count bytes of UTF-8."""
    node, lines = mutant.node, [line.encode() for line in source.splitlines(True)]
    first, last = lines[node.lineno - 1], lines[node.end_lineno - 1]
    lines[node.lineno - 1 : node.end_lineno] = [
        first[: node.col_offset] + mutant.text.encode() + last[node.end_col_offset :]
    ]
    return b"".join(lines).decode()


def quick_tests(chosen: list[str]) -> list[str]:
    """The ids of the sections' tests."""
    text = (ROOT / TESTS).read_text(encoding="utf-8")
    spans = sections(text.splitlines())
    tests = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test")
    ]
    wanted = [span for name, span in spans.items() if name in chosen]
    return [f"{TESTS}::{test.name}" for test in tests if any(test.lineno in span for span in wanted)]


def prepare(folder: Path) -> None:
    """Copy what the tests need, and let pytest rewrite their assertions once, which takes seconds."""
    for name in (MODULE, TESTS, "README.md", "LICENSE", ".pytest.ini", ".pre-commit-hooks.yaml", ".ci"):
        copying = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copying(ROOT / name, folder / name)
    run_pytest(folder, "--collect-only")
    for compiled in (folder / "__pycache__").glob(f"{Path(MODULE).stem}*"):
        compiled.unlink()


def run_tests(source: str, prepared: Path, seconds: float, *args: str) -> subprocess.CompletedProcess:
    """Run quick tests with this module, up to the first that fails."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(shutil.copytree(prepared, Path(parent, "copy")))
        (folder / MODULE).write_text(source, encoding="utf-8")
        return run_pytest(folder, "-x", "-m", "not slow", *args, seconds=seconds)


def quickest_first(tests: list[str], output: str) -> list[str]:
    """The tests, fastest first, so that most mutants are killed early."""
    taken: collections.Counter[str] = collections.Counter()
    for seconds, test in re.findall(r"^([0-9.]+)s (?:setup|call|teardown) +([^\s\[]+)", output, re.M):
        taken[test] += float(seconds)
    return sorted(tests, key=lambda test: taken[test])


def survives(source: str, tests: list[str], prepared: Path, seconds: float) -> bool:
    """Whether the tests pass with this module."""
    try:
        return run_tests(source, prepared, seconds, *tests).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def run_pytest(folder: Path, *args: str, seconds: float = SECONDS) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=seconds, env=env)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section", nargs="*", help="default: all of them")
    parser.add_argument("--sample", type=int, help="mutants drawn from each section; default: all")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--at-least", type=float, default=0, metavar="PERCENT")
    args = parser.parse_args()
    unknown = set(args.section) - set(TESTED_BY)
    if unknown:
        parser.error(f"no section to mutate is called {unknown.pop()!r}; there are {', '.join(TESTED_BY)}")
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as prepared:
        prepare(Path(prepared))
        results = [try_mutants(section, args, Path(prepared)) for section in args.section or TESTED_BY]
    killed, total = map(sum, zip(*results))
    print(f"{killed} of {total} mutants killed, {100 * killed / max(total, 1):.0f} %")
    return int(100 * killed < args.at_least * total)


def try_mutants(section: str, args: argparse.Namespace, prepared: Path) -> tuple[int, int]:
    """Run the tests of a section on each mutant drawn, print the survivors; return (killed, drawn)."""
    source = (ROOT / MODULE).read_text(encoding="utf-8")
    tests = quick_tests(TESTED_BY[section])
    started = time.monotonic()
    clean = run_tests(source, prepared, SECONDS, "--durations=0", "--durations-min=0", *tests)
    if not tests or clean.returncode:
        sys.exit(f"{section}: the tests fail without any mutant")
    tests, seconds = quickest_first(tests, clean.stdout.decode()), 30 + 4 * (time.monotonic() - started)
    drawn = list(mutants(source, [section]))
    if args.sample and args.sample < len(drawn):
        drawn = random.Random(args.seed).sample(drawn, args.sample)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        alive = list(pool.map(lambda one: survives(mutate(source, one), tests, prepared, seconds), drawn))
    for mutant in (mutant for mutant, survived in zip(drawn, alive) if survived):
        line = source.splitlines()[mutant.node.lineno - 1].strip()
        print(f"  survives: {MODULE}:{mutant.node.lineno}: {line}  ->  {mutant.text}")
    print(f"{section}: {alive.count(False)} of {len(drawn)} killed", flush=True)
    return alive.count(False), len(drawn)


if __name__ == "__main__":
    sys.exit(main())
