"""Searches for flow by name."""

from __future__ import annotations

import torch

from dvcp.errors import ConfigError
from dvcp.nets.tcvc_paper import FLOWNET2_HINT, load_flownet2
from dvcp.ops.flow import FlowSearch, dis_flow

FLOWS = ("dis", "flownet2")


def check_flow(name: str, weights: str | None) -> None:
    """Raises ConfigError for an unknown name, for FlowNet2 without weights, and for DIS with any."""
    if name not in FLOWS:
        raise ConfigError(f"flow {name!r}", hint=" or ".join(FLOWS))
    if name == "dis" and weights:
        raise ConfigError("flow dis takes no weights", hint="leave them out, or use flownet2")
    if name == "flownet2" and not weights:
        raise ConfigError("flow flownet2 comes without weights", hint=f"flow_weights: {FLOWNET2_HINT}")


def load_flow(name: str, weights: str | None, device: torch.device | str) -> FlowSearch:
    """A search for flow.

    Args:
        name: "dis", which needs no weights and runs on the CPU, or "flownet2".
        weights: path or fsspec URL of FlowNet2's checkpoint.
        device: where FlowNet2 is to run; frames must lie there.

    Raises:
        ConfigError: as :func:`check_flow`.
        WeightsError: the weights cannot be read, or are of another network.
    """
    check_flow(name, weights)
    return load_flownet2(weights).to(device).flow if weights else dis_flow
