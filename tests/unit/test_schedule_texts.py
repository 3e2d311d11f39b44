"""What schedules say: why an expression or a time zone is refused, and when one fires, in words."""

import pytest

from shared.schedules import BadSchedule, parse

REFUSED = [
    ("", ["has 0 fields", "write 5"]),
    ("* * * *", ["has 4 fields", "write 5", "seconds first"]),
    ("* * * * * 2026 *", ["has 7 fields"]),
    ("60 * * * *", ['minute "60"', "0 to 59"]),
    ("0 24 * * *", ['hour "24"', "0 to 23"]),
    ("0 0 0 * *", ['day of month "0"', "1 to 31"]),
    ("0 0 32 * *", ['day of month "32"', "1 to 31"]),
    ("0 0 * 13 *", ['month "13"', "1 to 12 or names from JAN to DEC"]),
    ("0 0 * * 8", ['weekday "8"', "0 to 7 or names from SUN to SAT"]),
    ("60 0 0 * * *", ['second "60"', "0 to 59"]),
    ("0 0 * * * 30", ['weekday "30"', "0 to 7"]),
    ("30-10 * * * *", ['minute "30-10"', "backwards", "30-59,0-10"]),
    ("0 22-4 * * *", ['hour "22-4"', "backwards", "22-23,0-4"]),
    ("0 0 * * FRI-MON", ['weekday "FRI-MON"', "backwards", "fri,sat,sun,mon"]),
    ("0 0 * * 6-0", ['weekday "6-0"', "backwards", "sat,sun"]),
    ("*/0 * * * *", ['minute "*/0"', "step from 1 to 60"]),
    ("*/90 * * * *", ['minute "*/90"', "step from 1 to 60", "@every"]),
    ("*/ * * * *", ['minute "*/"', "step from 1"]),
    ("*/5/5 * * * *", ['minute "*/5/5"', "step from 1"]),
    ("1,,2 * * * *", ['minute ""', "comma"]),
    ("0 0 1, * *", ['day of month ""', "comma"]),
    ("-1 * * * *", ['minute "-1"', "0 to 59"]),
    ("1- * * * *", ['minute "1-"', "0 to 59"]),
    ("+1 * * * *", ['minute "+1"', "0 to 59"]),
    ("1.5 * * * *", ['minute "1.5"', "0 to 59"]),
    ("٣ * * * *", ['minute "٣"', "0 to 59"]),
    ("mon * * * *", ['minute "mon"', "names belong to month and weekday"]),
    ("0 0 jan * *", ['day of month "jan"', "names belong"]),
    ("0 0 * mon *", ['month "mon"', "JAN to DEC"]),
    ("0 0 * * jan", ['weekday "jan"', "SUN to SAT"]),
    ("H * * * *", ['minute "H"', "random and hashed", "jitter"]),
    ("0 R(1-5) * * *", ['hour "R(1-5)"', "random and hashed", "jitter"]),
    ("0 0 15W * *", ['day of month "15W"', "only L"]),
    ("0 0 L-3 * *", ['day of month "L-3"', "only L"]),
    ("0 0 * * L", ['weekday "L"', "5L"]),
    ("0 0 * * 1#6", ['weekday "1#6"', "1 to 5"]),
    ("0 0 31 2 *", ["never fires", 'day of month "31"', 'month "2"', "choose a day that exists"]),
    ("0 0 31 4,6,9,11 *", ["never fires"]),
    ("0 0 */15 2 1#2", ["never fires", 'weekday "1#2"']),
    ("@reboot", ["not known", "@daily"]),
    ("@every", ['"" is not a duration', "@every 30s"]),
    ("@every 30", ['"30" is not a duration', "write @every 30s"]),
    ("@every 30 s", ["is not a duration"]),
    ("@every 500ms", ["out of range", "1s to 366d"]),
    ("@every 0s", ["out of range"]),
    ("@every 400d", ["out of range"]),
    ("TZ=UTC 0 0 * * *", ["TZ=UTC", "timezone"]),
]


