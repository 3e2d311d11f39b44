"""The part of the store that only the APIs of other systems use; nothing else in ``shared.store`` imports it."""

from shared.store.key_types import TYPES

TYPES.update(
    {
        "consumers": "zset",
        "consumers:about": "hash",
        "jobs": "zset",
        "lineage": "zset",
        "lineage:arrived": "zset",
        "lineage:bodies": "hash",
        "lineage:bytes": "number",
        "lineage:static": "zset",
        "lineage:cursor": "string",
        "namespaces": "zset",
        "ona:all": "zset",
        "ona:names": "hash",
        "ona:refs": "hash",
        "ona:tasks": "hash",
    }
)
