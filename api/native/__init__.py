"""The native API: one module for each resource, with its parameters, requests and responses."""
