"""`python -m msgflow.cli`, for where the `msgflow` script is not on the path."""

import sys

from msgflow.cli import main

sys.exit(main())
