"""Policies for process groups and their data, one file each."""
