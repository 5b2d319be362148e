"""What the user reads of a job's progress."""

import math

from slicer.i18n import tr as _


def stage_text(stage: str) -> str:
    """Return what the user reads for a stage of the engine; an unknown one is shown as it is."""
    return {
        "export": _("Preparing the images"),
        "start": _("Starting"),
        "read": _("Reading the images"),
        "prepare": _("Aligning the images"),
        "network": _("Segmenting"),
        "restore": _("Restoring the image grid"),
        "write": _("Writing the result"),
        "load": _("Loading the result"),
    }.get(stage, stage)


def tuning_stage_text(stage: str) -> str:
    """Return what the user reads for a stage of a fine-tuning; an unknown one is shown as it is."""
    return {
        "start": _("Starting"),
        "check": _("Checking the cases"),
        "prepare": _("Preparing the cases"),
        "train": _("Training"),
        "score": _("Comparing before and after"),
        "write": _("Writing the new model"),
    }.get(stage, stage)


def with_time_left(text: str, seconds: float | None) -> str:
    """Return the text of a stage, and how long the job will take from now if that is known."""
    left = time_left_text(seconds)
    return f"{text}, {left}" if left else text


def time_left_text(seconds: float | None) -> str:
    """Return 'about 40 s left' or 'about 3 min left'; empty if it is not known."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return ""
    if seconds <= 90:
        return _("about {count} s left").format(count=max(5, 5 * math.ceil(seconds / 5)))
    return _("about {count} min left").format(count=math.ceil(seconds / 60))
