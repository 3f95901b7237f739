"""SAM's predictor beside its authors' own, with the same random weights, on photographs."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything import SamPredictor as AuthorsPredictor
from segment_anything import modeling
from segment_anything.utils.transforms import ResizeLongestSide
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu.datasets import photos
from segedu.models.sam import frames
from segedu.models.sam.build import vit_sam
from segedu.models.sam.frames import Frame, to_rgb
from segedu.models.sam.predictor import SamPredictor
from segedu.models.sam.prompt_encoder import ABSENT
from segedu.models.sam.prompts import Prompt

SIZE, GRID = 128, 8
SMALL = {"image_size": SIZE, "width": 48, "depth": 2, "heads": 3, "global_blocks": (1,), "window": 3}
RNG = np.random.default_rng(0)

sides = st.integers(1, 3000)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def official() -> modeling.Sam:
    torch.manual_seed(0)
    encoder = modeling.ImageEncoderViT(
        depth=2,
        embed_dim=48,
        img_size=SIZE,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=3,
        use_rel_pos=True,
        global_attn_indexes=(1,),
        window_size=3,
    )
    prompts = modeling.PromptEncoder(256, (GRID, GRID), (SIZE, SIZE), 16)
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    network = modeling.Sam(encoder, prompts, modeling.MaskDecoder(transformer_dim=256, transformer=transformer))
    with torch.no_grad():
        for weight in network.parameters():  # positions begin as zeros, and would hide a mistake
            weight.add_(0.1 * torch.randn_like(weight))
    return network.eval()


@pytest.fixture(scope="module")
def sam(official):
    ours = vit_sam(**SMALL).eval()
    ours.load_state_dict(official.state_dict())
    return ours


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return photos.load("coffee").image  # 400 x 600


@pytest.fixture(scope="module")
def predictor(sam, coffee) -> SamPredictor:
    predictor = SamPredictor(sam)
    predictor.set_image(coffee)
    return predictor


@pytest.fixture(scope="module")
def authors(official, coffee) -> AuthorsPredictor:
    predictor = AuthorsPredictor(official)
    predictor.set_image(coffee)
    return predictor


def close(ours, theirs, tolerance: float = 1e-4) -> bool:
    """Whether they agree to this part of the largest value."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max())


