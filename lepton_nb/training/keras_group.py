"""A Keras rank among the others: TensorFlow's strategy, and sums over all ranks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from lepton_nb.training.engine import PeerLostError
from lepton_nb.training.host_sum import MOST_RANKS, HostSum
from lepton_nb.training.placement import Seat


class Group:
    """This rank's place: `rank` of `ranks`. A group of one talks to nobody, and needs no strategy of its own.

    addresses: where every rank's server listens, "host:port", in the order of the ranks; this rank's port is free.
    """

    def __init__(self, seat: Seat, addresses: list[str]) -> None:
        self.rank, self.ranks = seat.rank, seat.ranks
        self._host_sum: HostSum | None = None
        self._lost: PeerLostError | None = None
        self.strategy: Any = tf.distribute.get_strategy()
        if self.ranks > 1:
            os.environ["TF_CONFIG"] = json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": self.rank}}
            )
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # One graph for all sums: the ranks must meet in the same ones, made in the same order.
        self._add_up = tf.function(
            lambda values: self.strategy.run(self._sum_by_strategy, (values,)),
            input_signature=[tf.TensorSpec([None], tf.float64)],
            autograph=False,
        )
        self._host_sum = self._join_host(seat)

    def _join_host(self, seat: Seat) -> HostSum | None:
        """A quicker way for sums, if all ranks have it."""
        on_gpu = bool(tf.config.get_visible_devices("GPU"))
        if not 1 < self.ranks <= MOST_RANKS or seat.local_ranks < self.ranks or on_gpu:
            return None

        def exchange(mine: bytes) -> list[bytes]:
            every = np.zeros((self.ranks, len(mine)))
            every[self.rank] = np.frombuffer(mine, np.uint8)
            return [row.astype(np.uint8).tobytes() for row in self.add_up(every)]

        try:
            found = HostSum.join(exchange, self.rank, self.ranks)
        except OSError:  # the system allows no such sockets or memory
            found = None
        if int(self.add_up(np.array([float(found is not None)]))[0]) == self.ranks:
            return found
        if found is not None:
            found.close()
        return None

    def sum_in_step(self, values: Any) -> Any:
        """Within `strategy.run`: the sum over all ranks, of a tensor, or of each in a list in one go."""
        if self.ranks == 1:
            return values
        parts = values if isinstance(values, list) else [values]
        sizes = [int(np.prod(part.shape)) for part in parts]
        if self._host_sum is None or not self._host_sum.fits(np.dtype(parts[0].dtype.as_numpy_dtype), sum(sizes)):
            return self._sum_by_strategy(values)
        flat = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0) if len(parts) > 1 else parts[0]
        added = tf.numpy_function(self._sum_by_host, [flat], flat.dtype)
        added.set_shape(flat.shape)
        if not isinstance(values, list):
            return added
        pieces = tf.split(added, sizes)
        return [tf.reshape(piece, part.shape) for piece, part in zip(pieces, parts, strict=True)]

    def _sum_by_host(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        assert self._host_sum is not None
        added = values.copy()
        try:
            self._host_sum.sum_(added)
        except PeerLostError as error:
            self._lost = error  # what is raised here reaches nobody as it is
            raise
        return added

    def _sum_by_strategy(self, values: Any) -> Any:
        # What is handed in as it is lies on no device yet, and the sum asks for one.
        placed = [tf.identity(value) for value in values] if isinstance(values, list) else tf.identity(values)
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)

    def add_up(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum of `values` (any shape) over all ranks."""
        # TensorFlow (2.21) crashes where ranks add up nothing.
        if self.ranks == 1 or not np.size(values):
            return values
        if self._host_sum is not None and self._host_sum.fits(np.dtype(np.float64), np.size(values)):
            added = np.array(values, dtype=np.float64)
            self._host_sum.sum_(added)
            return added
        flat = tf.constant(np.asarray(values, dtype=np.float64).reshape(-1))
        found: npt.NDArray[np.float64] = self.meet(lambda: self._add_up(flat).numpy())
        return found.reshape(np.shape(values))

    def gather(self, rows: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """The rows of all ranks, each of `shape`, in the order of the ranks."""
        counts = np.zeros(self.ranks)
        counts[self.rank] = len(rows)
        counts = self.add_up(counts)
        first = int(counts[: self.rank].sum())
        whole = np.zeros((int(counts.sum()), *shape))
        whole[first : first + len(rows)] = rows
        return self.add_up(whole)

    def meet(self, together: Callable[[], Any]) -> Any:
        """The result of `together`, in which ranks wait for each other."""
        try:
            return together()
        except tf.errors.UnknownError as error:
            if self._lost is None:
                raise
            raise self._lost from error
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
            raise PeerLostError(f"rank {self.rank} lost contact to another rank: {error}") from error
        except tf.errors.InternalError as error:
            if self.ranks > 1 and "ollective" in str(error):
                raise PeerLostError(f"rank {self.rank} lost contact to another rank: {error}") from error
            raise
