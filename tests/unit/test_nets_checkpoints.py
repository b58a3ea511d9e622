from __future__ import annotations

import hashlib
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from dvcp.errors import WeightsError
from dvcp.nets.checkpoints import Checkpoints
from tests.unit import exemplar_release as release

NAMES = ("colornet_iter_76000.pth", "nonlocal_net_iter_76000.pth", "vgg19_conv.pth")
TABLES = {"colornet": release.COLORNET, "nonlocal_net": release.NONLOCAL, "vgg19": release.VGG}


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = release.write(tmp_path_factory.mktemp("release") / "flat")
    yield folder
    shutil.rmtree(folder)  # 240 MB


def linked(flat: Path, folder: Path, places: tuple[str, str, str] = ("", "", ""), leave: tuple[str, ...] = ()) -> Path:
    """The release laid out in another way."""
    folder.mkdir(exist_ok=True)
    for name, place in zip(NAMES, places, strict=True):
        if name not in leave:
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / name).symlink_to(flat / name)
    return folder


def check(found: torch.nn.Module, part: str, seed: int = 0) -> None:
    state, wanted = found.state_dict(), release.tensors(TABLES[part], seed)
    assert state.keys() == wanted.keys() and not found.training
    for name, tensor in state.items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, wanted[name]), name


@pytest.mark.parametrize("part", TABLES)
def test_the_release_loads(flat: Path, part: str) -> None:
    check(Checkpoints(str(flat)).load(part), part)


@pytest.mark.parametrize("places", [
    ("video_moredata_l1", "video_moredata_l1", ""),
    ("checkpoints/video_moredata_l1", "checkpoints/video_moredata_l1", "data"),
])  # fmt: skip
def test_files_lie_where_the_authors_have_them(flat: Path, tmp_path: Path, places: tuple[str, str, str]) -> None:
    found = Checkpoints(f"{linked(flat, tmp_path / 'clone', places)}/")
    check(found.load("nonlocal_net"), "nonlocal_net")
    assert found.digest == Checkpoints(str(flat)).digest


def test_the_digest_is_of_the_three_files(flat: Path, tmp_path: Path) -> None:
    whole = b"".join((flat / name).read_bytes() for name in NAMES)
    assert Checkpoints(str(flat)).digest == hashlib.sha256(whole).hexdigest()
    other = linked(flat, tmp_path / "other", leave=(NAMES[1],))
    torch.save(release.tensors(release.NONLOCAL, seed=1), other / NAMES[1])
    assert Checkpoints(str(other)).digest != Checkpoints(str(flat)).digest


def test_any_file_system_will_do(flat: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "release.zip", "w") as archive:
        for name in NAMES:
            archive.write(flat / name, f"video_moredata_l1/{name}")
    memory = fsspec.filesystem("memory")
    try:
        for name in NAMES:
            memory.pipe_file(f"/models/{name}", (flat / name).read_bytes())
        for url in (f"zip://::{tmp_path / 'release.zip'}", "memory://models"):
            found = Checkpoints(url)
            assert found.digest == Checkpoints(str(flat)).digest
            check(found.load("nonlocal_net"), "nonlocal_net")
    finally:
        memory.rm("/models", recursive=True)
        (tmp_path / "release.zip").unlink()


def test_old_files_and_parallel_training_load(flat: Path, tmp_path: Path) -> None:
    """As torch wrote them before 1.6, and with the prefix of DataParallel."""
    folder = linked(flat, tmp_path / "old", leave=(NAMES[1],))
    state = {f"module.{name}": t for name, t in release.tensors(release.NONLOCAL).items()}
    torch.save(state, folder / NAMES[1], _use_new_zipfile_serialization=False)
    check(Checkpoints(str(folder)).load("nonlocal_net"), "nonlocal_net")


def test_a_training_of_theirs_goes_on_here(flat: Path, tmp_path: Path) -> None:
    """learning_checkpoint.pth stands for both networks; where they lie beside it, they count."""
    resumed = linked(flat, tmp_path / "resumed", leave=NAMES[:2])
    state = {"total_iter": 7, "epoch": 1, "discriminator_state": {}, "optimizer_g": {"state": {}, "param_groups": [{"lr": 1e-5}]}}
    state |= {f"{part}_state": release.tensors(TABLES[part], seed=1) for part in ("colornet", "nonlocal_net")}
    torch.save(state, resumed / "learning_checkpoint.pth")
    found = Checkpoints(str(resumed))
    check(found.load("colornet"), "colornet", seed=1)
    check(found.load("nonlocal_net"), "nonlocal_net", seed=1)
    check(found.load("vgg19"), "vgg19")
    assert found.digest == hashlib.sha256((resumed / "learning_checkpoint.pth").read_bytes() + (flat / NAMES[2]).read_bytes()).hexdigest()
    check(Checkpoints(str(linked(flat, resumed, leave=NAMES[2:]))).load("nonlocal_net"), "nonlocal_net")
    shutil.rmtree(resumed)


def broken(change: Callable[[release.Tensors], Any]) -> Any:
    return change(release.tensors(release.NONLOCAL))


def without(name: str) -> Callable[[release.Tensors], Any]:
    return lambda state: {k: t for k, t in state.items() if k != name}


@pytest.mark.parametrize("change, message", [
    (without("phi.bias"), "it has no phi.bias"),
    (lambda state: state | {"layer.3.conv1.bias": torch.zeros(256)}, "it has layer.3.conv1.bias, which the network has not"),
    (lambda state: state | {"theta.bias": torch.zeros(9)}, r"it has theta.bias of shape \[9\], not \[256\]"),
    (lambda state: [*state.values()], "holds no state dict"),
    (lambda state: {"epoch": 3}, "holds no state dict"),
])  # fmt: skip
def test_another_network_is_refused(flat: Path, tmp_path: Path, change: Callable[[release.Tensors], Any], message: str) -> None:
    folder = linked(flat, tmp_path / "wrong", leave=(NAMES[1],))
    torch.save(broken(change), folder / NAMES[1])
    with pytest.raises(WeightsError, match=message) as caught:
        Checkpoints(str(folder)).load("nonlocal_net")
    one_line(caught.value, NAMES[1])


def one_line(error: WeightsError, name: str) -> None:
    text = str(error)
    assert name in text and "--weights FOLDER" in text and "\n" not in text


class Call:
    """A pickle that would run a command when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was_run"),)


@pytest.mark.parametrize("data", [b"", b"no weights", pickle.dumps(Call(), protocol=2)])
def test_what_is_no_checkpoint_is_refused_and_never_run(flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    folder = linked(flat, tmp_path / "bad", leave=(NAMES[0],))
    (folder / NAMES[0]).write_bytes(data)
    with pytest.raises(WeightsError, match="is no checkpoint of tensors") as caught:
        Checkpoints(str(folder)).load("colornet")
    one_line(caught.value, NAMES[0])
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(flat: Path, tmp_path: Path, name: str) -> None:
    folder = linked(flat, tmp_path / "part", leave=(name,))
    for use in (lambda c: c.load("vgg19"), lambda c: c.digest):
        with pytest.raises(WeightsError, match=f"{name} is not there") as caught:
            use(Checkpoints(str(folder)))
        one_line(caught.value, name)


@pytest.mark.parametrize("url", ["/no/such/folder", "no-such-scheme://x"])
def test_a_folder_that_is_not_there(url: str) -> None:
    with pytest.raises(WeightsError) as caught:
        Checkpoints(url).load("colornet")
    one_line(caught.value, url)
