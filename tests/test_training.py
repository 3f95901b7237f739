"""Recipes, batches and steps of a training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from segedu.models.registry import build_model
from segedu.training import CheckpointError, load_recipe, recipe_names, save_model
from segedu.training.feed import Samples, feed, seed_of
from segedu.training.optimisers import build_optimizer, move_average, set_learning_rate
from segedu.training.processes import Processes
from segedu.training.recipe import Schedule, parse_recipe
from segedu.training.run import Run
from segedu.training.tasks import build_task
from segedu.training.tasks.semantic import probabilities

ALONE = Processes(0, 1, torch.device("cpu"))
TINY = {
    "name": "tiny",
    "model": {"name": "unet", "in_channels": 3, "num_classes": 7, "depth": 2, "width": 4, "padded": True},
    "task": {"kind": "semantic", "dataset": "shapes", "train": "train", "validation": "", "crop": [32, 32]},
    "training": {"steps": 6, "batch": 4, "learning_rate": 0.01},
}


def tiny(**training):
    return parse_recipe({**TINY, "training": {**TINY["training"], **training}}, "tiny")


@pytest.fixture(scope="module")
def task():
    return build_task(**TINY["task"])


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one)


# Recipes


def test_every_recipe_can_be_read_and_builds_its_model():
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.description, name
        arguments = {key: value for key, value in recipe.model.items() if key != "pretrained"}
        assert build_model(arguments.pop("name"), **arguments)


def test_what_is_compared_is_trained_alike():
    recipes = [load_recipe(name) for name in recipe_names() if name.startswith("camvid-")]
    assert len(recipes) == 4
    assert all((one.task, one.training, one.seed) == (recipes[0].task, recipes[0].training, 0) for one in recipes)

    with_border, without = (load_recipe(name) for name in ("nuclei-unet", "nuclei-unet-no-border"))
    assert (with_border.model, with_border.training) == (without.model, without.training)
    differing = {key for key in with_border.task if with_border.task[key] != without.task[key]}
    assert differing == {"w0"}


def test_changes_take_toml_values():
    recipe = load_recipe("camvid-deeplab", ["training.steps=7", "task.train=train+val", "task.crop=[64, 96]"])
    assert recipe.training.steps == 7
    assert recipe.task["train"] == "train+val"
    assert recipe.task["crop"] == [64, 96]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.steps=0", "steps must be at least 1, got 0"),
        ("training.steps=1.5", "steps must be int, got 1.5"),
        ("training.stepz=1", "unknown stepz; known are steps, batch"),
        ("training.optimizer=adam", "optimizer must be 'adamw' or 'sgd', got 'adam'"),
        ("training.freeze_norm=1", "freeze_norm must be bool"),
        ("colour=red", "unknown colour"),
        ("model.name=3", "must have a name"),
        ("steps", "must be like training.steps=100"),
        ("description.long=1", "not a table"),
    ],
)
def test_a_wrong_recipe_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("camvid-deeplab", [change])


def test_wrong_names_say_which_there_are(tmp_path):
    with pytest.raises(ValueError, match="camvid-deeplab"):
        load_recipe("camvid")
    (tmp_path / "r.toml").write_text("a = = 1")
    with pytest.raises(ValueError, match="not TOML"):
        load_recipe(tmp_path / "r.toml")
    with pytest.raises(ValueError, match=r"there are: .*deeplab_v3plus"):
        build_model("os.system")
    with pytest.raises(ValueError, match="cannot be called"):
        build_model("unet", command="ls")
    with pytest.raises(ValueError, match=r"there are: .*semantic"):
        build_task("regression")
    with pytest.raises(ValueError, match="cannot be made of"):
        build_task("semantic", dataset="shapes")


# Batches


@given(seed=st.integers(0, 2**32), number=st.integers(0, 2**40))
def test_seeds_fit_torch_and_differ(seed, number):
    torch.Generator().manual_seed(seed_of(seed, "sample", number))
    assert seed_of(seed, "sample", number) != seed_of(seed, "sample", number + 1) != seed_of(seed, "order", number + 1)


def test_an_epoch_has_every_image_once_and_the_next_another_order():
    class Indices:
        def __len__(self):
            return 10

        def sample(self, index):
            return index

    samples = Samples(Indices(), seed=3)
    first, second = ([samples[number] for number in range(start, start + 10)] for start in (0, 10))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert [samples[number] for number in range(10)] == first  # going back changes nothing


def test_batches_are_the_same_however_they_are_cut(task):
    recipe = tiny(batch=4, accumulate=2)
    whole = [torch.cat([images for images, _ in parts]) for parts in feed(task, recipe, range(3), ALONE, 0)]
    torch.rand(5)  # what others draw does not matter
    later = [torch.cat([images for images, _ in parts]) for parts in feed(task, recipe, range(1, 3), ALONE, workers=1)]
    assert torch.equal(whole[1], later[0])
    assert torch.equal(whole[2], later[1])
    two = [Processes(rank, 2, torch.device("cpu")) for rank in (0, 1)]
    shares = [next(feed(task, recipe, range(1, 2), process, 0)) for process in two]
    together = torch.cat([shares[rank][part][0] for part in (0, 1) for rank in (0, 1)])
    assert torch.equal(whole[1], together)


def test_a_batch_that_cannot_be_shared_is_refused(task):
    with pytest.raises(ValueError, match="a batch of 4 cannot be shared evenly by 1 processes in 3 parts"):
        next(feed(task, tiny(accumulate=3), range(1), ALONE, 0))


# Steps


def test_parts_of_a_batch_give_the_gradient_of_the_whole(task):
    """Even where the parts have unlike numbers of labelled pixels; the tiny U-Net has no batch normalisation."""
    images, labels = next(feed(task, tiny(), range(1), ALONE, 0))[0]
    labels = labels.clone()
    labels[0] = 255
    labels[1, 5:] = 255
    whole, parts = (Run(tiny(accumulate=n), task, ALONE) for n in (1, 2))
    one = whole.advance([(images, labels)])[0]
    two = parts.advance([(images[:2], labels[:2]), (images[2:], labels[2:])])[0]
    assert one.item() == pytest.approx(two.item(), rel=1e-6)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_run_starts_from_the_weights_that_its_recipe_names(task, tmp_path):
    trained = Run(tiny(), task, ALONE)
    save_model(tmp_path / "model.safetensors", trained.model, {"model": TINY["model"]}, half=False)
    seeded = Run(parse_recipe({**TINY, "seed": 1}, "tiny"), task, ALONE)
    assert not same(seeded.model.state_dict(), trained.model.state_dict())

    start = str(tmp_path / "model.safetensors")
    run = Run(
        parse_recipe({**TINY, "seed": 1, "training": {**TINY["training"], "start": start, "ema": 0.9}}, ""), task, ALONE
    )
    run.begin()
    assert same(run.model.state_dict(), trained.model.state_dict())
    assert same(run.result.state_dict(), trained.model.state_dict())


def test_weights_of_another_model_are_no_start(task, tmp_path):
    other = {**TINY["model"], "width": 8}
    save_model(tmp_path / "model.safetensors", build_model(**other), {"model": other})
    with pytest.raises(CheckpointError, match="is no start for this recipe"):
        Run(tiny(start=str(tmp_path / "model.safetensors")), task, ALONE).begin()
    with pytest.raises(CheckpointError, match="there is no file"):
        Run(tiny(start=str(tmp_path / "none.safetensors")), task, ALONE).begin()


def test_a_batch_without_any_label_changes_nothing_but_by_decay(task):
    run = Run(tiny(optimizer="sgd", weight_decay=0.0), task, ALONE)
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    loss, _ = run.advance([(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.full((2, 32, 32), 255))])
    assert loss == 0
    assert same(before, run.model.state_dict())


def test_the_semantic_loss_is_pytorchs_weighted_mean():
    task = build_task(**{**TINY["task"], "class_weights": True})
    batch = next(feed(task, tiny(), range(1), ALONE, 0))[0]
    batch[1][:, :4] = 255
    model = build_model(**TINY["model"]).eval()
    loss = task.loss(model, batch) / task.weight(batch)
    expected = nn.CrossEntropyLoss(task.class_weights, ignore_index=255)(model(batch[0] / 255), batch[1].long())
    torch.testing.assert_close(loss, expected)


def test_a_mirror_image_gets_the_mirrored_answer():
    torch.manual_seed(0)
    model = nn.Conv2d(3, 5, 3, padding=1)
    images = torch.randint(0, 256, (2, 3, 9, 14), dtype=torch.uint8)
    once = probabilities(model, images, mirror=True)
    torch.testing.assert_close(probabilities(model, images.flip(3), mirror=True), once.flip(3))
    assert not torch.allclose(probabilities(model, images.flip(3)), probabilities(model, images).flip(3))
    torch.testing.assert_close(once.sum(1), torch.ones(2, 9, 14))


def test_learning_rates_warm_up_decay_and_differ_for_the_encoder():
    schedule = Schedule(steps=100, batch=1, learning_rate=1.0, encoder_learning_rate=0.1, warmup=10, weight_decay=0.5)
    model = nn.ModuleDict({"encoder": nn.Conv2d(1, 1, 1), "head": nn.Conv2d(1, 1, 1)})
    optimizer = build_optimizer(model, schedule)
    assert {(g["lr"], g["weight_decay"], g["params"][0].ndim) for g in optimizer.param_groups} == {
        (1.0, 0.5, 4), (1.0, 0.0, 1), (0.1, 0.5, 4), (0.1, 0.0, 1),
    }  # fmt: skip
    rates = [set_learning_rate(optimizer, schedule, step) for step in range(100)]
    assert rates[4] == pytest.approx(0.5 * 0.96**0.9)
    assert rates[50] == pytest.approx(0.5**0.9)
    assert rates.index(max(rates)) == 9
    assert sorted({round(g["lr"] / rates[-1], 6) for g in optimizer.param_groups}) == [0.1, 1.0]


def test_the_average_agrees_with_pytorchs():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    peer = torch.optim.swa_utils.AveragedModel(
        ours, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5), use_buffers=True
    )
    peer.update_parameters(ours)
    for step in range(100, 103):  # late enough for the decay that was asked for
        model(torch.rand(1, 1, 5, 5))
        move_average(ours, model, 0.5, step)
        peer.update_parameters(model)
    for a, b in zip(ours.parameters(), peer.module.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours[1].running_mean, peer.module[1].running_mean)


@pytest.mark.parametrize(
    ("precision", "able", "expected"),
    [
        ("auto", {"avx512_bf16": True}, torch.bfloat16),
        ("auto", {"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ("auto", {}, None),
        ("float32", {"avx512_bf16": True}, None),
    ],
)
def test_a_cpu_computes_in_half_precision_if_that_is_fast(task, monkeypatch, precision, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert Run(tiny(precision=precision), task, ALONE).mixed == expected
