"""Held against what others published, against the running kernel, and against what was left out of a fit."""
