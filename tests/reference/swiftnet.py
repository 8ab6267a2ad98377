"""SwiftNet in PyTorch, with the names of tensors of the authors' repository; images are normalized outside or inside.

Written after the paper. Features leave a stage behind its ReLU, but before it with `level_norms`.
"""

import torch
from torch import nn
from torch.nn import functional


def enlarged(x, like):
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def unit(channels, filters, side, bias=False):
    """Normalization, ReLU, convolution."""
    parts = {
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "conv": nn.Conv2d(channels, filters, side, padding=side // 2, bias=bias),
    }
    sequence = nn.Sequential()
    for name, part in parts.items():
        sequence.add_module(name, part)
    return sequence


class Block(nn.Module):
    def __init__(self, channels, filters, stride, levels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        norms = [nn.ModuleList(nn.BatchNorm2d(filters) for _ in range(max(levels, 1))) for _ in range(2)]
        self.bn1, self.bn2 = norms if levels else (norms[0][0], norms[1][0])
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
            )

    def forward(self, x, level):
        one, two = (each[level] if isinstance(each, nn.ModuleList) else each for each in (self.bn1, self.bn2))
        entry = x if self.downsample is None else self.downsample(x)
        return two(self.conv2(torch.relu(one(self.conv1(x))))) + entry


class Backbone(nn.Module):
    """ResNet-18 with the decoder of one size of the image (`pyramid=1`) or of a pyramid."""

    def __init__(self, pyramid, level_norms, filters, inside):
        super().__init__()
        levels = pyramid if level_norms else 0
        self.pyramid, self.level_norms, self.inside = pyramid, level_norms, inside
        if inside:
            self.register_buffer("img_mean", torch.tensor([70.0, 80.0, 75.0]).view(1, 3, 1, 1))
            self.register_buffer("img_std", torch.tensor([45.0, 46.0, 47.0]).view(1, 3, 1, 1))
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.ModuleList(nn.BatchNorm2d(64) for _ in range(levels)) if levels else nn.BatchNorm2d(64)
        widths = [64, 64, 128, 256, 512]
        for stage in range(1, 5):
            before, width = widths[stage - 1], widths[stage]
            blocks = Block(before, width, 1 if stage == 1 else 2, levels), Block(width, width, 1, levels)
            setattr(self, f"layer{stage}", nn.ModuleList(blocks))
        if pyramid > 1:
            lateral = (
                (lambda c: nn.Conv2d(c, filters, 1, bias=False)) if level_norms else (lambda c: unit(c, filters, 3))
            )
            self.upsample_bottlenecks = nn.ModuleList(lateral(width) for width in (512, 256, 128, 64))
            self.upsample_blends = nn.ModuleList(self.blend(filters) for _ in range(pyramid + 2))
        else:
            self.spp = nn.Module()
            self.spp.spp = nn.Sequential()
            self.spp.spp.add_module("spp_bn", unit(512, filters, 1))
            for index in range(3):
                self.spp.spp.add_module(f"spp{index}", unit(filters, filters // 3, 1))
            self.spp.spp.add_module("spp_fuse", unit(filters + 3 * (filters // 3), filters, 1))
            self.upsample = nn.ModuleList(self.blend(filters) for _ in range(3))
            for part, width in zip(self.upsample, (256, 128, 64), strict=True):
                part.bottleneck = unit(width, filters, 1)

    @staticmethod
    def blend(filters):
        part = nn.Module()
        part.blend_conv = unit(filters, filters, 3)
        return part

    def features(self, x, level=0):
        norm = self.bn1[level] if self.level_norms else self.bn1
        x = functional.max_pool2d(torch.relu(norm(self.conv1(x))), 3, 2, 1)
        found = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                before = block(x, level)
                x = torch.relu(before)
            found.append(before if self.level_norms else x)
        return found

    def forward(self, image):
        if self.inside:
            image = (image - self.img_mean) / self.img_std
        if self.pyramid == 1:
            *finer, coarsest = self.features(image)
            x = self.pooled(coarsest)
            laterals = [part.bottleneck(each) for part, each in zip(self.upsample, finer[::-1], strict=True)]
            return self.up(x, laterals, self.upsample)
        sums = {}
        for level in range(self.pyramid):
            x = image
            if level:
                x = functional.interpolate(image, scale_factor=0.5**level, mode="bicubic", align_corners=False)
            for place, feature in enumerate(self.features(x, level)):
                lateral = self.upsample_bottlenecks[3 - place](feature)
                key = level + place
                sums[key] = sums[key] + lateral if key in sums else lateral
        coarsest, *laterals = [sums[key] for key in sorted(sums, reverse=True)]
        return self.up(coarsest, laterals, self.upsample_blends)

    @staticmethod
    def up(x, laterals, parts):
        for lateral, part in zip(laterals, parts, strict=True):
            x = part.blend_conv(enlarged(x, lateral) + lateral)
        return x

    def pooled(self, x):
        project, *parts, fuse = self.spp.spp
        x = project(x)
        shape = x.shape[3] / x.shape[2]
        maps = [x]
        for rows, part in zip((8, 4, 2), parts, strict=True):
            means = functional.adaptive_avg_pool2d(x, (rows, max(1, round(shape * rows))))
            maps.append(enlarged(part(means), x))
        return fuse(torch.cat(maps, 1))


class SwiftNet(nn.Module):
    def __init__(self, classes, *, pyramid=1, level_norms=False, filters=12, side=3, inside=False):
        super().__init__()
        self.backbone = Backbone(pyramid, level_norms, filters, inside)
        self.logits = unit(filters, classes, side, bias=side == 1)

    def forward(self, image):
        return enlarged(self.logits(self.backbone(image)), image)
