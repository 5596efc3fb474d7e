"""The results as a picture: a bar for each contender, on a logarithmic scale."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt


def draw(results: dict[str, dict[str, float]], folder: Path) -> Path:
    """Write ``results.svg`` and return its path."""
    heights = [len(found) for found in results.values()]
    figure, axes = plt.subplots(
        len(results),
        1,
        figsize=(9, 0.28 * sum(heights) + 1.2 * len(results)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (title, found) in zip(axes[:, 0], results.items(), strict=True):
        colors = ["tab:green" if "asyncviews" in name else "tab:gray" for name in found]
        axis.barh(list(found), list(found.values()), color=colors)
        axis.set_xscale("log")
        axis.invert_yaxis()
        axis.set_title(title, loc="left", fontsize=10)
    path = folder / "results.svg"
    figure.savefig(path)
    plt.close(figure)
    return path
