"""``ephysflow validate``: is a configuration right, and what would be done?"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, help="configuration (YAML)")


def run(arguments: argparse.Namespace) -> int:
    """Print what the configuration asks for, and what looks wrong without being an error."""
    import os

    from ephysflow.codehash import CodeHasher
    from ephysflow.configuration import load
    from ephysflow.io.yaml_files import read_yaml
    from ephysflow.planning import make_plan

    configuration = load(read_yaml(arguments.config) or {}, [arguments.config])
    plan = make_plan(configuration, CodeHasher())
    print(f"{arguments.config}: fine")
    print(f"cells: {len(plan.cells)}, recording files: {sum(len(f) for f in plan.recording_files.values())}")
    for name, target_set in configuration.target_sets.items():
        print(
            f"target set {name or '(main)'}: {len(target_set.targets)} targets, "
            f"{len(target_set.auto_targets)} automatic sets, "
            f"protocols: {', '.join(plan.sets[name]) or 'none'}"
        )
    made = set(plan.example_recordings())
    missing = [
        file
        for files in plan.recording_files.values()
        for file in files
        if file not in made and not os.path.exists(file)
    ]
    for note in plan.notes:
        print(f"note: {note}")
    for file in missing[:20]:
        print(f"note: recording file is not there: {file}")
    if len(missing) > 20:
        print(f"note: and {len(missing) - 20} more recording files are not there")
    return 0
