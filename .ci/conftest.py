"""Compile the tests once, assertions rewritten, and load what was compiled in every worker.

It happens in a process of its own, since a process that forks many others had better be small; and garbage is
collected rarely meanwhile, or it takes half as long again.
"""

import contextlib
import gc
import importlib
import os
import sys
import warnings

import pytest

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

gc.set_threshold(100_000, 20, 100)
sys.dont_write_bytecode = False


@pytest.hookimpl(hookwrapper=True)
def pytest_collection(session):
    with open(__file__, "rb") as lock, contextlib.suppress(OSError):  # of a file system without locks
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
            compile_tests(session.config.rootpath)
    yield


def compile_tests(folder, name="test_paissive_secrets"):
    """Have pytest write what it compiles, unless it is there already."""
    changed = (folder / f"{name}.py").stat().st_mtime
    compiled = (folder / "__pycache__").glob(f"{name}.{sys.implementation.cache_tag}-pytest-*.pyc")
    if any(path.stat().st_mtime > changed for path in compiled):
        return
    with warnings.catch_warnings():  # of pytest-xdist's threads, which hold no lock that matters here
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            sys.path.insert(0, str(folder))
            importlib.import_module("paissive_secrets")
            sys.modules["argparse"] = None  # the first that it imports: it needn't be run
            importlib.import_module(name)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
