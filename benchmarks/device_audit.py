"""Does anything in a trainer stay on the CPU that belongs on the GPU? Asked without a GPU, and without CUDA.

    python benchmarks/device_audit.py [NAME ...]        (only cases with such a name: `vision`, `language, gpt2`)

Every trainer trains, measures, is saved, stopped and resumed on a device that has shapes and no numbers: torch's fake
tensors on its device for other makers' hardware, under a name that begins with `cuda`, so that the trainers take their
way for a GPU. An operation on tensors of two devices raises there as it would on a GPU, in the backward pass too; so
does a tensor of a GPU that NumPy reads. Numbers that the host asks for are zeros.

What this leaves out: kernels that CUDA lacks or that compute something else, autocast and the formats it chooses,
torch.compile, pinned memory and streams, checkpointing, which ends the process on such a device, and all that depends
on numbers.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import traceback
import types
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode

HERE = Path(__file__).resolve().parent.parent
NAME = "cudalike"
DEVICE = f"{NAME}:0"
FROM_NUMPY, TENSOR = torch.from_numpy, torch.tensor


def make_device() -> None:
    """Give torch a device of that name, which has a guard and hooks, as fake tensors need, and no kernels."""

    class Guard(torch._C._acc.DeviceGuard):
        def type_(self):
            return torch._C._autograd.DeviceType.PrivateUse1

    class Hooks(torch._C._acc.PrivateUse1Hooks):
        def is_available(self) -> bool:
            return True

        def has_primary_context(self, index: int) -> bool:
            return True

        def is_built(self) -> bool:
            return True

    module = types.ModuleType(NAME)
    for question, answer in {
        "is_available": True, "is_initialized": True, "current_device": 0, "device_count": 1, "_is_in_bad_fork": False
    }.items():  # fmt: skip
        setattr(module, question, lambda answer=answer: answer)
    module.manual_seed_all = lambda seed: None
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, module)
    torch._C._acc.register_python_privateuseone_hook(Hooks())
    torch._C._acc.register_python_privateuseone_device_guard(Guard())


class Zeros(TorchFunctionMode):
    """The host's questions to tensors without numbers are answered with zeros; NumPy reads those of the CPU alone."""

    def __torch_function__(self, function, of_types, args=(), kwargs=None):
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        first = args[0] if args else None
        if isinstance(first, FakeTensor):
            if name == "numpy":
                if first.device.type != "cpu":
                    raise TypeError(f"can't convert {first.device} device type tensor to numpy")
                return np.zeros(tuple(first.shape), str(first.dtype).removeprefix("torch."))
            if name in ("item", "tolist", "__float__", "__int__", "__bool__", "__index__"):
                zeros = np.zeros(tuple(first.shape)).tolist()
                kind = {"__float__": float, "__int__": int, "__bool__": bool, "__index__": int}.get(name)
                return kind(zeros) if kind else zeros
            if name == "pin_memory":
                return first
        return function(*args, **kwargs)


