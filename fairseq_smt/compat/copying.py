"""Copies of checkpoints that are whole or absent.

fairseq writes `checkpoint_last.pt` as a copy over the old file; a run killed meanwhile would have lost both.
"""

import os
import shutil

from fairseq.file_io import PathManager


def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
    """`PathManager.copy` for local files: the destination is the old file or the new one, never a part of it."""
    partial = f"{dst_path}.partial"
    shutil.copyfile(src_path, partial)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, dst_path)
    return True


_copy = PathManager.copy


def _copy_local_or_remote(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
    remote = any(PathManager.path_requires_pathmanager(path) for path in (src_path, dst_path))
    return (_copy if remote else copy_whole)(src_path, dst_path, overwrite=overwrite)


PathManager.copy = staticmethod(_copy_local_or_remote)
