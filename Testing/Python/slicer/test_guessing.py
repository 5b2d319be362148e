"""Which volume is which input: by name, study and modality, and never two patients in one study."""

import numpy as np
import pytest
from study_nodes import put_in_study, vector_volume

from harness.scene_makers import make_volume

pytestmark = pytest.mark.usefixtures("scene")


def guess(manifest, names, **options):
    """Guess over volumes of these names; returns input name to volume name."""
    from AutofocusSegmentationLib.inputs.guessing import guess_inputs

    nodes = [make_volume(None, name) for name in names]
    found = guess_inputs(manifest, nodes, **options)
    assert list(found) == [item.name for item in manifest.inputs]
    return {name: node.GetName() if node else None for name, node in found.items()}


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        ("BraTS2021_00005 t1ce", "t1c"), ("BraTS2021_00005_t1", "t1"), ("T1 post gad", "t1c"), ("AX FLAIR", "flair"),
        ("t2w", "t2"), ("T1w_CE", "t1c"), ("FLAIR T2", "flair"), ("T2 FLAIR", "flair"), ("T1", "t1"),
        ("BraTS-GLI-00001-000-t1c", "t1c"), ("BraTS-GLI-00001-000-t1n", "t1"), ("BraTS-GLI-00001-000-t2f", "flair"),
        ("BraTS-GLI-00001-000-t2w", "t2"), ("sub-01_ce-gadolinium_T1w", "t1c"), ("sub-01_T1w", "t1"),
        ("T1 pre contrast", "t1"), ("T1 without contrast", "t1"), ("T1 noncontrast", "t1"), ("Post-contrast T1", "t1c"),
        ("Ax T1 +C", "t1c"), ("6: AX T1 C+", "t1c"), ("T1W+C", "t1c"), ("t1_mprage_sag_p2_iso", "t1"), ("MPRAGE", "t1"),
        ("T1 MPRAGE Mask RT", "t1"), ("Segmented T2 TSE", "t2"), ("T1 brainmask", None),
        ("MPRAGE post", "t1c"), ("t2_tirm_tra_dark-fluid_FS", "flair"), ("AX T1 FLAIR", "t1"), ("FLAIR_to_T1", "flair"),
        ("T2_reg_T1c", "t2"), ("t1km", "t1c"), ("cor T1 nativ", "t1"), ("T2 TSE tra", "t2"), ("T2*", None),
        ("T1 ohne KM", "t1"), ("T1 mit KM", "t1c"), ("T1 vor KM", "t1"), ("T1 nach KM", "t1c"), ("T1 sans gado", "t1"),
        ("T1 avec injection", "t1c"), ("T1 senza mdc", "t1"), ("T1 con mdc", "t1c"), ("T1 sin contraste", "t1"),
        ("T1 con contraste", "t1c"), ("T1 Dotarem", "t1c"), ("ohne Clariscan T1", "t1"), ("MPRAGE ProHance", "t1c"),
        ("T1 post no FS", "t1c"), ("Ax T1 Post Non Fat Sat", "t1c"), ("T1 mit FS", "t1"), ("T1 without FS", "t1"),
        ("T1 sinus", "t1"), ("FSPGR", "t1"), ("AX FSPGR POST", "t1c"),
        ("t2_spc_da-fl", "flair"), ("t2 spc ir", "flair"), ("t2_spc_sag_p2_iso", "t2"), ("T2 STIR", None),
        ("t2_tirm_tra", None), ("T2 localizer", None), ("T1 MIP", None), ("IRM T2", "t2"),
        ("T1 KM vor OP", "t1c"), ("T1 pre-op +C", "t1c"), ("T1 post-op", "t1"), ("T1 postop KM", "t1c"),
        ("T1 post RT", "t1"), ("T1 postGd", "t1c"), ("T1_post_operative", "t1"),
        ("T1_to_T1c", "t1"), ("T1_reg_T1c", "t1"), ("T1c_to_T1", "t1c"), ("T1_reg_to_T1_post", "t1"),
        ("reg_T1c", "t1c"), ("AX T1 WITH_1", "t1c"),
        ("sub-01_space-T1c_desc-preproc_T1w", "t1"), ("sub-01_ce-gd_space-T1w_T1w", "t1c"), ("SPACE-FLAIR", "flair"),
        ("T2_to_T1c", "t2"), ("AX T1 WITH", "t1c"), ("AX T1 WITHOUT", "t1"), ("AX T1 W/", "t1c"), ("AX T1 W/O", "t1"),
        ("T1 -C", "t1"), ("T1 C-", "t1"), ("T1 o. KM", "t1"), ("T1-C", "t1c"), ("T1 c.m.", "t1c"), ("mp-rage", "t1"),
        ("T1_post-T1_pre", None), ("T1 sub", None), ("Subtraction T1", None), ("T1 post single dose", "t1c"),
        ("sT1W_3D_TFE", "t1"), ("eT1W_FFE+C", "t1c"), ("VT2W_TSE", "t2"), ("eT1W+C", "t1c"),
        ("T12 vertebra", None), ("resection", None), ("t1 mask", None), ("FLAIR-label", None), ("volume", None),
    ],
)
def test_one_name(brain, name, slot):
    found = guess(brain, [name])
    assert {key: value for key, value in found.items() if value} == ({slot: name} if slot else {})