@pytest.mark.parametrize(("text", "said"), REFUSED, ids=[text for text, _ in REFUSED])
def test_refusals_name_the_expression_the_field_the_value_and_the_cure(text: str, said: list[str]) -> None:
    with pytest.raises(BadSchedule) as refusal:
        parse([text], "UTC")
    for part in (f'cron "{text}"', *said):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("timezone", "cure"),
    [
        ("Europe/Berln", 'did you mean "Europe/Berlin"?'),
        ("america/new york", 'did you mean "America/New_York"?'),
        ("", "write an IANA name"),
        ("../../etc/passwd", "write an IANA name"),
        ("right/UTC", "not known"),
        ("localtime", "not known"),
        ("Europe", "not known"),
        ("UTC\0", "not known"),
    ],
)
def test_an_unknown_zone_is_named_with_the_nearest_known(timezone: str, cure: str) -> None:
    with pytest.raises(BadSchedule) as refusal:
        parse(["@daily"], timezone)
    assert f'timezone "{timezone}"' in str(refusal.value)
    assert cure in str(refusal.value)


def test_no_expression_is_no_schedule() -> None:
    with pytest.raises(BadSchedule, match="at least one cron expression"):
        parse([], "UTC")


WORDS = [
    ("30 2 * * *", "Europe/Berlin", "every day at 02:30 (Europe/Berlin)"),
    ("30 2 * * *", "UTC", "every day at 02:30"),
    ("15 30 2 * * *", "UTC", "every day at 02:30:15"),
    ("0 9,12 * * *", "UTC", "every day at 09:00 and 12:00"),
    ("*/15 * * * *", "Europe/Berlin", "every 15 minutes"),
    ("* * * * *", "UTC", "every minute"),
    ("* * * * * *", "UTC", "every second"),
    ("*/10 * * * * *", "UTC", "every 10 s"),
    ("@hourly", "UTC", "every hour"),
    ("5 * * * *", "UTC", "every hour at minute 5"),
    ("0 */6 * * *", "UTC", "every 6 hours"),
    ("*/15 9-17 * * 1-5", "UTC", "every 15 minutes from 09:00 to 17:59 on weekdays"),
    ("0 9 * * MON-FRI", "UTC", "at 09:00 on weekdays"),
    ("0 9 * * 6,7", "UTC", "at 09:00 at weekends"),
    ("0 9 * * 1,3", "UTC", "at 09:00 on Monday and Wednesday"),
    ("0 9 * * 1#2", "UTC", "at 09:00 on the 2nd Monday of the month"),
    ("0 9 * * 5L", "UTC", "at 09:00 on the last Friday of the month"),
    ("0 0 1,15 * *", "UTC", "at 00:00 on the 1st and 15th of the month"),
    ("0 0 L * *", "UTC", "at 00:00 on the last day of the month"),
    ("@yearly", "UTC", "at 00:00 on the 1st of January"),
    ("0 0 * 7 *", "UTC", "every day in July at 00:00"),
    ("0 0 * 7 1-5", "UTC", "at 00:00 on weekdays in July"),
    ("0 0 13 * 5", "UTC", "at 00:00 on the 13th of the month or on Friday"),
    ("@every 30s", "Europe/Berlin", "every 30 s"),
    ("@every 15m", "UTC", "every 15 minutes"),
    ("@every 1h", "UTC", "every hour"),
    ("@every 1h30m", "UTC", "every 1 h 30 min"),
    ("@every 2d", "UTC", "every 2 days"),
    ("*/7 3-20/5 * * *", "UTC", "*/7 3-20/5 * * *"),
    ("0 0 */2 * 1", "UTC", "0 0 */2 * 1"),
]


@pytest.mark.parametrize(("text", "timezone", "expected"), WORDS)
def test_in_words(text: str, timezone: str, expected: str) -> None:
    assert parse([text], timezone).words() == expected


def test_several_expressions_in_words() -> None:
    assert parse(["30 2 * * *", "@hourly"], "Asia/Tokyo").words() == "every day at 02:30; every hour (Asia/Tokyo)"
