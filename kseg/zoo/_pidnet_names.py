"""Names of the tensors of PIDNet in the repository of its authors."""

from kseg import checkpoints


def _block_rules(module: str, path: str) -> list[tuple[str, str]]:
    return [
        (rf"{module}\.conv(\d)", rf"encoder/{path}_conv\1"),
        (rf"{module}\.bn(\d)", rf"encoder/{path}_norm\1"),
        (rf"{module}\.downsample\.0", f"encoder/{path}_shortcut_conv"),
        (rf"{module}\.downsample\.1", f"encoder/{path}_shortcut_norm"),
    ]


def _pair(module: str, path: str, first: int = 0) -> list[tuple[str, str]]:
    return [(rf"{module}\.{first}", f"{path}_conv"), (rf"{module}\.{first + 1}", f"{path}_norm")]


def _inner(module: str, path: str) -> list[tuple[str, str]]:
    return [(rf"{module}\.0", f"{path}/conv"), (rf"{module}\.1", f"{path}/norm")]


def _preactivated(module: str, path: str, first: int = 0) -> list[tuple[str, str]]:
    return [(rf"{module}\.{first}", f"{path}/norm"), (rf"{module}\.{first + 2}", f"{path}/conv")]


def _head_rules(module: str, path: str) -> list[tuple[str, str]]:
    names = {"bn1": f"{path}_conv/norm", "conv1": f"{path}_conv/conv", "bn2": f"{path}_norm", "conv2": f"{path}/conv"}
    return [(rf"{module}\.{theirs}", ours) for theirs, ours in names.items()]


RULES: checkpoints.Rules = [
    *_pair(r"conv1", "encoder/stem1"),
    *_pair(r"conv1", "encoder/stem2", 3),
    *(
        rule
        for stage in range(1, 6)
        for index in range(4)
        for ending, branch in (("", ""), ("_", "p_"), ("_d", "d_"))
        for rule in _block_rules(rf"layer{stage}{ending}\.{index}", f"{branch}layer{stage}_{index}")
    ),
    *(rule for stage in (3, 4) for rule in _block_rules(rf"layer{stage}_d", f"d_layer{stage}")),
    *(
        rule
        for stage in (3, 4)
        for rule in (
            *_pair(rf"compression{stage}", f"encoder/compress{stage}"),
            *_pair(rf"diff{stage}", f"encoder/diff{stage}"),
            *_inner(rf"pag{stage}\.f_x", f"encoder/guide{stage}/fine"),
            *_inner(rf"pag{stage}\.f_y", f"encoder/guide{stage}/coarse"),
        )
    ),
    *_preactivated(r"spp\.scale0", "encoder/pool_scale0"),
    *(rule for i in range(1, 5) for rule in _preactivated(rf"spp\.scale{i}", f"encoder/pool_scale{i}", 1)),
    *(rule for i in range(1, 5) for rule in _preactivated(rf"spp\.process{i}", f"encoder/pool_process{i}")),
    *_preactivated(r"spp\.scale_process", "encoder/pool_process"),
    *_preactivated(r"spp\.compression", "encoder/pool_compress"),
    *_preactivated(r"spp\.shortcut", "encoder/pool_shortcut"),
    *_inner(r"dfm\.conv_p", "fuse/detail"),
    *_inner(r"dfm\.conv_i", "fuse/context"),
    *_preactivated(r"dfm\.conv", "fuse/mixed"),
    *_head_rules(r"final_layer", "head"),
    *_head_rules(r"seghead_p", "auxiliary"),
    *_head_rules(r"seghead_d", "boundary"),
]
"""From the modules of the authors' repository, XuJiacong/PIDNet, to the layers of `pidnet`."""
