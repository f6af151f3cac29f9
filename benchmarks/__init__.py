"""Measurements behind the numbers in DESIGN.md, section 8: ratios of medians, taken in turn on one machine; no asserts."""
