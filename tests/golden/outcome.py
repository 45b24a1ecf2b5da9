"""What comes of loading a file of the corpus, judged by what the corpus says and by the list of exceptions."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import ptfile
from tests.golden import exceptions
from tests.golden.corpus import Corpus, CorpusFile, Expectation
from tests.golden.expectation import differences
from tests.golden.walk import Difference

Verdict: TypeAlias = Literal["equal", "as in PyTorch", "excused", "refused", "wrong"]


_CONCATENATED = 3
"""Values in the files that hold several, one after the other."""

_PACKAGED = "model/obj.pkl"
"""The one resource of a package that the corpus describes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a file loads."""

    verdict: Verdict
    """`as in PyTorch`: what differs is what PyTorch loses too. `excused`, `refused`: as the list of exceptions says."""
    reason: str = ""


def natural_encoding(file: CorpusFile) -> str:
    """The encoding for a file's strings of Python 2: the default where it will do."""
    return "latin1" if exceptions.NEEDS_LATIN1.fullmatch(str(file)) else "utf-8"


def load(corpus: Corpus, file: CorpusFile, encoding: str) -> Any:
    """What a user gets from a file."""
    if "concatenated" in file.name:
        with corpus.path(file).open("rb") as stream:
            return [ptfile.load(stream, unknown="inert", encoding=encoding) for _ in range(_CONCATENATED)]
    with corpus.opened(file) as f:
        value = ptfile.load(f, unknown="inert", encoding=encoding)
    return value[_PACKAGED] if file.kind == "package" else value


def compare(corpus: Corpus, file: CorpusFile, encoding: str) -> list[Difference]:
    """Where what a file loads to is not what was saved."""
    expectation = corpus.expectation(file)
    value = load(corpus, file, encoding)
    return differences(value, expectation.tree, expectation.storages, python2_encoding=encoding)


@functools.cache  # the table of compatibility asks again what the tests have asked
def judge(corpus: Corpus, file: CorpusFile, encoding: str) -> Outcome:
    """How a file loads, and whether that is as it should be."""
    refused = exceptions.find(exceptions.REFUSED, file)
    try:
        found = compare(corpus, file, encoding)
    except ptfile.PtfileError as error:
        if refused is None:
            return Outcome("wrong", str(error))
        return Outcome("refused", exceptions.REFUSED[refused])
    if refused is not None:
        return Outcome("wrong", "it loads, though the list of exceptions says that it is refused")
    return _judge(found, file, corpus.expectation(file))


def _judge(found: list[Difference], file: CorpusFile, expectation: Expectation) -> Outcome:
    pattern = exceptions.find(exceptions.LOSSES, file)
    loss = exceptions.LOSSES[pattern] if pattern else None
    left = [difference for difference in found if not expectation.is_lost_in_pytorch(difference.path)]
    unexplained = [difference for difference in left if not (loss and re.fullmatch(loss.paths, difference.path))]
    if unexplained:
        return Outcome("wrong", "\n".join(map(str, unexplained)))
    if loss and not left:
        return Outcome("wrong", "it loads without the difference that the list of exceptions has for it")
    if loss:
        return Outcome("excused", loss.reason)
    return Outcome("as in PyTorch", str(found[0])) if found else Outcome("equal")
