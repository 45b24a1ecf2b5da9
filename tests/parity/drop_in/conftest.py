"""Two implementations for each test, and PyTorch's settings put back after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.parity.drop_in.support import PYTORCH, config, implementation, torch

BOTH = ["torch", "ptfile"]


@pytest.fixture(params=BOTH)
def lib(request: pytest.FixtureRequest) -> Any:
    """PyTorch's functions, then ptfile's: a test that takes it states a behaviour of both."""
    return implementation(request.param)


@pytest.fixture(params=["ptfile"])
def ours(request: pytest.FixtureRequest) -> Any:
    """ptfile's functions alone, for what PyTorch has not or does otherwise."""
    return implementation(request.param)


class Pair(NamedTuple):
    """Who saves and who loads."""

    writer: Any
    reader: Any


@pytest.fixture(params=[(writer, reader) for writer in BOTH for reader in BOTH], ids="-".join)
def pair(request: pytest.FixtureRequest) -> Pair:
    """Saved by one, loaded by the other, in all four ways."""
    return Pair(*map(implementation, request.param))


@pytest.fixture(autouse=True)
def _settings_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting, registration or patch outlives its test; the environment says nothing of weights_only."""
    for name in ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TORCH_SERIALIZATION_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    settings = [(config.load, name) for name in ("mmap", "endianness", "mmap_flags", "calculate_storage_offsets")]
    settings += [(config.save, name) for name in ("compute_crc32", "use_pinned_memory_for_d2h", "storage_alignment")]
    before = [(section, name, getattr(section, name)) for section, name in settings]
    registry = list(torch.serialization._package_registry)
    allowed = torch._weights_only_unpickler._marked_safe_globals_set  # parts of PyTorch add to it when imported
    yield
    for section, name, value in before:
        setattr(section, name, value)
    torch.serialization._package_registry[:] = registry
    torch._weights_only_unpickler._marked_safe_globals_set = allowed
    torch.serialization._serialization_tls.map_location = None  # PyTorch leaves it behind when a load fails
    left = {name for name in ("save", "load") if getattr(torch, name) is not getattr(PYTORCH, name)}
    for module in (torch, torch.serialization):
        module.save, module.load = PYTORCH.save, PYTORCH.load
    assert not left, "a test left PyTorch patched"
    assert not torch.serialization._serialization_tls.skip_data
