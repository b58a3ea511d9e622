from __future__ import annotations

from math import inf, log, log10

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from dvcp.evaluation.metrics import (
    cdc,
    chroma_distance,
    chroma_profile,
    colourfulness,
    delta_e2000,
    histograms,
    l2_ab,
    psnr_lab,
    psnr_rgb,
    rgb_to_lab,
)


def picture(seed: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def flat(*codes: int) -> NDArray[np.uint8]:
    return np.full((4, 6, 3), codes, np.uint8)


def test_lab_is_that_of_scikit_image() -> None:
    codes = picture(0)
    np.testing.assert_allclose(rgb_to_lab(codes), rgb2lab(codes), atol=1e-9)
    assert rgb_to_lab(codes).dtype == np.float64


def test_lab_of_float_pictures_and_of_known_colours() -> None:
    codes = picture(1)
    np.testing.assert_allclose(rgb_to_lab((codes / 255).astype(np.float32)), rgb_to_lab(codes), atol=1e-4)
    red = rgb_to_lab(np.array([255, 0, 0], np.uint8))
    np.testing.assert_allclose(red, [53.24, 80.09, 67.20], atol=0.01)
    np.testing.assert_allclose(rgb_to_lab(np.array([[255] * 3, [0] * 3], np.uint8)), [[100, 0, 0], [0, 0, 0]], atol=0.01)


def test_psnr_lab_scales_lightness_but_not_colour() -> None:
    lab = rgb_to_lab(picture(2))
    assert psnr_lab(lab, lab + np.array([1, 0, 0])) == pytest.approx(10 * log10(255**2 / (2.55**2 / 3)))
    assert psnr_lab(lab, lab + np.array([0, 3, 0])) == pytest.approx(10 * log10(255**2 / (9 / 3)))
    assert psnr_lab(lab, lab + np.array([0, 3, 4])) == pytest.approx(10 * log10(255**2 / (25 / 3)))
    assert psnr_lab(lab, lab) == inf


def test_psnr_rgb_is_that_of_scikit_image_and_does_not_wrap() -> None:
    a, b = picture(3), picture(4)
    assert psnr_rgb(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))
    assert psnr_rgb(a, b) == pytest.approx(psnr_rgb(a / 255, b / 255))
    # wrapped to uint8 the difference would be 11
    assert psnr_rgb(flat(5, 5, 5), flat(250, 250, 250)) == pytest.approx(20 * log10(255 / 245))


