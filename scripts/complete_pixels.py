"""The command fairseq-smt-complete-pixels under its old name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairseq_smt.cli.complete_pixels import main

if __name__ == "__main__":
    main()
