"""Where the exams' tables are published. `folder` is the sub-folder of the data folder that a table is read from."""

from __future__ import annotations

from .definition import Source

CHINCHILLA = Source(
    folder="chinchilla-epoch",
    title="Chinchilla's points, recovered from its figure",
    url="https://github.com/epoch-research/analyzing-chinchilla",
    paper="2404.10102",
)
DATABLATIONS = Source(
    folder="datablations",
    title="Data-constrained language models",
    url="https://github.com/huggingface/datablations",
    paper="2305.16264",
)
STEPLAW = Source(
    folder="steplaw-dense",
    title="Step Law: learning rate x batch size",
    url="https://github.com/step-law/steplaw",
    paper="2503.04715",
)
OPENLM = Source(
    folder="openlm-overtrain",
    title="OpenLM over-training testbed",
    url="https://github.com/mlfoundations/scaling",
    paper="2403.08540",
)
VOCABULARY = Source(
    folder="vocab-scaling",
    title="Scaling with vocabulary",
    url="https://github.com/sail-sg/scaling-with-vocab",
    paper="2407.13623",
)
MISFITTING = Source(
    folder="misfitting",
    title="(Mis)Fitting survey runs",
    url="https://github.com/hadasah/scaling_laws",
    paper="2502.18969",
)
ISOFLOPS = Source(
    folder="isoflops-compiled",
    title="IsoFLOP points in one format",
    url="https://github.com/Open-Athena/scaling-law-analysis",
)
PORIAN = Source(
    folder="porian-isoflop",
    title="Resolving discrepancies in compute-optimal scaling",
    url="https://github.com/formll/resolving-scaling-law-discrepancies",
    paper="2406.19146",
)
FINETUNE = Source(
    folder="rectified-sft",
    title="Fine-tuning loss by set size",
    url="https://github.com/linhaowei1/Fine-tuning-Scaling-Law",
    paper="2402.02314",
)
CONTEXT = Source(
    folder="llama2-context",
    title="Llama-2 loss by context length",
    url="https://github.com/MilesCranmer/pysr_scaling_laws",
    paper="2309.16039",
)
OPENCLIP = Source(
    folder="openclip-laion",
    title="CLIP on LAION",
    url="https://github.com/LAION-AI/scaling-laws-openclip",
    paper="2212.07143",
)
VALUE_RL = Source(
    folder="value-rl-utd",
    title="Value-based reinforcement learning: updates x critic size",
    url="https://github.com/prestonfu/model_scaling",
    paper="2508.14881",
)
SUPERCOLLAPSE = Source(
    folder="supercollapse-mlp",
    title="MLP regression: width x steps",
    url="https://github.com/shikaiqiu/supercollapse",
)
REVISITING = Source(
    folder="revisiting-nsl",
    title="Revisiting neural scaling laws",
    url="https://github.com/google-research/google-research/tree/master/revisiting_neural_scaling_laws",
    paper="2209.06640",
)
BNSL = Source(
    folder="bnsl-4digit-addition",
    title="Four-digit addition",
    url="https://github.com/ethancaballero/broken_neural_scaling_laws",
    paper="2210.14891",
)
DOUBLE_DESCENT = Source(
    folder="double-descent-curves",
    title="Deep double descent",
    url="https://github.com/DongWooLee-Eli/nslpfn",
    paper="1912.02292",
)
EPOCHWISE = Source(
    folder="epochwise-double-descent",
    title="Epoch-wise double descent",
    url="https://github.com/MLI-lab/early_stopping_double_descent",
    paper="2007.10099",
)
NANO = Source(folder="nano-width", title="nanoGPT widths", url="https://github.com/DongWooLee-Eli/nslpfn")
SCHEDULES = Source(
    folder="multipowerlaw-schedules",
    title="Multi-power law: loss curves under schedules",
    url="https://github.com/thu-yao-01-luo/MultiPowerLaw",
    paper="2503.12811",
)
ACTIVE = Source(
    folder="scalebench-extra",
    title="Tables of active experiment selection for scaling laws",
    url="https://github.com/PlanarG/active-sl",
    paper="2604.22753",
)
SLIMPAJAMA = Source(
    folder="dmsl-slimpajama",
    title="Data mixtures of SlimPajama",
    url="https://github.com/meiqwq/Explaining-Data-Mixing-Scaling-Laws",
)
MIXTURES = Source(
    folder="mixinglaws-curves",
    title="Data mixing laws",
    url="https://github.com/yegcjs/mixinglaws",
    paper="2403.16952",
)
BITS = Source(
    folder="quest-bits",
    title="QuEST: quantisation-aware training",
    url="https://github.com/IST-DASLab/QuEST",
    paper="2502.05003",
)
TRANSFER = Source(
    folder="cg-transfer",
    title="Transfer from synthetic pictures",
    url="https://github.com/pfnet-research/cg-transfer",
    paper="2108.11018",
)
PROBES = Source(
    folder="clip-probe",
    title="Linear probes of CLIP models",
    url="https://github.com/LAION-AI/CLIP_benchmark",
)
FFCV = Source(
    folder="ffcv-imagenet",
    title="ResNet-50 on ImageNet by planned epochs",
    url="https://github.com/libffcv/ffcv-imagenet",
)
PPG = Source(
    folder="procgen-ppg-hparams",
    title="Phasic policy gradient on Procgen",
    url="https://github.com/openai/phasic-policy-gradient",
    paper="2009.04416",
)
PPO = Source(
    folder="procgen-openai-ppo",
    title="PPO on Procgen",
    url="https://github.com/openai/train-procgen",
    paper="1912.01588",
)
SIMBA = Source(
    folder="simba-scaling",
    title="SimBa: critic width and updates to data",
    url="https://github.com/DAVIAN-Robotics/SimbaV2",
    paper="2502.15280",
)
STUDENT = Source(
    folder="teacher-student-mlp",
    title="A student of a teacher network",
    url="https://github.com/mvigl/scaling-laws-demo",
)

# Sources whose tables came after the procedure had been chosen on all others.
AFTERWARDS = (SCHEDULES, ACTIVE, SLIMPAJAMA, MIXTURES, BITS, TRANSFER, PROBES, FFCV, PPG, PPO, SIMBA, STUDENT)
