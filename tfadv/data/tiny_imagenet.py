"""Tiny ImageNet: 110,000 photographs of 200 kinds of things, 64x64 RGB (Stanford CS231n, 2015).

Its authors keep the labels of their test images, so "test" is what they publish as validation images, as in every paper
that reports on it. TensorFlow Datasets does not have it: `tiny_imagenet_builder` reads the original archive, which a
user fetches in person, because the images are ImageNet's and stay under its terms of access (research and education,
not commercial). The training split takes 4.9 GB in memory; with a `limit` it passes through 1.2 GB.

"tiny_imagenet_subset" is any archive of the same layout that holds fewer images of the same classes, for trials.
Nothing but its layout can be verified, so it has another name, and no number on it is taken for one on Tiny ImageNet.
"""

from __future__ import annotations

from typing import Any

from tfadv.data.spec import DatasetSpec

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
ARCHIVE = "tiny-imagenet-200.zip"
SUBSET_ARCHIVE = "tiny-imagenet-200-subset.zip"

# WordNet numbers in ascending order, which numbers the labels as programs do that read one folder for each class.
_NUMBERS = """
    n01443537 n01629819 n01641577 n01644900 n01698640 n01742172 n01768244 n01770393 n01774384 n01774750 n01784675
    n01855672 n01882714 n01910747 n01917289 n01944390 n01945685 n01950731 n01983481 n01984695 n02002724 n02056570
    n02058221 n02074367 n02085620 n02094433 n02099601 n02099712 n02106662 n02113799 n02123045 n02123394 n02124075
    n02125311 n02129165 n02132136 n02165456 n02190166 n02206856 n02226429 n02231487 n02233338 n02236044 n02268443
    n02279972 n02281406 n02321529 n02364673 n02395406 n02403003 n02410509 n02415577 n02423022 n02437312 n02480495
    n02481823 n02486410 n02504458 n02509815 n02666196 n02669723 n02699494 n02730930 n02769748 n02788148 n02791270
    n02793495 n02795169 n02802426 n02808440 n02814533 n02814860 n02815834 n02823428 n02837789 n02841315 n02843684
    n02883205 n02892201 n02906734 n02909870 n02917067 n02927161 n02948072 n02950826 n02963159 n02977058 n02988304
    n02999410 n03014705 n03026506 n03042490 n03085013 n03089624 n03100240 n03126707 n03160309 n03179701 n03201208
    n03250847 n03255030 n03355925 n03388043 n03393912 n03400231 n03404251 n03424325 n03444034 n03447447 n03544143
    n03584254 n03599486 n03617480 n03637318 n03649909 n03662601 n03670208 n03706229 n03733131 n03763968 n03770439
    n03796401 n03804744 n03814639 n03837869 n03838899 n03854065 n03891332 n03902125 n03930313 n03937543 n03970156
    n03976657 n03977966 n03980874 n03983396 n03992509 n04008634 n04023962 n04067472 n04070727 n04074963 n04099969
    n04118538 n04133789 n04146614 n04149813 n04179913 n04251144 n04254777 n04259630 n04265275 n04275548 n04285008
    n04311004 n04328186 n04356056 n04366367 n04371430 n04376876 n04398044 n04399382 n04417672 n04456115 n04465501
    n04486054 n04487081 n04501370 n04507155 n04532106 n04532670 n04540053 n04560804 n04562935 n04596742 n04597913
    n06596364 n07579787 n07583066 n07614500 n07615774 n07695742 n07711569 n07715103 n07720875 n07734744 n07747607
    n07749582 n07753592 n07768694 n07871810 n07873807 n07875152 n07920052 n09193705 n09246464 n09256479 n09332890
    n09428293 n12267677
"""
CLASSES = tuple(_NUMBERS.split())


def builder(data_dir: str | None) -> Any:
    """The TFDS builder of the whole data set over `data_dir`."""
    from tfadv.data.tiny_imagenet_builder import TinyImagenet

    return TinyImagenet(data_dir=data_dir)


def subset_builder(data_dir: str | None) -> Any:
    """The TFDS builder of a subset over `data_dir`."""
    from tfadv.data.tiny_imagenet_builder import TinyImagenetSubset

    return TinyImagenetSubset(data_dir=data_dir)


SPEC = DatasetSpec(
    name="tiny_imagenet",
    shape=(64, 64, 3),
    classes=200,
    splits={"train": 100_000, "test": 10_000},
    class_names=CLASSES,
    archives=(ARCHIVE,),
    builder=builder,
    by_hand=f"its images are under the terms of access of ImageNet; fetch {URL} yourself",
)

SUBSET = DatasetSpec(
    name="tiny_imagenet_subset",
    shape=SPEC.shape,
    classes=SPEC.classes,
    splits={},
    class_names=CLASSES,
    archives=(SUBSET_ARCHIVE,),
    builder=subset_builder,
    by_hand=f"it is a part of {ARCHIVE} that you cut out yourself, for trials",
)
