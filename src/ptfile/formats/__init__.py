"""The dialects of checkpoint files: each joins a container, the machine and tensors."""
