"""Marks of our nodes that more than one module reads: attributes and references, which are saved with the scene."""

ATTENTION_ATTRIBUTE = "AutofocusSegmentation.Attention"
"""Attribute of all that is made for the attention, maps among them: such a map is no scan."""

COMPARISON_ATTRIBUTE = "AutofocusSegmentation.Comparison"
"""Attribute of segmentations that show a fine-tuning's result; they are no cases, and no output."""

MODEL_TITLE_ATTRIBUTE = "AutofocusSegmentation.ModelTitle"
"""Attribute of segmentations: the title of the model that made it, which may be gone or changed by now."""

SEGMENTATION_ROLE = "AutofocusSegmentation.Segmentation"
"""Node reference to the segmentation that a map, table or plot belongs to. A clone of a segmentation refers to the same
table of volumes, which refers back to the original."""

TABLE_ROLE = "AutofocusSegmentation.Volumes"
"""Node reference from a segmentation to its table of volumes."""
