"""Where W&B is, and whether there is a key for it: asked without importing wandb."""

from __future__ import annotations

import configparser
import contextlib
import netrc
import os
from urllib.parse import urlsplit

from pipeline.errors import PipelineError
from pipeline.study import Study

HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""W&B's own servers, as `wandb login` names them in the netrc file."""
PAGES = "https://wandb.ai"
"""Where W&B's own servers show runs."""


def choose_mode(mode: str) -> str:
    """`online`, `offline` or `off` for a mode that may be `auto`. Raises PipelineError for what cannot work."""
    if mode not in ("auto", "online", "offline", "off"):
        raise PipelineError(f"W&B mode {mode!r} must be auto, online, offline or off")
    wish = os.environ.get("WANDB_MODE", "") if mode == "auto" else ""
    if mode == "off" or wish == "disabled":
        return "off"
    if mode == "offline" or wish in ("offline", "dryrun"):
        return "offline"
    if _has_key():
        return "online"
    if mode == "online":
        raise PipelineError("W&B has no key here: run `wandb login`, set WANDB_API_KEY, or choose W&B offline")
    return "offline"


def runs_url(mode: str, *, study: Study) -> str:
    """Address of a cell's run at W&B, with `{cell}` for the cell; empty where runs stay here, or nobody names the owner
    of the project. Raises PipelineError as `choose_mode` does.
    """
    owner = os.environ.get("WANDB_ENTITY", "")
    if not owner or choose_mode(mode) != "online":
        return ""
    return f"{base_url() or PAGES}/{owner}/{project_name()}/runs/{study.name}-{{cell}}"


def project_name() -> str:
    return os.environ.get("WANDB_PROJECT") or "unsl"


def base_url() -> str:
    """The server that wandb would talk to, or nothing where that is its default."""
    if url := os.environ.get("WANDB_BASE_URL"):
        return url
    folder = os.environ.get("WANDB_CONFIG_DIR") or os.path.expanduser("~/.config/wandb")
    settings = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(configparser.Error, OSError):
        settings.read(os.path.join(folder, "settings"))
    return settings.get("default", "base_url", fallback="")


def _has_key() -> bool:
    """Whether wandb would find credentials. Asked without importing it; the key itself goes nowhere."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    hosts = (urlsplit(url).netloc,) if (url := base_url()) else HOSTS
    paths = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    for path in paths:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            entries = netrc.netrc(os.path.expanduser(path))
            if any(entries.hosts.get(host) for host in hosts):
                return True
    return False
