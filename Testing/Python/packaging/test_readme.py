"""The commands, options and files of the README and of the documents beside it exist."""

import ast
import re
import shlex
import subprocess
import sys

import pytest
import readme_scores
from cmake_lists import MODULE, REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {
    file: file.read_text(encoding="utf-8")
    for file in [REPOSITORY / "README.md", *sorted((REPOSITORY / "Documentation").glob("*.md"))]
}
ALL = "\n".join(DOCUMENTS.values())


def commands() -> list[str]:
    """Lines of all shell blocks, continued lines joined."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", ALL, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {
        word
        for line in commands()
        if line.startswith("make ")
        for word in line.split()[1:]
        if "=" not in word and not word.startswith("#")
    }
    used |= set(re.findall(r"`make ([a-z-]+)", ALL))
    assert {"demo", "test"} <= used
    assert used <= targets


@pytest.fixture(scope="module")
def help_of():
    """`help_of('segment')` -> the text of its --help."""
    texts = {}

    def ask(*command: str) -> str:
        if command not in texts:
            result = subprocess.run(
                [sys.executable, "-m", "afnet", *command, "--help"],
                cwd=MODULE,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert result.returncode == 0, result.stderr
            texts[command] = result.stdout
        return texts[command]

    return ask


def afnet_commands() -> list[list[str]]:
    lines = [line.partition(" -m afnet ")[2] for line in commands() if " -m afnet " in line]
    return [shlex.split(line, comments=True) for line in lines]


def test_the_command_line_is_shown():
    assert {"models", "segment", "evaluate"} <= {words[0] for words in afnet_commands()}


@pytest.mark.parametrize("words", afnet_commands(), ids=" ".join)
def test_afnet_options_exist(words, help_of):
    text = help_of(words[0])
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", text), f"afnet {words[0]} has no {option}"


def test_models_in_the_readme_are_the_bundled_ones(help_of):
    named = {words[words.index("--model") + 1] for words in afnet_commands() if "--model" in words}
    assert named <= {folder.name for folder in (MODULE / "Resources" / "Models").iterdir()}
    for folder in (MODULE / "Resources" / "Models").iterdir():
        assert f"`{folder.name}`" in README


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_linked_files_exist(file):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", DOCUMENTS[file]) + re.findall(r'src="([^"]+)"', DOCUMENTS[file])
    for target in targets:
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (file.parent / target).exists(), target


def test_the_readme_leads_to_every_document():
    for file in DOCUMENTS:
        assert file.name == "README.md" or f"(Documentation/{file.name})" in README


def test_architecture_names_real_files():
    """Those with a folder exist, those without exist somewhere."""
    text = DOCUMENTS[REPOSITORY / "Documentation" / "Architecture.md"]
    rooms = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", text)
    assert len(rooms) > 10
    folders = REPOSITORY, MODULE, MODULE / "AutofocusSegmentationLib"
    for room in rooms:
        assert any((folder / room).exists() for folder in folders), room
    files = {file.name for file in MODULE.rglob("*.py")}
    assert set(re.findall(r"`(\w+\.py)`", text)) <= files


def test_troubleshooting_quotes_real_messages():
    """The quoted part of a message is in a string of the code (f-strings: in one of their constant parts)."""
    text = DOCUMENTS[REPOSITORY / "Documentation" / "Troubleshooting.md"]
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(quoted) > 5
    strings = [
        node.value
        for folder in (MODULE, REPOSITORY / "Demo")
        for file in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for message in quoted:
        assert any(message in string for string in strings), message


def test_says_not_for_clinical_use():
    assert "Not for clinical use" in README


def test_scores_are_those_of_the_manifests():
    models = DOCUMENTS[readme_scores.MODELS]
    assert readme_scores.up_to_date(README, readme_scores.summary()) == README, "run make lists"
    assert readme_scores.up_to_date(models, readme_scores.sections()) == models, "run make lists"