def agree(ours, theirs) -> bool:
    """Whether masks are the same, but for pixels where a logit is 0 to six digits."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return ours.shape == theirs.shape and (ours != theirs).mean() < 5e-5


def alike(one, other, tolerance: float = 1e-4) -> bool:
    return agree(one.masks, other.masks) and close(one.iou, other.iou, tolerance) and close(one.logits, other.logits)


class TestPredict:
    @pytest.mark.parametrize("multimask", [True, False])
    @pytest.mark.parametrize(
        "kinds", [("points",), ("box",), ("mask",), ("points", "box"), ("points", "mask"), ("points", "box", "mask")]
    )
    def test_gives_the_authors_masks(self, predictor, authors, kinds, multimask):
        points, labels = np.array([(300, 200), (20.5, 390)]), np.array([1, 0])
        box = np.array([150.25, 80, 560, 330])
        mask = 5 * RNG.standard_normal((4 * GRID, 4 * GRID), np.float32)
        ours, theirs = {}, {}
        if "points" in kinds:
            ours |= {"points": points, "labels": labels}
            theirs |= {"point_coords": points, "point_labels": labels}
        if "box" in kinds:
            ours["box"] = theirs["box"] = box
        if "mask" in kinds:
            ours["mask"], theirs["mask_input"] = mask, mask[None]
        got = predictor.predict(**ours, multimask=multimask)
        masks, iou, logits = authors.predict(**theirs, multimask_output=multimask)
        assert got.masks.dtype == bool and got.masks.shape == (3 if multimask else 1, 400, 600)
        assert 0 < got.masks.mean() < 1
        assert agree(got.masks, masks) and close(got.iou, iou) and close(got.logits, logits)

    @pytest.mark.parametrize("name", ["astronaut", "chelsea", "coins", "rocket"])
    def test_on_photographs_of_any_shape(self, sam, official, name):
        image = photos.load(name).image
        theirs = AuthorsPredictor(official)
        theirs.set_image(image if image.ndim == 3 else np.stack([image] * 3, -1))
        ours = SamPredictor(sam)
        ours.set_image(image)
        at = np.array([[image.shape[1] * 0.7, image.shape[0] * 0.3]])
        masks, iou, logits = theirs.predict(at, np.array([1]))
        got = ours.predict(at, [1])
        assert agree(got.masks, masks) and close(got.iou, iou) and close(got.logits, logits)

    def test_an_answer_is_the_next_question(self, predictor, authors):
        first = predictor.predict([(300, 200)], [1])
        best = first.iou.argmax()
        got = predictor.predict([(300, 200), (50, 50)], [1, 0], mask=first.logits[best], multimask=False)
        masks, *_ = authors.predict(
            np.array([(300, 200), (50, 50)]),
            np.array([1, 0]),
            mask_input=first.logits[best][None],
            multimask_output=False,
        )
        assert agree(got.masks, masks)

    def test_several_prompts_get_what_each_gets_alone(self, predictor):
        points = RNG.uniform(0, 400, (5, 2, 2))
        labels = RNG.integers(0, 2, (5, 2))
        box = np.array([(10, 10, 300, 300)]) + np.arange(5)[:, None]
        mask = RNG.standard_normal((5, 4 * GRID, 4 * GRID), np.float32)
        together = predictor.predict(points, labels, box, mask)
        assert together.masks.shape == (5, 3, 400, 600) and together.iou.shape == (5, 3)
        for i in range(5):
            alone = predictor.predict(points[i], labels[i], box[i], mask[i])
            assert agree(together.masks[i], alone.masks)
            assert close(together.iou[i], alone.iou) and close(together.logits[i], alone.logits)

    def test_in_turns_as_well_as_at_once(self, sam, coffee, predictor):
        in_turns = SamPredictor(sam, prompts_at_once=2)
        in_turns.set_image(coffee)
        box = np.array([(10, 10, 300, 300)]) + np.arange(5)[:, None]
        assert alike(in_turns.predict(box=box), predictor.predict(box=box))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float16, np.float64])
    def test_numbers_of_any_type(self, predictor, dtype):
        points, labels, box = [(100, 200)], [1], [10, 20, 250, 240]
        expected = predictor.predict(points, labels, box)
        as_type = [np.array(points, dtype), np.array(labels, np.uint8), torch.from_numpy(np.array(box, dtype))]
        assert np.array_equal(predictor.predict(*as_type).logits, expected.logits)

    def test_absent_points_fill_up(self, predictor):
        one = predictor.predict([(300, 200)], [1])
        filled = predictor.predict([[(300, 200), (0, 0)], [(10, 20), (30, 40)]], [[1, ABSENT], [1, 0]])
        assert close(filled.logits[0], one.logits)

    def test_no_prompts_get_no_masks(self, predictor):
        got = predictor.predict(box=np.zeros((0, 4)))
        assert got.masks.shape == (0, 3, 400, 600) and got.iou.shape == (0, 3)

    def test_any_leading_axes(self, predictor):
        box = RNG.uniform(0, 100, (2, 3, 4)).cumsum(-1)
        got = predictor.predict(box=box)
        assert got.masks.shape == (2, 3, 3, 400, 600)
        assert close(got.logits[1, 2], predictor.predict(box=box[1, 2]).logits)

    def test_answers_are_what_the_image_was(self, sam, coffee, predictor):
        tensors = SamPredictor(sam)
        tensors.set_image(torch.tensor(coffee).permute(2, 0, 1))
        got = tensors.predict(torch.tensor([(300.0, 200.0)]), torch.tensor([1]))
        assert all(isinstance(part, torch.Tensor) for part in got)
        expected = predictor.predict([(300, 200)], [1])
        assert all(isinstance(part, np.ndarray) for part in expected)
        assert all(np.array_equal(part, other) for part, other in zip(got, expected, strict=True))

    def test_works_in_half_precision(self, sam, coffee):
        half = SamPredictor(vit_sam(**SMALL).eval().to(torch.bfloat16))
        half.set_image(coffee)
        first = half.predict([(300, 200)], [1])
        again = half.predict([(300, 200)], [1], mask=first.logits[0])
        assert np.isfinite(again.logits).all() and again.logits.dtype == np.float32


class TestImages:
    @pytest.fixture
    def images(self, coffee):
        return [coffee, photos.load("coins").image, torch.rand(3, 70, 31, generator=torch.manual_seed(0))]

    def test_several_get_what_each_gets_alone(self, sam, images):
        prompts = [
            Prompt(points=[[(300, 200)], [(1, 2)]], labels=[[1], [0]]),
            Prompt(box=[20, 30, 90, 80], points=[(50, 50), (60, 60), (0, 0)], labels=[1, 1, 0]),
            Prompt(mask=RNG.standard_normal((4, 4 * GRID, 4 * GRID), np.float32)),
        ]
        together = SamPredictor(sam, images_at_once=2, prompts_at_once=3)
        together.set_images(images)
        answers = together.predict_each(prompts)
        assert [answer.masks.shape for answer in answers] == [(2, 3, 400, 600), (3, 303, 384), (4, 3, 70, 31)]
        assert [type(answer.masks) for answer in answers] == [np.ndarray, np.ndarray, torch.Tensor]
        alone = SamPredictor(sam)
        for image, prompt, answer in zip(images, prompts, answers, strict=True):
            alone.set_image(image)
            assert alike(answer, alone.predict(prompt.points, prompt.labels, prompt.box, prompt.mask))

    def test_an_image_without_prompts(self, sam, images):
        predictor = SamPredictor(sam)
        predictor.set_images(images[:2])
        none, one = predictor.predict_each([Prompt(box=np.zeros((0, 4))), Prompt(box=[1, 2, 3, 4])])
        assert none.masks.shape == (0, 3, 400, 600) and one.masks.shape == (3, 303, 384)

    def test_rows_or_channels_first_grey_or_floats(self, sam):
        image = photos.load("coins").image
        answers = []
        for form in (image, np.stack([image] * 3), np.stack([image] * 3, -1), torch.tensor(image)):
            predictor = SamPredictor(sam)
            predictor.set_image(form)
            answers.append(predictor.predict([(100, 100)], [1]).logits)
        assert all(np.array_equal(answers[0], answer) for answer in answers[1:])
        predictor.set_image(image / 255)  # not rounded after it was resized
        assert close(predictor.predict([(100, 100)], [1]).logits, answers[0], 0.03)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_floats_of_any_width(self, sam, coffee, dtype):
        predictor = SamPredictor(sam)
        answers = []
        for image in (torch.tensor(coffee) / 255, (torch.tensor(coffee) / 255).to(dtype)):
            predictor.set_image(image)
            answers.append(predictor.predict([(100, 100)], [1]).logits)
        assert close(*answers, 0.05)

    def test_three_rows_of_three_columns_are_channels_first(self):
        image = torch.rand(3, 5, 3)
        assert torch.equal(to_rgb(image), image)

    @pytest.mark.parametrize("mode", [torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
    def test_under_inference_mode_and_autocast(self, sam, coffee, predictor, mode):
        with mode():
            other = SamPredictor(sam)
            other.set_image(coffee)
            first = other.predict([(300, 200)], [1])
            again = other.predict([(300, 200)], [1], mask=first.logits[0])
        assert close(first.logits, predictor.predict([(300, 200)], [1]).logits, 0.1)
        assert np.isfinite(again.logits).all()

    def test_reads_what_cannot_be_written_or_runs_backwards(self, sam, coffee, predictor):
        flipped = coffee[:, ::-1]
        flipped.flags.writeable = False
        other = SamPredictor(sam)
        other.set_image(flipped[:, ::-1])
        assert np.array_equal(other.predict([(300, 200)], [1]).logits, predictor.predict([(300, 200)], [1]).logits)


class TestFrame:
    @given(height=sides, width=sides, side=st.integers(16, 1024))
    def test_scales_as_the_authors_do(self, height, width, side):
        theirs = ResizeLongestSide.get_preprocess_shape(height, width, side)
        assert Frame(height, width, side).scaled == tuple(max(1, one) for one in theirs)

    @given(height=sides, width=sides, x=st.floats(0, 1), y=st.floats(0, 1))
    def test_takes_points_where_the_authors_do_and_back(self, height, width, x, y):
        frame, point = Frame(height, width, 1024), np.array([[x * width, y * height]])
        square = frame.to_square(torch.from_numpy(point))
        if min(ResizeLongestSide.get_preprocess_shape(height, width, 1024)) > 0:
            theirs = ResizeLongestSide(1024).apply_coords(point, (height, width))
            assert np.allclose(square, theirs, rtol=1e-5, atol=1e-5)
        back = square / torch.tensor([frame.scaled[1] / width, frame.scaled[0] / height])
        assert np.allclose(back, point, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("side", [128, 333, 1024])
    def test_resizes_as_the_authors_do(self, coffee, side):
        expected = ResizeLongestSide(side).apply_image(coffee)
        resized = Frame(400, 600, side).resize(to_rgb(coffee))
        assert np.array_equal((255 * resized).round().byte().permute(1, 2, 0), expected)

    @pytest.mark.parametrize("side", [128, 333, 1024])
    def test_resizes_elsewhere_to_within_a_level(self, coffee, side, monkeypatch):
        expected = ResizeLongestSide(side).apply_image(coffee).astype(int)
        monkeypatch.setattr(frames, "in_memory", lambda _: False)
        resized = (255 * Frame(400, 600, side).resize(to_rgb(coffee))).round().int().permute(1, 2, 0).numpy()
        assert np.abs(resized - expected).max() <= 1 and (resized != expected).mean() < 1 / 300

    @pytest.mark.parametrize("way", ["opencv", "torch"])
    @pytest.mark.parametrize("size", [(400, 600), (61, 50), (128, 90), (1, 300), (300, 1)])
    def test_brings_logits_to_the_image_as_the_authors_do(self, official, size, way, monkeypatch):
        if way == "torch":
            monkeypatch.setattr(frames, "in_memory", lambda _: False)
        logits = torch.randn(2, 3, 4 * GRID, 4 * GRID, generator=torch.manual_seed(0))
        frame = Frame(*size, SIZE)
        expected = official.postprocess_masks(logits, frame.scaled, size)
        assert close(frame.to_image(logits), expected, 1e-5)
        assert torch.equal(frame.to_image(logits[1, 2]), frame.to_image(logits)[1, 2])

    def test_a_ribbon_keeps_a_row(self, sam):
        predictor = SamPredictor(sam)
        predictor.set_image(np.zeros((1, 3000, 3), np.uint8))
        assert predictor.predict([(2000, 0)], [1]).masks.shape == (3, 1, 3000)

    @given(x=st.integers(0, 59), y=st.integers(0, 39))
    def test_what_lies_under_a_point_stays_under_it(self, x, y):
        frame = Frame(40, 60, 1024)  # each of its pixels is some 17 wide in the square, 4 in the logits
        square = frame.to_square(torch.tensor([x + 0.5, y + 0.5]))
        columns, rows = (torch.arange(256) + 0.5) * 4, (torch.arange(256)[:, None] + 0.5) * 4
        logits = -((columns - square[0]) ** 2) - (rows - square[1]) ** 2
        assert int(frame.to_image(logits).argmax()) == 60 * y + x


def test_predicts_where_the_weights_are():
    with FakeTensorMode():
        with torch.device("cuda"):
            sam = vit_sam(**SMALL).eval()
            images = [torch.rand(3, 100, SIZE), torch.zeros(50, 80, dtype=torch.uint8)]
            box = torch.zeros(2, 4)
        predictor = SamPredictor(sam)
        predictor.set_images(images)
        prompts = [Prompt([[1, 2]], [1]), Prompt(box=box, mask=torch.zeros(2, 4 * GRID, 4 * GRID))]
        for answer, shape in zip(predictor.predict_each(prompts), [(3, 100, SIZE), (2, 3, 50, 80)], strict=True):
            assert answer.masks.shape == shape and {part.device.type for part in answer} == {"cuda"}


class TestErrors:
    @pytest.mark.parametrize(
        ("prompt", "error", "message"),
        [
            ({}, ValueError, "got none"),
            ({"points": [(1, 2)]}, ValueError, "points and labels come together"),
            ({"labels": [1], "box": [1, 2, 3, 4]}, ValueError, "points and labels come together"),
            (
                {"points": (1, 2), "labels": 1},
                ValueError,
                "points must have shape (..., N, 2): (x, y) of N points; got (2",
            ),
            ({"points": [(1, 2, 3)], "labels": [1]}, ValueError, "points must have shape (..., N, 2)"),
            ({"points": [[(1, 2)], [(1, 2), (3, 4)]], "labels": [[1], [1, 0]]}, ValueError, "rows of equal length"),
            ({"points": [(1, 2)], "labels": [1, 0]}, ValueError, "labels must be one for each point, (1,)"),
            ({"points": [(1, 2)], "labels": [[1]]}, ValueError, "labels must be one for each point, (1,)"),
            ({"points": [(1, 2)], "labels": [1.0]}, TypeError, "labels must be integers"),
            ({"points": [(1, 2)], "labels": [True]}, TypeError, "labels must be integers"),
            ({"points": [(1, 2)], "labels": [5]}, ValueError, "labels must be from -2 to 3"),
            (
                {"points": [(10, 400.5)], "labels": [1]},
                ValueError,
                "600 wide and 400 high, got [10.0, 400.5]: x",
            ),
            ({"points": [(np.nan, 4)], "labels": [1]}, ValueError, "points must be (x, y) in an image"),
            ({"points": [("a", "b")], "labels": [1]}, TypeError, "points must be numbers"),
            ({"box": [1, 2, 3]}, ValueError, "box must have shape (..., 4): x0, y0, x1, y1; got (3,)"),
            ({"box": [[1, 2], [3, 4]]}, ValueError, "box must have shape (..., 4)"),
            ({"box": [100, 100, 50, 60]}, ValueError, "x0 <= x1 and y0 <= y1, got [100.0, 100.0, 50.0, 60.0]"),
            ({"box": [1, 2, np.nan, 4]}, ValueError, "x0 <= x1"),
            ({"box": [[1, 2, 3, 4]], "points": [(1, 2)], "labels": [1]}, ValueError, "() of points, (1,) of box"),
            ({"mask": np.zeros((256, 256))}, ValueError, "mask must have shape (..., 32, 32)"),
            ({"mask": np.zeros((32, 32), bool)}, TypeError, "mask must be logits, floats above 0 on the object"),
            ({"mask": np.zeros((1, 32, 32)), "box": [1, 2, 3, 4]}, ValueError, "() of box, (1,) of mask"),
        ],
    )
    def test_wrong_prompts_are_named(self, predictor, prompt, error, message):
        with pytest.raises(error, match=re.escape(message)):
            predictor.predict(**prompt)

    @pytest.mark.parametrize(
        ("image", "error", "message"),
        [
            ([[1, 2], [3, 4]], TypeError, "image must be a NumPy array or a PyTorch tensor, got list"),
            (np.zeros((4, 5), int), TypeError, "uint8 or floating point"),
            (np.zeros((4, 5, 4), np.uint8), ValueError, "got (4, 5, 4); leave out an alpha channel"),
            (np.zeros((2, 4, 5, 3), np.uint8), ValueError, "got (2, 4, 5, 3); leave out an alpha channel"),
            (np.zeros((0, 5, 3), np.uint8), ValueError, "at least one pixel"),
            (np.full((4, 5, 3), 255.0), ValueError, "floats in [0, 1], got floats from 255 to 255"),
        ],
    )
    def test_wrong_images_are_named(self, sam, image, error, message):
        with pytest.raises(error, match=re.escape(message)):
            SamPredictor(sam).set_image(image)

    def test_images_come_first(self, sam, coffee):
        predictor = SamPredictor(sam)
        with pytest.raises(RuntimeError, match="no image has been set"):
            predictor.predict([(1, 2)], [1])
        predictor.set_image(coffee)
        predictor.reset()
        with pytest.raises(RuntimeError, match="no image has been set"):
            predictor.predict([(1, 2)], [1])

    def test_a_failed_image_leaves_none(self, sam, coffee):
        predictor = SamPredictor(sam)
        predictor.set_image(coffee)
        with pytest.raises(ValueError):
            predictor.set_image(np.zeros((4, 5, 4), np.uint8))
        with pytest.raises(RuntimeError, match="no image has been set"):
            predictor.predict([(1, 2)], [1])

    def test_each_image_has_its_prompt(self, sam, coffee):
        predictor = SamPredictor(sam)
        predictor.set_images([coffee, coffee])
        with pytest.raises(RuntimeError, match="2 images are set: ask about each with predict_each"):
            predictor.predict([(1, 2)], [1])
        with pytest.raises(ValueError, match="one Prompt for each of the 2 images"):
            predictor.predict_each([Prompt([(1, 2)], [1])])

    def test_images_are_several(self, sam, coffee):
        with pytest.raises(ValueError, match="use set_image"):
            SamPredictor(sam).set_images(coffee)
        with pytest.raises(ValueError, match="at least one image"):
            SamPredictor(sam).set_images([])

    @pytest.mark.parametrize("name", ["images_at_once", "prompts_at_once"])
    def test_nothing_is_not_a_number_at_once(self, sam, name):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            SamPredictor(sam, **{name: 0})
