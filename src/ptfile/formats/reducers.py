"""All types of ptfile's own that it can write: the tables, joined. `vocabulary` has what it can read."""

from __future__ import annotations

from ptfile.formats import rebuild, torch_constants
from ptfile.machine.encoder import saved_types

REDUCERS = saved_types({**rebuild.REDUCERS, **torch_constants.REDUCERS})
SHARED_WORD = "torch"
"""The module of theirs whose name is a word."""
