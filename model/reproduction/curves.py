"""The paper's closed-form figures, from the losses that training uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from model.losses.classification import Graded, cross_entropy, focal, focal_star
from model.reproduction.plots import panels

FIGURE_1_GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
FIGURE_5: dict[str, Callable[[Tensor], Graded]] = {
    "CE": cross_entropy,
    r"FL, $\gamma=2$": partial(focal, gamma=2.0),
    r"FL*, $\gamma=2$, $\beta=1$": partial(focal_star, gamma=2.0, shift=1.0),
    r"FL*, $\gamma=4$, $\beta=0$": partial(focal_star, gamma=4.0, shift=0.0),
}
"""The losses of Figures 5 and 6 and of Table 3."""


def figure_1(path: Path) -> None:
    """The focal loss by the probability of the ground truth class, for several gammas."""
    with panels(path) as (axis,):
        x_t = _margins(5.5)
        for gamma in FIGURE_1_GAMMAS:
            name = rf"$\gamma={gamma:g}$" + (" (CE)" if gamma == 0 else "")
            axis.plot(torch.sigmoid(x_t), focal(x_t, gamma).loss, label=name)
        axis.axvspan(0.5, 1.0, alpha=0.08, label="well classified")
        axis.set(xlabel="probability of the ground truth class", ylabel="loss", ylim=(0, 5))


def figure_5(path: Path) -> None:
    """CE, FL and FL* by x_t."""
    with panels(path) as (axis,):
        x_t = _margins(5.0)
        for name, loss in FIGURE_5.items():
            axis.plot(x_t, loss(x_t).loss, label=name)
        axis.set(xlabel="$x_t$", ylabel="loss", ylim=(0, 5))


def figure_6(path: Path) -> None:
    """The derivatives of the losses of Figure 5."""
    with panels(path) as (axis,):
        x_t = _margins(5.0)
        for name, loss in FIGURE_5.items():
            axis.plot(x_t, loss(x_t).slope, label=name)
        axis.set(xlabel="$x_t$", ylabel="derivative by $x$, for y = 1")


def figure_7(path: Path, effective: Mapping[tuple[float, float], bool]) -> None:
    """FL* by x_t for several (gamma, beta), blue where a run with them was effective."""
    with panels(path) as (axis,):
        x_t = _margins(5.0)
        for place, ((gamma, beta), good) in enumerate(effective.items()):
            curve = focal_star(x_t, gamma, beta).loss
            axis.plot(x_t, curve, color="tab:blue" if good else "tab:red")
            at = 13 * (place + 1)  # apart from each other
            axis.annotate(f"{gamma:g}, {beta:g}", (x_t[at], curve[at]), fontsize=7)
        axis.plot([], color="tab:blue", label="effective")
        axis.plot([], color="tab:red", label="not effective")
        axis.set(xlabel="$x_t$", ylabel=r"FL*, by $\gamma, \beta$", ylim=(0, 6))


def _margins(reach: float) -> Tensor:
    return torch.linspace(-reach, reach, 221)
