"""Load on the running product and a yardstick beside it: `python -m benchmarks`."""
