"""Colors for classes."""

Color = tuple[int, int, int]

VOID: Color = (0, 0, 0)
"""The color of pixels without a class."""

# The 256 colors that the search in tests/reference/palette.py finds, in hexadecimal.
_TABLE = bytes.fromhex(
    """
    0072b2 e69f00 009e73 cc79a7 56b4e9 d55e00 f0e442 999999 663311 444455 99ff88 9922ee 330033 000077 00ffaa dd1144
    bbccdd 2233aa 7766dd ccaa66 990088 661122 331155 8899ff bb3300 aa5588 ccbbbb ff3377 dd7744 ddddcc 440022 553366
    ffbb66 aa55ff 88cc99 77ddff 99aacc bb00aa 7700ff 7733cc ddeeff 550077 994455 992233 8888cc aa7755 112200 884477
    001199 aa1100 ddcc00 995599 ff6633 5500bb 880099 77dd88 8866cc 223344 ffeecc dd4433 ffcc55 77ff99 442266 cc66aa
    441133 aabb44 aaff00 552200 aa9988 220044 220022 770033 997766 0000ff 44bb55 775522 ccaabb 441188 883344 ff44ff
    000055 7788ee cc88bb 663377 ddcccc 6622cc bbbbdd 335566 9999cc aa5555 eeeedd ccddee 9944ee 774499 99ddaa 888888
    550022 66cc77 dd11bb 44ccee ddbb33 556666 cc2233 88ee77 440066 bb6699 994488 881133 660055 dd8855 bb5500 bb77bb
    661188 0099dd bbaaaa 664488 00ee99 001100 881155 447766 bb22bb 55dd77 8844dd 551199 88bb99 ccccbb 99cc55 8877cc
    7777dd dd9988 66aa44 8844ff 6677ee eedddd cc11aa 774422 77eeff 99dd44 ccee66 bb1133 ddff77 aa77dd ee1144 cc6688
    ddffee ccccee 331144 bb5599 995577 661177 aaaadd 77ee88 ee9933 772222 aa9900 8844cc 5500cc 8800bb cceeee 330011
    ee5533 884444 aa00aa 998811 8822ff 443311 bb99aa 33aa77 117733 aabbff aaee22 991100 ffff99 887744 aa0099 ddcc99
    ffdd55 110011 442211 ddaacc 6600dd aa99dd 77bb88 551133 0000bb aa8866 8800ee 9988ff 66aaee 331133 bb1155 6644dd
    eeaa22 ffee55 7799ee 44cccc bb7799 772244 001155 668877 880000 008833 330077 aaeebb 880077 338811 aa55bb dd5555
    770099 220033 aaaa77 9900aa 440000 8833bb 449900 bbbb88 dddd00 000088 88ff77 ffaa66 77bbee 6611bb dd11ff 441166
    6633bb cc33aa 0011dd ee0077 ff5577 bb9966 000044 99aa99 ccffff dd9955 eebb22 ff8844 ee44bb aa1177 7722dd 99ccee
    995511 aa55ee ddffbb 33cc55 33ddaa cc9933 44aacc 330066 aaaaff cc3355 4400aa 7744ee 773322 ff66bb aaffaa 225555
    """
)
_COLORS: tuple[Color, ...] = tuple(zip(_TABLE[::3], _TABLE[1::3], _TABLE[2::3], strict=True))

OKABE_ITO = _COLORS[:8]
"""The colors of Okabe and Ito, which color-blind people can distinguish. Gray replaces black, the color of void."""


def default_palette(n: int) -> tuple[Color, ...]:
    """Returns distinct colors for `n` classes, none of them black, chosen with color-blind people in mind.

    The first eight are Okabe and Ito's. Each further color is the one of 4,096 candidates that lies farthest from all
    colors before it, black and white. The distance is the smallest one in CIELAB for normal vision and for simulated
    protanopia, deuteranopia and tritanopia. The colors of up to 32 classes are as distinct as those of eight; for more
    than 64 classes add `borders` or names. A longer palette begins with the shorter ones. Colors after the first 256
    are only guaranteed to be distinct.

    Args:
        n: Number of classes.

    Returns:
        `n` RGB triples, values 0 to 255.

    Reference:
        Okabe and Ito, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/

    Example:
        >>> from kseg.visualize import default_palette
        >>> default_palette(2)
        ((0, 114, 178), (230, 159, 0))
        >>> len(set(default_palette(1000)))
        1000
    """
    colors = dict.fromkeys(_COLORS[:n])
    code = 0
    while len(colors) < n:
        code = (code + 0x9E3779) % 2**24  # the step is odd: every color comes once, black last
        colors[code >> 16, code >> 8 & 255, code & 255] = None
    return tuple(colors)
