"""An exported folder of every kind of vocabulary."""

import pytest

from tests.support.exports import KINDS, export


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """Kind → folder, RNN."""
    root = tmp_path_factory.mktemp("exports")
    return {kind: (root / kind, export(root / kind, kind)) for kind in KINDS}
