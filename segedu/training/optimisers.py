"""What turns gradients into better weights: the optimiser, its learning rates, the moving average."""

from __future__ import annotations

import torch
from torch import nn

from segedu.training.recipe import Schedule

ENCODERS = ("encoder", "image_encoder")  # the attributes in which models have what was trained before


def build_optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The recipe's optimiser, with four groups: the encoder or the rest, with weight decay or without."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith(tuple(f"{e}." for e in ENCODERS)), parameter.ndim > 1), []).append(
                parameter
            )
    rate_of = {True: schedule.encoder_learning_rate or schedule.learning_rate, False: schedule.learning_rate}
    settings = [
        {
            "params": parameters,
            "lr": rate_of[of_encoder],
            "highest": rate_of[of_encoder],
            "weight_decay": schedule.weight_decay if decays else 0.0,
        }
        for (of_encoder, decays), parameters in sorted(groups.items())
    ]
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(settings, momentum=0.9)
    return torch.optim.AdamW(settings)


def set_learning_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> float:
    """Give each group its rate for a step, counted from 0. Returns the decoder's.

    Source: Liu et al. 2015 (ParseNet), section 3.1; Chen et al. 2018 (DeepLab v2), section 4.1, "poly".
    """
    factor = min((step + 1) / max(schedule.warmup, 1), 1.0) * (1 - step / schedule.steps) ** schedule.power
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * factor
    return schedule.learning_rate * factor


def freeze_norm(model: nn.Module) -> None:
    """Let the encoder's batch normalisation use the statistics that it came with, though the model trains."""
    for encoder in (getattr(model, name) for name in ENCODERS if hasattr(model, name)):
        for layer in encoder.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()


@torch.no_grad()
def move_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move an average of weights towards those after a step; in the first steps faster, for it began at random."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
