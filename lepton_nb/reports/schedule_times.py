"""When a schedule is due: a cron expression in a time zone, also on the days on which clocks change.

APScheduler's CronTrigger says which times of a clock on the wall an expression matches; here they become moments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from lepton_nb.errors import ReportError, hint

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = ("second", "minute", "hour", "day", "month", "day_of_week")
# More than any clock is ever set by at once, whole days that a country skipped aside.
SHIFT = timedelta(hours=3)
# How far ahead `following` looks: a 29th of February may be eight years away.
HORIZON = timedelta(days=366 * 9)
_DAY = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


class Cron:
    """The moments at which a cron expression is due in a time zone.

    Five fields (minute, hour, day of month, month, day of week) as cron has them: Sunday is 0 and 7, and where both
    days are restricted, either will do. With six, the first is the second. Names such as @daily are known.

    A fixed hour that clocks skip is made up for as soon as they have moved on; one that they show twice counts
    once. Where the hour begins with "*", real time counts: what is skipped is not made up for, and both are due.

    Raises ReportError for an expression or a time zone that does not exist.
    """

    def __init__(self, expression: str, time_zone: str = "UTC") -> None:
        self.expression, self.time_zone = expression, time_zone
        self.zone = _zone(time_zone)
        fields = MACROS.get(expression.strip().lower(), expression).split()
        if len(fields) not in (5, 6):
            raise ReportError(
                f"cron expression {expression!r} has {len(fields)} fields; give minute, hour, day, month and day of "
                f'week, such as "30 2 * * *", or one of {", ".join(MACROS)}',
                expression=expression,
            )
        named = dict(zip(FIELDS, ["0", *fields] if len(fields) == 5 else fields, strict=True))
        try:
            self._triggers = _triggers(named)
        except (ValueError, TypeError, KeyError) as error:
            raise ReportError(
                f'cron expression {expression!r} is not valid: {error}; write it as in "30 2 * * 1-5"',
                expression=expression,
            ) from None
        self._real_time = named["hour"].startswith("*")

    def between(self, after: datetime, until: datetime) -> list[datetime]:
        """The moments after `after`, up to and with `until`, in order, in UTC."""
        found = {moment for wall in self._walls(after, until) for moment in self._moments(wall)}
        return sorted(moment for moment in found if after < moment <= until)

    def latest(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """The last `most` moments of those, in order, however long ago `after` is."""
        width = timedelta(minutes=1)
        while True:
            start = max(after, until - width)
            found = self.between(start, until)
            if len(found) >= most or start == after:
                return found[-most:] if most else []
            width *= 4

    def following(self, after: datetime, count: int = 1) -> list[datetime]:
        """The next `count` moments after `after`; fewer where there are no more within nine years."""
        width = timedelta(minutes=1)
        while True:
            found = self.between(after, after + width)
            if len(found) >= count or width > HORIZON:
                return found[:count]
            width *= 4

    def _walls(self, after: datetime, until: datetime) -> Iterator[datetime]:
        first, last = _wall(after, self.zone), _wall(until, self.zone)
        # Around a change the order on the wall is not that of time.
        if _changes(after, self.zone):
            first -= SHIFT
        if _changes(until, self.zone):
            last += SHIFT
        for trigger in self._triggers:
            at = trigger.get_next_fire_time(None, first)
            while at is not None and at <= last:
                yield at.replace(tzinfo=None)
                at = trigger.get_next_fire_time(None, at + timedelta(microseconds=1))

    def _moments(self, wall: datetime) -> Iterator[datetime]:
        moment = wall.replace(tzinfo=self.zone).astimezone(UTC)
        exists = moment.astimezone(self.zone).replace(tzinfo=None, fold=0) == wall
        if exists or not self._real_time:
            yield moment
        again = wall.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        if exists and self._real_time and again != moment:
            yield again


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What a clock on the wall shows, as if that were UTC, which has no skipped or repeated hours."""
    return moment.astimezone(zone).replace(tzinfo=UTC, fold=0)


def _changes(moment: datetime, zone: ZoneInfo) -> bool:
    """True where clocks are set within a few hours of `moment`."""
    return len({(moment + side * SHIFT).astimezone(zone).utcoffset() for side in (-1, 1)}) > 1


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        from zoneinfo import available_timezones

        raise ReportError(
            f"unknown time zone {name!r}{hint(name, available_timezones())}; give one such as Europe/Berlin, or UTC",
            time_zone=name,
        ) from None


def _triggers(named: dict[str, str]) -> list[Any]:
    """CronTriggers that together match the fields; APScheduler counts days from Monday, and wants both days."""
    from apscheduler.triggers.cron import CronTrigger

    days, day = _weekdays(named["day_of_week"]), named["day"]
    rest = {name: text.lower() for name, text in named.items() if name not in ("day", "day_of_week")}
    if not named["day_of_week"].startswith("*") and not day.startswith("*"):
        either: list[dict[str, str]] = [{"day": day}, {"day_of_week": days}]
    else:
        either = [{"day": day, "day_of_week": days}]
    return [CronTrigger(timezone=UTC, **rest, **each) for each in either]


def _weekdays(text: str) -> str:
    chosen: set[int] = set()
    for part in text.lower().split(","):
        match = _DAY.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no day of the week")
        first, last, step = match["first"], match["last"], int(match["step"] or 1)
        if step < 1:
            raise ValueError(f"the step of {part!r} is 0")
        if first == "*":
            chosen.update(range(0, 7, step))
            continue
        begin = _weekday(first)
        end = _weekday(last) if last else (6 if match["step"] else begin)
        if end < begin and end == 0:
            end = 7  # as in fri-sun
        if end < begin:
            raise ValueError(f"{part!r} ends before it begins")
        chosen.update(number % 7 for number in range(begin, end + 1, step))
    return ",".join(DAYS[number] for number in sorted(chosen))


def _weekday(text: str) -> int:
    if text in DAYS:
        return DAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no day of the week{hint(text, DAYS)}")
