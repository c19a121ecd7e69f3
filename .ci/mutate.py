#!/usr/bin/env python3
"""Break the module one small step at a time, and count how many of the breaks the tests notice.

    mutate.py [SECTION ...] [--sample N] [--seed N] [--jobs N] [--at-least N] [--measured FOLDER]

A mutant makes one change of one of the KINDS, anywhere in a section. It is killed if a quick test fails or
hangs: first come those that run its lines, as all have shown under coverage (the package), then the others,
as long as the outcome depends on them. What survives all of them counts, including what no test could tell
from the original.
Left alone: the fitted weights, texts of errors and hints, annotations, docstrings, imports, blocks that only
a type checker reads, and keywords and calls that can't be left out without an error of Python's.

--sample draws N mutants: a section at random, a kind of change that it has, and one such change; no section
is drawn twice before each was drawn once. The seed comes from the module's text unless given, so another run
on the same commit is no second chance. If fewer than --at-least mutants are killed, N more are drawn, and
twice as many have to be killed in all, since a small sample misleads. It ends as soon as enough are killed.
Exit status 1: too few were killed, fewer than N could be drawn, or the tests fail without a mutant. Run it
with the Python that has the test packages. --measured spares a run of all quick tests that shows which lines
each test runs: FOLDER has what `pytest --measure-lines FOLDER` wrote for this version.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import codecs
import collections
import concurrent.futures
import contextlib
import copy
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import sections as tests_of_sections

ROOT = Path(__file__).resolve().parent.parent
MODULE, TESTS = "paissive_secrets.py", "test_paissive_secrets.py"
FITTED = {"_WEIGHTS"}  # tables that are fitted to data: a test can't have an opinion on a row
SECONDS_OF_ALL = 600  # a longer run of all quick tests counts as hanging
SECONDS_OF_ONE = 20  # so does a test that takes longer than this and five times what it takes otherwise
RUNNING: set[subprocess.Popen] = set()  # runs of tests that are under way
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
NAME_PAIRS = (  # functions and methods to swap
    ("min", "max"),
    ("any", "all"),
    ("startswith", "endswith"),
    ("lstrip", "rstrip"),
    ("partition", "rpartition"),
    ("find", "rfind"),
    ("match", "fullmatch"),
    ("stat", "lstat"),
)
NAME_SWAPS = {one: other for pair in NAME_PAIRS for one, other in (pair, pair[::-1])}
CONVERTERS = {"abs", "all", "any", "ascii", "float", "int", "max", "min", "repr", "reversed", "sorted"}
CONVERTERS |= {f"os.path.{name}" for name in ("abspath", "basename", "dirname", "expanduser", "realpath")}
CONVERTERS |= {"os.fsdecode", "os.fsencode", "re.escape", "shlex.quote", "html.escape", "html.unescape"}
CONVERTING_METHODS = {"strip", "lstrip", "rstrip", "lower", "upper", "casefold", "resolve", "expanduser"}
KEYWORDS_TO_KEEP = {"hint", "encoding", "maxsize"}  # a text, and what no test on one machine can tell

Change = tuple[ast.AST, str]  # a node and its replacement


class Mutant(NamedTuple):
    section: str
    kind: str  # one of KINDS
    node: ast.AST
    text: str  # its replacement


class Source(NamedTuple):
    lines: list[bytes]
    bases: dict[str, str]  # of each class, those of Python included
    converters: set[str]  # functions whose result can be replaced by their argument
    makers: set[str]  # functions that return an object of a class, a match, or None
    required: set[tuple[str, str]]  # (function or class, keyword) where leaving the keyword out is an error


def sections(text: str) -> dict[str, range]:
    """The line numbers of each section, by its banner."""
    starts = tests_of_sections.find_banners(text)
    ends = [*list(starts.values())[1:], text.count("\n") + 2]
    return {name: range(start, end) for (name, start), end in zip(starts.items(), ends)}


def mutants(source: str, chosen: list[str]) -> Iterator[Mutant]:
    """Every mutant of the chosen sections."""
    tree = ast.parse(source)
    spans = sections(source)
    bases = bases_of_classes(tree)
    text = Source(
        lines=[line.encode() for line in source.splitlines(True)],
        bases=bases,
        converters=CONVERTERS | set(find_converters(tree)),
        makers={*bases, *find_makers(tree, bases)},
        required=set(required_keywords(tree)),
    )
    for statement in tree.body:
        section = next((name for name in chosen if statement.lineno in spans[name]), None)
        if section is None or target_names(statement) & FITTED:
            continue
        yield from (Mutant(section, *change) for change in changes(statement, text))


def bases_of_classes(tree: ast.Module) -> dict[str, str]:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    bases = {node.name: ast.unparse(node.bases[0]) if node.bases else "object" for node in classes}
    for name, kind in vars(builtins).items():
        if isinstance(kind, type) and issubclass(kind, Exception):
            bases[name] = kind.__base__.__name__
    return bases


def find_converters(tree: ast.Module) -> Iterator[str]:
    """The names of functions that return a bool, or the type that they take."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns:
            taken = [one.annotation for one in node.args.args if one.annotation][:1]
            if ast.unparse(node.returns) in ("bool", *map(ast.unparse, taken)):
                yield node.name


