#!/usr/bin/env python3
# /// script
# dependencies = ["scikit-learn>=1.8"]
# ///
"""Fit the weights of the judgement, and print the table that paissive_secrets.py holds.

    train.py [EVALUATE.PY DATA …] [--exams EXAM …] [--clean DIR …] [--passwords FILE] [--planted N]
             [--labelled N] [--rows] [--write]

Without other data, as in a clone, `train.py --planted 3 --labelled 3` fits the table to lines of planted.py.
EVALUATE.PY scores findings on labelled lines. A DATA folder is one variant of CredData: `meta/*.csv` with
labelled lines, `data/REPOSITORY/…` with files. First, six-fold cross-validation over the repositories
estimates and prints the accuracy; then the table is fitted on everything: logistic regression with an L1
penalty chooses the features, and one with an L2 penalty fits their weights.

--exams adds the judged lines of earlier exams (see exam.py), whose checkouts are still there. One repository
counts only so much, however many findings it has.

--planted adds secrets as generators and people make them, N of each kind in each place (planted.py);
--labelled adds the lines of labelled.tsv, each with N values. --rows
prints for each row of the table of what is no secret how many secrets it alone costs and false findings it
alone saves, by weights that were fitted without the repository; rows that save nothing go.

The weights must not learn artefacts of the data. Its true values were replaced by random letters, which
never hold "pass" or "123" as real ones do, so each true password is also tried with some of --passwords,
which people chose. --clean is for code without secrets. The table in use was fitted with --planted 3,
--labelled 3, the exams of 109 repositories, and three such folders: CPython 3.12's library, the packages that
this project's tests install for Python, and those for npm. No feature names a file, a repository or a secret.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import csv
import functools
import importlib.util
import json
import math
import multiprocessing
import random
import re
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / ".training")]
import planted  # noqa: E402

import paissive_secrets as ps  # noqa: E402

FOLDS = 6
CHOOSING, FITTING = 0.1, 0.5  # inverse strength of the penalty: C of scikit-learn
KEPT = 110  # features in the table
UNLABELLED, CLEAN = 0.5, 0.5  # weight of a line that nobody labelled, and of one of clean code
MOST_OF_EXAM = 150  # weight of all secrets of one repository in an exam, or of all that is none
PLANTED, CHOSEN = 0.4, 0.7  # weight of a planted line, and of a true value as if chosen by a person
CAPPED = 0.5  # weight of what the table of what is no secret drops anyway
RARE = (10, 5)  # features with fewer examples, or in fewer repositories, are not used
WIDTH = 106  # columns of a printed line


class Example:
    """A candidate: its place, its label and features, and whether the verdict caps it."""

    def __init__(self, place, truth, weight, candidate):
        self.variant, self.path, self.line = place
        self.repository = self.path.split("/")[1]
        self.truth, self.weight, self.candidate = truth, weight, candidate
        self.features = tuple(sorted(set(ps.features(candidate))))
        around = {"before": candidate.before, "after": candidate.after}
        texts = {**ps.texts_to_search(candidate.value), **around}
        self.reasons = [
            r.reason for r in ps.properties() if r.where in texts and r.regex.search(texts[r.where])
        ]
        self.capped = bool(ps.reason_against(candidate.value, candidate))

    def confidence(self, score):
        found = ps.confidence_of(score)
        return found and ("low" if self.capped else found)


# --- data ---------------------------------------------------------------------------------------------------


def spans_of(root):
    """{path: [(first line, last line, is it a secret, first column, last column)]}"""
    rows = collections.defaultdict(list)
    for name in sorted((root / "meta").glob("*.csv")):
        with open(name, newline="") as file:
            for row in csv.DictReader(file):
                columns = int(row["ValueStart"] or 0), int(row["ValueEnd"] or 1 << 30)
                truth = row["GroundTruth"] == "T"
                rows[row["FilePath"]].append((int(row["LineStart"]), int(row["LineEnd"]), truth, *columns))
    return rows


def examples(root, passwords):
    """([every candidate of one variant], [what is found without the model])"""
    rows, found, other = spans_of(root), [], []
    for path in sorted((root / "data").rglob("*")):
        name = "data/" + path.relative_to(root / "data").as_posix()
        text = path.read_bytes() if path.is_file() else b"\0"
        if b"\0" not in text[:8000] and not re.search("/(COPYING|LICENSE)", name.upper()):
            found += examples_of(text, (str(root), name), rows.get(name, ()), other, passwords)
    return found, other


def examples_of(text, place, rows, other, passwords=(), unlabelled=UNLABELLED):
    draw = random.Random(len(text))
    starts = [0, *(match.end() for match in re.finditer(b"\n", text))]
    for span in ps.find_spans(text, place[1]):
        line = bisect.bisect_right(starts, span.start)
        candidate = span.candidate
        if candidate is None or not ps.is_scored(span):
            last = bisect.bisect_right(starts, max(span.start, span.end - 1))
            if span.confidence:
                other.append((place[0], place[1], line, last, span.confidence, span.rule.id))
            continue
        column = len(text[starts[line - 1] : span.start].decode("utf-8", "replace"))
        truth, weight = label(rows, line, column, column + len(candidate.value), unlabelled)
        yield Example((*place, line), truth, weight, candidate)
        if truth and weight == 1.0:
            for value, counts in made_up(candidate, draw, passwords):
                yield Example(("made up", place[1], line), True, counts, candidate._replace(value=value))


def made_up(candidate, draw, passwords):
    """Values to try in place of this one, as people choose them."""
    if candidate.kind == "pass" and passwords and re.fullmatch(r"[\w!@#$%^&*.+-]{4,24}", candidate.value):
        for _ in range(2):
            word, way = draw.choice(passwords), draw.random()
            if way < 0.2:
                word = word.title() + draw.choice("-_.!") + draw.choice(passwords).title()
            elif way < 0.6:
                word = word.capitalize() + str(draw.randrange(1, 2030)) + draw.choice(" !!#$@").strip()
            if way < 0.3:
                word = word.translate(str.maketrans("oiea", "01e4"))
            yield word, CHOSEN


def planted_examples(lines):
    """Every candidate on these lines; a generator in a place, or a row, counts as a repository."""
    for secret, group, path, line in lines:
        for span in ps.find_spans(f"\n{line}\n".encode(), path):
            if span.candidate and ps.is_scored(span):
                place = ("planted", f"data/{group.replace('/', '-')}/{path}", 2)
                yield Example(place, secret, PLANTED, span.candidate)


def label(rows, line, start, end, unlabelled):
    """(is it a secret, its weight)"""
    here = [row for row in rows if row[0] <= line <= row[1]]
    true = [row for row in here if row[2]]
    if true:
        return True, float(any(a < end and start < b for *_, a, b in true))  # beside the value: neither
    return False, 1.0 if here else unlabelled


def clean_examples(folders):
    """Every candidate in code without secrets; each subfolder counts as a repository."""
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            text = path.read_bytes() if path.is_file() and path.stat().st_size < 1 << 20 else b"\0"
            if b"\0" not in text[:8000]:
                part = path.relative_to(folder).parts[0]
                yield from examples_of(
                    text, ("clean", f"data/{folder.name}-{part}/{path.name}"), (), [], (), CLEAN
                )


def exam_examples(paths):
    """Every candidate on a judged line of these exams; "n" is the verdict on what is no secret."""
    verdicts = collections.defaultdict(dict)
    for row in (json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()):
        if row["verdict"]:
            verdicts[row["folder"], row["path"]][row["line"]] = row["verdict"]
    found = []
    for (folder, path), of_line in sorted(verdicts.items()):
        file = Path(folder, path)
        text = file.read_bytes() if file.is_file() else b""
        for span in ps.find_spans(text, path):
            line = text.count(b"\n", 0, span.start) + 1
            if line in of_line and span.candidate and ps.is_scored(span):
                place = ("exam", f"data/{Path(folder).name}/{path}", line)
                found.append(Example(place, of_line[line] != "n", 1.0, span.candidate))
    counts = collections.Counter((example.repository, example.truth) for example in found)
    for example in found:
        example.weight = min(1, MOST_OF_EXAM / counts[example.repository, example.truth])
    return found


# --- model --------------------------------------------------------------------------------------------------


def usable(train):
    """The features that occur in enough examples and repositories."""
    seen = collections.defaultdict(lambda: [0, set()])
    for example in train:
        for feature in example.features:
            seen[feature][0] += 1
            seen[feature][1].add(example.repository)
    enough = {name for name, (count, of) in seen.items() if count >= RARE[0] and len(of) >= RARE[1]}
    return enough


def fit(train):
    """{feature: weight} of the features that matter most, fitted again without the others."""
    seen = collections.Counter(f for e in train if e.weight for f in e.features)
    first = regression(train, usable(train), 1, CHOOSING)
    order = sorted(first, key=lambda name: (-abs(first[name]) * seen[name] ** 0.5, name))
    return regression(train, set(order[:KEPT]), 0, FITTING)


def regression(train, use, l1_ratio, strength):
    """{feature: weight in hundredths}"""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train = [e for e in train if e.weight]
    features = CountVectorizer(analyzer=lambda e: use.intersection(e.features), binary=True)
    rows = features.fit_transform(train)
    model = LogisticRegression(
        l1_ratio=l1_ratio, C=strength, solver="liblinear", max_iter=1000, random_state=7
    ).fit(rows, [e.truth for e in train], [e.weight * (CAPPED if e.capped else 1) for e in train])
    weights = dict(zip(features.get_feature_names_out(), model.coef_[0]))
    weights["bias -"] = weights.get("bias -", 0) + model.intercept_[0]
    return {name: round(100 * weight) for name, weight in weights.items() if round(100 * weight)}


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


def cross_validate(data):
    """[(example, its score by weights that were fitted without its repository)]"""
    importlib.import_module("sklearn.linear_model")  # once, and not in each process of the pool
    fold = folds(data)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        parts = [[e for e in data if fold[e.repository] != n] for n in range(FOLDS)]
        weights = pool.map(fit, parts, 1)
    return [(e, sum(weights[fold[e.repository]].get(f, 0) for f in e.features)) for e in data]


def report(scored, other, roots, evaluate):
    judged = [(e, e.confidence(s)) for e, s in scored]
    for root in roots:
        rows = evaluate.labels(root)
        for n in range(1, 4):
            levels = evaluate.LEVELS[:n]
            found = [span[1:] for span in other if span[0] == str(root) and span[4] in levels]
            found += [(e.path, e.line, e.line, level, "") for e, level in judged
                      if level in levels and e.variant == str(root)]  # fmt: skip
            precision, recall, f1 = evaluate.f1(*counts(evaluate, found, rows))
            plain = evaluate.f1(*counts(evaluate, *evaluate.without_uuids(found, rows)))[2]
            (total, hit) = evaluate.score(found, rows)[4]
            figures = f"P {precision:.3f} R {recall:.3f} F1 {f1:.3f} no uuid {plain:.3f}"
            print(
                f"{root} {levels[-1]:7} {figures} passwords {hit['Password'] / max(1, total['Password']):.3f}"
            )
    lines = collections.Counter(level for e, level in judged if e.variant == "clean")
    print("clean code:", dict(lines))
    for secret in (True, False):
        levels = collections.Counter(
            level for e, level in judged if e.variant == "planted" and e.truth == secret
        )
        print("planted secrets:" if secret else "planted, but no secrets:", dict(levels))


def row_report(scored):
    """Print what each row alone costs and saves at medium confidence."""
    costs, saves = collections.Counter(), collections.Counter()
    for example, score in scored:
        if len(example.reasons) == 1 and ps.confidence_of(score) in ("high", "medium") and example.weight:
            (costs if example.truth else saves)[example.reasons[0]] += 1
    for row in ps.properties():
        print(f"{saves[row.reason]:5} saved {costs[row.reason]:5} lost  {row.where}: {row.reason}")


def counts(evaluate, found, rows):
    hit, missed, false, *_ = evaluate.score(found, rows)
    return hit, false, missed


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
    """How common pairs of letters are in Python's own library, from 0 (never) to 9, by logarithm."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = collections.Counter()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for word in re.findall("[a-z]{3,}", path.read_text("utf-8", "replace").lower()):
            pairs.update(a + b for a, b in zip(word, word[1:]))
    mean = sum(pairs.values()) / 676

    def digit(pair):
        return str(max(0, min(9, round(5 + 2.5 * math.log10((pairs[pair] + 0.1) / mean)))))

    return "\n".join("".join(digit(a + b) for b in letters) for a in letters)


