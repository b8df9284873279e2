"""Training: an experiment is data, and `run` makes a classifier of it, on one device or on many."""

from tfadv.training.experiment import OPTIMIZERS as OPTIMIZERS
from tfadv.training.experiment import PRECISIONS as PRECISIONS
from tfadv.training.experiment import Experiment as Experiment
from tfadv.training.experiment import Validation as Validation
from tfadv.training.experiment import build as build
from tfadv.training.experiment import classifier_of as classifier_of
from tfadv.training.experiment import describe as describe
from tfadv.training.pipeline import batches as batches
from tfadv.training.record import environment as environment
from tfadv.training.runner import accuracy as accuracy
from tfadv.training.runner import run as run
from tfadv.training.runner import save as save
from tfadv.training.strategies import STRATEGIES as STRATEGIES
from tfadv.training.strategies import WorkerLost as WorkerLost
from tfadv.training.strategies import make_strategy as make_strategy
from tfadv.training.strategies import start_again as start_again