def is_object(annotation: ast.expr | None, bases: dict[str, str]) -> bool:
    """Whether a type is that of objects that are always true, or None."""
    kind = ast.unparse(annotation).removesuffix(" | None") if annotation else ""
    return kind in bases or kind.startswith(("re.Match", "Callable"))


def find_makers(tree: ast.Module, bases: dict[str, str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and is_object(node.returns, bases):
            yield node.name


def required_keywords(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            optional = len(node.args.defaults)
            named = node.args.args[: len(node.args.args) - optional]
            named += [one for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults) if value is None]
            yield from ((node.name, one.arg) for one in named)
        elif isinstance(node, ast.ClassDef):
            fields = (one for one in node.body if isinstance(one, ast.AnnAssign) and one.value is None)
            yield from ((node.name, ast.unparse(one.target)) for one in fields)


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


def changes(root: ast.AST, source: Source) -> Iterator[tuple[str, ast.AST, str]]:
    """(kind, node, replacement) for each change inside."""
    pending: collections.deque[ast.AST] = collections.deque([root])
    while pending:
        node = pending.popleft()
        if isinstance(node, (ast.Import, ast.ImportFrom)) or is_hint(node) or is_for_type_checkers(node):
            continue
        yield from replacements(node, source)
        pending.extend(parts(node))


def parts(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that may be changed."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        arguments = getattr(node, "args", None)
        defaults = [*arguments.defaults, *filter(None, arguments.kw_defaults)] if arguments else []
        return [*without_docstring(node), *defaults, *node.decorator_list]
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "cast":
        return node.args[1:]  # the first is an annotation
    if isinstance(node, (ast.Raise, ast.JoinedStr)):
        return []
    return list(ast.iter_child_nodes(node))


def without_docstring(node: ast.FunctionDef | ast.ClassDef) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) is not None else node.body


def replacements(node: ast.AST, source: Source) -> Iterator[tuple[str, ast.AST, str]]:
    """(kind, node, replacement): the changes of the node itself."""
    for kind, change in KINDS.items():
        yield from ((kind, changed, text) for changed, text in change(node, source))


def without(node: ast.AST, field: str, index: int) -> str:
    """The node without one element of a list that it has."""
    changed = copy.deepcopy(node)
    del getattr(changed, field)[index]
    return f"({ast.unparse(changed)})"


def constants(node: ast.AST, source: Source) -> Iterator[Change]:
    if isinstance(node, ast.Constant):
        yield from ((node, text) for text in other_constants(node.value))
    elif isinstance(node, ast.JoinedStr):
        yield node, f"({segment(node, source.lines)} + '?')"


def expressions(node: ast.AST, source: Source) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and is_raw(node, source.lines):
        yield from ((node, text) for text in weaker_expressions(node.value))


def rows(node: ast.AST, source: Source) -> Iterator[Change]:
    if isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
        yield from ((node, text) for text in without_each_row(node))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from ((node, repr(text)) for text in without_each_line(node.value))


def statements(node: ast.AST, source: Source) -> Iterator[Change]:
    if isinstance(node, (ast.Raise, ast.AugAssign, ast.Continue, ast.Break, ast.Delete)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield node, "pass"
    elif isinstance(node, ast.Return) and node.value is not None and not is_false(node.value):
        yield node, "return None"
    elif isinstance(node, ast.FunctionDef):
        yield from ((found, "pass") for found in early_returns(node.body, is_last=True))


def operators(node: ast.AST, source: Source) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[index] = SWAPS[type(operator)]()
            yield node, f"({ast.unparse(changed)})"
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS:
        changed = copy.deepcopy(node)
        changed.op = SWAPS[type(node.op)]()
        yield node, f"({ast.unparse(changed)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, f"bool({ast.unparse(node.operand)})"


def operands(node: ast.AST, source: Source) -> Iterator[Change]:
    """One operand of `and` or `or` dropped."""
    if isinstance(node, ast.BoolOp):
        yield from ((node, without(node, "values", index)) for index in range(len(node.values)))


def calls(node: ast.AST, source: Source) -> Iterator[Change]:
    """`f(x)` and `x.strip()` become `x`; a call that is a statement is dropped as such."""
    for call in () if isinstance(node, ast.Expr) else parts(node):
        if isinstance(call, ast.Call):
            yield from ((call, f"({ast.unparse(one)})") for one in converted(call, source))


def converted(call: ast.Call, source: Source) -> list[ast.expr]:
    """What a call converts, or nothing."""
    function = ast.unparse(call.func)
    name = function.removeprefix("self.")
    if "." in name and name.rpartition(".")[2] in CONVERTING_METHODS:
        return [call.func.value]
    is_single = len(call.args) == 1 and not isinstance(call.args[0], ast.Starred)
    return call.args if is_single and name in source.converters else []


def keywords(node: ast.AST, source: Source) -> Iterator[Change]:
    """One keyword of a call dropped."""
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func).rpartition(".")[2]
    for index, keyword in enumerate(node.keywords):
        is_needed = keyword.arg in KEYWORDS_TO_KEEP or (name, keyword.arg) in source.required
        if keyword.arg and not is_needed and not is_none(keyword.value):
            yield node, without(node, "keywords", index)


def truths(node: ast.AST, source: Source) -> Iterator[Change]:
    """`x is None` becomes `not x`, and the other way round in a condition, unless both are the same."""
    if not isinstance(node, ast.FunctionDef):
        return
    inside = list(statements_and_expressions(node))
    same = always_true(node, inside, source)
    for one in inside:
        if isinstance(one, ast.Compare) and is_none(one.comparators[0]) and ast.unparse(one.left) not in same:
            truth = "not" if isinstance(one.ops[0], ast.Is) else "bool"
            yield one, f"({truth} ({ast.unparse(one.left)}))"
        for test in getattr(one, "ifs", [one.test] if isinstance(one, (ast.If, ast.IfExp)) else []):
            for leaf in conditions(test):
                if isinstance(leaf, (ast.Name, ast.Attribute)) and ast.unparse(leaf) not in same:
                    yield leaf, f"({ast.unparse(leaf)} is not None)"


def always_true(function: ast.FunctionDef, inside: list[ast.AST], source: Source) -> set[str]:
    """The variables of a function that hold an object of a class, a match, or None."""
    names = {
        one.arg
        for one in function.args.args + function.args.kwonlyargs
        if is_object(one.annotation, source.bases)
    }
    for one in inside:
        call = getattr(one, "value", None)
        if isinstance(one, (ast.Assign, ast.NamedExpr)) and isinstance(call, ast.Call):
            made_by = ast.unparse(call.func).rpartition(".")[2]
            if made_by in ("match", "fullmatch", "search") or made_by in source.makers:
                names.update(map(ast.unparse, getattr(one, "targets", [getattr(one, "target", one)])))
    return names


def statements_and_expressions(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """What may be changed in a function, without the functions in it."""
    pending = parts(function)
    while pending:
        node = pending.pop()
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not is_hint(node):
            yield node
            pending.extend(parts(node))


def handlers(node: ast.AST, source: Source) -> Iterator[Change]:
    """One type of an `except` dropped, or its base class caught as well."""
    if not isinstance(node, ast.ExceptHandler) or node.type is None:
        return
    yield from ((node.type, text) for text in fewer_types(node.type))
    for one in node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]:
        base = source.bases.get(ast.unparse(one), "Exception")
        if base not in ("Exception", "BaseException", "object"):
            yield one, base


def slices(node: ast.AST, source: Source) -> Iterator[Change]:
    """A bound of a slice dropped."""
    if isinstance(node, ast.Slice):
        for bound in ("lower", "upper", "step"):
            if getattr(node, bound) is not None:
                changed = copy.deepcopy(node)
                setattr(changed, bound, None)
                yield node, ast.unparse(changed)


def ends(node: ast.AST, source: Source) -> Iterator[Change]:
    """The first element becomes the last, and the other way round."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        other = {"0": "-1", "-1": "0"}.get(ast.unparse(node.slice))
        if other and "match" not in ast.unparse(node.value):  # which has no last group
            yield node.slice, other


def names(node: ast.AST, source: Source) -> Iterator[Change]:
    """A function becomes its opposite."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAME_SWAPS:
        yield node.func, NAME_SWAPS[node.func.id]
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) in NAME_SWAPS:
        yield node.func, f"{ast.unparse(node.func.value)}.{NAME_SWAPS[node.func.attr]}"


KINDS = {  # what finds the changes of each kind in a node
    "constant": constants,
    "expression": expressions,  # an alternative or an anchor of a regular expression dropped
    "row": rows,  # of a table, dropped
    "statement": statements,  # dropped; an early return as well, or what it returns
    "operator": operators,
    "operand": operands,
    "call": calls,
    "keyword": keywords,
    "truth": truths,
    "except": handlers,
    "slice": slices,
    "end": ends,
    "name": names,
}


def early_returns(block: Iterable[ast.stmt], is_last: bool) -> Iterator[ast.Return]:
    """The returns that something in the function follows; without the last one, it returns None anyway."""
    block = list(block)
    for number, statement in enumerate(block, 1):
        ends_function = is_last and number == len(block) and not isinstance(statement, (ast.For, ast.While))
        if isinstance(statement, ast.Return) and not ends_function:
            yield statement
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from early_returns(getattr(statement, field, ()), ends_function)
        for handler in getattr(statement, "handlers", ()):
            yield from early_returns(handler.body, ends_function)


def conditions(test: ast.expr) -> Iterator[ast.expr]:
    """What a condition consists of, without `and`, `or` and `not`."""
    if isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from conditions(value)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from conditions(test.operand)
    else:
        yield test


def is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


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
    tokens = r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P=)?\w+\)|\((?:\?(?:P?<\w+>|<?[=!]|[\w-]*[:>]))?|[)|]"
    for match in re.finditer(tokens, text, re.S):
        token = match[0]
        if token.endswith(")") and token != ")":  # flags, or a group again
            continue
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


