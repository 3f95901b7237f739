"""Training and measuring SAM: what simulated users do, what samples are, what a loss sums, what is measured."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt
from torch import nn
from torchvision.ops import masks_to_boxes

from segedu.models.sam.build import tiny_sam
from segedu.training import prompt_clicks as clicks
from segedu.training import prompt_evaluation as evaluation
from segedu.training.prompt_baselines import boxes_around, fill_box, grab_cut, superpixel
from segedu.training.prompt_scenes import Picture, Scenes, scene, to_picture
from segedu.training.prompt_views import View, draw_masks, draw_view, paste
from segedu.training.tasks.promptable import Promptable, answer_loss, chosen

masks = arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
some_masks = masks.filter(lambda stack: stack.any((1, 2)).all())
two_masks = st.integers(1, 4).flatmap(
    lambda P: st.tuples(*[arrays(bool, (P, 7, 8)), arrays(bool, (P, 7, 8)).filter(lambda m: m.any((1, 2)).all())])
)


def disc(radius: float, size: int, centre: tuple[float, float]) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.hypot(x - centre[0], y - centre[1]) <= radius


def silent(items, description):
    return items


# A simulated user


@given(some_masks)
def test_drawn_pixels_lie_in_their_region(regions):
    pixels = clicks.draw_pixels(torch.from_numpy(regions))
    for region, (x, y) in zip(regions, pixels.tolist(), strict=True):
        assert region[y, x]


def test_all_pixels_of_a_region_are_equally_likely():
    region = torch.zeros(6000, 4, 5, dtype=torch.bool)
    region[:, [0, 1, 3], [4, 0, 2]] = True
    torch.manual_seed(0)
    drawn = clicks.draw_pixels(region)
    for x, y in ((4, 0), (0, 1), (2, 3)):
        share = (drawn == torch.tensor([x, y])).all(1).float().mean().item()
        assert abs(share - 1 / 3) < 4 * math.sqrt(1 / 3 * 2 / 3 / 6000)


@given(two_masks)
def test_corrections_lie_on_errors_and_say_what_is_right(pair):
    answers, truth = (torch.from_numpy(one) for one in pair)
    pixels, labels = clicks.draw_corrections(answers, truth)
    for answer, wanted, (x, y), label in zip(answers, truth, pixels.tolist(), labels.tolist(), strict=True):
        assert label == wanted[y, x]
        if (answer != wanted).any():
            assert answer[y, x] != wanted[y, x]
        else:
            assert label == 1


@given(two_masks)
def test_careful_corrections_lie_deepest_in_an_error(pair):
    for answer, truth in zip(*pair, strict=True):
        (x, y), label = clicks.correction_of(answer, truth)
        assert label == truth[y, x]
        if (answer == truth).all():
            assert (x, y) == clicks.centre_of(truth)
            continue
        depths = [distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1] for error in (truth & ~answer, answer & ~truth)]
        assert answer[y, x] != truth[y, x]
        assert max(depth[y, x] for depth in depths) == pytest.approx(max(depth.max() for depth in depths), rel=1e-5)


@given(some_masks)
def test_a_centre_is_as_far_from_the_outline_as_can_be(stack):
    for mask in stack:
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        x, y = clicks.centre_of(mask)
        assert depth[y, x] == pytest.approx(depth.max(), rel=1e-5)


def test_centre_of_a_disc_and_of_one_that_the_image_cuts():
    assert clicks.centre_of(disc(20, 101, (60, 40))) == (60, 40)
    x, y = clicks.centre_of(disc(20, 101, (0, 50)))  # of the visible half
    assert 7 <= x <= 13 and y == 50


@given(some_masks)
def test_boxes_agree_with_torchvision(stack):
    stack = torch.from_numpy(stack)
    torch.testing.assert_close(clicks.boxes_of(stack), masks_to_boxes(stack).long())


@given(some_masks, st.integers(0, 2**32))
def test_drawn_boxes_are_near_the_mask_and_in_the_image(stack, seed):
    torch.manual_seed(seed)
    stack = torch.from_numpy(stack)
    H, W = stack.shape[1:]
    drawn, exact = clicks.draw_boxes(stack, 4), masks_to_boxes(stack)
    exact = torch.cat([4 * exact[:, :2], 4 * exact[:, 2:] + 3], 1)
    assert (drawn >= 0).all() and (drawn <= torch.tensor([4 * W - 1, 4 * H - 1] * 2)).all()
    assert (drawn[:, :2] <= drawn[:, 2:]).all()
    assert ((drawn - exact).abs() <= 20 / 1024 * 4 * max(H, W) + 1e-4).all()


def test_noise_of_boxes_is_a_tenth_of_their_sides():
    mask = torch.zeros(4000, 256, 256, dtype=torch.bool)
    mask[:, 100:120, 100:110] = True  # noise of 2 and 1 pixels, of 5 at most
    torch.manual_seed(0)
    noise = clicks.draw_boxes(mask, 1) - torch.tensor([100.0, 100.0, 109.0, 119.0])
    torch.testing.assert_close(noise.mean(0), torch.zeros(4), atol=0.15, rtol=0)
    torch.testing.assert_close(noise.std(0), torch.tensor([1.0, 2.0, 1.0, 2.0]), atol=0, rtol=0.08)


# Samples


def test_views_keep_image_and_segments_together():
    torch.manual_seed(0)
    segments = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((40, 30), int)).astype(np.int32)
    picture = Picture(np.stack([20 * segments] * 3, -1).astype(np.uint8), segments, frozenset(range(1, 13)))
    for _ in range(30):
        view = draw_view(120, 120, 96, (0.5, 3.0)).of(picture, 96)
        assert view.image.shape == (96, 96, 3) and view.segments.shape == (96, 96)
        outside = view.segments < 0
        assert not view.image[outside].any()
        # Away from outlines, where colours mix.
        even = F.max_pool2d(torch.from_numpy(view.segments)[None].float(), 7, 1, 3)[0].numpy() == view.segments
        even &= -F.max_pool2d(-torch.from_numpy(view.segments)[None].float(), 7, 1, 3)[0].numpy() == view.segments
        assert (view.image[even & ~outside][:, 0] == 20 * view.segments[even & ~outside]).all()


def test_a_view_at_scale_one_fills_the_square():
    torch.manual_seed(0)
    sizes = [(view.height, view.width) for view in (draw_view(480, 640, 128, (1.0, 1.0)) for _ in range(50))]
    heights, widths = zip(*sizes, strict=True)
    assert max(widths) == 128 and min(widths) > 118  # proportions change by 15 % at most
    assert 88 < min(heights) < 96 < max(heights) < 104


def test_mirrors():
    picture = Picture(np.zeros((8, 8, 3), np.uint8), np.arange(64, dtype=np.int32).reshape(8, 8), frozenset())
    view = View((slice(0, 8), slice(0, 8)), 8, 8, mirrored=True).of(picture, 16)
    np.testing.assert_array_equal(view.segments[:8, :8], picture.segments[:, ::-1])
    assert (view.segments[8:] == -1).all() and (view.segments[:, 8:] == -1).all()


def test_pasted_things_cover_what_is_behind_but_nothing_outside():
    behind = Picture(np.full((32, 32, 3), 50, np.uint8), np.ones((32, 32), np.int32), frozenset())
    behind.segments[:, 24:] = -1
    behind.image[:, 24:] = 0
    front = Picture(np.full((32, 32, 3), 200, np.uint8), np.full((32, 32), 7, np.int32), frozenset({8}))
    front.segments[8:28, 8:32] = 8
    torch.manual_seed(0)
    both = paste(front, behind, most=3, smallest=1)
    assert both.things == {10}  # numbered after those behind; 7 is no thing
    assert (both.segments[8:28, 8:24] == 10).all() and (both.segments == 10).sum() == 20 * 16
    assert (both.image[12:24, 12:20] == 200).all() and (both.image[:4] == behind.image[:4]).all()
    assert (both.segments[:, 24:] == -1).all() and not both.image[:, 24:].any()
    assert (behind.segments[:, :24] == 1).all() and (behind.image[:, :24] == 50).all()  # as before


def test_masks_are_of_segments_and_unions_of_two_that_touch():
    segments = np.zeros((64, 64), np.int32)
    segments[:32, :32], segments[:32, 32:], segments[48:, 48:], segments[60, 2] = 1, 2, 3, 4
    picture = Picture(np.zeros((64, 64, 3), np.uint8), segments, frozenset())
    singles = [(segments == number)[::4, ::4] for number in (1, 2, 3)]
    torch.manual_seed(0)
    drawn = draw_masks(picture, 6, 64, unions=0.0)
    assert sorted(map(bytes, drawn)) == sorted(map(bytes, singles * 2))  # 4 is too small
    drawn = draw_masks(picture, 3, 64, unions=1.0)
    assert sorted(map(bytes, drawn)) == sorted(map(bytes, [singles[0] | singles[1]] * 2 + [singles[2]]))
    assert draw_masks(Picture(picture.image, np.zeros_like(segments), frozenset()), 3, 64, 0.0) is None


def test_thin_masks_do_not_vanish():
    segments = np.zeros((64, 64), np.int32)
    segments[10, :] = 1
    (drawn,) = draw_masks(Picture(np.zeros((64, 64, 3), np.uint8), segments, frozenset()), 1, 1, 0.0)
    np.testing.assert_array_equal(np.flatnonzero(drawn.any(1)), [2])


def test_targets_of_all_kinds_become_segments():
    image = torch.arange(48, dtype=torch.uint8).reshape(1, 6, 8)
    person = torch.zeros(6, 8, dtype=torch.bool)
    person[:, :4] = True
    tie = torch.zeros(6, 8, dtype=torch.bool)
    tie[2:4, 1:3] = True
    crowd = ~person
    instances = to_picture(
        image, {"masks": torch.stack([tie, crowd, person]), "crowd": torch.tensor([False, True, False])}
    )
    assert instances.image.shape == (6, 8, 3) and (instances.image[..., 1] == image[0].numpy()).all()
    assert instances.things == {1, 2}
    np.testing.assert_array_equal(instances.segments, (person.int() + tie.int()).numpy())  # the tie is in front

    categories = torch.full((6, 8), 255, dtype=torch.uint8)
    categories[:3, :4], categories[:3, 4:] = 0, 9
    numbers = torch.zeros(6, 8, dtype=torch.int32)
    numbers[:3, 4:6], numbers[:3, 6:] = 1, 2
    crowd = torch.zeros(6, 8, dtype=torch.bool)
    crowd[4:], categories[4:] = True, 3
    panoptic = to_picture(image, {"categories": categories, "instances": numbers, "crowd": crowd})
    assert [len(np.unique(panoptic.segments[part])) for part in (np.s_[:3, :4], np.s_[:3, 4:], np.s_[3:])] == [1, 2, 1]
    assert (panoptic.segments[3:] == 0).all() and (panoptic.segments[:3] > 0).all()
    assert panoptic.things == set(np.unique(panoptic.segments[:3, 4:]).tolist())

    cells = to_picture(image, tie.int() * 5)
    assert cells.things == {5} and ((cells.segments == 5) == tie.numpy()).all()

    classes = torch.zeros(6, 8, dtype=torch.uint8)
    classes[:, 3], classes[0, 0] = 1, 255  # splits class 0
    regions = to_picture(image, classes)
    assert regions.things == frozenset() and regions.segments[0, 0] == 0
    assert len({regions.segments[3, 0], regions.segments[3, 3], regions.segments[3, 7]} - {0}) == 3


def small_task(**changes) -> Promptable:
    settings = {"sources": {"scenes": 1.0}, "size": 64, "masks": 3, "smallest": 32} | changes
    return Promptable(**settings)


def test_samples_depend_on_the_seed_and_nothing_else():
    task, drawn = small_task(), []
    for seed, numpy_seed in ((1, 1), (1, 2), (2, 1)):
        torch.manual_seed(seed)
        np.random.seed(numpy_seed)  # noqa: NPY002 (the old generator must not matter)
        drawn.append(task.sample(seed))
    torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=0)
    assert not torch.equal(drawn[0][0], drawn[2][0])
    images, truths = task.collate(drawn)
    assert images.shape == (3, 3, 64, 64) and images.dtype == torch.uint8
    assert truths.shape == (3, 3, 16, 16) and truths.dtype == torch.bool and truths.flatten(2).any(2).all()


def test_scenes_are_new_at_each_look():
    torch.manual_seed(0)
    scenes = Scenes(64)
    assert not np.array_equal(scenes[0].image, scenes[0].image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paste_from": ("photos",)}, "paste_from names photos"),
        ({"sources": {"scenes": 0.0}}, "one above 0"),
        ({"sources": {}}, "one above 0"),
    ],
)
def test_settings_that_cannot_be_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small_task(**changes)


# The loss


def test_first_prompts_are_clicks_on_the_mask_or_its_box():
    torch.manual_seed(0)
    truth = torch.from_numpy(disc(5, 16, (8, 8)))[None].expand(200, -1, -1)
    points, labels = clicks.first_prompts(truth, boxes=0.5)
    clicked = labels[:, 0] == 1
    assert 70 < clicked.sum() < 130
    assert (labels[clicked] == torch.tensor([1, -2])).all() and (labels[~clicked] == torch.tensor([2, 3])).all()
    for x, y in points[clicked, 0].tolist():
        assert truth[0, int(y // 4), int(x // 4)]
    assert (points[~clicked, 0] < points[~clicked, 1]).all()


def test_pixels_of_answers_are_in_the_middle_of_their_part_of_the_image():
    # Pixel 1 of an answer is made of pixels 4 to 7 of the image, whose middles are 4.0 to 7.0.
    torch.testing.assert_close(clicks.to_image(torch.tensor([[0, 1]])), torch.tensor([[1.5, 5.5]]))


def test_only_the_best_of_three_answers_learns_and_all_learn_their_iou():
    truth = torch.from_numpy(disc(5, 16, (8, 8)))[None]
    logits = torch.stack([torch.where(truth[0], 2.0, -2.0), torch.zeros(16, 16), torch.where(truth[0], -2.0, 2.0)])[
        None
    ]
    logits.requires_grad_()
    iou = torch.tensor([[0.5, 0.5, 0.5]], requires_grad=True)
    answer_loss(logits, iou, truth).sum().backward()
    learns = logits.grad[0].abs().sum((1, 2)) > 0
    assert learns.tolist() == [True, False, False]
    # Answers of IoU 1, 0 and 0: a threshold of 0 leaves nothing of the second.
    torch.testing.assert_close(iou.grad, 2 / 3 * torch.tensor([[0.5 - 1, 0.5, 0.5]]))


def test_loss_of_a_sure_answer_is_what_the_iou_head_got_wrong():
    truth = torch.from_numpy(disc(5, 16, (8, 8)))[None]
    logits = torch.where(truth, 50.0, -50.0)[:, None]
    torch.testing.assert_close(answer_loss(logits, torch.tensor([[0.7]]), truth), torch.tensor([0.09]))


class Constant(nn.Module):
    """Says the same to every prompt, and notes the prompts."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.asked = logits, []

    def preprocess(self, images):
        return images

    def encode_image(self, images):
        return images

    def decode(self, embeddings, image_index, points, labels, masks=None, multimask=True):
        self.asked.append((points, labels, masks, multimask))
        M = 3 if multimask else 1
        return self.logits.expand(len(points), M, -1, -1), torch.full((len(points), M), 0.5)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_loss_is_the_mean_over_answers_times_the_weight(rounds):
    task = small_task(clicks=rounds)
    torch.manual_seed(0)
    batch = task.collate([task.sample(0) for _ in range(4)])
    model = Constant(torch.randn(16, 16))
    truth = batch[1].flatten(0, 1)
    each = answer_loss(model.logits.expand(12, 1, -1, -1), torch.full((12, 1), 0.5), truth)
    for _ in range(5):
        torch.testing.assert_close(task.loss(model, batch), each.mean() * task.weight(batch), rtol=1e-5, atol=0)


