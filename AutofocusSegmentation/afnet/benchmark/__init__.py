"""`python -m afnet benchmark`: how fast and how large the engine is, beside what a user would take instead.

Every measurement runs in a process of its own, so that its peak memory is its own.
"""
