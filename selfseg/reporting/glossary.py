"""The words a reader meets in a run: views, players and the terms of their objectives."""

from selfseg.contracts import View

PHI, CHI, PSI = (
    "\N{GREEK SMALL LETTER PHI}",
    "\N{GREEK SMALL LETTER CHI}",
    "\N{GREEK SMALL LETTER PSI}",
)

VIEWS: dict[View, tuple[str, str]] = {
    "dynamic": (PHI, "by motion alone"),
    "static": (CHI, "by the image alone"),
    "fused": (f"{PHI} and {CHI}", "fused"),
}
"""Who sees a view, and by what; in the order they are shown."""

PLAYERS = {
    "segmenter": f"{PHI}, the dynamic model: finds in the motion what moves by itself",
    "inpainter": f"{PSI}: guesses a region's motion from that of the rest of the frame",
    "static": f"{CHI}, the static model: learns to see in a single image what {PHI} sees in motion",
}
"""What each player is there for."""

HUES = {"segmenter": 0, "static": 1, "inpainter": 2}
"""The page's colours of these players; phi and chi have those of their views."""

TERMS = {
    "imitation": "cross-entropy with a classical motion mask; lower is better",
    "separation": "how little the motions inside and outside tell of each other, at most 2",
    "inconsistency": "how much the masks of two frames disagree along the motion",
    "with_static": f"likeness to {CHI}'s mask of the frame; higher is better",
    "error": "how far the guessed motion is off",
    "with_motion": "likeness to the mask it is taught, which comes from motion; higher is better",
    "with_earlier": f"likeness to {CHI}'s own mask before this round, from the second on",
    "confidence": "weight of the taught mask: how much the motion speaks for it",
    "believed": "share of the frames whose taught mask has any weight",
    "with_refined": f"likeness to {CHI}'s own mask before this round after a CRF; higher is better",
    "refined_area": "share of the frame that this mask calls foreground",
    "with_truth": "likeness to the annotated mask; higher is better",
    "area": "share of the frame called foreground",
    "loss": "what the player minimises",
    "gradient_norm": "length of the gradient before it is clipped",
}
"""What each term measures."""
