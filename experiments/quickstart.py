"""How do width, data, training time and learning rate together decide how well a perceptron learns a noisy parity?

Claim     A law fitted to small runs forecasts the loss of runs with up to four times the parameters, data and steps.
Task      Parity of 2 of 64 bits, a tenth of the labels flipped: the best possible loss is 0.325 nats.
Cost      About two minutes on two CPU cores (216 runs, trained as batches of equal shape).
Expect    All losses start near ln 2 = 0.69. They fall towards 0.33 where data are plentiful, and rise again where few
          examples are seen often. The unified law should have the lowest held-out error.
Run       unsl run quickstart && unsl report quickstart
"""

from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="quickstart",
    trainer="parity",
    fixed={"bits": 64, "parity_bits": 2, "label_noise": 0.1, "weight_decay": 0.1, "steps": 4096},
    axes=[
        Axis("width", (4, 8, 16, 32, 64, 128)),
        Axis("dataset_size", (1000, 2000, 4000, 8000, 16000, 32000)),
        Axis("learning_rate", (1e-3, 3e-3, 1e-2)),
    ],
    seeds=(0, 1),
    inputs=("parameters", "dataset_size", "step"),
    hyperparameters=("learning_rate",),
    metric=Metric(name="loss"),
    split=Split(
        held_out="parameters > 3000 or dataset_size > 8000 or step > 2000",
        excluded={"warm-up": "step < 128"},
    ),
    laws=("m2", "cf", "bnsl", "unsl"),
)
