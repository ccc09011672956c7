"""What fairseq-smt-report reads of finished runs, and how it shows it.

runs         a run: its checkpoint, and what it was
logs, events what a run logged, from fairseq's log and from TensorBoard's files, as `curves`
settings     flags, beside their defaults and beside other runs'
pictures     figures as SVG that a page can hold in light and dark
page         all of it as one HTML file
"""