class Measured(NamedTuple):
    """What a run of all quick tests without any mutant has shown of each test function."""

    runs: dict[int, set[str]]  # of each line of the module, the tests that run it
    seconds: dict[str, float]  # that each test takes


def measure(prepared: Path, jobs: int) -> Measured:
    """Run all quick tests under coverage; they have to pass."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["-m", "not slow", "-n", str(jobs), "--dist", "worksteal", f"--measure-lines={folder}"]
        done = run_pytest(prepared, *options)
        if done.returncode:
            print((done.stdout + done.stderr).decode()[-2000:])
            sys.exit("the tests fail without any mutant")
        return read_measured(Path(folder))


def read_measured(folder: Path) -> Measured:
    """What `pytest --measure-lines` wrote to a folder, a file for each process that ran tests."""
    seconds: collections.Counter[str] = collections.Counter()
    runs: dict[int, set[str]] = collections.defaultdict(set)
    for path in folder.iterdir():
        part = json.loads(path.read_bytes())
        seconds.update(part["seconds"])
        for line, tests in part["lines"].items():
            runs[int(line)].update(tests)
    return Measured(runs, seconds)


def near_tests(mutant: Mutant, measured: Measured) -> list[str]:
    """The tests that run a line of the mutant, or those of its section if none does, in the best order."""
    lines = range(mutant.node.lineno, mutant.node.end_lineno + 1)
    near = set().union(*(measured.runs.get(line, ()) for line in lines))
    return in_order(near or tests_of_section(mutant.section), mutant, measured)


def other_tests(mutant: Mutant, measured: Measured) -> list[str]:
    """All tests but those of `near_tests`, in the best order."""
    return in_order(measured.seconds.keys() - set(near_tests(mutant, measured)), mutant, measured)


def in_order(tests: Iterable[str], mutant: Mutant, measured: Measured) -> list[str]:
    """Those of the mutant's section first, then the fastest."""
    own = tests_of_section(mutant.section)
    known = measured.seconds.keys() & tests
    return sorted(known, key=lambda test: (test not in own, measured.seconds[test]))


