"""``llava-faba app``: one page to drop pictures and clips on. ``asking`` (who answers), ``reading`` (faces and what
is read of
them), ``access`` (who may ask), ``server`` (the HTTP side), ``page/`` (what the browser gets; no other host is asked
for anything).
"""
