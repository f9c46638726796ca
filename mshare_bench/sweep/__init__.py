"""Axes to cells: what a sweep runs, in which order, what is done already and why the rest is not."""
