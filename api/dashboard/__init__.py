"""
The dashboard: pages for people, served to their browsers.

``ui/`` is its source in TypeScript and Svelte; start at ``ui/src/routes.ts``. ``built/`` is what `make dashboard` makes
of it, committed so that no machine that runs a fleet needs Node. ``serving`` sends these files.
"""
