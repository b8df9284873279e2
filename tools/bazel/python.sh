#!/bin/sh
# The interpreter of every py_binary and py_test: that of the checkout's virtual environment, which holds the
# dependencies. Bazel reaches this file through links, so following them leads back to the checkout.
# TFADV_PYTHON=/path/to/python names another interpreter.
here=$(dirname "$(readlink -f "$0")")
python=${TFADV_PYTHON:-$here/../../.venv/bin/python}
if [ ! -x "$python" ]; then
    echo "tools/bazel/python.sh: no interpreter at $python: create the virtual environment with 'make test', or" \
        "name one that has the dependencies with --test_env=TFADV_PYTHON=/path/to/python." >&2
    exit 1
fi
exec "$python" "$@"
