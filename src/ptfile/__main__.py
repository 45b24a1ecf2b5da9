"""`python -m ptfile`."""

import sys

from ptfile.cli import main

sys.exit(main())
