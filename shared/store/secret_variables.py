"""Secret variables: environment variables of workers that only the runs of tasks which use them as secrets get."""

from shared.store.redis.call import Call, Key


def version() -> Call[bytes]:
    """Another one whenever ``names`` changed; b"" when there never were any."""
    return Call("GET", (Key("secret-variables:version"),), lambda reply: reply or b"")


def names() -> Call[frozenset[str]]:
    """The names of these variables, of all tasks of the catalog."""

    def read(reply: list[bytes]) -> frozenset[str]:
        return frozenset(name for value in reply for name in value.decode("utf-8", "replace").split())

    return Call("HVALS", (Key("secret-variables"),), read)
