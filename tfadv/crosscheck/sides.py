"""One library in a process of its own, which attacks when it is told to and says how long that took.

TensorFlow and PyTorch each keep a pool of threads, one for each core, that spin for a while after they have worked.
In one process the pool of one would take time from the other's run, and one peak of memory would be that of both. A
side waits at a pipe while another works, and reports the processor time that it used meanwhile, so that the fairness
of a pairing is measured with it.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import resource
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import models
from tfadv.crosscheck import PEERS, comparison, ours, published_autoattack
from tfadv.crosscheck.peers import Peer
from tfadv.models import predictor
from tfadv.validation import UserError

PUBLISHED = "published"
OURS = "tfadv"


@dataclasses.dataclass(frozen=True)
class Side:
    """Which library, and how.

    Attributes:
        library: "tfadv", a name of `tfadv.crosscheck.PEERS`, or "published" (AutoAttack).
        precision: of our search, "float32" or "bfloat16"; peers compute in float32.
        source: folder of the published AutoAttack's source.
    """

    library: str
    precision: str = "float32"
    source: str | None = None

    @property
    def name(self) -> str:
        """How a table calls it."""
        if self.library == OURS:
            return f"{OURS} {self.precision}" + (" search" if self.precision == "bfloat16" else "")
        return published_autoattack.NAME if self.library == PUBLISHED else PEERS[self.library].name

    def peer(self) -> Peer:
        """The library's attacks.

        Raises:
            UserError: no such library, or no source where one is needed.
        """
        if self.library == PUBLISHED:
            if self.source is None:
                raise UserError("the published AutoAttack needs the folder of its source (autoattack_source)")
            return published_autoattack.peer(self.source)
        if self.library not in PEERS:
            raise UserError(f"peers must be among {sorted([*PEERS, PUBLISHED])}, got {self.library!r}")
        return PEERS[self.library]


@dataclasses.dataclass(frozen=True)
class Memory:
    """Peaks of resident memory, MiB: when the model was loaded, and in the whole life of the process."""

    loaded: float
    peak: float


class Process:
    """A side that is running; use it in a `with` block.

    Attributes:
        versions: of its packages.
        threads: that its library computes with.
        idle_share: largest share of one core that it used between two runs.
    """

    def __init__(self, side: Side, model: str | os.PathLike, batch_size: int) -> None:
        """Starts the process, and waits until it has loaded the model from this .keras file.

        Raises:
            UserError: what the side itself could not load.
        """
        # Not forked: a copy of this process would hold its thread pools in an unusable state.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.side, self.idle_share, self._memory = side, 0.0, Memory(0.0, 0.0)
        arguments = (theirs, side, os.fspath(model), batch_size)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self.versions: dict[str, str]
        self.threads: int
        self.versions, self.threads = self._answer()

    def run(self, config: Any, x: np.ndarray, y: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, float]:
        """(x_adv, seconds) of one attack on these images; ours draws by the number that each has in its data set.

        Raises:
            UserError: the library has no such attack, or fails.
        """
        x_adv, seconds, idle_share, self._memory = self._answer((config, x, y, index))
        self.idle_share = max(self.idle_share, idle_share)
        return x_adv, seconds

    @property
    def memory(self) -> Memory:
        """As of the last run."""
        return self._memory

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _answer(self, question: Any = None) -> Any:
        try:
            if question is not None:
                self._connection.send(question)
            good, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(timeout=10)
            raise UserError(
                f"{self.side.name} ended without an answer (status {self._process.exitcode}); a smaller batch_size or "
                "fewer images may fit its memory"
            ) from error
        if not good:
            raise UserError(f"{self.side.name}: {answer}")
        return answer


def _serve(connection: Connection, side: Side, path: str, batch_size: int) -> None:
    """What the process does: loads, then answers each question with a result, until nobody asks any more."""
    try:
        try:
            attack, versions, threads = _prepared(side, path, batch_size)
            connection.send((True, (versions, threads)))
            loaded, idle_share = _peak_memory(), 0.0
            waited, worked = time.perf_counter(), time.process_time()
            first = True
            while True:
                question = connection.recv()
                if not first:
                    idle_share = (time.process_time() - worked) / max(time.perf_counter() - waited, 1e-3)
                began = time.perf_counter()
                x_adv = attack(*question)
                waited, worked, first = time.perf_counter(), time.process_time(), False
                memory = Memory(loaded, _peak_memory())
                connection.send((True, (x_adv, waited - began, idle_share, memory)))
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # Whatever a peer raises is told to the one who asked.
            connection.send((False, f"{type(error).__name__}: {error}"))
    finally:
        connection.close()


def _prepared(side: Side, path: str, batch_size: int) -> tuple[Any, dict[str, str], int]:
    """((config, x, y, index) -> x_adv, versions, threads) of a side in its own process."""
    model = models.load(path)
    cores = os.cpu_count() or 1
    if side.library == OURS:
        predict, programs = predictor(model), {}

        def mine(config: Any, x: np.ndarray, y: np.ndarray, index: np.ndarray) -> np.ndarray:
            if config not in programs:
                programs[config] = ours.bound(predict, config, precision=side.precision, batch_size=batch_size)
            return programs[config](x, y, None, index)

        return mine, comparison.versions([]), tf.config.threading.get_intra_op_parallelism_threads() or cores
    peer = side.peer()
    loaded = peer.load(model)
    threads = tf.config.threading.get_intra_op_parallelism_threads() or cores
    if "torch" in sys.modules:
        # By default PyTorch leaves out the second thread of each physical core, which TensorFlow uses.
        sys.modules["torch"].set_num_threads(cores)
        threads = sys.modules["torch"].get_num_threads()

    def theirs(config: Any, x: np.ndarray, y: np.ndarray, index: np.ndarray) -> np.ndarray:
        return peer.attack(config)(loaded, x, y, config, None, batch_size)

    return theirs, peer.versions(), threads


def _peak_memory() -> float:
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
