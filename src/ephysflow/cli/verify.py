"""``ephysflow verify``: are results whole and up to date?"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("results", type=Path, help="folder of results")
    parser.add_argument("--config", type=Path, help="configuration; by default the one that was run last")
    parser.add_argument(
        "--prune", action="store_true", help="list files that the configuration does not make any more"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each file in doubt; exit status 1 when there is one."""
    from ephysflow.codehash import CodeHasher
    from ephysflow.configuration import load
    from ephysflow.io.yaml_files import read_yaml
    from ephysflow.plan import read_origin
    from ephysflow.planning import make_plan
    from ephysflow.verification import expected_files, left_over, verify_results

    if arguments.config is not None:
        config, files = read_yaml(arguments.config) or {}, [arguments.config]
    else:
        config, files = read_origin(arguments.results)
    if isinstance(config, dict):  # else the schema says what is wrong with it
        config = {**config, "results": str(arguments.results)}
    configuration = load(config, files)
    plan = make_plan(configuration, CodeHasher())
    findings = list(verify_results(plan))
    for finding in findings:
        print(f"{finding.status:8} {finding.path}: {finding.reason}")
    if arguments.prune:
        for path in left_over(plan):
            print(f"left over {path}")
    total = len(expected_files(plan))
    print(f"{total - len(findings)} of {total} files are whole and up to date")
    return 1 if findings else 0
