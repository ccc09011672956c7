"""What looks at trained models: below the commands, the report and the figures of a training.

loading      a checkpoint with its task, and blocks of its data
measure      gradients, drift, loss and geometry of a checkpoint
samples      texts and images that an RNN continues
figures      all of it as matplotlib figures; `board` as TensorBoard's
"""
