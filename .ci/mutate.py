#!/usr/bin/env python3
"""Break the module one small step at a time, and count how many of the breaks the tests notice.

    mutate.py [SECTION ...] [--sample N] [--seed N] [--jobs N] [--at-least N]

A mutant changes one operator, constant, statement, `except` type, row of a table, or alternative or
anchor of a regular expression, anywhere in a section. It is killed if a quick test of that section, or of a
section listed with it in ALSO_TESTED_BY, fails or hangs. All others survive, including those that no test
could tell from the original. Left alone: the fitted weights, texts of errors and hints, annotations,
docstrings, imports, and blocks that only a type checker reads.

--sample draws N mutants: a section at random, a kind of change that it has, and one such change; no section
is drawn twice before each was drawn once. The seed comes from the module's text unless given, so another run
on the same commit is no second chance. Exit status 1: fewer than --at-least mutants were killed, fewer than
N could be drawn, or the tests fail without a mutant. Standard library only; run it with the Python that has
the test packages.
"""

from __future__ import annotations

import argparse
import ast
import codecs
import collections
import concurrent.futures
import copy
import hashlib
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
ALSO_TESTED_BY = {  # sections whose tests depend on a section; its own tests always run
    "Durable files": ["Environment", "Sealed files"],
    "Stores": ["Environment", "Manager and references"],
    "Vault settings": ["Vault transport"],
    "Rules": ["Detectors", "Judgement", "Scan"],
    "Candidates": ["Judgement", "Detectors", "Scan"],
    "Detectors": ["Rules", "Judgement", "Scan"],
    "Judgement": ["Candidates"],
    "Scan": ["Detectors", "Audit"],
    "Git": ["Files", "Audit"],
    "Files": ["Audit"],
    "Audit": ["Git", "Files", "Reports"],
    "Check": ["Commands"],
    "Names": ["Environment", "Sealed files", "Commands"],
    "Errors": ["Commands", "Manager and references"],
}
FITTED = {"_WEIGHTS"}  # tables that are fitted to data: a test can't have an opinion on a row
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
TYPE_MAKERS = {"TypeVar", "Union", "Optional", "Callable", "tuple", "dict"}  # `Name = Union[…]`
ANCHORS = ("^", "$", r"\b", r"\A", r"\Z")


class Mutant(NamedTuple):
    section: str
    kind: str  # operator, constant, statement, except, row, expression
    node: ast.AST
    text: str  # its replacement


def sections(lines: list[str]) -> dict[str, range]:
    """The line numbers of each section, by its banner."""
    starts = [(match[1], number) for number, line in enumerate(lines, 1) if (match := BANNER.match(line))]
    ends = [start for _, start in starts[1:]] + [len(lines) + 1]
    return {name: range(start, end) for (name, start), end in zip(starts, ends)}


def mutants(source: str, chosen: list[str]) -> Iterator[Mutant]:
    """Every mutant of the chosen sections."""
    lines = [line.encode() for line in source.splitlines(True)]
    spans = sections(source.splitlines())
    for statement in ast.parse(source).body:
        section = next((name for name in chosen if statement.lineno in spans[name]), None)
        if section is None or target_names(statement) & FITTED:
            continue
        yield from (Mutant(section, *change) for change in changes(statement, lines))


def segment(node: ast.AST, lines: list[bytes]) -> str:
    """The text of a node; columns of the syntax tree count bytes of UTF-8."""
    text = b"".join(lines[node.lineno - 1 : node.end_lineno])
    return text[node.col_offset : len(text) - len(lines[node.end_lineno - 1]) + node.end_col_offset].decode()


def is_raw(node: ast.AST, lines: list[bytes]) -> bool:
    """Whether a literal is written as a raw string, as regular expressions are."""
    start = lines[node.lineno - 1][node.col_offset : node.col_offset + 3].lower()
    return re.match(rb"(r|br|rb)[\"']", start) is not None


def target_names(statement: ast.stmt) -> set[str]:
    """The plain names that an assignment binds."""
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return {target.id for target in targets if isinstance(target, ast.Name)}