def test_l2_ab_ignores_lightness() -> None:
    lab = rgb_to_lab(picture(5))
    assert l2_ab(lab, lab + np.array([9, 3, -4])) == pytest.approx(5)
    half = lab.copy()
    half[:, :16] += [0, 6, 8]
    assert l2_ab(lab, half) == pytest.approx(5)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [  # of the table of Sharma, Wu and Dalal (2005): blue, both colourless cases, hues on both sides of 0, and large differences
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_delta_e2000_of_published_pairs(one: tuple[float, ...], two: tuple[float, ...], expected: float) -> None:
    assert delta_e2000(np.array([one]), np.array([two])) == pytest.approx(expected, abs=1e-4)


def test_delta_e2000_is_that_of_scikit_image_across_blocks() -> None:
    a, b = rgb_to_lab(picture(6, 300, 250)), rgb_to_lab(picture(7, 300, 250))
    assert delta_e2000(a, b) == pytest.approx(deltaE_ciede2000(a, b).mean(), abs=1e-9)


def test_colourfulness_keeps_the_sign_of_the_opponents() -> None:
    two = np.concatenate([flat(255, 0, 0), flat(0, 255, 0)])
    # R - G is +-255 (spread 255, mean 0), (R + G) / 2 - B is 127.5 everywhere; without the sign it would be 0 + 0.3 * 285.1
    assert colourfulness(two) == pytest.approx(255 + 0.3 * 127.5)
    assert colourfulness(two / 255) == pytest.approx(colourfulness(two))
    assert colourfulness(flat(90, 90, 90)) == 0


def test_histograms_are_shares_by_channel() -> None:
    share = histograms(np.concatenate([flat(1, 2, 3), flat(1, 2, 255)]))
    assert (share[0, 1], share[1, 2], share[2, 3], share[2, 255]) == (1, 1, 0.5, 0.5)
    assert share.sum(axis=1).tolist() == [1, 1, 1]


def test_cdc_of_films_known_by_hand() -> None:
    a, b, blue = flat(10, 20, 30), flat(40, 50, 60), flat(10, 20, 60)
    assert cdc([a] * 6) == 0
    assert cdc([a, b]) == pytest.approx(log(2))
    # disjoint one frame apart, equal two and four apart
    assert cdc([a, b, a, b, a, b]) == pytest.approx(log(2) / 3)
    # likewise, in one of three channels
    assert cdc([a, blue, a, blue, a, blue]) == pytest.approx(log(2) / 9)
    # four frames: only distances 1 and 2 exist; of 3 pairs one differs, of 2 pairs two
    assert cdc([a, a, b, b]) == pytest.approx((log(2) / 3 + log(2)) / 2)


def test_cdc_is_made_of_scipys_divergence() -> None:
    frames = [picture(seed) for seed in range(6)]
    expected = [
        np.mean(
            [jensenshannon(histograms(a)[c], histograms(b)[c]) ** 2 for a, b in zip(frames, frames[t:], strict=False) for c in range(3)]
        )
        for t in (1, 2, 4)
    ]
    assert cdc(frames) == pytest.approx(np.mean(expected), rel=1e-9)


def test_cdc_needs_two_frames() -> None:
    with pytest.raises(ValueError, match="two frames"):
        cdc([picture(0)])


def test_chroma_distance_is_the_sliced_wasserstein_distance_of_scipy() -> None:
    """Pictures of different sizes; exact distances along each of 180 lines."""
    one, two = rgb_to_lab(picture(11)), rgb_to_lab(picture(12, 10, 14) // 2 + np.array([90, 0, 20], np.uint8))
    a, b = one[..., 1:].reshape(-1, 2), two[..., 1:].reshape(-1, 2)
    lines = [(np.cos(t), np.sin(t)) for t in np.arange(180) * np.pi / 180]
    wanted = np.pi / 2 * np.mean([wasserstein_distance(a @ np.array(line), b @ np.array(line)) for line in lines])
    found = chroma_distance(chroma_profile(one), chroma_profile(two))
    assert found == pytest.approx(wanted, rel=0.01) and found > 10
    assert chroma_distance(chroma_profile(two), chroma_profile(one)) == pytest.approx(found)


def test_chroma_distance_of_a_shift_is_its_length_and_to_gray_the_mean_chroma() -> None:
    lab = rgb_to_lab(picture(13) // 4 + 90)
    for shift in ((6, 0), (0, -6), (3, 4), (-5, 5)):
        moved = chroma_profile(lab + np.array([40, *shift]))
        assert chroma_distance(chroma_profile(lab), moved) == pytest.approx(np.hypot(*shift), rel=0.02)
    gray = chroma_profile(lab * [1, 0, 0])
    assert chroma_distance(chroma_profile(lab), gray) == pytest.approx(np.hypot(lab[..., 1], lab[..., 2]).mean(), rel=0.01)


def test_chroma_distance_knows_no_places_and_holds_the_most_colourful_codes() -> None:
    codes = picture(14)
    shuffled = np.random.default_rng(0).permutation(codes.reshape(-1, 3)).reshape(codes.shape)
    assert chroma_distance(chroma_profile(rgb_to_lab(codes)), chroma_profile(rgb_to_lab(shuffled))) == 0
    corners = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)
    profile = chroma_profile(rgb_to_lab(corners))
    assert (profile[:, 0] == 0).all() and np.allclose(profile[:, -1], 1)
