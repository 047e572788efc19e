"""One face picture: a public-domain portrait, warped by action units, posed, lit and photographed anew.

:func:`llava_faba.demo.faces.render.render_face` is the way in. Everything is measured in *face units*: the
origin lies midway between the eyes, x runs to the viewer's right along the line through the eyes, y runs
down, and one unit is the distance between the eyes of that portrait.
"""
