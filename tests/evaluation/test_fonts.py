"""Which font draws a character, and a box where none does."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from src.evaluation import fonts, plots
from src.inference import drawing

DATA = Path(matplotlib.get_data_path(), "fonts/ttf")


@pytest.fixture
def system_fonts(monkeypatch):
    """Sets the font files of the system, in place of those that are installed."""

    def install(*files):
        fonts._font_file.cache_clear()
        fonts._log_missing_font.cache_clear()
        drawing._letters.cache_clear()
        monkeypatch.setattr(fonts, "_system_fonts", lambda: tuple(files))

    yield install
    for cached in (fonts._font_file, fonts._log_missing_font, drawing._letters):
        cached.cache_clear()


@pytest.fixture
def another_font(tmp_path):
    """A font with a character that the base font lacks; both are Matplotlib's."""
    file = shutil.copy(DATA / "STIXSizOneSymReg.ttf", tmp_path / "another.ttf")
    characters = set(fonts._characters(Path(file)).tolist()) - set(fonts._characters(fonts.BASE_FONT).tolist())
    return Path(file), chr(min(characters))


def test_without_a_font_a_box_is_shown_and_said_once(system_fonts, caplog_trn):
    system_fonts()
    assert fonts.drawable("挥手 Left") == "□□ Left"
    assert fonts.drawable("手 \udcff") == "□ □"
    assert len(caplog_trn) == 1
    assert "apt-get install fonts-noto-cjk" in caplog_trn[0]
    assert fonts.drawable("□ Рука") == "□ Рука"


def test_a_font_of_the_system_is_used_where_the_base_font_lacks_a_character(system_fonts, another_font, caplog_trn):
    file, character = another_font
    system_fonts(file)
    text = f"Up{character}Down"
    assert fonts.drawable(text) == text
    assert fonts.font_runs(text) == [(fonts.BASE_FONT, "Up"), (file, character), (fonts.BASE_FONT, "Down")]
    assert fonts.families([text]) == ["DejaVu Sans", "STIXSizeOneSym"]
    assert fonts.families(["Up"]) == ["DejaVu Sans"]
    expected = sum(fonts.pillow_font(f, 100).getlength(t) for f, t in fonts.font_runs(text)) / 5
    assert fonts.text_width(text, 20) == pytest.approx(expected)
    assert not caplog_trn


def test_a_figure_shows_the_character_of_the_other_font(system_fonts, another_font):
    def drawn():
        figure = Figure(figsize=(1, 1))
        figure.text(0.2, 0.2, character, fontsize=30)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return plots.png_bytes(figure)

    file, character = another_font
    system_fonts(file)
    letter = drawn()
    system_fonts()
    with pytest.raises(UserWarning, match="missing"):  # what `printable` is for
        drawn()
    assert len(letter) > 100


def test_a_video_frame_shows_the_character_of_the_other_font(system_fonts, another_font):
    file, character = another_font
    system_fonts(file)
    text = drawing._letters(f"L{character}L", 40)
    base, other = fonts.pillow_font(fonts.BASE_FONT, 40), fonts.pillow_font(file, 40)
    image = Image.new("L", text.shape[::-1])
    ascent, length = base.getmetrics()[0], base.getlength("L")
    ImageDraw.Draw(image).text((0, ascent), "L", 255, base, anchor="ls")
    ImageDraw.Draw(image).text((length, ascent), character, 255, other, anchor="ls")
    ImageDraw.Draw(image).text((length + other.getlength(character), ascent), "L", 255, base, anchor="ls")
    np.testing.assert_array_equal(text, np.array(image))


def test_files_that_are_no_font_are_passed_over(system_fonts, another_font, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    file, character = another_font
    system_fonts(tmp_path / "broken.ttf", tmp_path / "missing.ttf", file)
    assert fonts.drawable(character) == character


def test_preferred_fonts_come_first_and_styled_ones_never(monkeypatch):
    names = ["Zapf.ttf", "wqy-microhei.ttc", "NotoSansCJK-Bold.ttc", "NotoSansCJK-Regular.ttc", "Abc-Italic.ttf"]
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [f"/fonts/{name}" for name in names])
    files = fonts._system_fonts.__wrapped__()
    assert [file.name for file in files] == ["NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "Zapf.ttf"]


def test_a_long_name_keeps_both_ends():
    assert fonts.shorten("Swiping Left") == "Swiping Left"
    assert fonts.shorten("Swiping " * 30 + "Left", 20) == "Swiping Swipi…g Left"
    assert fonts.shorten("手" * 21) == "手" * 13 + "…" + "手" * 6  # two columns each


@pytest.mark.parametrize(("text", "shown"), [("a\tb\nc\x00", "a b c "), ("x\u200d\ufe0f", "x"), ("a\u202eb", "ab")])
def test_a_text_is_one_line_without_controls(text, shown):
    assert fonts.drawable(text) == shown
