"""The page opens with the verdict, shows what there is and no more, escapes, and refers to nothing outside."""

import itertools
import re
from html.parser import HTMLParser

import pytest

from tfadv.report import html as page
from tfadv.report.charts import Chart, Pictures, Series
from tfadv.report.collection import Collection
from tfadv.report.records import OUTCOMES, STATEMENT, VERDICTS, Check, ThreatModel, Verdict
from tfadv.report.section import Curve, Section
from tfadv.report.tables import Table

EVIL = "<script>alert('&')</script>\" onload=\"x"


class Elements(HTMLParser):
    """Every element of a page as (tag, attributes), and the text between them."""

    def __init__(self, source):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


def flat(source):
    """The text of a page with single spaces, without its style sheet."""
    return " ".join(Elements(re.sub(r"<style>.*?</style>", "", source, flags=re.DOTALL)).text.split())


@pytest.fixture
def collection(make_report):
    curve = Curve((100, 200), (0.25, 0.5), (0.2, 0.45), (0.3, 0.55))
    sections = (Section("Cross-check", "Same start.", Table(("pair", "agree"), (("PGD", "4 of 4"),)), {"net": curve}),)
    return Collection("Two nets", (make_report(), make_report(name="second net")), sections)


@pytest.mark.usefixtures("unrendered")
def test_the_headline_its_interval_the_threat_and_the_statement_are_on_the_page(make_report):
    text = Elements(page.render(make_report())).text
    for part in (
        "25.0%",
        "0.6% to 80.6%",
        "1 of 4 images",
        "75.0%",
        STATEMENT,
        "change every pixel value by at most 0.2",
    ):
        assert part in text
    for check in make_report().checks:
        assert check.name in text
        assert check.evidence in text


@pytest.mark.usefixtures("unrendered")
def test_the_page_opens_with_the_verdict_its_reason_and_its_numbers(make_judged):
    """Before any attack: the word, why, the number and its interval; of an overestimate also the number judged."""
    for word, heading in (
        ("trusted", "Verdict: Trusted: no check failed"),
        ("overestimated", "Verdict: Overestimated"),
        ("unverified", "Verdict: Unverified"),
    ):
        opening = flat(page.render(make_judged(word))).split("Attacks", 1)[0]
        assert heading in opening
        assert f"It is {word} because." in opening
        assert STATEMENT in opening
        assert "95% interval" in opening
        if word == "overestimated":
            assert "25.0% found by the suite alone 0.0% left in the worst case" in opening
        else:
            assert "25.0% worst-case accuracy" in opening
            assert "no check failed" in opening.lower() or word == "unverified"


@pytest.mark.usefixtures("unrendered")
def test_a_claim_stands_beside_what_is_left(make_judged):
    assert "69.0% claimed 0.0% left in the worst case" in flat(page.render(make_judged("overestimated", claimed=0.69)))
    assert "69.0% claimed 25.0% worst-case accuracy" in flat(page.render(make_judged("trusted", claimed=0.69)))


@pytest.mark.usefixtures("unrendered")
def test_each_verdict_has_its_color_and_its_symbol(make_judged, make_report):
    looks = set()
    for word in VERDICTS:
        elements = Elements(page.render(make_judged(word)))
        (result,) = (each for each in elements.named("section") if each.get("class", "").startswith("result"))
        symbol = tuple(each["d"] for tag, each in elements.found if tag == "path" and each["d"] != "M 0 0")
        looks.add((result["class"], symbol))
    assert len({tone for tone, _ in looks}) == len({symbol for _, symbol in looks}) == 3
    source = page.render(make_report())
    assert '<section class="result none" aria-label="Result">' in source
    assert "Verdict" not in Elements(source).text


@pytest.mark.usefixtures("unrendered")
def test_every_outcome_is_counted_and_what_failed_comes_first(make_report):
    checks = [Check(f"check {index}", outcome, "", "") for index, outcome in enumerate((*OUTCOMES, *OUTCOMES[:2]))]
    source = page.render(make_report(checks=checks))
    assert "2 failed 1 warning 1 not run 2 passed 1 not applicable" in flat(source)
    order = re.findall(r"check (\d)", flat(source.split('<table class="checks"')[1]))
    assert order == ["1", "6", "2", "3", "0", "5", "4"]
    assert "0 failed" in flat(page.render(make_report(checks=checks[:1])))


