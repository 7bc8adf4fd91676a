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
from lepton_nb.training.placement import Seat


class Group:
    """This rank's place: `rank` of `ranks`. A group of one talks to nobody, and needs no strategy of its own.

    addresses: where every rank's server listens, "host:port", in the order of the ranks; this rank's port is free.
    """

    def __init__(self, seat: Seat, addresses: list[str]) -> None:
        self.rank, self.ranks = seat.rank, seat.ranks
        self.strategy: Any = tf.distribute.get_strategy()
        if self.ranks > 1:
            os.environ["TF_CONFIG"] = json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": self.rank}}
            )
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # One graph for all sums: the ranks must meet in the same ones, made in the same order.
        self._add_up = tf.function(
            lambda values: self.strategy.run(self.sum_in_step, (values,)),
            input_signature=[tf.TensorSpec([None], tf.float64)],
            autograph=False,
        )

    def sum_in_step(self, values: Any) -> Any:
        """Within `strategy.run`: the sum over all ranks, of a tensor, or of each in a list in one go."""
        if self.ranks == 1:
            return values
        # What is handed in as it is lies on no device yet, and the sum asks for one.
        placed = [tf.identity(value) for value in values] if isinstance(values, list) else tf.identity(values)
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)

    def add_up(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum of `values` (any shape) over all ranks."""
        # TensorFlow (2.21) crashes where ranks add up nothing.
        if self.ranks == 1 or not np.size(values):
            return values
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
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
            raise PeerLostError(f"rank {self.rank} lost contact to another rank: {error}") from error
        except tf.errors.InternalError as error:
            if self.ranks > 1 and "ollective" in str(error):
                raise PeerLostError(f"rank {self.rank} lost contact to another rank: {error}") from error
            raise
