"""Tests that need PyTorch. Where PTFILE_PARITY=required they must run: not one of them may be skipped."""

from __future__ import annotations

import os

import pytest

if os.environ.get("PTFILE_PARITY") != "required":
    pytest.importorskip("torch", reason="parity tests compare with PyTorch")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):  # type: ignore[no-untyped-def]
    """Where parity is required, a skipped test is a failed one."""
    report = yield
    if report.skipped and os.environ.get("PTFILE_PARITY") == "required":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and parity is required here"
    return report
