from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.methods.dvcp import CUES
from dvcp.nets.choice import ChoiceNet
from dvcp.ops.codes import to_codes
from dvcp.store import files
from dvcp.store.intermediates import Intermediates, Row, RowWriter, Shard, write_manifest
from dvcp.training.fusion import FUSIONS, draw_crop, held_out_psnr, loss_of, planes_of, train_fusion
from dvcp.training.loop import Schedule


def row(seed: int, video: str = "a", *, right: str = "matched", size: tuple[int, int] = (20, 28)) -> Row:
    """A frame of which one proposal is the truth and the others are off."""
    rng = np.random.default_rng(seed)
    height, width = size
    truth = torch.from_numpy(rng.uniform(-0.3, 0.3, (2, 1, 1)).astype(np.float32)).expand(2, height, width)
    gray = torch.from_numpy(rng.random((1, height, width)).astype(np.float32))
    planes = {"gray": gray, "chroma": truth}
    for name in ("warped", "anchored", "matched"):
        off = 0.0 if name == right else 0.15
        planes[name] = torch.cat([gray + off, truth + off])
    planes["matched"] = planes["matched"][:, ::2, ::2]
    for name, follows in (("trust", "warped"), ("seen", "anchored"), ("sure", "matched")):
        planes[name] = torch.full_like(planes[follows][:1], float(follows == right))
    planes |= {name: planes["sure"] for name in CUES}
    return Row(video, "f", 1, seed, seed, Fraction(1, 25), 0, {name: to_codes(plane) for name, plane in planes.items()})


def dataset(tmp_path: Path, name: str, method: str, videos: int = 10) -> Intermediates:
    url, shards = str(tmp_path / name), []
    for k in range(videos):
        local = tmp_path / "x.parquet"
        with RowWriter(str(local)) as out:
            for seed in range(3):
                out.write(row(10 * k + seed, f"v{k}"))
        target = f"segments/{k}.parquet"
        files.put_file(local, files.join(url, target))
        shards.append(Shard(target, 3, local.stat().st_size, "", f"v{k}", f"{k}", 0, 3))
    write_manifest(url, {"method": method}, shards)
    return Intermediates(url)


def test_planes_stand_on_one_grid() -> None:
    planes = planes_of(row(0, size=(19, 27)))
    assert {p.shape[-2:] for p in planes.values()} == {(19, 27)}
    assert planes["gray"].shape == (1, 1, 19, 27) and planes["matched"].shape[1] == 3 and planes["chroma"].shape[1] == 2
    assert float((planes["matched"][:, 1:] - planes["chroma"]).abs().max()) < 2 / 255


def test_all_planes_of_a_crop_show_one_place() -> None:
    """Every plane is the same random picture, so wherever the crop falls and however it is turned they stay equal."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 40, 50)).astype(np.uint8)
    planes = {"gray": noise, "trust": noise, "seen": noise, "warped": noise.repeat(3, 0), "chroma": noise.repeat(2, 0)}
    told = Row("a", "f", 1, 0, 0, Fraction(1, 25), 0, planes)
    turned = set()
    for seed in range(20):
        crop = draw_crop(told, 16, np.random.default_rng(seed))
        assert all(p.shape[-2:] == (16, 16) for p in crop.values())
        assert torch.equal(crop["trust"], crop["seen"]) and torch.equal(crop["trust"], crop["warped"][:, :1])
        turned.add(float(crop["trust"][0, 0, 0, 0]))
    assert len(turned) > 15, "crops differ"
    small = draw_crop(told, 64, np.random.default_rng(0))
    assert small["gray"].shape == (1, 1, 64, 64)
    again = [draw_crop(told, 16, np.random.default_rng(3))["gray"] for _ in range(2)]
    assert torch.equal(*again)


@pytest.mark.parametrize("method", FUSIONS)
def test_the_loss_is_least_where_the_answer_is_right(method: str) -> None:
    fusion, batch = FUSIONS[method], planes_of(row(1))

    class Answer(torch.nn.Module):
        def __init__(self, off: float) -> None:
            super().__init__()
            self.off = off

        def forward(self, *_: object) -> object:
            chroma, error = batch["chroma"] + self.off, torch.full_like(batch["gray"], self.off)
            return (chroma, error) if method == "dvcp" else chroma

    losses = [float(loss_of(fusion, Answer(off), batch)) for off in (0.0, 0.01, 0.1)]
    assert losses == sorted(losses) and losses[0] < 0.1 and losses[2] == pytest.approx(100 * 0.1 * 1.7, rel=0.01)


def test_each_proposal_is_measured_by_its_own_error() -> None:
    with torch.inference_mode():
        measured = held_out_psnr(FUSIONS["dvcp"], ChoiceNet().eval(), [row(2), row(3)])
    assert measured["psnr_matched"] > 45 and measured["psnr_warped"] == pytest.approx(-20 * np.log10(0.15), abs=0.3)
    assert measured["psnr_anchored"] == pytest.approx(measured["psnr_warped"], abs=0.01)
    assert measured["psnr_warped"] < measured["psnr"] < measured["psnr_matched"]


@pytest.mark.parametrize("method", FUSIONS)
def test_a_few_steps_learn_whom_to_trust(tmp_path: Path, method: str) -> None:
    data = [dataset(tmp_path, name, method) for name in ("one", "two")]
    net, measured = train_fusion(data, method, tmp_path / "run", Schedule(40, 0, 4, 3e-3, report_every=20), size=16)
    with (tmp_path / "run" / "curve.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])
    assert measured["psnr"] > measured["psnr_warped"] and not net.training
    again, _ = train_fusion(data, method, tmp_path / "more", Schedule(1, 0, 4, 1e-6), size=16, start=net)
    assert again is net, "a second pass goes on from the first"
