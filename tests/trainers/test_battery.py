"""The contract battery on a trainer that is broken on purpose, one line at a time: every check says what is wrong."""

from __future__ import annotations

import re

import pytest
from own_trainer import write_trainer

from trainers import load_trainer
from trainers.battery import CHECKS, check_trainer

FAULTS = [
    ("its_config_is_plain_and_frozen", [("frozen=True", "")], "can be changed after it is made"),
    ("its_config_is_plain_and_frozen", [("    steps: int = 8", "    steps: int | None = 8")], "steps of Coin .* int"),
    ("its_fields_are_documented", [('    """Throws."""\n', "")], "field steps has no docstring"),
    ("it_counts_what_a_run_costs", [("bytes=8", "bytes=8.5")], r"bytes = 8.5: make it an int"),
    ("it_counts_what_a_run_costs", [("flops_per_step=2.0", "flops_per_step=0.0")], "flops_per_step = 0.0"),
    ("it_counts_what_a_run_costs", [("embeddings=1", "embeddings=2")], "2 parameters without embeddings of 1"),
    ("it_counts_without_a_framework", [("import numpy as np\n", "import numpy as np\nimport pandas\n")], "pandas"),
    ("its_steps_are_known_before", [("return (2, 4, config.steps)", "return (4, 2, config.steps)")], "do not rise"),
    ("its_steps_are_known_before", [("return (2, 4, config.steps)", "return (2, 4)")], "is 4 and .*steps 8"),
    (
        "its_cohort_key_can_be_compared",
        [("return (config.steps, config.batch_size)", "return [config.steps]")],
        "cannot be hashed",
    ),
    ("its_cohort_key_can_be_compared", [("return (config.steps, config.batch_size)", "return object()")], "different"),
    ("it_trains", [("done = step + 1", "done = steps + 1")], r"NameError: name 'steps' is not defined .*line 4\d"),
    ("it_trains", [("yield End(cell=cell, step=config.steps)", "yield None")], "yielded a NoneType"),
    ("it_measures_what_was_planned", [("yield End(cell=cell, step=config.steps)", "pass")], "cell 0 has no End"),
    (
        "it_measures_what_was_planned",
        [("if done in self.evaluation_steps(config)", "if done in (2, 5, 8)")],
        "no point at step 4",
    ),
    (
        "it_measures_what_was_planned",
        [("yield End(cell=cell, step=config.steps)", "yield End(cell=cell, step=1)")],
        "cell 0 ends at step 1",
    ),
    ("its_points_add_up", [("flops=2.0 * done", "flops=3.0 * done")], "flops = 6.0, and .* 4.0"),
    ("its_points_add_up", [("examples=done *", "examples=step *")], "examples = 4, and .* 8"),
    ("its_metrics_are_finite", [("+ 1e-3", "* float('nan')")], "error = nan: end the cell"),
    ("its_metrics_are_finite", [('{"error": error}', '{"error": str(error)}')], "make it a float"),
    ("its_metrics_are_finite", [('{"error": error}', '{f"error{done}": error}')], "other metrics than before"),
    ("its_metrics_are_finite", [('{"error": error}', '{"chance": error}')], "chance, which is a field"),
    ("one_seed_gives_one_result", [("default_rng((config.seed, step))", "default_rng()")], "a second run"),
    ("the_seed_decides", [("(config.seed, step)", "step")], "seeds 0 and 7 give the same points"),
    (
        "a_cohort_equals_its_cells_alone",
        [("(config.seed, step)", "(config.seed, step, len(configs))")],
        "alone and in its cohort, error of cell 0 at step 2",
    ),
    (
        "an_interrupted_run_equals_an_uninterrupted_one",
        [('saved.arrays["heads"].copy() if saved else np.zeros(1)', "np.zeros(1)")],
        "interrupted after 1 points and resumed, error of cell 0 at step 4",
    ),
    (
        "an_interrupted_run_equals_an_uninterrupted_one",
        [("if context.should_stop() and done < config.steps", "if False")],
        "went on to its end",
    ),
    (
        "an_interrupted_run_equals_an_uninterrupted_one",
        [("                        context.save(cell", "                        (lambda *_: None)(cell")],
        "saved no checkpoint",
    ),
    ("its_checkpoints_are_plain_arrays", [('{"heads": heads.copy()}', '{"heads": heads}')], "changed afterwards"),
    ("its_checkpoints_are_plain_arrays", [('{"heads": heads.copy()}', '{"heads": [heads]}')], "is a list"),
]


def test_a_sound_trainer_passes(tmp_path):
    asked = []
    assert check_trainer(load_trainer(write_trainer(tmp_path / "coin.py")), progress=asked.append) == []
    assert asked == [check.__name__ for check in CHECKS]


@pytest.mark.parametrize("check, changes, says", FAULTS, ids=[f"{check}-{says}" for check, _, says in FAULTS])
def test_a_fault_is_found_and_said(tmp_path, check, changes, says):
    findings = check_trainer(load_trainer(write_trainer(tmp_path / "coin.py", *changes)))
    found = [finding for finding in findings if finding.check == check]
    assert found, findings
    assert re.search(says, found[0].says), found[0]


def test_every_check_has_a_fault_that_it_finds():
    """`it_has_every_part` has its own in test_registry.py: such an object is not even loaded."""
    assert {check for check, _, _ in FAULTS} == {check.__name__ for check in CHECKS} - {"it_has_every_part"}


def test_a_trainer_says_with_which_configurations(tmp_path):
    """Its own small ones, where the defaults are long."""
    head = "    name, version, Config"
    examples = (head, f"    example_configs = (Coin(steps=6), Coin(steps=6, seed=3))\n{head}")
    long = ("steps: int = 8", "steps: int = 10_000_000_000")
    assert check_trainer(load_trainer(write_trainer(tmp_path / "coin.py", examples, long))) == []


def test_an_object_without_parts_is_not_run(tmp_path):
    findings = check_trainer(object())
    assert {finding.check for finding in findings} == {"it_has_every_part"} and len(findings) == 7
