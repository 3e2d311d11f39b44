"""Units of time, the epoch and the horizon of schedules."""

from datetime import UTC, date, datetime
from typing import Final

from shared.clock import SECOND_US

HORIZON_US: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * SECOND_US
"""No tick lies at or after this (nor before the epoch)."""

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400
EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
"""A day is counted from the epoch; its ordinal in ``datetime`` is this much more."""

UNITS_US: Final = {"ms": 1000, "s": SECOND_US, "m": 60 * SECOND_US, "h": HOUR_S * SECOND_US, "d": DAY_S * SECOND_US}