@pytest.mark.parametrize(
    ("name", "fits"),
    [("CT Pelvis", True), ("ct", True), ("planning CT", True), ("pCT", True), ("CTpelvis", True),
     ("prostate_planning", True), ("resection", False), ("T2 prostate", False), ("CBCT 3", False), ("CT dose", False),
     ("CT MIP", False), ("CT MinIP", False), ("CT localizer", False), ("Topogram CT", False), ("CT scout", False),
     ("CT topogramme", False), ("CT Pelvis MPR", True), ("CT localized prostate", True),
     ("CT Pelvis low dose", True), ("Low Dose CT Pelvis", True), ("CT pelvis mask", False),
     ("CT Pelvis reduced dose", True), ("CT standard dose", True), ("CT half-dose", True), ("CT CARE Dose4D", True),
     ("CT RTDOSE", False), ("CT planned dose", False)],
)
def test_one_name_of_a_ct(pelvis, name, fits):
    assert guess(pelvis, [name]) == {"ct": name if fits else None}


@pytest.mark.parametrize("order", [1, -1])
def test_whole_study_in_any_order(brain, order):
    names = ["BraTS2021_00005 t1", "BraTS2021_00005 t1ce", "BraTS2021_00005 t2", "BraTS2021_00005 flair"]
    assert list(guess(brain, names[::order]).values()) == names


def test_no_node_in_two_slots(brain):
    assert guess(brain, ["T1 post gad"]) == {"t1": None, "t1c": "T1 post gad", "t2": None, "flair": None}
    assert guess(brain, ["AX T2 FLAIR"]) == {"t1": None, "t1c": None, "t2": None, "flair": "AX T2 FLAIR"}


def test_two_patients_are_never_mixed(brain):
    """The first has no FLAIR; the second is complete. Filling up the first from the second would mix them."""
    names = [f"BraTS2021_00005 {s}" for s in ("t1", "t1ce", "t2")] + [
        f"BraTS2021_00008 {s}" for s in ("t1", "t1ce", "t2", "flair")
    ]
    assert set(guess(brain, names).values()) == set(names[3:])
    assert guess(brain, names[:3] + names[6:])["flair"] is None


@pytest.mark.parametrize("template", ["{patient}_{s}", "{s} {patient}", "{patient}{number} {s}", "patient {number} {s}",
                                      "sub-0{number}_{s}", "Fall {letter} {s}", "{s}_{patient}_2024"])
