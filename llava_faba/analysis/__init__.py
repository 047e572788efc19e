"""Photographs and videos to a table of faces: ``llava_faba.analyze`` and ``llava-faba analyze``.

``settings``   what is asked for
``sources``    files, folders and videos to frames
``video``      frames of a video, with their times
``finding``    every face in a frame: box, confidence, landmarks
``pose``       pitch, yaw and roll of a head from its landmarks
``tracking``   which faces of a video's frames are one person
``peaks``      the frame in which a tracked face's expression is strongest
``detection``  frames to crops on disk, with a journal that survives kill -9
``answers``    crops to answers, by ``llava_faba.inference.generate``, and what strict mode reads in them
``table``      one row a face: CSV, Parquet, OpenFace's and py-feat's columns
``report``     a page to look at
``run``        all of it, in order
"""
