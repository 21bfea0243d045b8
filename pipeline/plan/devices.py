"""What a plan knows of a device before anything was measured on it: its peak, its memory and how much of the peak to
expect.

Peaks are the makers' own, for dense products in the format that trainers use on that device: bfloat16, or float16 where
there is no bfloat16. Memory is what `nvidia-smi` shows, in MiB. Data sheets of the makers, read in 2025.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import PipelineError, suggest
from trainers import HEADROOM

GPU_UTILISATION = 0.2
"""Assumed, until the study has measured its own: small models reach a twentieth of a GPU's peak, tuned large ones a
half. A plan says that it is assumed."""
GPU_STEP_SECONDS = 5e-3
"""Assumed likewise: hundreds of kernels a step, about ten microseconds each to start."""
PROCESS_BYTES = 512 * 2**20
"""GPU memory of a process before it allocates anything: the CUDA context and its kernels."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One type of device."""

    name: str
    """As in `--device-type` and in budgets: `h100`."""
    shown: str
    """What its name contains, as nvidia-smi and torch show it; upper case."""
    peak: float
    """FLOPs a second; 0 where it is not known."""
    bytes: int
    """Memory; 0 where it is not known, or is the machine's own."""
    utilisation: float = GPU_UTILISATION
    """The share of the peak that a plan assumes."""
    step_seconds: float = GPU_STEP_SECONDS
    """Seconds a step that do not depend on the model, as a plan assumes them."""

    @property
    def is_gpu(self) -> bool:
        return self.name != "cpu"

    def needs(self, bytes: int, cells: int = 1) -> int:
        """Memory of a process that trains cells of so many bytes each."""
        return PROCESS_BYTES + math.ceil(HEADROOM * bytes * cells)

    @property
    def available(self) -> float:
        """Bytes, as trainers count them, that one process may take; infinite where the memory is not known."""
        return (self.bytes - PROCESS_BYTES) / HEADROOM if self.bytes else math.inf

    def holds(self, bytes: int, cells: int = 1) -> bool:
        """Whether such a process fits; True where the memory is not known."""
        return not self.bytes or self.needs(bytes, cells) <= self.bytes


def _gpu(name: str, shown: str, teraflops: float, mebibytes: int) -> Device:
    return Device(name=name, shown=shown, peak=teraflops * 1e12, bytes=mebibytes * 2**20)


CPU = Device(name="cpu", shown="CPU", peak=1e10, bytes=0, utilisation=1.0, step_seconds=1e-4)
"""One core with small matrices: the rate is what was seen, so all of it is expected."""
UNKNOWN_GPU = Device(name="gpu", shown="GPU", peak=0.0, bytes=0)
"""A GPU of a type that is not in the table."""
GPUS = (
    _gpu("b200", "B200", 2250, 183359),
    _gpu("h200", "H200", 989, 143771),
    _gpu("h100-pcie", "H100 PCIE", 756, 81559),
    _gpu("h100-nvl", "H100 NVL", 835, 95830),
    _gpu("h100", "H100", 989, 81559),
    _gpu("a100", "A100-SXM4-80GB", 312, 81920),
    _gpu("a100", "A100 80GB", 312, 81920),
    _gpu("a100-40gb", "A100", 312, 40960),
    _gpu("l40s", "L40S", 362, 46068),
    _gpu("a10g", "A10G", 70, 23028),
    _gpu("l4", "L4", 121, 23034),
    _gpu("rtx4090", "RTX 4090", 165, 24564),
    _gpu("v100", "V100", 125, 16384),
    _gpu("t4", "T4", 65, 15360),
)
"""In the order in which names are looked for: `L40S` before `L4`."""
REFERENCE = next(device for device in GPUS if device.name == "h100")
"""What a plan assumes for a study that needs a GPU of no type yet: what the studies' own docstrings reckon in."""


def device_named(name: str) -> Device:
    """The device that a user means. Raises PipelineError for a name that is not in the table."""
    found = {device.name: device for device in (CPU, *GPUS)}
    if name.lower() not in found:
        raise PipelineError(f"there is no device type '{name}': {suggest(name, found)}")
    return found[name.lower()]


def device_shown(title: str, bytes: int = 0) -> Device:
    """The device behind a name of nvidia-smi or torch, with the memory that was measured; `UNKNOWN_GPU`'s name where
    none is known by it, and the CPU for an empty one."""
    if not title or title == "cpu":
        return CPU
    words = title.upper()
    known = next((device for device in GPUS if device.shown in words), UNKNOWN_GPU)
    if not bytes:
        return known
    return Device(**{**vars(known), "bytes": bytes})
