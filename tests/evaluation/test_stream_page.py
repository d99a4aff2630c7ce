"""The page of a stream evaluation: what stands where on a timeline, worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from src.data.video import Span
from src.evaluation.events import WatchedVideo, measure_events
from src.evaluation.stream_page import render_stream_report, timeline

NAMES = ["Stop Sign", "No gesture"]
RED, GREY = "#d92626", "#969696"
TIMES, LOGITS = np.array([5.0, 10.0]), np.log([[0.75, 0.25], [0.1, 0.9]])


def watched(seconds=20.0):
    gestures = [Span(2.0, 6.0, "Stop Sign", 1.0), Span(12.0, 14.0, "Stop Sign", 1.0)]
    events = [Span(4.0, 8.0, "Stop Sign", 0.9), Span(17.0, 25.0, "No gesture", 0.8)]
    return WatchedVideo("1.mp4", seconds, gestures, events, [5.0, 18.0])


@pytest.mark.parametrize(("seconds", "step"), [(20.0, 5), (60.0, 5), (61.0, 10), (130.0, 20), (600.0, 100)])
def test_ticks_of_long_videos_are_further_apart(seconds, step):
    drawn = timeline(watched(seconds), TIMES, LOGITS, NAMES, dict.fromkeys(NAMES, RED))
    assert [second for _, second in drawn["ticks"]] == list(range(0, int(seconds) + 1, step))
    assert [x for x, _ in drawn["ticks"]] == [round(1000 * second / seconds, 1) for _, second in drawn["ticks"]]


def test_the_page_shows_all_of_it():
    """1000 pixels are 20 seconds; the top of the 80 pixels of the curves is a probability of 1."""
    pytest.importorskip("jinja2")
    video, protocol = watched(), {"ckpt_file": "folder/trn.ckpt", "window": 2.5, "background": ["No gesture"]}
    page = render_stream_report(measure_events([video]), [video], {"1.mp4": (TIMES, LOGITS)}, NAMES, protocol).decode()
    assert "<title>trn.ckpt on 1 streams</title>" in page
    assert re.findall(r'<path d="M(\S+) 20v20"', page) == ["250.0", "900.0"]  # where each event was reported
    bars = r'<rect x="(\S+)" y="(\d+)" width="(\S+)" height="16" rx="3" fill="(\S+)"\s+(class="wrong")?>'
    assert re.findall(bars, page) == [
        ("100.0", "2", "200.0", RED, ""),
        ("600.0", "2", "100.0", RED, 'class="wrong"'),
        ("200.0", "22", "200.0", RED, ""),
        ("850.0", "22", "150.0", GREY, 'class="wrong"'),  # the video ends at 20 s
    ]
    assert "1.mp4 <span>2 gestures, 2 events, 1 right</span>" in page
    assert re.findall(r'<i style="background:(.*?)"></i>(.*?)<', page) == [(RED, NAMES[0]), (GREY, NAMES[1])]
    assert "<title>Stop Sign, 2.00 to 6.00 s</title>" in page
    assert re.findall(r'<polyline points="([^"]*)" fill="none" stroke="(\S+)".*<title>(.*)</title>', page) == [
        ("250.0,20.0 500.0,72.0", RED, NAMES[0]),
        ("250.0,60.0 500.0,8.0", GREY, NAMES[1]),
    ]
    assert re.findall(r">(\d+) s</text>", page) == ["0", "5", "10", "15", "20"]
    assert "<dt>window</dt><dd>2.5</dd>" in page
    tiles = {text: number for number, text in re.findall(r'<div class="tile"><b>(.*?)</b><span>(.*?)</span>', page)}
    assert tiles["precision: events that are right"] == tiles["recall: gestures found"] == "0.50"
    assert tiles["s, median from a gesture's end to its event's".replace("'", "&#39;")] == "2.00"
    assert tiles["false alarms a minute in videos without gestures"] == "–"  # there is no such video
