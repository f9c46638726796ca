"""The simulator: page tables, faults, time and semantics of every mechanism, without running any of them."""
