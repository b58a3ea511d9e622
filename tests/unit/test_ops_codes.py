from __future__ import annotations

import numpy as np
import pytest
import torch

from dvcp.ops.codes import from_codes, to_codes


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_code_returns(channels: int) -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(channels, 1)
    planes = from_codes(torch.from_numpy(codes))
    assert planes.dtype == torch.float32
    np.testing.assert_array_equal(to_codes(planes), codes)


def test_chroma_is_centred_and_luma_is_not() -> None:
    middle = torch.zeros(3, 1, 1)
    assert to_codes(middle).ravel().tolist() == [0, 128, 128]
    assert to_codes(middle[:2]).ravel().tolist() == [128, 128] and to_codes(middle[:1]).ravel().tolist() == [0]
    assert to_codes(torch.tensor([2.0, -2.0, 2.0]).reshape(3, 1, 1)).ravel().tolist() == [255, 0, 255], "beyond the range is cut off"
