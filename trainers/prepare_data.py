"""Prepares a data set from its original files, for machines without a network.

python -m trainers.prepare_data --dataset=mnist --archives=FOLDER --data_dir=FOLDER
"""

from __future__ import annotations

import sys

from absl import app, flags, logging

from tfadv import data
from tfadv.data.prepare import prepare
from tfadv.validation import exit_cleanly

_NEEDED = {name: spec.archives for name, spec in data.DATASETS.items() if spec.archives}

_DATASET = flags.DEFINE_enum("dataset", None, sorted(_NEEDED), "Data set to prepare.", required=True)
_ARCHIVES = flags.DEFINE_string(
    "archives",
    None,
    "Folder that holds the original files under their own names: "
    + "; ".join(f"{name}: {', '.join(files)}" for name, files in _NEEDED.items()) + ".",
    required=True,
)  # fmt: skip
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "TensorFlow Datasets folder that receives it; by default TFDS_DATA_DIR or ~/tensorflow_datasets."
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if flags.FLAGS["verbosity"].using_default_value:
        logging.set_verbosity(logging.WARNING)  # TFDS would speak of downloads that do not happen
    if not sys.stderr.isatty():
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()  # a log file wants the lines of `prepare`, not a thousand states of a bar
    result = prepare(_DATASET.value, _ARCHIVES.value, _DATA_DIR.value)
    print(f"{_DATASET.value} {'was already prepared' if result.already else 'is prepared'} in {result.folder}")


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
