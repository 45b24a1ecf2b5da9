"""What the tests of sinks share."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def in_child() -> Callable[..., None]:
    """Call a function in a forked child, and wait for it."""

    def run(function: Callable[[], None]) -> None:
        child = os.fork()
        if not child:
            code = 1
            try:
                function()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    return run