@pytest.mark.parametrize("sequences", [("T1", "T1ce", "T2", "FLAIR"), ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR")])
def test_two_patients_told_apart_by_their_names_are_never_mixed(brain, template, sequences):
    def of(patient, number, letter):
        return [template.format(patient=patient, number=number, letter=letter, s=s) for s in sequences]

    meier, huber = of("Meier", 1, "A"), of("Huber", 2, "B")
    assert list(guess(brain, meier + huber).values()) == meier
    assert list(guess(brain, meier[:3] + huber).values()) == huber
    assert list(guess(brain, meier[:3] + huber[3:]).values()) == [*meier[:3], None]


def test_a_name_written_to_the_word_for_the_sequence_counts_too(brain):
    assert list(guess(brain, ["T1Meier", "T2Huber"]).values()) == ["T1Meier", None, None, None]
    assert list(guess(brain, ["Meier T2", "HuberFLAIR"]).values()) == [None, None, "Meier T2", None]
    assert list(guess(brain, ["Meier T2", "LiFLAIR"]).values()) == [None, None, "Meier T2", None]


@pytest.mark.parametrize(
    "names",
    [("T1", "T1ce", "T2", "FLAIR"), ("t1_mprage_sag_p2_iso_3", "t1_mprage_sag_p2_iso_km_9", "t2_tse_tra_5",
                                     "t2_tirm_tra_dark-fluid_FS_7"),
     ("AX T1 3T", "AX T1 +C 1.5 mm", "COR T2 FSE", "SAG FLAIR 3D"), ("T1 pre", "T1 w/ contrast", "T2w", "T2 FLAIR"),
     ("BraTS-GLI-00001-000-t1n", "BraTS-GLI-00001-000-t1c", "BraTS-GLI-00001-000-t2w", "BraTS-GLI-00001-000-t2f"),
     ("T1", "T1c", "T2_reg_T1c", "FLAIR_to_T1"), ("Meier T1 ohne KM", "Meier T1 mit KM", "Meier T2", "Meier FLAIR"),
     ("T1 vor KM", "T1 nach KM", "T2", "FLAIR"), ("T1 sans injection", "T1 avec injection", "T2", "FLAIR"),
     ("T1", "T1 Dotarem", "T2", "FLAIR"), ("t1_mprage_sag_p2_iso", "t1_mprage_sag_p2_iso_KM", "t2_tse_tra_448",
                                           "t2_spc_da-fl_sag_p2_iso"),
     ("t1_se_tra_256", "t1_se_tra_256_km", "t2_tse_tra_512", "t2_tirm_tra_dark-fluid_320"),
     ("T1_to_T1c", "T1c", "T2_to_T1c", "FLAIR_to_T1c"), ("AX T1 WITHOUT", "AX T1 WITH", "AX T2", "AX FLAIR"),
     ("AX T1 C-", "AX T1 C+", "T2", "FLAIR"), ("T1 o. KM", "T1 nach KM-Gabe", "T2", "FLAIR"),
     ("T1", "T1 c.m.", "T2", "FLAIR"), ("T1", "T1 W CONTRAST", "T2", "FLAIR"),
     ("T1", "T1 single dose GD", "T2", "FLAIR"),
     ("t1_fl2d_tra", "t1_mpr_ns_sag_km", "t2_haste_tra", "FLAIR_longTR"), ("mp-rage", "T1 THRIVE GD", "T2", "FLAIR"),
     ("sT1W_3D_TFE", "eT1W_FFE_GD", "VT2W_TSE_SENSE", "FLAIR_longTR"), ("T1 MEMP", "T1 GD", "T2", "FLAIR"),
     ("501_T1", "601_T1_GD", "301_T2", "401_FLAIR"), ("SER1-T1", "SER12-T1 GD", "SER3-T2", "SER4-FLAIR")],
)
def test_one_patients_names_may_differ_in_what_tells_the_sequence(brain, names):
    assert list(guess(brain, names).values()) == list(names)


def test_a_number_after_a_bare_sequence_may_be_a_patients(brain):
    assert guess(brain, ["T1 256", "T2 448"])["t2"] is None
    assert guess(brain, ["t1_se_tra_1001", "t2_tse_tra_1002"])["t2"] is None


def test_a_number_before_several_names_is_a_patients(brain):
    names = ["101_T1", "101_T1c", "101_T2", "201_T1", "201_T1c", "201_FLAIR"]
    assert list(guess(brain, names).values()) == [*names[:3], None]


def test_a_choice_that_is_named_unlike_the_others_is_told(brain):
    from AutofocusSegmentationLib.inputs.input_checks import input_reasons

    names = {"t1": "Meier_T1", "t1c": "Meier_T1ce", "t2": "Meier_T2", "flair": "Huber_FLAIR"}
    nodes = {name: make_volume(None, text) for name, text in names.items()}
    told = {name for name, text in input_reasons(brain, nodes).items() if "Its name differs from the others" in text}
    assert told == {"flair"}
    told = input_reasons(brain, nodes | {"t2": None, "t1": None})
    assert "name differs" in told["flair"] and "name differs" not in told["t1c"], "the reference counts when in doubt"
    for node in nodes.values():
        put_in_study(node, "A", "Study")
    assert not any("name differs" in text for text in input_reasons(brain, nodes).values()), "the study is known"


# Names that are there twice


def loaded(name, folder=""):
    """A volume as Slicer loads it, from a file of this folder if one is given."""
    import slicer

    node = make_volume(None, name)
    if folder:
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(f"/data/{folder}/{name.partition('_')[0]}.nii.gz")
        node.SetAndObserveStorageNodeID(storage.GetID())
    return node


def guessed(manifest, nodes, chosen=None):
    from AutofocusSegmentationLib.inputs.guessing import guess_inputs

    return [node and node.GetName() for node in guess_inputs(manifest, nodes, chosen).values()]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # the FLAIR may be of either
        ("t1 t1c t2 t1_1 t1c_1 t2_1 flair", ["t1", "t1c", "t2", None]),
        ("t1 t1c t2 flair t1_1 t1c_1 t2_1", ["t1", "t1c", "t2", None]),
        ("t1 t1c t1_1 t1c_1 t2 flair", ["t1", "t1c", None, None]),
        # two whole sets
        ("t1 t1c t2 flair t1_1 t1c_1 t2_1 flair_1", ["t1", "t1c", "t2", "flair"]),
        ("t1 t1c t2 flair t1 t1c t2 flair", ["t1", "t1c", "t2", "flair"]),
        # one set and a surplus volume
        ("t1 t1c t2 flair t1_1", ["t1", "t1c", "t2", "flair"]),
        ("t1 t1c t2 flair flair_1", ["t1", "t1c", "t2", "flair"]),
        ("BraTS_1_t1 BraTS_1_t1c BraTS_1_t2 BraTS_1_flair BraTS_1_t1_1",
         ["BraTS_1_t1", "BraTS_1_t1c", "BraTS_1_t2", "BraTS_1_flair"]),
        # numbers of patients, and of series
        ("t1_1 t1c_1 t2_1 t1_2 t1c_2 t2_2 flair_2", ["t1_2", "t1c_2", "t2_2", "flair_2"]),
        ("t1_3 t1_4 t1c_9 t2_5 flair_7", ["t1_3", "t1c_9", "t2_5", "flair_7"]),
    ],
)
def test_of_two_sets_with_the_same_names_one_is_taken(brain, names, expected):
    assert guessed(brain, [loaded(name) for name in names.split()]) == expected


