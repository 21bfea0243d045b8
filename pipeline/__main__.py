"""`python -m pipeline` is `unsl`."""

import sys

from unsl import main

sys.exit(main())
