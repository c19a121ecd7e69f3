"""What makes the weights of the section Judgement, and the exams that measure an audit."""

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import paissive_secrets as ps

TRAINING = Path(__file__).resolve().parent
ROOT, MODULE = TRAINING.parent, Path(ps.__file__).resolve()
GUESSED = "".join(("tr0ub4dor", "&3"))
TOKEN = "".join(("c94f", "0e1b", "77a2", "5d3e", "86fc", "a01b", "4e9d", "2c38"))


def script(name):
    spec = importlib.util.spec_from_file_location(name, TRAINING / f"{name}.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


@pytest.fixture
def trainer(monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    return script("train")


@pytest.fixture
def planted():
    return script("planted")


def test_the_trainer_makes_examples_of_planted_lines(trainer):
    lines = itertools.islice(trainer.planted.lines(1, 1, []), 200)
    examples = trainer.planted_examples(lines)
    assert {(example.truth, example.weight) for example in examples} >= {(True, trainer.PLANTED)}


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


def exam(*args, answers=""):
    """What .training/exam.py prints."""
    command = [sys.executable, ROOT / ".training" / "exam.py", *map(str, args)]
    return subprocess.run(command, input=answers, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkouts(tmp_path):
    """A list of two checkouts with findings, which nobody has judged."""
    for name, text in (
        ("one", f'password = "{GUESSED}"\n' + f'API_KEY = "{TOKEN}"\n'),
        ("two", "PASSWORD=" + "admin7\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.env").write_text(text)
    (tmp_path / "list").write_text(f"ada/one {tmp_path}/one\nada/two {tmp_path}/two\n")
    return tmp_path


def test_an_exam_shows_each_finding_with_its_line_and_takes_verdicts(checkouts):
    paths = checkouts / "list", checkouts / "exam"
    assert exam("audit", *paths) == "3 findings, 0 known ones are missed\n"
    said = exam("judge", paths[1], answers="x\nc\nn\nw\n")
    assert said.count("s, c, w or n? ") == 4 and f'>     2 API_KEY = "{TOKEN}"' in said
    exam("add", paths[1], "ada/two", "a.env", 9, "s")
    assert exam("score", paths[1]).splitlines() == [
        "right at high: no repository has 5 findings (all findings: 50.0 %)",
        "right at medium: no repository has 5 findings (all findings: 66.7 %)",
        "of these, weak passwords: 1 of 1 right",
        "found of secrets that look random: 0.0 % (0 of 1)",
        "found of chosen passwords: 100.0 % (1 of 1)",
        "found of words: 100.0 % (1 of 1)",
    ]
    assert TOKEN not in paths[1].read_text() and GUESSED not in paths[1].read_text()


def test_an_exam_keeps_its_verdicts_when_it_is_taken_again(checkouts):
    paths = checkouts / "list", checkouts / "exam"
    exam("audit", *paths)
    exam("judge", paths[1], answers="c\ns\nw\n")
    (checkouts / "two" / "a.env").write_text("")
    assert exam("audit", *paths) == "2 findings, 1 known ones are missed\n"
    assert "found of words: 0.0 % (0 of 1)" in exam("score", paths[1])


def test_the_precision_of_an_exam_is_the_mean_over_repositories_with_an_interval(tmp_path):
    rows = []
    for name, right in (("a", 10), ("b", 5), ("c", 0)):
        for n in range(10):
            verdict = "s" if n < right else "n"
            row = {"name": name, "folder": "", "path": "x", "line": n, "rule": "key", "confidence": "high"}
            rows.append({**row, "places": 1, "verdict": verdict})
    rows += [{**row, "name": "d"} for row in rows[:4]]  # too few to count
    (tmp_path / "exam").write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = "right at high: 50.0 % [0.0, 100.0], the mean over 3 repositories (all findings: 55.9 % of 34)"
    assert exam("score", tmp_path / "exam").splitlines()[0] == line


SCORES = """
LEVELS = ("high", "medium", "low")
labels = lambda root: {}
score = lambda found, rows: (len(found), 0, 0, 0, ({"Password": 1}, {"Password": 1}))
without_uuids = lambda found, rows: (found, rows)
f1 = lambda tp, fp, fn: (1.0, 1.0, 1.0) if tp and not fp + fn else (0.0, 0.0, 0.0)
"""


def train(*runs):
    """What .training/train.py prints for each of these arguments, importing scikit-learn once."""
    code = "import json, runpy, sys\n"
    code += "for sys.argv in json.loads(sys.argv[1]):\n"
    code += "    for name in ('planted', 'paissive_secrets'): sys.modules.pop(name, None)\n"
    code += "    runpy.run_path(sys.argv[0], run_name='__main__'); print('@')\n"
    command = [sys.executable, "-c", code, json.dumps([[str(word) for word in run] for run in runs])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("@\n")[:-1]


def write_labelled_lines(folder):
    """Write labelled data, a folder without secrets, and what scores findings."""
    (folder / "clean").mkdir()
    (folder / "clean" / "a.py").write_text('password = "string"\n')
    (folder / "dev" / "meta").mkdir(parents=True)
    head = "FilePath,LineStart,LineEnd,GroundTruth,ValueStart,ValueEnd,Category\n"
    for n in range(7):
        name = f"data/repo{n}/src/a.py"
        file = folder / "dev" / name
        file.parent.mkdir(parents=True)
        secrets = [f'password = "{TOKEN[i % 20 :]}{i}"\napi_key = "some_name_1"\n' for i in range(12)]
        file.write_text("".join(secrets))
        rows = [f"{name},{i + 1},{i + 1},{'FT'[i % 2 == 0]},,,Password\n" for i in range(24)]
        (folder / "dev" / "meta" / f"{n}.csv").write_text(head + "".join(rows))
    (folder / "evaluate.py").write_text(SCORES)


def test_the_trainer_learns_weighs_each_row_repeats_itself_and_fits_planted_lines_alone_in_a_clone(tmp_path):
    write_labelled_lines(tmp_path)
    labelled = [ROOT / ".training" / "train.py", tmp_path / "evaluate.py", tmp_path / "dev"]
    labelled += ["--clean", tmp_path / "clean", "--rows"]
    shutil.copytree(ROOT / ".training", tmp_path / ".training")
    module = Path(shutil.copy2(MODULE, tmp_path))
    with open(tmp_path / ".training" / "planted.py", "a") as file:  # to draw a tenth of the lines
        file.write("dice, all_lines = random.Random(1), lines\n")
        file.write("def lines(*args):\n")
        file.write("    return (line for line in all_lines(*args) if dice.random() < 0.1)\n")
    clone = [
        tmp_path / ".training" / "train.py",
        "--planted",
        "1",
        "--labelled",
        "1",
        "--seed",
        "7",
        "--write",
    ]
    (first,), (again, planted) = train(labelled), train(labelled, clone)  # whose sets are in another order
    assert first == again and "medium  P 1.000 R 1.000 F1 1.000 no uuid 1.000" in first
    assert re.search(r"(?m)^classes: \w+ -?\d+", first)
    rows = re.findall(r"(?m)^ *\d+ saved +\d+ lost  ([\w ]+: .+)$", first)
    assert rows == [f"{row.where}: {row.reason}" for row in ps.properties()]
    table = planted[planted.index("\nbias: ") + 1 :].rstrip("\n")
    assert module.read_text() == MODULE.read_text().replace(ps._WEIGHTS.strip("\n"), table)
