"""The authors' checkpoints of Deep Exemplar-based Video Colorization, as they are released: a folder of pickled state dicts.

dvcp ships none of them; a user points at the folder into which the release was unpacked, at the root of a clone of the authors' repository,
or at the output folder of their training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import fsspec
import torch
from torch import nn

from dvcp.errors import WeightsError
from dvcp.nets.exemplar_paper import VGG19, ColorVidNet, WarpNet
from dvcp.nets.statefiles import fill, one_line, state_of

COLORNET, NONLOCAL, VGG = "colornet_iter_76000.pth", "nonlocal_net_iter_76000.pth", "vgg19_conv.pth"
#: what their training writes to go on from: it stands for the first two
RESUME = "learning_checkpoint.pth"
#: where the files lie below the folder, tried in this order
_PLACES = ("", "video_moredata_l1/", "checkpoints/video_moredata_l1/", "data/")
#: networks by the name of their state in the resume file, with the file of each
PARTS: Mapping[str, tuple[type[nn.Module], str]] = {
    "colornet": (ColorVidNet, COLORNET), "nonlocal_net": (WarpNet, NONLOCAL), "vgg19": (VGG19, VGG),
}  # fmt: skip
#: what --weights must name, for every hint
HINT = f"--weights FOLDER with {COLORNET}, {NONLOCAL} and {VGG} of the Deep-Exemplar-based-Video-Colorization release"


class Checkpoints:
    """The files in one folder, found when first asked for.

    Args:
        url: path or fsspec URL of the folder.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _files(self) -> dict[str, str]:
        """Part to path on the file system of the folder."""
        try:
            found = {part: self._find(name) for part, (_, name) in PARTS.items()}
            resume = self._find(RESUME) if None in (found["colornet"], found["nonlocal_net"]) else None
        except (OSError, ValueError, ImportError) as error:
            raise WeightsError(f"cannot be read: {one_line(error)}", file=self.url, hint=HINT) from error
        if resume is not None:
            # Both from one file: networks are only fit for each other as they were trained together.
            found |= {"colornet": resume, "nonlocal_net": resume}
        for part, path in found.items():
            if path is None:
                raise WeightsError(f"{PARTS[part][1]} is not there", file=self.url, hint=HINT)
        return {part: path for part, path in found.items() if path is not None}

    @cached_property
    def _folder(self) -> tuple[Any, str]:
        """File system, and what goes before a name in the folder."""
        system, path = fsspec.core.url_to_fs(self.url)
        # Inside an archive the folder may be the root, which has no name.
        return system, f"{path.rstrip('/')}/" if path else ""

    def _find(self, name: str) -> str | None:
        system, folder = self._folder
        return next((path for place in _PLACES if system.isfile(path := f"{folder}{place}{name}")), None)

    def _bytes(self, path: str) -> bytes:
        try:
            return bytes(self._folder[0].cat_file(path))
        except OSError as error:
            raise WeightsError(f"cannot be read: {one_line(error)}", file=path, hint=HINT) from error

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the files, one after another: colornet, nonlocal_net, vgg19.

        Raises:
            WeightsError: one is missing or cannot be read.
        """
        sha = hashlib.sha256()
        for path in dict.fromkeys(self._files[part] for part in PARTS):
            sha.update(self._bytes(path))
        return sha.hexdigest()

    def load(self, part: str) -> nn.Module:
        """A network of :data:`PARTS` in eval mode, float32, on the CPU.

        Raises:
            WeightsError: its file is missing, cannot be read, is no checkpoint, or holds other tensors.
        """
        path = self._files[part]
        with torch.device("meta"):
            net = PARTS[part][0]()
        fill({"": net}, state_of(self._bytes(path), path, HINT, inside=f"{part}_state"), path, HINT)
        return net
