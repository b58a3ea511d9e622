"""The released weights that TCVC (Liu et al. 2021) is made of: all of it in the authors' one file, or its generators and its flow alone.

dvcp ships none of them; a user names the file, by path or fsspec URL. Networks come in eval mode, float32, on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dvcp.nets import statefiles
from dvcp.nets.eccv16 import Eccv16
from dvcp.nets.flownet2 import FlowNet2
from dvcp.nets.siggraph17 import Siggraph17
from dvcp.nets.tcvc import FeatureFusion

#: what to do when a file is missing or is another one
TCVC_HINT = "needs experiments/TCVC_IDC/models/80000_G.pth of the TCVC release"
SIGGRAPH17_HINT = "needs siggraph17-df00044c.pth of richzhang/colorization"
ECCV16_HINT = "needs colorization_release_v2-9b330a0b.pth of richzhang/colorization"
FLOWNET2_HINT = "needs FlowNet2_checkpoint.pth.tar of NVIDIA's flownet2-pytorch"


def _load(parts: Mapping[str, nn.Module], url: str, hint: str) -> None:
    statefiles.fill(parts, statefiles.state_of(statefiles.read(url, hint), url, hint), url, hint)


def load_siggraph17(url: str) -> Siggraph17:
    """The generator that TCVC calls IDC.

    Raises:
        WeightsError: the file cannot be read, is no checkpoint, or holds other tensors.
    """
    with torch.device("meta"):
        net = Siggraph17()
    _load({"": net}, url, SIGGRAPH17_HINT)
    return net


def load_eccv16(url: str) -> Eccv16:
    """The generator that TCVC calls CIC. Raises as :func:`load_siggraph17`."""
    with torch.device("meta"):
        net = Eccv16()
    _load({"": net}, url, ECCV16_HINT)
    return net


def load_flownet2(url: str) -> FlowNet2:
    """Raises as :func:`load_siggraph17`."""
    with torch.device("meta"):
        net = FlowNet2()
    _load({"": net}, url, FLOWNET2_HINT)
    return net


def load_tcvc(url: str) -> tuple[Siggraph17, FeatureFusion, FlowNet2]:
    """Generator, fusion and flow from the one file of the authors. Raises as :func:`load_siggraph17`."""
    with torch.device("meta"):
        generator, fusion, flow = Siggraph17(), FeatureFusion(), FlowNet2()
    parts = {
        "L_fea_extractor.": fusion.luma, "channel_reduction.": fusion.reduction, "weigting.": fusion.weighting,
        "feature_refine.": fusion.refine, "fea_key.": generator, "flow.": flow,
    }  # fmt: skip
    _load(parts, url, TCVC_HINT)
    return generator, fusion.eval(), flow
