"""The watermark of a stream: the smallest of its channels', each behind the latest time that the channel has shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping


class Watermarks:
    """Latest ticks by channel. A channel that has shown no row holds the watermark back, unless it is idle or finished.

    bound: ticks of disorder to bear. idle_s: seconds after which a channel without rows counts as idle; None for never.
    The clock has a say in nothing but which channels are idle, and that is written down with the batch.
    """

    def __init__(self, bound: int, latest: Mapping[str, int], watermark: int | None, idle_s: float | None) -> None:
        self._bound = bound
        self._latest = dict(latest)
        self._watermark = watermark
        self._idle_s = idle_s
        self._seen_s: dict[str, float] = {}

    def idle(self, channels: Iterable[str], now_s: float) -> tuple[str, ...]:
        """The channels from which nothing has come for so long that they no longer hold the watermark back."""
        if self._idle_s is None:
            return ()
        return tuple(c for c in channels if now_s - self._seen_s.setdefault(c, now_s) > self._idle_s)

    def with_rows(self, read: Iterable[tuple[str, int | None]], now_s: float) -> dict[str, int]:
        """The latest ticks once these parts are read; nothing is remembered but when they came."""
        latest = dict(self._latest)
        for channel, tick in read:
            self._seen_s[channel] = now_s
            if tick is not None:
                latest[channel] = max(tick, latest.get(channel, tick))
        return latest

    def watermark(
        self, latest: Mapping[str, int], channels: Iterable[str], finished: Collection[str], idle: Collection[str]
    ) -> int | None:
        """The watermark for these latest ticks: it never goes back, and stays where no channel tells.

        latest - bound - 1 tick, the smallest over the channels that are neither finished nor idle; where none is left,
        the largest.
        """
        known = set(channels) | set(latest)
        telling = [c for c in known if c not in finished and c not in idle]
        if not telling:
            # All have ended, or all are silent: what they have shown counts.
            found = max(latest.values(), default=None)
        else:
            found = None if any(c not in latest for c in telling) else min(latest[c] for c in telling)
        before = self._watermark
        if found is not None:
            behind = found - self._bound - 1
            before = behind if before is None else max(before, behind)
        self._latest, self._watermark = dict(latest), before
        return before

    def would_move(self, channels: Iterable[str], finished: Collection[str], idle: Collection[str]) -> bool:
        """True where the watermark moves on though no row has come."""
        copy = Watermarks(self._bound, self._latest, self._watermark, None)
        return copy.watermark(self._latest, channels, finished, idle) != self._watermark
