"""Compile the tests once, assertions rewritten, and load what was compiled in every worker.

It happens in a process of its own, since a process that forks many others had better be small; and garbage is
collected rarely meanwhile, or it takes half as long again.

The tests' folders are in memory where they can be: a disk would be busy with their thousands of small files.

A worker of pytest-xdist reports a set-up or a teardown only if it didn't pass, as it does with
collections, and no test's begin and end: to send, read and count reports takes more than many a test.
"""

import contextlib
import gc
import importlib
import os
import shutil
import sys
import tempfile
import warnings

import pytest
from _pytest import runner

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

gc.set_threshold(100_000, 20, 100)
sys.dont_write_bytecode = False
MEMORY = "/dev/shm"  # of Linux
MIN_FREE_BYTES = 2 * 1024**3  # what the tests may take of it, and pytest keep of the last three runs


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(FewReports())
    if "TMPDIR" not in os.environ and is_for_programs(MEMORY):
        tempfile.tempdir = os.environ["TMPDIR"] = MEMORY  # for this process and those it starts


class FewReports:
    @staticmethod
    def pytest_runtest_protocol(item, nextitem):
        """Do what pytest does, but for reports that say nothing, and for each test's begin and end."""
        for report in runner.runtestprotocol(item, nextitem=nextitem, log=False):
            if report.when == "call" or not report.passed:
                item.ihook.pytest_runtest_logreport(report=report)
        return True


def is_for_programs(folder):
    """Whether it has room for the tests' folders, and lets them run the programs that they write there."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC and shutil.disk_usage(folder).free > MIN_FREE_BYTES


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
