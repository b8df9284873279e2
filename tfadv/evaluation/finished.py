"""What an evaluation has finished, kept in a folder, so that a run that was killed need not do it again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np

from tfadv import attacks, files
from tfadv.validation import UserError


@dataclasses.dataclass(frozen=True)
class Crafted:
    """What one attack made of some examples.

    Attributes:
        x_adv: float32 [m, ...].
        fooled: bool [m], misclassified in float32 and inside the attack's own ball and box.
        discarded: bool [m], some iterate fooled the model but x_adv, which the attack returned, does not.
        seconds: wall time, tracing included.
        gradients, queries: of the model, counted for each image.
        precision: of the search.
    """

    x_adv: np.ndarray
    fooled: np.ndarray
    discarded: np.ndarray
    seconds: float
    gradients: int
    queries: int
    precision: str


class Finished:
    """A folder of attacks that were finished, each under a name that follows from all that its result depends on.

    What another model, other data or other settings left in the folder is therefore never taken; it lies there unused.
    """

    def __init__(self, folder: str | os.PathLike, *identity: Any) -> None:
        """Of the attacks on one model, on some data.

        Args:
            folder: is made when the first attack begins.
            identity: arrays and JSON values that every result depends on.
        """
        self.folder, self._identity = pathlib.Path(folder), _digest(identity)

    def path(self, config: Any, *given: Any) -> pathlib.Path:
        """Where the result of an attack belongs that is given these arrays and values.

        Raises:
            UserError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make {self.folder} ({error.strerror}); name a folder that you may write to"
            ) from error
        return self.folder / f"{_digest((self._identity, attacks.to_dict(config), *given))}.npz"

    def read(self, path: pathlib.Path) -> Crafted | None:
        """What `write` stored there; None if nothing did, or if it is damaged or another attack's."""
        try:
            # Opened here, because np.load leaves a damaged file open.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                values = json.loads(str(stored["values"]))
                if values.pop("name") != path.stem:
                    return None
                return Crafted(**{name: stored[name] for name in ("x_adv", "fooled", "discarded")}, **values)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, path: pathlib.Path, crafted: Crafted) -> None:
        """Stores a result, whole or not at all."""
        values: dict[str, Any] = {"name": path.stem}
        values |= {name: getattr(crafted, name) for name in ("seconds", "gradients", "queries", "precision")}
        arrays = {name: getattr(crafted, name) for name in ("x_adv", "fooled", "discarded")}
        with files.replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, values=np.array(json.dumps(values)), **arrays)


def _digest(parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:32]
