"""The paper model of scaling: its parts by hand, and the document that shows it."""

from dataclasses import replace
from math import log2
from pathlib import Path

import pytest

from tools.scaling_model import PROPOSAL, Parts, Recipe, exchange_s, scaled, step_s, tables

ROOT = Path(__file__).parents[2]
ONE_BUCKET = Recipe("toy", step_s=1.0, batch=4, moving=1e6, stored=3e6)
PLAIN = Parts(link_bytes_s=1e9, network_bytes_s=1e8, latency_s=0.0, bucket_bytes=4e6, deviation=0.0)


def test_the_document_shows_what_the_program_prints():
    assert tables() in (ROOT / "docs" / "scaling.md").read_text()


def test_one_gpu_waits_for_nobody():
    alone = scaled(ONE_BUCKET, 1, PLAIN)
    assert alone.step_s == 1.0
    assert alone.efficiency == 1.0
    assert alone.strain["gradients"] == 0


def test_gradients_cross_the_links_within_a_node_and_the_network_between_nodes():
    size = 4e6
    assert exchange_s(ONE_BUCKET, 8, PLAIN) == pytest.approx(2 * 7 / 8 * size / 1e9)
    between = 2 * 3 / 4 * size / 1e8
    assert exchange_s(ONE_BUCKET, 32, PLAIN) == pytest.approx(2 * 7 / 8 * size / 1e9 + between)


def test_only_the_last_bucket_is_never_hidden():
    four = replace(PLAIN, bucket_bytes=1e6)
    exchange = exchange_s(ONE_BUCKET, 32, four)
    assert step_s(ONE_BUCKET, 32, four) == pytest.approx(1 + exchange / 4)
    assert step_s(ONE_BUCKET, 32, PLAIN) == pytest.approx(1 + exchange)


def test_what_is_longer_than_the_backward_pass_is_waited_for():
    slow = replace(PLAIN, network_bytes_s=1e6, bucket_bytes=1e4)
    exchange = exchange_s(ONE_BUCKET, 32, slow)
    assert exchange > 2 / 3
    assert step_s(ONE_BUCKET, 32, slow) == pytest.approx(1 + exchange - 2 / 3)


def test_latency_counts_once_a_bucket_and_once_for_the_finite_check():
    late = replace(PLAIN, link_bytes_s=1e99, latency_s=1e-3)
    message = 2 * log2(8) * 1e-3
    assert step_s(ONE_BUCKET, 8, late) == pytest.approx(1 + 2 * message)


def test_every_node_downloads_what_all_gpus_consume():
    at = scaled(ONE_BUCKET, 16, replace(PLAIN, sample_bytes=100.0, part_bytes=50.0))
    assert at.cold_bytes_s == pytest.approx(at.samples_s * 100)
    assert at.cold_gets_s == pytest.approx(2 * at.cold_bytes_s / 50)


def test_the_weakest_link_is_what_is_strained_most():
    at = scaled(PROPOSAL, 1024)
    assert at.weakest == "first epoch, requests"
    assert at.strain[at.weakest] == max(at.strain.values())


def test_more_nodes_fail_more_often_so_that_less_of_the_time_counts():
    goodput = [scaled(PROPOSAL, gpus).spot_goodput for gpus in (8, 64, 1024)]
    assert goodput == sorted(goodput, reverse=True)
