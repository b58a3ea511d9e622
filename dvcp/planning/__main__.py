"""``python -m dvcp.planning``: the tables and the plot of docs/scale.md."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from dvcp.planning.calibration import read_calibration, with_device
from dvcp.planning.sweep import Setup, plot, steady, table
from dvcp.planning.world import Archive, Store, pace_of

#: what is compared: as it comes, then one change after the other
SETUPS = (
    Setup("as it comes: 1 lane a GPU"),
    Setup("8 lanes a GPU", lanes_each=8),
    Setup("and 1 driver for 16 GPUs", lanes_each=8, gpus_a_driver=16),
    Setup("and read once, store beside colouring", lanes_each=8, gpus_a_driver=16, rereads=3, overlap=True, batch=16),
    Setup("and a store of 1 TB/s", lanes_each=8, gpus_a_driver=16, rereads=3, overlap=True, batch=16, store=Store(bandwidth=1e12)),
)


def main() -> None:
    """Print the table and, with --plot, draw it."""
    parser = argparse.ArgumentParser(prog="python -m dvcp.planning", description=__doc__)
    parser.add_argument("calibration", help="JSON of dvcp plan --save-calibration; of the CPU's stages where --device-ms is given")
    parser.add_argument("--device-ms", type=float, help="milliseconds of GPU a frame, computed elsewhere, in place of those measured")
    parser.add_argument("--origin", default="computed", help="where that figure is from")
    parser.add_argument("--size", default="1280x720", help="WIDTHxHEIGHT (default 1280x720)")
    parser.add_argument("--bytes-a-pixel", type=float, default=0.56, help="of the output (default 0.56: 8-bit FFV1 of real clips)")
    parser.add_argument("--film-frames", type=int, default=28800, help="of each film (default 28800: 20 minutes)")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 256, 1000])
    parser.add_argument("--setups", type=int, nargs="+", default=list(range(len(SETUPS))), help="which of the set-ups, by number from 0")
    parser.add_argument("--by-cpu", action="store_true", help="count stages' CPU time where the clock's is more: a shared machine")
    parser.add_argument("--segment-frames", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    megapixels = width * height / 1e6
    calibration = read_calibration(given.calibration)
    if given.device_ms is not None:
        calibration = with_device(calibration, given.origin, "imagined", given.device_ms, megapixels)
    archive = Archive(1, given.film_frames, segment_frames=given.segment_frames, window=calibration.window,
                      bytes_out=given.bytes_a_pixel * megapixels * 1e6)  # fmt: skip
    # What a command costs at its start happens once; a long run does not notice.
    pace = replace(pace_of(calibration, megapixels, archive.bytes_out, archive.bytes_in, given.by_cpu), start=0.0)
    cells = [steady(SETUPS[number], gpus, archive, pace, given.seed) for number in given.setups for gpus in given.gpus]
    print(f"{calibration.origin}; {calibration.machine}; {given.size}")
    print(", ".join(f"{name} {1000 * value:.2f} ms" for name, value in vars(pace).items() if value))
    print(table(cells))
    print(f"simulated in {sum(cell.wall for cell in cells):.0f} s")
    if given.plot:
        plot(cells, given.plot, f"simulated: {given.size}, {calibration.origin}")


if __name__ == "__main__":
    main()
