"""Policies for page tables, one file each.

The kernel puts a page table where the task that first touches is told to allocate, whatever the policy of the mapping.
"""
