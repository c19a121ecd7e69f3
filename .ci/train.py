#!/usr/bin/env python3
"""Fit the weights of the judgement, and print the tables that paissive_secrets.py holds.

    train.py DATA [DATA …] [--clean DIR …] [--write]

A DATA folder is one variant of CredData: `meta/*.csv` with labelled lines, `data/REPOSITORY/…` with files.
First every sixth of the repositories is judged by weights that come from the others, which is printed as
accuracy; then the table is fitted on everything. Logistic regression with an L1 penalty (FTRL-Proximal,
McMahan et al. 2013), standard library only, fixed seed: same data, same table. --clean names code that holds
no secret; --write puts the table into the module.

What is an artefact of the data is kept out. Each occurrence of a true value was replaced by another random
one, so none repeats there, as real ones do: that a value repeats is a feature of values without digits only.
No feature names a file, a repository or a secret.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import csv
import math
import random
import re
import string
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import paissive_secrets as ps  # noqa: E402

FOLDS = 6
EPOCHS = 8
RATE, L1, L2 = 0.1, 20.0, 1.0  # FTRL: learning rate, penalties
KEPT = 500  # features in the table
PRIOR = {"brackets cross": 300}  # what the data has too little of: no code and no template looks so
UNLABELLED, CLEAN = 0.5, 0.15  # how much a line counts that nobody labelled, and one of clean code
DRAWN = 0.2  # and one with a value like those that password managers draw, put where a secret stood
RARE = (6, 3)  # fewer examples, or repositories, than these, and a feature is not used
WIDTH = 106  # columns of a printed line


class Example:
    """A candidate: where it stands, its label and features, and what a scan makes of each confidence."""

    def __init__(self, place, truth, weight, features, lowered):
        self.variant, self.path, self.line = place
        self.repository = self.path.split("/")[1]
        self.truth, self.weight, self.features, self.lowered = truth, weight, features, lowered


# --- data ---------------------------------------------------------------------------------------------------


def labels(root):
    """{path: [row]}, with LICENSE and COPYING left out"""
    rows = collections.defaultdict(list)
    for name in sorted((root / "meta").glob("*.csv")):
        with open(name, newline="") as file:
            for row in csv.DictReader(file):
                lines = int(row["LineStart"]), int(row["LineEnd"])
                columns = int(row["ValueStart"] or 0), int(row["ValueEnd"] or 1 << 30)
                rows[row["FilePath"]].append((*lines, row["GroundTruth"] == "T", *columns))
    return rows


def examples(root, structural):
    """Every candidate of one variant; what the other rules find goes to `structural`."""
    rows = labels(root)
    for path in sorted((root / "data").rglob("*")):
        name = "data/" + path.relative_to(root / "data").as_posix()
        if path.is_file() and not re.search("/(COPYING|LICENSE)", name.upper()):
            text = path.read_bytes()
            if b"\0" not in text[:8000]:
                structural += other_findings(text, root.name, name)
                yield from examples_of(text, (root.name, name), rows.get(name, ()))


def other_findings(text, variant, name):
    """What the rules with a structure find."""
    parts = iter((text, b""))
    found = ps.scan(lambda _size: next(parts, b""), name)
    return [(variant, name, m.line, m.end_line, m.confidence) for m in found]


def examples_of(text, place, rows, unlabelled=UNLABELLED):
    draw = random.Random(len(text))
    starts = [0, *(match.end() for match in re.finditer(b"\n", text))]
    for candidate in ps.candidates(text, ps.language_of(place[1])):
        if ps._is_no_value(candidate.value):
            continue
        line = bisect.bisect_right(starts, candidate.start)
        column = len(text[starts[line - 1] : candidate.start].decode("utf-8", "replace"))
        truth, weight = label(rows, line, column, column + len(candidate.value), unlabelled)
        yield Example((*place, line), truth, weight, features_of(candidate, text), lowered(candidate))
        if truth and weight == 1.0 and candidate.quote and candidate.kind != "uuid":
            made = candidate._replace(value=drawn(draw))
            yield Example(("drawn", *place[1:], line), True, DRAWN, features_of(made, text), lowered(made))


def features_of(candidate, text):
    return sorted(set(ps.features(candidate, text)))


def lowered(candidate):
    """{confidence by the weights: confidence that is reported}"""
    value = candidate.value.encode("latin-1")
    providers = ps._providers(candidate) if ps._TOKEN_LIKE.match(value) else []
    return {name: ps.lessened(name, candidate, providers) for name, _ in ps.THRESHOLDS}


def drawn(draw):
    """A value as password managers draw them; the data has few, for it is older than their use."""
    letters = draw.choice(
        (string.ascii_lowercase, string.ascii_letters, string.ascii_letters + string.digits * 2)
    )
    alphabet = letters + "!#$%&()*+,-./:;<=>?@[]^_{|}~" * draw.choice((1, 1, 2))
    return "".join(draw.choice(alphabet) for _ in range(draw.choice((8, 12, 12, 16, 20, 24, 32, 40))))


def label(rows, line, start, end, unlabelled):
    """(is it a secret, how much that counts)"""
    here = [row for row in rows if row[0] <= line <= row[1]]
    true = [row for row in here if row[2]]
    if true:
        return True, float(any(a < end and start < b for *_, a, b in true))  # beside the value: neither
    return False, 1.0 if here else unlabelled


def clean_examples(folders):
    """Every candidate of code that holds no secret; each folder counts as a repository."""
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            text = path.read_bytes() if path.is_file() and path.stat().st_size < 1 << 20 else b"\0"
            if b"\0" not in text[:8000]:
                yield from examples_of(text, ("clean", f"data/{folder.name}/{path.name}"), (), CLEAN)


# --- model --------------------------------------------------------------------------------------------------


def usable(train):
    """The features that enough examples of enough repositories have."""
    seen = collections.defaultdict(lambda: [0, set()])
    for example in train:
        for feature in example.features:
            seen[feature][0] += 1
            seen[feature][1].add(example.repository)
    enough = {name for name, (count, of) in seen.items() if count >= RARE[0] and len(of) >= RARE[1]}
    return enough - PRIOR.keys()


def fit(train):
    """{feature: weight} of the features that matter most, fitted anew without the others."""
    seen = collections.Counter(f for e in train if e.weight for f in e.features)
    first = regression(train, usable(train))
    order = sorted(first, key=lambda name: (-abs(first[name]) * seen[name] ** 0.5, name))
    return {**regression(train, set(order[:KEPT])), **PRIOR}


def regression(train, use, seed=7):
    """{feature: weight in hundredths}"""
    index = {name: n for n, name in enumerate(sorted(use))}
    rows = [([index[f] for f in e.features if f in use], e.truth, e.weight) for e in train if e.weight]
    size, order = len(index), random.Random(seed)
    w, z, n = [0.0] * size, [0.0] * size, [0.0] * size
    l1, l2 = L1, L2
    for _ in range(EPOCHS):
        order.shuffle(rows)
        for active, truth, weight in rows:
            odds = sum([w[i] for i in active])
            error = weight * (1 / (1 + math.exp(-max(-30.0, min(30.0, odds)))) - truth)
            if -0.002 < error < 0.002:
                continue
            square = error * error
            for i in active:
                more = math.sqrt(n[i] + square)
                z[i] += error - (more - math.sqrt(n[i])) / RATE * w[i]
                n[i] += square
                over = abs(z[i]) - l1
                w[i] = -math.copysign(over, z[i]) / (more / RATE + l2) if over > 0 else 0.0
    return {name: round(100 * w[i]) for name, i in index.items() if round(100 * w[i])}


def folds(all_examples):
    """{repository: fold}, the secrets spread evenly."""
    secrets = collections.Counter()
    for example in all_examples:
        secrets[example.repository] += example.truth + 0.001
    load, fold = [0.0] * FOLDS, {}
    for name, count in sorted(secrets.items(), key=lambda item: (-item[1], item[0])):
        fold[name] = load.index(min(load))
        load[fold[name]] += count
    return fold


def cross_validated(data):
    """[(example, score by weights that do not know its repository)]"""
    fold = folds(data)
    for n in range(FOLDS):
        weights = fit([e for e in data if fold[e.repository] != n])
        for e in data:
            if fold[e.repository] == n:
                yield e, sum(weights.get(f, 0) for f in e.features)


# --- scores -------------------------------------------------------------------------------------------------


def accuracy(found, rows):
    """(precision, recall, F1, findings on lines without a label), counted by line"""
    hit, labelled, unlabelled = set(), set(), set()
    for path, first, last in found:
        touched = [
            (row[2], (path, n)) for n, row in enumerate(rows.get(path, ())) if touches(row, first, last)
        ]
        true = {place for truth, place in touched if truth}
        hit |= true
        if not true:
            (labelled if touched else unlabelled).add((path, first))
    lines = {(path, n) for path, i in hit for n in range(rows[path][i][0], rows[path][i][1] + 1)}
    total, false = sum(row[2] for of in rows.values() for row in of), len(labelled - lines)
    precision, recall = len(hit) / max(1, len(hit) + false), len(hit) / total
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return precision, recall, f1, len(unlabelled - lines - labelled)


def touches(row, first, last):
    one_line = row[0] == row[1]
    return row[0] <= last and first <= row[1] and (not one_line or first == row[0] or last - first < 3)


def report(scored, structural, roots):
    sure = [(e, e.lowered[name]) for e, s in scored for name in [ps.confidence_of(s)] if name]
    for root in roots:
        rows = labels(root)
        for n, (confidence, _) in enumerate(ps.THRESHOLDS):
            levels = {name for name, _ in ps.THRESHOLDS[: n + 1]}
            found = [at[1:4] for at in structural if at[0] == root.name and at[4] in levels]
            found += [
                (e.path, e.line, e.line) for e, name in sure if name in levels and e.variant == root.name
            ]
            precision, recall, f1, unlabelled = accuracy(found, rows)
            figures = f"P {precision:.3f} R {recall:.3f} F1 {f1:.3f} unlabelled {unlabelled}"
            print(f"{root.name:8} {confidence:7} {figures}")


# --- tables -------------------------------------------------------------------------------------------------


def weight_table(weights):
    groups = collections.defaultdict(list)
    for name, weight in weights.items():
        group, value = name.split(" ", 1)
        groups[group].append((weight, value))
    lines = []
    for group, items in sorted(groups.items()):
        line = f"{group}:"
        for weight, value in sorted(items, key=lambda item: (-item[0], item[1])):
            word = f" {value} {weight}"
            if len(line) + len(word) > WIDTH:
                lines.append(line)
                line = " "
            line += word
        lines.append(line)
    return "\n".join(lines)


def pair_table():
    """Pairs of letters in the words of Python's own library, from 0 never to 9, by logarithm."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = collections.Counter()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for word in re.findall("[a-z]{3,}", path.read_text("utf-8", "replace").lower()):
            pairs.update(a + b for a, b in zip(word, word[1:]))
    mean = sum(pairs.values()) / 676

    def digit(pair):
        return str(max(0, min(9, round(5 + 2.5 * math.log10((pairs[pair] + 0.1) / mean)))))

    return "\n".join("".join(digit(a + b) for b in letters) for a in letters)


def write(weights, pairs):
    path = ROOT / "paissive_secrets.py"
    text = path.read_text()
    for name, table in (("_WEIGHTS", weights), ("_PAIRS", pairs)):
        text = re.sub(
            rf'(?s)\n{name} = r"""\n.*?\n"""', lambda _, n=name, t=table: f'\n{n} = r"""\n{t}\n"""', text
        )
    path.write_text(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--clean", nargs="*", type=Path, default=())
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--pairs", action="store_true", help="make the letter pairs anew, nothing else")
    options = parser.parse_args()
    if options.pairs:
        write(ps._WEIGHTS.strip("\n"), pair_table())
        return
    structural = []
    ps.weigh = lambda candidate, window: ""  # so that a scan finds what the other rules find
    data = [e for root in options.data for e in examples(root, structural)]
    data += clean_examples(options.clean)
    print(f"{len(data)} candidates", file=sys.stderr)
    report(list(cross_validated(data)), structural, options.data)
    weights = weight_table(fit(data))
    print(weights)
    if options.write:
        write(weights, ps._PAIRS.strip("\n"))


if __name__ == "__main__":
    main()
