"""How calls reach Redis: what a call is, the scripts, the connections, and the two stores that make calls."""
