"""Side by side with raw ib_async: `python -m benchmarks`."""
