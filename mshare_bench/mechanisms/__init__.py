"""Ways to share memory: one file each, with the traits that are simulated and the recipe that is run."""
