"""`python -m lepton_nb.cli`, the same as the command `lepton-nb`."""

import sys

from lepton_nb.cli import main

sys.exit(main())
