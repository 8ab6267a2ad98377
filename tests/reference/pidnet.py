"""PIDNet in PyTorch, with the names of tensors of the authors' repository; returns its three outputs at stride 8.

Written after the paper. The authors' in-place ReLUs also change what their auxiliary heads get; here, they are calls.
"""

import torch
from torch import nn
from torch.nn import functional


def pair(channels, filters, side=1, stride=1, bias=False):
    """Convolution, normalization."""
    return nn.Sequential(nn.Conv2d(channels, filters, side, stride, side // 2, bias=bias), nn.BatchNorm2d(filters))


def behind(channels, filters, side=1, *, before=(), groups=1):
    """Normalization, ReLU, convolution."""
    conv = nn.Conv2d(channels, filters, side, padding=side // 2, groups=groups, bias=False)
    return nn.Sequential(*before, nn.BatchNorm2d(channels), nn.ReLU(), conv)


def enlarged(x, like, align_corners=False):
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=align_corners)


class Block(nn.Module):
    """Convolutions of these widths and kernel sizes, added to the input or its projection."""

    def __init__(self, channels, form, stride=1, relu=False):
        super().__init__()
        self.relu, self.count = relu, len(form)
        strided = next(i for i, (_, side) in enumerate(form) if side == 3)
        self.downsample = pair(channels, form[-1][0], 1, stride) if stride > 1 or channels != form[-1][0] else None
        for i, (width, side) in enumerate(form):
            step = stride if i == strided else 1
            setattr(self, f"conv{i + 1}", nn.Conv2d(channels, width, side, step, side // 2, bias=False))
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(width))
            channels = width

    def forward(self, x):
        entry = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = torch.relu(x) if i < self.count else x + entry
        return torch.relu(x) if self.relu else x


def stage(channels, width, repeats, stride=1):
    blocks = [
        Block(width if i else channels, [(width, 3)] * 2, 1 if i else stride, relu=i < repeats - 1)
        for i in range(repeats)
    ]
    return nn.Sequential(*blocks)


def bottlenecks(channels, width, repeats=1, stride=1):
    form = [(width, 1), (width, 3), (2 * width, 1)]
    return nn.Sequential(*(Block(2 * width if i else channels, form, 1 if i else stride) for i in range(repeats)))


class Pag(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.f_x, self.f_y = pair(channels, width), pair(channels, width)

    def forward(self, fine, coarse):
        share = torch.sigmoid((self.f_x(fine) * enlarged(self.f_y(coarse), fine)).sum(1, keepdim=True))
        return (1 - share) * fine + share * enlarged(coarse, fine)


class Pooling(nn.Module):
    """PAPPM, or DAPPM in series."""

    def __init__(self, channels, width, filters, series):
        super().__init__()
        self.series = series
        pools = [nn.AvgPool2d(2 ** (i + 1) + 1, 2**i, 2**i) for i in (1, 2, 3)] + [nn.AdaptiveAvgPool2d(1)]
        self.scale0 = behind(channels, width)
        for i, pool in enumerate(pools, start=1):
            setattr(self, f"scale{i}", behind(channels, width, before=[pool]))
            if series:
                setattr(self, f"process{i}", behind(width, width, 3))
        if not series:
            self.scale_process = behind(4 * width, 4 * width, 3, groups=4)
        self.compression, self.shortcut = behind(5 * width, filters), behind(channels, filters)

    def forward(self, x):
        maps = [self.scale0(x)]
        for i in range(1, 5):
            y = enlarged(getattr(self, f"scale{i}")(x), x)
            maps.append(getattr(self, f"process{i}")(y + maps[-1]) if self.series else y + maps[0])
        if not self.series:
            maps[1:] = [self.scale_process(torch.cat(maps[1:], 1))]
        return self.compression(torch.cat(maps, 1)) + self.shortcut(x)


class Bag(nn.Module):
    def __init__(self, channels, light):
        super().__init__()
        self.light = light
        if light:
            self.conv_p, self.conv_i = pair(channels, channels), pair(channels, channels)
        else:
            self.conv = behind(channels, channels, 3)

    def forward(self, p, i, d):
        edge = torch.sigmoid(d)
        if self.light:
            return self.conv_p(p + (1 - edge) * i) + self.conv_i(i + edge * p)
        return self.conv(edge * p + (1 - edge) * i)


class Head(nn.Module):
    def __init__(self, channels, width, filters):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, filters, 1)

    def forward(self, x):
        return self.conv2(torch.relu(self.bn2(self.conv1(torch.relu(self.bn1(x))))))


class PIDNet(nn.Module):
    def __init__(self, classes, width, shallow, deep, pool_width, head_width):
        super().__init__()
        c, large = width, shallow > 2
        one, two = pair(3, c, 3, 2, bias=True), pair(c, c, 3, 2, bias=True)
        self.conv1 = nn.Sequential(*one, nn.ReLU(), *two, nn.ReLU())
        self.layer1, self.layer2 = stage(c, c, shallow), stage(c, 2 * c, shallow, 2)
        self.layer3, self.layer4 = stage(2 * c, 4 * c, deep, 2), stage(4 * c, 8 * c, deep, 2)
        self.layer5 = bottlenecks(8 * c, 8 * c, 2, 2)
        self.compression3, self.compression4 = pair(4 * c, 2 * c), pair(8 * c, 2 * c)
        self.pag3, self.pag4 = Pag(2 * c, c), Pag(2 * c, c)
        self.layer3_, self.layer4_ = stage(2 * c, 2 * c, shallow), stage(2 * c, 2 * c, shallow)
        self.layer5_, self.layer5_d = bottlenecks(2 * c, 2 * c), bottlenecks(2 * c, 2 * c)
        self.layer3_d = Block(2 * c, [(2 * c if large else c, 3)] * 2)
        self.layer4_d = Block(2 * c, [(2 * c, 3)] * 2) if large else bottlenecks(c, c)
        self.diff3, self.diff4 = pair(4 * c, 2 * c if large else c, 3), pair(8 * c, 2 * c, 3)
        self.spp = Pooling(16 * c, pool_width, 4 * c, series=large)
        self.dfm = Bag(4 * c, light=not large)
        self.seghead_p, self.seghead_d = Head(2 * c, head_width, classes), Head(2 * c, c, 1)
        self.final_layer = Head(4 * c, head_width, classes)

    def forward(self, image):
        x = torch.relu(self.layer2(torch.relu(self.layer1(self.conv1(image)))))
        p, d = self.layer3_(x), self.layer3_d(x)
        x = torch.relu(self.layer3(x))
        p = torch.relu(self.pag3(p, self.compression3(x)))
        d = torch.relu(d + enlarged(self.diff3(x), d))
        early_p = p
        x = torch.relu(self.layer4(x))
        p = torch.relu(self.pag4(self.layer4_(p), self.compression4(x)))
        d = self.layer4_d(d)
        d = early_d = torch.relu(d + enlarged(self.diff4(x), d))
        p, d = self.layer5_(p), self.layer5_d(d)
        x = self.final_layer(self.dfm(p, enlarged(self.spp(self.layer5(x)), p), d))
        return [enlarged(each, image, True) for each in (x, self.seghead_p(early_p), self.seghead_d(early_d))]
