"""The builder `tiny` in recipes and weight files."""

import pytest

from kseg import zoo
from tests.training import tiny


@pytest.fixture(scope="module", autouse=True)
def builder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.BUILDERS, "tiny", tiny.tiny)
        yield
