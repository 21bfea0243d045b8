"""How far the best learning rate moves with width: maximal update parametrisation beside the standard one.

    python benchmarks/parametrisation.py [--part perceptron] [--part language]

Models of three widths, 16-fold from the narrowest to the widest, train at learning rates a factor of two apart, every
one with the same seeds. The best rate of a width is the vertex of the parabola through the lowest mean
ln(loss) and its neighbours. Printed: that loss by rate and width, the best rates, and by which factor the largest of
them exceeds the smallest. At the base width, the narrowest, both parametrisations are one.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from trainers import End
from trainers.battery import Recorder
from trainers.language import LANGUAGE, LanguageConfig
from trainers.math import ADDITION, PARITY, AdditionConfig, ParityConfig

GOAL = 2.0
PARTS = {
    "perceptron": (
        PARITY,
        ParityConfig(bits=32, parity_bits=2, depth=2, steps=256, batch_size=32, test_size=1_024),
        (16, 64, 256),
        [2.0**-power for power in range(3, 12)],
        range(3),
    ),
    "noisy-perceptron": (
        PARITY,
        ParityConfig(bits=32, parity_bits=2, depth=2, label_noise=0.1, steps=256, batch_size=32, test_size=1_024),
        (16, 64, 256),
        [2.0**-power for power in range(3, 12)],
        range(3),
    ),
    "transformer": (
        ADDITION,
        AdditionConfig(
            digits=2, scratchpad=False, depth=2, steps=200, batch_size=32, dataset_size=6_400, test_size=256
        ),
        (8, 32, 128),
        [2.0**-power for power in range(3, 11)],
        range(1),
    ),
    "language": (
        LANGUAGE,
        LanguageConfig(
            depth=2,
            head_size=16,
            context_length=64,
            validation_tokens=16_384,
            steps=256,
            batch_size=1_024,
            dataset_size=262_144,
        ),
        (16, 64, 256),
        [2.0**-power for power in range(4, 12)],
        range(1),
    ),
}


def losses(trainer, config, rates: list[float], seeds: range) -> np.ndarray:
    """Mean over seeds of ln(loss) at the end; shape (rates,). Infinite where a model diverged."""
    cells = [dataclasses.replace(config, learning_rate=rate, seed=seed) for rate in rates for seed in seeds]
    last = np.full(len(cells), math.inf)
    for event in trainer.train(cells, Recorder()):
        if not isinstance(event, End) and event.step == config.steps:
            last[event.cell] = math.log(event.metrics["loss"])
    return last.reshape(len(rates), -1).mean(1)


def best(rates: list[float], found: np.ndarray) -> float:
    """The rate of least loss, between those of the grid."""
    place = int(found.argmin())
    if not 0 < place < len(rates) - 1 or not np.isfinite(found[place - 1 : place + 2]).all():
        return rates[place]
    before, at, after = found[place - 1 : place + 2]
    away = (before - after) / 2 / (before - 2 * at + after)
    return math.exp(math.log(rates[place]) + away * math.log(rates[place + 1] / rates[place]))


def part(name: str) -> None:
    trainer, config, widths, rates, seeds = PARTS[name]
    moved = {}
    for base in (0, widths[0]):
        found = {}
        for width in widths:
            of = dataclasses.replace(config, width=width, base_width=base)
            found[width] = losses(trainer, of, rates, seeds)
        optima = {width: best(rates, values) for width, values in found.items()}
        moved[base] = max(optima.values()) / min(optima.values())
        title = f"base width {base}" if base else "standard"
        print(f"{name}, {title}: mean ln(loss) after {config.steps} steps, {len(seeds)} seeds")
        print(f"  {'learning rate':>14}" + "".join(f"{f'width {width}':>12}" for width in widths))
        for row, rate in enumerate(rates):
            print(f"  {rate:14.2e}" + "".join(f"{found[width][row]:12.3f}" for width in widths))
        print(f"  {'best rate':>14}" + "".join(f"{optima[width]:12.2e}" for width in widths), flush=True)
    print(f"{name}_standard_moves: {moved[0]:.2f}")
    print(f"{name}_moves: {moved[widths[0]]:.2f} (goal below {GOAL}; over {widths[-1] // widths[0]} times the width)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given again")
    torch.set_num_threads(1)
    for name in parser.parse_args().part or PARTS:
        part(name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
