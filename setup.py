"""Installs `tfadv` and its console commands.

The wheel holds the top-level package `tfadv` alone. The program folders `trainers/` and `attacks/` of a clone are
mapped into it as `tfadv.trainers` and `tfadv.programs`: leaves that no module of the library imports and that have no
`__init__.py`, so that `python -m trainers.train` works from a clone and `tfadv-train` from any folder. Install it
plainly: an editable install of setuptools cannot map a folder without `__init__.py` into a package.
"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).resolve().parent


def read_version() -> str:
    """Returns `__version__` of tfadv/version.py without importing tfadv, whose dependencies may still be missing."""
    source = (ROOT / "tfadv" / "version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if match is None:
        raise RuntimeError('tfadv/version.py must hold one line of the form __version__ = "1.2.3".')
    return match[1]


# Installed command -> program file. Every program file has a function `run` without arguments.
TRAINERS = ("train", "export", "prepare_data", "reproduce", "survey", "training_cost", "quickstart")
PROGRAMS = ("evaluate", "compare", "crosscheck", "autoattack", "benchmark")


def console_command(package: str, program: str) -> str:
    """Returns the entry point, for example "tfadv-prepare-data = tfadv.trainers.prepare_data:run"."""
    return f"tfadv-{program.replace('_', '-')} = tfadv.{package}.{program}:run"


setuptools.setup(
    name="tfadv",
    version=read_version(),
    description="Defend, attack and honestly evaluate TensorFlow/Keras image classifiers.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="adversarial robustness tensorflow keras",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.14",
    packages=[*setuptools.find_packages(include=["tfadv", "tfadv.*"]), "tfadv.trainers", "tfadv.programs"],
    package_dir={"tfadv.trainers": "trainers", "tfadv.programs": "attacks"},
    package_data={"tfadv": ["py.typed"], "tfadv.report": ["*.j2"], "tfadv.reproduction": ["reference/*.csv"]},
    include_package_data=False,
    zip_safe=False,
    # tools/packaging/matrix.py tries all minima together. Those that are not the first version of a series: Keras 3.0
    # has no keras.config.dtype_policy, TensorFlow 2.16.0 does not exist, TensorBoard 2.16.0 pulls nightly builds of it.
    install_requires=[
        "absl-py>=2.0",
        "h5py>=3.10",
        "importlib_resources>=6.0",  # imported lazily by TensorFlow Datasets, which does not declare it
        "jinja2>=3.1",
        "keras>=3.1",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pyarrow>=14",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "tensorboard>=2.16.2",  # tf.summary needs it; TensorFlow 2.21 no longer brings it
        "tensorflow>=2.16.1",
        "tensorflow-datasets>=4.9.4",
    ],
    extras_require={
        "crosscheck": ["cleverhans>=4.0"],
        # Peers that pull gigabytes (torch) stay out of the extra that the quickstart installs.
        "foolbox": ["foolbox>=3.3", "torch>=2.2"],
        "art": ["adversarial-robustness-toolbox>=1.17", "torch>=2.2"],
        "torchattacks": ["torchattacks>=3.5", "torch>=2.2"],
        "torch": ["torch>=2.2"],
        "jax": ["foolbox>=3.3", "jax>=0.6"],
        "onnx": ["onnxruntime>=1.17", "tf2onnx>=1.17"],
        "ray": ["ray>=2.9"],
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1.0"],
        "dev": [
            "build>=1.0",
            "hypothesis>=6.100",
            "jax>=0.6",
            "mypy>=1.10",
            "onnxruntime>=1.17",
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "ray>=2.9",
            "ruff>=0.6",
            "tf2onnx>=1.17",
            "setuptools>=65",  # with wheel: the packaging test builds the wheel without a network
            "wheel>=0.41",
        ],
    },
    entry_points={
        "console_scripts": [
            *(console_command("trainers", program) for program in TRAINERS),
            *(console_command("programs", program) for program in PROGRAMS),
        ]
    },
)
