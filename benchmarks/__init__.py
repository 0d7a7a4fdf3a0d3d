"""Benchmarks: this library and its peers, side by side against one fake Lambda (`python -m benchmarks`)."""