def tests_of_section(section: str) -> set[str]:
    """The tests below the banner of a section, and those from elsewhere that were measured for it."""
    text = (ROOT / TESTS).read_text(encoding="utf-8")
    span = sections(text).get(section, range(0))
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    own = {node.name for node in functions if node.lineno in span and node.name.startswith("test")}
    return own | {test for name, test in tests_of_sections.measured() if name == section}


def prepare(folder: Path) -> None:
    """Copy what the tests need, and let pytest rewrite their assertions once, which takes seconds."""
    for name in (
        MODULE,
        TESTS,
        "README.md",
        "LICENSE",
        ".pytest.ini",
        ".pre-commit-hooks.yaml",
        ".ci",
        ".training",
    ):
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


def run_pytest(folder: Path, *args: str, seconds: float = SECONDS_OF_ALL) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **outputs) as process:
        RUNNING.add(process)
        try:
            out, errors = process.communicate(timeout=seconds)
        finally:
            RUNNING.remove(process)
            end(process)
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def end(process: subprocess.Popen) -> None:
    """Kill a run of tests, and the servers that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def survives(source: str, tests: list[str], measured: Measured, prepared: Path) -> bool:
    """Whether these tests pass with this module in the time that they may take; none do."""
    if not tests:
        return True
    seconds = [measured.seconds[test] for test in tests]
    limit = SECONDS_OF_ONE + 5 * max(seconds)
    try:
        done = run_tests(
            source,
            prepared,
            min(30 + 4 * sum(seconds), SECONDS_OF_ALL),
            f"--override-ini=timeout={limit:.0f}",
            *(f"{TESTS}::{test}" for test in tests),
        )
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Gate(NamedTuple):
    """What is needed to try mutants."""

    source: str
    measured: Measured
    prepared: Path
    jobs: int

    def try_mutants(self, drawn: list[Mutant], needed: int) -> int:
        """Run the tests on each mutant and print the outcome; return how many were killed.

        The tests that run its lines come first; what survives them has to pass the others as well. It ends
        as soon as `needed` are killed; 0: when each was tried.
        """
        killed, survivors = self.run_near_or_others(near_tests, drawn, needed)
        report(
            "stopped, as enough are killed", [m for m in drawn if m not in killed + survivors], self.source
        )
        while survivors and not 0 < needed <= len(killed):
            batch, survivors = survivors[: self.jobs], survivors[self.jobs :]
            more, left = self.run_near_or_others(other_tests, batch, max(0, needed - len(killed)))
            killed += more
            report("survives", left, self.source)
        report("survives the tests that run its lines", survivors, self.source)
        return len(killed)

    def run_near_or_others(
        self, choose: Callable[[Mutant, Measured], list[str]], drawn: list[Mutant], needed: int
    ) -> tuple[list[Mutant], list[Mutant]]:
        """The mutants that these tests kill, and those that pass them; once `needed` are killed, the rest
        is stopped, and is in neither."""
        tests = [choose(mutant, self.measured) for mutant in drawn]
        seconds = [sum(self.measured.seconds[test] for test in run) for run in tests]
        killed: list[Mutant] = []
        survivors: list[Mutant] = []
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            runs = {
                pool.submit(self.is_alive, drawn[index], tests[index]): drawn[index]
                for index in sorted(range(len(drawn)), key=seconds.__getitem__)  # which decides soonest
            }
            for run in concurrent.futures.as_completed(runs):
                outcome = survivors if run.result() else killed
                outcome.append(runs[run])
                if outcome is killed:
                    report("killed", [runs[run]], self.source)
                if 0 < needed <= len(killed):
                    stop(runs)
                    break
        return killed, survivors

    def is_alive(self, mutant: Mutant, tests: list[str]) -> bool:
        return survives(mutate(self.source, mutant), tests, self.measured, self.prepared)


def stop(runs: Iterable[concurrent.futures.Future]) -> None:
    """End what has not ended yet."""
    for run in runs:
        run.cancel()
    while concurrent.futures.wait(runs, timeout=0.2).not_done:  # one that starts meanwhile, too
        for process in list(RUNNING):
            end(process)


def report(outcome: str, mutants: list[Mutant], source: str) -> None:
    for mutant in mutants:
        line = source.splitlines()[mutant.node.lineno - 1].strip()
        change = mutant.text if len(mutant.text) < 200 else f"a {mutant.kind} dropped"
        print(
            f"  {outcome}: {mutant.section}: {MODULE}:{mutant.node.lineno}: {line}  ->  {change}", flush=True
        )


def parse_arguments(source: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section", nargs="*", help="default: all of them")
    parser.add_argument("--sample", type=int, help="mutants drawn in all; default: every one")
    parser.add_argument("--seed", type=int, default=int(hashlib.sha256(source.encode()).hexdigest()[:8], 16))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--at-least", type=int, default=0, metavar="N", help="how many must be killed")
    parser.add_argument("--measured", type=Path, metavar="FOLDER", help="default: measure the tests first")
    args = parser.parse_args(argv)
    known = list(sections(source))
    unknown = [name for name in args.section if name not in known]
    if unknown:
        parser.error(f"no section is called {unknown[0]!r}; there are {', '.join(known)}")
    args.section = args.section or known
    return args


def main(argv: list[str]) -> int:
    source = (ROOT / MODULE).read_text(encoding="utf-8")
    args = parse_arguments(source, argv)
    print(f"seed {args.seed}", flush=True)
    if args.sample:
        drawn = draw(source, args.section, 2 * args.sample, args.seed)
        rounds = [drawn[: args.sample], drawn[args.sample :]]
    else:
        rounds = [list(mutants(source, args.section))]
    if len(rounds[0]) < (args.sample or 1):
        print(f"only {len(rounds[0])} mutants could be drawn")
        return 1
    killed = tried = needed = 0
    with tempfile.TemporaryDirectory() as prepared:
        prepare(Path(prepared))
        measured = read_measured(args.measured) if args.measured else measure(Path(prepared), args.jobs)
        gate = Gate(source, measured, Path(prepared), args.jobs)
        for mutants_of_round in rounds:
            needed += args.at_least
            killed += gate.try_mutants(mutants_of_round, needed - killed)
            tried += len(mutants_of_round)
            print(f"{killed} of {tried} mutants killed, {100 * killed / tried:.0f} %", flush=True)
            if killed >= needed:
                return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
