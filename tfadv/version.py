"""The one place that states the version: setup.py, `tfadv.__version__` and every run's record read it here."""

__version__ = "0.1.0"
