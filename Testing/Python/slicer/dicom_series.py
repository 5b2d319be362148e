"""A recorded DICOM database, and volumes that came from series in it."""

TAGS = {
    "modality": "0008,0060", "description": "0008,103e", "contrast_agent": "0018,0010", "sequence": "0018,0020",
    "tr": "0018,0080", "te": "0018,0081", "ti": "0018,0082",
}


class RecordedDatabase:
    """A DicomDatabase. `asked`: the tags that were read."""

    def __init__(self) -> None:
        self.instances: dict[str, dict[str, str]] = {}
        self.asked: set[str] = set()

    def instanceValue(self, instance: str, tag: str) -> str:
        self.asked.add(tag)
        return self.instances.get(instance, {}).get(tag, "")

    def load(self, node, **values):
        """Say that a node was loaded from a series with these values (keys as in TAGS); returns the node."""
        instance = f"1.2.826.{len(self.instances) + 1}"
        self.instances[instance] = {TAGS[name]: str(value) for name, value in values.items()}
        node.SetAttribute("DICOM.instanceUIDs", f"{instance} 1.2.826.99.1 1.2.826.99.2")
        return node
