"""Gradients in closed form; models that have none, have zero, or have no number for one."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import LINEAR_WEIGHTS