def changes(root: ast.AST, lines: list[bytes]) -> Iterator[tuple[str, ast.AST, str]]:
    """(kind, node, replacement) for each change inside."""
    pending: collections.deque[ast.AST] = collections.deque([root])
    while pending:
        node = pending.popleft()
        if isinstance(node, (ast.Import, ast.ImportFrom)) or is_hint(node) or is_for_type_checkers(node):
            continue
        yield from replacements(node, lines)
        pending.extend(parts(node))


def parts(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that may be changed."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        arguments = getattr(node, "args", None)
        defaults = [*arguments.defaults, *filter(None, arguments.kw_defaults)] if arguments else []
        return [*without_docstring(node), *defaults, *node.decorator_list]
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    if isinstance(node, (ast.Raise, ast.JoinedStr)):
        return []
    return list(ast.iter_child_nodes(node))


def without_docstring(node: ast.FunctionDef | ast.ClassDef) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) is not None else node.body


def replacements(node: ast.AST, lines: list[bytes]) -> Iterator[tuple[str, ast.AST, str]]:
    """(kind, node, replacement): the changes of the node itself."""
    if isinstance(node, ast.ExceptHandler) and node.type is not None:
        yield from (("except", node.type, text) for text in fewer_types(node.type))
    elif isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
        yield from (("row", node, text) for text in without_each_row(node))
    elif isinstance(node, ast.Constant):
        yield from (("constant", node, text) for text in other_constants(node.value))
        if isinstance(node.value, str):
            yield from (("row", node, repr(text)) for text in without_each_line(node.value))
        if isinstance(node.value, (str, bytes)) and is_raw(node, lines):
            yield from (("expression", node, text) for text in weaker_expressions(node.value))
    elif isinstance(node, ast.JoinedStr):
        yield "constant", node, f"({segment(node, lines)} + '?')"
    elif isinstance(node, ast.Return) and node.value is not None and not is_false(node.value):
        yield "statement", node, "return None"
    elif isinstance(node, (ast.Raise, ast.AugAssign, ast.Continue, ast.Break, ast.Delete)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "statement", node, "pass"
    else:
        yield from (("operator", node, text) for text in other_operators(node))


def other_operators(node: ast.AST) -> Iterator[str]:
    changed = copy.deepcopy(node)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        changed.ops = [SWAPS[type(node.ops[0])]()]
        yield f"({ast.unparse(changed)})"
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS:
        changed.op = SWAPS[type(node.op)]()
        yield f"({ast.unparse(changed)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"bool({ast.unparse(node.operand)})"


def other_constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        yield f"({value + 1})"
    elif isinstance(value, bytes):
        yield repr(value + b"?")
    elif isinstance(value, str):
        yield repr(value + ("X" if is_encoding(value) else "?"))


def fewer_types(types: ast.expr) -> Iterator[str]:
    """The types of an `except` clause without each one; the last one leaves nothing to catch."""
    if not isinstance(types, ast.Tuple) or len(types.elts) == 1:
        yield "()"
        return
    for index in range(len(types.elts)):
        rest = [ast.unparse(one) for position, one in enumerate(types.elts) if position != index]
        yield f"({', '.join(rest)},)"


def without_each_row(node: ast.List | ast.Tuple | ast.Set | ast.Dict) -> Iterator[str]:
    """A literal table without each of its rows; what has fewer than three is no table."""
    rows = node.keys if isinstance(node, ast.Dict) else node.elts
    if len(rows) < 3 or not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return
    for index in range(len(rows)):
        changed = copy.deepcopy(node)
        for field in ("keys", "values", "elts"):
            if hasattr(changed, field):
                del getattr(changed, field)[index]
        yield f"({ast.unparse(changed)})"


def without_each_line(text: str) -> Iterator[str]:
    """A table that is written as a text of lines, without each of them."""
    lines = text.splitlines(True)
    if len(lines) < 4:
        return
    for index, line in enumerate(lines):
        if line.strip():
            yield "".join(lines[:index] + lines[index + 1 :])


def weaker_expressions(value: str | bytes) -> Iterator[str]:
    """A regular expression without each of its alternatives, and without each anchor at its ends."""
    text = value if isinstance(value, str) else value.decode("latin-1")
    prefix = "" if isinstance(value, str) else "b"
    for start, end in alternatives(text):
        yield prefix + repr(text[:start] + text[end:])
    for anchor in ANCHORS:
        if text.startswith(anchor):
            yield prefix + repr(text[len(anchor) :])
        if text.endswith(anchor) and not text.endswith("\\" + anchor):
            yield prefix + repr(text[: -len(anchor)])


def alternatives(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each alternative, with one bar beside it."""
    groups = [[0]]  # per open group: where its alternatives start
    for match in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[:=!a-zA-Z<>-]*|[()|]", text, re.S):
        token = match[0]
        if token.startswith("("):
            groups.append([match.end()])
        elif token == "|":
            groups[-1].append(match.end())
        elif token == ")" and len(groups) > 1:
            yield from bars(groups.pop(), match.start())
    yield from bars(groups[0], len(text))


def bars(starts: list[int], end: int) -> Iterator[tuple[int, int]]:
    if len(starts) < 2:
        return
    yield from zip(starts, starts[1:])
    yield starts[-1] - 1, end


def is_hint(node: ast.AST) -> bool:
    """Whether it sets a hint, which is part of a message: `hint = "..."`, or `hint="..."` in a call."""
    names = {node.arg} if isinstance(node, ast.keyword) else target_names(node)
    return names == {"hint"} and isinstance(node.value, ast.Constant)


def is_for_type_checkers(node: ast.AST) -> bool:
    """Whether it is `if TYPE_CHECKING:`, a TypeVar, the name of a type, or an overload."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.FunctionDef):
        return any(isinstance(one, ast.Name) and one.id == "overload" for one in node.decorator_list)
    if not isinstance(node, ast.Assign):
        return False
    made = getattr(node.value, "func", getattr(node.value, "value", None))
    return isinstance(made, ast.Name) and made.id in TYPE_MAKERS


def is_false(node: ast.AST) -> bool:
    """Whether it is a false constant: mypy tells those from None, but callers don't."""
    return isinstance(node, ast.Constant) and not node.value


def is_encoding(name: str) -> bool:
    """Whether it names an encoding, which it would still do with a "?"."""
    try:
        return bool(codecs.lookup(name))
    except (LookupError, ValueError):
        return False


def mutate(source: str, mutant: Mutant) -> str:
    """The source with one node replaced."""
    node, lines = mutant.node, [line.encode() for line in source.splitlines(True)]
    first, last = lines[node.lineno - 1], lines[node.end_lineno - 1]
    lines[node.lineno - 1 : node.end_lineno] = [
        first[: node.col_offset] + mutant.text.encode() + last[node.end_col_offset :]
    ]
    return b"".join(lines).decode()


def draw(source: str, chosen: list[str], size: int, seed: int) -> list[Mutant]:
    """Mutants spread over the sections, then over kinds of change."""
    dice = random.Random(seed)
    by_section: dict[str, dict[str, list[Mutant]]] = collections.defaultdict(dict)
    for mutant in mutants(source, chosen):
        by_section[mutant.section].setdefault(mutant.kind, []).append(mutant)
    drawn: list[Mutant] = []
    turn: list[str] = []
    while by_section and len(drawn) < size:
        turn = turn or dice.sample(sorted(by_section), len(by_section))
        section = turn.pop()
        kinds = by_section[section]
        kind = dice.choice(sorted(kinds))
        drawn.append(kinds[kind].pop(dice.randrange(len(kinds[kind]))))
        if not kinds[kind]:
            del kinds[kind]
        if not kinds:
            del by_section[section]
    return drawn


def quick_tests(section: str) -> list[str]:
    """The ids of the tests that a mutant of the section has to pass."""
    wanted = [section, *ALSO_TESTED_BY.get(section, ())]
    text = (ROOT / TESTS).read_text(encoding="utf-8")
    spans = [span for name, span in sections(text.splitlines()).items() if name in wanted]
    names = [
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test")
        and any(node.lineno in span for span in spans)
    ]
    return [f"{TESTS}::{name}" for name in names]


def prepare(folder: Path) -> None:
    """Copy what the tests need, and let pytest rewrite their assertions once, which takes seconds."""
    for name in (MODULE, TESTS, "README.md", "LICENSE", ".pytest.ini", ".pre-commit-hooks.yaml", ".ci"):
        if (ROOT / name).exists():
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


def run_pytest(folder: Path, *args: str, seconds: float = SECONDS) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=seconds, env=env)


def survives(source: str, plan: Plan, prepared: Path) -> bool:
    """Whether the tests pass with this module."""
    try:
        return run_tests(source, prepared, plan.seconds, *plan.tests).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Plan(NamedTuple):
    tests: list[str]  # fastest first, so that most mutants are killed early
    seconds: float  # after which a run counts as hanging


def plan(section: str, prepared: Path) -> Plan:
    """Run the tests of a section without any mutant, to know that they pass and how long they take."""
    source = (ROOT / MODULE).read_text(encoding="utf-8")
    tests = quick_tests(section)
    started = time.monotonic()
    clean = run_tests(source, prepared, SECONDS, "--durations=0", "--durations-min=0", *tests)
    if not tests or clean.returncode:
        print(clean.stdout.decode()[-2000:])
        sys.exit(f"{section}: no tests, or they fail without any mutant")
    taken: collections.Counter[str] = collections.Counter()
    for seconds, test in re.findall(
        r"^([0-9.]+)s (?:setup|call|teardown) +([^\s\[]+)", clean.stdout.decode(), re.M
    ):
        taken[test] += float(seconds)
    return Plan(sorted(tests, key=lambda test: taken[test]), 30 + 4 * (time.monotonic() - started))


def try_mutants(drawn: list[Mutant], jobs: int, prepared: Path) -> int:
    """Run the tests on each mutant and print the survivors; return how many were killed."""
    source = (ROOT / MODULE).read_text(encoding="utf-8")
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        names = sorted({mutant.section for mutant in drawn})
        plans = dict(zip(names, pool.map(lambda name: plan(name, prepared), names)))
        alive = pool.map(lambda one: survives(mutate(source, one), plans[one.section], prepared), drawn)
        killed = 0
        for mutant, survived in zip(drawn, alive):
            killed += not survived
            line = source.splitlines()[mutant.node.lineno - 1].strip()
            outcome = "survives" if survived else "killed"
            change = mutant.text if len(mutant.text) < 200 else f"a {mutant.kind} dropped"
            print(
                f"  {outcome}: {mutant.section}: {MODULE}:{mutant.node.lineno}: {line}  ->  {change}",
                flush=True,
            )
    return killed


def parse_arguments(source: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section", nargs="*", help="default: all of them")
    parser.add_argument("--sample", type=int, help="mutants drawn in all; default: every one")
    parser.add_argument("--seed", type=int, default=int(hashlib.sha256(source.encode()).hexdigest()[:8], 16))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--at-least", type=int, default=0, metavar="N", help="how many must be killed")
    args = parser.parse_args(argv)
    known = [name for name in sections(source.splitlines()) if quick_tests(name)]
    unknown = [name for name in args.section if name not in known]
    if unknown:
        parser.error(f"no section with tests is called {unknown[0]!r}; there are {', '.join(known)}")
    args.section = args.section or known
    return args


def main(argv: list[str]) -> int:
    source = (ROOT / MODULE).read_text(encoding="utf-8")
    args = parse_arguments(source, argv)
    print(f"seed {args.seed}", flush=True)
    if args.sample:
        drawn = draw(source, args.section, args.sample, args.seed)
    else:
        drawn = list(mutants(source, args.section))
    if len(drawn) < (args.sample or 1):
        print(f"only {len(drawn)} mutants could be drawn")
        return 1
    with tempfile.TemporaryDirectory() as prepared:
        prepare(Path(prepared))
        killed = try_mutants(drawn, args.jobs, Path(prepared))
    print(f"{killed} of {len(drawn)} mutants killed, {100 * killed / len(drawn):.0f} %")
    return int(killed < args.at_least)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
