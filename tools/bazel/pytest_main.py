"""The main program of every pytest_test: runs pytest on the files and options that it is given.

pytest ends with status 5 where it finds or selects no test, so such a run fails. Bazel's conventions become pytest's:
the XML report goes where Bazel collects it, `bazel test --test_filter=WORDS` becomes `-k WORDS`, and temporary folders
lie in the one that Bazel empties.
"""

import os
import sys

import pytest


def arguments(given: list[str], environment: dict[str, str]) -> list[str]:
    """The pytest command line for a test that Bazel starts with `given` in `environment`."""
    options = ["-c", "pyproject.toml", "-p", "no:cacheprovider", "-ra"]
    if "XML_OUTPUT_FILE" in environment:
        options.append(f"--junitxml={environment['XML_OUTPUT_FILE']}")
    if "TESTBRIDGE_TEST_ONLY" in environment:
        options += ["-k", environment["TESTBRIDGE_TEST_ONLY"]]
    if "TEST_TMPDIR" in environment:
        options.append(f"--basetemp={os.path.join(environment['TEST_TMPDIR'], 'pytest')}")
    return options + given


if __name__ == "__main__":
    del sys.path[0]  # Python put this file's own folder there; tests see only what their target depends on.
    sys.exit(pytest.main(arguments(sys.argv[1:], dict(os.environ))))
