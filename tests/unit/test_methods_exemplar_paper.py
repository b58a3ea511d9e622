from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from dvcp.colour import COEFFICIENTS, ColourSpec, rgb_to_ycbcr, upsample_chroma, ycbcr_to_rgb
from dvcp.errors import ConfigError, WeightsError
from dvcp.loop import colorize_frames
from dvcp.methods import create, networks
from dvcp.methods.base import Evidence, Method, Reference, Window
from dvcp.methods.exemplar_paper import MAX_PLACES, ExemplarPropagation, PaddedGrid, Settings
from tests.unit import exemplar_release as release
from tests.unit.exemplar_release import Written
from tests.unit.test_methods_networks import FILMS, painted, run, shot

FULL = ColourSpec("bt709", full_range=True, subsample=(0, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Noise for networks, but theta and phi alike: then a picture matches itself."""
    path = release.write(tmp_path_factory.mktemp("release") / "flat")
    state = release.tensors(release.NONLOCAL)
    torch.save(state | {f"phi.{kind}": state[f"theta.{kind}"] for kind in ("weight", "bias")}, path / "nonlocal_net_iter_76000.pth")
    yield str(path)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def method(folder: str) -> ExemplarPropagation:
    return build(folder)


def build(folder: str, **options: Any) -> ExemplarPropagation:
    return ExemplarPropagation(Settings(folder, device="cpu", **options))


def scene(size: tuple[int, int], seed: int = 0, count: int = 2) -> NDArray[Any]:
    """Blobs of all grays, full range, ``[T, H, W]``."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((count, 1, -(-size[0] // 8), -(-size[1] // 8))))
    big = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[:, 0]
    return np.asarray((big * 255).round().numpy().astype(np.uint8))


@pytest.mark.parametrize("in_shot", [True, False])
@pytest.mark.parametrize("film", FILMS)
def test_every_film_is_coloured(method: ExemplarPropagation, film: str, in_shot: bool) -> None:
    spec, size = FILMS[film]
    luma = shot(spec, size, 2)
    found = run(method, luma[1:], painted(spec, luma[0], in_shot), spec)
    shape = spec.chroma_shape(*size)
    assert found.planes.shape == (1, 2, *shape) and found.planes.dtype == np.float32
    assert found.confidence.shape == (1, *shape) and found.confidence.dtype == np.uint8
    assert np.isfinite(found.planes).all() and np.abs(found.planes).max() <= 0.5 + 1e-6
    assert found.planes.std() > 0.01, "no colour came through"


def lab_of(luma: NDArray[Any], chroma: NDArray[Any], spec: ColourSpec) -> NDArray[Any]:
    planes = np.stack([luma / 255, *chroma], -1).astype(np.float64)
    return np.asarray(rgb2lab(np.clip(ycbcr_to_rgb(planes, spec.matrix), 0, 1)))


def gray_lab(luma: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(rgb2lab(np.repeat(luma[..., None] / 255, 3, -1))[..., 0])


def test_a_frame_is_what_the_paper_writes(folder: str, method: ExemplarPropagation) -> None:
    """Two frames from the reference to Cb and Cr in numpy, float64: equations 6 and 7, networks and colour spaces and all.

    Both frames in the true order: the second gets the first's colours as its last.
    """
    spec, size = FULL, (32, 48)
    luma = scene(size, count=3)
    reference = painted(spec, luma[0], in_shot=False)
    state = torch.load(Path(folder) / "nonlocal_net_iter_76000.pth")
    vgg, joint, color = (Written(s) for s in (release.tensors(release.VGG), state, release.tensors(release.COLORNET)))

    def unit(x: NDArray[Any]) -> NDArray[Any]:
        flat = x.reshape(len(x), -1)
        flat = flat - flat.mean(1, keepdims=True)
        return np.asarray(flat / np.linalg.norm(flat, axis=0))

    def theta(rgb: NDArray[Any]) -> NDArray[Any]:
        return unit(joint.conv("theta", joint.joint(vgg.vgg(rgb))))

    rgb = ycbcr_to_rgb(np.stack([luma[0] / 255, *reference.chroma], -1).astype(np.float64), spec.matrix).clip(0, 1)
    keys, ab = theta(rgb.transpose(2, 0, 1)), rgb2lab(rgb)[..., 1:].transpose(2, 0, 1)
    cells = ab.reshape(2, 8, 4, 12, 4).mean((2, 4)).reshape(2, -1)
    last, wanted = np.zeros((3, *size)), []
    for frame in luma[1:]:
        lightness = gray_lab(frame)
        f = theta(np.repeat(lightness[None] / 100, 3, 0)).T @ keys
        found = np.concatenate([cells[:, f.argmax(1)], f.max(1)[None]]).reshape(3, 8, 12).repeat(4, 1).repeat(4, 2)
        found = found.astype(np.float16).astype(np.float64)  # as evidence travels; noise for weights makes much of it
        last = np.concatenate([lightness[None] - 50, color.color(np.concatenate([lightness[None] - 50, found, last]))])
        shown = lab2rgb(np.stack([lightness, *last[1:]], -1))
        wanted.append(rgb_to_ycbcr(shown, spec.matrix)[..., 1:].transpose(2, 0, 1))
    coloured = run(method, luma[1:], reference, spec)
    assert np.std(wanted) > 0.02
    error = np.abs(coloured.planes - np.stack(wanted)).mean((1, 2, 3))
    assert error[0] < 1e-4 and error[1] < 1e-3


@pytest.mark.parametrize("spec, size", [(FULL, (40, 64)), (ColourSpec("bt601", True), (46, 60))])
def test_a_gray_reference_matches_itself(folder: str, spec: ColourSpec, size: tuple[int, int]) -> None:
    luma = scene(size)
    method, reference = build(folder, reference_features="gray"), painted(spec, luma[0])
    evidence = method.match(Window((0, 1), luma, spec), method.anchor([reference], spec))
    assert evidence.planes is not None and evidence.confidence is not None
    grid = PaddedGrid.of(*size, spec, 216)
    assert evidence.planes.shape == (2, 3, grid.padded[0] // 4, grid.padded[1] // 4) and evidence.planes.dtype == np.float16
    assert evidence.confidence.shape == (2, *evidence.planes.shape[2:]) and evidence.confidence.dtype == np.uint8
    assert (evidence.confidence[0] == 255).all() and evidence.confidence[1].mean() < 250
    np.testing.assert_allclose(evidence.planes[0, 2], 1, atol=1e-3)
    np.testing.assert_allclose(evidence.confidence[1], evidence.planes[1, 2].clip(0, 1).astype(float) * 255, atol=0.7)  # float16
    if spec is FULL:
        ab = lab_of(luma[0], reference.chroma, spec)[..., 1:].transpose(2, 0, 1)
        np.testing.assert_allclose(evidence.planes[0, :2], ab.reshape(2, 10, 4, 16, 4).mean((2, 4)), atol=0.1)


def test_several_references_are_all_searched(folder: str) -> None:
    """Each of two pictures finds its own colours, whichever comes first."""
    luma, method = scene((32, 48)), build(folder, reference_features="gray")
    pictures = [painted(FULL, luma[0], in_shot=False), Reference(luma[1], np.full((2, 32, 48), 0.1, np.float32), False, "")]
    for order in (pictures, pictures[::-1]):
        evidence = method.match(Window((0, 1), luma, FULL), method.anchor(order, FULL))
        for k in range(2):
            alone = method.match(Window((k,), luma[k : k + 1], FULL), method.anchor([pictures[k]], FULL))
            assert evidence.planes is not None and alone.planes is not None
            np.testing.assert_allclose(evidence.planes[k].astype(float), alone.planes[0].astype(float), atol=1e-3)


def test_windows_and_frames_do_not_depend_on_each_other(method: ExemplarPropagation) -> None:
    spec, size = FILMS["odd 8 bit 4:2:0"]
    luma = shot(spec, size, 4)
    reference = painted(spec, luma[0])
    whole, parts = run(method, luma[1:], reference, spec), run(method, luma[1:], reference, spec, (1,))
    np.testing.assert_array_equal(parts.planes, whole.planes)
    np.testing.assert_array_equal(parts.confidence, whole.confidence)
    anchor = method.anchor([reference], spec)
    together, alone = method.match(Window((1, 2), luma[1:3], spec), anchor), method.match(Window((2,), luma[2:3], spec), anchor)
    assert together.planes is not None and alone.planes is not None
    np.testing.assert_array_equal(together.planes[1], alone.planes[0])


def test_the_state_is_the_last_frame(method: ExemplarPropagation) -> None:
    spec, size = ColourSpec("bt601", True), (34, 50)
    luma = scene(size)
    reference = painted(spec, luma[0])
    began = method.start(reference, spec)
    assert began is not None and began["lab"].shape == (3, 40, 64) and began["lab"].dtype == np.float32
    np.testing.assert_allclose(began["lab"][0, :34, :50] + 50, gray_lab(luma[0]), atol=1e-3)
    doubled = upsample_chroma(reference.chroma, *size, spec)
    wanted = lab_of(luma[0], doubled, spec)[..., 1:].transpose(2, 0, 1)
    assert np.abs(began["lab"][1:, :34, :50] - wanted).mean() < 0.1 * wanted.std(), "colours of the reference, at the size of its luma"
    window = Window((1,), luma[1:], spec)
    evidence = method.match(window, method.anchor([reference], spec))
    state, coloured = method.propagate(began, window, evidence)
    np.testing.assert_allclose(state["lab"][0, :34, :50] + 50, gray_lab(luma[1]), atol=1e-3)
    none, first = method.propagate(None, window, evidence)
    nothing, as_first = method.propagate({"lab": np.zeros((3, 40, 64), np.float32)}, window, evidence)
    np.testing.assert_array_equal(first.planes, as_first.planes)
    np.testing.assert_array_equal(none["lab"], nothing["lab"])
    assert np.abs(first.planes - coloured.planes).mean() > 1e-3, "the last frame does not count"


def test_saturation_is_of_the_output_alone(folder: str, method: ExemplarPropagation) -> None:
    luma = scene((32, 48))
    reference, window = painted(FULL, luma[0]), Window((1,), luma[1:], FULL)
    evidence, start = method.match(window, method.anchor([reference], FULL)), method.start(reference, FULL)
    state, plain = method.propagate(start, window, evidence)
    gray_state, gray = build(folder, saturation=0.0).propagate(start, window, evidence)
    np.testing.assert_array_equal(state["lab"], gray_state["lab"])
    assert np.abs(gray.planes).max() < 1e-4 < np.abs(plain.planes).max()


def test_a_soft_temperature_blends(folder: str, method: ExemplarPropagation) -> None:
    luma = scene((32, 48))
    window, anchor = Window((1,), luma[1:], FULL), method.anchor([painted(FULL, luma[0])], FULL)
    hard, soft, flat = (m.match(window, anchor).planes for m in (method, build(folder, tau=0.01), build(folder, tau=1e4)))
    assert hard is not None and soft is not None and flat is not None
    assert not np.array_equal(hard[:, :2], soft[:, :2])
    np.testing.assert_array_equal(hard[:, 2], soft[:, 2])
    mean = anchor.colours.mean(0).numpy()
    np.testing.assert_allclose(flat[0, :2].astype(float), np.broadcast_to(mean[:, None, None], (2, 8, 12)), atol=0.1)


@pytest.mark.parametrize("film, lines, size, padded", [
    ((216, 384), 216, (216, 384), (216, 384)), ((1080, 1920), 216, (216, 384), (216, 384)), ((1920, 1080), 216, (384, 216), (384, 224)),
    ((576, 720), 216, (216, 270), (216, 272)), ((33, 47), 216, (33, 47), (40, 48)), ((6, 9), 216, (6, 9), (32, 32)),
    ((101, 77), 64, (84, 64), (88, 64)), ((858, 2048), 432, (432, 1031), (432, 1040)), ((3, 90000), 432, (3, 90000), (32, 90000)),
    ((90000, 3), 432, (90000, 3), (90000, 32)),
])  # fmt: skip
def test_sizes(film: tuple[int, int], lines: int, size: tuple[int, int], padded: tuple[int, int]) -> None:
    """No side is cropped, all are multiples of (8, 16), and matching has a most."""
    grid = PaddedGrid.of(*film, FULL, lines)
    assert grid.size == size and grid.padded == padded and grid.grid.film == film
    assert grid.matched[0] % 8 == 0 and grid.matched[1] % 16 == 0 and min(grid.matched) >= 32
    assert grid.matched[0] * grid.matched[1] / 16 <= MAX_PLACES
    if padded[0] * padded[1] / 16 <= MAX_PLACES:
        assert grid.matched == padded
    elif min(padded) > 32:
        assert grid.matched[0] * grid.matched[1] / 16 > 0.8 * MAX_PLACES
        assert abs(grid.matched[1] / grid.matched[0] / (padded[1] / padded[0]) - 1) < 0.05


def test_a_big_picture_is_matched_smaller_than_it_is_coloured(method: ExemplarPropagation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvcp.methods.exemplar_paper.MAX_PLACES", 100)
    luma = scene((48, 64))
    reference, window = painted(FULL, luma[0]), Window((1,), luma[1:], FULL)
    evidence = method.match(window, method.anchor([reference], FULL))
    assert evidence.planes is not None and evidence.planes.shape[2] * evidence.planes.shape[3] <= 100
    _, coloured = method.propagate(method.start(reference, FULL), window, evidence)
    assert coloured.planes.shape == (1, 2, 48, 64) and coloured.confidence.shape == (1, 48, 64)


def test_confidence_is_the_similarity(method: ExemplarPropagation) -> None:
    luma = scene((32, 48))[:1]
    similarity = np.linspace(-0.5, 1, 8 * 12).reshape(8, 12)
    planes = np.stack([similarity * 0, similarity * 0, similarity])[None].astype(np.float16)
    evidence = Evidence(planes, np.zeros((1, 8, 12), np.uint8))
    _, found = method.propagate(None, Window((0,), luma, FULL), evidence)
    wanted = np.rint(planes[0, 2].astype(np.float32).clip(0, 1) * 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(found.confidence[0], wanted)


@pytest.mark.parametrize("matrix", COEFFICIENTS)
def test_chroma_is_of_the_matrix_of_the_film(method: ExemplarPropagation, matrix: Any) -> None:
    """The same picture in another matrix: other Cb and Cr of the same colours."""
    spec = ColourSpec(matrix, full_range=True, subsample=(0, 0))
    lab = torch.tensor([10.0, 20, -15])[None, :, None, None].expand(1, 3, 32, 48)
    found = method._chroma(lab, spec)[0, :, 0, 0].numpy()
    np.testing.assert_allclose(found, rgb_to_ycbcr(lab2rgb(np.array([60.0, 20, -15])), matrix)[1:], atol=1e-4)


def test_the_whole_loop_takes_it(folder: str) -> None:
    """By name, through the engine's own loop: a painted frame keeps its colour, pictures from elsewhere come in number."""
    method: Method = create("exemplar-paper", weights=folder, device="cpu")
    assert method.name == "exemplar-paper"
    luma, spec = scene((32, 48), count=2), ColourSpec("bt601", True)
    first = painted(spec, luma[0])
    found = colorize_frames(method, luma, {0: first}, spec)
    np.testing.assert_array_equal(found.planes[0], first.chroma)
    elsewhere = {-k: painted(spec, luma[k - 1], in_shot=False) for k in (1, 2)}
    assert colorize_frames(method, luma, elsewhere, spec).planes.shape == (2, 2, 16, 24)


def test_anchors_and_states_travel(method: ExemplarPropagation) -> None:
    luma = scene((32, 48))
    anchor = method.anchor([painted(FULL, luma[0])], FULL)
    again = pickle.loads(pickle.dumps(anchor))
    assert torch.equal(again.features, anchor.features) and again.colours.shape == (96, 2)


def test_the_digest_says_what_decides_the_picture(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = build(folder).digest()
    moved = tmp_path / "video_moredata_l1"
    moved.symlink_to(folder)
    assert build(str(tmp_path)).digest() == base, "the same weights in another place"
    monkeypatch.setattr(networks, "fast_dtype", lambda device: torch.bfloat16)
    assert build(folder).digest() == base, "float32 everywhere"
    others = [{"tau": 0.01}, {"saturation": 1.25}, {"reference_features": "gray"}, {"working_height": 100}]
    assert len({base, *(build(folder, **o).digest() for o in others)}) == 1 + len(others)


def test_wrong_settings_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"exemplar-paper comes without weights \(--weights FOLDER with colornet_iter_76000\.pth"):
        create("exemplar-paper")
    wrong: list[dict[str, Any]] = [
        {"tau": 0.0}, {"saturation": -1.0}, {"reference_features": "both"}, {"working_height": 0}, {"feedback": "fused"},
    ]  # fmt: skip
    for options in wrong:
        with pytest.raises(ConfigError, match=next(iter(options))):
            create("exemplar-paper", weights=str(tmp_path), **options)
    made = create("exemplar-paper", weights=str(tmp_path))
    assert isinstance(made, ExemplarPropagation)
    with pytest.raises(WeightsError, match=r"colornet_iter_76000\.pth is not there"):
        made.load()
