"""Tensors as a `.pt` file describes them: dtypes, storages of untyped bytes, and strided views of those.

Knows no pickle and no container. `dtypes` is the one table of element types, `storage` holds the bytes, `strides` is
arithmetic on shapes that never sees a byte, `view` and `tensor` join the three, `create` makes tensors from Python
values and numpy arrays, `text` prints them.
"""
