r"""Rebuilds the object and backdrop pack of the demo world from the packages named in README.md.

    pip install OpenEXR pillow numpy scikit-learn resvg_py==0.5.0
    npm pack @lobehub/fluent-emoji-3d@1.1.0 && npm pack @pmndrs/assets@1.7.0        (unpack both)
    npm pack @iconify-json/noto@1.2.9          (and noto-v1@1.2.5, twemoji@1.2.5, emojione@1.2.3,
                                                fxemoji@1.2.2: unpack each into icons/<its name>)
    apt-get download blender-data lomiri-wallpapers-16.04            (dpkg-deb -x both)
    python build_pack.py --emoji DIR --icons icons --pmndrs DIR --blender DIR --lomiri DIR \
        --sklearn DIR

Each DIR is the unpacked package; for scikit-learn the folder `sklearn` in site-packages.
"""

import argparse
import base64
import io
import json
import re
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

CELL = 112  # pixels: longest side of a cut-out
TEST_EVERY = 5  # one identity in five is held out
HERE = Path(__file__).parent

ACTORS = {
    "fruit": "🍇🍈🍉🍊🍋🍌🍍🥭🍎🍏🍐🍑🍒🍓🫐🥝🥥🫒🍅",
    "vegetable": "🥑🍆🥔🥕🌽🌶🫑🥒🥬🥦🧄🧅🫘🌰🫚🫛🍄🍠🥜🎃",
    "sport": "⚽⚾🥎🏀🏐🏈🏉🎾🥏🎳🏏🏑🏒🥍🏓🏸🥊🎱🛹🛼",
    "vehicle": "🚗🚕🚙🚌🚎🏎🚓🚑🚒🚐🛻🚚🚛🚜🛵🏍🛺🚲🛴🚋",
    "craft": "✈🛩🛫🛬🚁🚀🛸🛰🪂⛵🛶🚤🛳⛴🛥🚢🚠🚡🚟",
    "mammal": "🐒🦍🦧🐕🦮🐩🐈🐅🐆🐎🦌🦬🐂🐄🐖🐏🐑🐪🦙🦒🐘🦣🦏🦛",
    "bird": "🦃🐔🐓🐣🐤🐥🐦🐧🕊🦅🦆🦢🦉🦤🦩🦚🦜🪿",
    "sea life": "🐋🐳🐬🦭🐟🐠🐡🦈🐙🐚🪸🪼🦀🦞🦐🦑🐢🐊🦪🐸",
    "plant": "💐🌸🏵🌹🥀🌺🌻🌼🌷🪻🌱🪴🌲🌳🌴🌵🌾🌿🍀🍁🪷",
    "tool": "🔨🪓⛏⚒🛠🔪🔧🪛🔩⚙🗜🪚🧲🪜🔦🔬🔭🧰🪝🪣🧹✂📏📐",
    "instrument": "🎷🪗🎸🎹🎺🎻🪕🥁🪘🪇🪈🎤🎧📯🔔📻🎙🎚🎛📢",
    "sweet": "🍦🍧🍨🍩🍪🎂🍰🧁🥧🍫🍬🍭🍮🍯🍡🥮🍿🥠🧇🥞",
}
# Things that were added when the split was fixed: they are drawn in training clips only.
FURTHER = {
    "fruit": "🍋‍🟩",
    "vegetable": "🍄‍🟫 🫜",
    "sport": "🎿 ⛸ 🛷 🥌 🪁 🏹 🎣 🤿 🥅 ⛳ 🪃",
    "vehicle": "🚖 🚘 🚔 🚂 🚃 🚄 🚅 🚆 🚇 🚈 🚊 🚝 🚞 🦽 🦼",
    "mammal": (
        "🐵 🦊 🦝 🐱 🐈‍⬛ 🦁 🐯 🐴 🦓 🐗 🐷 🐭 🐹 🐰 🐇 🐁 🐀 🐿 🦫 🦔 🦇 🐺 🐻 🐻‍❄ "
        "🐨 🐼 🦥 🦦 🦨 🦘 🦡 🐃 🐫 🫎 🫏"
    ),
    "bird": "🐦‍⬛",
    "plant": "🎄 🎋 🎍 🍂 🍃",
    "tool": "🪏 🪠 🪒 🪥 🧯 🔑 🗝 🪤 🧷 🪡 📌 📎 ⚖ 🔍 🖌 🖍 ✏ 🖊 🖋 💉 🌡 🧭 🔌 🧮 🥄 🩺 🪮 🗡 ⛓ 🧽",
    "instrument": "📣 🪉 🛎 🪊",
    "sweet": "🥐",
}
# Each is a held-out thing in another pose, sex, colour or number (an apple, a rose, chicks, dogs, a
# cow, a bus, airliners, ships, a hammer, a ruler): it keeps the one drawing that it had.
LIKE_HELD_OUT = set("🍏🥀🐤🐥🦮🐩🐂🚎✈🛫🛳🚢🛠📏")
SETS = ("noto", "noto-v1", "twemoji", "emojione", "fxemoji")  # drawings by other hands
# Drawings with a rider, a background, a face or nothing but wind: not what the thing looks like.
UNFIT = {
    "fluent-emoji-3d": "📎",
    "noto-v1": "🍃",
    "emojione": "🍃🏍",
    "fxemoji": "⛵🚤🚋",
}

