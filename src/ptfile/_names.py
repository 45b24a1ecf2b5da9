r"""Names for the places inside a checkpoint: `model.layer.0.weight`, as people write them.

    string keys and attributes      joined by dots          model.layer.0.weight
    list indexes and all other keys in brackets             optimizer.state[0].exp_avg
    keys that would not read well   quoted, in brackets     ['a line\n'], [''], ['a[0]']
    the root                        the empty name

Keys may hold dots themselves, as those of a state dict do, so two places can come out alike: `{"a.b": x}` and
`{"a": {"b": y}}`. Then both are written the way Python would reach them: `['a.b']` and `['a']['b']`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

# Named tuples, here and in `_tree`: a checkpoint has many names, and these are made in half the time of a dataclass.


class Key(NamedTuple):
    """A step into a dict, a list or a tuple."""

    value: object
    """The key or the index."""


class Attribute(NamedTuple):
    """A step into an object with attributes."""

    name: str
    beside_keys: bool = False
    """Whether the object is first of all a dict, as an `OrderedDict` with attributes is."""


Step: TypeAlias = "Key | Attribute"
Path: TypeAlias = "tuple[Step, ...]"


def join(prefix: str, step: Step) -> str:
    """The readable name of a place one step below the place called `prefix`.

    >>> join(join(join("", Key("state")), Key(0)), Attribute("lr"))
    'state[0].lr'
    """
    text = step.name if isinstance(step, Attribute) else step.value
    if type(text) is str and _reads_well(text):
        return f"{prefix}.{text}" if prefix else text
    return f"{prefix}[{_in_brackets(text)}]"


def exact(path: Path) -> str:
    """The name that is nobody else's: every key in brackets.

    >>> exact((Key("a.b"), Key(0), Attribute("lr")))
    "['a.b'][0].lr"
    """
    name = ""
    for step in path:
        name = f"{name}[{_in_brackets(step.value)}]" if isinstance(step, Key) else join(name, step)
    return name


def distinct(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """The readable names of these paths, except that names which several paths would have become exact.

    >>> distinct(["a.b", "a.b", "c"], [(Key("a.b"),), (Key("a"), Key("b")), (Key("c"),)])
    ["['a.b']", "['a']['b']", 'c']
    """
    readable = Counter(names)
    chosen = [exact(path) if readable[name] > 1 else name for name, path in zip(names, paths, strict=True)]
    if len(set(chosen)) == len(chosen):
        return chosen
    # Keys that differ may still be written alike: there can be two NaNs in a dict. Count them.
    seen: Counter[str] = Counter()
    for place, name in enumerate(chosen):
        seen[name] += 1
        if seen[name] > 1:
            chosen[place] = f"{name}#{seen[name]}"
    return chosen


def components(name: str) -> list[str]:
    """A name cut into its steps, which joined are the name again.

    >>> components("model.layer[0].weight"), components("['a.b'].c")
    (['model', '.layer', '[0]', '.weight'], ["['a.b']", '.c'])
    """
    return _COMPONENT.findall(name)


_COMPONENT = re.compile(
    r"""\[(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^]['"])*\]  # in brackets, with a quoted key or another
    |   \.?[^.[]+                                             # a word
    |   .""",
    re.VERBOSE | re.DOTALL,
)


def _in_brackets(key: object) -> str:
    try:
        return repr(key)
    except ValueError:  # Python writes no integers of more than 4,300 digits
        return f"<{type(key).__name__}>"


def _reads_well(key: str) -> bool:
    """Whether a key can stand between dots: nothing invisible in it, no bracket, no empty part."""
    return (
        key.isprintable()
        and "[" not in key
        and "]" not in key
        and key == key.strip()
        and not (key.startswith(".") or key.endswith(".") or ".." in key or not key)
    )
