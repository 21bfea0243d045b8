"""A table of the user's own: any CSV or Parquet file, local or behind a URL."""

from __future__ import annotations

from typing import Any

from pipeline.errors import PipelineError

ENDINGS = (".csv", ".tsv", ".parquet")


def is_table_file(target: str) -> bool:
    """Whether what the user named is a table rather than a study."""
    return target.lower().endswith(ENDINGS)


def read_table(path: str) -> Any:
    """The file as a pandas DataFrame. Raises PipelineError."""
    import pandas

    try:
        if path.lower().endswith(".parquet"):
            return pandas.read_parquet(path)
        return pandas.read_csv(path, sep="\t" if path.lower().endswith(".tsv") else ",")
    except FileNotFoundError as error:
        raise PipelineError(f"there is no file {path}") from error
    except Exception as error:
        raise PipelineError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
