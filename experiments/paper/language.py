"""How do parameters, training tokens and unique tokens together decide how well a language model predicts text?

Paper     Trivariate scaling of language models (parameters, tokens, unique tokens), upstream and downstream, and of
          parameters x steps; the unified law errs an eighth of the data-constrained law (arXiv 2305.16264).
Ours      A transformer and a recurrent model (Mamba-2) on bytes of the documentation of installed packages: two tasks,
          one fit each. Fitted: up to width 48, 65 thousand unique bytes and 128 steps.
Tiers     cpu    32 models of 9 to 120 thousand parameters: seven minutes on a core, no download.
          gpu    GPT-2, Llama and Mamba-2 on FineWeb-Edu, 48 models of seven lengths each: an H100-hour.
          paper  up to 620 million parameters and 10 billion tokens, LAMBADA and the mean of seven common-sense sets
                 as tasks of their own, 135 models: 2,200 H100-hours.
Expect    Losses fall from 5 nats a byte to 2.0 (Mamba-2) and 2.5 (GPT-2) where text is plentiful. On 4 thousand
          unique bytes they turn and climb, at width 16 after 181 steps, at width 64 after 45 and to more than 5:
          the opposing force that the law calls overfitting.
Run       unsl reproduce language
"""

from dataclasses import replace

from pipeline import Ask, Axis, Block, Metric, Spending, Split, Study
from pipeline.study import PAPER_LAWS

_CPU = Study(
    name="paper-language",
    trainer="language",
    fixed={"depth": 2, "head_size": 16, "state_size": 16, "context_length": 32, "validation_tokens": 8_192}
    # A rate that does not fall makes every point of a run an honest measurement of its length.
    | {"steps": 256, "batch_size": 512, "learning_rate": 4e-3, "schedule": "constant"},
    axes=[
        Axis("architecture", ("gpt2", "mamba2")),
        Axis("width", (16, 32, 48, 64)),
        Axis("dataset_size", (4_096, 16_384, 65_536, 262_144)),
    ],
    inputs=("parameters", "examples", "dataset_size"),
    tasks=("architecture",),
    metric=Metric(name="loss"),
    split=Split(held_out="width > 48 or step > 128 or dataset_size > 1e5", excluded={"warm-up": "step < 23"}),
    laws=PAPER_LAWS,
    cohort_size=1,
)

_TINY = replace(
    _CPU,
    name="paper-language-tiny",
    fixed={**_CPU.fixed, "depth": 1, "head_size": 8, "state_size": 4, "steps": 32, "batch_size": 64}
    | {"validation_tokens": 512, "warmup_steps": 4},
    axes=[Axis("architecture", ("gpt2",)), Axis("width", (8, 16)), Axis("dataset_size", (512, 2_048, 8_192))],
    split=Split(held_out="step > 23"),
    laws=("m2", "cf"),
)

# One run gives an annealed model of every length that is measured, and no other points.
_FINEWEB = {"text": "hub:HuggingFaceFW/fineweb-edu:sample-10BT", "schedule": "anneal", "warmup_steps": 200}

_GPU = replace(
    _CPU,
    name="paper-language-gpu",
    device="gpu",
    fixed=_FINEWEB
    | {"corpus_tokens": 512_000_000, "validation_tokens": 2_000_000, "vocabulary": 16_384}
    | {"depth": 8, "head_size": 64, "context_length": 512, "steps": 2_000, "batch_size": 65_536, "accumulation": 2},
    axes=[
        Axis("architecture", ("gpt2", "llama", "mamba2")),
        Axis("width", (128, 192, 320, 512)),
        Axis("dataset_size", (2_000_000, 8_000_000, 32_000_000, 128_000_000)),
    ],
    split=Split(held_out="width > 320 or dataset_size > 5e7 or step > 1000", excluded={"warm-up": "step < 250"}),
)

_PAPER = replace(
    _GPU,
    name="paper-language-paper",
    fixed=_FINEWEB
    | {"corpus_tokens": 9_000_000_000, "validation_tokens": 10_000_000, "vocabulary": 32_768}
    | {"head_size": 64, "context_length": 1_024, "steps": 19_000, "batch_size": 524_288, "accumulation": 32}
    | {"downstream": "lambada,hellaswag,arc_easy,arc_challenge,piqa,winogrande,openbookqa,siqa,boolq"},
    axes=[
        Axis("architecture", ("gpt2", "llama", "mamba2")),
        Axis("width, depth", ((256, 8), (512, 10), (768, 12), (1024, 16), (1536, 20))),
        Axis("dataset_size", (100_000_000, 1_000_000_000, 8_000_000_000)),
        Axis("learning_rate", (3e-4, 1e-3, 3e-3)),
    ],
    hyperparameters=("learning_rate",),
    split=Split(held_out="width > 1024 or step > 8000", excluded={"warm-up": "step < 500"}),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(
    tiers=TIERS,
    asks={
        "LAMBADA": Ask(metric=Metric(name="lambada_error"), tiers=("paper",)),
        "mean of seven common-sense sets": Ask(metric=Metric(name="common_sense_error"), tiers=("paper",)),
    },
    family="language",
    spending={
        "cpu": Spending(
            cost="6 * parameters * examples", budgets=(3e9, 1e10, 3e10, 1e11), fixed={"dataset_size": 262_144}
        ),
    },
)
