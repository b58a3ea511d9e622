"""Searches for flow by name."""

from __future__ import annotations

import torch

from dvcp.errors import ConfigError, WeightsError
from dvcp.nets.tcvc_paper import FLOWNET2_HINT, load_flownet2
from dvcp.ops.flow import FlowSearch, dis_flow

FLOWS = ("dis", "flownet2")


def load_flow(name: str, weights: str | None, device: torch.device | str) -> FlowSearch:
    """A search for flow.

    Args:
        name: "dis", which needs no weights and runs on the CPU, or "flownet2".
        weights: path or fsspec URL of FlowNet2's checkpoint.
        device: where FlowNet2 is to run; frames must lie there.

    Raises:
        ConfigError: another name, or weights for DIS.
        WeightsError: no weights for FlowNet2, or none that fit.
    """
    if name not in FLOWS:
        raise ConfigError(f"flow {name!r}", hint=" or ".join(FLOWS))
    if name == "dis":
        if weights:
            raise ConfigError("flow dis takes no weights", hint="leave them out, or use flownet2")
        return dis_flow
    if not weights:
        raise WeightsError("flow flownet2 comes without weights", hint=FLOWNET2_HINT)
    return load_flownet2(weights).to(device).flow
