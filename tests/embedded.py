"""What tests of the embedded model need."""

import pytest

from msgflow.models.weights import find


def require_smollm2() -> None:
    """Skip the test, with the reason, where the embedded model cannot run."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    if find("smollm2") is None:
        pytest.skip("no weights: run `msgflow models pull smollm2`")
