"""The keywords of `save` that PyTorch does not have."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.support import FORMATS, described, torch


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_durable_save_syncs_the_file_and_its_folder(
    ours: Any, options: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file under its temporary name, the folder once it has the target's."""
    synced: list[tuple[bool, bool]] = []
    path = tmp_path / "model.pt"
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((stat.S_ISDIR(os.fstat(file).st_mode), path.exists())))
    ours.save(torch.arange(5), path, fsync=True, **options)

    assert synced == [(False, False), (True, True)]
    assert described(ours.load(path)) == described(torch.arange(5))


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_what_has_no_descriptor_cannot_be_durable(ours: Any, options: Any) -> None:
    """As in `ptfile.save`."""
    with pytest.raises(ValueError, match="a BytesIO has no file descriptor"):
        ours.save(1, io.BytesIO(), fsync=True, **options)
