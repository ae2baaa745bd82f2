"""What stands in several files of the repository agrees."""

import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from ephysflow.configuration import SCHEMA, load
from ephysflow.io.yaml_files import read_yaml
from ephysflow.recordings.sheet import COLUMNS, read_sheet

REPOSITORY = Path(__file__).resolve().parents[2]


def test_conda_environment_has_the_packages_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (with_pip,) = [
        part
        for part in read_yaml(REPOSITORY / "envs/ephysflow.yaml")["dependencies"]
        if isinstance(part, dict)
    ]
    assert with_pip["pip"] == project["dependencies"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_has_hashes_and_no_address(lock):
    text = (REPOSITORY / lock).read_text()
    assert "://" not in text
    packages = [line for line in text.splitlines() if "==" in line and not line.lstrip().startswith("#")]
    assert text.count("--hash=sha256:") >= len(packages)


def test_locks_agree():
    def versions(lock: str) -> dict[str, str]:
        lines = (REPOSITORY / lock).read_text().splitlines()
        pairs = [
            line.split(" ")[0].partition("==")[::2] for line in lines if "==" in line and line[0].isalnum()
        ]
        return dict(pairs)

    main, dev = versions("requirements.lock"), versions("requirements-dev.lock")
    assert main.items() <= dev.items()


def keys(schema: dict, root: dict) -> set[str]:
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **schema}
    found = set(schema.get("properties", {}))
    for sub in (*schema.get("properties", {}).values(), *schema.get("oneOf", [])):
        found |= keys(sub, root)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            found |= keys(schema[name], root)
    return found


def test_every_key_and_column_is_documented():
    text = (REPOSITORY / "config/README.md").read_text()
    schema = read_yaml(SCHEMA)
    names = keys(schema, schema) | {column.name for column in COLUMNS}
    assert len(names) > 60
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_sheet_of_the_example_is_the_one_that_its_generator_writes(tmp_path):
    from ephysflow.example import write_example

    write_example(tmp_path / "example_data")
    made = read_sheet(tmp_path / "example_data" / "recordings.tsv")
    kept = read_sheet(REPOSITORY / "config/recordings.tsv")

    def comparable(entries: list, folder: Path) -> list[dict]:
        files = ("filepath", "i_file", "v_file")
        return [
            {
                key: str(Path(value).resolve().relative_to(folder)) if key in files else value
                for key, value in e.items()
            }
            for e in entries
        ]

    assert comparable(kept, REPOSITORY / "example_data") == comparable(made, tmp_path / "example_data")


def test_configuration_of_the_example_is_right():
    path = REPOSITORY / "config/config.yaml"
    configuration = load(yaml.safe_load(path.read_text()), [path])
    assert configuration.target_sets[""].targets
    assert not configuration.notes


def test_schema_is_where_the_workflow_and_the_library_look():
    assert (REPOSITORY / "workflow/schemas/config.schema.yaml").resolve() == SCHEMA.resolve()
    assert (REPOSITORY / "slurm").resolve() == REPOSITORY / "profiles/slurm"


def test_nothing_of_this_machine_is_in_the_repository():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    words = ("/" + "root/", "/" + "home/", "/" + "work/")
    for name in tracked:
        path = REPOSITORY / name
        if path.suffix in (".png", ".pdf") or not path.is_file():
            continue
        text = path.read_text(errors="ignore")
        assert not any(word in text for word in words), name
