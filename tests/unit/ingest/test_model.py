"""Models are values: nobody changes one after it was made."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from ingest import model
from ingest.model import Page

MODELS = [
    found
    for _, found in inspect.getmembers(model, inspect.isclass)
    if dataclasses.is_dataclass(found) and found.__module__ == model.__name__
]


@pytest.mark.parametrize("found", MODELS)
def test_a_model_is_frozen_and_takes_no_stray_attributes(found: type) -> None:
    assert found.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(found)


@pytest.mark.parametrize("found", MODELS)
def test_a_model_says_what_it_means(found: type) -> None:
    # A dataclass without a docstring invents its signature.
    assert not (found.__doc__ or "(").startswith(f"{found.__name__}(")


def test_a_page_cannot_be_changed() -> None:
    page = Page(items=[1], total=1, page=1, limit=20)
    with pytest.raises(dataclasses.FrozenInstanceError):
        page.total = 2  # type: ignore[misc]
