"""Where a URL leads: object stores and web servers by obstore, all else by fsspec.

Both are extras, imported when a URL asks for them.
"""