def configs() -> dict[str, tuple]:
    """By what is audited: a trainer and two configurations of one cohort."""
    from corpus import CORPUS
    from small_vision import config as vision

    from trainers.language import LANGUAGE, LanguageConfig
    from trainers.math import ADDITION, MODULAR, PARITY, AdditionConfig, ModularConfig, ParityConfig
    from trainers.procgen import PROCGEN, ProcgenConfig
    from trainers.vision import VISION

    small = {"width": 16, "depth": 1, "steps": 33, "test_size": 64, "warmup_steps": 2}
    answering = small | {"batch_size": 16, "answers": 4, "sampled_questions": 16}
    text = {"text": CORPUS, "width": 16, "head_size": 8, "depth": 1, "context_length": 16, "batch_size": 64}
    text |= {"dataset_size": 4_000, "validation_tokens": 64, "steps": 17, "warmup_steps": 2, "accumulation": 2}
    pictures = {"depth": 4, "steps": 4, "shift": 2, "flip": True}
    agent = {"game": "coinrun", "width": 0.25, "steps": 2, "batch_size": 16, "environments": 2, "test_episodes": 2}
    return {
        "parity": (PARITY, ParityConfig(width=16, depth=2, steps=33, weight_decay=0.1)),
        "parity, base width": (PARITY, ParityConfig(width=16, depth=2, steps=33, base_width=8)),
        "addition": (ADDITION, AdditionConfig(**answering, digits=2, dataset_size=500, weight_decay=0.1)),
        "modular, annealed": (
            MODULAR, ModularConfig(**answering, modulus=13, dataset_size=50, schedule="anneal", base_width=8)
        ),
        **{
            f"language, {kind}": (LANGUAGE, LanguageConfig(**text, architecture=kind))
            for kind in ("gpt2", "llama", "mamba2")
        },
        "language, annealed": (
            LANGUAGE, LanguageConfig(**text, schedule="anneal", base_width=8)
        ),
        **{
            f"vision, {kind}": (VISION, vision(**pictures, architecture=kind))
            for kind in ("vit", "mixer", "resnet", "linear")
        },
        **{
            f"procgen, {kind}": (PROCGEN, ProcgenConfig(**agent, network=kind, minibatches=2))
            for kind in ("nature", "impala")
        },
    }  # fmt: skip


def without_number(data, device="cpu", **kind):
    """`torch.tensor` on the device: a fake tensor that still knew its one number would be computed for real."""
    made = TENSOR(data, **kind)
    if isinstance(made, FakeTensor):
        made.constant = None
    return made.to(device)


def built(fakes: FakeTensorMode, config):
    """A language model made as ever, then without its numbers: `to` moves its weights and buffers, as it would."""
    from trainers.language import build_model

    with unset_fake_temporarily():
        model = build_model(config)

    def to(device):
        moved: dict[int, torch.Tensor] = {}
        for module in model.modules():
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is not None and id(tensor) not in moved:
                        fake = fakes.from_tensor(tensor.detach()).to(device)
                        moved[id(tensor)] = torch.nn.Parameter(fake) if held is module._parameters else fake
                    held[name] = None if tensor is None else moved[id(tensor)]
        return model

    model.to = to
    return model


def audit(trainer, config) -> str:
    """Empty, or what went wrong: training and measuring to the end, once stopped in the middle and resumed."""
    from trainers.battery import Recorder, run_in_memory

    class OnDevice(Recorder):
        device = DEVICE

    try:
        fakes = FakeTensorMode(allow_non_fake_inputs=True)
        importlib.import_module("trainers.language.trainer").build_model = partial(built, fakes)
        # Both fill memory before the modes see them.
        torch.from_numpy = lambda array: fakes.from_tensor(FROM_NUMPY(array))
        torch.tensor = without_number
        # A thread that autograd kept for the device would neither see the modes nor end.
        with torch.autograd.set_multithreading_enabled(False), fakes, Zeros():
            first = OnDevice(stop_after_points=1)
            run_in_memory(trainer, [config], first)
            points, ends = run_in_memory(trainer, [config], OnDevice(saved=first.saved))
        if not ends:
            return f"no end after {len(points)} points"
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/trainers/trainers/" in f.filename
                  or str(HERE / "trainers") in f.filename]  # fmt: skip
        where = f"{Path(frames[-1].filename).relative_to(HERE)}:{frames[-1].lineno}" if frames else "outside"
        first_line = (str(error).strip().splitlines() or [""])[0][:200]
        return f"{where}: {type(error).__name__}: {first_line}"
    return ""


def main() -> int:
    make_device()
    torch.cuda.mem_get_info = lambda device: (2**34, 2**34)
    found = {}
    asked = sys.argv[1:] or [""]
    for name, what in configs().items():
        if not any(part in name for part in asked):
            continue
        found[name] = audit(*what)
        print(f"  {name:36}{found[name] or 'trains, measures and resumes'}", flush=True)
    print(f"device_audit: {sum(not wrong for wrong in found.values())} (goal {len(found)})")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("UNSL_CACHE", folder)
        status = main()
    raise SystemExit(status)
