"""Collect garbage rarely while pytest rewrites the assertions of the test file, or it takes a third longer."""

import gc

gc.set_threshold(100_000, 20, 100)
