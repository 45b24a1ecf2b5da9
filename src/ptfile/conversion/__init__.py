"""Checkpoints as files of other formats, and back: safetensors, and numpy's .npz."""
