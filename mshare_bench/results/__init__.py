"""Results: the Arrow contract, the store on disk, statistics, comparison."""
