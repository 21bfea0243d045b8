"""The rival of `fit_speed.py`: the same formula, data and starts, minimised by KFAC as the paper says.

Run by `fit_speed.py` in whichever interpreter has kfac-jax (0.0.8 needs jax < 0.9):

    python -m venv kfac-venv && kfac-venv/bin/pip install "jax[cpu]<0.9" kfac-jax
    python benchmarks/fit_speed.py --rival kfac-venv/bin/python

Reads the problem as JSON from standard input, writes seconds and losses as JSON to standard output.
"""

import json
import math
import sys
import time

import jax
import jax.numpy as jnp
import kfac_jax

jax.config.update("jax_enable_x64", True)


def log_y(raw, z, half, low, middle, high):
    """UNSL with a joint K of two breaks (+, -), one opposing term and a fitted ceiling, as `fitting.unsl` writes it.

    raw: (20,) for three inputs. z: (rows, 3). half: (3,).
    """
    m = z.shape[1]
    softplus = jax.nn.softplus
    a0, ceiling, b, c = raw[0], raw[1], raw[2], raw[3 : 3 + m]
    log_floor = low - (softplus(2.0 * a0 - 1.0) + 0.02)
    log_ceiling = high + (softplus(2.0 * ceiling - 1.0) + 0.02)
    good = 2.0 * b + middle - 1.0 - z @ (softplus(c) * 0.3 / math.log(2.0))
    at = 3 + m
    for sign in (1.0, -1.0):
        direction, d, f = 0.3 * raw[at : at + m], raw[at + m], raw[at + m + 1]
        place = jnp.tanh(d) * jnp.sum(jnp.sqrt(direction**2 + 1e-12) * half)
        width = jnp.exp(jax.nn.sigmoid(f) * math.log(100.0) + math.log(0.03))
        good = good - sign * width * softplus((z @ direction - place) / width)
        at += m + 2
    opposing = 2.0 * raw[at] + middle - 2.0 + z @ (0.5 * raw[at + 1 : at + 1 + m])
    total = jnp.logaddexp(good, opposing)
    return jnp.logaddexp(log_floor, -jnp.logaddexp(-log_ceiling, -total))


def main() -> None:
    problem = json.load(sys.stdin)
    z, target, starts = (jnp.array(problem[name]) for name in ("z", "target", "starts"))
    frame = (jnp.array(problem["half"]), problem["low"], problem["middle"], problem["high"])
    ridge, steps = problem["ridge"], problem["steps"]

    def objective(params, batch):
        predicted = log_y(params["raw"], batch[0], *frame)[:, None]
        kfac_jax.register_squared_error_loss(predicted, batch[1][:, None], weight=1.0)
        return jnp.mean((predicted[:, 0] - batch[1]) ** 2) + ridge * jnp.sum(params["raw"] ** 2)

    batch = (z, target)
    seconds, losses, compile_seconds = [], [], 0.0
    first = [float(v) for v in log_y(starts[0], z, *frame)]
    for start in starts[: problem["runs"]]:
        optimizer = kfac_jax.Optimizer(
            value_and_grad_func=jax.value_and_grad(objective),
            l2_reg=ridge,
            use_adaptive_learning_rate=True,
            use_adaptive_momentum=True,
            use_adaptive_damping=True,
            initial_damping=1.0,
            num_burnin_steps=0,
            multi_device=False,
        )
        params = {"raw": start}
        key = jax.random.PRNGKey(0)
        state = optimizer.init(params, key, batch)
        best, began = math.inf, time.perf_counter()
        for step in range(steps):
            if step == 2:  # the first steps compile
                compile_seconds, began = compile_seconds + time.perf_counter() - began, time.perf_counter()
            params, state, stats = optimizer.step(params, state, key, batch=batch, global_step_int=step)
        jax.block_until_ready(params)
        seconds.append((time.perf_counter() - began) * steps / max(steps - 2, 1))
        value = float(objective(params, batch))
        best = value if math.isfinite(value) else math.inf
        losses.append(best)
    json.dump({"seconds": seconds, "losses": losses, "compile": compile_seconds, "log_y": first}, sys.stdout)


if __name__ == "__main__":
    main()
