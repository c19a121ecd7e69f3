"""pytest --section NAME [--section NAME …]: run only the tests of these sections, in seconds.

A section is what stands below a banner, `# === Vault store ===`, in the module or in the test file. Its tests
are those below the same banner in the test file, and those from elsewhere that ran its lines when it was last
measured: `pytest --measure-sections` runs all quick tests under coverage (the package), in one process, and
writes the result to sections.tsv. What a test runs in a child process isn't seen. `--measure-lines FOLDER`
writes there which lines each quick test runs, for mutate.py; slow tests run as always.
"""

from __future__ import annotations

import bisect
import collections
import functools
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULE, TESTS = ROOT / "paissive_secrets.py", ROOT / "test_paissive_secrets.py"
MEASURED = Path(__file__).with_suffix(".tsv")  # a section and a test function on each line
BANNER = re.compile(r"(?:\A|(?<=\n\n\n))# === (.+?) =+$", re.M)  # not one in a string of the test file
ENOUGH = 3  # test functions that run a line; more are not added for it
MAX_SECONDS = 0.5  # a test function that takes longer is left out of other sections


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--section", action="append", default=[], metavar="NAME", help="run only the tests of this section"
    )
    parser.addoption(
        "--measure-sections", action="store_true", help="run all quick tests to see which sections they run"
    )
    parser.addoption("--measure-lines", metavar="FOLDER", help="write here which lines each quick test runs")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("measure_sections"):
        config.pluginmanager.register(Measurement())
    if config.getoption("measure_lines"):
        config.pluginmanager.register(LineMeasurement(Path(config.getoption("measure_lines"))))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("section")
    if not chosen:
        return
    sections = [find_section(name) for name in chosen]
    elsewhere = {test for section, test in measured() if section in sections}
    kept = [item for item in items if section_of(item) in sections or function_name(item) in elsewhere]
    dropped = set(items) - set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in dropped])
    items[:] = kept


def find_section(name: str) -> str:
    known = [*banners(MODULE), *(section for section in banners(TESTS) if section not in banners(MODULE))]
    for section in known:
        if section.lower() == name.lower():
            return section
    raise pytest.UsageError(f"no section is called {name!r}; there are {', '.join(known)}")


@functools.lru_cache(None)
def banners(file: Path) -> dict[str, int]:
    return find_banners(file.read_text(encoding="utf-8"))


def find_banners(text: str) -> dict[str, int]:
    """{section: the number of its first line}"""
    return {match[1]: text.count("\n", 0, match.start()) + 1 for match in BANNER.finditer(text)}


def section_at(file: Path, line: int) -> str | None:
    """The section that a line of the module or of the test file stands in."""
    starts = banners(file)
    index = bisect.bisect(list(starts.values()), line)
    return [*starts][index - 1] if index else None


def section_of(item: pytest.Item) -> str | None:
    """The section that a test stands in, or None outside the test file."""
    if item.path != TESTS or not isinstance(item, pytest.Function):
        return None
    return section_at(TESTS, item.function.__code__.co_firstlineno)


def function_name(item: pytest.Item) -> str:
    """The name of a test without its parameters."""
    return getattr(item, "originalname", item.name)


def measured() -> Iterator[tuple[str, str]]:
    """Each section with the test functions from elsewhere that belong to it."""
    for line in MEASURED.read_text(encoding="utf-8").splitlines():
        section, _, test = line.partition("\t")
        yield section, test


class Measurement:
    """Runs the quick tests under coverage, and writes at the end which to run for each section."""

    def __init__(self) -> None:
        self.home: dict[str, str | None] = {}  # of each test function, the section that it stands in
        self.seconds: collections.Counter[str] = collections.Counter()  # that each test function took

    def pytest_sessionstart(self) -> None:
        import coverage  # a package that only this needs

        self.coverage = coverage.Coverage(data_file=None, include=[str(MODULE)], config_file=False)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not item.get_closest_marker("slow")]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        name = function_name(item)
        self.home[name] = section_of(item)
        started = time.monotonic()
        self.coverage.start()
        self.coverage.switch_context(name)
        try:
            yield
        finally:
            self.coverage.stop()
        self.seconds[name] += time.monotonic() - started

    def tests_by_line(self) -> dict[int, list[str]]:
        """The test functions that ran each line of the module."""
        lines = self.coverage.get_data().contexts_by_lineno(str(MODULE))
        return {line: [test for test in tests if test] for line, tests in lines.items()}

    def pytest_sessionfinish(self) -> None:
        runs: dict[str, dict[int, list[str]]] = collections.defaultdict(dict)
        for line, tests in self.tests_by_line().items():
            section = section_at(MODULE, line)
            if section:
                runs[section][line] = tests
        rows = [f"{section}\t{test}\n" for section in banners(MODULE) for test in self.pick(section, runs)]
        new = MEASURED.with_suffix(".new")
        new.write_text("".join(rows), encoding="utf-8")
        os.replace(new, MEASURED)

    def pick(self, section: str, runs: dict[str, dict[int, list[str]]]) -> list[str]:
        """The fastest tests from elsewhere, so that each line of a section is run by ENOUGH if it can be."""
        missing: collections.Counter[int] = collections.Counter()  # how many tests each line still wants
        offers: dict[str, set[int]] = collections.defaultdict(set)
        for line, tests in runs[section].items():
            own = sum(self.home[test] == section for test in tests)
            missing[line] = max(0, ENOUGH - own)
            for test in tests:
                if self.home[test] != section and self.seconds[test] <= MAX_SECONDS:
                    offers[test].add(line)
        picked: list[str] = []
        while offers:
            gain = {test: sum(missing[line] > 0 for line in lines) for test, lines in offers.items()}
            best = max(gain, key=lambda test: (gain[test] / (0.01 + self.seconds[test]), test))
            if not gain[best]:
                break
            picked.append(best)
            missing.subtract(offers.pop(best))
        return sorted(picked)


class LineMeasurement(Measurement):
    """Writes which lines each quick test runs, for mutate.py: a file for each process of pytest-xdist."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run all tests."""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        if item.get_closest_marker("slow"):
            yield
        else:
            yield from super().pytest_runtest_protocol(item)

    def pytest_sessionfinish(self) -> None:
        part = {"seconds": self.seconds, "lines": self.tests_by_line()}
        (self.folder / f"{os.getpid()}.json").write_text(json.dumps(part), encoding="utf-8")