# Distractors come from kinds that never act, so the actor of a clip is never in doubt.
PROPS = "☕🫖🍵🍾🥤🧋🧃🏺👕👖🧤🧥🧦👗👜🎒👟👢👒🎩🧢👑🏠🏢🏦🏪🏭🏰⛪⛺🧸🎁🪅🎲🎯📷📺🕰💡💼📦🪑🛋☂🏆"

# Left out: sky (no ground), studio and sunrise (the same places as in blender-data).
PMNDRS = (
    "apartment bridge city dawn esplanade forest hall lab lobby night park sunset venice warehouse "
    "workshop"
).split()
BLENDER = "city courtyard forest interior night studio sunrise sunset".split()
LOMIRI = {  # landscapes of the package whose licence is not a share-alike one
    "aitzgorri_by_Aitzol_Berasategi": "CC-BY-4.0",
    "life_by_Aitzol_Berasategi": "CC-BY-4.0",
    "picosdeeuropa_by_Aitzol_Berasategi": "CC-BY-4.0",
    "seeding_by_Clements_Engelhardt": "CC0-1.0",
}
TEST_BACKDROPS = {
    "blender_courtyard",
    "lomiri_picosdeeuropa_by_Aitzol_Berasategi",
    "pmndrs_bridge",
    "pmndrs_dawn",
    "pmndrs_lobby",
    "pmndrs_park",
}
POST = (280, 112)  # rows, columns of one occluder


def code(thing):
    """Code points of an emoji, as the packages write them in names, without variation selectors."""
    return "-".join(f"{ord(char):04x}" for char in thing if char != "\ufe0f")


def find_emoji(folder, thing):
    """Path of the 3D still of one emoji, None where there is none."""
    names = {re.sub("-fe0f", "", path.stem): path for path in folder.glob("*.webp")}
    return names.get(code(thing))


