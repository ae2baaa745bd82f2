"""``ephysflow migrate-config``: an older analysis configuration of BlueETL as one of version 4."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("old", type=Path, help="analysis configuration of version 1, 2 or 3 (YAML)")
    parser.add_argument("new", type=Path, help="file to write; an existing one is never replaced")
    parser.add_argument(
        "--sort",
        action="store_true",
        help="put keys in the order of the documentation; labels and parameters keep theirs",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the new file and say what to look at; exit status 1 when it still cannot be used."""
    import yaml

    from ephysflow.campaign.analysis_config import SCHEMA, plain_data_problems, read_analysis
    from ephysflow.campaign.migration import in_documented_order, migrate, version_of
    from ephysflow.errors import ConfigurationError
    from ephysflow.io.atomic import write_text
    from ephysflow.io.yaml_files import read_yaml

    old, new = arguments.old, arguments.new
    if new.exists():
        raise ConfigurationError(f"{new}: is already there; name another file or move it")
    content = read_yaml(old, unique_keys=True)
    if found := plain_data_problems(content):
        raise ConfigurationError("\n".join(f"{old}: {problem}" for problem in found))
    try:
        version = version_of(content)
        migrated = migrate(content)
    except ConfigurationError as error:
        raise ConfigurationError(f"{old}: {error}") from None
    if arguments.sort:
        schema = read_yaml(SCHEMA)
        migrated = in_documented_order(migrated, schema, schema)
    write_text(new, yaml.safe_dump(migrated, sort_keys=False, allow_unicode=True))
    print(f"{new}: version {version} brought to version {migrated['version']}")
    print("Comments are lost: copy by hand those that you need.")
    if old.resolve().parent != new.resolve().parent:
        print("Paths in it are relative to the file, which is in another folder now: check them.")
    if version < 3:
        print("Targets are node sets now: check that node sets of these names exist in the circuit.")
        print("A circuit with several node populations needs the key population in each extraction.")
    try:
        read_analysis(new)
    except ConfigurationError as error:
        print(f"Left to do by hand:\n{error}")
        return 1
    return 0
