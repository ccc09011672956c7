"""The label cache: a frozen teacher's memories m_t of every source position, on disk. See docs/reference/files.md.

codec         numbers on disk: float16, float32, bfloat16, int8
fingerprint   which data
manifest      what the labels are of, and what is compared
files         the files of one shard, atomic writes
writer        one shard, chunk by chunk, resumable
reader        all shards of a split, memory-mapped
dataset       labels joined to fairseq's samples (the only module here that imports fairseq)
"""
