"""Real programs as workloads: one module each, with its driver. A module whose name begins with `_` registers none."""
