"""What an operator fills in: one model a flow, which the UI shows as a form and the server checks before a run is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from dvcp.evaluation.batch import EvaluationSettings
from dvcp.evaluation.painted import Painted
from dvcp.media.profiles import MASTER, PROFILES
from dvcp.methods import NAMES
from dvcp.runtime.job import JobSettings
from dvcp.runtime.precompute import PrecomputeSettings
from dvcp.runtime.references import Missing
from dvcp.runtime.settings import PoolSettings

_LEARNING = ("dvcp", "paper")


def _among(*names: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"{value!r} is none of {', '.join(names)}")
        return value

    return check


def _choice(*names: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(names)})


Url = Annotated[str, Field(min_length=1)]
# A placeholder of deploy/prefect.yaml that stands for nothing becomes an empty text.
Maybe = Annotated[str | None, AfterValidator(lambda value: value or None)]
Method = Annotated[str, AfterValidator(_among(*NAMES)), _choice(*NAMES)]
Profile = Annotated[str, AfterValidator(_among(*PROFILES)), _choice(*PROFILES)]
Learning = Annotated[str, AfterValidator(_among(*_LEARNING)), _choice(*_LEARNING)]
Options = Annotated[dict[str, Any], Field(title="Options", description='Of the method, as JSON: {"weights": "s3://models/w.safetensors"}')]
StoreBlock = Annotated[
    Maybe, Field(title="Object store", description="Name of an 'Object store' block with endpoint and keys; none: the worker's own")
]
Address = Annotated[Maybe, Field(title="Ray cluster", description="Its address, or 'auto'; none starts Ray where the worker is")]
Propagators = Annotated[int, Field(ge=0, le=4096, title="Propagators", description="Segments coloured at a time; 0: as many as fit")]
Matchers = Annotated[int, Field(ge=0, le=4096, title="Matchers", description="0: as many as propagators")]
Share = Annotated[
    float | None, Field(gt=0, description="Of a GPU, that each of them holds: 0.5, 1; none: half a one, less where they are many")
]


class _Form(BaseModel):
    # A misspelt field would be a wish that nobody hears.
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColorizeParameters(_Form):
    """Colour every film of an archive that is not done yet."""

    sources: Url | list[Url] = Field(title="Films", description="Folder or glob of films, or a list of them: s3://archive/reels/")
    references: Maybe = Field(
        default=None, title="Pictures", description="Folder of painted stills and other pictures, a picture, or a manifest (.csv, .json)"
    )
    out: Url = Field(title="Outputs", description="Folder for coloured films, ledgers and the catalogue; or a file, for a single film")
    method: Method = Field(default="dvcp", title="Method", description="How colour is carried")
    profile: Profile = Field(default=MASTER.name, title="Profile", description="Kind of file that is delivered")
    missing: Missing = Field(
        default=Missing.NEAREST, title="Without a still", description="What a shot gets that nobody painted and that no picture fits"
    )
    take: int = Field(
        default=1, ge=1, le=16, title="Pictures a shot", description="Most pictures from elsewhere for a shot without a still"
    )
    options: Options = {}
    segment_frames: int = Field(default=240, ge=8, title="Frames a segment", description="At most so many are computed again after a crash")
    films_at_once: int = Field(
        default=4, ge=1, le=64, title="Films at once", description="While one is coloured, others are read and verified"
    )
    attempts: int = Field(default=3, ge=1, le=100, title="Attempts", description="Runs in which a film may fail before it is left alone")
    retry_failed: bool = Field(default=False, title="Try failed films again", description="Also those that have failed too often")
    truth: Maybe = Field(default=None, title="Truth", description="The film in colour, for the report picture (single film)")
    store_block: StoreBlock = None
    address: Address = None
    propagators: Propagators = 0
    matchers: Matchers = 0
    gpus_per_propagator: Share = None
    gpus_per_matcher: Share = None

    def settings(self, out: str) -> JobSettings:
        """What is asked of every film; the source is filled in for each."""
        pools = PoolSettings(self.address, self.propagators, self.matchers, self.gpus_per_propagator, self.gpus_per_matcher)
        options = dict(self.options)
        return JobSettings(
            "", self.references, out, self.method, options, self.profile, missing=self.missing, take=self.take, pools=pools,
            segment_frames=self.segment_frames,
        )  # fmt: skip


class PrecomputeParameters(_Form):
    """Precompute training intermediates from colour films."""

    sources: Url | list[Url] = Field(title="Films", description="Folder or glob of colour films, or a list of them")
    out: Url = Field(title="Dataset", description="Folder of the dataset; one begun with other settings is refused")
    method: Learning = Field(default="dvcp", title="Method", description="Whose branches are rolled out")
    rollout: int = Field(default=100, ge=2, title="Roll-out", description="Longest way from a reference, in frames")
    seed: int = Field(default=1, ge=0, title="Seed", description="Of the choice of references")
    options: Options = {}
    store_block: StoreBlock = None
    address: Address = None
    propagators: Propagators = 0
    matchers: Matchers = 0
    gpus_per_propagator: Share = None
    gpus_per_matcher: Share = None

    def settings(self) -> PrecomputeSettings:
        """As :mod:`dvcp.runtime.precompute` takes them."""
        pools = PoolSettings(self.address, self.propagators, self.matchers, self.gpus_per_propagator, self.gpus_per_matcher)
        return PrecomputeSettings(self.out, self.method, dict(self.options), self.rollout, self.seed, pools)


class EvaluateParameters(_Form):
    """Measure methods on clips of true colour."""

    clips: Url = Field(title="Clips", description="Folder of colour clips, one shot each")
    out: Url = Field(title="Report", description="Folder for tables and plots; what lies in it is not measured again")
    methods: list[Method] = Field(default=["dvcp", "flow", "copy", "gray"], min_length=1, title="Methods")
    frames: int = Field(default=50, ge=1, title="Frames", description="To measure of each clip")
    painted: Painted = Field(default=Painted.FIRST, title="Painted", description="True frames a method is given")
    aged: int | None = Field(default=None, title="Aged", description="Seed of the wear the luma is given before; none: as it is")
    options: Options = {}
    store_block: StoreBlock = None

    def settings(self) -> EvaluationSettings:
        """As :mod:`dvcp.evaluation` takes them."""
        return EvaluationSettings(self.clips, tuple(self.methods), self.frames, self.out, self.options, self.painted, self.aged)
