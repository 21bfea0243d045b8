"""How do width, unique text and training time together decide how well a language model predicts text?

Claim     A law fitted to small models, short runs and little text forecasts larger ones, overfitting included.
Tiers     cpu    GPT-2 on bytes of the documentation of installed packages, no download: 16 models of 12 thousand to 0.4
                 million parameters, half a million bytes each. About two minutes on two idle cores.
          gpu    48 models of 4 to 34 million parameters on FineWeb-Edu, 131 million tokens each, annealed to seven
                 lengths: 9e17 FLOPs, 80 minutes on one H100 at a fifth of its peak (reckoned from FLOPs, not measured).
          paper  GPT-2, Llama and Mamba-2 from 12 to 620 million parameters, 10 billion tokens each, with the zero-shot
                 tasks: 135 models and 2.5e21 FLOPs, about 1,750 H100-hours at two fifths of their peak (reckoned).
Expect    In the cpu tier losses fall along a common curve while text is new. Where it is plentiful the widest models
          end lowest; on 16 thousand bytes read 32 times they memorise, and their loss on unseen text climbs again. How
          low and how high is not stated: the tier was not run to its end since seeds draw the text.
Run       unsl run language && unsl report language            (or: unsl run language --tier gpu)
"""

from dataclasses import replace

from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="language",
    trainer="language",
    fixed={"depth": 2, "head_size": 16, "context_length": 64, "validation_tokens": 32_768}
    # A rate that does not fall makes every point of a run an honest measurement of its length.
    | {"steps": 512, "batch_size": 1024, "learning_rate": 4e-3, "schedule": "constant"},
    axes=[
        Axis("width", (16, 32, 64, 128)),
        Axis("dataset_size", (16_384, 65_536, 262_144, 1_048_576)),
    ],
    inputs=("parameters", "dataset_size", "step"),
    metric=Metric(name="loss"),
    split=Split(held_out="parameters > 2e5 or dataset_size > 3e5 or step > 256", excluded={"warm-up": "step < 32"}),
    cohort_size=1,
)

# One run gives an annealed model of every length that is measured, and no other points.
_FINEWEB = {"text": "hub:HuggingFaceFW/fineweb-edu:sample-10BT", "schedule": "anneal", "warmup_steps": 200}

_GPU = replace(
    STUDY,
    name="language-gpu",
    device="gpu",
    fixed=_FINEWEB
    | {"corpus_tokens": 512_000_000, "validation_tokens": 2_000_000, "vocabulary": 16_384}
    | {"architecture": "llama", "depth": 8, "head_size": 64, "context_length": 512}
    # In two parts, so that the widest fits into the 22 GiB of an A10G.
    | {"steps": 2_000, "batch_size": 65_536, "accumulation": 2},
    axes=[
        Axis("width", (128, 192, 320, 512)),
        Axis("dataset_size", (2_000_000, 8_000_000, 32_000_000, 128_000_000)),
        Axis("learning_rate", (1e-3, 2e-3, 4e-3)),
    ],
    hyperparameters=("learning_rate",),
    split=Split(held_out="parameters > 2e7 or dataset_size > 5e7 or step > 1000", excluded={"warm-up": "step < 250"}),
)

_PAPER = replace(
    _GPU,
    name="language-paper",
    fixed=_FINEWEB
    | {"corpus_tokens": 9_000_000_000, "validation_tokens": 10_000_000, "vocabulary": 32_768}
    | {"head_size": 64, "context_length": 1_024, "steps": 19_000, "batch_size": 524_288}
    | {"downstream": "lambada,hellaswag,arc_easy,arc_challenge,piqa,winogrande,openbookqa,siqa,boolq"},
    axes=[
        Axis("architecture", ("gpt2", "llama", "mamba2")),
        Axis("width, depth", ((256, 8), (512, 10), (768, 12), (1024, 16), (1536, 20))),
        Axis("dataset_size", (100_000_000, 1_000_000_000, 8_000_000_000)),
        Axis("learning_rate", (3e-4, 1e-3, 3e-3)),
    ],
    split=Split(held_out="parameters > 2e8 or step > 8000", excluded={"warm-up": "step < 500"}),
)

TIERS = {"cpu": STUDY, "gpu": _GPU, "paper": _PAPER}
