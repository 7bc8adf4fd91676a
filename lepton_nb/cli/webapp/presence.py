"""Which programs (kernels) somebody still looks at. Decides only; the clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Visit:
    heard_s: float
    # Whether it must be heard of by now: it was sent whole, or has been heard of before.
    expected: bool = False


class Presence:
    """Visits, each the one page of one kernel. One is due to end when its page was not heard of for `keep_s` seconds.

    While the page is still being made (its cells run), it need not have connected yet, and is not due before it has.
    """

    def __init__(self, keep_s: float) -> None:
        self.keep_s = keep_s
        self._visits: dict[str, _Visit] = {}

    def __contains__(self, kernel: str) -> bool:
        return kernel in self._visits

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that have a page."""
        return tuple(self._visits)

    def begin(self, kernel: str, now_s: float) -> None:
        """A page of `kernel` is being made for a visitor."""
        self._visits[kernel] = _Visit(heard_s=now_s)

    def sent(self, kernel: str, now_s: float) -> None:
        """The page was sent whole; from now on it must be heard of."""
        if kernel in self._visits:
            self._visits[kernel] = _Visit(heard_s=now_s, expected=True)

    def heard(self, kernel: str, now_s: float) -> None:
        """A sign of life from the page."""
        if kernel in self._visits:
            self._visits[kernel] = _Visit(heard_s=now_s, expected=True)

    def forget(self, kernel: str) -> None:
        """The visit is over."""
        self._visits.pop(kernel, None)

    def due(self, now_s: float) -> list[str]:
        """The kernels whose page has been silent for too long."""
        return [
            kernel for kernel, visit in self._visits.items() if visit.expected and now_s - visit.heard_s >= self.keep_s
        ]
