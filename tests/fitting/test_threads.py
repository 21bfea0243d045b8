"""Linear algebra runs on one thread while a law is fitted, and as before afterwards."""

from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from fitting import LAWS, Table, fit

X = np.geomspace(1e2, 1e6, 20)


def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@dataclass
class Watching:
    """A law that writes down how many threads its fit may use."""

    name: str = "watching"
    seen: list = field(default_factory=list)

    def forms(self, frame):
        self.seen.append(threads())
        return LAWS["m1"].forms(frame)


def test_a_fit_uses_one_thread_whoever_calls_and_gives_the_others_back():
    law = Watching()
    with threadpool_limits(2, user_api="blas"):
        assert threads() == {2}
        fit(law, Table(inputs={"steps": X}, y=X**-0.3))
        assert threads() == {2}
    assert law.seen and all(one == {1} for one in law.seen)
