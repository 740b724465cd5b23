"""Before anything expensive: is all that a run needs here, or at least within reach?"""

from __future__ import annotations

import functools
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub

from hspace_exp.doctor.needs import Need, hub_host, needs_of
from hspace_exp.errors import UserError

log = logging.getLogger(__name__)

_TIMEOUT_S = 5


def require(config: Mapping[str, Any]) -> None:
    """Refuse a run that would fail for want of a file; one request to each host that would be asked later.

    Where the Hugging Face hub does not answer and everything is here, its libraries are told to work offline: they
    would try again for half a minute each time before they look at what they have.

    Args:
        config: resolved.

    Raises:
        UserError: something is missing and cannot be fetched; the message says how to get each thing.
    """
    require_all(needs_of(config))


def require_all(needs: Sequence[Need]) -> None:
    """``require`` for needs that are known already."""
    missing = [need for need in needs if need.place is None and not (need.host and answers(need.host))]
    if missing:
        raise UserError(explain(missing))
    if any(need.host == hub_host() for need in needs) and not answers(hub_host()):
        log.info("%s does not answer: what was fetched before is used", hub_host())
        huggingface_hub.constants.HF_HUB_OFFLINE = True


def explain(missing: Sequence[Need]) -> str:
    """One line: what is missing and what to do."""
    silent = sorted({site(need.host) for need in missing if need.host})
    why = f", and {' and '.join(silent)} {'do' if len(silent) > 1 else 'does'} not answer" if silent else ""
    ways = "; ".join(f"{need.what}: {need.how}" for need in missing)
    other = ". Or use model=avatars, which needs no download" if silent else ""
    return f"this run needs what is not here{why}. {ways}{other}"


def site(url: str) -> str:
    """Scheme and host of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@functools.cache
def answers(url: str) -> bool:
    """Whether a host answers, whatever it says."""
    if site(url) == site(hub_host()) and huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    try:
        urllib.request.urlopen(urllib.request.Request(site(url), method="HEAD"), timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError, ValueError):
        return False
    return True
