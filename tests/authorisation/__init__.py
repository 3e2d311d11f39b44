"""Who may do what: a table of all routes, and a world in which it is tried."""
