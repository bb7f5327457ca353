"""Fixtures of the model's tests that training needs too."""

from tests.model.conftest import decoder

__all__ = ["decoder"]
