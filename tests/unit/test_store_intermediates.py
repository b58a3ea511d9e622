from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

from dvcp.errors import StoreError
from dvcp.store import files
from dvcp.store.intermediates import SCHEMA, Intermediates, Row, RowWriter, Shard, write_manifest


def row(frame: int, video: str = "a", reference: int = 3) -> Row:
    rng = np.random.default_rng(frame)
    sizes = {"gray": (1, 4, 6), "warped": (3, 4, 6), "matched": (3, 2, 3), "chroma": (2, 4, 6)}
    planes = {name: rng.integers(0, 256, size).astype(np.uint8) for name, size in sizes.items()}
    return Row(video, "f" * 64, 2, frame, frame * 512, Fraction(1, 12288), reference, planes)


def dataset(url: str, tmp_path: Path, shards: dict[str, list[int]]) -> str:
    listed = []
    for video, frames in shards.items():
        local = tmp_path / f"{video}.parquet"
        with RowWriter(str(local)) as out:
            for frame in frames:
                out.write(row(frame, video))
        name, size = f"segments/{local.name}", local.stat().st_size
        digest = files.put_file(local, files.join(url, name))
        listed.append(Shard(name, len(frames), size, digest, video, "f" * 64, frames[0], frames[-1] + 1))
    write_manifest(url, {"method": "dvcp"}, listed)
    return url


def equal(a: Row, b: Row) -> None:
    assert {k: v for k, v in vars(a).items() if k != "planes"} == {k: v for k, v in vars(b).items() if k != "planes"}
    assert a.planes.keys() == b.planes.keys()
    for name, plane in a.planes.items():
        np.testing.assert_array_equal(plane, b.planes[name], name)
        assert plane.dtype == b.planes[name].dtype


def test_rows_return_in_any_order_from_any_store(store_url: str, tmp_path: Path) -> None:
    data = Intermediates(dataset(store_url, tmp_path, {"a": [1, 2, 3], "b": [7], "c": [4, 5]}))
    assert len(data) == 6 and data.videos == ["a", "b", "c"] and data.made == {"schema": 1, "method": "dvcp", "rows": 6}
    for index, (video, frame) in enumerate([("a", 1), ("a", 2), ("a", 3), ("b", 7), ("c", 4), ("c", 5)]):
        equal(data[index], row(frame, video))
    equal(data[0], row(1, "a"))
    part = data.only({"c", "b"})
    assert len(part) == 3 and part.videos == ["b", "c"] and len(data) == 6
    equal(part[2], row(5, "c"))


def test_plain_pyarrow_reads_it(tmp_path: Path) -> None:
    url = dataset(str(tmp_path / "set"), tmp_path, {"a": [1, 9], "b": [4]})
    table = ds.dataset(f"{url}/segments").to_table()
    assert table.schema.equals(SCHEMA) and table.num_rows == 3
    first = table.to_pylist()[0]
    assert (first["video"], first["frame"], first["pts"], first["timebase"]) == ("a", 1, 512, "1/12288")
    assert (first["reference_frame"], first["distance"], first["shot"]) == (3, 2, 2)
    assert first["anchored"] is None, "a plane the method does not offer"
    for name in row(1).planes:
        cell = first[name]
        np.testing.assert_array_equal(np.frombuffer(cell["data"], cell["dtype"]).reshape(cell["shape"]), row(1).planes[name])
    far = ds.dataset(f"{url}/segments").to_table(columns=["frame"], filter=ds.field("distance") > 5)
    assert far["frame"].to_pylist() == [9]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("x", "y"):
        with RowWriter(str(tmp_path / name)) as out:
            out.write(row(5))
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no manifest\.json"):
        Intermediates(str(tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 99, "shards": []}))
    with pytest.raises(StoreError, match="schema 99"):
        Intermediates(str(tmp_path))
