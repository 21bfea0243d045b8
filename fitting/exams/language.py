"""Exams of language models: loss against parameters, tokens, repeated data, vocabulary, mixtures, sparsity, bits."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fitting import Metric

from . import sources
from .definition import Exam, Source

_GPT2_VOCABULARY, _NEOX_VOCABULARY = math.log(50257), math.log(50432)


def _exam(name: str, source: Source, file: str, column: str, held_out: str, **more: object) -> Exam:
    more = {"inputs": {"N": "N", "D": "D"}, "metric": Metric(name="loss")} | more
    return Exam(name=name, domain="language", source=source, file=file, column=column, held_out=held_out, **more)


def _dense() -> Iterator[Exam]:
    yield _exam("chinchilla", sources.CHINCHILLA, "chinchilla.csv", "loss", "C >= 1e21")
    for runs, rows in (("182", "in_authors_fit == 1"), ("all", "")):
        for what, held_out in (("size", "N >= 2.8e9"), ("unique", "unique_tokens >= 1e10")):
            yield _exam(
                f"datablations-{runs}-by-{what}",
                sources.DATABLATIONS,
                "datablations.csv",
                "val_loss",
                held_out,
                rows=rows,
                inputs={"N": "N", "tokens": "tokens", "unique_tokens": "unique_tokens"},
                metric=Metric(name="validation loss", ceiling=_GPT2_VOCABULARY),
            )
    for what, rows, held_out in (("size", "", "N >= 1e9"), ("tokens", "N < 1e9", "D >= 5e10")):
        yield _exam(
            f"steplaw-by-{what}",
            sources.STEPLAW,
            "steplaw_dense.csv",
            "smooth_loss",
            held_out,
            rows=rows,
            hyperparameters={"lr": "lr", "batch": "batch_seqs"},
        )
    for short, train_set in (("c4", "c4_original"), ("rpj", "rpj"), ("rw", "rw_original")):
        yield _exam(
            f"openlm-{short}",
            sources.OPENLM,
            "openlm.csv",
            "val_c4_val",
            "N >= 4e8",
            rows=f"train_set == '{train_set}'",
            metric=Metric(name="C4 loss", ceiling=_NEOX_VOCABULARY),
        )
    # The loss is relative to that of a unigram model and so negative; its logarithm needs a floor below every value.
    yield _exam(
        "vocabulary",
        sources.VOCABULARY,
        "vocab.csv",
        "unigram_normalized_loss",
        "N_nonvocab > 1e9",
        inputs={"N": "N_nonvocab", "D": "train_characters"},
        hyperparameters={"vocabulary": "vocab_size"},
        metric=Metric(name="loss below unigram + 6", floor=-6.0),
    )
    yield _exam(
        "misfitting",
        sources.MISFITTING,
        "final_ckpt.csv",
        "c4_eval_loss",
        "N >= 4.5e8",
        hyperparameters={"lr": "peak_lr"},
    )
    for name, experiment, held_out in (
        ("llama3-isoflop", "llama_3__raw_loss", "C >= 2e21"),
        ("fineweb-isoflop", "misfitting__fineweb_c4__transformer", "C >= 5e18"),
    ):
        yield _exam(name, sources.ISOFLOPS, "isoflops.csv", "loss", held_out, rows=f"experiment == '{experiment}'")
    for name, rows in (
        ("porian-rw-base", "dataset == 'rw' and hparams == 'base' and warmup == 'long' and decay == 'kaplan'"),
        ("porian-rw-tuned", "dataset == 'rw' and hparams == 'tuned' and warmup == 'short'"),
        ("porian-owt2-tuned", "dataset == 'owt2' and hparams == 'tuned' and warmup == 'short'"),
    ):
        yield _exam(
            name,
            sources.PORIAN,
            "isoflop_points.csv",
            "loss",
            "flops > 1.7e18",
            rows=rows + " and param_count == 'standard'",
        )
    yield _exam(
        "finetune-gpt2-wmt19",
        sources.FINETUNE,
        "sft.csv",
        "test_loss",
        "examples >= 2e5",
        rows="task == 'wmt19' and family == 'GPT2' and finetune_examples > 0",
        inputs={"N": "N", "examples": "finetune_examples"},
    )
    yield _exam(
        "llama2-context",
        sources.CONTEXT,
        "llama2_context.csv",
        "loss",
        "N > 50",
        inputs={"N": "params_billion", "context": "context_length"},
    )


def _schedules() -> Iterator[Exam]:
    for what, held_out in (("size", "N > 200"), ("steps", "steps > 3.6e4")):
        yield _exam(
            f"constant-rate-by-{what}",
            sources.SCHEDULES,
            "loss_curves.csv",
            "loss",
            held_out,
            rows="schedule == 'constant_72000'",
            inputs={"N": "N_millions", "steps": "step"},
        )


def _farseer() -> Iterator[Exam]:
    for what, held_out in (("split", "split == 'test'"), ("size", "N >= 2e9"), ("tokens", "D >= 5e10")):
        yield _exam(f"farseer-by-{what}", sources.ACTIVE, "farseer.csv", "loss", held_out)


def _mixtures() -> Iterator[Exam]:
    """The loss of a domain by its share of the data; the loss over all of them by size and step of one mixture."""
    for domain in ("arxiv", "book", "github", "wikipedia"):
        yield _exam(
            f"mixture-{domain}",
            sources.SLIMPAJAMA,
            "dmsl_llm_slimpajama.csv",
            f"{domain}_loss",
            "N >= 1.2e9",
            inputs={"N": "model_size", "D": "n_tokens", "share": f"weight_{domain}"},
        )
    for mixture in (0, 3, 6):
        yield _exam(
            f"mixture-of-five-{mixture}",
            sources.MIXTURES,
            "5Mix.csv",
            "loss_overall",
            "N > 4e8",
            rows=f"mixture_id == {mixture}",
            inputs={"N": "params", "steps": "step"},
        )


def _other_inputs() -> Iterator[Exam]:
    upcycled = {"N": "N_dense", "active": "N_active", "total": "N_total", "D1": "D1", "D2": "D2"}
    yield _exam("upcycling", sources.ACTIVE, "sparsity_all_480.csv", "Loss", "N_dense > 0.2", inputs=upcycled)
    yield _exam(
        "sparsity",
        sources.ACTIVE,
        "sparsity.csv",
        "loss",
        "split == 'test'",
        inputs={"N": "N_dense", "active": "N_active", "total": "P", "D2": "D2"},
    )
    yield _exam(
        "distillation",
        sources.ACTIVE,
        "distillation.csv",
        "LS",
        "split == 'test'",
        inputs={"N": "NS", "D": "DS"},
        hyperparameters={"teacher": "LT"},
    )
    yield _exam(
        "sparse-autoencoder",
        sources.ACTIVE,
        "sae.csv",
        "loss",
        "split == 'test'",
        inputs={"latents": "n", "active": "k"},
        metric=Metric(name="reconstruction loss"),
    )
    yield _exam(
        "bits",
        sources.BITS,
        "runs.csv",
        "loss",
        "model_size >= 430",
        rows="w_quant == 'HalfHadamardTrustQuantizer' or w_quant == 'NoQuantizer'",
        inputs={"N": "non_embedding_parameters", "tokens": "tokens", "weight_bits": "w_bits", "bits": "a_bits"},
    )


def exams() -> Iterator[Exam]:
    yield from _dense()
    yield from _schedules()
    yield from _farseer()
    yield from _mixtures()
    yield from _other_inputs()
