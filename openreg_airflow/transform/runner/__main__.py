"""``python -m`` entry point of the runner."""

from __future__ import annotations

import sys

from .supervisor import main

sys.exit(main())
