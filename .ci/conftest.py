"""Collect garbage rarely while pytest rewrites the assertions, or that takes half as long again."""

import gc

gc.set_threshold(100_000, 20, 100)
