"""Scripts in an interpreter of their own: for what touches the whole process."""

import subprocess
import sys
import textwrap


def run_script(script: str, *arguments: str) -> str:
    """What a script prints. Fails where it fails, or writes anything to stderr: a warning is an error there, too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.strip()