def write(name, table):
    path = ROOT / "paissive_secrets.py"
    text = re.sub(
        rf'(?s)\n{name} = r"""\n.*?\n"""', lambda _: f'\n{name} = r"""\n{table}\n"""', path.read_text()
    )
    path.write_text(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evaluate", type=Path, nargs="?")
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--exams", nargs="*", type=Path, default=())
    parser.add_argument("--clean", nargs="*", type=Path, default=())
    parser.add_argument("--passwords", type=Path)
    parser.add_argument("--planted", type=int, default=0, metavar="N")
    parser.add_argument("--labelled", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--pairs", action="store_true", help="make only the table of letter pairs")
    options = parser.parse_args()
    if options.pairs:
        write("_PAIRS", pair_table())
        return
    evaluate = None
    if options.evaluate:
        spec = importlib.util.spec_from_file_location("evaluate", options.evaluate)
        evaluate = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(evaluate)
    passwords = options.passwords.read_text().split() if options.passwords else ()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        parts = pool.map(functools.partial(examples, passwords=passwords), options.data, 1)
    data, other = [e for part, _ in parts for e in part], [s for _, part in parts for s in part]
    data += clean_examples(options.clean)
    data += exam_examples(options.exams)
    if options.planted:
        data += planted_examples(planted.lines(options.seed, options.planted, list(passwords)))
    if options.labelled:
        data += planted_examples(planted.labelled(options.seed, options.labelled))
    print(f"{len(data)} candidates", file=sys.stderr)
    scored = cross_validate(data)
    report(scored, other, options.data, evaluate)
    if options.rows:
        row_report(scored)
    weights = weight_table(fit(data))
    print(weights)
    if options.write:
        write("_WEIGHTS", weights)


if __name__ == "__main__":
    main()
