"""Real process groups on the running kernel: agents, kernel counters, knobs, the memory guard, the doctor."""
