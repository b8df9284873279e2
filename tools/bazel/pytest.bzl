"""A py_test that runs one pytest file."""

_MAIN = "//tools/bazel:pytest_main.py"

def pytest_test(name, srcs, **kwargs):
    """Declares a native py_test whose main program is pytest on `srcs`.

    Options given with --test_arg reach pytest: `bazel test --test_arg=-x //tests:test_balls`.

    Args:
      name: the name of the target.
      srcs: the test files.
      **kwargs: further attributes of py_test.
    """
    native.py_test(
        name = name,
        srcs = srcs + [_MAIN],
        main = _MAIN,
        args = ["$(rootpath %s)" % src for src in srcs],
        data = ["//:pyproject.toml"],
        **kwargs
    )
