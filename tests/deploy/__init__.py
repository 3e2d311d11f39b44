"""Tries what ``deploy/`` says without a container engine: ``make deploy-check``."""