def test_two_sets_with_the_same_names_are_told_apart_by_their_folders(brain):
    first = [loaded(name, "a") for name in ("t1", "t1c", "t2")]
    second = [loaded(name, "b") for name in ("t1_1", "t1c_1", "t2_1", "flair")]
    assert guessed(brain, first + second) == ["t1_1", "t1c_1", "t2_1", "flair"]
    assert guessed(brain, first + second, {"t1c": first[1]}) == ["t1", "t1c", "t2", None]
    nodes = [loaded("t1", "a"), *(loaded(name, "b") for name in ("t1_1", "t1c", "t2", "flair"))]
    assert guessed(brain, nodes) == ["t1_1", "t1c", "t2", "flair"], "though t1 alone is there twice"


def test_a_file_that_was_loaded_twice_is_no_other_patients(brain):
    nodes = [loaded(name, "a") for name in ("t1", "t1_1", "t1c", "t2", "flair")]
    assert guessed(brain, nodes) == ["t1", "t1c", "t2", "flair"]


def test_what_is_not_certain_of_two_sets_is_told(brain):
    from AutofocusSegmentationLib.inputs.input_checks import input_reasons

    nodes = {name: loaded(name) for name in ("t1", "t1c", "t2", "t1_1", "t1c_1", "t2_1", "flair")}
    chosen = {"t1": nodes["t1"], "t1c": nodes["t1c"], "t2": nodes["t2"], "flair": None}
    told = input_reasons(brain, chosen, nodes.values())
    assert told["flair"] == (
        "There are 2 volumes for T1 here, perhaps of several patients: choose the one of the same patient.")
    assert {told[name] for name in ("t1", "t1c", "t2")} == {"Chosen by its name."}
    told = input_reasons(brain, chosen | {"flair": nodes["flair"], "t2": nodes["t2_1"]}, nodes.values())
    for name in ("flair", "t2"):
        assert told[name] == ("Chosen by its name. There are 2 volumes for T1 here, perhaps of several patients: "
                              "check that this one is of the same patient.")
    assert "volumes for" not in told["t1"]
    whole = dict(zip(("t1", "t1c", "t2", "flair"), nodes.values(), strict=False)) | {"flair": nodes["flair"]}
    assert "volumes for" not in "".join(input_reasons(brain, whole, whole.values()).values())


