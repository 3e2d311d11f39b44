"""The execution of runs, from claim to end, and the threads that do it."""
