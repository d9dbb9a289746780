"""Sums over layers, sample by sample, and the formulas that make figures of them."""
