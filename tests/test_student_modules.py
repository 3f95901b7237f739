"""Students' `nn.Module`s: built, loaded, run and differentiated, in the sandbox and in the notebook alike."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autograder.check import NotebookStudent, forbidden_use
from autograder.sandbox.client import SandboxedStudent, Zygote
from autograder.sandbox.errors import StudentError
from autograder.suite import Exercise

SOURCE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, inside, outside, *, bias=True):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))

class Lookup(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 2)
        self.unused = nn.Parameter(torch.zeros(3))

    def forward(self, x, y):
        return self.table(x) * y

class Sized(nn.Module):
    def forward(self, x, size):
        return nn.functional.interpolate(x, size)

class Pair(nn.Module):
    def forward(self, x):
        return x, {"twice": 2 * x}

class Cut(nn.Module):
    def forward(self, x):
        return x.detach()

class Unwritten(nn.Module):
    def __init__(self):
        super().__init__()
        raise NotImplementedError

def three():
    return 3
"""


@pytest.fixture(scope="module")
def torch_zygote(sandbox):
    with Zygote(("numpy", "torch")) as zygote:
        yield zygote


@pytest.fixture(params=["sandbox", "notebook"])
def student(request):
    if request.param == "notebook":
        namespace = {"__name__": "__main__"}
        exec(SOURCE, namespace)
        yield NotebookStudent(namespace, Exercise("toy", cells={}))
    else:
        with SandboxedStudent(request.getfixturevalue("torch_zygote"), {"work": SOURCE}) as ada:
            yield ada


def block_weights(rng):
    shapes = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "norm.weight": (4,), "norm.bias": (4,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_shapes_are_those_of_the_parameters(student):
    assert student.Block.module(3, 4).shapes() == {
        "conv.weight": (4, 3, 3, 3),
        "conv.bias": (4,),
        "norm.weight": (4,),
        "norm.bias": (4,),
    }
    assert "conv.bias" not in student.Block.module(3, 4, bias=False).shapes()


@pytest.mark.parametrize("train", [False, True])
def test_output_and_gradients_are_torch_s_own(student, train):
    rng = np.random.default_rng(0)
    weights, x, upstream = (
        block_weights(rng),
        rng.normal(size=(2, 3, 6, 5)).astype(np.float32),
        rng.normal(size=(2, 4, 6, 5)).astype(np.float32),
    )
    # The same by functions, not by modules.
    w = {name: torch.from_numpy(value).requires_grad_() for name, value in weights.items()}
    image = torch.from_numpy(x).requires_grad_()
    y = F.conv2d(image, w["conv.weight"], w["conv.bias"], padding=1)
    y = F.batch_norm(y, torch.zeros(4), torch.ones(4), w["norm.weight"], w["norm.bias"], training=train).relu()
    wanted = torch.autograd.grad(y, [image, *w.values()], torch.from_numpy(upstream))

    block = student.Block.module(3, 4).load(weights)
    np.testing.assert_allclose(block(x, train=train), y.detach(), atol=1e-5)
    found = block.gradients(x, upstream=upstream, train=train)
    np.testing.assert_allclose(found.output, y.detach(), atol=1e-5)
    np.testing.assert_allclose(found.inputs[0], wanted[0], atol=1e-4)
    for name, gradient in zip(w, wanted[1:], strict=True):
        np.testing.assert_allclose(found.weights[name], gradient, atol=1e-4, err_msg=name)


def test_running_means_move_in_training_only(student):
    x = np.ones((1, 3, 4, 4), np.float32)
    block = student.Block.module(3, 4).load(block_weights(np.random.default_rng(1)))
    assert block.state_after(x)["norm.running_mean"].any()
    assert not block.state_after(x, train=False)["norm.running_mean"].any()


def test_nothing_is_kept_from_one_call_to_the_next(student):
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 4)).astype(np.float32)
    block = student.Block.module(3, 4).load(block_weights(np.random.default_rng(1)))
    before = block(x)
    block(x, train=True)
    np.testing.assert_array_equal(block(x), before)


def test_integers_have_no_gradient_and_unused_weights_none(student):
    lookup = student.Lookup.module()
    x, y = torch.tensor([0, 3]), torch.ones(2, 2)
    found = lookup.gradients(x, y, upstream=torch.ones(2, 2))
    assert found.inputs[0] is None
    assert found.inputs[1].shape == (2, 2)
    assert found.weights["unused"] is None
    np.testing.assert_array_equal(found.weights["table.weight"], [[1, 1], [0, 0], [0, 0], [1, 1], [0, 0]])


def test_inputs_may_be_of_any_plain_kind(student):
    found = student.Sized.module().gradients(torch.ones(1, 1, 2, 2), (4, 6), upstream=torch.ones(1, 1, 4, 6))
    assert found.output.shape == (1, 1, 4, 6)
    assert found.inputs[0].sum() == 24
    assert found.inputs[1] is None


