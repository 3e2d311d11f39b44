"""
OpenLineage: what our own runs tell systems that collect lineage.

``events.py`` says what a run looks like there (pure), ``emitter.py`` sends it without anybody waiting for it. The API
that takes such events from others is ``api.dialects.marquez``.
"""

from __future__ import annotations

from typing import Final

from shared import __version__

PRODUCER: Final = f"urn:runfleet:{__version__}"
"""Who says so, in every event and facet of ours."""

_SPEC: Final = "https://openlineage.io/spec/facets"
FACET_SCHEMA: Final = {
    "documentation": f"{_SPEC}/1-1-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet",
    "errorMessage": f"{_SPEC}/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "runfleet": "urn:runfleet:facet:run:1",
}
"""The schema of each facet that we make."""
