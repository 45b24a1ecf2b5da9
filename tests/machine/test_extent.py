"""How deep and how large a loaded value may be."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import pytest

from ptfile.errors import LimitError
from ptfile.limits import Limits
from ptfile.machine.extent import check_graph, check_tree

LIMITS = Limits(depth=10)


def nested(depth: int, wrap: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    """`depth` containers, one in the other."""
    value: Any = 0
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS: list[Callable[[Any], Any]] = [
    lambda inner: [1, inner],
    lambda inner: (inner, 2),
    lambda inner: {"a": inner},
    lambda inner: OrderedDict(a=inner),
    lambda inner: deque([inner]),
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_containers_of_every_kind_are_levels(wrap: Callable[[Any], Any]) -> None:
    """As many levels as the limit says pass, one more does not, whether or not parts are shared."""
    for check in (check_tree, lambda value, limits: check_graph(value, limits, 1_000)):
        check(nested(10, wrap), LIMITS)
        with pytest.raises(LimitError) as caught:
            check(nested(11, wrap), LIMITS)
        assert (caught.value.limit, caught.value.allowed, caught.value.actual) == ("depth", 10, 11)


def test_a_shared_container_counts_each_time_that_it_is_met() -> None:
    """Lists that double: 1 + 2 + 4 + ... values to those who walk through all of it."""
    value = nested(9, lambda inner: [inner, inner])
    met = 2**10 - 1
    check_graph(value, LIMITS, met)
    with pytest.raises(LimitError) as caught:
        check_graph(value, LIMITS, met - 1)
    assert (caught.value.limit, caught.value.actual) == ("shared", met)


def test_what_contains_itself_has_an_end() -> None:
    """Walkers go no further where they have been before."""
    ring: list[Any] = [1, 2]
    ring.append({"again": ring})
    check_graph([ring, ring], LIMITS, 11)


def test_a_million_containers_are_checked_in_linear_time() -> None:
    """Ten times as many take about ten times as long."""

    def seconds(count: int) -> float:
        value: Any = [[] for _ in range(count)]
        value.append(value[0])
        start = time.perf_counter()
        check_graph(value, LIMITS, 10 * count)
        return time.perf_counter() - start

    few = min(seconds(20_000) for _ in range(3))
    assert seconds(200_000) < 40 * few
