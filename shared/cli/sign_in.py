"""Sign-in links: what opens the dashboard without typing a token."""

import json
import os
import sys
import webbrowser
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from shared.cli.data_dir import DataFolder
from shared.errors import Forbidden, StoreUnavailable, Unauthorized
from shared.settings import read_settings

TIMEOUT_S: Final = 10.0
"""How long the API may take to make a link."""


def open_dashboard(
    *, data: Path = Path(".runfleet"), browser: Annotated[bool, Parameter(negative="--no-browser")] = True
) -> int:
    """
    Open the dashboard in a browser, signed in by a link that works once.

    The API is RUNFLEET_URL, or that of `runfleet up` in this folder, or http://127.0.0.1:9477; the token is
    RUNFLEET_TOKEN, or that of the data folder.

    Parameters
    ----------
    data
        Data folder of `runfleet up`.
    browser
        Start a browser; without one the link is only printed.
    """
    token, url = read_settings(os.environ).token, os.environ.get("RUNFLEET_URL", "")
    if data.is_dir():
        folder = DataFolder(data)
        token = token or folder.kept("token")
        url = url or str(folder.holder().get("url") or "")
    link = sign_in_link(url or "http://127.0.0.1:9477", token)
    sys.stdout.write(link + "\n")
    if browser and sys.stdout.isatty():
        webbrowser.open(link)
    return 0


def sign_in_link(url: str, token: str) -> str:
    """
    A link to the dashboard of the API at *url* that signs in once, within 10 minutes, as *token*; *url* itself when
    that API requires no sign-in. Raises StoreUnavailable when it does not answer, and what it refuses with.
    """
    status, answer = _post(url, "/api/session/links", {"Authorization": f"Bearer {token}"} if token else {})
    if status == 201:
        return str(answer["url"])
    if status == 409:
        return url + "/"
    detail = str(answer.get("detail") or f"status {status}")
    if status == 401:
        raise Unauthorized(f"{url} does not take this token: {detail}. Set RUNFLEET_TOKEN, or use the folder of `up`.")
    raise Forbidden(f"{url} made no sign-in link: {detail}")


def _post(url: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, object]]:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path.rstrip("/") + path, headers={**headers, "Content-Length": "0"})
        response = connection.getresponse()
        found = json.loads(response.read() or b"{}")
        return response.status, found if isinstance(found, dict) else {}
    except (OSError, HTTPException, ValueError) as error:
        raise StoreUnavailable(
            f"{url} does not answer as Runfleet's API: {error}. Start it, or set RUNFLEET_URL to its address."
        ) from None
    finally:
        connection.close()
