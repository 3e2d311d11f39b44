"""One run, from its claim to its end, and the threads that do that."""
