"""The method in plain torch: memory, cells, teacher, future predictors, losses, rollouts, objectives.

Nothing below this package imports fairseq. Shapes in docstrings use one legend throughout:

    B  batch (sequences)          K  memory tokens
    T  time (positions)           d  width of a memory token
    N  any number of rows         V  vocabulary
    P  positions drawn per block  D  width of the trunk
"""
