"""The drop-in for people who have PyTorch: `from ptfile.torch import save, load`.

The same calls as `torch.save` and `torch.load`, real torch objects, and PyTorch's own settings: the companions below
are those of `torch.serialization` themselves, so that what is set here or there holds here and there.
"""

import torch  # noqa: F401  (first: imported as the parent of another module, its name is another text in pickles)
from torch.serialization import (
    LoadEndianness,
    SourceChangeWarning,
    add_safe_globals,
    clear_safe_globals,
    default_restore_location,
    get_crc32_options,
    get_default_load_endianness,
    get_default_mmap_options,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
    location_tag,
    register_package,
    safe_globals,
    set_crc32_options,
    set_default_load_endianness,
    set_default_mmap_options,
    skip_data,
)
from torch.utils.serialization import config

from ptfile.torch.loading import load
from ptfile.torch.patching import patch
from ptfile.torch.saving import save, save_async

__all__ = [
    "LoadEndianness",
    "SourceChangeWarning",
    "add_safe_globals",
    "clear_safe_globals",
    "config",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "location_tag",
    "patch",
    "register_package",
    "safe_globals",
    "save",
    "save_async",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
    "skip_data",
]
