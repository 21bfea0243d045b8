"""What a plan knows of a device before anything ran on it, and what it refuses."""

from __future__ import annotations

import pytest
from rehearsal import make_study, run_study

from pipeline import Axis, Metric, PipelineError, Split, Study
from pipeline.plan import (
    CPU,
    GPUS,
    Throughput,
    carried_out,
    check_memory,
    device_named,
    device_shown,
    in_parts,
    make_plan,
)
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Used
from pipeline.study import Cell


@pytest.mark.parametrize(
    "shown, name",
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA A10G", "a10g"),
        ("Tesla T4", "t4"),
        ("some new thing", "gpu"),
        ("cpu", "cpu"),
    ],
)
def test_a_device_is_known_by_the_name_it_shows(shown, name):
    assert device_shown(shown).name == name


def test_measured_memory_counts_more_than_the_table():
    assert device_shown("NVIDIA L4", 22 * 2**30).bytes == 22 * 2**30
    assert device_named("L4").bytes == 23034 * 2**20


def test_an_unknown_type_is_refused_with_a_hint():
    with pytest.raises(PipelineError, match="no device type 'h1000': did you mean 'h100'"):
        device_named("h1000")


def language(**changes) -> Study:
    """A study of one wide model whose batch fits a GPU only in parts."""
    return Study(
        name="wide",
        trainer="language",
        fixed={"depth": 24, "head_size": 64, "context_length": 1024, "batch_size": 524_288, "vocabulary": 32_768}
        | {"text": "hub:HuggingFaceFW/fineweb-edu:sample-10BT", "corpus_tokens": 10_000_000, "steps": 100},
        axes=[Axis("width", (1024,))],
        seeds=(0,),
        inputs=("parameters", "step"),
        metric=Metric(name="loss"),
        split=Split(held_out="step > 50"),
        **changes,
    )


def test_a_cell_is_planned_with_the_micro_batch_that_fits(store):
    """The fewest parts that the device's memory allows, and none that changes the cell."""
    made = make_plan(language(), store, "h100")
    check_memory(made.study, made.cells, made.device)
    (one,) = made.cells
    assert not made.device.holds(one.cell.counts.bytes)
    carried = carried_out(made.study, one.cell, made.device)
    parts = carried.config["accumulation"]
    assert made.device.holds(carried.counts.bytes) and carried.id == one.cell.id
    assert in_parts(made.study, made.cells, made.device) == [
        f"1 cells train in micro-batches of {524_288 // parts:,} (accumulation {parts}) to fit one h100"
    ]
    halved = Cell.build(made.study.loaded_trainer, {**one.cell.config, "accumulation": parts // 2})
    assert not made.device.holds(halved.counts.bytes), "half as many parts would not do"


def test_blocks_are_computed_again_before_a_part_is_too_small_for_a_gpu(store):
    made = make_plan(language(), store, "t4")
    assert "blocks computed again" in in_parts(made.study, made.cells, made.device)[0]


def test_a_model_that_no_part_makes_fit_is_refused(store):
    study = Study(**{**vars_of(language()), "axes": [Axis("width", (4096,))]})
    made = make_plan(study, store, "t4")
    with pytest.raises(PipelineError, match="1 cells do not fit .* one t4.* no part of its batch would fit"):
        check_memory(study, made.cells, made.device)


def vars_of(study: Study) -> dict:
    return {name: getattr(study, name) for name in study.__dataclass_fields__}


def test_what_no_micro_batch_makes_fit_is_said_too(store):
    study = make_study(axes=[Axis("parameters", (10_000_000_000,))])
    with pytest.raises(PipelineError, match="149 GiB.*172 GiB|Use a device with more memory, or a smaller model"):
        made = make_plan(study, store, "h100")
        check_memory(study, made.cells, made.device)


def test_predictions_are_for_the_device_that_the_study_needs(store):
    """A GPU's cells are not predicted with the rate of one CPU core."""
    on_cpu, on_gpu = (make_plan(language(device=device), store) for device in ("cpu", "gpu"))
    assert (on_cpu.device, on_cpu.device_assumed) == (CPU, False)
    assert (on_gpu.device.name, on_gpu.device_assumed) == ("h100", True)
    assert on_gpu.cells[0].predicted_seconds < on_cpu.cells[0].predicted_seconds / 1000
    assert make_plan(language(), store, "t4").cells[0].predicted_seconds > on_gpu.cells[0].predicted_seconds


def test_an_assumption_is_the_peak_and_the_share_of_it_that_is_stated():
    for device in GPUS:
        assumed = Throughput.assumed(device)
        assert (assumed.rate, assumed.cells) == (device.peak * device.utilisation, 0)


def test_what_was_measured_on_one_type_of_device_says_nothing_of_another(store):
    """The store remembers the type; a plan for it is measured, one for another is assumed."""

    class Gpu(InlineExecutor):
        """Trains on the CPU and says that it was an L4."""

        def __init__(self):
            super().__init__(device="cpu")
            self.device = "cuda"

        def poll(self, timeout):
            reports = super().poll(timeout)
            for report in reports:
                used = {"bytes": 10, "gpu": "NVIDIA L4", "gpu_bytes": 23034 * 2**20}
                report.events[:0] = [Used(cell=cell, **used) for cell in report.job.cells]
            return reports

    study = make_study(fixed={"steps": 512, "step_seconds": 1e-5})
    executor = Gpu()
    submit = executor.submit
    from dataclasses import replace

    executor.submit = lambda jobs: submit([replace(job, device="cpu") for job in jobs])
    run_study(study, store, executor)
    assert make_plan(study, store).device.name == "l4"
    assert make_plan(study, store).throughput.cells == 8
    assert make_plan(study, store, "h100").throughput.cells == 0
    assert make_plan(study, store, "cpu").throughput.cells == 0


def test_a_study_may_not_ask_for_anything_else():
    with pytest.raises(PipelineError, match="device 'tpu' must be auto, cpu or gpu"):
        make_study(device="tpu")
