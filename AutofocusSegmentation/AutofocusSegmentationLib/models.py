"""The models the panel offers: the bundled ones and those in the user's own folder."""

import re
from collections import Counter
from pathlib import Path

import qt
from slicer.i18n import tr as _

from afnet.errors import AfnetError
from afnet.models.manifest import Manifest, ModelEntry, find_model, find_models
from afnet.output.segment_tags import MODEL_ID

from .scene.node_marks import MODEL_TITLE_ATTRIBUTE
from .segments.tags import results_in_scene

FOLDER_SETTING = "AutofocusSegmentation/ModelsFolder"

_titles: dict[str, str] = {}
"""Of every model that was listed in this session, by its id."""


def user_models_folder() -> Path:
    """Return the folder of the user's models: the one set in the panel, else one in the user's profile.

    The default lies outside Slicer, so that an update of Slicer or of the extension keeps the models.
    """
    chosen = qt.QSettings().value(FOLDER_SETTING)
    if chosen:
        return Path(str(chosen))
    data = qt.QStandardPaths.writableLocation(qt.QStandardPaths.AppLocalDataLocation)
    return Path(str(data)) / "AutofocusSegmentation" / "models"


def set_user_models_folder(folder: str | Path | None) -> None:
    """Remember where the user's models are, for this and later sessions; None goes back to the default."""
    if folder is None:
        qt.QSettings().remove(FOLDER_SETTING)
    else:
        qt.QSettings().setValue(FOLDER_SETTING, str(folder))


def list_models() -> list[ModelEntry]:
    """List bundled and user's models in the order of the chooser, unusable ones with their problem."""
    entries = find_models([user_models_folder()])
    _titles.update({entry.id: entry.manifest.title for entry in entries if entry.manifest})
    return entries


def last_title(model_id: str) -> str:
    """Return what a model was called when it was last listed in this session, else when it made a result of the scene,
    else its id; for one that is away."""
    titles = (title_of_maker(node) for node in results_in_scene() if node.GetAttribute(MODEL_ID) == model_id)
    return _titles.get(model_id) or next(titles, model_id)


def title_of_maker(segmentation) -> str:
    """Return what the model that made a segmentation node was called then."""
    return segmentation.GetAttribute(MODEL_TITLE_ATTRIBUTE) or segmentation.GetAttribute(MODEL_ID) or ""


def folder_of_model(chosen: str | Path) -> Path | None:
    """Return the folder that holds model.json: the chosen one, or the only such one in it; None if neither does."""
    chosen = Path(chosen)
    try:
        found = [folder for folder in (chosen, *sorted(chosen.iterdir())) if (folder / "model.json").is_file()]
    except OSError:
        return None
    return found[0] if found[:1] == [chosen] or len(found) == 1 else None


def short_title(title: str) -> str:
    """A model's title without what stands in brackets: a panel would cut off what comes after them, as “fine-tuned”."""
    return re.sub(r"\s*\([^()]*\)", "", title).strip() or title


def whole_titles(entries: list[ModelEntry]) -> list[str]:
    """The title of each model, with its id where another one has the same; of one that cannot be used, the id and that
    it cannot."""
    count = Counter(entry.manifest.title for entry in entries if entry.manifest)

    def title(entry: ModelEntry) -> str:
        if entry.manifest is None:
            return _("{id} (unusable)").format(id=entry.id)
        return entry.manifest.title if count[entry.manifest.title] == 1 else f"{entry.manifest.title} [{entry.id}]"

    return [title(entry) for entry in entries]


def chooser_titles(entries: list[ModelEntry]) -> list[str]:
    """What a chooser calls each model: its short title where no other has the same one, else the whole."""
    shorts = [short_title(entry.manifest.title) if entry.manifest else "" for entry in entries]
    count = Counter(shorts)
    return [
        short if entry.manifest and count[short] == 1 else whole
        for entry, short, whole in zip(entries, shorts, whole_titles(entries))
    ]


def model_called(model: str | Path | Manifest) -> Manifest:
    """Return the manifest of a model given by id, folder or manifest.

    An id comes before a folder of that name. Raises afnet.errors.RequestError. The user's folder is not looked for
    where a bundled model is named, so that scripts without Qt can use these.
    """
    if isinstance(model, Manifest):
        return model
    bundled = any(entry.id == str(model) for entry in find_models())
    return find_model(model, [] if bundled else [user_models_folder()])


def manifest_of(segmentation) -> Manifest | None:
    """Return the manifest of the model that made a segmentation node; None if it is not here, or none made it."""
    model_id = segmentation.GetAttribute(MODEL_ID)
    if not model_id:
        return None
    try:
        return model_called(model_id)
    except AfnetError:
        return None