def test_prompts_of_a_step():
    """A first prompt for each mask, some with three answers; then up to three clicks, each with the answer before."""
    task = small_task(clicks=3)
    torch.manual_seed(0)
    batch = task.collate([task.sample(0) for _ in range(8)])
    lengths = []
    for _ in range(40):
        model = Constant(torch.randn(16, 16))
        task.loss(model, batch)
        first = [call for call in model.asked if call[2] is None]
        later = [call for call in model.asked if call[2] is not None]
        assert sum(len(call[0]) for call in first) == 24
        for points, labels, _, multimask in first:
            if multimask:
                assert points.shape[1] == 1 and (labels == 1).all()
        for points, labels, earlier, multimask in later:
            assert len(points) == 24 and not multimask
            assert (earlier == model.logits).all()
            assert ((labels[:, 2:] == 0) | (labels[:, 2:] == 1)).all()
        lengths.append(later[-1][0].shape[1] - 2)
    assert set(lengths) == {0, 1, 2, 3}  # clicks; none where the answer before comes back alone


def test_chosen_is_what_the_model_expects_most_of():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    best = chosen(logits, torch.tensor([[0.1, 0.9, 0.3], [0.7, 0.2, 0.3]]))
    torch.testing.assert_close(best, torch.stack([logits[0, 1], logits[1, 0]]).detach())
    assert not best.requires_grad


