"""What stands in the JSON files that the engine writes and Slicer's side reads: report.json and comparison.json.

Positions and directions are LPS, lengths mm, volumes ml, Dice 0 to 1; Slicer's side turns them to RAS where it reads
them. A key that is NotRequired is absent where there is nothing to say. The lines of standard output are not here:
process/progress.py writes them, and engine/output.py and engine/finetuning_events.py of Slicer's side say what they
hold. No torch, for both sides import this.
"""

from typing import NotRequired, TypedDict


class CompanionEntry(TypedDict):
    """The second network of a model, as model.json has it; `share` is its part of the mean, one half if absent."""

    spacing_mm: float
    share: NotRequired[float]
    mirrored: NotRequired[bool]
    weights_sha256: str


class ModelEntry(TypedDict):
    """Which model made a result."""

    id: str
    version: str
    title: str
    weights_sha256: str
    companion: NotRequired[CompanionEntry]


class ImageGrid(TypedDict):
    """The voxels of an image as it was read, in LPS. `origin_mm`: the centre of the first voxel; `direction`: 3×3, row
    by row, an axis of the image in each column."""

    size: list[int]
    spacing_mm: list[float]
    origin_mm: list[float]
    direction: list[float]


class WorkingGridEntry(TypedDict):
    """A WorkingGrid, whose axes are the patient's: x to the left, y to the back, z to the head.

    `origin_mm_lps`: the centre of the first voxel, in LPS as every position in these documents.
    """

    size: list[int]
    spacing_mm: float
    origin_mm_lps: list[float]


class StructureEntry(TypedDict):
    """What was found of a structure. `left_out`: it was found, and taken out as too doubtful."""

    id: str
    name: str
    voxels: int
    volume_ml: float
    touches_edge: bool
    left_out: bool


class AttentionLayer(TypedDict):
    """The maps of an autofocus layer. `files`: 'focus', 'rate2' … to a name in the folder of maps. `bytes`: of voxels,
    unpacked."""

    layer: str
    rates: list[int]
    files: dict[str, str]
    bytes: int


class AttentionEntry(TypedDict):
    """All attention maps of a run. `kind`: focus, maps or both; `unit` is that of the focus; `map_scale`: '1/255'."""

    kind: str
    unit: str
    map_scale: str
    layers: list[AttentionLayer]
    bytes: int
    grid: WorkingGridEntry


class Report(TypedDict):
    """report.json of `segment` and `attend`, and what they return.

    `device`: cpu, cuda or mps; `precision`: float32 or bfloat16. `geometry`: sentences on how the images were brought
    to the working grid; `notes`: sentences for the user. `inputs`: by input name. `seconds`: of each stage, and
    'total'; `peak_memory_mb` (10⁶ bytes): None where the system does not tell. Both come last and are in every file.
    """

    protocol: int
    model: ModelEntry
    device: str
    precision: str
    geometry: list[str]
    notes: list[str]
    inputs: dict[str, ImageGrid]
    working_grid: WorkingGridEntry
    structures: NotRequired[list[StructureEntry]]
    attention: NotRequired[AttentionEntry]
    seconds: NotRequired[dict[str, float]]
    peak_memory_mb: NotRequired[float | None]


class Score(TypedDict):
    """What a model reached for a structure of a case; None where it cannot be said. `hd95_mm`: see evaluation.py."""

    dice: float | None
    hd95_mm: float | None
    volume_ml: float


class ComparedStructure(TypedDict):
    """A structure of a held-out case. `difference`: of Dice, new minus base, where both were scored."""

    id: str
    name: str
    base: Score | None
    new: Score | None
    reference_ml: float | None
    difference: float | None


class ComparedCase(TypedDict):
    """A held-out case. The means are over the structures that both models were scored for.

    `folder`: of its three segmentations (training_folder.scored_file), relative to the model's. `reference_input`: the
    file of the image they lie over, with its whole path.
    """

    name: str
    folder: str
    reference_input: str
    structures: list[ComparedStructure]
    base_dice: float | None
    new_dice: float | None
    difference: float | None
    notes: list[str]


class ComparedMean(TypedDict):
    """Means over the `n` cases that both models were scored in, and in how many of them the new one was better."""

    n: int
    base_dice: float | None
    new_dice: float | None
    difference: float | None
    improved: int
    worsened: int


class StructureMean(ComparedMean):
    """A structure over all held-out cases; where the base does not have it, `n` counts those of the new model."""

    id: str
    name: str


class OverallMean(ComparedMean):
    """All structures over all held-out cases; see `comparison.sign_flip`."""

    p_sign_flip: float | None


class OriginalStructure(TypedDict):
    """`agreement`: Dice between both models' answers; None where neither finds anything."""

    id: str
    name: str
    base_dice: float | None
    new_dice: float | None
    agreement: float | None


class OriginalCase(TypedDict):
    """A case of the base model's own kind, which shows what was forgotten; `what` says where it comes from."""

    what: str
    structures: list[OriginalStructure]


class TrainingCases(TypedDict):
    """Means over the cases that were learned from; `statistics` of the batch norms: kept or re-estimated."""

    cases: int
    base_dice: float
    new_dice: float
    statistics: str
    verdict: str


class TuningSettings(TypedDict):
    """How the new model was trained; `dropped`, `added`: ids of structures. `afnet`: version."""

    tune: str
    learning_rate: float
    batch: int
    samples_per_case: int
    epochs: int
    epochs_chosen_by: str
    horizon: int
    statistics: str
    patience: int
    seed: int
    dropped: list[str]
    added: list[str]
    afnet: str


class ComparisonDocument(TypedDict):
    """comparison.json of a fine-tuning: the new model beside its base, and what follows.

    `verdict`: better, similar, worse or not measured. `recommended`: None where nothing was measured, or better
    only by what may be chance, and not even the training cases became worse. `how`: held-out, leave-one-out or none.
    """

    verdict: str
    advice: str
    recommended: bool | None
    how: str
    epochs: int
    settings: TuningSettings
    cases: list[ComparedCase]
    structures: list[StructureMean]
    overall: OverallMean
    original: OriginalCase | None
    training: TrainingCases | None
