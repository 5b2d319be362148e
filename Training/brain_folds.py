"""The folds of patients in cross-validation (../shared/data/README.md)."""

FOLDS = (
    ("00000", "00009", "00024", "01477", "01482"),
    ("00002", "00011", "01478", "01480", "01485"),
    ("00003", "00012", "00031", "01481", "01483"),
    ("00005", "00008", "00019", "01479"),
    ("00006", "00014", "01476", "01484"),
)
"""Patients of the five folds, without the prefix BraTS2021_."""
