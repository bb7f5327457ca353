"""A server that writes texts."""

from collections.abc import Iterator

import pytest

from tests.llm_endpoint import Endpoint, running_endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running_endpoint() as found:
        yield found
