"""The examples in the docstrings of the room are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["", ".base", ".closed", ".code", ".derivation", ".discrete", ".inverse", ".newton"])
def test_examples(module):
    outcome = doctest.testmod(importlib.import_module("odekit.processes" + module), optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0
