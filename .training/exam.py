#!/usr/bin/env python3
"""Examine the audit on repositories that it has never seen, and say how sure the figures are.

    exam.py audit LIST EXAM     audit each checkout of the list, at every confidence
    exam.py judge EXAM          show each finding that nobody has judged, and take a verdict
    exam.py add EXAM NAME PATH LINE VERDICT     a secret that another scanner or a reader has found
    exam.py score EXAM          precision and recall

LIST has a line for each repository: its name, and the folder of its checkout. Write it down before any of
them is scanned, and never change the audit for one of them: the next exam takes others. Who judges should not
be who changed the audit.

EXAM is a file of JSON lines, one for each finding: where it is, and the verdict. It holds no lines of the
repositories; they are read from the checkouts. A verdict is one of

    s   a secret that looks random          c   a password that somebody chose
    w   a word, which authenticates         n   no secret

The first three are right, in tests and samples too, if something authenticates with the value there.

Precision is the mean over the repositories with at least five findings at that confidence or above, so that
no repository decides it; its interval holds 95 of 100 means of repositories drawn again from these. Recall is
of what is known: what the audit found at any confidence, and what was added.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

MODULE = Path(__file__).resolve().parent.parent / "paissive_secrets.py"
RIGHT = {"s": "secrets that look random", "c": "chosen passwords", "w": "words"}
LEVELS = ("high", "medium", "low")
MIN_FINDINGS = 5  # of a repository whose precision counts
RESAMPLES = 2000


def load(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def save(path, rows):
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def checkouts(path):
    """Yield (name, folder) for each line of a list."""
    for line in Path(path).read_text("utf-8").splitlines():
        name, folder = line.split(None, 1)
        yield name, Path(folder).resolve()


# --- audit --------------------------------------------------------------------------------------------------


def audit(options):
    """Write a row for each finding, with the verdict that an earlier exam of the same file has."""
    known = {}
    if Path(options.exam).exists():
        known = {key_of(row): row for row in load(options.exam)}
    rows = {}
    for name, folder in checkouts(options.list):
        for finding in findings(options.module, folder):
            row = {"name": name, "folder": str(folder), "path": finding["path"], "line": finding["line"]}
            row.update(rule=finding["rule"], confidence=finding["confidence"])
            row.update(places=len(finding["locations"]), verdict="")
            row["verdict"] = known.get(key_of(row), row)["verdict"]
            rows[key_of(row)] = row
    missed = {
        key: {**row, "confidence": ""} for key, row in known.items() if key not in rows and row["verdict"]
    }
    save(options.exam, [*rows.values(), *missed.values()])
    print(f"{len(rows)} findings, {len(missed)} known ones are missed")


def key_of(row):
    return row["name"], row["path"], row["line"]


def findings(module, folder):
    """Return the findings in a folder, as JSON has them, with paths relative to it."""
    command = [sys.executable, str(module), "audit", ".", "--confidence", "low", "--untrusted", "--json"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=False)
    return json.loads(done.stdout)["findings"]


# --- verdicts -----------------------------------------------------------------------------------------------


def judge(options):
    rows = load(options.exam)
    todo = [row for row in rows if not row["verdict"]]
    for number, row in enumerate(todo, 1):
        print(f"\n{number} of {len(todo)}: {row['name']} {row['path']}:{row['line']} {row['rule']}")
        print(*lines_around(row), sep="\n")
        verdict = ask()
        if not verdict:
            break
        row["verdict"] = verdict
        save(options.exam, rows)


def ask():
    """Return a verdict, or "" at the end of the input."""
    while True:
        try:
            answer = input("s, c, w or n? ").strip()
        except EOFError:
            return ""
        if answer in (*RIGHT, "n"):
            return answer


def lines_around(row, reach=2):
    """Yield the line of a finding, which is marked, and those beside it."""
    path = Path(row["folder"], row["path"])
    lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
    for number in range(max(1, row["line"] - reach), min(len(lines), row["line"] + reach) + 1):
        mark = ">" if number == row["line"] else " "
        line = "".join(char if char.isprintable() else " " for char in lines[number - 1][:300])
        yield f"{mark} {number:5} {line}"


def add(options):
    rows = load(options.exam)
    row = {"name": options.name, "path": options.path, "line": options.line}
    found = next((known for known in rows if key_of(known) == key_of(row)), None)
    if found is None:
        folder = next((known["folder"] for known in rows if known["name"] == options.name), "")
        found = {**row, "folder": folder, "rule": "", "confidence": "", "places": 1}
        rows.append(found)
    found["verdict"] = options.verdict
    save(options.exam, rows)


# --- score --------------------------------------------------------------------------------------------------


def score(options):
    rows = [row for row in load(options.exam) if row["verdict"]]
    for level in ("high", "medium"):
        chosen = [row for row in rows if row["confidence"] in LEVELS[: LEVELS.index(level) + 1]]
        print(precision_line(level, chosen))
    weak = [row for row in rows if row["rule"] == "weak-password" and row["confidence"] in ("high", "medium")]
    print(f"of these, weak passwords: {count_right(weak)} of {len(weak)} right")
    for verdict, what in RIGHT.items():
        known = [row for row in rows if row["verdict"] == verdict]
        found = sum(row["confidence"] in ("high", "medium") for row in known)
        print(f"found of {what}: {share(found, len(known))} ({found} of {len(known)})")


def count_right(rows):
    return sum(row["verdict"] in RIGHT for row in rows)


def share(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "-"


def precision_line(level, rows):
    """Return the mean precision over repositories, its interval, and the precision of all findings."""
    of_name = defaultdict(list)
    for row in rows:
        of_name[row["name"]].append(row["verdict"] in RIGHT)
    shares = [statistics.mean(found) for found in of_name.values() if len(found) >= MIN_FINDINGS]
    pooled = share(count_right(rows), len(rows))
    if not shares:
        return f"right at {level}: no repository has {MIN_FINDINGS} findings (all findings: {pooled})"
    low, high = interval(shares)
    mean = 100 * statistics.mean(shares)
    return (
        f"right at {level}: {mean:.1f} % [{100 * low:.1f}, {100 * high:.1f}], the mean over {len(shares)}"
        f" repositories (all findings: {pooled} of {len(rows)})"
    )


def interval(shares, seed=1):
    """Return what 95 of 100 means of as many repositories lie between, drawn with replacement."""
    r = random.Random(seed)
    means = sorted(statistics.mean(r.choices(shares, k=len(shares))) for _ in range(RESAMPLES))
    return means[round(0.025 * RESAMPLES)], means[round(0.975 * RESAMPLES) - 1]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("audit")
    command.add_argument("list", type=Path)
    command.add_argument("exam", type=Path)
    command.add_argument("--module", type=Path, default=MODULE)
    commands.add_parser("judge").add_argument("exam", type=Path)
    command = commands.add_parser("add")
    command.add_argument("exam", type=Path)
    command.add_argument("name")
    command.add_argument("path")
    command.add_argument("line", type=int)
    command.add_argument("verdict", choices=list(RIGHT))
    commands.add_parser("score").add_argument("exam", type=Path)
    options = parser.parse_args()
    {"audit": audit, "judge": judge, "add": add, "score": score}[options.command](options)


if __name__ == "__main__":
    main()
