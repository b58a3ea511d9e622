from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from torch import nn

from dvcp.errors import ConfigError, WeightsError
from dvcp.nets import statefiles
from dvcp.nets.flow import load_flow
from dvcp.nets.flownet2 import FlowNet2
from dvcp.nets.tcvc_paper import ECCV16_HINT, load_eccv16, load_flownet2, load_siggraph17, load_tcvc
from dvcp.ops.flow import dis_flow
from tests.unit import tcvc_release as release

SINGLE: dict[str, tuple[Callable[[str], nn.Module], Any]] = {
    "siggraph17-df00044c.pth": (load_siggraph17, release.SIGGRAPH17),
    "colorization_release_v2-9b330a0b.pth": (load_eccv16, release.ECCV16),
    "FlowNet2_checkpoint.pth.tar": (load_flownet2, release.FLOWNET2),
}


@pytest.fixture(autouse=True)
def emptied(tmp_path: Path) -> Iterator[None]:
    yield
    for path in tmp_path.iterdir():  # hundreds of MB
        path.unlink()


def check(net: nn.Module, wanted: release.Tensors) -> None:
    state = net.state_dict()
    assert state.keys() == wanted.keys() and not any(m.training for m in net.modules())
    for name, tensor in state.items():
        assert torch.equal(tensor, wanted[name].to(tensor.dtype)), name
        assert tensor.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float32)


@pytest.mark.parametrize("name", SINGLE)
def test_the_single_files_load(tmp_path: Path, name: str) -> None:
    load, table = SINGLE[name]
    state = release.tensors(release.shapes(table))
    held: dict[str, Any] = {"epoch": 0, "state_dict": state, "best_EPE": 1e10} if "FlowNet2" in name else state
    check(load(release.save(tmp_path / name, held)), state)


def test_the_authors_file_loads(tmp_path: Path) -> None:
    state = release.tensors(release.tcvc_shapes())
    assert len(state) == 349
    path = release.save(tmp_path / "80000_G.pth", {f"module.{name}": t for name, t in state.items()})
    generator, fusion, flow = load_tcvc(path)

    def below(prefix: str) -> release.Tensors:
        return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}

    check(generator, below("fea_key."))
    check(flow, below("flow."))
    check(fusion.luma, below("L_fea_extractor."))
    check(fusion.reduction, below("channel_reduction."))
    check(fusion.weighting, below("weigting."))
    check(fusion.refine, below("feature_refine."))
    assert not fusion.training


def test_files_of_half_precision_and_of_before_the_counters_load(tmp_path: Path) -> None:
    state = release.tensors(release.shapes(release.ECCV16))
    old = {name: t.half() for name, t in state.items() if not name.endswith("num_batches_tracked")}
    found = load_eccv16(release.save(tmp_path / "old.pth", old)).state_dict()
    assert torch.equal(found["model4.2.weight"], old["model4.2.weight"].float())
    assert found["model7.6.num_batches_tracked"] == 0


def test_any_file_system_will_do_and_the_digest_is_the_file_s(tmp_path: Path) -> None:
    path = tmp_path / "eccv.pth"
    release.save(path, release.tensors(release.shapes(release.ECCV16)))
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/models/eccv.pth", path.read_bytes())
    try:
        assert load_eccv16("memory://models/eccv.pth").channels == 313
        for url in ("memory://models/eccv.pth", str(path)):
            assert statefiles.digest(url, ECCV16_HINT) == hashlib.sha256(path.read_bytes()).hexdigest()
    finally:
        memory.rm("/models", recursive=True)


def one_line(error: WeightsError, *names: str) -> None:
    text = str(error)
    assert all(name in text for name in names) and "\n" not in text


@pytest.mark.parametrize("change, message", [
    (lambda s: {k: t for k, t in s.items() if k != "model_out.weight"}, "it has no model_out.weight"),
    (lambda s: s | {"model9.0.bias": torch.zeros(3)}, "it has model9.0.bias, which the network has not"),
    (lambda s: s | {"model8.6.bias": torch.zeros(9)}, r"it has model8.6.bias of shape \[9\], not \[313\]"),
    (lambda s: [*s.values()], "holds no state dict"),
    (lambda s: {"epoch": 3}, "holds no state dict"),
])  # fmt: skip
def test_another_network_is_refused(tmp_path: Path, change: Callable[[release.Tensors], Any], message: str) -> None:
    path = release.save(tmp_path / "wrong.pth", change(release.tensors(release.shapes(release.ECCV16))))
    with pytest.raises(WeightsError, match=message) as caught:
        load_eccv16(path)
    one_line(caught.value, "wrong.pth", "colorization_release_v2-9b330a0b.pth")


@pytest.mark.parametrize("load, hint", [*((load, name) for name, (load, _) in SINGLE.items()), (load_tcvc, "80000_G.pth")])
def test_the_hint_names_the_file_that_is_wanted(tmp_path: Path, load: Callable[[str], Any], hint: str) -> None:
    path = release.save(tmp_path / "other.pth", {"weight": torch.zeros(1)})
    unreadable = [(url, "cannot be read") for url in (str(tmp_path / "none.pth"), "nowhere://x")]
    for url, message in [(path, "holds another network"), *unreadable]:
        with pytest.raises(WeightsError, match=message) as caught:
            load(url)
        one_line(caught.value, url, hint)


class Call:
    """A pickle that would run a command when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was_run"),)


@pytest.mark.parametrize("data", [b"", b"no weights", pickle.dumps(Call(), protocol=2)])
def test_what_is_no_checkpoint_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pth").write_bytes(data)
    with pytest.raises(WeightsError, match="is no checkpoint of tensors"):
        load_tcvc(str(tmp_path / "bad.pth"))
    assert not (tmp_path / "was_run").exists()


def test_flow_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_flow("dis", None, "cpu") is dis_flow and load_flow("dis", "", torch.device("cpu")) is dis_flow
    with torch.device("meta"):
        net = FlowNet2()
    monkeypatch.setattr("dvcp.nets.flow.load_flownet2", {"flow.pth.tar": net}.__getitem__)
    assert load_flow("flownet2", "flow.pth.tar", "meta") == net.flow


def test_flow_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"flow 'raft'.*dis or flownet2"):
        load_flow("raft", None, "cpu")
    with pytest.raises(ConfigError, match="takes no weights"):
        load_flow("dis", "some.pth", "cpu")
    with pytest.raises(ConfigError, match="comes without weights") as caught:
        load_flow("flownet2", None, "cpu")
    one_line(caught.value, "FlowNet2_checkpoint.pth.tar")
