"""pytest --section NAME [--section NAME …]: run only the tests of these sections, in seconds.

A section is what stands below a banner, `# === Vault store ===`, in the module or in the test file. Its tests
are those below the same banner in the test file.
"""

from __future__ import annotations

import bisect
import functools
import re
from pathlib import Path

import pytest

BANNER = re.compile(r"^# === (.+?) =+$", re.M)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--section", action="append", default=[], metavar="NAME", help="run only the tests of this section"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("section")
    if not chosen:
        return
    tests = config.rootpath / "test_paissive_secrets.py"
    known = {*banners(tests), *banners(config.rootpath / "paissive_secrets.py")}
    wanted = {find_section(name, known) for name in chosen}
    kept = [item for item in items if section_of(item, tests) in wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@functools.lru_cache(None)
def banners(file: Path) -> dict[str, int]:
    """{section: the number of its first line}"""
    text = file.read_text(encoding="utf-8")
    return {match[1]: text.count("\n", 0, match.start()) + 1 for match in BANNER.finditer(text)}


def find_section(name: str, known: set[str]) -> str:
    for section in known:
        if section.lower() == name.lower():
            return section
    raise pytest.UsageError(f"no section is called {name!r}; there are {', '.join(sorted(known))}")


def section_of(item: pytest.Item, tests: Path) -> str | None:
    """The section that a test stands in, or None outside the test file."""
    if item.path != tests or not isinstance(item, pytest.Function):
        return None
    starts = banners(tests)
    index = bisect.bisect(list(starts.values()), item.function.__code__.co_firstlineno)
    return [*starts][index - 1] if index else None
