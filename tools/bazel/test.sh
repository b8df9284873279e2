#!/bin/sh
# Builds every target with Bazel and runs the fast tests, without network. The virtual environment must exist.
#   tools/bazel/test.sh [--install] [options of bazel test]
# --install: where no Bazel is found, installs Debian's (as root). TFADV_PYTHON: an interpreter other than .venv's.
set -eu
cd "$(dirname "$0")/../.."

find_bazel() {
    # Debian's command is bazel-4: its bazel is a launcher that knows no version 4.2.3.
    command -v bazel-4 || command -v bazelisk || command -v bazel
}

if [ "${1:-}" = --install ]; then
    shift
    find_bazel >/dev/null || { apt-get update && apt-get install -y bazel-bootstrap; }
fi
bazel=$(find_bazel) || {
    echo "tools/bazel/test.sh: no Bazel found: apt-get install bazel-bootstrap, or give --install as root." >&2
    exit 1
}

# Bazel does not see the packages of the interpreter. Their versions in the environment of the tests make it run them
# again when one changes.
packages=$(sh tools/bazel/python.sh -c '
import hashlib, importlib.metadata as metadata
names = sorted(f"{found.name}=={found.version}" for found in metadata.distributions())
print(hashlib.sha256("\n".join(names).encode()).hexdigest()[:16])')

# Two at a time: each test loads TensorFlow, which fills a core. No target to test is an error of Bazel (status 4).
"$bazel" build --config=offline --jobs=2 //...
"$bazel" test --config=offline --config=fast --jobs=2 --test_env="TFADV_PACKAGES=$packages" \
    ${TFADV_PYTHON:+--test_env=TFADV_PYTHON="$TFADV_PYTHON"} "$@" //...
