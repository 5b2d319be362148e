"""CMake's lists, git's files and what is installed are the same files."""

import cmake_lists


def test_lists_equal_tracked_files():
    should, does = cmake_lists.expected(), cmake_lists.listed()
    for name, files in should.items():
        assert sorted(does[name]) == files, f"{name} differs from git's files; run make lists"
        assert len(set(does[name])) == len(does[name])


def test_cmake_installs_the_lists(cmake_build):
    installed, _ = cmake_build
    files = sorted(file.relative_to(installed).as_posix() for file in installed.rglob("*") if file.is_file())
    listed = cmake_lists.listed()
    assert files == sorted(listed["MODULE_PYTHON_SCRIPTS"] + listed["MODULE_PYTHON_RESOURCES"])


def test_every_folder_of_scripts_is_a_package():
    scripts = [name for name in cmake_lists.tracked_files() if name.endswith(".py") and "/" in name]
    folders = {name.rpartition("/")[0] for name in scripts}
    assert {f"{folder}/__init__.py" for folder in folders} <= set(scripts)


def test_names_fit_windows():
    """ASCII, no two names that differ only in case, short enough for a deep install folder (260 in all)."""
    names = cmake_lists.tracked_files()
    assert all(name.isascii() and " " not in name and len(name) <= 100 for name in names)
    assert len({name.lower() for name in names}) == len(names)


def test_written_lists_are_read_back():
    text = "set(MODULE_PYTHON_SCRIPTS\n  )\n\nset(MODULE_PYTHON_RESOURCES\n  old.txt\n  )\nrest()\n"
    lists = {"MODULE_PYTHON_SCRIPTS": ["a.py", "b/c.py"], "MODULE_PYTHON_RESOURCES": ["d.ui"]}
    new = cmake_lists.written(text, lists)
    assert cmake_lists.listed(new) == lists
    assert new.endswith("rest()\n") and "old.txt" not in new
