"""For pytest: leaves out the single tests that LEFT_OUT names, `file.py::test` each; a name that is no test's fails the run."""

import os


def pytest_collection_modifyitems(config, items):
    left_out = set(os.environ["LEFT_OUT"].split())
    named = {f"{item.path.name}::{item.originalname}": item for item in items}
    unknown = left_out - set(named)
    if unknown:
        raise SystemExit(f"deselected.txt: there are no such tests in the suite: {sorted(unknown)}")
    gone = [item for item in items if f"{item.path.name}::{item.originalname}" in left_out]
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=gone)
