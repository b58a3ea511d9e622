"""What stands in the catalogue when a run is ended by something that is no film's fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvcp.errors import ClusterLost, MediaError, StoreError
from dvcp.store.catalogue import NAME, AssetState, Catalogue
from dvcp.store.remote import Facts
from pipelines.colorize import _kept
from pipelines.film import ended

FILM = "s3://a/one.mkv"
LOST = ClusterLost("the Ray cluster is gone", hint="run it again")


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    found = Catalogue(str(tmp_path / "out" / NAME), every_s=3600)
    found.take({FILM: Facts(10, "1")}, lambda film: "question")
    return found


def take_away(catalogue: Catalogue) -> None:
    """From now on nothing can be written there."""
    file = Path(catalogue.url)
    file.unlink()
    file.parent.rmdir()
    file.parent.write_bytes(b"")


def test_a_lost_cluster_is_no_films_fault(catalogue: Catalogue) -> None:
    with pytest.raises(ClusterLost, match="cluster is gone"), _kept(catalogue):
        catalogue.begin(FILM)
        ended(FILM, LOST)
    (left,) = Catalogue(catalogue.url).left([FILM])
    assert (left.state, left.attempts, left.error) == (AssetState.DOING, 0, "")
    assert "no film" in ended(FILM, MediaError("no film", file=FILM)).error


def test_what_ended_the_run_is_told(catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ClusterLost), _kept(catalogue):
        catalogue.begin(FILM)
        take_away(catalogue)
        raise LOST
    assert catalogue.url in caplog.text


def test_a_catalogue_that_is_not_written_at_the_end_is_told(catalogue: Catalogue) -> None:
    with pytest.raises(StoreError), _kept(catalogue):
        catalogue.begin(FILM)
        take_away(catalogue)
