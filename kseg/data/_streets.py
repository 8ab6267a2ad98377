"""Streets: drawn road scenes for tests, first steps and comparisons, without a download."""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from kseg.data.dataset import MEMORY_LIMIT, Dataset
from kseg.data.scene import Color, Scene, smooth_noise

CLASSES = ("sky", "building", "road", "pavement", "tree", "car", "pole", "pedestrian")
PALETTE = (
    (128, 128, 128), (128, 0, 0), (128, 64, 128), (60, 40, 222), (128, 128, 0), (64, 0, 128), (192, 192, 128),
    (64, 64, 0),
)  # fmt: skip
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, POLE, PEDESTRIAN = range(8)
SPLITS = {"train": 240, "val": 40, "test": 60}

NEAR, FAR, BEYOND = 2.0, 90.0, 400.0  # meters from the camera: nearest visible ground, end of the street, horizon
ROUGHNESS = np.array([1.0, 6.0, 7.0, 9.0, 17.0, 3.0, 3.0, 5.0], np.float32)  # of each class, in gray levels
PAINT = ((172, 28, 32), (28, 62, 138), (214, 214, 218), (36, 38, 44), (196, 150, 30), (36, 110, 84), (120, 124, 130))
CLOTH = ((214, 44, 52), (240, 190, 40), (40, 90, 200), (232, 110, 30), (190, 60, 160), (30, 160, 150), (235, 235, 230))
WALLS = ((178, 134, 110), (196, 178, 150), (152, 96, 78), (170, 168, 164), (208, 196, 176), (140, 120, 108))
GLASS, LEAVES, TRUNK, MARKING = (74, 86, 104), (62, 98, 44), (84, 66, 48), (214, 212, 205)

Brush = tuple[float, Callable[[], None]]  # the distance of an object and the function that draws it


class Streets(Dataset):
    """A split of drawn road scenes; see `streets`."""

    marks_void = True

    def __init__(self, split: str, size: tuple[int, int], count: int | None, memory_limit: int) -> None:
        super().__init__("streets", CLASSES, PALETTE, memory_limit=memory_limit)
        if split not in SPLITS:
            raise ValueError(f"streets: unknown split {split!r}; there are {', '.join(SPLITS)}")
        if min(size) < 32:
            raise ValueError(f"streets: size must be (height, width), both 32 or more, got {size}")
        self.split, self.image_size = split, (int(size[0]), int(size[1]))
        self.count = SPLITS[split] if count is None else count

    def __len__(self) -> int:
        return self.count

    def identifier(self, index: int) -> str:
        return f"{self.split}-{index:05d}"

    def size(self, index: int) -> tuple[int, int]:
        return self.image_size

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return draw(np.random.default_rng([list(SPLITS).index(self.split), index]), self.image_size)


def streets(
    split: str, *, size: tuple[int, int] = (128, 160), count: int | None = None, memory_limit: int = MEMORY_LIMIT
) -> Streets:
    """Opens a split of drawn road scenes with 8 classes and thin void borders (255) between objects.

    Args:
        split: `"train"` (240 images), `"val"` (40) or `"test"` (60).
        size: Height and width of the images.
        count: Number of images, if not the split's default. It does not change what image i shows.
        memory_limit: Bytes of drawn images to keep in memory.

    Returns:
        A data set of uint8 images `(H, W, 3)` and labels `(H, W)`.

    Raises:
        ValueError: If the split is unknown or the size is below 32.

    Example:
        >>> image, label = streets("train", size=(64, 96))[3]
        >>> image.shape, label.shape
        ((64, 96, 3), (64, 96))
    """
    return Streets(split, size, count, memory_limit)


