"""What do more answers at inference buy a model, beside size and training time?

Claim     Inference steps are an input of the law like any other: the chance that none of k drawn answers is right falls
          with k, with size and with training time, and a law fitted to few answers of small models in short runs
          forecasts many answers, larger models and longer runs.
Tiers     cpu    addition of 3 digits, up to 32 answers a question: 9 models, about three minutes on two idle cores.
          gpu    addition of 5 digits without a scratchpad, up to 256 answers: 36 models, half an hour on one GPU
                 (reckoned, not measured).
Expect    Before a model can add, answers are lottery tickets and help little. While it learns, 32 answers turn one
          right in seventeen into three in five; soon after, 2 turn one wrong in ten into one in forty. The unified
          law's held-out error is the least, RMSLE 1.0 against 1.4 of the next law, and still a factor of e: answers
          turn right within a few hundred steps, and two widths say little about a third. With widths 24 and 48 added
          the two laws are equal, at 1.6.
Run       unsl run math-answers && unsl report math-answers            (or: unsl run math-answers --tier gpu)
"""

from dataclasses import replace

from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="math-answers",
    trainer="addition",
    fixed={
        "digits": 3,
        "depth": 2,
        "steps": 1_024,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "answers": 32,
        "sampled_questions": 128,
    },
    axes=[Axis("width", (16, 32, 64)), Axis("dataset_size", (2_000, 8_000, 32_000))],
    seeds=(0,),
    inputs=("parameters", "dataset_size", "step", "inference_steps"),
    metric=Metric(name="pass_error"),
    split=Split(
        # Not along dataset_size: even 2,000 sums teach to add, and more change little within these steps.
        held_out="inference_steps > 8 or step > 512 or parameters > 5e4",
        excluded={"nothing learned": "step < 64"},
    ),
    laws=("m2", "cf", "bnsl", "unsl"),
    cohort_size=1,
)

_GPU = replace(
    STUDY,
    name="math-answers-gpu",
    device="gpu",
    fixed={
        "digits": 5,
        "scratchpad": False,
        "depth": 4,
        "heads": 8,
        "steps": 16_384,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "answers": 256,
        "sampled_questions": 512,
    },
    axes=[Axis("width", (64, 128, 256)), Axis("dataset_size", (16_000, 64_000, 256_000, 1_024_000))],
    seeds=(0, 1, 2),
    split=Split(
        held_out="inference_steps > 64 or step > 8192 or parameters > 1e6 or dataset_size > 5e5",
        excluded={"nothing learned": "step < 256"},
    ),
    cohort_size=8,
)

TIERS = {"cpu": STUDY, "gpu": _GPU}
