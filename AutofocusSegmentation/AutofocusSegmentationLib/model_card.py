"""The model card: for whom a model was made, how well it does, what it learned from. As text for a rich text view."""

from html import escape

from slicer.i18n import tr as _

from afnet.models.manifest import Manifest


def population_text(manifest: Manifest) -> str:
    """Return the lines under a model's name: whom it was made for, and what it was not validated on."""
    warning = _("Not for clinical use.")
    if manifest.not_validated_on:
        warning = _("Not validated on: {what}").format(what=_ended(manifest.not_validated_on)) + " " + warning
    return _ended(manifest.population) + "\n" + warning


def model_card(manifest: Manifest) -> str:
    """Return the card as HTML of the kind that Qt shows; all text of the manifest is escaped."""
    scores = manifest.scores
    parts = [
        f"<p><b>{escape(manifest.title)}</b><br>{escape(manifest.id)} {escape(manifest.version)}</p>",
        _paragraph(_("Use"), manifest.intended_use),
        _paragraph(_("Made for"), manifest.population),
        _paragraph(_("Not validated on"), manifest.not_validated_on),
        _paragraph(_("Performance"), scores["summary"]),
        _score_table(manifest),
        _paragraph(_("How this was measured"), scores["how"]),
        _paragraph(_("Training data"), "; ".join(_data(item) for item in manifest.raw["training_data"])),
        _paragraph(_("Licence"), manifest.licence),
        _paragraph(_("Weights (SHA-256)"), manifest.weights_sha256[:16]),
    ]
    return "".join(parts)


def _paragraph(title: str, text: str) -> str:
    return f"<p><b>{escape(title)}:</b> {escape(_ended(text))}</p>" if text else ""


def _score_table(manifest: Manifest) -> str:
    """One row a structure: mean Dice with its spread and the number of patients, or why it was not measured."""
    names = {structure.id: structure.name for structure in manifest.structures}
    rows = []
    for entry in manifest.scores["structures"]:
        dice, spread = entry["dice"], entry.get("dice_sd")
        if dice is None:
            value = _("not measured")
        else:
            value = f"{dice:.2f}" + (f" ± {spread:.2f}" if spread is not None else "") + f" (n = {entry['n']})"
        note = entry.get("note", "")
        remark = f"<br><i>{escape(note)}</i>" if note else ""
        rows.append(f"<tr><td>{escape(names.get(entry['id'], entry['id']))}&nbsp;&nbsp;</td>"
                    f"<td>{escape(value)}{remark}</td></tr>")
    if not rows:
        return ""
    heading = f"<tr><td><b>{_('Structure')}</b></td><td><b>{_('Dice')}</b></td></tr>"
    return f"<table>{heading}{''.join(rows)}</table>"


def _data(item: dict) -> str:
    parts = [item["name"], _("{count} patients").format(count=item["patients"]) if item["patients"] > 1 else "",
             item["licence"], item["cite"], item.get("note", "")]
    return ", ".join(part for part in parts if part)


def _ended(sentence: str) -> str:
    return sentence if not sentence or sentence.endswith((".", "!", "?")) else sentence + "."
