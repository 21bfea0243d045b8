"""Mathematics: tasks whose difficulty is a dial, learned by networks small enough to train many at once.

What is trained, on what, and how it is measured:

    parity     a multilayer perceptron on random bits whose label is the parity of k of them: the sharpest transition
    addition   a small transformer that adds two numbers, with or without a scratchpad
    modular    a small transformer on a table of arithmetic modulo a prime: generalises long after it has memorised

Examples are drawn from the seed, test examples are the same for every cell and never trained on. `loss` is in nats and
`error` a share; addition and modular also draw several answers a question and measure the majority's (`vote_error`) and
the chance that none is right (`pass_error`).

Read parity.py alone: it has everything of a trainer, from its configuration to its step, on one page; the loop around
it is in trainers/loop. Then answering.py, what addition.py and modular.py share; transformer.py, the stack of models
that learns; votes.py, the statistics of drawn answers.
"""

from __future__ import annotations

from trainers.math.addition import ADDITION, AdditionConfig
from trainers.math.answering import TransformerCohort
from trainers.math.modular import MODULAR, ModularConfig
from trainers.math.parity import PARITY, ParityConfig, PerceptronCohort

__all__ = [
    "ADDITION",
    "MODULAR",
    "PARITY",
    "AdditionConfig",
    "ModularConfig",
    "ParityConfig",
    "PerceptronCohort",
    "TransformerCohort",
]