def cut_out(file):
    """RGBA picture of one object: cropped to its alpha, longest side CELL, centred in a cell."""
    picture = Image.open(file).convert("RGBA")
    picture = picture.crop(picture.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())
    scale = CELL / max(picture.size)
    size = [max(1, round(side * scale)) for side in picture.size]
    picture = picture.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(picture, ((CELL - size[0]) // 2, (CELL - size[1]) // 2))
    return cell


def write_strip(file, cells, quality, alpha_quality):
    """Cells beside each other in one picture of the pack."""
    strip = Image.new("RGBA", (CELL * len(cells), CELL))
    for i, cell in enumerate(cells):
        strip.paste(cell, (CELL * i, 0))
    (HERE / file).parent.mkdir(parents=True, exist_ok=True)
    strip.save(HERE / file, quality=quality, alpha_quality=alpha_quality, method=6)


def write_sheet(emoji, name, chars):
    """The strip of the things that the split was fixed with; returns a category's index entry."""
    file = f"objects/{name.replace(' ', '_')}.webp"
    cells = [cut_out(find_emoji(emoji, char)) for char in chars]
    write_strip(file, cells, quality=85, alpha_quality=90)
    test = [i for i in range(len(chars)) if i % TEST_EVERY == TEST_EVERY - 2]
    return {"file": file, "identities": list(chars), "test": test}


class IconSet:
    """The drawings of one icon package, found by emoji."""

    def __init__(self, folder, names):
        self.icons = json.loads((folder / "icons.json").read_text())
        self.names = names

    def draw(self, thing):
        """The cut-out of an emoji, None where the set has no drawing of it."""
        import resvg_py

        found = next(filter(None, map(self._icon, self.names.get(code(thing), []))), None)
        if found is None:
            return None
        side = [found.get(key, self.icons[key]) for key in ("width", "height")]
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{4 * CELL}" height="{4 * CELL}" viewBox="0 0 {side[0]} {side[1]}">'
        )
        png = resvg_py.svg_to_bytes(svg_string=f"{svg}{found['body']}</svg>")
        return cut_out(io.BytesIO(bytes(png)))

    def _icon(self, name):
        alias = self.icons.get("aliases", {}).get(name, {})
        return self.icons["icons"].get(alias.get("parent", name))


def icon_names(icons):
    """What the icons of an emoji may be called; not all packages list codes, but names agree."""
    names = {}
    for package in ("noto", "twemoji"):
        chars = json.loads((icons / package / "chars.json").read_text())
        for key, name in chars.items():
            found = names.setdefault(re.sub("-fe0f", "", key), [])
            found += [name, name.replace("-", "")]  # fxemoji writes its names in one word
    return names


def drawers(args):
    """By set, what draws an emoji or returns None."""
    names = icon_names(args.icons)
    found = {name: IconSet(args.icons / name, names).draw for name in SETS}

    def still(thing):
        path = None if thing in "".join(ACTORS.values()) else find_emoji(args.emoji, thing)
        return path and cut_out(path)

    return {"fluent-emoji-3d": still} | found


def write_drawings(draw_by, name, entry):
    """Strips of what training clips show besides; returns their index entries."""
    held_out = {entry["identities"][i] for i in entry["test"]}
    things = [*entry["identities"], *FURTHER.get(name, "").split()]
    things = [thing for thing in things if thing not in held_out | LIKE_HELD_OUT]
    entries = []
    for drawn_by, draw in draw_by.items():
        fit = (thing for thing in things if thing not in UNFIT.get(drawn_by, ""))
        cells = {thing: cell for thing in fit if (cell := draw(thing))}
        if cells:
            file = f"objects/{drawn_by}/{name.replace(' ', '_')}.webp"
            write_strip(file, list(cells.values()), quality=60, alpha_quality=70)
            entries.append({"set": drawn_by, "file": file, "identities": list(cells)})
    return entries


def write_categories(args):
    """The index entries of all categories, with their strips."""
    draw_by, categories = drawers(args), {}
    for name, chars in ACTORS.items():
        entry = write_sheet(args.emoji, name, chars)
        categories[name] = entry | {"drawings": write_drawings(draw_by, name, entry)}
    return categories


def read_exr(data):
    """Linear RGB float32 (H, W, 3) of an EXR given as bytes."""
    import OpenEXR

    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(data)
        file.flush()
        return OpenEXR.File(file.name).channels()["RGB"].pixels.astype(np.float32)


def brightest_around(linear):
    """Per channel, the largest value in the 3 x 3 pixels around each pixel."""
    rows, columns = linear.shape[:2]
    edge = np.pad(linear, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return np.max([edge[y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0)


def fill_holes(linear):
    """Replaces broken pixels in and beside lamps and suns by the brightest of what is around.

    An earlier resize left negative ones there, and dark ones where a half float overflowed. Goes
    inwards from the rim of each hole, one pixel a round.
    """
    usual, low = np.median(linear), linear.min(-1)
    bright = brightest_around(linear).max(-1) > 20 * usual
    broken = (low < -0.02 * usual) | ((low < 0.3 * usual) & bright)
    linear = np.where(broken[..., None], 0, linear)
    while broken.any():
        around = brightest_around(linear)
        rim = broken & (around.min(-1) > 0)
        linear = np.where(rim[..., None], around, linear)
        broken &= ~rim
    return linear


def tone_map(linear):
    """8-bit sRGB of a panorama: exposure from the horizon band, suns capped, soft shoulder."""
    rows = len(linear)
    linear = linear[int(rows * 0.2) : int(rows * 0.8)]
    linear = np.nan_to_num(linear, nan=6e4, posinf=6e4)  # suns overflow half floats
    linear = fill_holes(linear)
    linear = np.clip(linear, 0, np.percentile(linear, 99.7))
    light = linear @ np.float32([0.2126, 0.7152, 0.0722]) + 1e-6
    exposed = light * (0.20 / np.exp(np.log(light).mean()))
    # Reinhard with a white point at the brightest percentile: nothing above it is left to burn.
    white = max(np.percentile(exposed, 98.0), 1.0)
    exposed = np.minimum(exposed, white)
    mapped = exposed * (1 + exposed / (1.3 * white) ** 2) / (1 + exposed)
    colour = linear / light[..., None] * mapped[..., None]
    colour = np.clip(colour / np.maximum(colour.max(-1, keepdims=True), 1), 0, 1)
    srgb = np.where(colour < 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
    return Image.fromarray((srgb * 255).round().astype(np.uint8))


def pmndrs_exr(folder, name):
    """Bytes of the EXR inside a `hdri/<name>.exr.js` module."""
    text = (folder / "hdri" / f"{name}.exr.js").read_text()
    return base64.b64decode(re.search(r"base64,([A-Za-z0-9+/=]+)", text).group(1))


def shrink(picture, height=288, widest=512):
    """A photo at `height` rows, cut to at most `widest` columns around its middle."""
    width = round(picture.width * height / picture.height)
    picture = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    left = max(0, (width - widest) // 2)
    return picture.crop((left, 0, min(width, left + widest), height))


def backdrops(args):
    """Yields (name, wraps, source, licence, picture) of every backdrop."""
    for name in BLENDER:
        file = args.blender / "usr/share/blender/datafiles/studiolights/world" / f"{name}.exr"
        yield f"blender_{name}", True, "blender-data", "CC0", tone_map(read_exr(file.read_bytes()))
    for name in PMNDRS:
        picture = tone_map(read_exr(pmndrs_exr(args.pmndrs, name)))
        yield f"pmndrs_{name}", True, "@pmndrs/assets", "CC0", picture
    for name, licence in LOMIRI.items():
        picture = Image.open(args.lomiri / "usr/share/backgrounds" / f"{name}.jpg")
        yield f"lomiri_{name}", False, "lomiri-wallpapers-16.04", licence, shrink(picture)
    for name in ("china", "flower"):
        picture = Image.open(args.sklearn / "datasets/images" / f"{name}.jpg")
        yield f"sklearn_{name}", False, "scikit-learn", "CC-BY-2.0", shrink(picture)


def write_backdrops(args):
    """Writes every backdrop and returns their index entries."""
    entries = []
    for name, wraps, source, licence, picture in backdrops(args):
        file = f"backdrops/{name}.webp"
        picture.save(HERE / file, quality=90, method=6)
        entry = {"name": name, "file": file, "wraps": wraps, "source": source, "licence": licence}
        entries.append(entry | {"split": "test" if name in TEST_BACKDROPS else "train"})
    return entries


def grain(rng, rows, columns):
    """Noise in 0..1 of shape POST that is `rows` x `columns` blobs across."""
    coarse = Image.fromarray(rng.random((rows, columns), np.float32))
    return np.asarray(coarse.resize(POST[::-1], Image.Resampling.BICUBIC))


def tint(light, dark, bright):
    """RGB picture that runs from colour `dark` to colour `bright` with `light` (0..1)."""
    light = np.clip(light, 0, 1)[..., None]
    return (1 - light) * np.float32(dark) + light * np.float32(bright)


def bricks(rng, size, dark, bright, mortar):
    """A wall in running bond; size: (rows, columns) of one brick."""
    y, x = np.mgrid[: POST[0], : POST[1]]
    row = y // size[0]
    column = (x + row % 2 * size[1] // 2) // size[1]
    tone = rng.random((400, 40))[row, column]
    wall = tint(0.7 * tone + 0.3 * grain(rng, 90, 36), dark, bright)
    gap = (y % size[0] < 3) | ((x + row % 2 * size[1] // 2) % size[1] < 3)
    return np.where(gap[..., None], np.float32(mortar), wall)


def planks(rng, width, dark, bright):
    """Upright boards with grain along them."""
    x = np.arange(POST[1])
    tone = rng.random(40)[x // width][None]
    wood = tint(0.55 * tone + 0.45 * grain(rng, 8, 56), dark, bright)
    return wood * np.where(x % width < 2, 0.45, 1.0)[None, :, None]


def column(picture):
    """Shades a picture like a round column lit from the left."""
    across = np.linspace(-1, 1, POST[1])
    light = np.clip(1.05 * np.sqrt(1 - 0.92 * across**2) - 0.22 * across, 0.2, 1.15)
    return picture * light[None, :, None]


def stripes(rng, first, second):
    """Slanted stripes of two colours."""
    y, x = np.mgrid[: POST[0], : POST[1]]
    bands = ((x + y) // 28 % 2).astype(np.float32)
    return tint(bands, first, second) * (0.9 + 0.1 * grain(rng, 60, 24))[..., None]


def occluders():
    """RGB pictures (rows, columns, 3) in 0..255 of the posts that hide the actor."""
    rng = np.random.default_rng(0)
    leaves = 0.5 * grain(rng, 56, 22) + 0.5 * grain(rng, 24, 10)
    bark = 0.6 * grain(rng, 20, 44) + 0.4 * grain(rng, 50, 20)
    stone = 0.5 * grain(rng, 12, 5) + 0.5 * grain(rng, 140, 56)
    metal = np.broadcast_to(0.5 + 0.5 * np.sin(np.arange(POST[0]) / 2.2)[:, None], POST)
    return [
        bricks(rng, (16, 36), (110, 45, 30), (190, 95, 70), (190, 180, 165)),
        bricks(rng, (28, 56), (95, 95, 100), (165, 160, 150), (70, 68, 66)),
        planks(rng, 28, (90, 55, 28), (180, 125, 75)),
        planks(rng, 20, (35, 70, 85), (110, 160, 170)),
        tint(leaves * 1.5 - 0.25, (15, 45, 12), (120, 175, 60)),
        column(tint(bark, (50, 36, 24), (150, 115, 80))),
        column(tint(stone, (150, 145, 138), (230, 226, 218))),
        column(stripes(rng, (200, 40, 35), (235, 232, 225))),
        tint(0.25 + 0.5 * metal, (70, 78, 88), (200, 205, 212)),
        stripes(rng, (35, 35, 38), (235, 190, 40)),
    ]


def write_occluders():
    """One strip of posts; returns its index entry."""
    pictures = [np.clip(picture, 0, 255).astype(np.uint8) for picture in occluders()]
    Image.fromarray(np.concatenate(pictures, axis=1)).save(
        HERE / "occluders.webp", quality=85, method=6
    )
    return {"file": "occluders.webp", "height": POST[0], "width": POST[1], "count": len(pictures)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("emoji", "icons", "pmndrs", "blender", "lomiri", "sklearn"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="unpacked package folder")
    args = parser.parse_args()
    args.emoji /= "assets"
    for folder in ("objects", "backdrops"):
        (HERE / folder).mkdir(exist_ok=True)
    index = {
        "cell": CELL,
        "categories": write_categories(args),
        "props": write_sheet(args.emoji, "props", PROPS),
        "occluders": write_occluders(),
        "backdrops": write_backdrops(args),
    }
    (HERE / "index.json").write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
