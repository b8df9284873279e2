"""How the rooms are tried with what nobody should pass them: a result that keeps its promises, or one clear error."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

# Hypothesis keeps notes of its own; not in the clone.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.join(tempfile.gettempdir(), "hypothesis"))

import hypothesis
import pytest

from tfadv.validation import UserError

# The same examples on every machine; a model that is traced has no steady pace.
hypothesis.settings.register_profile(
    "hostile",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("hostile")


@pytest.fixture(scope="session")
def refusal() -> Callable[..., str | None]:
    """`refusal(names, call, *arguments, **options)`: the message of the UserError, which holds one of `names`.

    None where the call succeeds, whose result is appended to the list `into`, if given. Any other exception is a fault.
    """

    def attempt(names: tuple[str, ...], call: Any, *arguments: Any, into: list | None = None, **options: Any):
        try:
            result = call(*arguments, **options)
        except UserError as error:
            message = str(error)
            assert any(name in message for name in names), message
            assert len(message) < 2000
            return message
        if into is not None:
            into.append(result)
        return None

    return attempt
