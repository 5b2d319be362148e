"""The widgets of a panel that show and change a parameter: their .ui file names it (SlicerParameterName)."""


def bind(parameters, ui) -> int:
    """Tie the widgets of `ui` to a parameter node wrapper; return the tag for the wrapper's `disconnectGui`.

    Not by the wrapper's own `connectGui`, which has returned no tag in several versions of Slicer (its issue 7547): the
    widgets would then go on changing a node that the panel has let go of.
    """
    named = {widget.property("SlicerParameterName"): widget for widget in vars(ui).values()}
    return parameters.connectParametersToGui({name: widget for name, widget in named.items() if name})
