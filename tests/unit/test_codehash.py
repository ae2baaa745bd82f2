"""The code hash sees code and nothing else."""

import ast
from pathlib import Path

import pytest

import ephysflow
from ephysflow.codehash import CodeHasher, syntax_digest
from ephysflow.errors import ConfigurationError
from ephysflow.steps import STEPS

SOURCE = '''"""Module."""
import math


def area(radius):
    """Area of a circle."""
    return math.pi * radius**2
'''


def digest_of(source: str) -> str:
    return syntax_digest(ast.parse(source))


def test_comments_docstrings_and_layout_do_not_count():
    changed = SOURCE.replace('"""Area of a circle."""', '"""Something else."""').replace(
        "import math", "import math  # pi"
    )
    assert digest_of(changed.replace("radius**2", "radius ** 2")) == digest_of(SOURCE)
    assert digest_of('x = "text"') != digest_of('x = "other"')


def test_code_counts():
    assert digest_of(SOURCE.replace("**2", "**3")) != digest_of(SOURCE)


def write(folder: Path, **modules: str) -> None:
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)


def test_a_users_module_counts_with_what_it_imports_beside_it(tmp_path):
    write(
        tmp_path, mine="def f():\n    import helper\n    return helper.x\n", helper="x = 1\n", other="y = 1\n"
    )
    before = CodeHasher().user_module("mine", tmp_path)
    write(tmp_path, other="y = 2\n")
    assert CodeHasher().user_module("mine", tmp_path) == before
    write(tmp_path, helper="x = 2  # changed\n")
    assert CodeHasher().user_module("mine", tmp_path) != before


def test_missing_or_broken_user_module_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="'nowhere' is neither"):
        CodeHasher().user_module("nowhere", tmp_path)
    write(tmp_path, broken="def f(:\n")
    with pytest.raises(ConfigurationError, match="broken.py: line 1"):
        CodeHasher().user_module("broken", tmp_path)


def test_memory_gives_the_same_hashes(tmp_path):
    memory = tmp_path / "code.json"
    first = CodeHasher(memory)
    value = first.library(["ephysflow.io.tables"])
    first.save()
    assert memory.is_file()
    assert CodeHasher(memory).library(["ephysflow.io.tables"]) == value
    memory.write_text("{")
    assert CodeHasher(memory).library(["ephysflow.io.tables"]) == value


@pytest.mark.parametrize("step", STEPS)
def test_modules_of_each_step_exist_and_do_not_depend_on_planning(step):
    hasher = CodeHasher()
    root = Path(ephysflow.__file__).parent.parent
    for module in STEPS[step].modules:
        assert root.joinpath(*module.split(".")).with_suffix(".py").is_file()
    seen = closure(hasher, STEPS[step].modules, root)
    assert not {"ephysflow.plan", "ephysflow.planning", "ephysflow.configuration", "ephysflow.cli"} & seen


def closure(hasher: CodeHasher, modules: tuple[str, ...], root: Path) -> set[str]:
    """Names of the modules that the hash of a step covers."""
    hasher.library(modules)
    return {key.partition(":")[0] for key in hasher._known}


def test_steps_that_do_not_share_code_have_different_closures():
    root = Path(ephysflow.__file__).parent.parent
    ingestion = closure(CodeHasher(), STEPS["ingest_recordings"].modules, root)
    extraction = closure(CodeHasher(), STEPS["extract_efeatures"].modules, root)
    assert "ephysflow.recordings.readers.igor" in ingestion - extraction
    assert "ephysflow.efeatures.efel_engine" in extraction - ingestion
