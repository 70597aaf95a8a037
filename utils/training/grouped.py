"""Groups of faces, as a training config asks for them."""

from __future__ import annotations

from collections.abc import Iterable

from utils.core import distributed
from utils.core.errors import DataError
from utils.data.groups import PAIRED, GroupedFaces, Stream
from utils.data.meshes import Meshes, read_meshes
from utils.data.shards import Roots
from utils.data.sources import Source, read_any_list, read_source, refuse_overlap
from utils.training.config import TrainingConfig


def grouped_faces(config: TrainingConfig, roots: Roots) -> GroupedFaces:
    """The training set of a config with `groups`; crops lie in `roots`.

    DataError for lists or crops that can't be used, or if a video is validated on.
    """
    data_list, sets = config.data_list, config.train_sets
    main = read_source(data_list, roots, sets, config.originals)
    others = [
        (main if path == data_list else read_source(path, roots, sets, None), share)
        for path, share in config.sources or [(data_list, 1.0)]
    ]
    listed = read_any_list(data_list)
    kept_out = set(listed.loc[listed["set_name"] == config.valid_set, "name"])
    refuse_overlap([main, *(source for source, _ in others)], kept_out)
    whole = sum(share for _, share in others)
    streams = []
    for kind, share in config.groups:
        made_of = [(main, 1.0)] if kind in PAIRED else [(source, part / whole) for source, part in others]
        streams += [Stream(kind, source, share * part) for source, part in made_of]
    length = config.epoch_samples or len(main.pairs) or len(main.reals)
    meshes = meshes_for(config, {id(stream.source): stream.source for stream in streams}.values())
    return GroupedFaces(streams, length, config.preprocess, config.seed, meshes)


def meshes_for(config: TrainingConfig, sources: Iterable[Source]) -> Meshes | None:
    """The points that the key `masks` names, None for outlines; says how many real videos have them.

    DataError for a file that can't be used, or that knows no real face of a source.
    """
    if config.masks == "outlines":
        return None
    meshes = read_meshes(config.masks)
    for source in sources:
        known = sum(source.path(video, 0) in meshes for video in source.reals)
        if not known:
            raise DataError(f"{config.masks} (masks) knows no real face of the source {source.name!r}")
        if distributed.is_main():
            print(f"masks: points of {known:,} of {len(source.reals):,} real faces of {source.name!r}")
    return meshes
