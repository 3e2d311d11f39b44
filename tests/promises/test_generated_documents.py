"""`make docs` changes nothing: what is generated is up to date."""

from docs.generate.documents import ROOT, documents


def test_every_generated_document_is_up_to_date() -> None:
    stale = [path for path, text in documents().items() if (ROOT / path).read_text("utf-8") != text]
    assert stale == [], "run `make docs`"
