import json
import re
from pathlib import Path

import pytest
import yaml
from ray.dashboard.modules.metrics.dashboards import default_dashboard_panels

CLUSTER = Path(__file__).parents[3] / "cluster"
METRICS = Path(__file__).parents[3] / "selfseg/runtime/metrics.py"


@pytest.fixture(scope="module")
def queries() -> list[str]:
    dashboard = json.loads((CLUSTER / "grafana/selfseg.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = dashboard["templating"]["list"]
    return expressions + [
        variable["query"] for variable in variables if "ray_" in variable["query"]
    ]


def ours() -> set[str]:
    """Return the names that the code publishes, as Prometheus shows them."""
    return {f"ray_{name}" for name in re.findall(r'"(selfseg_\w+)": ', METRICS.read_text())}


def test_the_dashboard_asks_for_metrics_that_selfseg_or_ray_publishes(queries: list[str]):
    rays = Path(default_dashboard_panels.__file__).read_text()
    rays = set(re.findall(r"ray_node_\w+", rays)) | {"ray_node_mem_used"}
    asked = {name for query in queries for name in re.findall(r"ray_\w+", query)}
    assert asked
    assert asked <= ours() | rays


def test_the_dashboard_shows_every_metric_that_selfseg_publishes(queries: list[str]):
    assert ours()
    assert {name for name in ours() if not any(name in query for query in queries)} == set()


def test_no_two_panels_of_the_dashboard_overlap():
    panels = json.loads((CLUSTER / "grafana/selfseg.json").read_text())["panels"]
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (place["x"] + right, place["y"] + down)
        for place in places
        for right in range(place["w"])
        for down in range(place["h"])
    ]
    assert len(set(cells)) == len(cells)


def test_prometheus_reads_the_list_of_nodes_that_ray_keeps():
    from ray._private.ray_constants import (  # noqa: PLC0415 - Ray's own name for it
        PROMETHEUS_SERVICE_DISCOVERY_FILE,
    )

    (job,) = yaml.safe_load((CLUSTER / "prometheus.yml").read_text())["scrape_configs"]
    (source,) = job["file_sd_configs"]
    assert source["files"] == [f"/tmp/ray/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
