"""Language: decoder models that learn to predict the next token of a text, and are scored on text they never saw.

    what is trained      a transformer (`gpt2`, `llama`) or a recurrent model (`mamba2`) of any width and depth, in the
                         computation of the library transformers
    on what              a corpus packed once into tokens; by default documentation strings that need no download
    how it is measured   loss in nats a token and bits a byte on held-out documents; zero-shot questions if asked for

Where to look, in the order of reading:

    trainer.py         the configuration, what a run costs, a batch, its loss and its metrics
    ../loop            the step around that loss (single_model.py) and the loop around that step (cohort.py)
    architectures.py   the models and their exact size, by arithmetic
    memory.py          what a model keeps of a sequence for its backward pass, by arithmetic
    text.py            the corpus: sources, the validation split, vocabularies, the cache
    downstream.py      zero-shot tasks as lm-evaluation-harness asks them
"""

from __future__ import annotations

from trainers.language.architectures import ARCHITECTURES, build_model
from trainers.language.downstream import TASKS
from trainers.language.text import Pack, pack
from trainers.language.trainer import LANGUAGE, LanguageConfig, LanguageModel, Windows, open_text

__all__ = [
    "ARCHITECTURES",
    "LANGUAGE",
    "TASKS",
    "LanguageConfig",
    "LanguageModel",
    "Pack",
    "Windows",
    "build_model",
    "open_text",
    "pack",
]
