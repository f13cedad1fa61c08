"""What a selection by label may name: the 80 kinds of COCO parts of faces, text, sky, in people's words."""

import difflib
import itertools
import re
import tomllib
from pathlib import Path

_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
COCO = tuple(_NAMES.split(","))

# What is found by other means than the detector.
FACE, TEXT, SUBJECT, BACKGROUND, SKIN, LIPS, EYES, TEETH, SKY = (
    "face", "text", "subject", "background", "skin", "lips", "eyes", "teeth", "sky",
)  # fmt: skip
FACE_PARTS = (FACE, SKIN, LIPS, EYES, TEETH)
SPECIAL = (*FACE_PARTS, TEXT, SUBJECT, BACKGROUND, SKY)

ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
_VEHICLES = ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat")
_FOOD = ("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake")
_FURNITURE = ("chair", "couch", "bed", "dining table", "bench")

_OTHER_WORDS = {
    "person": "people,man,men,woman,women,child,children,kid,boy,girl,baby,human,guy,lady,pedestrian,tourist,player,"
    "bystander,passer-by,passerby,stranger,astronaut,model,crowd,figure",
    "bicycle": "bike,cycle", "motorcycle": "motorbike,scooter,moped", "airplane": "plane,aeroplane,aircraft,jet",
    "car": "automobile,taxi,cab,suv", "truck": "lorry,van,pickup", "boat": "ship,yacht,sailboat", "bus": "coach",
    "couch": "sofa,settee", "tv": "television,monitor,screen,telly",
    "cell phone": "phone,mobile,smartphone,mobile phone,cellphone",
    "donut": "doughnut", "potted plant": "plant,houseplant,flowerpot", "dining table": "table,desk",
    "refrigerator": "fridge", "remote": "remote control", "cup": "mug,coffee,coffee cup,teacup",
    "wine glass": "glass,wineglass",
    "handbag": "purse,bag", "suitcase": "luggage", "backpack": "rucksack", "sports ball": "ball,football,basketball",
    "cat": "kitten,kitty", "dog": "puppy,doggy", "cow": "bull,cattle,calf", "horse": "pony", "sheep": "lamb",
    "hair drier": "hair dryer,hairdryer", "skis": "ski", "oven": "stove,cooker", "stop sign": "sign", "tie": "necktie",
    "traffic light": "stoplight,traffic lights", "knife": "knives", "sink": "basin", "mouse": "computer mouse",
    "laptop": "notebook,computer", "clock": "watch", "fire hydrant": "hydrant", "hot dog": "hotdog", "kite": "",
    FACE: "head,portrait", TEXT: "caption,writing,words,lettering,logo,watermark,title,letters",
    SUBJECT: "main subject,foreground,main object,object,product", BACKGROUND: "backdrop,surroundings",
    EYES: "eye", LIPS: "mouth,lip", TEETH: "tooth,smile", SKIN: "complexion", SKY: "skies,heaven,clouds",
}  # fmt: skip
_GROUPS = {
    "animal": ANIMALS, "pet": ("cat", "dog", "bird"), "vehicle": _VEHICLES, "food": _FOOD,
    "fruit": ("banana", "apple", "orange"),
    "furniture": _FURNITURE, "cutlery": ("fork", "knife", "spoon"), "dish": ("bowl", "cup"),
}  # fmt: skip

_PREPOSITIONS = frozenset((
    "in", "on", "with", "of", "at", "near", "behind", "beside", "under", "by", "from", "to",
    "auf", "im", "am", "mit", "neben", "vor", "hinter", "sur", "dans", "avec",
    "de", "du", "à", "en", "con", "sobre", "junto",
))  # fmt: skip
_TABLE: dict[str, dict[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("labels.toml").read_text(encoding="utf-8")
)

_MEANS: dict[str, tuple[str, ...]] = (
    {word: (name,) for name, words in _TABLE["kinds"].items() for word in words}
    | {name: (name,) for name in (*COCO, *SPECIAL)}
    | {word: (name,) for name, words in _OTHER_WORDS.items() for word in words.split(",") if word}
    | _GROUPS
)

_ENGLISH = [word for words in (_OTHER_WORDS, _GROUPS) for word in words] + [
    word for words in _OTHER_WORDS.values() for word in words.split(",") if word
]
_ENGLISH = sorted({*COCO, *SPECIAL, *_ENGLISH})


def meaning(label: str) -> tuple[str, ...]:
    """The kinds that a label such as "the dogs", "bike" or "man in a red coat" means; empty when it names none.

    What comes before the noun, and after a preposition, is passed over: a detector cannot see it.
    """
    words = _words(label)
    # "sac à dos" is one word.
    for start, stop in itertools.combinations(range(len(words) + 1), 2):
        if stop - start > 2 and (whole := " ".join(words[start:stop])) in _MEANS:
            return _MEANS[whole]
    end = next((index for index, word in enumerate(words) if index and word in _PREPOSITIONS), len(words))
    # Adjectives stand before the noun, and in some languages behind it.
    for stop in range(end, 0, -1):
        for start in range(stop):
            text = " ".join(words[start:stop])
            for candidate in (text, *_singulars(text)):
                if candidate in _MEANS:
                    return _MEANS[candidate]
    return _named_in_chinese(label)


def which(label: str) -> str:
    """Left, right, top, bottom, largest or smallest, where a label such as "the left dog" says so; else empty."""
    words = _words(label)
    for name, stems in _TABLE["which"].items():
        for stem in stems:
            if stem.isascii() and any(word == stem or (len(stem) > 3 and _declined(word, stem)) for word in words):
                return name
            if not stem.isascii() and stem in label.lower():
                return name
    return ""


def _declined(word: str, stem: str) -> bool:
    return re.fullmatch(rf"{re.escape(stem)}(e|er|es|en|em|s|o|a|os|as|ste|ster)?", word) is not None


def _words(label: str) -> list[str]:
    return label.lower().replace("_", " ").replace(",", " ").split()


def _named_in_chinese(label: str) -> tuple[str, ...]:
    """What the longest Chinese word in a label means: there are no spaces to part it by."""
    found = [word for word in _MEANS if not word.isascii() and ord(word[0]) > 0x2E80 and word in label]
    return _MEANS[max(found, key=len)] if found else ()


def similar(label: str) -> list[str]:
    """At most five names that are known, in English, spelled like `label`; common ones when none is."""
    return difflib.get_close_matches(label.lower(), _ENGLISH, n=5, cutoff=0.7) or [
        "person",
        "car",
        "dog",
        FACE,
        SKY,
        TEXT,
        SUBJECT,
    ]


def _singulars(text: str) -> list[str]:
    forms = []
    if text.endswith("ies"):
        forms.append(f"{text[:-3]}y")
    if text.endswith("es"):
        forms.append(text[:-2])
    if text.endswith("s"):
        forms.append(text[:-1])
    return forms
