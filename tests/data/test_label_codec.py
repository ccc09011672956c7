"""Labels as numbers on disk."""

import numpy as np
import pytest
import torch

from fairseq_smt.data.label_cache import codec
from fairseq_smt.errors import ConfigurationError

WIDTH = 24


def rows(n: int = 500) -> np.ndarray:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(1)).numpy()


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0), ("float16", 2**-11), ("bfloat16", 2**-8)])
def test_floats_are_rounded_to_nearest(dtype, error):
    x = rows()
    words, scales = codec.encode(x, dtype)
    assert scales is None and words.nbytes == len(x) * codec.position_bytes(dtype, WIDTH)
    found = codec.decode(words, None, dtype)
    assert found.dtype == codec.decoded_type(dtype)
    assert np.all(np.abs(found.astype(np.float32) - x) <= error * np.abs(x) + 1e-7)
    expected = torch.from_numpy(x).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(found.astype(np.float32), expected)


def test_int8_has_a_scale_per_position():
    x = rows() * np.logspace(-3, 3, 500, dtype=np.float32)[:, None]
    x[7] = 0
    words, scales = codec.encode(x, "int8")
    assert words.nbytes + scales.nbytes == len(x) * codec.position_bytes("int8", WIDTH)
    found = codec.decode(words, scales, "int8")
    assert found.dtype == np.float32
    assert np.all(np.abs(found - x) <= np.abs(x).max(1, keepdims=True) / 127 * 0.501)


@pytest.mark.parametrize("dtype", list(codec.STORED))
def test_no_rows(dtype):
    words, scales = codec.encode(np.zeros((0, WIDTH), np.float32), dtype)
    assert codec.decode(words, scales, dtype).shape == (0, WIDTH)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ConfigurationError, match="--dtype float8 is unknown"):
        codec.check_dtype("float8")
