"""Every kind of finding: how bad it is, what it means, and what to do about it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    ERROR = "error"
    """Training will refuse the data, or learn nonsense from it."""
    WARNING = "warning"
    """Training runs, and is probably worse for it."""
    NOTE = "note"
    """Good to know."""


class Entry(NamedTuple):
    """One kind of finding; `{}` fields are filled in by the check that finds it."""

    severity: Severity
    sentence: str
    advice: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

CATALOGUE: dict[str, Entry] = {
    # The annotation files
    "entry-malformed": Entry(
        _E,
        "Entries of the annotation file lack something or hold the wrong kind of value.",
        "Training stops at the first. Mend the file, or the tool that wrote it.",
    ),
    "image-id-twice": Entry(
        _E,
        "Image ids appear more than once, so nobody knows which picture a box belongs to.",
        "Give every image an id of its own. Files that were merged need new numbers.",
    ),
    "annotation-id-twice": Entry(
        _N,
        "Annotation ids appear more than once. They are not used here, but other tools lose all "
        "but one such box.",
        "Number the annotations anew, from 1.",
    ),
    "image-unlisted": Entry(
        _E,
        "Annotations belong to images that the file does not list.",
        "List these images, or remove their annotations.",
    ),
    "category-unlisted": Entry(
        _E,
        "Annotations have a category id that the file does not list.",
        "Add the category, or mend the ids: they must be those of `categories`, not 0, 1, 2 ...",
    ),
    "category-twice": Entry(
        _E,
        "Categories share an id or a name.",
        "Keep one entry for each class and point the annotations at it.",
    ),
    "category-ids-sparse": Entry(
        _N,
        "Category ids are not 1, 2, 3 ... without gaps. That is fine: the class table shows the "
        "class index that each becomes.",
        "Nothing, as long as nothing else takes category ids for class indices.",
    ),
    # The picture files
    "picture-missing": Entry(
        _E,
        "Pictures that the labels name are not in {folder}.",
        "Give the right folder, or mend the names; letters' case counts.",
    ),
    "picture-unreadable": Entry(
        _E,
        "Picture files are broken or cut short.",
        "Training stops when it meets one. Fetch them again, or remove them from the labels.",
    ),
    "picture-size-differs": Entry(
        _E,
        "Pictures are of another size than their labels say, so every box is in the wrong place.",
        "Use the pictures that were labelled, or scale the boxes too. Training refuses these.",
    ),
    "exif-labels-unturned": Entry(
        _E,
        "Pictures are turned by their EXIF tag, and the labelled sizes are those of the unturned "
        "pixels: the boxes are for a picture that nobody sees.",
        "Remove the tag and leave the pixels as they lie (`exiftool -Orientation= FILE`): then the "
        "labels fit. Training refuses these.",
    ),
    "exif-unclear": Entry(
        _W,
        "Pictures are turned or mirrored by their EXIF tag, and their size does not tell for which "
        "way up the labels were drawn.",
        "Look at them in the report: it draws the boxes on the turned picture, as training does.",
    ),
    "exif-turned": Entry(
        _N,
        "Pictures are turned by their EXIF tag, and the labels are for the turned picture, as "
        "training and serving take it.",
        "Nothing.",
    ),
    "picture-listed-twice": Entry(
        _E,
        "Pictures are listed more than once: each entry's boxes are background to the other.",
        "Merge the entries into one with all its boxes.",
    ),
    "picture-copied": Entry(
        _W,
        "Picture files with different names hold exactly the same bytes.",
        "Keep one of each, with all its boxes.",
    ),
    "picture-without-labels": Entry(
        _N,
        "Pictures lie beside labelled ones, and no labels that were read name them ({share}).",
        "Fine if they belong to another split. Pictures that show none of the objects can be "
        "listed without boxes: the model learns from them what to leave alone.",
    ),
    "pictures-empty": Entry(
        _N,
        "Pictures have no boxes: {share} of them.",
        "Fine if they show no object. If they were never labelled, remove them: everything in them "
        "is taught as background.",
    ),
    "pictures-sampled": Entry(
        _N,
        "Pictures were not decoded and not matched with anchors: {sample} were drawn with a fixed "
        "seed. Their headers and all labels were checked.",
        "Raise --sample to look at more.",
    ),
    # The boxes
    "boxes-missing": Entry(
        _E,
        "There is not one usable box to learn from.",
        "Look at the other findings: either nothing is labelled or every box is thrown out.",
    ),
    "box-not-finite": Entry(
        _E,
        "Boxes have coordinates that are not numbers (NaN, infinite).",
        'Mend or remove them; `bad_boxes = "drop"` trains without them.',
    ),
    "box-without-area": Entry(
        _E,
        "Boxes have no area: a side is zero or negative.",
        'Mend or remove them; `bad_boxes = "drop"` trains without them.',
    ),
    "box-outside": Entry(
        _E,
        "Boxes lie wholly outside their picture.",
        "Are they for another size of picture, or for another picture? "
        '`bad_boxes = "drop"` trains without them.',
    ),
    "box-partly-outside": Entry(
        _W,
        "Boxes reach over the edge of their picture, by up to {overhang} px; training cuts them "
        "off there.",
        "A pixel is rounding. More means labels for another size of picture or another box format.",
    ),
    "box-tiny": Entry(
        _W,
        "Boxes are narrower than {limit} px at the training scale {scale}: half a cell of the "
        "finest level, too little to see.",
        "Raise train.scale, cut the pictures into tiles, or leave such objects out.",
    ),
    "box-twice": Entry(
        _W,
        "Boxes repeat another of the same picture and class exactly: of two equal boxes one is "
        "always counted as missed.",
        "Remove the copies.",
    ),
    "box-nearly-twice": Entry(
        _W,
        "Boxes of one class overlap another by an IoU over .95: probably the same object twice.",
        "Look at them and remove one of each pair.",
    ),
    "box-two-classes": Entry(
        _N,
        "Boxes of different classes lie on the same place (IoU over .95).",
        "Fine if one object may be both. Else decide for one.",
    ),
    "boxes-crowd": Entry(
        _N,
        "Regions are crowds or difficult objects: training neither rewards nor punishes what is "
        "found there.",
        "Nothing, unless ordinary objects were marked so.",
    ),
    "boxes-look-xyxy": Entry(
        _E,
        "The boxes look like [x1, y1, x2, y2] in a field that means [x, y, width, height]: read as "
        "corners they fit their pictures, as sizes they do not.",
        "Write x2 - x1 and y2 - y1 in places 3 and 4.",
    ),
    "boxes-look-xywh": Entry(
        _E,
        "The boxes look like x, y, width, height in fields that mean two corners.",
        "Write x + width and y + height as xmax and ymax.",
    ),
    "boxes-look-normalised": Entry(
        _E,
        "The boxes look like shares of the picture (0 to 1), not pixels.",
        "Multiply x by the width and y by the height. YOLO's files give the centre first: subtract "
        "half the size too.",
    ),
    "boxes-look-rescaled": Entry(
        _N,
        "No box reaches past {extent} of its picture in either direction, as if all were drawn "
        "on a smaller copy.",
        "Look at the pictures in the report: boxes up and left of the objects must be scaled.",
    ),
    # The classes
    "class-not-in-list": Entry(
        _E,
        "Boxes are of classes that are not in the class list {whose}.",
        "Add the names to the list or mend the labels. Training refuses these.",
    ),
    "class-name-blanks": Entry(
        _W,
        "Class names begin or end with blanks.",
        "Remove the blanks: 'cat ' and 'cat' are two classes.",
    ),
    "class-name-case": Entry(
        _W,
        "Class names differ in letter case or blanks alone.",
        "Choose one spelling, else the boxes of one are background to the other.",
    ),
    "class-without-boxes": Entry(
        _W,
        "Classes have no box: they can't be learnt.",
        "Remove them from the list, or label some.",
    ),
    "class-rare": Entry(
        _W,
        "Classes have fewer than {least} boxes.",
        "Label more, or set data.rare_below so that their pictures are shown more often.",
    ),
    "labels-partial": Entry(
        _W,
        "Pictures have far fewer boxes of a class than is usual: perhaps not everything in them "
        "was labelled, and what was left out is taught as background.",
        "Look at them in the report. {advice}",
    ),
    # Train against val
    "val-in-train": Entry(
        _W,
        "Pictures are in both train and val: the AP on val says nothing about new pictures.",
        "Take them out of one of the two.",
    ),
    "val-copy-in-train": Entry(
        _W,
        "Pictures of val have a twin with the same bytes but another name in train.",
        "Take them out of one of the two.",
    ),
    # The anchors
    "anchors-poor": Entry(
        _W,
        "Boxes have no anchor with an IoU of {foreground} or more: {share} of them. They learn "
        "little, or nothing.",
        "{advice}",
    ),
    "anchors-missing": Entry(
        _E,
        "Boxes get no anchor at all under the matching rule: {share} of them. They are taught as "
        "background.",
        "{advice}",
    ),
    # The recipe
    "recipe-advice": Entry(
        _W,
        "The recipe has settings that rarely are what was meant.",
        "See the sentences.",
    ),
    "recipe-adamw-rate": Entry(
        _W,
        "A rate of {rate} is unusual for AdamW: above {high} the loss tends to rise, below {low} "
        "little is learnt.",
        "Set optimizer.lr = 1e-4, or up to 4e-4 for small backbones.",
    ),
    "recipe-few-epochs": Entry(
        _W,
        "The run shows each picture {epochs} times only: {steps} steps of {batch} for {pictures} "
        "pictures. The paper's schedule is 12 times, small sets need more.",
        "Set train.steps to {wanted} or more.",
    ),
    "recipe-large-batch": Entry(
        _W,
        "A step holds {batch} pictures, and there are only {pictures} to train on.",
        "Set train.batch_size to less, and the rate with it.",
    ),
    "recipe-prior": Entry(
        _W,
        "The prior is {prior}. Far from .01 the loss starts high (above) or objects are found very "
        "late (below).",
        "Set model.prior = 0.01 (paper, sec. 4.1).",
    ),
    "recipe-backbone-random": Entry(
        _W,
        "The backbone starts from random weights, and {pictures} pictures are few to learn to see "
        "from.",
        'Set model.backbone_weights = "imagenet", or model.weights to a checkpoint.',
    ),
    "recipe-file-missing": Entry(
        _E,
        "A file that the recipe names does not exist.",
        "Mend the path: it counts from the folder where the command runs.",
    ),
    "recipe-flips-sides": Entry(
        _W,
        "Class names say left or right, and augmentation mirrors the pictures: a mirrored 'left' "
        "is a 'right' with the wrong name.",
        "Set augment.flips = [].",
    ),
    "recipe-canvas-crops": Entry(
        _N,
        "Pictures are larger than the canvas {canvas} at scale {scale}, {share} of them: training "
        "cuts a random part out of each.",
        'Nothing, or set train.canvas = "auto".',
    ),
}
