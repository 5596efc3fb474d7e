"""Benchmarks: ratios between contenders, measured side by side in one run."""
