"""What the stages start from."""

import pytest

from tests.support.stages import flags_of


@pytest.fixture(scope="session")
def stage_flags(trained, labels):
    """Flags of a stage by its name."""
    return lambda stage: flags_of(stage, trained, labels)
