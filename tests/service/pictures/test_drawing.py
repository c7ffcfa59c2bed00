import numpy as np
from PIL import Image

from service.pictures.drawing import class_colour, draw_detections
from tests.service.fakes import detections

GREY = (100, 100, 100)


def grey() -> Image.Image:
    return Image.new("RGB", (240, 240), GREY)


def test_the_box_is_outlined_in_the_colour_of_its_class():
    drawn = draw_detections(grey(), detections(((50, 100, 150, 200), 0.9, 1)), ["a", "b"])
    for corner in ((50, 100), (150, 100), (50, 200), (150, 200)):
        assert drawn.getpixel(corner) == class_colour(1)
    assert drawn.getpixel((100, 150)) == GREY
    assert drawn.getpixel((30, 210)) == GREY


def test_a_box_that_ends_at_the_edge_of_the_image_is_closed():
    drawn = draw_detections(grey(), detections(((50, 100, 240, 240), 0.9, 0)), ["a"])
    assert drawn.getpixel((239, 170)) == drawn.getpixel((170, 239)) == class_colour(0)


def test_label_and_score_are_written_above_the_box():
    drawn = np.asarray(draw_detections(grey(), detections(((50, 100, 150, 200), 0.9, 0)), ["RBC"]))
    tag = drawn[88:99, 52:80]
    assert (tag == class_colour(0)).all(-1).any()
    assert (tag.sum(-1) < 100).any()  # black letters


def test_a_label_that_would_hide_a_better_one_is_left_out():
    rows = [((50, 100, 150, 200), 0.9, 0), ((54, 100, 154, 204), 0.8, 1)]
    alone = np.asarray(draw_detections(grey(), detections(rows[0]), ["a", "b"]))
    drawn = draw_detections(grey(), detections(*rows), ["a", "b"])
    np.testing.assert_array_equal(np.asarray(drawn)[:100], alone[:100])
    assert drawn.getpixel((100, 204)) == class_colour(1)


def test_labels_beside_each_other_are_all_written():
    rows = [((10, 100, 60, 150), 0.9, 0), ((150, 100, 200, 150), 0.8, 1)]
    drawn = np.asarray(draw_detections(grey(), detections(*rows), ["a", "b"]))
    for index, left in enumerate((10, 150)):
        tag = drawn[88:99, left + 2 : left + 20]
        assert (tag == class_colour(index)).all(-1).any()


def test_the_image_itself_is_not_drawn_on():
    image = grey()
    draw_detections(image, detections(((50, 100, 150, 200), 0.9, 0)), ["a"])
    assert image.getcolors() == [(240 * 240, GREY)]


def test_boxes_at_the_edges_and_tiny_images_can_be_drawn():
    rows = [((0, 0, 3, 3), 0.9, 0), ((-5, -5, 500, 500), 0.8, 0), ((7, 7, 7, 7), 0.7, 0)]
    for size in ((1, 1), (8, 8), (1, 500)):
        drawn = draw_detections(Image.new("RGB", size), detections(*rows), ["a label too long"])
        assert drawn.size == size


def test_neighbouring_classes_differ_in_colour_and_bear_black_text():
    colours = [class_colour(index) for index in range(12)]
    assert len(set(colours)) == 12
    for red, green, blue in colours:
        assert 0.299 * red + 0.587 * green + 0.114 * blue > 80
