"""Every number that a judgment depends on: its unit, what it means, and where it comes from.

One module per room of the library. docs/thresholds.md is generated from them.
"""
