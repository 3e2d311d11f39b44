"""The output of runs: split into lines, sanitized, masked, and shipped to the store."""
