"""The command fairseq-smt-prepare-text under its old name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairseq_smt.cli.prepare_text import main

if __name__ == "__main__":
    main()
