"""`python -m pytest tests/golden --regenerate` writes the curves anew instead of comparing them."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate",
        action="store_true",
        help="write the golden curves anew: give the reason in the commit and raise RESULTS_VERSION",
    )


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    # the option exists only where pytest was given this folder: it reads other conftests too late for options
    return bool(request.config.getoption("--regenerate", default=False))