@pytest.mark.usefixtures("unrendered")
def test_the_figure_of_a_check_is_in_a_details_behind_its_row_and_open_if_it_failed(make_report):
    chart = Chart("Loss.", "step", "loss", {"PGD": Series((0, 1), (1, 2))})
    checks = [Check(outcome, outcome, "", "", chart=chart) for outcome in ("passed", "failed")]
    elements = Elements(page.render(make_report(checks=[*checks, Check("bare", "passed", "", "")])))
    assert ["open" in each for each in elements.named("details")] == [True, False, False]  # failed, passed, settings
    assert "Figure of the check failed" in " ".join(elements.text.split())


@pytest.mark.usefixtures("unrendered")
def test_the_rule_and_what_a_check_found_stand_beside_its_evidence(make_report):
    check = Check("steps", "failed", "3 new", "paper", "at most 2", 3.0, 3)
    text = flat(page.render(make_report(checks=[check])))
    assert "3 new. 3 further images broken." in text
    assert "at most 2" in text


@pytest.mark.usefixtures("unrendered")
def test_sections_and_their_figures_are_shown_in_a_report_and_in_a_collection(make_report):
    chart = Chart("Histogram of gaps.", "gap", "images", {"a": Series((0, 1), (1,))}, "histogram")
    filters = Pictures("First filters.", [[[[1.0]]]], ("one",))
    report = make_report(sections=(Section("Logits", ("First.", "Second."), charts=(chart, filters)),), examples=None)
    opening = Section("Leaderboard", table=Table(("model", "rank"), (("small net", "1"),)))
    for subject in (report, Collection("All", (report,), opening=opening)):
        source = page.render(subject)
        text = Elements(source).text
        for part in ("Logits", "First.", "Second.", "Histogram of gaps.", "First filters. Gray is 0"):
            assert part in text
        assert source.count("<figure>") == 3
    assert text.index("Leaderboard") < text.index("Models compared")


def test_a_page_with_twenty_charts_stays_small(make_report):
    """Full ones at that: seven series of 30 points with intervals. The limit is 3 MB for twenty of four kinds."""
    x = tuple(range(30))
    series = {f"net {index}": Series(x, x, x, x) for index in range(7)}
    edges = {name: Series((*x, 30), x) for name in series}
    kinds = ("lines", "points", "bars", "histogram")
    charts = [Chart("T.", "x", "y", edges if kind == "histogram" else series, kind) for kind in kinds]
    assert len(page.render(make_report(sections=(Section("Analysis", charts=charts),)))) < 3e6 / 5


def test_every_text_from_outside_is_escaped(make_report, make_attack):
    chart = Chart(EVIL, EVIL, EVIL, {EVIL: Series((0,), (1,))}, "bars", {EVIL: 1}, x_names=(EVIL,))
    report = make_report(
        name=EVIL,
        dataset=EVIL,
        threat=ThreatModel(EVIL, 0.2, knowledge=EVIL, goal=EVIL),
        rows=(make_attack(EVIL, [1, 0, 0, 0], 0, config={EVIL: EVIL}, precision=EVIL),),
        checks=(Check(EVIL, "failed", EVIL, EVIL, EVIL, chart=chart),),
        verdict=Verdict("trusted", EVIL, 0.75, 0.75),
        sections=(Section(EVIL, EVIL, charts=(chart,)),),
        versions={EVIL: EVIL},
        settings={EVIL: EVIL},
    )
    section = Section(EVIL, EVIL, Table((EVIL, EVIL), ((EVIL, EVIL),), EVIL), {EVIL: Curve((1,), (1,), (1,), (1,))})
    for subject in (report, Collection(EVIL, (report,), (section,), EVIL, section)):
        elements = Elements(page.render(subject))
        assert elements.named("script") == []
        assert not any("onload" in attributes for _, attributes in elements.found)
        assert elements.text.count("<script>alert('&')</script>") >= 15


