"""Distances within masks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt

from segedu.distances import distance_inside


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=60), elements=st.booleans()))
def test_distances_agree_with_scipys(mask):
    mask[0, 0] = False
    np.testing.assert_array_equal(distance_inside(mask), distance_transform_edt(mask).astype(np.float32))


def test_distances_do_not_depend_on_where_the_mask_lies_in_memory():
    rng = np.random.default_rng(0)
    mask = rng.random((40, 40)) > 0.02
    others = [np.empty(rng.integers(1, 3000), np.uint8) for _ in range(20)]
    assert all(np.array_equal(distance_inside(mask.copy()), distance_inside(mask)) for _ in others)
