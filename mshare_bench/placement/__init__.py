"""Where process groups, their data and their page tables go, what that costs, and when moving them pays.

Pure functions of a topology and of demands: nothing here touches a machine.
"""