def test_nothing_outside_the_file_is_referred_to(collection):
    source = page.render(collection)
    elements = Elements(source)
    assert elements.named("script", "iframe", "object", "embed", "base", "form") == []
    references = [
        value
        for _, attributes in elements.found
        for key, value in attributes.items()
        if key in ("src", "srcset", "href", "poster", "data", "action")
    ]
    assert references
    assert all(value.startswith(("data:", "#")) for value in references)
    assert re.findall(r"(?i)https?:|(?<![\w+/])//\w|url\((?!#)|@import", source) == []
    (policy,) = (each["content"] for each in elements.named("meta") if "http-equiv" in each)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@pytest.mark.usefixtures("unrendered")
def test_headings_descend_one_level_at_a_time_and_there_is_one_title(collection, make_report, make_judged):
    part = (Section("Part"),)
    judged = make_judged("trusted", sections=part)
    for subject in (collection, make_report(), judged, Collection("One", (judged,), part, opening=part[0])):
        elements = Elements(page.render(subject))
        levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        assert len(elements.named("title")) == len(elements.named("main")) == 1
        assert elements.named("html") == [{"lang": "en"}]


@pytest.mark.usefixtures("unrendered")
def test_every_figure_has_a_text_alternative_and_every_head_cell_a_scope(collection):
    elements = Elements(page.render(collection))
    drawings = [each for each in elements.named("svg") if "plot" in each["class"]]
    assert len(drawings) == 2 * 4  # accuracies, curves, two grids; wide and narrow
    assert all(each["role"] == "img" and len(each["aria-label"]) > 40 for each in drawings)
    assert {attributes["scope"] for attributes in elements.named("th")} == {"row", "col"}
    assert all(
        "aria-label" in attributes for attributes in elements.named("div") if attributes.get("class") == "scroll"
    )


@pytest.mark.usefixtures("unrendered")
def test_every_id_is_there_once(make_judged):
    chart = Chart("Loss.", "step", "loss", {"PGD": Series((0, 1), (1, 2))})
    report = make_judged("trusted", sections=(Section("S", charts=(chart, chart)),))
    for subject in (report, Collection("Two", (report, make_judged("unverified", name="b")), report.sections)):
        ids = [attributes["id"] for _, attributes in Elements(page.render(subject)).found if "id" in attributes]
        assert len(set(ids)) == len(ids) > 0


@pytest.mark.usefixtures("unrendered")
def test_more_than_four_models_have_no_cards_but_their_verdicts(make_judged):
    reports = [make_judged("trusted", name=f"net {index}") for index in range(5)]
    assert 'class="card' in page.render(Collection("Four", reports[:4]))
    source = page.render(Collection("Five", reports))
    assert 'class="card' not in source
    assert flat(source).split("net 0")[0].count("verdict") == 1  # the head of the column


@pytest.mark.parametrize("changes", [{"rows": ()}, {"examples": None}, {"checks": (), "versions": {}, "settings": {}}])
@pytest.mark.usefixtures("unrendered")
def test_a_report_without_a_part_has_a_page_without_that_part(make_report, changes):
    text = Elements(page.render(make_report(**changes))).text
    assert STATEMENT in text
    assert ("No attack was run" in text) == ("rows" in changes)
    assert ("mid-gray" in text) == ("examples" not in changes)
    assert ("flatters the model" in text) == ("checks" not in changes)


@pytest.mark.parametrize(
    ("threat", "words"),
    [
        (ThreatModel("linf", 8 / 255), "change every pixel value by at most 8/255 (0.0314) (pixels lie in [0, 1])"),
        (ThreatModel("l2", 0.5), "at most 0.5 in Euclidean length"),
        (ThreatModel("l0", 3), "change at most 3 pixels by any amount"),
        (ThreatModel("rotation", 30), "change the image by at most 30 in rotation"),
        (ThreatModel("l1", 2, knowledge="black box"), "sees the model's answers but not its weights"),
    ],
)
def test_the_threat_is_said_in_words(threat, words):
    assert words in page.threat_in_words(threat)
