"""`--user-dir user_dir`: the same plugin for those who keep a folder of that name in their checkout."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import fairseq_smt  # noqa: E402

fairseq_smt.register()
