"""The code hash sees code and nothing else."""

import ast
import sys
from pathlib import Path

import pytest

import ephysflow
from ephysflow.codehash import CodeHasher, syntax_digest
from ephysflow.errors import ConfigurationError
from ephysflow.steps import STEPS
from ephysflow.user_modules import check_user_object, load_user_object

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


@pytest.fixture
def project(tmp_path):
    """Folder of a configuration, and what lies elsewhere."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def package(folder: Path, name: str, init: str = "", **modules: str) -> None:
    (folder / name).mkdir(parents=True)
    write(folder / name, __init__=init, **modules)


def code_of(module: str, folder: Path) -> str:
    return CodeHasher().user_module(module, folder)


def test_a_helper_of_pythonpath_counts(project, tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    package(sources, "tools_of_mine", rates="from tools_of_mine import units\n", units="ms = 1\n")
    write(project, mine="from tools_of_mine.rates import f\n")
    monkeypatch.syspath_prepend(sources)
    before = code_of("mine", project)
    write(sources / "tools_of_mine", units="ms = 2\n")
    assert code_of("mine", project) != before


def test_beside_the_configuration_comes_first(project, tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    sources.mkdir()
    write(sources, helper_of_mine="x = 1\n")
    write(project, mine="import helper_of_mine\n", helper_of_mine="x = 1\n")
    monkeypatch.syspath_prepend(sources)
    before = code_of("mine", project)
    write(sources, helper_of_mine="x = 2\n")
    assert code_of("mine", project) == before


def test_of_installed_packages_only_the_functions_own_is_read(project, tmp_path, monkeypatch):
    installed = tmp_path / "site-packages"
    package(
        installed,
        "their_package",
        rates="import their_library, json\nfrom . import units\n",
        units="ms = 1\n",
    )
    package(installed, "their_library", init="x = 1\n")
    write(project, mine="import their_library\n")
    monkeypatch.syspath_prepend(installed)
    hasher = CodeHasher()
    before = hasher.user_module("their_package.rates", project), hasher.user_module("mine", project)
    read = {key.partition(":")[0] for key in hasher._known}
    assert read == {"their_package.rates", "their_package.units", "mine"}
    write(installed / "their_library", __init__="x = 2\n")
    assert (code_of("their_package.rates", project), code_of("mine", project)) == before
    write(installed / "their_package", units="ms = 2\n")
    assert code_of("their_package.rates", project) != before[0]


def test_nothing_is_imported_to_find_a_module(project, tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    package(sources, "raising_package", init="raise RuntimeError\n", rates="def f():\n    pass\n")
    monkeypatch.syspath_prepend(sources)
    assert code_of("raising_package.rates", project)
    check_user_object("raising_package.rates.f", project)
    assert "raising_package" not in sys.modules
    with pytest.raises(ConfigurationError, match=r"'raising_package.none' is neither"):
        code_of("raising_package.none", project)


def test_a_package_is_there_when_its_module_is_loaded(project, tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    package(
        sources,
        "preparing_package",
        init="prepared = 1\n",
        rates="import sys\nf = sys.modules['preparing_package'].prepared\n",
    )
    monkeypatch.syspath_prepend(sources)
    assert load_user_object("preparing_package.rates.f", project) == 1
