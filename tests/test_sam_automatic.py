"""SAM's automatic masks beside its authors' own, on photographs.

Masks of random weights hardly depend on the click, and nothing would be left to filter, so most tests put something in
the place of the network that answers a click as a magic wand does: with what has the colour that was clicked at, and is
near, to within three tolerances. Both generators use the same one.
"""

import re
from functools import partial

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco
from segment_anything import SamAutomaticMaskGenerator as AuthorsGenerator
from segment_anything import modeling
from segment_anything.utils import amg
from torch import Tensor, nn
from torchvision.ops import box_iou

from segedu.datasets import photos
from segedu.masks import rle_decode, rle_encode
from segedu.models.sam import frames
from segedu.models.sam.automatic import SamAutomaticMaskGenerator
from segedu.models.sam.build import vit_sam
from segedu.models.sam.candidates import (
    Candidate,
    box_of,
    crop_boxes,
    is_cut_off,
    point_grid,
    remove_small_regions,
    stability_score,
    suppress,
)
from segedu.models.sam.model import Sam

SIZE = 128
SMALL = {"image_size": SIZE, "width": 48, "depth": 2, "heads": 3, "global_blocks": (1,), "window": 3}

pytestmark = pytest.mark.usefixtures("one_thread")


def wand(image: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (P, 3, h, h) and expected IoU (P, 3) of clicks (P, 2), in pixels of the square, on colours (3, h, h)."""
    x, y = (points * image.shape[-1] / SIZE).long().clamp(0, image.shape[-1] - 1).unbind(1)
    difference = (image - image[:, y, x].T[:, :, None, None]).norm(dim=1)  # P, h, h
    rows, columns = torch.meshgrid(*[torch.arange(float(image.shape[-1]))] * 2, indexing="ij")
    distance = torch.hypot(rows - y[:, None, None], columns - x[:, None, None])
    tolerance = torch.tensor([0.4, 0.8, 1.6])[:, None, None]
    sure = (points @ torch.tensor([[0.05], [0.0731]])).sin() * 0.2 + torch.tensor([0.7, 0.8, 0.75])
    return 8 * (tolerance - (difference + distance / 20)[:, None]), sure


class Colours(nn.Module):
    """An image encoder that shrinks images to a quarter."""

    image_size = img_size = SIZE

    def forward(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 4)


class Wand(Sam):
    """In place of our network."""

    def __init__(self) -> None:
        super().__init__(Colours())

    def decode(self, embeddings: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        assert points.shape == (*labels.shape, 2) and points.shape[1] == 1 and bool((labels == 1).all())
        return wand(embeddings[0], points[:, 0])


class AuthorsPrompts(nn.Module):
    def forward(self, points: tuple[Tensor, Tensor], boxes: None, masks: None) -> tuple[Tensor, None]:
        return points[0][:, 0].float(), None

    def get_dense_pe(self) -> None:
        return None


class AuthorsDecoder(nn.Module):
    def forward(self, image_embeddings: Tensor, sparse_prompt_embeddings: Tensor, **_) -> tuple[Tensor, Tensor]:
        return wand(image_embeddings[0], sparse_prompt_embeddings)


def both(ours: Sam, theirs: modeling.Sam, image: np.ndarray, **settings) -> list[list[dict]]:
    return [
        generator(sam, **settings).generate(image)
        for generator, sam in ((SamAutomaticMaskGenerator, ours), (AuthorsGenerator, theirs))
    ]


@pytest.fixture(scope="module")
def wands() -> tuple[Sam, modeling.Sam]:
    return Wand(), modeling.Sam(Colours(), AuthorsPrompts(), AuthorsDecoder())


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return photos.load("coffee").image[:300:2, ::2]  # 150 x 300


def assert_same(ours: list[dict], theirs: list[dict]) -> None:
    """The same records in the same order; pixels may differ where a logit is 0 to six digits."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for key in ("bbox", "point_coords", "crop_box"):
            assert np.allclose(one[key], other[key], atol=1e-6), key
        assert abs(one["area"] - other["area"]) <= 2
        assert one["predicted_iou"] == pytest.approx(other["predicted_iou"], abs=1e-4)
        assert one["stability_score"] == pytest.approx(other["stability_score"], abs=1e-4)
        masks = [mask_of(record["segmentation"]) for record in (one, other)]
        assert (masks[0] != masks[1]).sum() <= 2
        assert masks[0].sum() == one["area"]


def mask_of(segmentation) -> np.ndarray:
    return segmentation if isinstance(segmentation, np.ndarray) else rle_decode(segmentation)


# Every filter drops some masks, and lets others pass.
LOOSE = {"points_per_side": 8, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.6, "box_nms_thresh": 0.8}


class TestRecords:
    @pytest.mark.parametrize("name", ["coffee", "chelsea", "astronaut"])
    def test_are_the_authors(self, wands, name):
        ours, theirs = both(*wands, photos.load(name).image[::2, ::2], **LOOSE)
        assert_same(ours, theirs)
        assert len(ours) > 5

    @pytest.mark.parametrize(
        ("stricter", "at_least"),
        [
            ({"pred_iou_thresh": 0.85}, 3),
            ({"stability_score_thresh": 0.8}, 3),
            ({"stability_score_offset": 2.0}, 3),
            ({"box_nms_thresh": 0.3}, 3),
            ({"min_mask_region_area": 400}, 3),
        ],
    )
    def test_are_fewer_with_each_filter(self, wands, coffee, stricter, at_least):
        loose = both(*wands, coffee, **LOOSE)
        strict = both(*wands, coffee, **LOOSE | stricter)
        assert_same(*strict)
        assert at_least <= len(strict[0]) < len(loose[0])

    @pytest.mark.parametrize(
        "crops",
        [
            {"crop_n_layers": 1},
            {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
            {"crop_n_layers": 1, "crop_nms_thresh": 0.3, "crop_overlap_ratio": 0.6},
            {"crop_n_layers": 1, "min_mask_region_area": 200},
            {
                "crop_n_layers": 1,
                "points_per_side": None,
                "point_grids": [point_grid(5), point_grid(3)[::2]],
            },
        ],
    )
    def test_are_the_authors_with_crops(self, wands, coffee, crops):
        ours, theirs = both(*wands, coffee, **LOOSE | crops)
        assert_same(ours, theirs)
        assert len({tuple(record["crop_box"]) for record in ours}) > 2  # some come from the whole, some from crops

    def test_are_the_authors_where_nothing_is_filtered(self, wands, coffee):
        everything = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "box_nms_thresh": 1.0}
        ours, theirs = both(*wands, coffee, points_per_side=6, **everything)
        assert_same(ours, theirs)
        assert len(ours) == 3 * 6 * 6

    @pytest.mark.parametrize("mode", ["uncompressed_rle", "coco_rle"])
    def test_come_as_the_authors_run_lengths(self, wands, coffee, mode):
        ours, theirs = both(*wands, coffee, points_per_side=6, output_mode=mode, **{"stability_score_thresh": 0.5})
        assert_same(ours, theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert type(one["segmentation"]["counts"]) is type(other["segmentation"]["counts"])
            if mode == "coco_rle":
                assert coco.area(one["segmentation"]) == one["area"]

    def test_there_may_be_none(self, wands, coffee):
        assert SamAutomaticMaskGenerator(wands[0], pred_iou_thresh=2).generate(coffee) == []
        crops = {"crop_n_layers": 1, "min_mask_region_area": 5}
        assert SamAutomaticMaskGenerator(wands[0], pred_iou_thresh=2, **crops).generate(coffee) == []

    def test_do_not_depend_on_batches_or_the_form_of_the_image(self, wands, coffee):
        expected = SamAutomaticMaskGenerator(wands[0], **LOOSE).generate(coffee)
        in_batches = SamAutomaticMaskGenerator(wands[0], points_per_batch=7, **LOOSE)
        assert_same(in_batches.generate(torch.tensor(coffee).permute(2, 0, 1)), expected)

    def test_are_the_same_on_other_devices(self, wands, coffee, monkeypatch):
        """What runs there is the way for tensors that are not in memory."""
        generator = SamAutomaticMaskGenerator(wands[0], **LOOSE, crop_n_layers=1)
        expected = generator.generate(coffee / np.float32(255))
        for module in ("automatic", "candidates", "frames"):
            monkeypatch.setattr(f"segedu.models.sam.{module}.in_memory", lambda _: False)
        monkeypatch.setattr(frames, "FULL_SIZE_BYTES", 7 * 4 * 150 * 300)
        assert frames.Frame(150, 300, SIZE).masks_at_once(torch.zeros(1)) == 7
        assert_same(generator.generate(coffee / np.float32(255)), expected)

    def test_a_tiny_image_has_them_too(self, wands):
        image = np.zeros((3, 2, 3), np.uint8)
        records = SamAutomaticMaskGenerator(wands[0], crop_n_layers=2, points_per_side=2).generate(image)
        assert {record["area"] for record in records} <= {1, 2, 3, 4, 6} and records

    def test_show_their_progress(self, wands, coffee, capsys):
        SamAutomaticMaskGenerator(wands[0], points_per_side=4).generate(coffee)
        assert capsys.readouterr() == ("", "")
        SamAutomaticMaskGenerator(wands[0], points_per_side=4).generate(coffee, progress=True)
        out, error = capsys.readouterr()
        assert out == "" and "Clicks" in error and "100%" in error

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"output_mode": "png"}, "binary_mask, uncompressed_rle, coco_rle, got 'png'"),
            ({"points_per_side": None}, "either points_per_side or point_grids"),
            ({"point_grids": [point_grid(3)]}, "either points_per_side or point_grids"),
            ({"points_per_side": None, "point_grids": [point_grid(3)], "crop_n_layers": 1}, "of 1 layers, got 1"),
            ({"points_per_side": None, "point_grids": [100 * point_grid(3)]}, "(N, 2), (x, y) from 0 to 1"),
            ({"points_per_side": 0}, "at least 1 point a side, got [0]"),
            ({"points_per_side": 4, "crop_n_layers": 2, "crop_n_points_downscale_factor": 3}, "got [4, 1, 0]"),
            ({"points_per_batch": 0}, "points_per_batch and"),
            ({"crop_n_layers": -1}, "crop_n_layers at least 0; got 64, 1 and -1"),
        ],
    )
    def test_are_not_made_with_wrong_settings(self, wands, settings, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            SamAutomaticMaskGenerator(wands[0], **settings)


def test_records_of_the_network_are_the_authors(coffee):
    torch.manual_seed(0)
    encoder = modeling.ImageEncoderViT(
        depth=2,
        embed_dim=48,
        img_size=SIZE,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=3,
        use_rel_pos=True,
        global_attn_indexes=(1,),
        window_size=3,
    )
    prompts = modeling.PromptEncoder(256, (SIZE // 16, SIZE // 16), (SIZE, SIZE), 16)
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    official = modeling.Sam(encoder, prompts, modeling.MaskDecoder(transformer_dim=256, transformer=transformer)).eval()
    with torch.no_grad():
        for weight in official.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    sam = vit_sam(**SMALL).eval()
    sam.load_state_dict(official.state_dict())
    settings = {"pred_iou_thresh": -9, "stability_score_thresh": 0.2, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}
    ours, theirs = both(sam, official, coffee, points_per_side=5, crop_n_layers=1, **settings)
    assert_same(ours, theirs)
    assert len(ours) > 3


class TestStability:
    def test_by_hand(self):
        logits = np.array([[[-2.0, -0.5, 0.5, 2.0]], [[3.0, 1.0, -1.0, 0.0]], [[-5.0, -5.0, -5.0, -5.0]]])
        # Above 1 there are 1, 1 and no pixels, above -1 there are 3, 3 and none.
        assert stability_score(logits).tolist() == pytest.approx([1 / 3, 1 / 3, 0])
        # Above 0.5 there are 1, 2 and no pixels, above -2.5 there are 4, 4 and none.
        assert stability_score(logits, threshold=-1, offset=1.5).tolist() == pytest.approx([1 / 4, 2 / 4, 0])

    @given(logits=arrays(np.float32, (2, 3, 5, 6), elements=st.floats(-4, 4, width=16)), offset=st.floats(0, 3))
    def test_is_the_iou_of_two_cuts(self, logits, offset):
        scores = stability_score(logits, 0.25, offset)
        assert scores.shape == (2, 3) and scores.dtype == np.float32
        for score, one in zip(scores.ravel(), logits.reshape(6, 5, 6), strict=True):
            strict, lax = one > np.float32(0.25 + offset), one > np.float32(0.25 - offset)
            union = (strict | lax).sum()
            assert score == pytest.approx((strict & lax).sum() / union if union else 0)

    @given(logits=arrays(np.float32, (2, 5, 6), elements=st.floats(-4, 4, width=16)), offset=st.floats(0, 3))
    def test_is_the_authors_on_tensors(self, logits, offset):
        tensor = torch.from_numpy(logits)
        ours, theirs = stability_score(tensor, 0.1, offset), amg.calculate_stability_score(tensor, 0.1, offset)
        assert torch.equal(ours, theirs.nan_to_num(0))

    def test_is_the_same_where_nothing_may_wait(self):
        logits = torch.randn(4, 50, 60, generator=torch.manual_seed(0))
        assert torch.equal(stability_score(logits.clone().requires_grad_()), stability_score(logits))

    def test_offset_is_positive(self):
        with pytest.raises(ValueError, match="offset must be at least 0, got -1"):
            stability_score(np.zeros((2, 2)), offset=-1)


class TestPointGrid:
    def test_by_hand(self):
        assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]

    @given(n=st.integers(1, 40))
    def test_is_the_authors(self, n):
        assert np.allclose(point_grid(n), amg.build_point_grid(n), atol=1e-12)

    def test_has_points(self):
        with pytest.raises(ValueError, match="at least 1 point a side, got 0"):
            point_grid(0)


class TestCrops:
    @given(height=st.integers(20, 3000), width=st.integers(20, 3000), layers=st.integers(0, 3), ratio=st.floats(0, 0.9))
    def test_are_the_authors(self, height, width, layers, ratio):
        boxes, numbers = amg.generate_crop_boxes((height, width), layers, ratio)
        expected = zip(numbers, boxes, strict=True)  # of which some are empty
        expected = [
            (n, tuple(box)) for n, box in expected if box[0] < box[2] and box[1] < box[3]
        ]  # theirs may be empty
        assert crop_boxes(height, width, layers, ratio) == expected

    @given(height=st.integers(1, 40), width=st.integers(1, 40), layers=st.integers(0, 4), ratio=st.floats(0, 0.9))
    def test_of_each_layer_cover_the_image(self, height, width, layers, ratio):
        boxes = crop_boxes(height, width, layers, ratio)
        for layer in range(layers + 1):
            covered = np.zeros((height, width), bool)
            for number, (x0, y0, x1, y1) in boxes:
                assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
                if number == layer:
                    covered[y0:y1, x0:x1] = True
            assert covered.all()


class TestCutOff:
    @given(data=st.data())
    def test_is_the_authors(self, data):
        x0, x1 = sorted(data.draw(st.lists(st.integers(0, 200), min_size=2, max_size=2)))
        y0, y1 = sorted(data.draw(st.lists(st.integers(0, 150), min_size=2, max_size=2)))
        box = data.draw(st.tuples(*[st.integers(0, side) for side in (200, 150, 200, 150)]))
        there = torch.tensor([box]) - torch.tensor([x0, y0, x0, y0])
        theirs = amg.is_box_near_crop_edge(there, [x0, y0, x1, y1], [0, 0, 200, 150])
        assert is_cut_off(box, (x0, y0, x1, y1), 150, 200) == bool(theirs)


class TestBoxes:
    @given(mask=arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
    def test_are_the_authors(self, mask):
        assert list(box_of(mask)) == amg.batched_mask_to_box(torch.from_numpy(mask)).tolist()


def some(box: tuple[int, int, int, int]) -> Candidate:
    return Candidate(rle_encode(np.zeros((1, 1), bool)), 0, box, 0.0, 0.0, (0.0, 0.0), (0, 0, 1, 1))


class TestSuppression:
    @settings(max_examples=50)
    @given(seed=st.integers(0, 2**32), n=st.integers(0, 30), threshold=st.floats(0, 1))
    def test_keeps_what_no_better_one_covers(self, seed, n, threshold):
        rng = np.random.default_rng(seed)
        corners = rng.integers(0, 20, (n, 2))
        found = [some(tuple(map(int, box))) for box in np.hstack([corners, corners + rng.integers(1, 20, (n, 2))])]
        scores = rng.random(n).tolist()
        kept, expected = suppress(found, scores, threshold), []
        for i in sorted(range(n), key=lambda i: -scores[i]):
            overlaps = [box_iou(torch.tensor([found[i].box]), torch.tensor([one.box])) for one in expected]
            if all(overlap <= threshold for overlap in overlaps):
                expected.append(found[i])
        assert [id(one) for one in kept] == [id(one) for one in expected]


class TestSmallRegions:
    @given(
        mask=arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))), area=st.sampled_from([0, 1, 2, 4, 8, 200])
    )
    def test_are_removed_as_the_authors_do(self, mask, area):
        holes, filled = amg.remove_small_regions(mask, area, "holes")
        expected, dropped = amg.remove_small_regions(holes, area, "islands")
        ours = remove_small_regions(mask, area)
        assert np.array_equal(ours, expected)
        assert (ours is not mask) == (filled or dropped)

    def test_by_hand(self):
        mask = np.zeros((20, 20), bool)
        mask[2:12, 2:12] = True
        mask[5, 5] = False  # a hole of 1
        mask[7:10, 7:10] = False  # one of 9
        mask[15:17, 15:17] = True  # an island of 4
        clean = remove_small_regions(mask, 5)
        assert clean[5, 5] and not clean[8, 8] and not clean[15, 15] and clean.sum() == 100 - 9
        assert cv2.connectedComponents(clean.view(np.uint8))[0] == 2

    def test_the_largest_stays(self):
        mask = np.zeros((9, 9), bool)
        mask[0, :2] = mask[4, 4:7] = True
        assert np.argwhere(remove_small_regions(mask, 50)).tolist() == [[4, 4], [4, 5], [4, 6]]
