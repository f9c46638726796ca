"""Workloads: one module each, with its regions, its process groups and what they touch."""
