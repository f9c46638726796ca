"""The configurations that Hydra composes: mechanisms, workloads, access patterns, topologies, costs, experiments."""