@pytest.mark.slow
def test_one_image_can_be_learnt():
    torch.manual_seed(0)
    task = small_task(size=96, masks=6, smallest=100, unions=0.0, colour=0.0, grey=0.0)
    batch = task.collate([task.sample(0)])
    model = tiny_sam(96)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(100):
        loss = task.loss(model, batch) / task.weight(batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.4 * np.mean(losses[:5])


# What is measured


class Oracle(nn.Module):
    """Answers with the segment at the last click or in the box's middle, out of a label map (S, S)."""

    mask_threshold = 0.0

    def __init__(self, segments: np.ndarray) -> None:
        super().__init__()
        self.segments = torch.from_numpy(segments)
        self.image_size = len(segments)
        self.embedding_size = self.image_size // 16
        self.register_buffer("pixel_mean", torch.zeros(3))
        self.asked = []

    device = property(lambda self: self.pixel_mean.device)

    def preprocess(self, images):
        return images

    def encode_image(self, images):
        return images

    def decode(self, embeddings, image_index=None, points=None, labels=None, masks=None, has_mask=None, multimask=True):
        self.asked.append((points, labels, masks, multimask))
        boxed = labels[:, :1] == 2
        x, y = torch.where(boxed, points.mean(1), points[:, 0]).round().long().T
        found = self.segments[::4, ::4] == self.segments[y, x][:, None, None]
        logits = torch.where(found, 9.0, -9.0)[:, None]
        if not multimask:
            return logits, torch.ones(len(points), 1)
        return torch.cat([-logits, logits, -logits], 1), torch.tensor([[0.2, 0.9, 0.4]]).repeat(len(points), 1)


def bands() -> Picture:
    """A picture of 128 x 128 pixels, of bands with outlines between the pixels of answers: enlarged, they are exact."""
    segments = np.zeros((128, 128), np.int32)
    segments[8:32], segments[40:92], segments[92:108], segments[120:124, :4] = 1, 2, 3, 4
    return Picture(np.zeros((128, 128, 3), np.uint8), segments, frozenset({1, 2, 3}))


def test_an_oracle_is_always_right():
    picture = bands()
    oracle = Oracle(picture.segments)
    measures = evaluation.evaluate_promptable(oracle, [picture, picture], clicks=2)
    for name in ("one_click", "one_click_oracle", "one_click_found", "corrected", "box", "box_filled"):
        assert measures[name] == 1
    assert measures["masks"] == 6  # the fourth segment is too small
    shapes = [(points.shape[1] - 1, masks is not None, multimask) for points, _, masks, multimask in oracle.asked[:4]]
    # One column more holds what the predictor adds to clicks without a box.
    assert [shape[1:] for shape in shapes] == [(False, True), (False, False), (True, False), (True, False)]
    clicks_given = [int((labels[0] >= 0).sum()) for _, labels, _, _ in oracle.asked[:4]]
    assert clicks_given == [1, 2, 2, 3]  # the second is the box


def test_the_expected_iou_chooses_and_the_truth_finds_the_best():
    picture = bands()

    class Wrong(Oracle):
        def decode(self, *prompts, **more):
            logits, iou = super().decode(*prompts, **more)
            return logits, iou.flip(1) if iou.shape[1] == 1 else torch.tensor([[0.9, 0.2, 0.4]]).repeat(len(iou), 1)

    measures = evaluation.evaluate_promptable(Wrong(picture.segments), [picture], clicks=0, baselines=False)
    assert measures["one_click"] == 0 and measures["one_click_found"] == 0 and measures["one_click_oracle"] == 1
    assert measures["corrected"] == 0  # no clicks, no corrections
    assert "box_filled" not in measures


def test_nothing_to_ask_about_gives_no_measures():
    empty = Picture(np.zeros((300, 300, 3), np.uint8), np.zeros((300, 300), np.int32), frozenset())
    assert evaluation.evaluate_promptable(Oracle(np.zeros((64, 64), np.int32)), [empty]) == {}


def test_instances_may_overlap_and_crowds_do_not_count():
    stack = torch.zeros(3, 300, 300, dtype=torch.bool)
    stack[0, :100, :100], stack[1, :200, :200], stack[2, 250:] = True, True, True
    target = {"masks": stack, "crowd": torch.tensor([False, False, True])}
    image, truths = evaluation.masks_of((torch.zeros(3, 300, 300, dtype=torch.uint8), target))
    assert image.shape == (300, 300, 3)
    np.testing.assert_array_equal(truths, stack[[1, 0]].numpy())  # the largest first, each whole
    _, truths = evaluation.masks_of((torch.zeros(3, 300, 300, dtype=torch.uint8), target), most=1)
    assert len(truths) == 1


def test_a_filled_box_covers_a_disc_by_a_quarter_of_pi():
    truth = disc(100, 256, (127.5, 127.5))[None]
    boxes = clicks.boxes_of(torch.from_numpy(truth)).numpy()
    (iou,) = evaluation.iou_of(fill_box(boxes, (256, 256)), truth)
    assert iou == pytest.approx(math.pi / 4, abs=0.01)


def test_boxes_around_points_end_at_the_image_s_edge():
    points = np.array([[50, 20], [0, 39]])
    boxes = boxes_around(points, np.array([0.1, 0.5]), (40, 100))
    assert boxes.tolist() == [[45, 10, 54, 29], [0, 29, 4, 39]]
    assert boxes_around(points[:1], np.array([0.001, 0.001]), (40, 100)).tolist() == [[50, 20, 50, 20]]


def test_a_guessed_box_is_the_median_one_around_the_click():
    segments = np.zeros((128, 128), np.int32)
    for number, (first, side) in enumerate(((5, 9), (20, 17), (60, 33)), start=1):
        segments[first : first + side, first : first + side] = number
    picture = Picture(np.zeros((128, 128, 3), np.uint8), segments, frozenset({1, 2, 3}))
    measures = evaluation.evaluate_promptable(Oracle(segments), [picture], clicks=0)
    assert measures["box_guessed"] == pytest.approx((9**2 / 17**2 + 1 + 17**2 / 33**2) / 3)


def test_grab_cut_and_superpixels_find_a_disc_that_stands_out():
    truth = disc(60, 256, (120, 130))
    noise = np.random.default_rng(0).integers(0, 20, (256, 256, 1))
    image = (np.where(truth[..., None], (200, 60, 40), (40, 90, 160)) + noise).astype(np.uint8)
    boxes = clicks.boxes_of(torch.from_numpy(truth)[None]).numpy()
    (iou,) = evaluation.iou_of(grab_cut(image, boxes), truth[None])
    assert iou > 0.95
    found = superpixel(image, np.array([[120, 130]]))
    assert found[0, 130, 120] and (found & ~truth).sum() < 0.05 * found.sum()
    everything = grab_cut(image, np.array([[0, 0, 255, 255]]))
    assert everything.all()


def test_what_is_no_data_set_opens_for_measuring():
    assert len(Promptable.open("photos", "val")) >= 8
    assert len(Promptable.open("shapes", "test")) == 50
    with pytest.raises(ValueError, match="scenes has a split val only, got 'train'"):
        Promptable.open("scenes", "train")


def test_photographs_and_scenes_to_measure_on():
    photos = evaluation.validation_pictures("photos")
    assert len(photos) >= 8 and all(len(evaluation.masks_of(picture)[1]) for picture in photos)
    few = evaluation.validation_pictures("photos", 2)
    assert len(few) == 2 and np.array_equal(few[0].image, photos[0].image)
    scenes = evaluation.validation_pictures("scenes", 2)
    assert np.array_equal(scenes[1].image, evaluation.validation_pictures("scenes", 2)[1].image)
    picture = scene(3, 64, 4)
    assert len(picture.things) >= 3 and len(np.unique(picture.segments)) == len(picture.things) + 3


def test_evaluation_averages_clicks_corrections_and_boxes():
    task = small_task(validation=("scenes",), validation_images=2)
    task.validation = {"bands": [bands()]}
    measures = task.evaluate(Oracle(bands().segments), torch.device("cpu"), silent)
    assert measures[task.monitor] == 1 and measures["bands/one_click"] == 1 and measures["bands/masks"] == 3
    assert small_task().evaluate(None, torch.device("cpu"), silent) == {}
    assert Promptable.measure(Oracle(bands().segments), [bands()], torch.device("cpu"), silent)["box"] == 1


def test_segments_of_clicks_boxes_and_everything():
    picture = bands()
    oracle = Oracle(picture.segments)
    clicked = Promptable.segment(oracle, picture.image, points=[(30, 20)])
    np.testing.assert_array_equal(clicked.masks, picture.segments[None] == 1)
    np.testing.assert_array_equal(clicked.labels, picture.segments == 1)
    boxed = Promptable.segment(oracle, picture.image, boxes=[(0, 92, 127, 107), (0, 40, 127, 91)])
    assert boxed.labels[100, 20] == 2 and boxed.labels[80, 10] == 1  # the larger first
    assert boxed.scores == pytest.approx([1, 1])
    Promptable.segment(oracle, picture.image, points=[(30, 20), (2, 100, 0)])
    assert oracle.asked[-1][1][0, :2].tolist() == [1, 0] and not oracle.asked[-1][3]
    with pytest.raises(ValueError, match="points, or boxes"):
        Promptable.segment(oracle, picture.image, points=[(1, 1)], boxes=[(1, 1, 2, 2)])
    found = Promptable.segment(oracle, picture.image)
    assert {mask.tobytes() for mask in found.masks} >= {(picture.segments == n).tobytes() for n in (1, 2, 3)}
