"""`make docs` changes nothing: what is generated is up to date."""

import pytest

from docs.generate.documents import ROOT, documents

DOCUMENTS = documents()


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_generated_document_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text("utf-8") == DOCUMENTS[path], "run `make docs`"
