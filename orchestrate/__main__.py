"""Checks the file of logins: `python -m orchestrate`.

Writes the pools to standard output, for `airflow pools import`, and what the DAGs will
do to standard error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orchestrate.accounts import AccountsError, accounts_path, read_accounts
from orchestrate.plan import dag_plans, pools


def main() -> int:
    """Run the check.

    Returns:
        Exit code.
    """
    path = Path(sys.argv[1]) if sys.argv[1:] else accounts_path()
    try:
        accounts = read_accounts(path)
    except AccountsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    for dag in dag_plans(accounts):
        for group in dag.groups:
            how = "one after another" if group.is_sequential else "each by itself"
            print(  # noqa: T201
                f"{dag.dag_id} ({dag.schedule}): {group.task_id}: "
                f"{len(group.loads)} logins, {how}",
                file=sys.stderr,
            )
    json.dump(pools(accounts), sys.stdout, indent=2)
    print()  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
