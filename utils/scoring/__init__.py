"""From videos to probabilities; `from utils.scoring import score` is the way in from Python."""


def __getattr__(name: str):
    if name != "score":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from utils.scoring.scorer import score  # torch takes seconds to import: not for reading a config

    return score
