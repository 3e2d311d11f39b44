"""The store, proved on a real server."""
