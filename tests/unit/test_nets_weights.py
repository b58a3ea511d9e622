from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dvcp.errors import WeightsError
from dvcp.nets.fusion import FusionNet
from dvcp.nets.sepconv import KernelNet
from dvcp.nets.weights import load_local, load_part, save_weights, weights_digest


def load_fusion(url: str) -> FusionNet:
    return load_part(url, "fusion", FusionNet())


def test_networks_return_as_they_were_saved_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    local, fusion = KernelNet(taps=7), FusionNet()
    path = tmp_path / "new" / "w.safetensors"
    digest = save_weights(path, {"local": local, "fusion": fusion}, {"data": "noise", "steps": "0"})
    assert digest == weights_digest(str(path)) == hashlib.sha256(path.read_bytes()).hexdigest()
    for net, again in ((local, load_local(str(path))), (fusion, load_fusion(str(path)))):
        assert not again.training
        found = again.state_dict()
        assert found.keys() == net.state_dict().keys()
        for name, wanted in net.state_dict().items():
            assert found[name].dtype == torch.float32
            assert torch.equal(found[name], wanted.half().float()), name
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["made"]) == {"data": "noise", "steps": "0"}
        assert {str(file.get_tensor(k).dtype) for k in file.keys()} == {"torch.float16"}  # noqa: SIM118 - not a dict


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    made = {name: "x" for name in "abcdefgh"}
    digests = {save_weights(tmp_path / str(k), {"fusion": FusionNet()._apply(torch.zeros_like)}, made) for k in range(8)}
    assert len(digests) == 1


def test_saving_again_is_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    digests = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = FusionNet()
        digests.add(save_weights(path, {"fusion": net}, {}))
        assert weights_digest(str(path)) in digests
        assert torch.equal(load_fusion(str(path)).last.weight, net.last.weight.half().float())
    assert len(digests) == 2


@pytest.mark.parametrize("load", [load_local, load_fusion])
def test_a_missing_file_says_what_to_do(tmp_path: Path, load: object) -> None:
    assert callable(load)
    with pytest.raises(WeightsError, match="cannot be read") as caught:
        load(str(tmp_path / "none.safetensors"))
    assert caught.value.file == str(tmp_path / "none.safetensors") and caught.value.hint


@pytest.mark.parametrize("load", [load_local, load_fusion])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, load: object) -> None:
    assert callable(load)
    path = tmp_path / "text.safetensors"
    path.write_text("not weights at all, but longer than a header")
    with pytest.raises(WeightsError, match="no safetensors file") as caught:
        load(str(path))
    assert caught.value.file == str(path)


@pytest.mark.parametrize("load", [load_local, load_fusion])
def test_other_tensors_are_refused(tmp_path: Path, load: object) -> None:
    assert callable(load)
    for taps in (5, 4):
        save_file({"local.vertical.last.bias": torch.zeros(taps), "fusion.last.weight": torch.zeros(3)}, tmp_path / str(taps))
        with pytest.raises(WeightsError, match="another network"):
            load(str(tmp_path / str(taps)))


def test_each_part_is_asked_for_by_name(tmp_path: Path) -> None:
    path = tmp_path / "fusion.safetensors"
    save_weights(path, {"fusion": FusionNet()}, {})
    load_fusion(str(path))
    with pytest.raises(WeightsError, match=r"no local\.\* tensors"):
        load_local(str(path))
