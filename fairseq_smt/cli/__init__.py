"""Commands beside those of fairseq."""

import logging

for _library in ("matplotlib", "PIL"):  # fairseq sets the root logger to DEBUG, where these tell of every font they try
    logging.getLogger(_library).setLevel(logging.WARNING)
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)  # asks for tensorboardX
