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
    "proposer": "D and S: find what its surroundings do not tell of, and outline it",
    "image_inpainter": "I: guesses what a hole in the image hides",
    "flow_inpainter": "I_f: guesses what a hole in the motion hides",
}
"""What each player is there for."""

HUES = {
    "segmenter": 0,
    "static": 1,
    "inpainter": 2,
    "proposer": 1,
    "image_inpainter": 2,
    "flow_inpainter": 0,
}
"""The page's colours of these players; phi and chi have those of their views."""

TERMS = {
    "imitation": "cross-entropy with a classical motion mask; lower is better",
    "separation": "how little the motions inside and outside tell of each other, at most 2",
    "inconsistency": "how much the masks of two frames disagree along the motion",
    "with_static": f"likeness to {CHI}'s mask of the frame; higher is better",
    "error": "how far the guess is off, squared where it is an image's",
    "with_motion": "likeness to the mask it is taught, which comes from motion; higher is better",
    "with_earlier": f"likeness to {CHI}'s own mask before this round, from the second on",
    "confidence": "weight of the taught mask: how much the motion speaks for it",
    "believed": "share of the frames whose taught mask has any weight",
    "with_refined": f"likeness to {CHI}'s own mask before this round after a CRF; higher is better",
    "refined_area": "share of the frame that this mask calls foreground",
    "with_truth": "likeness to the annotated mask; higher is better",
    "area": "share of the frame called foreground",
    "pixels": "how far the image that is made of box and background is off, in colours",
    "features": "the same as a fixed network sees it",
    "crop": "how far what S shows in the box is off, with no mask; only in the warm-up",
    "image_inpainter_error": "how badly I guesses the drawn box from around it; D seeks it high",
    "flow_inpainter_error": "how badly I_f does; D seeks it high, too",
    "extent": "how much of what I_f cannot guess lies in the box, per area; higher is better",
    "outline": "the same of the mask",
    "side": "mean side of the drawn boxes, share of the frame's",
    "peak": "probability of the most probable cell",
    "loss": "what the player minimises",
    "gradient_norm": "length of the gradient before it is clipped",
}
"""What each term measures."""
