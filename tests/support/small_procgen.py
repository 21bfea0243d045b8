"""An agent that is small enough for a test."""

from __future__ import annotations

from trainers.procgen import ProcgenConfig

SMALL = ProcgenConfig(
    game="bossfight",
    width=0.1,
    steps=20,
    batch_size=32,
    environments=4,
    minibatches=2,
    epochs=1,
    test_episodes=2,
)
