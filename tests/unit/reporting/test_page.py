import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from selfseg import storage
from selfseg.errors import UserError
from selfseg.experiment import read_recipe
from selfseg.reporting.collect import read_run
from selfseg.reporting.gallery import Gallery
from selfseg.reporting.page import compose, fold
from selfseg.reporting.pictures import Look, film, row
from selfseg.reporting.render import render
from selfseg.reporting.rounds import Comparison, draw
from tests.synthetic import moving_disc

NO_PICTURES = Gallery("No pictures, because the collection is out of reach: nobody answers.")
VOID = {"meta", "link", "img", "input", "br", "circle", "path"}


class Reader(HTMLParser):
    """Checks that tags close in the order they open, and collects what a test asks about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in <{tag}>"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, attribute: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(attribute)) is not None]


@pytest.fixture
def run_url(tmp_path):
    url = str(tmp_path / "run")
    write(
        url,
        "run.json",
        {
            "settings": {
                "seed": 7,
                "method": {"name": "some_method", "sharpness": 0.125},
                "loop": {"steps": 40},
            },
            "ingest": {"height": 240},
            "collection": "s3://somewhere/collection",
            "manifest": "c0ffee",
            "versions": {"torch": "9.8.7"},
            "command": "selfseg train some_method --collection 's3://a b' --workers 2",
        },
    )
    return url


def write(url: str, name: str, content: object) -> None:
    storage.write(storage.join(url, name), json.dumps(content).encode())


def write_journal(url: str) -> None:
    """Two workers, 30 steps of 0.4 s, of which the second attempt took the last ten."""
    lines = [
        {
            "step": step,
            "player": "phi",
            "terms": {"<odd> & term": 3.25},
            "wait_s": 0.1,
            "compute_s": 0.3,
            "forward_s": 0.1,
            "checkpoint_s": 0.0,
            "time": 1.7e9 + 0.4 * step + (5 if step >= 20 else 0),
        }
        for step in range(30)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for rank in range(2):
        storage.write(storage.join(url, f"metrics/rank_0000{rank}/00000000.jsonl"), text.encode())
    first = {"number": 1, "cause": "the command", "launched": 1.7e9 - 9.9, "began": 1.7e9 - 1}
    write(url, "attempts/0001.json", {**first, "first_step": 0, "workers": 2})
    again = {"number": 2, "cause": "worker 1 was <lost>", "began": 1.7e9 + 10}
    write(url, "attempts/0002.json", {**first, **again, "first_step": 20, "workers": 2})


def evaluation(name: str, j: float, baseline: str | None) -> dict[str, object]:
    return {
        "title": name,
        "benchmark": "davis",
        "baseline": baseline,
        "j_mean": j,
        "j_frame_mean": j - 0.05,
        "f_mean": j - 0.1,
        "sequences": {"bear": {"j": j, "f": j - 0.1, "frames": 3}},
    }


def looks() -> list[Look]:
    scene = moving_disc(num_frames=3)
    return [
        Look("disc", k, k / 10, scene.frames[k], scene.flow(0, 1), None, mask, scene.masks[k])
        for k, mask in enumerate(scene.masks.astype(np.float32))
    ]


def gallery() -> Gallery:
    return Gallery("Chosen evenly.", [row(looks()[0])], [film(looks())], [("disc", 3)])


@pytest.fixture
def whole_page(run_url):
    write_journal(run_url)
    write(run_url, "evaluations/run.json", evaluation("run", 0.612, None))
    write(run_url, "evaluations/otsu.json", evaluation("flow-otsu", 0.487, "flow-otsu"))
    write(run_url, "checkpoints/step_00000020/COMMIT.json", {})
    write(run_url, "checkpoints/step_00000030/method.safetensors", {})
    return render(compose(read_run(run_url), gallery()))


def words(page: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("&nbsp;", " ")
    return re.sub(r" ([,.])", r"\1", text)


def test_the_page_is_well_formed_and_names_each_id_once(whole_page):
    reader = Reader(whole_page)
    assert reader.open == []
    assert len(reader.of("id")) == len(set(reader.of("id")))


def test_the_page_says_where_the_time_went_and_who_took_part(whole_page):
    shown = words(whole_page)
    # 30 steps compute for 0.3 s each; from the command to the last one's end: 9.9 + 0.4 * 29 + 5 s.
    assert "Goodput 34 %" in shown
    assert "start-up from the command to the first batch 9.60 s" in shown
    assert "worker 1 was &lt;lost&gt;" in whole_page
    assert "No worker is later than the others" in shown


def test_the_page_loads_nothing(whole_page):
    reader = Reader(whole_page)
    for address in [*reader.of("src"), *reader.of("href")]:
        assert address.startswith(("data:", "#"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|\bimport\b *\(", whole_page)


def test_links_within_the_page_lead_somewhere(whole_page):
    reader = Reader(whole_page)
    targets = {address[1:] for address in reader.of("href") if address.startswith("#")}
    targets |= set(reader.of("aria-controls")) | set(reader.of("aria-labelledby"))
    assert targets <= set(reader.of("id"))


def test_every_picture_has_words_and_every_button_a_name(whole_page):
    pictures = [attrs for tag, attrs in Reader(whole_page).tags if tag == "img"]
    assert all(picture["alt"] for picture in pictures if "src" in picture)
    empty = re.findall(r"<button(?![^>]*aria-label)[^>]*>\s*</button>", whole_page)
    assert empty == []


def test_the_page_holds_the_numbers_of_the_run(whole_page):
    shown = words(whole_page)
    for number in ["0.612", "0.487", "0.512", "30", "of 40 planned", "newest at 20", "3.25"]:
        assert number in shown
    assert "J 0.612 on davis, 0.125 above flow-otsu" in shown  # 0.612 - 0.487
    assert "2.50 steps/s" in shown  # 1 / (0.1 + 0.3)
    assert "25 %" in shown  # 0.1 / 0.4


def test_the_page_holds_settings_data_versions_and_command(whole_page):
    shown = words(whole_page)
    for fact in ["sharpness 0.125", "s3://somewhere/collection", "c0ffee", "torch 9.8.7", "disc 3"]:
        assert fact in shown
    assert "--collection &#39;s3://a b&#39; \\ --workers 2" in shown


def test_the_page_says_from_which_step_on_a_run_read_which_manifest(run_url):
    moves = [{"step": 0, "manifest": "c0ffee"}, {"step": 17, "manifest": "beef"}]
    write(run_url, "checkpoints/step_00000020/COMMIT.json", {})
    write(run_url, "checkpoints/step_00000020/progress.json", {"step": 20, "course": moves})
    assert "manifest c0ffee from step 17 on beef" in words(
        render(compose(read_run(run_url), gallery()))
    )


def test_names_from_the_run_are_escaped(whole_page):
    assert "&lt;odd&gt; &amp; term" in whole_page
    assert "<odd>" not in whole_page


def test_curves_carry_their_values_for_the_reader_to_point_at(whole_page):
    points = json.loads(Reader(whole_page).of("data-points")[0])
    assert points[0] == [0, 3.25, 3.25, 3.25]
    assert points[-1][0] == 29


@pytest.mark.parametrize(
    ("recipe", "ending"),
    [
        ("dystab_dynamic_cpu", "for 30 steps, without a single label."),
        ("dystab_bootstrap", "for 30 steps, without a single annotated mask."),
        ("dystab_supervised", "for 30 steps and was shown annotated masks."),
        (None, "for 30 steps."),
    ],
)
def test_the_sentence_at_the_top_says_what_people_had_to_give(run_url, recipe, ending):
    write_journal(run_url)
    if recipe:
        run = json.loads(storage.read(storage.join(run_url, "run.json")))
        config = read_recipe(recipe)
        write(run_url, "run.json", run | {"settings": config.model_dump(mode="json")})
    page = compose(read_run(run_url), NO_PICTURES)
    assert page.sentence.endswith(ending)


def test_a_run_without_rounds_shows_none(whole_page):
    assert "Rounds" not in words(whole_page)
    assert "#rounds" not in whole_page


def test_rounds_are_shown_by_view_and_what_had_not_learned_is_said_so(run_url):
    look = looks()[0]
    matrix = draw({0: {"dynamic": look}, 1: {"dynamic": look, "static": look, "fused": look}})
    pictures = Gallery("Chosen evenly.", rounds=Comparison([matrix], ["Round 7 is lost."]))
    page = render(compose(read_run(run_url), pictures))
    assert Reader(page).open == []
    shown = words(page)
    assert "Round 7 is lost." in shown
    assert "before the rounds after round 1" in shown
    assert page.count("has not learned yet") == 2
    # The disc is found exactly, in four cells.
    assert shown.count("J 1.000") == 4


def test_scores_by_round_and_view_are_drawn(run_url):
    for number in (1, 2):
        about = {"view": "fused", "round": number, "checkpoint": f"step_{number}"}
        scored = evaluation(f"run round {number}", 0.5 + number / 10, None) | about
        write(run_url, f"evaluations/{number}.json", scored)
    page = render(compose(read_run(run_url), NO_PICTURES))
    assert Reader(page).open == []
    assert "J, masks as predicted after round 1 after round 2" in words(page)
    (points,) = Reader(page).of("points")
    assert [place.partition(",")[0] for place in points.split()] == ["25.00", "75.00"]


def test_missing_parts_are_named(run_url):
    page = render(compose(read_run(run_url), NO_PICTURES))
    shown = words(page)
    assert Reader(page).open == []
    assert "has not taken a step yet" in shown
    assert "No step has been logged yet." in shown
    assert NO_PICTURES.note in shown
    assert "Not scored yet" in shown
    assert "none yet" in shown


def test_a_damaged_score_file_is_named_and_the_others_are_shown(run_url):
    write(run_url, "evaluations/good.json", evaluation("run", 0.612, None))
    write(run_url, "evaluations/half.json", {"title": "half"})
    storage.write(storage.join(run_url, "evaluations/bad.json"), b"{")
    shown = words(render(compose(read_run(run_url), NO_PICTURES)))
    assert "evaluations/bad.json cannot be shown" in shown
    assert "evaluations/half.json cannot be shown (lacks baseline)" in shown
    assert "0.612" in shown


def test_a_folder_without_a_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no run here: name the folder") as caught:
        read_run(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"settings": {}}'])
def test_a_damaged_run_json_is_refused_by_name(tmp_path, content):
    storage.write(storage.join(str(tmp_path), "run.json"), content)
    with pytest.raises(UserError, match=r"run\.json: not one of a run"):
        read_run(str(tmp_path))


def test_a_command_is_folded_so_that_it_still_can_be_pasted():
    folded = fold("selfseg train r --collection 'a b' --run c")
    assert folded == "selfseg train r \\\n  --collection 'a b' \\\n  --run c"


def test_scores_of_stills_have_a_table_of_their_own_and_never_the_headline(run_url):
    stills = {
        "title": "run static",
        "benchmark": "ecssd",
        "baseline": None,
        "iou_mean": 0.731,
        "f_beta_mean": 0.8,
        "f_beta_adaptive_mean": 0.7,
        "mae_mean": 0.1,
        "protocol": "every image",
        "images": {"a": {"iou": 0.731}},
    }
    write(run_url, "evaluations/stills.json", stills)
    shown = words(render(compose(read_run(run_url), NO_PICTURES)))
    assert "ecssd: one image" in shown
    assert "Every image." in shown
    assert "0.731" in shown
    assert "Region similarity" not in shown
