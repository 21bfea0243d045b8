"""Procgen's agents against plain PyTorch: networks, gradients, updates, sizes."""

from __future__ import annotations

import pytest
import torch

from trainers.procgen import ACTIONS, Agent, Games, engine_seeds, network
from trainers.procgen import agent as agents


def reference(kind: str, width: float) -> torch.nn.Module:
    """The same network as plain PyTorch modules, channels first."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 3, padding=1)
            self.second = nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x):
            return x + self.second(torch.relu(self.first(torch.relu(x))))

    def scaled(n):
        return max(1, round(n * width))

    class ChannelsLast(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    if kind == "nature":
        a, b, hidden = scaled(32), scaled(64), scaled(512)
        body = [nn.Conv2d(3, a, 8, 4), nn.ReLU(), nn.Conv2d(a, b, 4, 2), nn.ReLU(), nn.Conv2d(b, b, 3)]
        size = b * 16
    else:
        body, inputs, hidden = [], 3, scaled(256)
        for outputs in (scaled(16), scaled(32), scaled(32)):
            body += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(3, 2, 1), Block(outputs), Block(outputs)]
            inputs = outputs
        size = inputs * 64
    head = [nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, ACTIONS + 1)]
    return nn.Sequential(*body, ChannelsLast(), nn.ReLU(), *head)


@pytest.mark.parametrize("kind", ["nature", "impala"])
@pytest.mark.parametrize("width", [0.2, 1.0])
def test_networks_and_gradients_equal_plain_pytorch(kind, width):
    agent, plain = Agent(kind, width, seed=3, device="cpu"), reference(kind, width)
    with torch.no_grad():
        for mine, theirs in zip(agent.layers, plain.parameters(), strict=True):
            theirs.copy_(mine.reshape(theirs.shape))
    frames = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    logits, values = agent(frames)
    # Scaled as the agent does: another rounding can name another largest input of a pool, whose gradient then moves.
    expected = plain(frames.permute(0, 3, 1, 2) * (1 / 255))
    torch.testing.assert_close(torch.cat([logits, values[:, None]], 1), expected, rtol=1e-4, atol=1e-5)
    (logits.square().sum() + values.sum()).backward()
    (expected[:, :ACTIONS].square().sum() + expected[:, ACTIONS].sum()).backward()
    for mine, theirs in zip(agent.layers, plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.reshape(theirs.shape), theirs.grad, rtol=1e-3, atol=1e-4)
    assert agent.gradient.abs().sum() > 0, "gradients land in the flat tensor"

    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-3, eps=1e-5)
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
    optimiser.step()
    agent.update(0, learning_rate=1e-3, max_norm=0.5)
    for mine, theirs in zip(agent.layers, plain.parameters(), strict=True):
        torch.testing.assert_close(mine.reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["nature", "impala"])
@pytest.mark.filterwarnings("ignore:this CPU")
def test_bfloat16_rounds_products_and_keeps_the_rest(kind):
    frames = torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    results = []
    for precision in ("float32", "bfloat16"):
        agent = Agent(kind, 0.5, seed=3, device="cpu", precision=precision)
        logits, values = agent(frames)
        (logits.square().sum() + values.sum()).backward()
        results.append((logits.detach(), values.detach(), agent.gradient))
        assert all(tensor.dtype is torch.float32 for tensor in (*results[-1], agent.weights))
    for exact, rounded in zip(*results, strict=True):
        assert not torch.equal(exact, rounded)
        assert torch.nn.functional.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.999
    # The last layer rounds nothing: with its weights alone the logits have more digits than bfloat16 holds.
    assert not torch.equal(results[1][0], results[1][0].bfloat16().float())


def test_a_cpu_that_emulates_bfloat16_is_named(monkeypatch):
    monkeypatch.setattr(agents.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": False})
    with pytest.warns(RuntimeWarning, match='no instructions for bfloat16.*precision="float32"'):
        Agent("nature", 0.1, seed=0, device="cpu", precision="bfloat16")
    monkeypatch.setattr(agents.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not agents.cpu_has_bfloat16(), "a build without oneDNN has no such question to ask"


@pytest.mark.parametrize("kind", ["nature", "impala"])
def test_an_agent_starts_without_preferences(kind):
    opened = Games(game="coinrun", mode="easy", first_level=0, levels=20, seeds=engine_seeds(16, 1), threads=1)
    with opened as games, torch.no_grad():
        logits, values = Agent(kind, 1.0, seed=0, device="cpu")(torch.from_numpy(games.frames))
    assert logits.softmax(1).max() < 1.2 / ACTIONS and values.abs().max() < 0.1


def test_published_sizes():
    """IMPALA at width 1 has 0.6 million parameters, as in Cobbe et al.; the Nature network is known from Atari."""
    assert sum(layer.weights + layer.outputs for layer in network("impala", 1.0)) == 626_256
    assert sum(layer.weights + layer.outputs for layer in network("nature", 1.0)) == 608_944


@pytest.mark.parametrize("kind", ["nature", "impala"])
def test_weights_start_with_the_usual_deviations(kind):
    """Hidden layers as PyTorch starts them, a policy without preferences, a value of gain 1."""
    agent = Agent(kind, 1.0, seed=0, device="cpu")
    *hidden, head = zip(agent.layers[::2], agent.layers[1::2], strict=True)
    for weight, bias in hidden:
        usual = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2])
        assert weight.std().item() == pytest.approx(usual.weight.std().item(), rel=0.1)
        assert weight.abs().max().item() == pytest.approx(usual.weight.abs().max().item(), rel=0.02)
        assert 0.5 < bias.abs().max() / weight.abs().max() <= 1.01
    policy, value = head[0][:ACTIONS].flatten(1), head[0][ACTIONS].flatten()
    assert policy.norm(dim=1).mean().item() == pytest.approx(0.01, rel=0.1)
    assert value.norm().item() == pytest.approx(1.0, rel=0.2) and not head[1].any()
