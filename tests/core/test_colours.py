"""The colours can be read and told apart, and are the same wherever they are used."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from twotower.core.colours import CATEGORIES, DARK, LIGHT, css

# Machado, Oliveira & Fernandes (2009), severity 1.0; and no colour blindness
SEEN = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
XYZ = np.array([[0.4124, 0.3576, 0.1805], LUMINANCE, [0.0193, 0.1192, 0.9505]])


def linear(colour):
    part = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    low, high = sorted(float(LUMINANCE @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    x = XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("of", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_dots_have_enough_contrast(of):
    text = ("ink", "quiet", "accent", "good", "bad", "warn")
    pairs = [(name, ground) for name in text for ground in ("paper", "sheet")]
    pairs += [("on-accent", "accent"), ("accent", "soft"), ("quiet", "soft"), ("ink", "soft")]
    pairs += [(name, f"{name}-soft") for name in ("good", "bad", "warn")]
    pairs += [("ink", f"{name}-soft") for name in ("good", "bad", "warn")]
    for name, ground in pairs:
        assert contrast(of[name], of[ground]) >= 4.5, (name, ground)
    for name in ("second", "rest", "co", *(f"c{n}" for n in range(CATEGORIES))):
        assert contrast(of[name], of["sheet"]) >= 3, name


@pytest.mark.parametrize("of", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("eyes", SEEN)
def test_categories_can_be_told_apart(of, eyes):
    categories = [lab(np.array(SEEN[eyes]) @ linear(of[f"c{n}"])) for n in range(CATEGORIES)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(categories, 2)) > 15


def test_the_style_sheet_has_both_schemes():
    assert LIGHT.keys() == DARK.keys()
    text = css()
    for of in (LIGHT, DARK):
        assert all(f"--{name}: {value};" in text for name, value in of.items())
