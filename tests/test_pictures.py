"""What students see beside a failed test: pictures and tables of feature maps."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from autograder.pictures import SHEET_GAP, difference, picture


def pixels(html: str) -> np.ndarray:
    (data,) = re.findall(r"base64,([^\"]+)", html)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_feature_maps_lie_side_by_side_in_one_scale_of_greys():
    maps = np.zeros((1, 5, 10, 12))
    maps[0, 1] = 1
    maps[0, 4] = np.linspace(0, 1, 120).reshape(10, 12)
    sheet = pixels(picture(torch.from_numpy(maps)))
    assert sheet.shape == (21, 51, 3)
    assert (sheet[:10, :12] == 0).all()
    assert (sheet[:10, 13:25] == 255).all()
    np.testing.assert_array_equal(sheet[11:, :12, 0], (maps[0, 4] * 255).astype(np.uint8))
    assert (sheet[10] == SHEET_GAP).all()
    assert (sheet[11:, 13:] == SHEET_GAP).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 2, 3, 4)])
def test_few_numbers_are_tables_with_the_wrong_ones_marked(shape, dtype):
    got = np.arange(24, dtype=dtype).reshape(shape)
    want = got.copy()
    want[..., 1, 2, 3] += 1
    html = picture(got, beside=want, tolerance=0.5)
    assert html.count("<table") == 2
    assert html.count("outline") == 1
    assert re.search(r"outline[^>]*>23<", html)
    assert "outline" not in picture(got, beside=want[..., :2], tolerance=0.5)


def test_the_difference_of_feature_maps_is_that_of_any_channel():
    got = np.zeros((2, 3, 20, 10))
    want = got.copy()
    want[0, 0, 4, 5] = want[1, 2, 6, 7] = want[0, 2, 4, 5] = 1
    (panel,) = difference(got, want)
    assert "2 of 200 pixels" in panel.caption
    marked = (pixels(panel.html) == (0xD5, 0x5E, 0x00)).all(-1)
    assert np.argwhere(marked).tolist() == [[4, 5], [6, 7]]