def test_studies_of_the_subject_hierarchy_are_never_mixed(brain):
    from AutofocusSegmentationLib.inputs.guessing import guess_inputs

    nodes = []
    for patient, sequences in (("A", ["T1", "T1 GAD", "T2"]), ("B", ["T1", "T1 GAD", "T2", "FLAIR"])):
        for number, sequence in enumerate(sequences, 1):
            nodes.append(make_volume(None, f"{number}: {sequence}"))
            put_in_study(nodes[-1], patient, "Study", "MR")
    found = guess_inputs(brain, nodes)
    assert [found[name] for name in ("t1", "t1c", "t2", "flair")] == nodes[3:]


def test_the_guess_goes_with_what_is_chosen(brain):
    """Of two complete patients, the one whose T1c the user has chosen; his choice is not given again."""
    from AutofocusSegmentationLib.inputs.guessing import guess_inputs

    first, second = (
        [make_volume(None, f"case{number} {s}") for s in ("t1", "t1c", "t2", "flair")] for number in (10, 11)
    )
    found = guess_inputs(brain, [*first, *second], chosen={"t1c": second[1], "t2": None})
    assert list(found.values()) == second
    found = guess_inputs(brain, [*first, second[0]], chosen={"t1c": second[1]})
    assert list(found.values()) == [second[0], second[1], None, None]


def test_better_patterns_win_over_order(pelvis):
    assert guess(pelvis, ["pelvis", "CT"]) == {"ct": "CT"}


def test_modality_of_the_series_counts(pelvis, brain):
    """A series without a telling name is the CT if DICOM says so; an MR of the prostate is none."""
    from AutofocusSegmentationLib.inputs.guessing import guess_inputs

    series, other = make_volume(None, "3: Recon 2"), make_volume(None, "4: prostate planning")
    put_in_study(series, "A", "Study", "CT")
    put_in_study(other, "A", "Study", "MR")
    assert guess_inputs(pelvis, [other, series]) == {"ct": series}
    assert guess_inputs(pelvis, [other]) == {"ct": None}
    assert not any(guess_inputs(brain, [series, other]).values())


def test_what_is_no_scan_is_not_guessed(pelvis):
    from AutofocusSegmentationLib.inputs.guessing import guess_inputs

    attention, hidden = make_volume(None, "CT"), make_volume(None, "CT")
    attention.SetAttribute("AutofocusSegmentation.Attention", "1")
    hidden.SetHideFromEditors(True)
    label = make_volume(np.zeros((4, 4, 4), np.uint8), "CT", label=True)
    assert guess_inputs(pelvis, [attention, hidden, label, vector_volume("CT")]) == {"ct": None}