def test_outputs_may_be_of_any_plain_kind(student):
    x, rest = student.Pair.module()(torch.ones(2))
    assert x.tolist() == [1, 1]
    assert rest["twice"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.three.module()(torch.ones(1)), "should make an nn.Module, and makes something of type int"),
        (lambda s: s.Unwritten.module().shapes(), "^NotImplementedError"),
        (lambda s: s.Block.module(3)(torch.ones(1)), "outside"),
        (
            lambda s: s.Block.module(3, 4).load({"conv.weight": torch.ones(4, 3, 3, 3)})(torch.ones(1)),
            "bias should not",
        ),
        (
            lambda s: s.Block.module(3, 4, bias=False).load(block_weights(np.random.default_rng(0)))(torch.ones(1)),
            "conv.bias is missing",
        ),
        (
            lambda s: s.Block.module(3, 4).load({"conv.weight": torch.ones(4, 3, 5, 5)}).shapes(),
            r"conv.weight should have shape \(4, 3, 5, 5\) and has \(4, 3, 3, 3\)",
        ),
        (lambda s: s.Pair.module().gradients(torch.ones(1), upstream=torch.ones(1)), "should be a tensor"),
        (lambda s: s.Cut.module().gradients(torch.ones(1), upstream=torch.ones(1)), "cannot|can differentiate"),
        (
            lambda s: s.Lookup.module().gradients(
                torch.zeros(2, dtype=torch.int64), torch.ones(2, 2), upstream=torch.ones(2)
            ),
            r"should have shape \(2,\), yours has \(2, 2\)",
        ),
    ],
)
def test_what_goes_wrong_is_said(student, ask, message):
    with pytest.raises(StudentError, match=message):
        ask(student)


LIARS = """
import torch
from torch import nn

class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.weight * x

class Renamed(Module):
    def state_dict(self):
        return {}

class Numbers(Module):
    def state_dict(self):
        return {"weight": 3}

class Names(Module):
    def named_parameters(self, *args, **kwargs):
        return [(3, self.weight), ("other", self.weight)]

class Huge(Module):
    def state_dict(self):
        return {"weight": torch.zeros(1).expand(2**34)}
"""


@pytest.mark.parametrize("name", ["Renamed", "Numbers", "Names", "Huge"])
def test_a_module_that_lies_about_itself_fails_its_call_and_no_other(torch_zygote, name):
    with SandboxedStudent(torch_zygote, {"work": LIARS}) as ada:
        with pytest.raises(StudentError):
            getattr(ada, name).module().shapes()
        assert ada.Module.module().shapes() == {"weight": (2,)}


def test_a_forged_reply_is_an_error_of_the_student_s():
    function = NotebookStudent({}, Exercise("toy", cells={})).f
    for reply in (None, 3, {}, {"state": {}, "parameters": ["w"], "output": 1}, {"state": [], "parameters": []}):
        forged = type(function)("f", lambda *_, reply=reply: reply)
        with pytest.raises(StudentError, match="could not be read"):
            forged.module().shapes()
        with pytest.raises(StudentError, match="could not be read"):
            forged.module().gradients(np.ones(1), upstream=np.ones(1))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class M(nn.Module):\n    def forward(self, x):\n        return F.conv2d(x, x)", "torch.nn.functional.conv2d"),
        (
            "class M(nn.Module):\n    def __init__(self):\n        self.c = torch.nn.functional.conv2d",
            "torch.nn.functional.conv2d",
        ),
        (
            "class H(nn.Module):\n    def f(self, x):\n        return F.conv2d(x, x)\n"
            "class M(nn.Module):\n    def forward(self, x):\n        return H()(x)",
            "torch.nn.functional.conv2d",
        ),
        (
            "class M(nn.Module):\n    @staticmethod\n    def f(x):\n        return F.conv2d(x, x)",
            "torch.nn.functional.conv2d",
        ),
        ("class M(nn.Conv2d):\n    pass", "torch.nn.Conv2d"),
        ("class H(nn.Conv2d):\n    pass\nclass M(H):\n    pass", "torch.nn.Conv2d"),
        (
            "from torch.nn import Conv2d\nclass M(nn.Module):\n    def f(self):\n        Conv2d(1, 1, 1)",
            "torch.nn.Conv2d",
        ),
        ("class M(nn.Module):\n    def forward(self, x):\n        return F.relu(x)", None),
    ],
)
def test_shortcuts_within_classes_are_found(source, found):
    namespace = {"__name__": "__main__", "torch": torch, "nn": nn, "F": F}
    exec(source, namespace)
    assert forbidden_use(namespace["M"], ("torch.nn.functional.conv2d", "torch.nn.Conv2d")) == found
