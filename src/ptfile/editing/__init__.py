"""Changing an object tree by the names of its places, without reading its tensors."""