def draw(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws one scene and returns its image and label."""
    scene = Scene(rng, size, SKY)
    ground(scene)
    houses = list(buildings(scene))
    things = [*trees(scene), *cars(scene), *poles(scene), *pedestrians(scene)]
    for row in (houses, things):  # all other objects are in front of the houses
        for _, brush in sorted(row, key=lambda item: -item[0]):  # far to near
            brush()
    return scene.finish(ROUGHNESS, (ROAD, PAVEMENT))


def ground(scene: Scene) -> None:
    """Draws the sky, the pavement, the road with its markings, and the shadow of the houses."""
    rng = scene.rng
    top, low = rng.uniform((70, 110, 165), (135, 165, 225)), rng.uniform((190, 200, 205), (235, 232, 235))
    ramp = np.linspace(0, 1, max(2, int(scene.horizon) + 2))[:, None]
    sky = ((1 - ramp) * top + ramp * low)[:, None, :].repeat(scene.width, 1)
    clouds = np.clip(smooth_noise(rng, (4, 6), sky.shape[:2]) - rng.uniform(0.1, 0.6), 0, 1)[..., None]
    scene.image.paste(Image.fromarray(np.clip(sky + clouds * (250 - sky), 0, 255).astype(np.uint8)), (0, 0))

    slabs, asphalt = scene.tint((168, 158, 146), 9), scene.tint((92, 92, 97), 8)
    scene.floor((-60, 60), (NEAR, BEYOND), slabs, PAVEMENT)
    for z in np.geomspace(3.5, 40, 14):  # joints between the slabs
        scene.floor((-60, 60), (z, z * 1.012), slabs * 0.86)
    left, right = scene.road
    scene.floor((left, right), (NEAR, BEYOND), asphalt, ROAD)
    for curb in scene.road:
        scene.floor((curb - 0.1, curb + 0.1), (NEAR, BEYOND / 2), slabs * 1.15)
    middle = (left + right) / 2
    for z in np.arange(NEAR + rng.uniform(0, 4), 45, 5.0):
        scene.floor((middle - 0.08, middle + 0.08), (z, z + 2.4), MARKING)
    if rng.random() < 0.3:  # a crossing
        z = rng.uniform(7, 15)
        for x in np.arange(left + 0.3, right - 0.5, 1.0):
            scene.floor((x, x + 0.5), (z, z + 2.5), MARKING)
    sunny = scene.walls[0 if scene.sun < 0 else 1]
    scene.shadow((sunny, sunny - scene.sun * rng.uniform(0.0, 7.0)), (NEAR, BEYOND / 2))


def buildings(scene: Scene) -> Iterator[Brush]:
    """Yields the rows of houses on both sides, and the houses or trees at the end of the street."""
    rng = scene.rng
    height = rng.uniform(4, 14)
    color = scene.tint(WALLS[rng.integers(len(WALLS))]) * 0.5 + 95  # pale with distance
    label = BUILDING if rng.random() < 0.6 else TREE
    if label == TREE:
        color = scene.tint((96, 122, 92), 8)
    yield BEYOND, lambda: scene.box((-70, 70), (0, height), FAR, color, label)
    for side, x in zip((-1, 1), scene.walls, strict=True):
        z = rng.uniform(2.2, 8)
        while z < FAR:
            depth = rng.uniform(7, 18)
            yield z, house(scene, side, x, (z, z + depth), rng.uniform(5, 15))
            z += depth + (rng.uniform(2.5, 10) if rng.random() < 0.35 else 0)


def house(scene: Scene, side: int, x: float, z: tuple[float, float], height: float) -> Callable[[], None]:
    rng = scene.rng
    wall = scene.tint(WALLS[rng.integers(len(WALLS))], 12)
    light = 1.08 if side != scene.sun else 0.74
    glass = scene.tint(GLASS, 12) * light
    floors, bays = max(1, int(height / 3.1)), max(1, int((z[1] - z[0]) / rng.uniform(2.4, 3.6)))

    def brush() -> None:
        gable = [(x, 0.0, z[0]), (x, height, z[0]), (x + side * 25, height, z[0]), (x + side * 25, 0.0, z[0])]
        scene.surface(gable, wall * 0.88, BUILDING)
        scene.wall(x, (0, height), z, wall * light, BUILDING)
        if z[0] > 45:
            return
        scene.wall(x, (height - 0.4, height), z, wall * light * 0.8)  # the eaves
        bay = (z[1] - z[0]) / bays
        for column in range(bays):
            pane = (z[0] + (column + 0.25) * bay, z[0] + (column + 0.75) * bay)
            for story in range(floors):
                door = story == 0 and column % 3 == 1
                scene.wall(x, (0, 2.1) if door else (story * 3 + 0.9, story * 3 + 2.3), pane, glass)

    return brush


def trees(scene: Scene) -> Iterator[Brush]:
    """Yields trees on the pavements."""
    rng = scene.rng
    for _ in range(rng.integers(3, 8)):
        side, z = int(rng.integers(2)), rng.uniform(7, 38)
        x = (scene.road[side] + scene.walls[side]) / 2 + rng.uniform(-0.6, 0.6)
        yield z, tree(scene, x, z, rng.uniform(4.5, 8), rng.uniform(1.2, 2.2))


def tree(scene: Scene, x: float, z: float, height: float, radius: float) -> Callable[[], None]:
    rng = scene.rng
    leaves, trunk = scene.tint(LEAVES, 10), scene.tint(TRUNK, 6)
    tufts = rng.normal(0, 0.55, (9, 2)) * radius
    sizes, lights = rng.uniform(0.45, 0.8, 9) * radius, rng.uniform(0.75, 1.25, 9)
    scene.cast(x, z, 0.2, 2.0)
    scene.cast(x - scene.sun * 2.5, z, radius * 0.9, 1.5)

    def brush() -> None:
        scene.box((x - 0.17, x + 0.17), (0, height - radius), z, trunk, TREE)
        for (dx, dy), size, light in zip(tufts, sizes, lights, strict=True):
            across, y = x + dx, height - radius + dy
            color = leaves * (light * (1 + 0.2 * scene.sun * dx / radius))
            scene.box((across - size, across + size), (y - size, y + size), z, color, TREE, oval=True)

    return brush


def cars(scene: Scene) -> Iterator[Brush]:
    """Yields cars in both lanes and parked at both curbs, without overlap."""
    rng = scene.rng
    left, right = scene.road
    lanes = ((3 * left + right) / 4, (left + 3 * right) / 4, left + 1.0, right - 1.0)
    taken: list[tuple[float, float]] = []
    for _ in range(rng.integers(2, 6)):
        x, z = lanes[rng.integers(4)] + rng.uniform(-0.2, 0.2), rng.uniform(6.5, 26)
        if all(abs(z - ahead) > 6 or abs(x - beside) > 2.2 for beside, ahead in taken):
            taken.append((x, z))
            yield z, car(scene, x, z)


def car(scene: Scene, x: float, z: float) -> Callable[[], None]:
    rng = scene.rng
    body = scene.tint(PAINT[rng.integers(len(PAINT))], 8)
    half, height, back = rng.uniform(0.85, 0.98), rng.uniform(1.4, 1.75), z + rng.uniform(3.6, 4.6)
    oncoming = x < sum(scene.road) / 2
    scene.cast(x, z + 0.3, half, 1.2)
    scene.shadow((x - half, x + half), (z - 0.3, back), 90)

    def brush() -> None:
        flank = x - half if x > 0 else x + half  # the side facing the camera
        roof, waist = x + 0.8 * (flank - x), height * 0.58
        scene.wall(flank, (0.25, waist), (z, back), body * 0.72, CAR)
        windows = [(flank, waist, z), (roof, height, z + 0.5), (roof, height, back - 1.2), (flank, waist, back - 0.3)]
        scene.surface(windows, (40, 46, 56), CAR)
        for wheel in (x - half * 0.72, x + half * 0.72):
            scene.box((wheel - 0.16, wheel + 0.16), (0, 0.5), z, (22, 22, 24), CAR)
        scene.box((x - half, x + half), (0.25, waist), z, body, CAR)
        scene.front(x, (waist, height), z, (half * 0.95, half * 0.75), body * 0.9, CAR)
        scene.front(x, (waist, height - 0.12), z, (half * 0.8, half * 0.66), (52, 62, 76))
        for lamp in (x - half * 0.8, x + half * 0.8):
            color: Color = (245, 240, 215) if oncoming else (205, 24, 24)
            scene.box((lamp - 0.14, lamp + 0.14), (waist - 0.28, waist - 0.08), z, color, CAR)

    return brush


def poles(scene: Scene) -> Iterator[Brush]:
    """Yields lamp posts at the curbs."""
    rng = scene.rng
    for _ in range(rng.integers(3, 6)):
        side = int(rng.integers(2))
        outward = 1 if side else -1
        x, z = scene.place_in_view((scene.road[side], scene.road[side] + 0.7 * outward), (6, 16))
        yield z, pole(scene, x, z, outward, rng.uniform(3.5, 6.5))


def pole(scene: Scene, x: float, z: float, outward: int, height: float) -> Callable[[], None]:
    color = scene.tint((60, 66, 66) if scene.rng.random() < 0.6 else (188, 188, 182), 8)
    unit = scene.width / 160
    width = max(1, round(float(np.clip(scene.pixels(0.22, z), 2 * unit, 4 * unit))))  # wide enough to be visible
    scene.cast(x, z, 0.12, 4.0)

    def brush() -> None:
        (center, top), (_, bottom) = scene.at(x, height, z), scene.at(x, 0, z)
        left = round(center - width / 2)
        scene.frame((left, top, left + width - 1, bottom), color, POLE)
        tip = center - outward * scene.pixels(0.9, z)
        scene.frame((min(center, tip), top, max(center, tip), top + max(1, width // 2)), color, POLE)

    return brush


def pedestrians(scene: Scene) -> Iterator[Brush]:
    """Yields people, most of them on the pavements."""
    rng = scene.rng
    for _ in range(rng.integers(3, 7)):
        side = int(rng.integers(2))
        inner, outer = sorted((scene.road[side], scene.walls[side])) if rng.random() >= 0.2 else scene.road
        x, z = scene.place_in_view((inner + 0.4, outer - 0.4), (7.5, 12.5))
        yield z, pedestrian(scene, x, z)


def pedestrian(scene: Scene, x: float, z: float) -> Callable[[], None]:
    rng = scene.rng
    coat, trousers = scene.tint(CLOTH[rng.integers(len(CLOTH))], 8), scene.tint((52, 54, 74), 12)
    skin, height, stride = scene.tint((196, 150, 122), 18), rng.uniform(1.6, 1.9), rng.uniform(0.08, 0.2)
    scene.cast(x, z, 0.25, 1.6)

    def brush() -> None:
        for leg in (x - stride, x + stride):
            scene.box((leg - 0.13, leg + 0.13), (0, height * 0.5), z, trousers, PEDESTRIAN)
        scene.box((x - 0.3, x + 0.3), (height * 0.43, height * 0.84), z, coat, PEDESTRIAN)
        scene.box((x - 0.15, x + 0.15), (height * 0.83, height), z, skin, PEDESTRIAN, oval=True)

    return brush
