"""Sizes by name: the architectures of `--arch`. `fairseq_smt/config` holds a recipe of the same name for each."""

from typing import Any

from fairseq.models import register_model_architecture

PRESETS: dict[str, dict[str, Any]] = {
    # a model for tests, which trains in seconds
    "smt_lm_tiny": dict(
        memory_tokens=2,
        memory_width=16,
        cell_hidden=32,
        cell_layers=1,
        cell_heads=2,
        trunk_width=32,
        trunk_layers=1,
        trunk_heads=2,
        futures=4,
        future_width=16,
        future_heads=2,
    ),
    # the demo's model: the defaults of `SmtLanguageModelConfig`
    "smt_lm_small": {},
    # for a GPU and hours
    "smt_lm_base": dict(
        memory_tokens=8,
        memory_width=128,
        cell_hidden=2048,
        readout_hidden=1024,
        trunk_width=512,
        trunk_layers=6,
        trunk_heads=8,
        futures=32,
        future_width=256,
        future_layers=2,
        future_heads=4,
    ),
    # the paper's text model: K 16, d 256, encoder 8, decoder 4, cell 8 layers, 8 heads, contexts of 256, futures of 64
    "smt_lm_paper": dict(
        memory_tokens=16,
        memory_width=256,
        cell="transformer",
        cell_layers=8,
        cell_heads=8,
        memory_head="window",
        teacher_window=256,
        trunk_width=256,
        trunk_layers=8,
        trunk_heads=8,
        futures=64,
        future_width=256,
        future_layers=4,
        future_heads=8,
    ),
}

LOSSES: dict[str, dict[str, Any]] = {
    # L_dec + 0.1 L_dyn + 0.001 L_unif of one pair per block; the readout, which the paper copies out of its decoder, is
    # trained beside it
    "smt_lm_paper": dict(
        future_weight=1.0,
        readout_weight=1.0,
        trunk_weight=0.0,
        dynamics_weight=0.1,
        uniformity_weight=0.001,
        label_pairs=1,
        future_positions=1,
        readout_positions=1,
        dynamics_ramp_updates=0,
    ),
}
"""Options of criterion `smt` that an architecture brings along; a flag on the command line comes first."""


def _register(arch: str) -> None:
    @register_model_architecture("smt_lm", arch)
    def fill(args) -> None:
        for name, value in {**PRESETS[arch], **LOSSES.get(arch, {})}.items():
            setattr(args, name, getattr(args, name, value))


for _arch in PRESETS:
    _register(_arch)
